//! Commands.

use std::collections::BTreeMap;

use proto_mail::SendBuffer;
use proto_smtp::types::Command;
use proto_smtp::types::SyntaxFault;
use smtp_proto as peer;

use crate::generate::{self, Draw};
use crate::{Comparison, Difference};

/// A parser's result for a line.
#[derive(Debug)]
enum Meaning {
    Refused(Option<SyntaxFault>),
    /// An unknown verb.
    Unknown,
    Read(Read),
}

/// Two rejections are equal, whatever the reasons.
impl PartialEq for Meaning {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Refused(_), Self::Refused(_)) | (Self::Unknown, Self::Unknown) => true,
            (Self::Read(one), Self::Read(other)) => one == other,
            _ => false,
        }
    }
}

#[derive(Debug, PartialEq, Default)]
struct Read {
    verb: String,
    /// A path without its brackets, a name, a size, a mechanism.
    argument: String,
    parameters: BTreeMap<String, String>,
}

#[test]
fn parses_commands_like_smtp_proto() {
    let mut draw = Draw::new(5321);
    let mut comparison = Comparison::default();
    for _ in 0..120_000 {
        let line = generate::command(&mut draw);
        let (ours, theirs) = (ours(&line), theirs(&line));
        comparison.add(&line, &ours, &theirs, KNOWN);
    }
    comparison.judge(KNOWN, 60_000);
}

