//! Any input: no panic, the same result in every split, and written values parse to themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proptest::prelude::*;
use proto_mail::{RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::{Client, Event};
use proto_smtp::data::{DotStuffer, DotUnstuffer, LineEndings, Stop};
use proto_smtp::types::{
    Address, BodyType, Capabilities, Code, Command, EnhancedCode, EnvelopeId, Extension, Mail, Notify, Rcpt,
    Response, ReversePath,
};
use proto_smtp::{Config, Dialect, data::BareNewline};
use support::{config, describe, serve_cleartext, serve_secure, serve_trusting};

/// Parts of conversations, valid and malformed: their sequences reach every state.
fn client_says() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => prop::sample::select(vec![
            "EHLO c.example\r\n", "HELO c\r\n", "LHLO c\r\n", "STARTTLS\r\n", "AUTH PLAIN AHUAc2VjcmV0\r\n", "AUTH PLAIN\r\n",
            "AUTH LOGIN\r\n", "dQ==\r\n", "c2VjcmV0\r\n", "*\r\n", "AHUAc2VjcmV0\r\n", "MAIL FROM:<a@b>\r\n", "MAIL FROM:<> SIZE=9\r\n", "MAIL FROM:<> BY=5;N\r\n",
            "RCPT TO:<c@d>\r\n", "RCPT TO:<no@d>\r\n", "DATA\r\n", "BDAT 5\r\n", "BDAT 3 LAST\r\n", "BDAT 0 LAST\r\n", "x\r\n",
            "..\r\n", ".\r\n", "\r\n", "\n", "\r", ".", "RSET\r\n", "NOOP\r\n", "VRFY x\r\n", "HELP\r\n", "QUIT\r\n",
            "HELP x\r\n", "ETRN @a.b\r\n", "BURL imap://h/a\r\n", "BURL imap://h/a LAST\r\n", "BURL imap://no/a LAST\r\n", "BURL x\r\n",
            "XCLIENT NAME=a LOGIN=b+20c\r\n", "XFORWARD ADDR=192.0.2.1\r\n", "XFORWARD ADDR\r\n", "MAIL FROM:<a@b> PRDR\r\n", "XYZZY\r\n", "\0",
        ])
        .prop_map(|line| line.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(line, 0..24).prop_map(|lines| lines.concat())
}

fn server_says() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        8 => prop::sample::select(vec![
            "220 mx\r\n", "250-mx\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN\r\n", "250 ok\r\n", "250-a\r\n", "354 go\r\n", "334 \r\n",
            "334 VXNlcm5hbWU6\r\n", "235 ok\r\n", "550 5.1.1 no\r\n", "451 later\r\n", "421 bye\r\n", "221 bye\r\n", "502 no\r\n", "25", "\n",
        ])
        .prop_map(|line| line.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(line, 0..16).prop_map(|lines| lines.concat())
}

/// Splits an input at `cuts`.
fn pieces<'i>(input: &'i [u8], cuts: &[usize]) -> Vec<&'i [u8]> {
    let mut pieces = Vec::new();
    let mut rest = input;
    for cut in cuts {
        let (piece, behind) = rest.split_at(cut % (rest.len() + 1));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    pieces
}

