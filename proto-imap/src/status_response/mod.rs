//! Status responses: `OK`, `NO`, `BAD`, `PREAUTH`, `BYE`, with their response codes (RFC 9051 §7.1).
//!
//! The response codes of RFC 9051, 3501, 5530, 4315, 7162, 5464, 2221, 4469, 8474 and others are typed; any other is kept
//! as received.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::capability::CapabilityList;
use crate::flags::FlagList;
use crate::grammar::lazy_list::LazyList;
use crate::grammar::owned::{owned_enum, owned_struct, plain};
use crate::grammar::string::{IString, show};
use crate::numbers::Numbers;
use core::fmt;
use core::num::NonZeroU32;
use proto_mail::error::ErrorDetails;

/// The condition that a status response states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// `OK`: done, or for information.
    Ok,
    /// `NO`: failed, or a warning.
    No,
    /// `BAD`: not understood.
    Bad,
    /// `PREAUTH`: a greeting; the session is authenticated already.
    PreAuth,
    /// `BYE`: the server is about to close the connection.
    Bye,
}

impl Condition {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::No => "NO",
            Self::Bad => "BAD",
            Self::PreAuth => "PREAUTH",
            Self::Bye => "BYE",
        }
    }
}

/// A condition with its response code and its text: `OK [READ-WRITE] SELECT completed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusResponse<'i> {
    /// What happened.
    pub condition: Condition,
    /// The same for machines.
    pub code: Option<ResponseCode<'i>>,
    /// The same for humans. May be empty.
    pub text: Text<'i>,
}

impl<'i> StatusResponse<'i> {
    /// A condition with a text and no code.
    #[must_use]
    pub const fn new(condition: Condition, text: Text<'i>) -> Self {
        Self { condition, code: None, text }
    }

    /// The same with a response code.
    #[must_use]
    pub const fn with_code(self, code: ResponseCode<'i>) -> Self {
        Self { code: Some(code), ..self }
    }
}

/// Text for humans, on one line: no CR, no LF, no NUL.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Text<'i>(&'i [u8]);

/// Why something cannot be a response's text: it has a line end or a NUL in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidText;

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a response's text is one line: no CR, no LF, no NUL")
    }
}

impl core::error::Error for InvalidText {}

impl ErrorDetails for InvalidText {}

impl<'i> Text<'i> {
    /// No text.
    pub const EMPTY: Text<'static> = Text(b"");

    /// This text.
    ///
    /// # Errors
    /// [`InvalidText`] if it is more than one line, or has a NUL.
    pub fn new(text: &'i str) -> Result<Self, InvalidText> {
        if text.bytes().any(is_forbidden) { Err(InvalidText) } else { Ok(Self(text.as_bytes())) }
    }

    /// The first line of this text, up to the first CR, LF or NUL.
    #[must_use]
    pub fn first_line(text: &'i str) -> Self {
        let bytes = text.as_bytes();
        let end = bytes.iter().position(|byte| is_forbidden(*byte)).unwrap_or(bytes.len());
        Self(bytes.get(..end).unwrap_or_default())
    }

    /// `text` is a piece of one line. A NUL can be in it if it was read tolerantly.
    pub(crate) const fn wire(text: &'i [u8]) -> Self {
        Self(text)
    }

    /// The bytes of the text: UTF-8, if the server keeps to the grammar.
    #[must_use]
    pub const fn as_bytes(&self) -> &'i [u8] {
        self.0
    }

    /// The text; bytes that are not UTF-8 are replaced by U+FFFD.
    #[must_use]
    pub fn to_str_lossy(&self) -> alloc::borrow::Cow<'i, str> {
        alloc::string::String::from_utf8_lossy(self.0)
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const fn is_forbidden(byte: u8) -> bool {
    matches!(byte, 0 | b'\r' | b'\n')
}

/// Safe to show: control characters are replaced by U+FFFD. [`to_str_lossy`](Text::to_str_lossy) has them.
impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(&self.to_str_lossy(), f)
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.to_str_lossy(), f)
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Response codes that have no argument.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum PlainCode {
            $($(#[$doc])* $name,)*
        }

        impl PlainCode {
            /// The code as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub(crate) fn from_wire(name: &[u8]) -> Option<Self> {
                $(if name.eq_ignore_ascii_case($text.as_bytes()) {
                    return Some(Self::$name);
                })*
                None
            }
        }
    };
}

