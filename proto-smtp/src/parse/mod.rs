//! Reading: the grammar of RFC 5321 over complete lines.
//!
//! Framing comes first and stands elsewhere: what is read here is one whole line, or one whole reply, in one piece.
//! Nothing here allocates, but for a value of XCLIENT that is encoded. Functions bear the names of the grammar's rules.

mod command;
mod fault;
pub(crate) mod parameter;
pub(crate) mod path;
mod reply;

pub use command::command;
pub(crate) use command::{absolute_uri, arguments, split_verb};
pub(crate) use fault::{Fault, Parsed, finish};
pub use fault::{SyntaxError, Why};
pub use reply::reply;
pub(crate) use reply::{LineHead, framed, line_head};
