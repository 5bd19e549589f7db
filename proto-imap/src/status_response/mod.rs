//! Status responses: `OK`, `NO`, `BAD`, `PREAUTH`, `BYE`, with their response codes (RFC 9051 §7.1).
//!
//! The response codes of RFC 9051, 3501, 5530, 4315, 7162, 5464, 2221, 4469, 8474 and others are typed. Any other
//! code is kept as received.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::annotation::AnnotationSupport;
use crate::capability::CapabilityList;
use crate::flags::FlagList;
use crate::grammar::lazy_list::LazyList;
use crate::grammar::owned::{owned_enum, owned_struct, plain};
use crate::grammar::string::{IString, show};
use crate::numbers::Numbers;
use alloc::borrow::Cow;
use core::fmt;
use core::num::NonZeroU32;
use proto_mail::error::ErrorDetails;
use proto_mail::{ErrorCode, Rejection, RejectionKind};

/// The condition of a status response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// `OK`: success, or information.
    Ok,
    /// `NO`: failure, or a warning.
    No,
    /// `BAD`: a syntax or protocol error.
    Bad,
    /// `PREAUTH`: a greeting; the client is already logged in.
    PreAuth,
    /// `BYE`: the server is about to close the connection.
    Bye,
}

impl Condition {
    /// Returns the word on the wire.
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
    /// The condition.
    pub condition: Condition,
    /// The response code, for programs.
    pub code: Option<ResponseCode<'i>>,
    /// The text, for humans. May be empty.
    pub text: Text<'i>,
}

impl<'i> StatusResponse<'i> {
    /// Creates a response with a text and no code.
    #[must_use]
    pub const fn new(condition: Condition, text: Text<'i>) -> Self {
        Self { condition, code: None, text }
    }

    /// Returns the same response with a response code.
    #[must_use]
    pub const fn with_code(self, code: ResponseCode<'i>) -> Self {
        Self { code: Some(code), ..self }
    }

    /// Returns the status as the reason why the session ended.
    #[cold]
    pub(crate) fn rejection(&self, kind: RejectionKind) -> Rejection {
        let name = self.code.map(|code| code.name());
        let code = name.as_deref().map(ErrorCode::Imap);
        Rejection::new(kind, code, None, &self.text.to_str_lossy())
    }
}

/// Text for humans, on one line: no CR, no LF, no NUL.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Text<'i>(&'i [u8]);

/// The error for a text that a response cannot have: it contains a line end or a NUL.
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
    /// An empty text.
    pub const EMPTY: Text<'static> = Text(b"");

    /// Creates a text.
    ///
    /// # Errors
    /// [`InvalidText`] if it has more than one line, or contains a NUL.
    pub fn new(text: &'i str) -> Result<Self, InvalidText> {
        if text.bytes().any(is_forbidden) { Err(InvalidText) } else { Ok(Self(text.as_bytes())) }
    }

    /// Creates a text from the first line of `text`, up to the first CR, LF or NUL.
    #[must_use]
    pub fn first_line(text: &'i str) -> Self {
        let bytes = text.as_bytes();
        let end = bytes.iter().position(|byte| is_forbidden(*byte)).unwrap_or(bytes.len());
        Self(bytes.get(..end).unwrap_or_default())
    }

    /// Creates a text from a slice of one line. It can contain a NUL if it was parsed tolerantly.
    pub(crate) const fn wire(text: &'i [u8]) -> Self {
        Self(text)
    }

    /// Returns the bytes of the text: UTF-8, if the server follows the grammar.
    #[must_use]
    pub const fn as_bytes(&self) -> &'i [u8] {
        self.0
    }

    /// Returns the text; bytes that are not UTF-8 are replaced by U+FFFD.
    #[must_use]
    pub fn to_str_lossy(&self) -> Cow<'i, str> {
        alloc::string::String::from_utf8_lossy(self.0)
    }

    /// Returns whether the text is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const fn is_forbidden(byte: u8) -> bool {
    matches!(byte, 0 | b'\r' | b'\n')
}

