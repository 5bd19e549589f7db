//! What a server has done since it started: [`Metrics`], for a page or a monitoring system.
//!
//! The figures name services, protocols and outcomes only, never an account, an address or a message.

mod counters;
mod figures;

pub(crate) use counters::{Counters, ServiceCounters};
pub use figures::{LoginMetrics, MessageMetrics, MessageOrigin, Metrics, ServiceMetrics};
