//! What commands and replies are made of.
//!
//! Each type can only hold what may stand on the wire: no value of any of them has a CR, LF or NUL in it. Each is
//! borrowed from the buffer that it was read from, and `into_owned` keeps it.

mod address;
mod command;
mod domain;
mod extension;
mod mail;
mod parameter;
mod path;
mod rcpt;
mod response;
mod status;

pub use address::Address;
pub use command::{ChunkEnd, ClientName, Command, Verb};
pub use domain::{Domain, DomainKind};
pub use extension::{Extension, ExtensionSet, Extensions};
pub(crate) use mail::KNOWN as MAIL_PARAMETERS;
pub use mail::{BodyType, Mail, Return};
pub use parameter::{Extra, Parameter, Xtext};
pub use path::{ForwardPath, ReversePath};
pub(crate) use rcpt::KNOWN as RCPT_PARAMETERS;
pub use rcpt::{Notify, OriginalRecipient, Rcpt};
pub use response::Response;
pub use status::{Code, EnhancedCode, Severity};
