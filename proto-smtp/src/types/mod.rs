//! What commands and replies are made of.
//!
//! Each type can only hold what may stand on the wire: no value of any of them has a CR, LF or NUL in it. Each is
//! borrowed from the buffer that it was read from, and `into_owned` keeps it.

mod address;
mod attribute;
mod command;
mod deliver;
mod domain;
mod dsn;
mod extension;
mod limits;
mod mail;
mod offer;
mod parameter;
mod path;
mod rcpt;
mod response;
mod solicit;
mod status;
mod submitter;
mod time;

pub use address::Address;
pub(crate) use attribute::Proxied;
pub use attribute::{Attribute, AttributeValue, Attributes};
pub use command::{ChunkEnd, ClientName, Command, Node, Verb};
pub use deliver::{ByMode, DeliverBy, Hold, Interval, Priority};
pub use domain::{Domain, DomainKind};
pub use dsn::{EnvelopeId, Notify, OriginalRecipient, Return};
pub use extension::{Extension, ExtensionSet, Extensions};
pub use limits::ServerLimits;
pub(crate) use mail::KNOWN as MAIL_PARAMETERS;
pub use mail::{BodyType, Mail};
pub use offer::{Authority, BurlSource, FutureRelease, Offers, PriorityProfile};
pub use parameter::{Extra, Parameter, Xtext};
pub use path::{ForwardPath, ReversePath};
pub(crate) use rcpt::KNOWN as RCPT_PARAMETERS;
pub use rcpt::{Rcpt, RelayAction, ValidSince};
pub use response::Response;
pub use solicit::Solicitation;
pub use status::{Code, EnhancedCode, Severity};
pub use submitter::Submitter;
pub use time::DateTime;
