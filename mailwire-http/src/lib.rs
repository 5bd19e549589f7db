#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod connections;
mod health;
mod prometheus;
mod router;
mod server;

pub use health::{Listening, Readiness};
pub use router::Sources;
pub use server::{HttpServer, HttpServerHandle, Limits};
