//! The functions that write commands and responses. Their output always follows the grammar strictly.
//!
//! A command is rejected as a whole if one of its arguments cannot be written. Responses append to a [`Sink`] and
//! cannot fail: values that the grammar cannot express are left out.

pub use crate::append::encode::{append, append_prefix};
pub use crate::command::encode::command;
pub use crate::fetch::encode::FetchWriter;
pub use crate::grammar::command_writer::{
    ArgumentFault, CommandBuffer, CommandSink, InvalidArgument, LiteralMode, Options,
};
pub use crate::grammar::sink::Sink;
pub use crate::response::encode::response;