/// A client that does everything as soon as possible, and its record.
fn converse(input: &[&[u8]]) -> (Vec<String>, Option<proto_mail::Error>) {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut client = Client::<Secure>::new(Config::default(), Secure::trusted_local());
    let mut seen = Vec::new();
    for piece in input.iter().chain([&&b""[..]]) {
        rx.extend(piece);
        if piece.is_empty() {
            rx.close();
        }
        loop {
            match client.next_event(&mut rx, &mut tx) {
                Ok(Some(event)) => {
                    seen.push(describe(&event));
                    match event {
                        Event::Capabilities(_) => {
                            let _ = client.mail(&Mail::new(ReversePath::Null), &mut tx);
                            let _ = client.rcpt(&Rcpt::new(Address::parse("a@b").unwrap()), &mut tx);
                            let _ = client.data(&mut tx);
                        }
                        Event::SendData(_) => {
                            let _ = client.data_writer().unwrap().write(b".x\r\n", &mut tx);
                            let _ = client.data_writer().unwrap().finish(&mut tx);
                        }
                        _ => {}
                    }
                }
                Ok(None) if tx.is_empty() => break,
                Ok(None) => drop(tx.take()),
                Err(error) => return (seen, Some(error)),
            }
        }
    }
    (seen, None)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn server_processes_input_alike_in_every_split(
        input in client_says(), cuts in prop::collection::vec(any::<usize>(), 0..12), lmtp in any::<bool>(), reject in any::<bool>(),
    ) {
        let config = config()
            .dialect(if lmtp { Dialect::Lmtp } else { Dialect::Smtp })
            .bare_newline(if reject { BareNewline::Reject } else { BareNewline::Accept });
        let cut = pieces(&input, &cuts);
        // STARTTLS is fatal exactly if bytes follow it in the buffer: the split may decide.
        let gate = input.windows(8).any(|word| word.eq_ignore_ascii_case(b"STARTTLS"));
        let whole = serve_cleartext(&config, &[&input]);
        if !gate {
            prop_assert_eq!(serve_cleartext(&config, &cut), whole);
        }
        prop_assert_eq!(serve_secure(&config, &cut), serve_secure(&config, &[&input]));
        let config = config.extensions(Extension::ALL.into_iter().collect());
        prop_assert_eq!(serve_trusting(&config, &cut), serve_trusting(&config, &[&input]));
    }

    #[test]
    fn server_replies_are_well_formed(input in prop::collection::vec(any::<u8>(), 0..300)) {
        let record = serve_cleartext(&config(), &[&input]);
        for line in record.output.split_terminator("\r\n") {
            prop_assert!(line.len() <= 510 && line.bytes().all(|byte| (32..127).contains(&byte)), "{:?}", line);
            let last = format!("{}\r\n", line.replacen('-', " ", 1));
            prop_assert!(Response::parse(last.as_bytes()).is_ok());
        }
    }

    #[test]
    fn client_processes_input_alike_in_every_split(input in server_says(), cut in any::<usize>()) {
        // What follows a reply in the same piece arrives before the next command is sent: the pieces that a real
        // server sends separately are fed separately, and split again.
        let lines: Vec<&[u8]> = input.split_inclusive(|&byte| byte == b'\n').collect();
        let mut cut_lines = Vec::new();
        for line in &lines {
            let (head, tail) = line.split_at(cut % line.len().max(1));
            cut_lines.extend([head, tail].into_iter().filter(|piece| !piece.is_empty()));
        }
        prop_assert_eq!(converse(&cut_lines), converse(&lines));
        let _ = converse(&[&input]);
    }

    #[test]
    fn parsers_do_not_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Command::parse(&input);
        if let Ok(response) = Response::parse(&input) {
            let _ = (response.text(), Capabilities::try_from(&response));
        }
        for prefix in ["MAIL FROM:<", "RCPT TO:<a@b> ", "EHLO ", "AUTH ", "BDAT ", "MAIL FROM:<> AUTH=", "MAIL FROM:<> HOLDUNTIL=2030-",
            "MAIL FROM:<> BY=", "BURL imap:", "ETRN ", "XCLIENT NAME=", "XFORWARD ADDR=x IDENT=", "XCLIENT LOGIN=+","XCLIENT ADDR=IPV6:",
            "MAIL FROM:<> SOLICIT=a", "RCPT TO:<a@b> ORCPT=utf-8;\\x{", "RCPT TO:<a@b> RRVS=2030-01-01T0",
        ] {
            let _ = Command::parse(&[prefix.as_bytes(), &input].concat());
        }
    }

    #[test]
    fn parses_or_ignores_any_ehlo_parameters(
        extension in prop::sample::select(Extension::ALL.to_vec()), words in "[ =,;:A-Za-z0-9.+-]{0,40}|[ -~]{0,40}|\\PC{0,20}",
    ) {
        let lines = format!("250-x\r\n250-{} {words}\r\n250 OK\r\n", extension.keyword());
        let Ok(response) = Response::parse(lines.as_bytes()) else { return Ok(()) };
        let extensions = Capabilities::try_from(&response).unwrap();
        prop_assert!(extensions.contains(extension));
        let limits = extensions.limits();
        for limit in [limits.mails, limits.recipients, limits.recipient_domains].into_iter().flatten() {
            prop_assert!(limit.get() <= 999_999);
        }
        prop_assert!(extensions.min_by_time().is_none_or(|seconds| seconds <= 999_999_999));
        let texts = [
            extensions.priority_profile().map(|profile| profile.to_string()),
            extensions.no_soliciting().map(|unwanted| unwanted.to_string()),
            extensions.future_release().map(|most| most.to_string()),
        ];
        let words = extensions.burl().map(|source| source.to_string());
        prop_assert!(extensions.xclient().chain(extensions.xforward()).all(|attribute| !attribute.name().is_empty()));
        let names = extensions.unknown_limits().map(|(name, _)| name.to_owned());
        for text in texts.into_iter().flatten().chain(words).chain(names) {
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
        }
    }

    #[test]
    fn written_commands_parse_to_the_same_value(
        local in "[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", quoted in "[ -~]{0,20}", domain in "[a-z0-9]{1,10}(\\.[a-z0-9]{1,10}){0,3}",
        size in any::<Option<u64>>(), envid in "[ -~]{1,20}", keyword in "[A-Z][A-Z0-9-]{0,10}", value in "[!-<>-~]{1,10}",
    ) {
        let text = format!("{local}@{domain}");
        let quoted = format!("\"{}\"@{domain}", quoted.replace('\\', "\\\\").replace('"', "\\\""));
        let mut mail = Mail::new(Address::parse(&text).unwrap()).with_body(BodyType::SevenBit);
        mail.size = size;
        mail.set_envid(EnvelopeId::encode(&envid).ok().as_ref());
        let pushed = mail.parameters.push(&keyword, Some(&value));
        let mut rcpt = Rcpt::new(Address::parse(&quoted).unwrap()).with_notify(Notify::DELAY);
        let _ = rcpt.parameters.push(&keyword, None);
        let mut tx = SendBuffer::new();
        Command::Mail(mail.clone()).encode(&mut tx);
        Command::Rcpt(rcpt).encode(&mut tx);
        let written = tx.take();
        let lines: Vec<&[u8]> = written.split_inclusive(|&byte| byte == b'\n').collect();
        prop_assert_eq!(lines.len(), 2);
        let Ok(Command::Mail(read)) = Command::parse(&lines[0][..lines[0].len() - 2]) else { panic!("{lines:?}") };
        prop_assert_eq!((&read.from, read.size, read.body, read.envid()), (&mail.from, mail.size, mail.body, mail.envid()));
        if pushed.is_ok() {
            prop_assert_eq!(read.parameters.find(&keyword), Some(Some(value.as_str())));
        }
        let Ok(Command::Rcpt(read)) = Command::parse(&lines[1][..lines[1].len() - 2]) else { panic!("{lines:?}") };
        prop_assert_eq!(read.to.as_str(), quoted);
    }

    #[test]
    fn addresses_are_written_safely(text in "\\PC{0,30}|[ -~\\r\\n\\x00]{0,30}") {
        if let Ok(address) = Address::parse(&text) {
            let mut tx = SendBuffer::new();
            Command::Rcpt(Rcpt::new(address.clone())).encode(&mut tx);
            let line = tx.take();
            let Ok(Command::Rcpt(read)) = Command::parse(&line[..line.len() - 2]) else { panic!("{text:?}") };
            prop_assert_eq!(read.to.as_str(), address.as_str());
            prop_assert!(!read.parameters.has_unknown());
        }
    }

    #[test]
    fn written_replies_parse_to_the_same_value(code in 200u16..600, subject in 0u16..1000, detail in 0u16..1000, text in any::<String>()) {
        let code = Code::new(code).unwrap();
        let mut response = Response::new(code, text);
        if let Some(enhanced) = EnhancedCode::new((code.get() / 100) as u8, subject, detail) {
            response = response.with_enhanced(enhanced);
        }
        let mut tx = SendBuffer::new();
        response.encode(&mut tx);
        let bytes = tx.take();
        let read = Response::parse(&bytes).unwrap();
        prop_assert_eq!(read.code(), code);
        if response.enhanced().is_some() {
            prop_assert_eq!(read.enhanced(), response.enhanced());
        }
    }

    #[test]
    fn data_arrives_unchanged(message in "([.a-c]{0,3}\r\n){0,20}", cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        let mut data = Vec::new();
        let mut writer = DotStuffer::new(LineEndings::Require);
        for piece in pieces(message.as_bytes(), &cuts) {
            writer.write(piece, |bytes| data.extend_from_slice(bytes)).unwrap();
        }
        writer.finish(|bytes| data.extend_from_slice(bytes)).unwrap();
        let read = DotUnstuffer::new(BareNewline::Reject).unstuff(&mut data.clone());
        prop_assert_eq!((read.consumed, read.stop), (data.len(), Stop::End));
        let mut back = data;
        DotUnstuffer::new(BareNewline::Reject).unstuff(&mut back);
        let back = &back[read.content];
        prop_assert_eq!(back, message.as_bytes());
    }
}
