//! Lines that are valid, almost valid, and invalid; always the same ones.

/// A seeded source of choices (xorshift64*).
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap() % count
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const VERBS: &[&str] = &[
    "MAIL FROM:",
    "MAIL FROM:",
    "MAIL FROM:",
    "RCPT TO:",
    "RCPT TO:",
    "RCPT TO:",
    "EHLO ",
    "HELO ",
    "LHLO ",
    "DATA",
    "BDAT ",
    "AUTH ",
    "STARTTLS",
    "RSET",
    "NOOP",
    "QUIT",
    "VRFY ",
    "EXPN ",
    "HELP",
    "NOOP ",
    "HELP ",
    "XYZZY",
    "MAIL",
    "RCPT",
    "DATA ",
    "RSET ",
    "QUIT ",
];

const PATHS: &[&str] = &[
    "<>",
    "<a@example.com>",
    "<first.last@sub.example.com>",
    "<a+b@example.com>",
    "<\"a b\"@example.com>",
    "<\"a\\\"b\"@example.com>",
    "<a@[192.0.2.1]>",
    "<a@[IPv6:2001:db8::1]>",
    "<@x.example,@y.example:a@z.example>",
    "<postmaster>",
    "<PostMaster>",
    "<a>",
    "<a@>",
    "<@b>",
    "<a@b@c>",
    "<a..b@example.com>",
    "<.a@example.com>",
    "<a.@example.com>",
    "a@example.com",
    "<a@example.com",
    "<a@exa mple.com>",
    " <a@example.com>",
    "<a@-b.example>",
    "<a@b_c.example>",
    "<grüße@example.com>",
    "<a@xn--bcher-kva.example>",
    "<a@example.com.>",
    "<a(b)@example.com>",
    "<a@[300.1.1.1]>",
    "<a@[x]>",
    "<a b@example.com>",
];

const MAIL_PARAMETERS: &[&str] = &[
    "SIZE=1000",
    "SIZE=0",
    "SIZE=",
    "SIZE=x",
    "SIZE=99999999999999999999999",
    "size=5",
    "BODY=8BITMIME",
    "BODY=7BIT",
    "BODY=BINARYMIME",
    "body=8bitmime",
    "BODY=9BIT",
    "BODY",
    "SMTPUTF8",
    "smtputf8",
    "SMTPUTF8=1",
    "RET=FULL",
    "RET=HDRS",
    "RET=ALL",
    "ENVID=abc",
    "ENVID=a+2Bb",
    "ENVID=",
    "ENVID=a+2",
    "AUTH=<>",
    "AUTH=a@example.com",
    "AUTH=e+3Dmc2@example.com",
    "REQUIRETLS",
    "REQUIRETLS=x",
    "BY=120;R",
    "BY=-5;N",
    "BY=120;NT",
    "BY=5;X",
    "BY=0;R",
    "HOLDFOR=60",
    "HOLDFOR=0",
    "HOLDUNTIL=2031-01-02T03:04:05Z",
    "MT-PRIORITY=3",
    "MT-PRIORITY=-9",
    "MT-PRIORITY=10",
    "SOLICIT=net.example:ADV",
    "CONPERM",
    "X-OWN=1",
    "X-OWN",
    "=",
    "A==",
];

const RCPT_PARAMETERS: &[&str] = &[
    "NOTIFY=NEVER",
    "NOTIFY=SUCCESS,FAILURE",
    "NOTIFY=SUCCESS,NEVER",
    "NOTIFY=NEVER,DELAY",
    "NOTIFY=DELAY",
    "NOTIFY=",
    "NOTIFY=x",
    "notify=success",
    "NOTIFY=SUCCESS,",
    "ORCPT=rfc822;a@example.com",
    "ORCPT=rfc822;a+2Bb@example.com",
    "ORCPT=x400;a",
    "ORCPT=rfc822;",
    "ORCPT=a",
    "RRVS=2014-04-03T23:01:00Z",
    "RRVS=2014-04-03T23:01:00Z;C",
    "RRVS=x",
    "CONNEG",
    "X-OWN=1",
    "X-OWN",
];

