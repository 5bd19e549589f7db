//! The inputs of the explored SMTP client, and the actions of its application. They are divided into alphabets, each
//! small enough to be explored completely.

use proto_mail::Mechanism;

use crate::custom_mechanism::CUSTOM_MECHANISM;
use crate::smtp_client::Move;

/// The possible inputs and actions.
#[derive(Debug)]
pub(crate) struct Alphabet {
    pub(crate) sayings: &'static [&'static str],
    pub(crate) commands: &'static [Move],
    /// The maximum number of commands in progress. `MAILWIRE_EXPLORE` raises it.
    pub(crate) most: usize,
}

/// The server's EHLO reply.
pub(crate) const OFFER: &str =
    "250-x\r\n250-STARTTLS\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN LOGIN X-CUSTOM\r\n";

/// All inputs and actions.
pub(crate) const ALL: &Alphabet = &Alphabet { sayings: CLIENT_LINES, commands: COMMANDS, most: 2 };

/// Login and TLS without a message.
pub(crate) const IDENTITY: &Alphabet = &Alphabet {
    sayings: CLIENT_LINES.split_at(1).1,
    commands: &[
        Move::StartTls,
        Move::Authenticate(Mechanism::Plain),
        Move::Authenticate(Mechanism::Login),
        Move::Authenticate(Mechanism::Custom(CUSTOM_MECHANISM)),
        Move::Mail,
        Move::Noop,
        Move::Quit,
    ],
    most: 2,
};

/// A whole session.
pub(crate) const SESSION: &Alphabet =
    &Alphabet { sayings: CLIENT_LINES.split_at(1).1, commands: COMMANDS, most: 2 };

/// Transactions with more commands in progress.
pub(crate) const TRANSACTIONS: &Alphabet = &Alphabet {
    sayings: &[
        "220 x\r\n",
        "250 x\r\n",
        OFFER,
        "250 x\r\n250 x\r\n",
        "250 x\r\n25",
        "354 x\r\n",
        "421 x\r\n",
        "450 x\r\n",
        "550 x\r\n",
    ],
    commands: &[Move::Mail, Move::Rcpt, Move::Data, Move::Message, Move::Chunk, Move::Reset],
    most: 3,
};

/// The same with fewer commands in progress. Used for LMTP, where the state includes the accepted recipients.
pub(crate) const RECIPIENTS: &Alphabet = &Alphabet { most: 2, ..*TRANSACTIONS };

const CLIENT_LINES: &[&str] = &[
    "\u{16}\u{3}\u{1}",
    "220 x\r\n",
    "250 x\r\n",
    OFFER,
    "250-x\r\n250 AUTH PLAIN\r\n",
    "250-x\r\n250 STARTTLS\r\n",
    // A reply in the same read as another one: it was prepared before its command.
    "220 x\r\n250 x\r\n",
    "220 x\r\n2",
    "250 x\r\n250 x\r\n",
    "250-x\r\n220 x\r\n",
    "221 x\r\n",
    "235 x\r\n",
    "334 \r\n",
    "334 ?\r\n",
    "354 x\r\n",
    "421 x\r\n",
    "450 x\r\n",
    "500 x\r\n",
    "550 x\r\n",
    "25",
    "250 x\n",
    "* OK x\r\n",
];

/// How a begun reply may continue.
pub(crate) const ENDINGS: &[&str] = &["0 x\r\n", "\n"];

const COMMANDS: &[Move] = &[
    Move::StartTls,
    Move::Authenticate(Mechanism::Plain),
    Move::Authenticate(Mechanism::Login),
    Move::Authenticate(Mechanism::Custom(CUSTOM_MECHANISM)),
    Move::Mail,
    Move::Rcpt,
    Move::Data,
    Move::Message,
    Move::Chunk,
    Move::Reset,
    Move::Noop,
    Move::Quit,
];
