//! LANGUAGE (RFC 5255 §3).
//!
//! All texts are English, under both of its names: `i-default` and `en`.

use io_common::Next;
use proto_imap::server::{Reply, Server};
use proto_imap::types::{Condition, IString, LazyList, StatusResponse, Text, Untagged};
use proto_mail::{Channel, SendBuffer};

use super::replies::{next_or_close, ok_status};

/// The languages of the server's texts, the default first.
const LANGUAGES: [&str; 2] = ["i-default", "en"];

/// Answers LANGUAGE, in every state.
pub(super) fn answer_language<C: Channel>(
    reply: Reply,
    ranges: LazyList<'_, IString<'_>>,
    machine: &mut Server<C>,
    tx: &mut SendBuffer,
) -> Next {
    let all = LANGUAGES.map(IString::from);
    let (languages, text) = if ranges.is_empty() {
        (&all[..], "these are the languages")
    } else {
        let chosen = ranges.iter().find_map(|range| language_of(&range.to_str_lossy()));
        let Some(chosen) = chosen.and_then(|chosen| all.get(chosen..=chosen)) else {
            let status = StatusResponse::new(Condition::No, Text::first_line("unsupported language"));
            return next_or_close(machine.reply(reply, &status, tx));
        };
        (chosen, "language selected")
    };
    let written = machine.data(&Untagged::Language(LazyList::new(languages)), tx);
    next_or_close(written.and_then(|()| machine.reply(reply, &ok_status(text), tx)))
}

/// Returns the index of the language that a range selects: the longest beginning of it that is one (RFC 4647 §3.4).
fn language_of(range: &str) -> Option<usize> {
    if range.eq_ignore_ascii_case("default") || range == "*" {
        return Some(0);
    }
    let mut beginning = range;
    loop {
        let found = LANGUAGES.iter().position(|language| language.eq_ignore_ascii_case(beginning));
        if found.is_some() {
            return found;
        }
        (beginning, _) = beginning.rsplit_once('-')?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_language_of_a_range() {
        for (range, language) in [
            ("EN", Some("en")),
            ("en-CA-x-y", Some("en")),
            ("default", Some("i-default")),
            ("I-DEFAULT", Some("i-default")),
            ("*", Some("i-default")),
            ("de", None),
            ("MUL", None),
            ("", None),
            ("-", None),
            ("eng", None),
        ] {
            assert_eq!(language_of(range).map(|index| LANGUAGES[index]), language, "{range}");
        }
    }
}
