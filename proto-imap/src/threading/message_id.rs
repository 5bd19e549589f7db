//! Message-IDs in header fields (RFC 5322 §3.6.4), normalized (RFC 5256 §3).

use alloc::string::String;

/// Returns an iterator over the Message-IDs in the value of a Message-ID, In-Reply-To or References field. Quotes are
/// removed, so that an identifier is always the same text. What lies between identifiers is ignored.
pub fn message_ids(field: &str) -> impl Iterator<Item = String> + '_ {
    let mut rest = field;
    core::iter::from_fn(move || {
        loop {
            let begin = rest.find('<')?;
            let inner = rest.get(begin + 1..)?;
            let (id, behind) = message_id(inner);
            rest = behind;
            if let Some(id) = id {
                return Some(id);
            }
        }
    })
}

/// Parses an identifier after its `<`. Returns it, if it is valid, and the rest.
fn message_id(text: &str) -> (Option<String>, &str) {
    let mut id = String::new();
    let mut is_quoted = false;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => match characters.next() {
                Some((_, escaped)) => id.push(escaped),
                None => break,
            },
            '>' if !is_quoted => {
                let is_valid =
                    id.split_once('@').is_some_and(|(left, right)| !left.is_empty() && !right.is_empty());
                return (Some(id).filter(|_| is_valid), text.get(at + 1..).unwrap_or_default());
            }
            // Another one begins.
            '<' if !is_quoted => return (None, text.get(at..).unwrap_or_default()),
            ' ' | '\t' | '\r' | '\n' if !is_quoted => {}
            character => id.push(character),
        }
    }
    (None, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn finds_normalized_identifiers() {
        for (field, ids) in [
            ("<a@b>", &["a@b"][..]),
            ("<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", &["01KF8JCEOCBS0045PS@xxx.yyy.com"]),
            ("<a@b> <c@d>\r\n\t<e@f>", &["a@b", "c@d", "e@f"]),
            ("Your message <a@b> of <Monday>", &["a@b"]),
            ("<\"a\\\"b>\"@c>", &["a\"b>@c"]),
            ("<a@b", &[]),
            ("a@b", &[]),
            ("<>", &[]),
            ("<@b> <a@>", &[]),
            ("<a <b@c>", &["b@c"]),
            ("", &[]),
        ] {
            assert_eq!(message_ids(field).collect::<Vec<_>>(), ids, "{field}");
        }
    }
}