/// Prints the text with control characters replaced by U+FFFD, which is safe to show.
/// [`to_str_lossy`](Text::to_str_lossy) keeps them.
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
            /// Returns the code on the wire.
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
    /// The UIDs of this mailbox are not persistent.
    UidNotSticky = "UIDNOTSTICKY",
    /// The previously selected mailbox was closed.
    Closed = "CLOSED",
    /// The message could not be parsed.
    Parse = "PARSE",
    /// A subsystem is unavailable: try again later.
    Unavailable = "UNAVAILABLE",
    /// Authentication failed, for any reason.
    AuthenticationFailed = "AUTHENTICATIONFAILED",
    /// Authenticated, but not allowed to act for the other identity.
    AuthorizationFailed = "AUTHORIZATIONFAILED",
    /// The password must be changed.
    Expired = "EXPIRED",
    /// The operation requires TLS.
    PrivacyRequired = "PRIVACYREQUIRED",
    /// The user should contact the administrator.
    ContactAdmin = "CONTACTADMIN",
    /// The user's rights do not permit it.
    NoPerm = "NOPERM",
    /// Another session is using it.
    InUse = "INUSE",
    /// Another session has expunged a message.
    ExpungeIssued = "EXPUNGEISSUED",
    /// Data are corrupted.
    Corruption = "CORRUPTION",
    /// The server has a bug.
    ServerBug = "SERVERBUG",
    /// The client has a bug.
    ClientBug = "CLIENTBUG",
    /// This server can never do it.
    Cannot = "CANNOT",
    /// A limit of the server was reached.
    Limit = "LIMIT",
    /// The user's quota is or would be exceeded.
    OverQuota = "OVERQUOTA",
    /// The object to be created already exists.
    AlreadyExists = "ALREADYEXISTS",
    /// The object to be deleted or used does not exist.
    NonExistent = "NONEXISTENT",
    /// SEARCH results were not saved.
    NotSaved = "NOTSAVED",
    /// The mailbox has children and cannot be deleted.
    HasChildren = "HASCHILDREN",
    /// The content transfer encoding cannot be decoded.
    UnknownCte = "UNKNOWN-CTE",
    /// The mailbox has no mod-sequences.
    NoModSeq = "NOMODSEQ",
    /// The message is too large.
    TooBig = "TOOBIG",
    /// A batch of UIDBATCHES is too small (RFC 10022).
    TooFew = "TOOFEW",
    /// The batches of UIDBATCHES have too many messages (RFC 10022).
    TooMany = "TOOMANY",
    /// The special-use attribute cannot be assigned.
    UseAttr = "USEATTR",
    /// Compression is already active.
    CompressionActive = "COMPRESSIONACTIVE",
    /// Too many notifications: NOTIFY was disabled.
    NotificationOverflow = "NOTIFICATIONOVERFLOW",
    /// Only UIDs can be used.
    UidRequired = "UIDREQUIRED",
    /// A temporary failure: try again later.
    TempFail = "TEMPFAIL",
    /// None of the comparators is available.
    BadComparator = "BADCOMPARATOR",
    /// Access control cannot be evaluated.
    UnknownRight = "UNKNOWN-RIGHT",
}

