//! The functions that parse one framed message.
//!
//! A message is framed first ([`frame`](crate::frame)) and parsed once. Nothing is allocated or copied: values borrow
//! from the input.

pub use crate::append::elements::{AppendElement, AppendStart, append_start, is_append_payload};
pub use crate::append::parse::append_prefix;
pub use crate::append::reader::{AppendElements, ParsedElement};
pub use crate::authenticate::{Authentication, authentication};
pub use crate::command::parse::command;
pub use crate::command_name::{UnparsedCommand, command_name, no_arguments};
pub use crate::fetch::literal_scan::{LiteralScan, is_body_literal};
pub use crate::grammar::Context;
pub use crate::response::parse::response;

/// Responses to searches, parsed piece by piece.
pub(crate) mod search {
    pub(crate) use crate::search::pieces::{
        Failure, Part, PieceKind, SearchCursor, SearchStep, SetOf, has_pieces, start,
    };
}

/// FETCH responses, parsed item by item, so that the contents of sections can be streamed.
pub mod fetch {
    pub(crate) use crate::fetch::parse::plain_start;
    pub use crate::fetch::parse::{ItemPosition, ParsedItem, next_item, start, uid_start};
}