/// In this order: the first that matches counts.
const KNOWN: &[Difference<Meaning>] = &[
    Difference {
        why: "smtp-proto ignores words after DATA, RSET, QUIT and STARTTLS; RFC 5321 section 4.3.2 requires 501 for them",
        is: |line, ours, theirs| {
            refused(ours, SyntaxFault::SurplusArgument)
                && bare(theirs, &["DATA", "RSET", "QUIT", "STARTTLS"])
                && words(line) > 1
        },
    },
    Difference {
        why: "smtp-proto uses the first word of a name in EHLO and ignores the others; ours allows one word",
        is: |line, ours, theirs| {
            refused(ours, SyntaxFault::Domain) && bare(theirs, &["EHLO", "HELO", "LHLO"]) && words(line) > 2
        },
    },
    Difference {
        why: "smtp-proto accepts a local part that ends with a dot, which is not a Dot-string",
        is: |line, ours, theirs| {
            refused(ours, SyntaxFault::LocalPart) && is_read(theirs) && holds(line, b".@")
        },
    },
    Difference {
        why: "smtp-proto accepts invalid domains: empty, with a hyphen at a label's end, or ending with a dot or sign",
        is: |line, ours, theirs| {
            let odd: [&[u8]; 6] = [b"@-", b"-.", b".-", b"@>", b".>", b"@="];
            refused(ours, SyntaxFault::Domain) && is_read(theirs) && odd.iter().any(|odd| holds(line, odd))
        },
    },
    Difference {
        why: "smtp-proto accepts RCPT TO:<> and takes <postmaster> for the null path in MAIL",
        is: |line, ours, theirs| {
            (refused(ours, SyntaxFault::NullRecipient) && holds(line, b"TO:<>")
                || refused(ours, SyntaxFault::MissingDomain) && holds(line, b"FROM:<postmaster>"))
                && is_read(theirs)
        },
    },
    Difference {
        why: "smtp-proto accepts mechanisms that are not a sasl-mech (RFC 4422 section 3.1)",
        is: |_, ours, theirs| refused(ours, SyntaxFault::Mechanism) && bare(theirs, &["AUTH"]),
    },
    Difference {
        why: "a verb with a control character or invalid UTF-8 is a syntax error in ours, not an unknown command",
        is: |_, ours, theirs| {
            (refused(ours, SyntaxFault::Control) || refused(ours, SyntaxFault::Encoding))
                && matches!(theirs, Meaning::Unknown)
        },
    },
    Difference {
        why: "smtp-proto accepts control characters and invalid UTF-8 in names, paths and text",
        is: |line, ours, theirs| {
            let line = line.strip_suffix(b"\r\n").unwrap();
            let odd = line.iter().any(u8::is_ascii_control) || std::str::from_utf8(line).is_err();
            matches!(ours, Meaning::Refused(_)) && is_read(theirs) && odd
        },
    },
    Difference {
        why: "smtp-proto knows the address type rfc822 only in ORCPT",
        is: |_, ours, theirs| {
            let other =
                |read: &Read| read.parameters.get("ORCPT").is_some_and(|value| !value.starts_with("rfc822;"));
            matches!(theirs, Meaning::Refused(_)) && matches!(ours, Meaning::Read(read) if other(read))
        },
    },
    Difference {
        why: "smtp-proto rejects address literals (RFC 5321 section 4.1.3)",
        is: |line, ours, theirs| is_read(ours) && matches!(theirs, Meaning::Refused(_)) && holds(line, b"@["),
    },
    Difference {
        why: "smtp-proto accepts NOTIFY=NEVER with other words (RFC 3461 section 4.1)",
        is: |line, ours, theirs| {
            refused(ours, SyntaxFault::Value) && is_read(theirs) && holds(line, b"NEVER,")
        },
    },
    Difference {
        why: "smtp-proto ignores a word other than LAST after BDAT's size",
        is: |_, ours, theirs| refused(ours, SyntaxFault::SurplusArgument) && bare(theirs, &["BDAT"]),
    },
    Difference {
        why: "smtp-proto accepts characters other than letters, digits, hyphens and dots in a domain",
        is: |line, ours, theirs| {
            refused(ours, SyntaxFault::Path) && is_read(theirs) && (holds(line, b"+") || holds(line, b"="))
        },
    },
    Difference {
        why: "smtp-proto accepts values of AUTH= that are not an address (RFC 4954 section 5)",
        is: |line, ours, theirs| {
            matches!(ours, Meaning::Refused(_)) && is_read(theirs) && holds(line, b"AUTH=")
        },
    },
    Difference {
        why: "smtp-proto accepts HOLDFOR with HOLDUNTIL (RFC 4865 section 5)",
        is: |_, ours, theirs| refused(ours, SyntaxFault::ParametersExclude) && is_read(theirs),
    },
    Difference {
        why: "smtp-proto accepts invalid dates",
        is: |line, ours, theirs| {
            refused(ours, SyntaxFault::Value)
                && is_read(theirs)
                && (holds(line, b"RRVS=") || holds(line, b"HOLDUNTIL="))
        },
    },
    Difference {
        why: "smtp-proto accepts a partly quoted local part",
        is: |line, ours, theirs| {
            refused(ours, SyntaxFault::LocalPart) && is_read(theirs) && holds(line, b"\"")
        },
    },
    Difference {
        why: "smtp-proto accepts characters between FROM or TO and the colon",
        is: |_, ours, theirs| refused(ours, SyntaxFault::Colon) && is_read(theirs),
    },
    Difference {
        why: "smtp-proto accepts a parameter without a space before it",
        is: |line, ours, theirs| {
            refused(ours, SyntaxFault::SurplusArgument) && is_read(theirs) && holds(line, b">")
        },
    },
    Difference {
        why: "smtp-proto rejects a name after two spaces",
        is: |line, ours, theirs| {
            bare(ours, &["EHLO", "HELO", "LHLO"])
                && matches!(theirs, Meaning::Refused(_))
                && holds(line, b"LO  ")
        },
    },
    Difference {
        why: "smtp-proto accepts a verb after a space",
        is: |line, ours, theirs| {
            matches!(ours, Meaning::Unknown)
                && !matches!(theirs, Meaning::Unknown)
                && line.first() == Some(&b' ')
        },
    },
    Difference {
        why: "smtp-proto accepts xtext with an incomplete escape",
        is: |line, ours, theirs| refused(ours, SyntaxFault::Value) && is_read(theirs) && holds(line, b"+"),
    },
    Difference {
        why: "smtp-proto accepts a by-time of zero with mode R (RFC 2852 section 4) and priorities above 9 (RFC 6710 section 4)",
        is: |line, ours, theirs| {
            refused(ours, SyntaxFault::Number)
                && is_read(theirs)
                && (holds(line, b"BY=0;R") || holds(line, b"MT-PRIORITY=10"))
        },
    },
    Difference {
        why: "a number above 64 bits is a syntax error in ours",
        is: |line, ours, theirs| {
            refused(ours, SyntaxFault::Number)
                && is_read(theirs)
                && line.split(|byte| !byte.is_ascii_digit()).any(|run| run.len() > 19)
        },
    },
    Difference {
        why: "smtp-proto removes the quotes of a local part; ours keeps them, since without them the address differs",
        is: |line, ours, theirs| {
            holds(line, b"\"")
                && both(ours, theirs, |ours, theirs| {
                    ours.parameters == theirs.parameters
                        && ours.argument.replace(['"', '\\'], "") == theirs.argument.replace(['"', '\\'], "")
                })
        },
    },
    Difference {
        why: "smtp-proto rejects an unknown parameter; ours keeps it, and the server decides",
        is: |_, ours, theirs| {
            let untyped = |read: &Read| read.parameters.keys().any(|keyword| !TYPED.contains(&&**keyword));
            matches!(theirs, Meaning::Refused(_)) && matches!(ours, Meaning::Read(read) if untyped(read))
        },
    },
    Difference {
        why: "smtp-proto accepts a repeated parameter",
        is: |_, ours, theirs| refused(ours, SyntaxFault::ParameterTwice) && is_read(theirs),
    },
    Difference {
        why: "smtp-proto accepts UTF-8 in an address without SMTPUTF8 (RFC 6531 section 3.4)",
        is: |_, ours, theirs| refused(ours, SyntaxFault::NotAscii) && is_read(theirs),
    },
    Difference {
        why: "smtp-proto uses the first word after VRFY, EXPN and HELP; ours uses the whole text",
        is: |line, ours, theirs| {
            let quoted = |ours: &Read, theirs: &Read| {
                ours.argument
                    .strip_prefix('"')
                    .is_some_and(|text| text.starts_with(theirs.argument.trim_end()))
            };
            let cut = |ours: &Read, theirs: &Read| ours.argument.starts_with(&theirs.argument);
            let free = |verb: &str| ["VRFY", "EXPN", "HELP"].contains(&verb);
            match (ours, theirs) {
                (Meaning::Read(ours), Meaning::Read(theirs))
                    if ours.verb == theirs.verb && free(&ours.verb) =>
                {
                    quoted(ours, theirs) || (words(line) > 2 && cut(ours, theirs))
                }
                _ => false,
            }
        },
    },
];