const WORDS: &[&str] = &[
    "",
    "client.example",
    "[192.0.2.7]",
    "[IPv6:::1]",
    "a b",
    "localhost",
    "1000",
    "1000 LAST",
    "0 last",
    "1000 FIRST",
    "-1",
    "12345678901234567890123",
    "PLAIN",
    "PLAIN AHUAcA==",
    "plain =",
    "LOGIN",
    "XOAUTH2 dQ==",
    "SCRAM-SHA-256",
    "SCRAM-SHA-256-PLUS biws",
    "CRAM-MD5",
    "NO_SUCH",
    "<a@example.com>",
    "some one",
    "\"quoted one\"",
];

/// One command with its CRLF.
pub(crate) fn command(draw: &mut Draw) -> Vec<u8> {
    let verb = draw.one(VERBS);
    let mut line = if draw.below(4) == 0 { verb.to_ascii_lowercase() } else { verb.to_owned() };
    if verb.ends_with(':') {
        line.push_str(draw.one(PATHS));
        let parameters = if verb.starts_with('M') { MAIL_PARAMETERS } else { RCPT_PARAMETERS };
        for _ in 0..[0, 0, 1, 1, 2, 3][draw.below(6)] {
            line.push(' ');
            line.push_str(draw.one(parameters));
        }
    } else if verb.ends_with(' ') {
        line.push_str(draw.one(WORDS));
    }
    let mut line = line.into_bytes();
    mutate(draw, &mut line, 8);
    line.extend_from_slice(b"\r\n");
    line
}

const REPLY_TEXTS: &[&str] = &[
    "",
    "OK",
    "2.0.0 fine",
    "2.1.5 Destination address valid",
    "4.2.0 wait",
    "5.1.1 no such user",
    "5.7.509 policy",
    "5.7.5090 x",
    "2.0 fine",
    "2.0.",
    "5.7.1",
    "mx.example ESMTP ready",
    "PIPELINING",
    "SIZE 1000",
    "2.0.0.0 x",
    "grüße",
    "-dash",
];

/// One reply of one to three lines with their CRLFs.
pub(crate) fn reply(draw: &mut Draw) -> Vec<u8> {
    let code = draw.one(&[
        "220", "250", "354", "334", "235", "421", "451", "500", "550", "554", "199", "600", "25", "2500",
    ]);
    let lines = draw.one(&[1, 1, 1, 2, 3]);
    let mut out = Vec::new();
    for line in 1..=lines {
        let code = if draw.below(30) == 0 { "251" } else { code };
        out.extend_from_slice(code.as_bytes());
        match draw.below(12) {
            0 if line == lines => {}
            _ => {
                out.push(if line < lines { b'-' } else { b' ' });
                out.extend_from_slice(draw.one(REPLY_TEXTS).as_bytes());
            }
        }
        out.extend_from_slice(if draw.below(30) == 0 { b"\n" } else { b"\r\n" });
    }
    let end = out.len() - 2;
    let mut head = out[..end].to_vec();
    mutate(draw, &mut head, 12);
    head.extend_from_slice(&out[end..]);
    head
}

/// Makes a small error in one of `once_in` lines, but not in the line's end.
fn mutate(draw: &mut Draw, line: &mut Vec<u8>, once_in: usize) {
    if draw.below(once_in) > 0 || line.is_empty() {
        return;
    }
    let at = draw.below(line.len());
    let byte = draw.one(&[
        0, b'\t', b' ', b'<', b'>', b'@', b':', b'=', b';', b'"', b'\\', 0x7f, 0xff, b'A', b'9', b'-', b'+',
        b'.',
    ]);
    match draw.below(4) {
        0 => line.insert(at, byte),
        1 => drop(line.remove(at)),
        2 => line.truncate(at),
        _ => line[at] = byte,
    }
}
