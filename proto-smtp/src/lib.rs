//! SMTP.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod ascii;
pub mod data;
pub mod encode;
pub mod parse;
pub mod types;

/// Server.
pub mod server {
    /// Reply.
    #[derive(Debug)]
    pub struct Reply;
}