/// The parameters that both parsers know.
const TYPED: &[&str] = &[
    "SIZE",
    "BODY",
    "SMTPUTF8",
    "AUTH",
    "RET",
    "ENVID",
    "BY",
    "HOLDFOR",
    "HOLDUNTIL",
    "MT-PRIORITY",
    "REQUIRETLS",
    "SOLICIT",
    "CONPERM",
    "NOTIFY",
    "ORCPT",
    "RRVS",
    "CONNEG",
];

fn refused(ours: &Meaning, why: SyntaxFault) -> bool {
    matches!(ours, Meaning::Refused(Some(our_why)) if *our_why == why)
}

const fn is_read(meaning: &Meaning) -> bool {
    matches!(meaning, Meaning::Read(_))
}

/// Whether one of these verbs was parsed, without parameters.
fn bare(meaning: &Meaning, verbs: &[&str]) -> bool {
    matches!(meaning, Meaning::Read(read) if verbs.contains(&&*read.verb))
}

/// Whether both parsed the same verb, and `that` holds.
fn both(ours: &Meaning, theirs: &Meaning, that: fn(&Read, &Read) -> bool) -> bool {
    matches!((ours, theirs), (Meaning::Read(ours), Meaning::Read(theirs)) if ours.verb == theirs.verb && that(ours, theirs))
}

/// Whether the line contains the piece, ignoring case.
fn holds(line: &[u8], piece: &[u8]) -> bool {
    line.windows(piece.len()).any(|window| window.eq_ignore_ascii_case(piece))
}

