//! The inputs of the explored IMAP server and IMAP client, and the actions of the client's application. They are
//! divided into alphabets, each small enough to be explored completely.

use crate::imap_client::Action;

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
pub(crate) const READ_AHEAD: usize = 3;

/// The entries that begin a line.
pub(crate) const PARTIAL_LINES: &[&str] = &["b", "x", "a NO", "a NOOP\r", "\u{16}\u{3}\u{1}"];

/// How a begun line may continue, and what the client sends when the server has asked for more.
pub(crate) const LINE_ENDINGS: &[&str] = &["\r\n", "\r", "\n", "OP\r\n", "x x\r\n", "x {1}\r\n", "x"];

/// A part of the possible actions, small enough to be explored completely.
#[derive(Debug)]
pub(crate) struct Alphabet {
    /// Whether TLS is established.
    pub(crate) secure: bool,
    /// Whether the program allows login in cleartext.
    pub(crate) allows_cleartext_login: bool,
    /// The maximum number of commands in progress.
    pub(crate) max_in_progress: usize,
    /// The application's actions.
    pub(crate) commands: &'static [Action],
    /// The server's untagged responses.
    pub(crate) peer_input: &'static [&'static str],
    /// The server's tagged responses.
    pub(crate) tagged: &'static [&'static str],
}

/// Only what leads to TLS.
pub(crate) const CLEARTEXT: Alphabet = Alphabet {
    secure: false,
    allows_cleartext_login: false,
    max_in_progress: 2,
    commands: &[
        Action::StartTls,
        Action::LogInByPlain,
        Action::Select,
        Action::Append,
        Action::Idle,
        Action::Done,
        Action::Noop,
        Action::Logout,
    ],
    peer_input: &[
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
    tagged: TAGGED_RESPONSES,
};

/// Login. `CAPABILITY` without `AUTH=PLAIN` leaves only LOGIN.
pub(crate) const LOGIN: Alphabet = Alphabet {
    secure: true,
    allows_cleartext_login: false,
    max_in_progress: 2,
    commands: &[Action::LogInByPlain, Action::LogInByStrongest, Action::Select],
    peer_input: &[
        "* OK x\r\n",
        "* OK [CAPABILITY AUTH=PLAIN SASL-IR] x\r\n",
        "* CAPABILITY AUTH=PLAIN\r\n",
        "* CAPABILITY LOGINDISABLED\r\n",
        "* BYE x\r\n",
        "+ \r\n",
        "+ ?\r\n",
    ],
    tagged: &[" OK x\r\n", " NO x\r\n", " OK [CAPABILITY AUTH=PLAIN] x\r\n"],
};

/// Like [`LOGIN`], but the program allows login in cleartext.
pub(crate) const CLEARTEXT_LOGIN: Alphabet = Alphabet {
    secure: false,
    allows_cleartext_login: true,
    max_in_progress: 1,
    commands: &[
        Action::StartTls,
        Action::LogInByPlain,
        Action::LogInByStrongest,
        Action::Noop,
        Action::Logout,
    ],
    peer_input: &[
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
    tagged: TAGGED_RESPONSES,
};

/// A session of an authenticated client.
pub(crate) const SESSION: Alphabet = Alphabet {
    secure: true,
    allows_cleartext_login: false,
    max_in_progress: 2,
    commands: &[
        Action::Select,
        Action::Append,
        Action::WritePayload,
        Action::WriteTooMuch,
        Action::List,
        Action::Idle,
        Action::Done,
        Action::Logout,
    ],
    peer_input: &["* BYE x\r\n", "* 1 EXISTS\r\n", "+ x\r\n"],
    tagged: &[" OK x\r\n", " NO x\r\n"],
};

/// Messages that arrive in parts during other commands.
pub(crate) const FETCH: Alphabet = Alphabet {
    secure: true,
    allows_cleartext_login: false,
    max_in_progress: 1,
    commands: &[Action::Select, Action::Idle, Action::Done, Action::Noop],
    peer_input: &["* 1 FETCH (BODY[] {2}\r\nxx)\r\n", "* 1 FETCH (BODY[] {2}\r\nx", "* O", "+ x\r\n"],
    tagged: &[" OK x\r\n", " NO x\r\n", " OK [READ-ONLY] x\r\n", " O"],
};

/// The server's tagged responses.
const TAGGED_RESPONSES: &[&str] = &[
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
