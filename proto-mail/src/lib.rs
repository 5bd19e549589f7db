#![doc = include_str!("../README.md")]
//!
//! # The two gates
//!
//! ```text
//!        Client<Cleartext>                                   Client<Secure>
//!        Server<Cleartext>                                   Server<Secure>
//!   ┌──────────────────────────┐     the TLS handshake    ┌──────────────────────────┐
//!   │ no value can hold a      │  starttls ─► Upgrade     │ no second STARTTLS       │
//!   │ credential               │  ─► complete(Secure)     │ credentials may travel   │
//!   └──────────────────────────┘     moves, never copies  └──────────────────────────┘
//!            nothing learnt, buffered or owed on the left is there on the right
//! ```
//!
//! A [`Secure`] value is the evidence that TLS is in place. The code that creates one vouches for it; a search for
//! `Secure::` finds every such place in a program.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "std")]
mod blocking;
pub mod buffer;
pub mod channel;
pub mod driver;
pub mod enhanced_code;
pub mod error;
mod error_details;
pub mod limits;
pub mod machine;
mod printable;
pub mod proxy;
pub mod rejection;
pub mod reply_order;
pub mod sasl;
pub mod secret;
pub mod token;
pub mod trace;
pub mod wait;

pub use buffer::{Line, RecvBuffer, SendBuffer};
pub use channel::{Channel, ChannelBinding, Cleartext, Never, Secure};
pub use driver::Driver;
pub use enhanced_code::EnhancedCode;
pub use error::{Error, ErrorCode, ErrorDetails, Limit, Misuse, PeerError, SyntaxLocation};
pub use limits::Limits;
pub use machine::{Machine, OwnedEvents, Upgrade};
pub use printable::{printable, printable_char};
pub use rejection::{Rejection, RejectionKind};
pub use reply_order::{CommandMark, ReceiveMark};
pub use sasl::{Mechanism, Mechanisms};
pub use secret::{Credentials, Secret};
pub use token::{AuthRequest, AuthVerdict, StartTlsRequest};
pub use wait::{Deadline, Wait, WaitFor};
