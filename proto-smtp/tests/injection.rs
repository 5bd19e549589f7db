//! No argument of the application can end a line or a word: every public constructor and every call that takes text,
//! in both roles.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use proptest::prelude::*;
use proto_mail::{Cleartext, Credentials, Mechanism, RecvBuffer, Secure, SendBuffer};
use proto_smtp::Config;
use proto_smtp::client::Client;
use proto_smtp::server::{Event, Server};
use proto_smtp::types::{
    Address, Attribute, AttributeValue, Attributes, Authority, BurlSource, ByMode, ChunkEnd, ClientName,
    Code, Command, DateTime, DeliverBy, Domain, EnhancedCode, EnvelopeId, EtrnNode, Extension,
    ExtensionParameters, ForwardPath, FutureRelease, Hold, Interval, Mail, Notify, OriginalRecipient,
    Priority, PriorityProfile, Rcpt, Response, ReversePath, SecretBytes, Solicitation, Submitter, ValidSince,
    Xtext,
};

/// Hostile parts for valid text: bytes that end lines or words, characters that become such bytes when cut to eight
/// bits, and characters with a meaning in some values.
const HOSTILE: &[&str] = &[
    "",
    "\r\n",
    "\r",
    "\n",
    "\0",
    " ",
    "\t",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{10d}\u{10a}",
    "\u{a0}",
    "é",
    "=",
    "+",
    "+0D+0A",
    "+20",
    "\\",
    "\\x{0D}\\x{0A}",
    "\\x{20}",
    "\"",
    "<",
    ">",
    "@",
    ",",
    ";",
    ":",
    ".",
    "-",
    "[",
    "]",
    "%0d%0a",
    "\r\nRSET\r\n",
    " SIZE=1",
    "> SIZE=1",
    "\r\n.\r\n",
    "\u{1f600}",
];

/// Text that is valid for some constructor.
const GOOD: &[&str] = &[
    "",
    "a",
    "alice",
    "a@b.example",
    "\"a b\"@b.example",
    "почта@пример.рф",
    "b.example",
    "[192.0.2.1]",
    "[IPv6:::1]",
    "<>",
    "NEVER",
    "SUCCESS,DELAY",
    "rfc822;a+2Bb@c",
    "utf-8;\\x{43F}@b",
    "utf-8;п@b",
    "120;RT",
    "-5;N",
    "7",
    "-9",
    "2030-01-01T00:00:00.5+01:30",
    "2014-04-03T23:01:00Z;C",
    "org.example:ADV,b",
    "MIXER",
    "250 2.0.0 OK",
    "550-5.1.1 a\r\n550 5.1.1 b",
    "PLAIN",
    "X-KEY",
    "QQ314159",
    "e+3Dmc2@example.com",
    "imap",
    "imap://h.example:143",
    "imap://h/a;urlauth=submit+x:internal:00",
    "@b.example",
    "#uucp",
    "[UNAVAILABLE]",
    "IPV6:::1",
    "SMTP",
    "LOCAL",
];

/// Valid text with a hostile part, or any text.
fn text() -> impl Strategy<Value = String> {
    let mixed = (prop::sample::select(GOOD), prop::sample::select(HOSTILE), any::<prop::sample::Index>());
    let mixed = mixed.prop_map(|(good, hostile, place)| {
        let places: Vec<usize> = good.char_indices().map(|(at, _)| at).chain([good.len()]).collect();
        let (head, tail) = good.split_at(*place.get(&places));
        format!("{head}{hostile}{tail}")
    });
    prop_oneof![4 => mixed, 1 => any::<String>(), 1 => "[ -~]{0,40}"]
}

/// Encodes a command and checks that it is one line.
fn line(command: &Command<'_>) -> Result<String, TestCaseError> {
    let mut tx = SendBuffer::new();
    command.encode(&mut tx);
    one_line(tx.take())
}