codes! {
    /// Show the text to the user.
    Alert = "ALERT",
    /// The mailbox cannot be changed.
    ReadOnly = "READ-ONLY",
    /// The mailbox can be changed.
    ReadWrite = "READ-WRITE",
    /// The target mailbox does not exist: create it and try again.
    TryCreate = "TRYCREATE",
    /// UIDs of this mailbox do not last.
    UidNotSticky = "UIDNOTSTICKY",
    /// The previously selected mailbox was closed.
    Closed = "CLOSED",
    /// The message could not be parsed.
    Parse = "PARSE",
    /// A subsystem is down: try later.
    Unavailable = "UNAVAILABLE",
    /// Credentials are wrong, for whatever reason.
    AuthenticationFailed = "AUTHENTICATIONFAILED",
    /// Authenticated, but may not act as the other identity.
    AuthorizationFailed = "AUTHORIZATIONFAILED",
    /// The password must be changed.
    Expired = "EXPIRED",
    /// Not without TLS.
    PrivacyRequired = "PRIVACYREQUIRED",
    /// Ask the administrator.
    ContactAdmin = "CONTACTADMIN",
    /// Access rights do not allow it.
    NoPerm = "NOPERM",
    /// Another session holds it.
    InUse = "INUSE",
    /// Another session has expunged a message.
    ExpungeIssued = "EXPUNGEISSUED",
    /// Data are damaged.
    Corruption = "CORRUPTION",
    /// The server has a fault.
    ServerBug = "SERVERBUG",
    /// The client has a fault.
    ClientBug = "CLIENTBUG",
    /// Not possible on this server, ever.
    Cannot = "CANNOT",
    /// A limit of the server was reached.
    Limit = "LIMIT",
    /// The user's quota is or would be exceeded.
    OverQuota = "OVERQUOTA",
    /// What is to be created exists.
    AlreadyExists = "ALREADYEXISTS",
    /// What is to be deleted or used does not exist.
    NonExistent = "NONEXISTENT",
    /// SEARCH results were not saved.
    NotSaved = "NOTSAVED",
    /// The mailbox has children and cannot be deleted.
    HasChildren = "HASCHILDREN",
    /// The content transfer encoding cannot be decoded.
    UnknownCte = "UNKNOWN-CTE",
    /// The mailbox has no mod-sequences.
    NoModSeq = "NOMODSEQ",
    /// The message is too big.
    TooBig = "TOOBIG",
    /// The special-use attribute cannot be assigned.
    UseAttr = "USEATTR",
    /// Compression is active already.
    CompressionActive = "COMPRESSIONACTIVE",
    /// Too many notifications: NOTIFY is off.
    NotificationOverflow = "NOTIFICATIONOVERFLOW",
    /// Only UIDs can be used.
    UidRequired = "UIDREQUIRED",
    /// Failed for now: try later.
    TempFail = "TEMPFAIL",
    /// Access control cannot be evaluated.
    UnknownRight = "UNKNOWN-RIGHT",
}

/// A response code: what a status response tells to machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseCode<'i> {
    /// One without an argument.
    Plain(PlainCode),
    /// `APPENDUID validity uids` (RFC 4315): what an APPEND has made.
    AppendUid {
        /// UIDVALIDITY of the mailbox.
        uid_validity: u32,
        /// The UIDs, one for each message.
        uids: Numbers<'i>,
    },
    /// `BADCHARSET [(charsets)]`: the charset is unknown; those are known.
    BadCharset(LazyList<'i, IString<'i>>),
    /// `CAPABILITY …`
    Capability(CapabilityList<'i>),
    /// `COPYUID validity from to` (RFC 4315): what a COPY or MOVE has made.
    CopyUid {
        /// UIDVALIDITY of the target mailbox.
        uid_validity: u32,
        /// UIDs of the messages copied.
        source: Numbers<'i>,
        /// UIDs of the copies, in the same order.
        target: Numbers<'i>,
    },
    /// `HIGHESTMODSEQ n` (RFC 7162)
    HighestModSeq(u64),
    /// `MAILBOXID (id)` (RFC 8474)
    MailboxId(IString<'i>),
    /// `METADATA LONGENTRIES n` (RFC 5464): a value of this size in bytes was left out.
    MetadataLongEntries(u32),
    /// `METADATA MAXSIZE n` (RFC 5464): the greatest size of a value in bytes.
    MetadataMaxSize(u32),
    /// `MODIFIED set` (RFC 7162): these were changed by others and left alone.
    Modified(Numbers<'i>),
    /// `PERMANENTFLAGS (…)`: the flags that last.
    PermanentFlags(FlagList<'i>),
    /// `REFERRAL url` (RFC 2221)
    Referral(IString<'i>),
    /// `UIDNEXT n`: the least UID that the next message can have; `None` if the server said 0.
    UidNext(Option<NonZeroU32>),
    /// `UIDVALIDITY n`. 0, which only the tolerant parser accepts, means unknown.
    UidValidity(u32),
    /// `UNSEEN n` (RFC 3501): the first message without `\Seen`; `None` if the server said 0.
    Unseen(Option<NonZeroU32>),
    /// `BADURL url` (RFC 4469)
    BadUrl(IString<'i>),
    /// Any other.
    Other {
        /// The code's name.
        name: IString<'i>,
        /// What is behind the name, up to the closing bracket.
        argument: Option<IString<'i>>,
    },
}

plain!(Condition, PlainCode);

owned_struct!(StatusResponse { condition, code, text });

owned_struct!(Text { 0 });

owned_enum!(ResponseCode { Plain(a), AppendUid { uid_validity, uids }, BadCharset(a), Capability(a), CopyUid { uid_validity, source, target }, HighestModSeq(a), MailboxId(a), MetadataLongEntries(a), MetadataMaxSize(a), Modified(a), PermanentFlags(a), Referral(a), UidNext(a), UidValidity(a), Unseen(a), BadUrl(a), Other { name, argument } });
