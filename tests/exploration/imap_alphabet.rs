//! The inputs of the explored IMAP server and IMAP client, and the actions of the client's application. They are
//! divided into alphabets, each small enough to be explored completely.

use crate::imap_client::Move;

/// What the client may send between two commands, in an exchange, during IDLE, and in a message. All of it is tried
/// everywhere.
#[rustfmt::skip]
pub(crate) const CLIENT_LINES: &[&str] = &[
    "a NOOP\r\n",
    "a STARTTLS\r\n",
    "DONE\r\n",
    "a CAPABILITY\r\n",
    "a LOGOUT\r\n",
    // STARTTLS with a whole or half a command in the same read.
    "a STARTTLS\r\nbb NOOP\r\n", "a STARTTLS\r\nb", "a NOOP\r\nbb STARTTLS\r\n", "a STARTTLS x\r\n",
    "a LOGIN x x\r\n", "a LOGIN {1}\r\n", "a LOGIN {1+}\r\nx x\r\n", "a LOGIN {1+}\r\nx {1}\r\n", "a LOGIN {1+}\r\n",
    "a LOGIN x\r\n", "a LOGIN {5}\r\n", "a LOGIN {5+}\r\nxxxxx x\r\n", "a LOGIN x x\r\nbb SELECT x\r\n",
    "a AUTHENTICATE PLAIN\r\n", "a AUTHENTICATE PLAIN AHgAeA==\r\n", "a AUTHENTICATE PLAIN =\r\n",
    "a AUTHENTICATE XYZZY\r\n", "a AUTHENTICATE PLAIN\r\nAHgAeA==\r\nbb NOOP\r\n", "AHgAeA==\r\n", "*\r\n", "?\r\n",
    "a SELECT x\r\n", "a EXAMINE x\r\n", "a SELECT {1}\r\n", "a UNSELECT\r\n", "a FETCH 1 FLAGS\r\n", "a EXPUNGE\r\n",
    "a SELECT x\r\nbb FETCH 1 FLAGS\r\n", "a ENABLE IMAP4rev2\r\n",
    "a APPEND x {2}\r\n", "a APPEND x {2+}\r\nxx\r\n", "a APPEND x {2+}\r\nx", "a APPEND x {2+}\r\nxxbb NOOP\r\n",
    "a APPEND x {0}\r\n", "a APPEND x {9}\r\n", "a APPEND x {9+}\r\nx", "xx\r\n", "x",
    "a IDLE\r\n", "a IDLE\r\nDONE\r\nbb NOOP\r\n", "a NOOP\r\nbb NOOP\r\n",
    // Commands after something that is no line end, and in the literal of a rejected command.
    "a NOOP\nbb NOOP\r\n", "a x {3}\nbb NOOP {3}\r\n", "a XYZZY {11+}\r\nbb LOGOUT\r\n", "a XYZZY {11}\r\nbb LOGOUT\r\n",
    "a XYZZY\r\n", "\r\n", "+ NOOP\r\n", "a NOOP {99999999999999999999}\r\n", "a NOOP {99999999999999999999+}\r\n",
    "a NO", "a NOOP\r", "GET / HTTP/1.1\r\n", "\u{16}\u{3}\u{1}",
    "a NOOP with words that go on and on until the line is longer than it may be\r\n",
];

/// How many of these entries a driver may already have read when the machine asks it to stop reading.
pub(crate) const AHEAD: usize = 3;

/// The entries that begin a line.
pub(crate) const BEGUN: &[&str] = &["b", "x", "a NO", "a NOOP\r", "\u{16}\u{3}\u{1}"];

/// How a begun line may continue, and what the client sends when the server has asked for more.
pub(crate) const ENDINGS: &[&str] = &["\r\n", "\r", "\n", "OP\r\n", "x x\r\n", "x {1}\r\n", "x"];

/// A part of the possible actions, small enough to be explored completely.
#[derive(Debug)]
pub(crate) struct Room {
    /// Whether TLS is established.
    pub(crate) secure: bool,
    /// Whether the program allows login in cleartext.
    pub(crate) danger: bool,
    /// The maximum number of commands in progress.
    pub(crate) pipelined: usize,
    /// The application's actions.
    pub(crate) commands: &'static [Move],
    /// The server's untagged responses.
    pub(crate) sayings: &'static [&'static str],
    /// The server's tagged responses.
    pub(crate) answers: &'static [&'static str],
}

