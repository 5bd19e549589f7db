//! SMTP as pure state machines, client and server: bytes in, events out; commands in, bytes out.
//!
//! The crate implements SMTP (RFC 5321), submission (RFC 6409) and LMTP (RFC 2033). It has no sockets, no clock, no
//! threads and no TLS. A driver moves bytes between the network and two buffers, keeps the time that
//! [`Wait`](proto_mail::Wait) names, and confirms TLS with a [`Secure`](proto_mail::Secure).
//!
//! * [`client::Client`] and [`server::Server`] are the machines. Their documentation shows the loop of a driver.
//! * [`client::Transaction`] sends one message and reports the outcome for each recipient.
//! * [`types`] holds the commands, replies and their parts. None of its values can hold a CR, LF or NUL.
//! * [`data`] adds and removes the dots of DATA. [`command_order`] is the table of the allowed commands.
//!
//! # How a command is processed
//!
//! The server's `line` module finds the end of a command line; the client's `reply_framer` finds the end of a reply. The
//! machine decides by the verb whether the command is allowed (`command_order`), then parses the arguments (`command` and
//! the module of each command) and yields an event that borrows the receive buffer.
//!
//! # Guarantees
//!
//! * On cleartext no event holds credentials and no method takes any, except those whose name begins with `danger_`.
//! * Nothing that was received before TLS is used after it: neither bytes nor capabilities.
//! * Only CRLF "." CRLF ends a message, however the bytes are split.
//! * A reply counts only if it was received after the last byte of its command was sent.
//! * No address, parameter or text can become a line of its own.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

extern crate alloc;

// Primitives.
mod ascii;
mod encode;
mod scan;
mod secret_bytes;
mod syntax;
mod xtext;

// The parts of the protocol: types, parsing, encoding and tests of each.
mod address;
mod attributes;
mod auth;
mod body_type;
mod burl;
mod capabilities;
mod chunking;
pub mod data;
mod date_time;
mod deliver_by;
mod domain;
mod dsn;
mod etrn;
mod extension;
mod extension_parameters;
mod future_release;
mod hello;
mod mail;
mod parameter;
mod path;
mod priority;
mod rcpt;
mod reply_code;
mod response;
mod server_limits;
mod solicitation;
mod submitter;
mod valid_since;

// The table that dispatches by verb, and the table of the allowed commands.
mod command;
pub mod command_order;

// The machines.
pub mod client;
mod config;
mod line;
mod reply_framer;
pub mod server;

pub use config::{
    Config, Dialect, EarlyTalker, InitialResponse, MixedCodes, Pipelining, UnknownParameters, Waits,
};

/// Commands, replies and their parts.
///
/// Each type can hold only what the grammar allows: no value holds a CR, LF or NUL. Values borrow the buffer that they
/// were parsed from; `into_owned` makes them independent of it.
pub mod types {
    pub use crate::address::Address;
    pub use crate::attributes::{Attribute, AttributeValue, Attributes};
    pub use crate::body_type::BodyType;
    pub use crate::burl::{Authority, BurlSource};
    pub use crate::capabilities::Capabilities;
    pub use crate::chunking::ChunkEnd;
    pub use crate::command::{Command, Verb};
    pub use crate::date_time::DateTime;
    pub use crate::deliver_by::{ByMode, DeliverBy};
    pub use crate::domain::{Domain, DomainKind};
    pub use crate::dsn::{EnvelopeId, Notify, OriginalRecipient, Return};
    pub use crate::etrn::EtrnNode;
    pub use crate::extension::{Extension, ExtensionSet};
    pub use crate::extension_parameters::ExtensionParameters;
    pub use crate::future_release::{FutureRelease, Hold, Interval};
    pub use crate::hello::ClientName;
    pub use crate::mail::Mail;
    pub use crate::parameter::{Parameter, Parameters};
    pub use crate::path::{ForwardPath, ReversePath};
    pub use crate::priority::{Priority, PriorityProfile};
    pub use crate::rcpt::Rcpt;
    pub use crate::reply_code::{Code, Severity};
    pub use crate::response::Response;
    pub use crate::secret_bytes::SecretBytes;
    pub use crate::server_limits::ServerLimits;
    pub use crate::solicitation::Solicitation;
    pub use crate::submitter::Submitter;
    pub use crate::syntax::{SyntaxError, SyntaxFault};
    pub use crate::valid_since::{RelayAction, ValidSince};
    pub use crate::xtext::Xtext;
    pub use proto_mail::EnhancedCode;
}

/// Compiles the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