fn words(line: &[u8]) -> usize {
    line.trim_ascii().split(|byte| *byte == b' ').filter(|word| !word.is_empty()).count()
}

/// Our result, encoded again, so that typed and untyped parameters compare equal.
fn ours(line: &[u8]) -> Meaning {
    let line = line.strip_suffix(b"\r\n").unwrap();
    match Command::parse(line) {
        Err(error) => Meaning::Refused(Some(error.fault())),
        Ok(Command::Other { .. }) => Meaning::Unknown,
        // The peer's mechanisms are a bit set; compare the rest of the line.
        Ok(Command::Auth { initial, .. }) => {
            let argument =
                String::from_utf8_lossy(initial.as_ref().map_or(&b""[..], |initial| initial.expose()))
                    .into_owned();
            Meaning::Read(Read { verb: "AUTH".to_owned(), argument, ..Read::default() })
        }
        Ok(command) => {
            let mut tx = SendBuffer::new();
            command.encode(&mut tx);
            Meaning::Read(written(&String::from_utf8(tx.take()).unwrap()))
        }
    }
}

/// Splits a well-formed line.
fn written(line: &str) -> Read {
    let line = line.trim_end();
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut read = Read { verb: verb.to_ascii_uppercase(), ..Read::default() };
    let Some(path) = rest.strip_prefix("FROM:<").or_else(|| rest.strip_prefix("TO:<")) else {
        read.argument = rest.to_owned();
        return read;
    };
    let mut quoted = false;
    let end = path.find(|character| {
        quoted ^= character == '"' && !path.contains("\\\"");
        character == '>' && !quoted
    });
    let end = end.unwrap();
    read.argument = path[..end].to_owned();
    for parameter in path[end..].split(' ').skip(1) {
        let (keyword, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let keyword = keyword.to_ascii_uppercase();
        // The peer does not distinguish an empty from an absent parameter.
        if !matches!((&*keyword, value), ("SIZE" | "MT-PRIORITY", "0")) {
            let value = if matches!(&*keyword, "ENVID" | "AUTH" | "ORCPT") {
                decoded(value)
            } else {
                value.to_owned()
            };
            read.parameters.insert(keyword, value);
        }
    }
    read
}

/// Decodes xtext (RFC 3461 §4).
fn decoded(text: &str) -> String {
    let mut pieces = text.split('+');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (hex, rest) = piece.split_at_checked(2).unwrap_or((piece, ""));
        match u8::from_str_radix(hex, 16) {
            Ok(byte) => out.extend([char::from(byte)]),
            Err(_) => out.extend(["+", hex]),
        }
        out.push_str(rest);
    }
    out
}

