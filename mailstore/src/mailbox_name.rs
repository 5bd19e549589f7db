//! The names of mailboxes (RFC 9051 §5.1).

use crate::error::{Error, Result};
use crate::limits::{LEVEL_LIMIT, NAME_LIMIT};

/// Returns the spelling under which a mailbox is stored.
pub(crate) fn canonical(name: &str) -> Result<String> {
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.len() > NAME_LIMIT {
        return Err(Error::Limit("the length of a mailbox name"));
    }
    if name.split('/').any(str::is_empty) {
        return Err(Error::InvalidName("a level of a mailbox name has at least one character"));
    }
    if name.split('/').count() > LEVEL_LIMIT {
        return Err(Error::Limit("the levels of a mailbox name"));
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
        return Err(Error::InvalidName("a mailbox name has no control characters"));
    }
    if name.contains(['%', '*']) {
        return Err(Error::InvalidName("a mailbox name has no % or *"));
    }
    let (first, rest) = name.split_once('/').map_or((name, None), |(first, rest)| (first, Some(rest)));
    if !first.eq_ignore_ascii_case("INBOX") {
        return Ok(name.to_owned());
    }
    Ok(rest.map_or_else(|| "INBOX".to_owned(), |rest| format!("INBOX/{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_mailbox_names_and_rejects_invalid_ones() {
        assert_eq!(canonical("inbox").unwrap(), "INBOX");
        assert_eq!(canonical("Inbox/Sub/").unwrap(), "INBOX/Sub");
        assert_eq!(canonical("Entwürfe/日本").unwrap(), "Entwürfe/日本");
        for bad in ["", "/", "/a", "a//b", "a\r\nb", "a\0", "a%", "*", "a\u{85}"] {
            assert!(matches!(canonical(bad), Err(Error::InvalidName(_))), "{bad:?}");
        }
        assert!(matches!(canonical(&"x".repeat(NAME_LIMIT + 1)), Err(Error::Limit(_))));
        assert!(matches!(canonical(&"x/".repeat(LEVEL_LIMIT + 1)), Err(Error::Limit(_))));
    }
}
