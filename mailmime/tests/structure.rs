//! Tests MIME structure and sections on well-formed, malformed and random messages.

use mailmime::{Limits, Part, Scanner, Section, SectionText, Structure};
use proptest::prelude::*;

const NESTED: &str = concat!(
    "From: a@b\r\nSubject: outer\r\nMIME-Version: 1.0\r\n",
    "Content-Type: multipart/mixed; boundary=\"out\"\r\n\r\n",
    "preamble\r\n",
    "--out\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\nworld\r\n",
    "--out\r\nContent-Type: multipart/alternative; boundary=out-in\r\n\r\n",
    "--out-in\r\n\r\nplain\r\n",
    "--out-in\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\r\n<p>\r\n",
    "--out-in--\r\nepilogue of inner\r\n",
    "--out\r\nContent-Type: message/rfc822\r\nContent-Description: fwd\r\n\r\n",
    "From: c@d\r\nSubject: inner\r\nContent-Type: multipart/mixed; boundary=deep\r\n\r\n",
    "--deep\r\nContent-Type: application/pdf; name=x.pdf\r\nContent-Disposition: attachment; filename=\"x.pdf\"\r\n",
    "Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--deep--\r\n",
    "--out--  \r\nepilogue\r\n",
);

fn get(message: &[u8], path: &[u32], text: SectionText) -> Option<String> {
    let structure = Structure::parse(message);
    structure
        .section(message, &Section { path: path.to_vec(), text })
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn numbers_nested_parts_as_the_rfc_says() {
    let message = NESTED.as_bytes();
    let whole = |path: &[u32]| get(message, path, SectionText::Whole);
    assert_eq!(whole(&[]).unwrap(), NESTED);
    assert_eq!(whole(&[1]).unwrap(), "hello\r\nworld");
    assert_eq!(whole(&[2, 1]).unwrap(), "plain");
    assert_eq!(whole(&[2, 2]).unwrap(), "<p>");
    assert!(whole(&[2]).unwrap().ends_with("--out-in--\r\nepilogue of inner"));
    assert_eq!(whole(&[3, 1]).unwrap(), "AAAA");
    assert_eq!(get(message, &[3], SectionText::Header).unwrap().lines().nth(1), Some("Subject: inner"));
    assert_eq!(
        get(message, &[3], SectionText::HeaderFields(vec!["FROM".into()])).unwrap(),
        "From: c@d\r\n\r\n"
    );
    assert!(get(message, &[3], SectionText::Text).unwrap().starts_with("--deep"));
    assert!(get(message, &[3, 1], SectionText::Mime).unwrap().starts_with("Content-Type: application/pdf"));
    assert_eq!(get(message, &[2, 1], SectionText::Mime).unwrap(), "\r\n");
    assert!(get(message, &[3], SectionText::Mime).unwrap().contains("fwd"));
    for missing in [&[0][..], &[4], &[1, 1], &[3, 2], &[3, 1, 1]] {
        assert_eq!(whole(missing), None, "{missing:?}");
    }
    assert_eq!(get(message, &[1], SectionText::Header), None);
    assert_eq!(get(message, &[], SectionText::Mime), None);
}

#[test]
fn structure_has_the_fields_of_bodystructure() {
    let Structure { envelope, root, .. } = Structure::parse(NESTED.as_bytes());
    assert_eq!(envelope.subject.as_deref(), Some("outer"));
    assert_eq!(root.children.len(), 3);
    assert_eq!((root.children[0].lines, root.children[0].body_size()), (2, 12));
    assert_eq!(root.children[1].children[1].encoding, "quoted-printable");
    let forwarded = root.children[2].message.as_ref().unwrap();
    assert_eq!(forwarded.envelope.subject.as_deref(), Some("inner"));
    let pdf = &forwarded.root.children[0];
    assert_eq!(pdf.disposition.as_ref().unwrap().parameters, [("filename".to_owned(), "x.pdf".to_owned())]);
    assert_eq!(pdf.parameter("name"), Some("x.pdf"));
}

#[test]
fn reads_messages_without_mime() {
    let plain = b"Subject: x\r\n\r\none\r\ntwo\r\n";
    let root = Structure::parse(plain).root;
    assert_eq!((root.lines, root.body_size(), root.header.end), (2, 10, 14));
    assert_eq!(get(plain, &[1], SectionText::Whole).unwrap(), "one\r\ntwo\r\n");
    assert_eq!(get(plain, &[1], SectionText::Text), None, "a part that is not a message has no TEXT");
    assert_eq!(get(plain, &[], SectionText::Text).unwrap(), "one\r\ntwo\r\n");

    let empty = Structure::parse(b"").root;
    assert_eq!((empty.media_type.as_str(), empty.body_size(), empty.lines), ("text", 0, 0));
    assert_eq!(get(b"", &[], SectionText::Header).unwrap(), "");

    assert_eq!(get(b"\r\nbody", &[], SectionText::Header).unwrap(), "\r\n");
    assert_eq!(get(b"\r\nbody", &[], SectionText::Text).unwrap(), "body");
    assert_eq!(get(b"Subject: no body", &[], SectionText::Header).unwrap(), "Subject: no body");
    assert_eq!(get(b"Subject: x\n\nbare\nlf", &[1], SectionText::Whole).unwrap(), "bare\nlf");
    assert_eq!(Structure::parse(b"a: b\n\nbare\nlf").root.lines, 2);
}

#[test]
fn counts_lines_of_parts() {
    for (body, lines) in [("", 0), ("\r\n", 0), ("x\r\n", 1), ("x\r\n\r\n", 1), ("x\r\ny\r\n", 2)] {
        let message = format!("Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\n{body}--b--\r\n");
        let child = &Structure::parse(message.as_bytes()).root.children[0];
        assert_eq!(child.lines, lines, "{body:?}");
    }
}

#[test]
fn reads_malformed_multiparts() {
    let none = Structure::parse(b"Content-Type: multipart/mixed\r\n\r\ntext\r\n").root;
    assert_eq!(none.children.len(), 1, "IMAP can't express a multipart without parts");
    assert_eq!(none.children[0].body_size(), 0);

    let cut = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n";
    let root = Structure::parse(cut).root;
    assert_eq!(root.children[0].media_subtype, "html");

    let no_empty_line =
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: y\r\n--b\r\n\r\nz\r\n--b--";
    assert_eq!(Structure::parse(no_empty_line).root.children.len(), 2);
    assert_eq!(get(no_empty_line, &[2], SectionText::Whole).unwrap(), "z");
    assert_eq!(get(no_empty_line, &[1], SectionText::Whole).unwrap(), "");

    let outer_ends_inner = concat!(
        "Content-Type: multipart/a; boundary=o\n\n--o\nContent-Type: multipart/b; boundary=i\n\n",
        "--i\n\nunclosed\n--o\n\nnext\n--o--\n"
    );
    assert_eq!(get(outer_ends_inner.as_bytes(), &[1, 1], SectionText::Whole).unwrap(), "unclosed");
    assert_eq!(get(outer_ends_inner.as_bytes(), &[2], SectionText::Whole).unwrap(), "next");
}

#[test]
fn a_message_that_ends_with_its_header_keeps_the_line_end() {
    let message = |inner: &str| {
        let part = format!("--b\r\nContent-Type: message/rfc822\r\n\r\n{inner}--b--\r\n");
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{part}").into_bytes()
    };
    for (inner, lines) in [("Subject: no body\r\n", 1), ("Subject: empty body\r\n\r\n", 2), ("", 0)] {
        let message = message(inner);
        assert_eq!(get(&message, &[1], SectionText::Whole).unwrap(), inner);
        assert_eq!(get(&message, &[1], SectionText::Header).unwrap(), inner);
        assert_eq!(get(&message, &[1], SectionText::Text).unwrap(), "");
        assert_eq!(Structure::parse(&message).root.children[0].lines, lines, "{inner:?}");
    }
    let text = message("Subject: text\r\n\r\nx\r\n");
    assert_eq!(get(&text, &[1], SectionText::Whole).unwrap(), "Subject: text\r\n\r\nx");
    let inner = b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n\
        --i\r\nContent-Type: text/html\r\n--o--\r\n";
    assert!(get(inner, &[1], SectionText::Whole).unwrap().ends_with("text/html\r\n"));
}

#[test]
fn counts_the_parts_that_are_added_to_empty_multiparts() {
    let each = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\nno part\r\n";
    let message = format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n", each.repeat(1_000));
    let structure = Structure::parse(message.as_bytes());
    let children = &structure.root.children;
    let count = 1 + children.iter().map(|part| 1 + part.children.len()).sum::<usize>();
    assert!(structure.root.truncated && count <= Limits::default().parts, "{count} parts");
}

#[test]
fn parts_of_a_digest_are_messages() {
    let digest =
        b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: one\r\n\r\nx\r\n--b--\r\n";
    let root = Structure::parse(digest).root;
    assert_eq!(root.children[0].message.as_ref().unwrap().envelope.subject.as_deref(), Some("one"));
    assert_eq!(get(digest, &[1, 1], SectionText::Whole).unwrap(), "x");
}

#[test]
fn limits_depth_and_number_of_parts() {
    let deep: String = (0..500).map(|_| "Content-Type: message/rfc822\r\n\r\n").collect();
    let structure = Structure::parse(deep.as_bytes());
    let (mut part, mut depth) = (&structure.root, 1);
    while let Some(message) = &part.message {
        part = &message.root;
        depth += 1;
    }
    assert_eq!(depth, Limits::default().depth);
    assert_eq!(part.media_type, "application");

    let mut many = String::from("Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    many.push_str(&"--b\r\n\r\nx\r\n".repeat(5_000));
    let root = Structure::parse(many.as_bytes()).root;
    assert!(root.children.len() <= Limits::default().parts);
}

#[test]
fn agrees_with_mail_parser_on_well_formed_mail() {
    let parsed = mail_parser::MessageParser::default().parse(NESTED.as_bytes()).unwrap();
    let root = Structure::parse(NESTED.as_bytes()).root;
    let leaf = &root.children[1].children[0];
    let theirs = parsed.parts.iter().find(|p| p.text_contents() == Some("plain")).unwrap();
    assert_eq!(leaf.body.start, u64::from(theirs.raw_body_offset()));
    assert_eq!(leaf.body.end, u64::from(theirs.raw_end_offset()));
    assert_eq!(root.body.start, u64::from(parsed.parts[0].raw_body_offset()));
}

fn in_bounds(part: &Part, size: u64) -> bool {
    part.header.end <= size
        && part.body.end <= size
        && part.header.start <= part.header.end
        && part.body.start <= part.body.end
        && part.children.iter().all(|child| in_bounds(child, size))
        && part.message.as_ref().is_none_or(|message| in_bounds(&message.root, size))
}

/// Lines of multiparts, in any order.
fn random_mime_lines() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("Content-Type: multipart/mixed; boundary=a"),
        Just("Content-Type: multipart/digest; boundary=\"a b\""),
        Just("Content-Type: message/rfc822"),
        Just("From: Team: \"x\" <@r:y@z>, (c) d@e;"),
        Just("--a"),
        Just("--a--"),
        Just("--a b"),
        Just(""),
        Just("text \u{e9}"),
        Just("-- "),
        Just(" folded"),
    ];
    let end = prop_oneof![Just("\r\n"), Just("\n"), Just("\r"), Just("\r\r\n"), Just("")];
    prop::collection::vec((piece, end), 0..60)
        .prop_map(|lines| lines.into_iter().flat_map(|(a, b)| [a, b]).collect::<String>().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let structure = Structure::parse(&bytes);
        prop_assert!(in_bounds(&structure.root, bytes.len() as u64));
        mailmime::decode::encoded_words(&bytes);
        mailmime::decode::date(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn structure_is_independent_of_chunk_size(bytes in random_mime_lines(), cuts in prop::collection::vec(1_usize..9, 1..20)) {
        let whole = Structure::parse(&bytes);
        prop_assert!(in_bounds(&whole.root, bytes.len() as u64));
        let mut scanner = Scanner::default();
        let (mut rest, mut cuts) = (bytes.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (chunk, more) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            scanner.push(chunk);
            rest = more;
        }
        prop_assert_eq!(&scanner.finish(), &whole);
    }
}

/// Header fields made of the special characters of address lists and parameters.
fn random_header_fields() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("From"),
        Just("To"),
        Just("Cc"),
        Just("Subject"),
        Just("In-Reply-To"),
        Just("Content-Type"),
        Just("Content-Disposition"),
        Just("Content-Language"),
        Just("Content-ID")
    ];
    let value = prop::collection::vec(
        prop_oneof![
            Just(b"\"".to_vec()),
            Just(b"\\".to_vec()),
            Just(b"(".to_vec()),
            Just(b")".to_vec()),
            Just(b"<".to_vec()),
            Just(b">".to_vec()),
            Just(b"@".to_vec()),
            Just(b",".to_vec()),
            Just(b":".to_vec()),
            Just(b";".to_vec()),
            Just(b"=".to_vec()),
            Just(b"\r\n ".to_vec()),
            Just(b"\xc3".to_vec()),
            Just("ü".as_bytes().to_vec()),
            Just(b"=?utf-8?q?x?=".to_vec()),
            Just(vec![b'a'; 700]),
            Just(b"text/html".to_vec()),
            Just(b"\0\t".to_vec())
        ],
        0..40,
    );
    prop::collection::vec((name, value), 0..12).prop_map(|fields| {
        let mut header = Vec::new();
        for (name, value) in fields {
            header.extend_from_slice(name.as_bytes());
            header.extend_from_slice(b": ");
            header.extend(value.into_iter().flatten());
            header.extend_from_slice(b"\r\n");
        }
        header.extend_from_slice(b"\r\nbody");
        header
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn header_fields_are_independent_of_chunk_size_and_groups_are_closed(
        message in random_header_fields(),
        length in 1_usize..50,
    ) {
        let whole = Structure::parse(&message);
        let mut scanner = Scanner::default();
        message.chunks(length).for_each(|chunk| scanner.push(chunk));
        prop_assert_eq!(&scanner.finish(), &whole);
        for list in [&whole.envelope.from, &whole.envelope.to, &whole.envelope.cc] {
            let mut open = false;
            for address in list {
                if address.host.is_none() {
                    prop_assert_eq!(open, address.mailbox.is_none());
                    open = !open;
                }
                prop_assert_eq!(address.envelope_host().is_none(), address.host.is_none());
                prop_assert_ne!(address.envelope_host(), Some(""));
            }
            prop_assert!(!open);
        }
        let texts = [&whole.envelope.subject, &whole.envelope.in_reply_to, &whole.root.id];
        prop_assert!(texts.into_iter().flatten().all(|text| !text.contains(['\r', '\n', '\0'])));
        prop_assert_ne!(whole.root.id.as_deref(), Some(""));
    }
}
