//! SMTP.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod ascii;
pub mod client;
mod config;
pub mod data;
pub mod encode;
mod line;
pub mod parse;
pub mod server;
pub mod state;
pub mod types;

pub use config::{
    Config, Dialect, EarlyTalker, InitialResponse, MixedCodes, Pipelining, UnknownParameters, Waits,
};
