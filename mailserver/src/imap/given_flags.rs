//! The flags that a client sends with STORE and APPEND.

use std::borrow::Cow;

use io_common::Next;
use mailstore::Flags;
use proto_imap::server::Reply;
use proto_imap::types::{Condition, Flag, FlagList, PlainCode, StatusResponse, Text};

use super::{Turn, next_or_close, no_status};

/// A flag that a client may not set.
#[derive(Debug)]
pub(super) struct RefusedFlag {
    text: String,
    /// Whether a limit was exceeded; otherwise the flag is invalid.
    limit: bool,
}

impl RefusedFlag {
    /// Returns the status that reports the error.
    pub(super) fn status(&self) -> StatusResponse<'_> {
        if self.limit {
            return no_status(PlainCode::Limit, &self.text);
        }
        StatusResponse::new(Condition::Bad, Text::first_line(&self.text))
    }

    /// Answers a command with this error.
    pub(super) fn answer(&self, reply: Reply, turn: &mut Turn<'_, '_>) -> Next {
        next_or_close(turn.machine.reply(reply, &self.status(), turn.tx))
    }
}

/// Converts the flags that a client sent.
///
/// # Errors
/// `\Recent`, an unknown system flag, a keyword that is too long, or too many keywords.
pub(super) fn given_flags(list: FlagList<'_>) -> Result<Flags, RefusedFlag> {
    let mut flags = Flags::new();
    for flag in list.iter() {
        let name = String::from_utf8_lossy(flag.name());
        let settable =
            matches!(flag, Flag::Seen | Flag::Answered | Flag::Flagged | Flag::Deleted | Flag::Draft);
        if flag.has_backslash() && !settable {
            return Err(RefusedFlag { text: format!("cannot set the flag \\{name}"), limit: false });
        }
        let name = if flag.has_backslash() { Cow::Owned(format!("\\{name}")) } else { name };
        if let Err(error) = flags.insert(&name) {
            let limit = matches!(error, mailstore::Error::Limit(_));
            let shown: String = name.chars().take(64).collect();
            return Err(RefusedFlag { text: format!("cannot set the flag {shown}: {error}"), limit });
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use bumpalo::Bump;

    use super::super::translate::{Recency, flags};
    use super::*;

    #[test]
    fn converts_flags_in_both_directions() {
        let arena = Bump::new();
        let stored = Flags::parse(["\\Seen", "$Forwarded"]).unwrap();
        let list = flags(&arena, &stored, Recency::Recent);
        assert!(list.contains(Flag::Seen) && list.contains(Flag::Recent));
        let refused = given_flags(list).unwrap_err();
        assert!(refused.text.contains("\\Recent") && !refused.limit, "{refused:?}");
        assert_eq!(given_flags(flags(&arena, &stored, Recency::Old)).unwrap(), stored);
    }
}