fn one_line(bytes: Vec<u8>) -> Result<String, TestCaseError> {
    let text = String::from_utf8(bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let Some(line) = text.strip_suffix("\r\n") else {
        return Err(TestCaseError::fail(format!("no line: {text:?}")));
    };
    prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
    Ok(line.to_owned())
}

/// Every line of the server's output.
fn lines_of_replies(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    let text = String::from_utf8(bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(text.is_empty() || text.ends_with("\r\n"), "{:?}", text);
    for line in text.split_terminator("\r\n") {
        prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{:?}", line);
        let code = line.get(..3).is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
        prop_assert!(code && matches!(line.as_bytes().get(3), Some(b' ' | b'-')), "{:?}", line);
    }
    Ok(())
}

/// A MAIL whose parameters are all made of one text, as far as their types accept it, and the number of its words.
fn mail_of(text: &str) -> (Mail<'_>, usize) {
    let address = Address::parse(text).ok();
    let mut mail = Mail::new(address.clone().map_or(ReversePath::Null, ReversePath::from));
    mail.utf8 = true;
    mail.set_auth(Submitter::parse(text).ok().or(address.map(Submitter::Address)).as_ref());
    mail.set_envid(EnvelopeId::parse(text).ok().or(EnvelopeId::encode(text).ok()).as_ref());
    mail.by = DeliverBy::parse(text).ok();
    mail.priority = Priority::parse(text).ok();
    let interval = Interval::parse(text).ok().map(Hold::For);
    mail.set_hold(interval.or(DateTime::parse(text).ok().map(Hold::Until)));
    mail.set_solicit(Solicitation::parse(text).ok().as_ref());
    let pushed = [
        mail.parameters.push(text, None),
        mail.parameters.push("X-A", Some(text)),
        mail.parameters.push(text, Some(text)),
    ];
    let typed = [
        mail.auth().is_some(),
        mail.envid().is_some(),
        mail.by.is_some(),
        mail.priority.is_some(),
        mail.hold().is_some(),
        mail.solicit().is_some(),
    ];
    // SMTPUTF8 adds a word.
    let words =
        typed.into_iter().filter(|set| *set).count() + pushed.iter().filter(|done| done.is_ok()).count() + 1;
    (mail, words)
}

fn rcpt_of(text: &str) -> (Rcpt<'_>, usize) {
    let address = Address::parse(text).ok();
    let mut rcpt = Rcpt::new(address.clone().map_or(ForwardPath::Postmaster, ForwardPath::from));
    rcpt.notify = Notify::parse(text).ok();
    let original = OriginalRecipient::parse(text)
        .or(OriginalRecipient::encode("utf-8", text))
        .or(OriginalRecipient::encode(text, text))
        .ok()
        .or(address.as_ref().and_then(OriginalRecipient::of));
    rcpt.set_original(original.as_ref());
    rcpt.valid_since = ValidSince::parse(text).ok();
    let pushed = rcpt.parameters.push("X-A", Some(text)).is_ok();
    let typed = [rcpt.notify.is_some(), rcpt.original().is_some(), rcpt.valid_since.is_some(), pushed];
    let words = typed.into_iter().filter(|set| *set).count();
    (rcpt, words)
}

/// The number of words after the path of a command. A space inside its quotes does not count.
fn parameters(line: &str, path: &str) -> usize {
    line.split_once(&format!("<{path}>")).unwrap().1.matches(' ').count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parameters_stay_within_their_word(text in text()) {
        let (mail, words) = mail_of(&text);
        let written = line(&Command::Mail(mail.clone()))?;
        prop_assert_eq!(parameters(&written, mail.from.as_str()), words, "{:?}", &written);
        let Ok(Command::Mail(read)) = Command::parse(written.as_bytes()) else { panic!("{written:?}") };
        prop_assert_eq!(read.extensions(), mail.extensions());
        prop_assert_eq!(line(&Command::Mail(read))?, written);

        let (rcpt, words) = rcpt_of(&text);
        let written = line(&Command::Rcpt(rcpt.clone()))?;
        prop_assert_eq!(parameters(&written, rcpt.to.as_str()), words, "{:?}", &written);
        let Ok(Command::Rcpt(read)) = Command::parse(written.as_bytes()) else { panic!("{written:?}") };
        prop_assert_eq!(read.extensions(), rcpt.extensions());
        prop_assert_eq!(line(&Command::Rcpt(read))?, written);
    }

    #[test]
    fn numbers_stay_within_their_range(seconds in any::<i32>(), unix in any::<i64>(), short in -9_999_999_999i64..300_000_000_000) {
        let mut mail = Mail::new(ReversePath::Null);
        for mode in [ByMode::Notify, ByMode::Return] {
            mail.by = DeliverBy::new(seconds, mode).ok().map(DeliverBy::traced);
            mail.priority = Priority::new(seconds as i8).ok();
            for hold in [
                Interval::new(seconds.unsigned_abs()).ok().map(Hold::For),
                DateTime::from_unix_seconds(unix).map(Hold::Until),
                DateTime::from_unix_seconds(short).map(Hold::Until),
            ] {
                mail.set_hold(hold);
                let written = line(&Command::Mail(mail.clone()))?;
                let Ok(Command::Mail(read)) = Command::parse(written.as_bytes()) else { panic!("{written:?}") };
                prop_assert_eq!(&read, &mail);
                if let Some(Hold::Until(time)) = hold {
                    prop_assert!([unix, short].contains(&time.unix_seconds()));
                }
            }
        }
    }

    #[test]
    fn arguments_stay_within_their_line(text in text(), other in text()) {
        for command in [
            Command::Vrfy(text.as_str().into()),
            Command::Expn(text.as_str().into()),
            Command::Other { verb: text.as_str().into(), argument: other.as_str().into() },
            Command::Auth { mechanism: text.as_str().into(), initial: Some(SecretBytes::new(other.as_bytes())) },
            Command::Auth { mechanism: text.as_str().into(), initial: None },
        ] {
            let written = line(&command)?;
            prop_assert!(written.is_ascii(), "{:?}", written);
        }
        if let Ok(name) = ClientName::parse(&text) {
            let written = line(&Command::Ehlo(name))?;
            prop_assert_eq!(written.matches(' ').count(), 1);
            // A name must be US-ASCII; other characters are replaced.
            prop_assert!(!text.is_ascii() || written.strip_prefix("EHLO ") == Some(text.as_str()));
        }
        if let Ok(domain) = Domain::parse(&text) {
            for command in [Command::Helo(domain.clone().into()), Command::Lhlo(domain.into())] {
                prop_assert_eq!(line(&command)?.matches(' ').count(), 1);
            }
        }
        for xtext in [Xtext::parse(&text).ok(), Xtext::encode(&text).ok()].into_iter().flatten() {
            prop_assert!(xtext.as_str().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'='));
            prop_assert!(!xtext.decode().iter().any(u8::is_ascii_control));
        }
    }

    #[test]
    fn extension_commands_stay_within_their_line(text in text(), other in text()) {
        if let Ok(node) = EtrnNode::parse(&text) {
            prop_assert_eq!(line(&Command::Etrn(node))?.matches(' ').count(), 1);
        }
        line(&Command::Etrn(EtrnNode::Queue(text.as_str().into())))?;
        for end in [ChunkEnd::More, ChunkEnd::Last] {
            line(&Command::Burl { url: SecretBytes::new(text.as_bytes()), end })?;
        }
        line(&Command::Help(text.as_str().into()))?;
        for (none, command) in [
            (Attributes::xclient(), Command::XClient as fn(Attributes<'static>) -> Command<'static>),
            (Attributes::xforward(), Command::XForward),
        ] {
            let mut said = none;
            for (number, attribute) in Attribute::XCLIENT.into_iter().chain(Attribute::XFORWARD).enumerate() {
                let value = if number % 2 == 0 { &text } else { &other };
                for value in [value.clone(), "[UNAVAILABLE]".to_owned()] {
                    said = said.clone().with(attribute, AttributeValue::Known(value.into())).unwrap_or(said);
                }
            }
            let words = said.iter().count();
            prop_assert_eq!(line(&command(said))?.matches(' ').count(), words);
        }
    }

    #[test]
    fn client_calls_write_one_line_or_none(text in text()) {
        let name = text.parse::<Domain<'static>>().unwrap_or("localhost".parse().unwrap());
        let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
        let mut client = Client::<Secure>::new(Config::default().name(name), Secure::trusted_local());
        rx.extend(b"220 mx\r\n");
        while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        one_line(tx.take())?;
        let all = Extension::ALL.map(|extension| format!("250-{}\r\n", extension.keyword())).concat();
        rx.extend(format!("250-mx\r\n{all}250 AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER EXTERNAL ANONYMOUS\r\n").as_bytes());
        while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        type Call<'c> = &'c dyn Fn(&mut Client<Secure>, &mut SendBuffer) -> bool;
        let calls: [Call<'_>; 6] = [
            &|client, tx| client.help(&text, tx).is_ok(),
            &|client, tx| EtrnNode::parse(&text).is_ok_and(|node| client.etrn(&node, tx).is_ok()),
            &|client, tx| client.vrfy(&text, tx).is_ok(),
            &|client, tx| client.expn(&text, tx).is_ok(),
            &|client, tx| client.mail(&mail_of(&text).0, tx).is_ok(),
            &|client, tx| client.rcpt(&rcpt_of(&text).0, tx).is_ok(),
        ];
        for call in calls {
            let given = call(&mut client, &mut tx);
            let bytes = tx.take();
            if given {
                one_line(bytes)?;
            } else {
                prop_assert!(bytes.is_empty());
            }
            rx.extend(if given { b"250 ok\r\n" } else { b"" });
            while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
        }
    }

    #[test]
    fn credentials_stay_within_their_line(user in text(), secret in text()) {
        for (mechanism, credentials) in [
            (Mechanism::Plain, Credentials::password(user.clone(), secret.as_bytes())),
            (Mechanism::Login, Credentials::password(user.clone(), secret.as_bytes())),
            (Mechanism::XOAuth2, Credentials::bearer(user.clone(), secret.clone())),
            (Mechanism::OAuthBearer, Credentials::bearer(user.clone(), secret.clone())),
        ] {
            let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
            let mut client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
            rx.extend(b"220 mx\r\n");
            while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
            let _ = tx.take();
            rx.extend(b"250-mx\r\n250 AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER\r\n");
            while client.next_event(&mut rx, &mut tx).unwrap().is_some() {}
            let given = client.authenticate(mechanism, credentials, &mut tx).is_ok();
            for _ in 0..3 {
                let bytes = tx.take();
                if bytes.is_empty() {
                    break;
                }
                prop_assert!(given);
                one_line(bytes)?;
                rx.extend(b"334 \r\n");
                while let Ok(Some(_)) = client.next_event(&mut rx, &mut tx) {}
            }
        }
    }

    #[test]
    fn server_texts_stay_within_their_line(text in text(), name in text(), code in 200u16..600, detail in any::<u16>()) {
        let name = name.parse::<Domain<'static>>().unwrap_or("localhost".parse().unwrap());
        let mut offers = ExtensionParameters::default();
        offers.priority_profile = PriorityProfile::parse(&text).ok().map(PriorityProfile::into_owned);
        offers.no_soliciting = Solicitation::parse(&text).ok().map(Solicitation::into_owned);
        offers.burl.extend(BurlSource::parse(&text).map(BurlSource::into_owned));
        offers.burl.extend(Authority::parse(&text).map(|authority| BurlSource::Server(authority.into_owned())));
        offers.min_by_time = text.parse().ok();
        offers.future_release = Interval::parse(&text).ok().map(|interval| FutureRelease {
            interval,
            until: DateTime::from_unix_seconds(i64::from(detail)).unwrap(),
        });
        let config = Config::default()
            .name(name)
            .greeting(text.clone())
            .extensions(Extension::ALL.into_iter().collect())
            .extension_parameters(offers);
        let mut response = Response::new(Code::new(code).unwrap(), text.as_str());
        if let Some(enhanced) = EnhancedCode::new((code / 100) as u8, detail % 1000, 0) {
            response = response.with_enhanced(enhanced);
        }
        let responses = [Some(response), text.parse::<Response<'static>>().ok()];
        for response in responses.into_iter().flatten() {
            lines_of_replies(said(&config, &response))?;
        }
    }
}

/// The whole output of a server that gives the same reply to every question.
fn said(config: &Config, response: &Response<'_>) -> Vec<u8> {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut waits = proto_smtp::Waits::default();
    waits.delay = Duration::ZERO;
    let mut refused = Server::<Cleartext>::refusing(config.clone().waits(waits), response, &mut tx);
    let mut server = Server::<Secure>::new(config.clone().waits(waits), Secure::trusted_local(), &mut tx);
    let mut all = tx.take();
    rx.extend(b"QUIT\r\n");
    while let Ok(Some(_)) = refused.next_event(&mut rx, &mut tx) {}
    let mut rx = RecvBuffer::new();
    rx.extend(
        b"EHLO c\r\nVRFY a\r\nEXPN a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\nHELP\r\nQUIT\r\n",
    );
    while let Ok(Some(event)) = server.next_event(&mut rx, &mut tx) {
        match event {
            Event::Mail(_, reply)
            | Event::Rcpt(_, reply)
            | Event::Data(reply)
            | Event::DataEnd(reply)
            | Event::Vrfy(_, reply)
            | Event::Expn(_, reply) => server.reply(reply, response, &mut tx).unwrap(),
            _ => {}
        }
    }
    all.extend(tx.take());
    all
}
