//! The inputs of the explored SMTP client, and the actions of its application. They are divided into alphabets, each
//! small enough to be explored completely.

use proto_mail::Mechanism;

use crate::custom_mechanism::CUSTOM_MECHANISM;
use crate::smtp_client::Action;

/// The possible inputs and actions.
#[derive(Debug)]
pub(crate) struct Alphabet {
    pub(crate) peer_input: &'static [&'static str],
    pub(crate) commands: &'static [Action],
    /// The maximum number of commands in progress. `MAILWIRE_EXPLORE` raises it.
    pub(crate) max_in_progress: usize,
}

/// The server's EHLO reply.
pub(crate) const OFFER: &str =
    "250-x\r\n250-STARTTLS\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN LOGIN X-CUSTOM\r\n";

/// All inputs and actions.
pub(crate) const ALL: &Alphabet =
    &Alphabet { peer_input: CLIENT_LINES, commands: COMMANDS, max_in_progress: 2 };

/// Login and TLS without a message.
pub(crate) const IDENTITY: &Alphabet = &Alphabet {
    peer_input: CLIENT_LINES.split_at(1).1,
    commands: &[
        Action::StartTls,
        Action::Authenticate(Mechanism::Plain),
        Action::Authenticate(Mechanism::Login),
        Action::Authenticate(Mechanism::Custom(CUSTOM_MECHANISM)),
        Action::Mail,
        Action::Noop,
        Action::Quit,
    ],
    max_in_progress: 2,
};

/// A whole session.
pub(crate) const SESSION: &Alphabet =
    &Alphabet { peer_input: CLIENT_LINES.split_at(1).1, commands: COMMANDS, max_in_progress: 2 };

/// Transactions with more commands in progress.
pub(crate) const TRANSACTIONS: &Alphabet = &Alphabet {
    peer_input: &[
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
    commands: &[Action::Mail, Action::Rcpt, Action::Data, Action::Message, Action::Chunk, Action::Reset],
    max_in_progress: 3,
};

/// The same with fewer commands in progress. Used for LMTP, where the state includes the accepted recipients.
pub(crate) const RECIPIENTS: &Alphabet = &Alphabet { max_in_progress: 2, ..*TRANSACTIONS };

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
pub(crate) const LINE_ENDINGS: &[&str] = &["0 x\r\n", "\n"];

const COMMANDS: &[Action] = &[
    Action::StartTls,
    Action::Authenticate(Mechanism::Plain),
    Action::Authenticate(Mechanism::Login),
    Action::Authenticate(Mechanism::Custom(CUSTOM_MECHANISM)),
    Action::Mail,
    Action::Rcpt,
    Action::Data,
    Action::Message,
    Action::Chunk,
    Action::Reset,
    Action::Noop,
    Action::Quit,
];