/// A response code: the machine-readable part of a status response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseCode<'i> {
    /// A code without an argument.
    Plain(PlainCode),
    /// `APPENDUID validity uids` (RFC 4315): the messages that an APPEND has created.
    AppendUid {
        /// UIDVALIDITY of the mailbox.
        uid_validity: u32,
        /// The UIDs, one for each message.
        uids: Numbers<'i>,
    },
    /// `BADCHARSET [(charsets)]`: the charset is unknown; the list has the known ones.
    BadCharset(LazyList<'i, IString<'i>>),
    /// `BADEVENT (events)` (RFC 5465 §3.1): an event of NOTIFY is not supported; the list has the supported ones.
    BadEvent(LazyList<'i, IString<'i>>),
    /// `CAPABILITY …`
    Capability(CapabilityList<'i>),
    /// `COPYUID validity from to` (RFC 4315): the messages that a COPY or MOVE has created.
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
    /// `INPROGRESS [(tag progress goal)]` (RFC 9585): a command is still being processed.
    InProgress(Progress<'i>),
    /// `MESSAGELIMIT n [uid]` (RFC 9738): the server has processed no more than this many messages, the largest UIDs
    /// first. The lowest UID that it has processed follows.
    MessageLimit {
        /// The limit.
        limit: u32,
        /// The lowest UID that was processed.
        lowest_uid: Option<NonZeroU32>,
    },
    /// `ANNOTATE TOOBIG` (RFC 5257): the value is too large.
    AnnotateTooBig,
    /// `ANNOTATE TOOMANY` (RFC 5257): the message has as many annotations as the server allows.
    AnnotateTooMany,
    /// `ANNOTATIONS …` (RFC 5257): what a client can do with the annotations of this mailbox's messages.
    Annotations(AnnotationSupport),
    /// `METADATA LONGENTRIES n` (RFC 5464): a value of this size in bytes was left out.
    MetadataLongEntries(u32),
    /// `METADATA MAXSIZE n` (RFC 5464): the maximum size of a value in bytes.
    MetadataMaxSize(u32),
    /// `METADATA NOPRIVATE` (RFC 5464): the server has no private entries.
    MetadataNoPrivate,
    /// `METADATA TOOMANY` (RFC 5464): the mailbox has as many entries as the server allows.
    MetadataTooMany,
    /// `MODIFIED set` (RFC 7162): other clients had changed these messages, so they were not modified.
    Modified(Numbers<'i>),
    /// `PERMANENTFLAGS (…)`: the flags that clients can change permanently.
    PermanentFlags(FlagList<'i>),
    /// `REFERRAL url` (RFC 2221)
    Referral(IString<'i>),
    /// `UIDNEXT n`: the lowest UID that the next message can have; `None` if the server sent 0.
    UidNext(Option<NonZeroU32>),
    /// `UIDVALIDITY n`. 0, which only the tolerant parser accepts, means unknown.
    UidValidity(u32),
    /// `UNSEEN n` (RFC 3501): the first message without `\Seen`; `None` if the server sent 0.
    Unseen(Option<NonZeroU32>),
    /// `BADURL url` (RFC 4469)
    BadUrl(IString<'i>),
    /// `NOUPDATE "tag"` (RFC 5267 §4.3.1): the server will not report changes of the result of the command with this tag.
    NoUpdate(IString<'i>),
    /// `UNDEFINED-FILTER name` (RFC 5466): there is no filter with this name.
    UndefinedFilter(IString<'i>),
    /// Any other.
    Other {
        /// The code's name.
        name: IString<'i>,
        /// The text after the name, up to the closing bracket.
        argument: Option<IString<'i>>,
    },
}

/// How far a command has come (RFC 9585 §4). All values are hints: they can go down, and the goal can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress<'i> {
    /// The command's tag.
    pub tag: Option<IString<'i>>,
    /// The number of items that were processed.
    pub done: Option<u32>,
    /// The number of items in total. Not sent without `done`.
    pub goal: Option<NonZeroU32>,
}

impl<'i> ResponseCode<'i> {
    /// Returns the code's name on the wire, without its arguments: `UIDNEXT`, for example.
    #[must_use]
    pub fn name(&self) -> Cow<'i, str> {
        Cow::Borrowed(match self {
            Self::Plain(plain) => plain.as_str(),
            Self::AppendUid { .. } => "APPENDUID",
            Self::BadCharset(_) => "BADCHARSET",
            Self::Capability(_) => "CAPABILITY",
            Self::CopyUid { .. } => "COPYUID",
            Self::HighestModSeq(_) => "HIGHESTMODSEQ",
            Self::MailboxId(_) => "MAILBOXID",
            Self::InProgress(_) => "INPROGRESS",
            Self::MessageLimit { .. } => "MESSAGELIMIT",
            Self::AnnotateTooBig => "ANNOTATE TOOBIG",
            Self::AnnotateTooMany => "ANNOTATE TOOMANY",
            Self::Annotations(_) => "ANNOTATIONS",
            Self::MetadataLongEntries(_) => "METADATA LONGENTRIES",
            Self::MetadataMaxSize(_) => "METADATA MAXSIZE",
            Self::MetadataNoPrivate => "METADATA NOPRIVATE",
            Self::MetadataTooMany => "METADATA TOOMANY",
            Self::Modified(_) => "MODIFIED",
            Self::PermanentFlags(_) => "PERMANENTFLAGS",
            Self::Referral(_) => "REFERRAL",
            Self::UidNext(_) => "UIDNEXT",
            Self::UidValidity(_) => "UIDVALIDITY",
            Self::Unseen(_) => "UNSEEN",
            Self::BadEvent(_) => "BADEVENT",
            Self::BadUrl(_) => "BADURL",
            Self::NoUpdate(_) => "NOUPDATE",
            Self::UndefinedFilter(_) => "UNDEFINED-FILTER",
            Self::Other { name, .. } => return alloc::string::String::from_utf8_lossy(name.raw()),
        })
    }
}

owned_struct!(Progress { tag, done, goal });

plain!(Condition, PlainCode);

owned_struct!(StatusResponse { condition, code, text });

owned_struct!(Text { 0 });

owned_enum!(ResponseCode { Plain(a), AppendUid { uid_validity, uids }, BadCharset(a), BadEvent(a), Capability(a), CopyUid { uid_validity, source, target }, HighestModSeq(a), MailboxId(a), InProgress(a), MessageLimit { limit, lowest_uid }, AnnotateTooBig, AnnotateTooMany, Annotations(a), MetadataLongEntries(a), MetadataMaxSize(a), MetadataNoPrivate, MetadataTooMany, Modified(a), PermanentFlags(a), Referral(a), UidNext(a), UidValidity(a), Unseen(a), BadUrl(a), NoUpdate(a), UndefinedFilter(a), Other { name, argument } });