/// The date that the peer stores as seconds since 1970.
fn date(seconds: i64) -> String {
    if !(0..=253_402_300_799).contains(&seconds) {
        return seconds.to_string();
    }
    let (mut days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let mut year = 1970;
    while days >= 365 + i64::from(leap(year)) {
        days -= 365 + i64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", days + 1)
}

fn theirs(line: &[u8]) -> Meaning {
    use peer::Request as R;
    let named = |verb: &str, argument: &str| {
        Meaning::Read(Read { verb: verb.to_owned(), argument: argument.to_owned(), ..Read::default() })
    };
    let mut bytes = line.iter();
    match R::parse(&mut bytes) {
        Err(peer::Error::UnknownCommand) => Meaning::Unknown,
        Err(_) => Meaning::Refused(None),
        Ok(R::Mail { from }) => Meaning::Read(mail(&from)),
        Ok(R::Rcpt { to }) => Meaning::Read(rcpt(&to)),
        Ok(R::Ehlo { host }) => named("EHLO", &host),
        Ok(R::Helo { host }) => named("HELO", &host),
        Ok(R::Lhlo { host }) => named("LHLO", &host),
        Ok(R::Bdat { chunk_size, is_last }) => {
            named("BDAT", &format!("{chunk_size}{}", if is_last { " LAST" } else { "" }))
        }
        Ok(R::Auth { initial_response, .. }) => named("AUTH", &initial_response),
        Ok(R::Vrfy { value }) => named("VRFY", &value),
        Ok(R::Expn { value }) => named("EXPN", &value),
        Ok(R::Help { value }) => named("HELP", &value),
        Ok(other) => named(other.name(), ""),
    }
}

fn mail(from: &peer::MailFrom<std::borrow::Cow<'_, str>>) -> Read {
    let mut parameters = BTreeMap::new();
    let mut put = |keyword: &str, value: String| drop(parameters.insert(keyword.to_owned(), value));
    if from.size > 0 {
        put("SIZE", from.size.to_string());
    }
    for (flag, keyword, value) in [
        (peer::MAIL_BODY_7BIT, "BODY", "7BIT"),
        (peer::MAIL_BODY_8BITMIME, "BODY", "8BITMIME"),
        (peer::MAIL_BODY_BINARYMIME, "BODY", "BINARYMIME"),
        (peer::MAIL_RET_FULL, "RET", "FULL"),
        (peer::MAIL_RET_HDRS, "RET", "HDRS"),
        (peer::MAIL_SMTPUTF8, "SMTPUTF8", ""),
        (peer::MAIL_REQUIRETLS, "REQUIRETLS", ""),
        (peer::MAIL_CONPERM, "CONPERM", ""),
    ] {
        if from.flags & flag != 0 {
            put(keyword, value.to_owned());
        }
    }
    let by = [(peer::MAIL_BY_NOTIFY, 'N'), (peer::MAIL_BY_RETURN, 'R')];
    if let Some((_, mode)) = by.into_iter().find(|(flag, _)| from.flags & flag != 0) {
        let trace = if from.flags & peer::MAIL_BY_TRACE != 0 { "T" } else { "" };
        put("BY", format!("{};{mode}{trace}", from.by));
    }
    if let Some(envid) = &from.env_id {
        put("ENVID", envid.to_string());
    }
    if let Some(auth) = &from.auth {
        put("AUTH", auth.to_string());
    }
    if let Some(keywords) = &from.solicit {
        put("SOLICIT", keywords.to_string());
    }
    if from.hold_for > 0 {
        put("HOLDFOR", from.hold_for.to_string());
    }
    if from.hold_until > 0 {
        put("HOLDUNTIL", date(i64::try_from(from.hold_until).unwrap_or(i64::MAX)));
    }
    if from.mt_priority != 0 {
        put("MT-PRIORITY", from.mt_priority.to_string());
    }
    Read { verb: "MAIL".to_owned(), argument: from.address.to_string(), parameters }
}

fn rcpt(to: &peer::RcptTo<std::borrow::Cow<'_, str>>) -> Read {
    let mut parameters = BTreeMap::new();
    let notify: Vec<_> = [
        (peer::RCPT_NOTIFY_NEVER, "NEVER"),
        (peer::RCPT_NOTIFY_SUCCESS, "SUCCESS"),
        (peer::RCPT_NOTIFY_FAILURE, "FAILURE"),
        (peer::RCPT_NOTIFY_DELAY, "DELAY"),
    ]
    .into_iter()
    .filter_map(|(flag, word)| (to.flags & flag != 0).then_some(word))
    .collect();
    if !notify.is_empty() {
        parameters.insert("NOTIFY".to_owned(), notify.join(","));
    }
    if let Some(original) = &to.orcpt {
        parameters.insert("ORCPT".to_owned(), format!("rfc822;{original}"));
    }
    if to.flags & (peer::RCPT_RRVS_REJECT | peer::RCPT_RRVS_CONTINUE) != 0 {
        let action = if to.flags & peer::RCPT_RRVS_CONTINUE != 0 { ";C" } else { "" };
        parameters.insert("RRVS".to_owned(), format!("{}{action}", date(to.rrvs)));
    }
    if to.flags & peer::RCPT_CONNEG != 0 {
        parameters.insert("CONNEG".to_owned(), String::new());
    }
    let argument = if to.address.is_empty() { "Postmaster".to_owned() } else { to.address.to_string() };
    Read { verb: "RCPT".to_owned(), argument, parameters }
}
