//! URLs with an authorization: `GENURLAUTH`, `URLFETCH` and `RESETKEY` (RFC 4467), and the extended `URLFETCH` (RFC 5524).
//!
//! [`ImapUrl`](crate::types::ImapUrl) parses and writes the URLs. A URL with a token lets its bearer read the message.

pub(crate) mod encode;
pub(crate) mod parse;

use crate::body_structure::BodyStructure;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::lazy_list::{LazyList, LazyValue};
use crate::grammar::owned::{owned_enum, owned_struct};
use crate::grammar::string::IString;
use crate::mailbox_name::MailboxName;

/// A URL without a token, and the mechanism that shall authorize it: an argument of `GENURLAUTH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UrlRequest<'i> {
    /// The URL, up to the access: `imap://joe@example.com/INBOX/;UID=20;URLAUTH=submit+fred`.
    pub url: IString<'i>,
    /// The mechanism; `INTERNAL` is the only one that the RFC defines.
    pub mechanism: IString<'i>,
}

impl<'i> UrlRequest<'i> {
    /// Creates a request with the mechanism `INTERNAL`.
    #[must_use]
    pub const fn internal(url: IString<'i>) -> Self {
        Self { url, mechanism: IString::new(b"INTERNAL") }
    }
}

/// `RESETKEY`: makes the URLs with a token invalid, and returns the mechanisms of a mailbox in `URLMECH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetKeyCommand<'i> {
    /// The mailbox; `None` for all mailboxes of the user.
    pub mailbox: Option<MailboxName<'i>>,
    /// The mechanisms that the mailbox shall have; empty for the default. Requires a mailbox.
    pub mechanisms: LazyList<'i, IString<'i>>,
}

/// A URL whose contents `URLFETCH` requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UrlFetchItem<'i> {
    /// The URL, with its token.
    pub url: IString<'i>,
    /// What is requested (RFC 5524). `None` requests the contents in the form of RFC 4467; an empty list asks only whether
    /// the URL is valid.
    pub parameters: Option<LazyList<'i, UrlParameter>>,
}

impl<'i> UrlFetchItem<'i> {
    /// Requests the contents as they are stored (RFC 4467).
    #[must_use]
    pub const fn contents(url: IString<'i>) -> Self {
        Self { url, parameters: None }
    }
}

/// What an extended `URLFETCH` requests (RFC 5524 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlParameter {
    /// `BODY`: the contents as they are stored.
    Body,
    /// `BINARY`: the contents without their content transfer encoding.
    Binary,
    /// `BODYPARTSTRUCTURE`: the structure of the part.
    BodyPartStructure,
}

/// The answer for one URL of `URLFETCH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UrlData<'i> {
    /// The URL, as requested.
    pub url: IString<'i>,
    /// The contents.
    pub contents: UrlContents<'i>,
}

/// The contents of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlContents<'i> {
    /// The contents in the form of RFC 4467; `None` if the URL is not valid, or there are none.
    Simple(Option<IString<'i>>),
    /// What an extended `URLFETCH` has requested (RFC 5524).
    Extended(LazyList<'i, UrlMetadata<'i>>),
}

/// An item of the answer to an extended `URLFETCH` (RFC 5524 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlMetadata<'i> {
    /// `BODY`: the contents as they are stored.
    Body(Option<IString<'i>>),
    /// `BINARY`: the decoded contents, which may contain NUL; `None` if their encoding is not known.
    Binary(Option<IString<'i>>),
    /// `BODYPARTSTRUCTURE`: the structure of the part.
    BodyPartStructure(LazyValue<'i, BodyStructure<'i>>),
}

impl Sealed for UrlRequest<'_> {}

impl Sealed for UrlFetchItem<'_> {}

impl Sealed for UrlParameter {}

impl Sealed for UrlData<'_> {}

impl Sealed for UrlMetadata<'_> {}

crate::grammar::owned::plain!(UrlParameter);

owned_struct!(UrlRequest { url, mechanism });

owned_struct!(ResetKeyCommand { mailbox, mechanisms });

owned_struct!(UrlFetchItem { url, parameters });

owned_struct!(UrlData { url, contents });

owned_enum!(UrlContents { Simple(a), Extended(a) });

owned_enum!(UrlMetadata { Body(a), Binary(a), BodyPartStructure(a) });
