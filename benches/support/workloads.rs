//! The inputs, the same for every implementation. They are generated from a counter, so that each run has the same
//! bytes.

use std::fmt::Write;

/// A deterministic sequence of numbers that looks random.
struct Mix(u64);

impl Mix {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// `count` FETCH responses with FLAGS and UID, about 45 bytes each.
pub fn fetch_flags(count: usize) -> Vec<u8> {
    const FLAGS: [&str; 5] = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Forwarded"];
    let mut mix = Mix(1);
    let mut text = String::new();
    for n in 1..=count {
        let first = FLAGS[mix.next(5) as usize];
        let second = FLAGS[mix.next(5) as usize];
        let _ = write!(text, "* {n} FETCH (FLAGS ({first} {second}) UID {})\r\n", n * 3);
    }
    text.into_bytes()
}

/// A BODYSTRUCTURE with all its extension data, nested `depth` deep.
fn body_structure(mix: &mut Mix, depth: usize) -> String {
    if depth == 0 {
        let bytes = mix.next(90_000);
        return match mix.next(3) {
            0 => format!(
                "(\"text\" \"plain\" (\"charset\" \"utf-8\" \"format\" \"flowed\") NIL NIL \"quoted-printable\" {bytes} {} NIL NIL NIL NIL)",
                bytes / 60
            ),
            1 => format!(
                "(\"text\" \"html\" (\"charset\" \"utf-8\") NIL NIL \"base64\" {bytes} {} NIL (\"inline\" NIL) \"en\" NIL)",
                bytes / 78
            ),
            _ => format!(
                "(\"application\" \"pdf\" (\"name\" \"report-{bytes}.pdf\") \"<p{bytes}@example.com>\" \"A report\" \"base64\" {bytes} NIL (\"attachment\" (\"filename\" \"report-{bytes}.pdf\" \"size\" \"{bytes}\")) NIL NIL)"
            ),
        };
    }
    let first = body_structure(mix, 0);
    let second = body_structure(mix, depth - 1);
    format!("({first}{second} \"mixed\" (\"boundary\" \"=_{:x}\") NIL NIL NIL)", mix.next(1 << 30))
}

/// `count` FETCH responses with ENVELOPE and BODYSTRUCTURE, about 1 KB each, multiparts to depth 4.
pub fn fetch_structure(count: usize) -> Vec<u8> {
    let mut mix = Mix(2);
    let mut text = String::new();
    for n in 1..=count {
        let id = mix.next(1 << 30);
        let structure = body_structure(&mut mix, 1 + n % 4);
        let _ = write!(
            text,
            "* {n} FETCH (UID {n} ENVELOPE (\"Sat, 21 Nov 2026 12:{:02}:{:02} +0100\" \"Re: the {id} th report of the week\" \
             ((\"Alice Adams\" NIL \"alice.adams\" \"example.com\")) ((\"Alice Adams\" NIL \"alice.adams\" \"example.com\")) \
             ((NIL NIL \"reply\" \"example.com\")) ((\"Bob Brown\" NIL \"bob\" \"example.org\")(NIL NIL \"carol\" \"example.org\")) \
             ((\"Dave \\\"D\\\" Dunn\" NIL \"dave\" \"example.net\")) NIL \"<r{id}@example.com>\" \"<m{id}.{n}@example.com>\") \
             BODYSTRUCTURE {structure})\r\n",
            mix.next(60),
            mix.next(60),
        );
    }
    text.into_bytes()
}

/// One FETCH response with a body of `length` bytes.
pub fn fetch_body(length: usize) -> Vec<u8> {
    let mut bytes = format!("* 1 FETCH (UID 1 BODY[] {{{length}}}\r\n").into_bytes();
    bytes.extend(lines(length));
    bytes.extend(b")\r\n");
    bytes
}

/// Ordinary text in lines of 78 bytes, cut to length.
pub fn lines(bytes: usize) -> Vec<u8> {
    let mut mix = Mix(3);
    let mut text = Vec::with_capacity(bytes + 80);
    while text.len() < bytes {
        for _ in 0..76 {
            text.push(b'a' + mix.next(26) as u8);
        }
        text.extend(b"\r\n");
    }
    text.truncate(bytes);
    text
}

/// `count` SMTP commands as submission clients send them: transactions of MAIL, two RCPT and RSET, with parameters.
pub fn smtp_commands(count: usize) -> Vec<u8> {
    let mut mix = Mix(4);
    let mut text = String::new();
    for n in 0..count {
        let id = mix.next(100_000);
        let _ = match n % 4 {
            0 => write!(text, "MAIL FROM:<sender{id}@example.com> SIZE={} BODY=8BITMIME\r\n", id * 7),
            1 => write!(text, "RCPT TO:<recipient{id}@mail.example.org>\r\n"),
            2 => write!(text, "RCPT TO:<other.person{id}@example.net> NOTIFY=FAILURE,DELAY\r\n"),
            _ => write!(text, "RSET\r\n"),
        };
    }
    text.into_bytes()
}

/// `count` completions, of the commands that Mailwire's client sends after its first.
pub fn imap_completions(count: usize) -> Vec<u8> {
    let mut text = String::new();
    for n in 0..count {
        let _ = write!(text, "M{} OK NOOP completed\r\n", n + 2);
    }
    text.into_bytes()
}

/// `count` IMAP commands of a client that fetches and sets flags.
pub fn imap_commands(count: usize) -> Vec<u8> {
    let mut text = String::new();
    for n in 0..count {
        let _ = match n % 3 {
            0 => write!(text, "A{n} UID FETCH {} (FLAGS)\r\n", n + 1),
            1 => write!(text, "A{n} UID STORE {} +FLAGS.SILENT (\\Seen)\r\n", n + 1),
            _ => write!(text, "A{n} NOOP\r\n"),
        };
    }
    text.into_bytes()
}

/// `count` positive replies.
pub fn smtp_replies(count: usize) -> Vec<u8> {
    b"250 2.0.0 Ok\r\n".repeat(count)
}

/// `count` transactions with a message of about 2 KiB each, sent without waiting for replies.
pub fn smtp_messages(count: usize) -> Vec<u8> {
    let message = data_typical(2048);
    let mut text = Vec::with_capacity(count * (message.len() + 80));
    for n in 0..count {
        text.extend(
            format!("MAIL FROM:<s{n}@example.com>\r\nRCPT TO:<r@example.org>\r\nDATA\r\n").as_bytes(),
        );
        text.extend(&message);
    }
    text
}

/// A message of about `bytes` bytes as DATA carries it: lines of 78 bytes, one in a hundred stuffed, and the end.
pub fn data_typical(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 100);
    for (n, line) in lines(bytes).chunks(78).enumerate() {
        if n % 100 == 99 {
            text.extend(b"..stuffed\r\n");
        }
        text.extend(line);
    }
    if !text.ends_with(b"\r\n") {
        text.extend(b"\r\n");
    }
    text.extend(b".\r\n");
    text
}

/// The worst message for undoing dot-stuffing: each line is a dot.
pub fn data_dots(bytes: usize) -> Vec<u8> {
    // An ordinary line first, since not every peer accepts a stuffed dot at the very beginning.
    let mut text = b"dots:\r\n".to_vec();
    text.extend(b"..\r\n".repeat(bytes / 4));
    text.extend(b".\r\n");
    text
}

/// The number of bytes of a message without its stuffing and end.
pub fn unstuffed_len(data: &[u8]) -> u64 {
    let body = data.strip_suffix(b".\r\n").unwrap_or(data);
    let dots = body.split_inclusive(|&byte| byte == b'\n').filter(|line| line.starts_with(b".")).count();
    (body.len() - dots) as u64
}
