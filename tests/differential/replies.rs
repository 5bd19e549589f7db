//! Replies.

use std::collections::BTreeSet;

use smtp_proto::response::parser::ResponseReceiver;

use crate::generate::{self, Draw};
use crate::{Comparison, Difference};

/// A parser's result for a reply: nothing, or code, enhanced code, and text without apparent enhanced codes.
#[derive(Debug, PartialEq)]
struct Meaning(Option<Read>);

#[derive(Debug, PartialEq)]
struct Read {
    code: u16,
    enhanced: Option<[u16; 3]>,
    text: String,
}

#[test]
fn parses_replies_like_smtp_proto() {
    let mut draw = Draw::new(421);
    let mut comparison = Comparison::default();
    for _ in 0..60_000 {
        let bytes = generate::reply(&mut draw);
        comparison.add(&bytes, &ours(&bytes), &theirs(&bytes), KNOWN);
    }
    comparison.judge(KNOWN, 20_000);
}

const KNOWN: &[Difference<Meaning>] = &[
    Difference {
        why: "smtp-proto accepts codes whose first digit is not 2 to 5 (RFC 5321 section 4.2.1)",
        is: |bytes, ours, theirs| {
            ours.0.is_none() && theirs.0.is_some() && !matches!(bytes.first(), Some(b'2'..=b'5'))
        },
    },
    Difference {
        why: "smtp-proto accepts lines with different codes as one reply; ours rejects them (RFC 5321 section 4.2.1)",
        is: |bytes, ours, theirs| {
            let codes = bytes.split(|byte| *byte == b'\n').filter_map(|line| line.get(..3));
            ours.0.is_none() && theirs.0.is_some() && codes.collect::<BTreeSet<_>>().len() > 1
        },
    },
    Difference {
        why: "ours shows control characters and invalid UTF-8 as the replacement character",
        is: |_, ours, theirs| {
            both(ours, theirs, |ours, theirs| {
                ours.enhanced == theirs.enhanced
                    && ours.text.contains(char::REPLACEMENT_CHARACTER)
                    && ours.text != theirs.text
            })
        },
    },
    Difference {
        why: "smtp-proto accepts an enhanced code of another class than the code; ours treats it as text (RFC 2034 section 4)",
        is: |_, ours, theirs| {
            both(ours, theirs, |ours, theirs| {
                ours.enhanced.is_none()
                    && theirs.enhanced.is_some_and(|[class, ..]| class != theirs.code / 100)
            })
        },
    },
    Difference {
        why: "smtp-proto turns numbers above 255 into 255 (RFC 3463 section 2 has up to three digits)",
        is: |_, ours, theirs| {
            both(ours, theirs, |ours, theirs| {
                theirs.enhanced.is_some_and(|code| code.contains(&255)) && ours.enhanced != theirs.enhanced
            })
        },
    },
    Difference {
        why: "smtp-proto accepts an incomplete enhanced code",
        is: |bytes, ours, theirs| {
            both(ours, theirs, |ours, theirs| ours.enhanced != theirs.enhanced) && incomplete(bytes)
        },
    },
    Difference {
        why: "smtp-proto drops the text after an enhanced code that contains a space",
        is: |bytes, ours, theirs| {
            both(ours, theirs, |ours, theirs| {
                ours.text.ends_with(&theirs.text) || theirs.text.ends_with(&ours.text)
            }) && incomplete(bytes)
        },
    },
    Difference {
        why: "of several enhanced codes ours uses the first or last line's; smtp-proto uses the last one",
        is: |bytes, ours, theirs| {
            bytes.iter().filter(|byte| **byte == b'\n').count() > 1
                && both(ours, theirs, |ours, theirs| ours.enhanced != theirs.enhanced)
        },
    },
];

fn both(ours: &Meaning, theirs: &Meaning, that: fn(&Read, &Read) -> bool) -> bool {
    matches!((&ours.0, &theirs.0), (Some(ours), Some(theirs)) if ours.code == theirs.code && that(ours, theirs))
}

/// Whether a line begins with digits and a dot that are not an enhanced code.
fn incomplete(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').filter_map(|line| line.get(4..)).any(|text| {
        let word = text.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
        matches!(word, [b'0'..=b'9', b'.', ..])
            && word.split(|byte| *byte == b'.').filter(|run| !run.is_empty()).count() != 3
    })
}

/// Removes a first word of digits and dots from each line, and drops empty lines.
fn plain(text: &str) -> String {
    let line = |line: &str| {
        let line = line.trim_end();
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let code = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if code { rest } else { line }.to_owned()
    };
    text.split('\n').map(line).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn ours(bytes: &[u8]) -> Meaning {
    Meaning(proto_smtp::types::Response::parse(bytes).ok().map(|reply| {
        let enhanced = reply.enhanced().map(|code| [u16::from(code.class()), code.subject(), code.detail()]);
        Read { code: reply.code().get(), enhanced, text: plain(&reply.text()) }
    }))
}

fn theirs(bytes: &[u8]) -> Meaning {
    let mut rest = bytes.iter();
    let read = ResponseReceiver::default().parse(&mut rest);
    Meaning(read.ok().filter(|_| rest.as_slice().is_empty()).map(|reply| {
        let enhanced = (reply.esc != [0, 0, 0]).then(|| reply.esc.map(u16::from));
        Read { code: reply.code, enhanced, text: plain(&reply.message) }
    }))
}