/// Only what leads to TLS.
pub(crate) const CLEAR: Room = Room {
    secure: false,
    danger: false,
    pipelined: 2,
    commands: &[
        Move::StartTls,
        Move::Plain,
        Move::Select,
        Move::Append,
        Move::Idle,
        Move::Done,
        Move::Noop,
        Move::Logout,
    ],
    sayings: &[
        "* OK x\r\n",
        "* OK [CAPABILITY STARTTLS AUTH=PLAIN] x\r\n",
        "* OK [CAPABILITY IMAP4rev1] x\r\n",
        "* CAPABILITY IMAP4rev1\r\n",
        "* CAPABILITY STARTTLS AUTH=PLAIN\r\n",
        "* PREAUTH x\r\n",
        "* BYE x\r\n",
        "* NO x\r\n",
        "* 1 EXISTS\r\n",
        "* 1 FETCH (BODY[] {2}\r\nxx)\r\n",
        "* O",
        "+ x\r\n",
        "\r\n",
        "\u{16}\u{3}\u{1}",
    ],
    answers: ANSWERS,
};

/// Login. `CAPABILITY` without `AUTH=PLAIN` leaves only LOGIN.
pub(crate) const PROOF: Room = Room {
    secure: true,
    danger: false,
    pipelined: 2,
    commands: &[Move::Plain, Move::Strongest, Move::Select],
    sayings: &[
        "* OK x\r\n",
        "* OK [CAPABILITY AUTH=PLAIN SASL-IR] x\r\n",
        "* CAPABILITY AUTH=PLAIN\r\n",
        "* CAPABILITY LOGINDISABLED\r\n",
        "* BYE x\r\n",
        "+ \r\n",
        "+ ?\r\n",
    ],
    answers: &[" OK x\r\n", " NO x\r\n", " OK [CAPABILITY AUTH=PLAIN] x\r\n"],
};

/// Like [`PROOF`], but the program allows login in cleartext.
pub(crate) const DANGER: Room = Room {
    secure: false,
    danger: true,
    pipelined: 1,
    commands: &[Move::StartTls, Move::Plain, Move::Strongest, Move::Noop, Move::Logout],
    sayings: &[
        "* OK x\r\n",
        "* OK [CAPABILITY STARTTLS AUTH=PLAIN SASL-IR] x\r\n",
        "* CAPABILITY AUTH=PLAIN\r\n",
        "* CAPABILITY LOGINDISABLED\r\n",
        "* PREAUTH x\r\n",
        "* BYE x\r\n",
        "* 1 EXISTS\r\n",
        "+ \r\n",
        "+ ?\r\n",
        "* O",
    ],
    answers: ANSWERS,
};

/// A session of an authenticated client.
pub(crate) const SESSION: Room = Room {
    secure: true,
    danger: false,
    pipelined: 2,
    commands: &[
        Move::Select,
        Move::Append,
        Move::Payload,
        Move::TooMuch,
        Move::List,
        Move::Idle,
        Move::Done,
        Move::Logout,
    ],
    sayings: &["* BYE x\r\n", "* 1 EXISTS\r\n", "+ x\r\n"],
    answers: &[" OK x\r\n", " NO x\r\n"],
};

/// Messages that arrive in parts during other commands.
pub(crate) const FETCH: Room = Room {
    secure: true,
    danger: false,
    pipelined: 1,
    commands: &[Move::Select, Move::Idle, Move::Done, Move::Noop],
    sayings: &["* 1 FETCH (BODY[] {2}\r\nxx)\r\n", "* 1 FETCH (BODY[] {2}\r\nx", "* O", "+ x\r\n"],
    answers: &[" OK x\r\n", " NO x\r\n", " OK [READ-ONLY] x\r\n", " O"],
};

/// The server's tagged responses.
const ANSWERS: &[&str] = &[
    " OK x\r\n",
    " NO x\r\n",
    " BAD x\r\n",
    " BYE x\r\n",
    " OK [CAPABILITY AUTH=PLAIN] x\r\n",
    // A response in the same read as the completion: it was prepared before its command.
    " OK x\r\n* OK x\r\n",
    " OK x\r\n*",
    " O",
];

/// How a begun response may continue.
pub(crate) const RESPONSE_ENDINGS: &[&str] = &["K x\r\n", "\r\n", "x)\r\n"];
