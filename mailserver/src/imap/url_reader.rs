//! Checks a URL and reads its contents on a worker, in slices, for URLFETCH (RFC 4467, RFC 5524).

use std::sync::Arc;

use bytes::Bytes;
use io_common::{JobStep, Slice};
use mailmime::Part;
use mailstore::{AccountId, Store};
use proto_imap::types::{LazyList, UrlFetchItem, UrlParameter};

use super::message_url::{DecodedContents, EncodedContents, MessageUrl, OpenMessage, UrlContents};
use super::translate;
use super::url_token::AuthorizedUrl;
use crate::server_context::ServerContext;

/// The bytes that a worker reads before the session writes them.
const BATCH: usize = 128 * 1024;

/// The most bytes of selected header fields, which are read before their size is announced.
const FIELDS_LIMIT: usize = 256 * 1024;

/// A URL of URLFETCH.
#[derive(Debug, Clone)]
pub(super) struct RequestedUrl {
    /// The URL with its token.
    pub(super) url: String,
    /// What an extended URLFETCH requests; `None` for the form of RFC 4467.
    pub(super) parameters: Option<Parameters>,
}

/// The parameters of one URL in an extended URLFETCH.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parameters {
    /// `BODYPARTSTRUCTURE`
    structure: bool,
    /// `BODY` or `BINARY`
    pub(super) contents: Option<UrlParameter>,
}

impl RequestedUrl {
    /// Returns `None` if a parameter is repeated, or both `BODY` and `BINARY` are given (RFC 5524 §3.1).
    pub(super) fn new(item: &UrlFetchItem<'_>) -> Option<Self> {
        let parameters = match item.parameters {
            Some(parameters) => Some(Parameters::new(parameters)?),
            None => None,
        };
        Some(Self { url: item.url.to_str_lossy().into_owned(), parameters })
    }
}

impl Parameters {
    fn new(parameters: LazyList<'_, UrlParameter>) -> Option<Self> {
        let mut found = Self::default();
        for parameter in parameters {
            let is_repeated = match parameter {
                UrlParameter::BodyPartStructure => std::mem::replace(&mut found.structure, true),
                contents => found.contents.replace(contents).is_some(),
            };
            if is_repeated {
                return None;
            }
        }
        Some(found)
    }
}

/// What a worker has read.
#[derive(Debug)]
pub(super) enum UrlPiece {
    /// The URL is not valid.
    Invalid,
    Start(Box<OpenUrl>),
    Bytes(UrlContents, Bytes),
}

/// A valid URL.
#[derive(Debug)]
pub(super) struct OpenUrl {
    /// The structure of the part, if it was requested.
    pub(super) structure: Option<Box<Part>>,
    /// The contents, whose size is known. `None` if they were not requested or cannot be decoded.
    pub(super) contents: Option<UrlContents>,
}

/// What a worker reads next.
pub(super) enum UrlReader {
    /// Checks the URL and opens its message.
    Open { url: RequestedUrl, context: Arc<ServerContext>, account: AccountId },
    /// Counts the decoded bytes.
    Count(Option<Box<Part>>, Box<EncodedContents>),
    /// Reads the next bytes.
    Contents(UrlContents),
    /// Everything was read.
    Done,
}

impl UrlReader {
    pub(super) const fn open(url: RequestedUrl, context: Arc<ServerContext>, account: AccountId) -> Self {
        Self::Open { url, context, account }
    }

    /// Works until the next piece is read or the slice is over.
    pub(super) fn run(&mut self, store: &dyn Store, slice: &Slice) -> JobStep<mailstore::Result<UrlPiece>> {
        loop {
            match self.step(store, slice) {
                Ok(Some(piece)) => return JobStep::Done(Ok(piece)),
                Ok(None) if slice.is_over() => return JobStep::More,
                Ok(None) => {}
                Err(error) => return JobStep::Done(Err(error)),
            }
        }
    }

    /// Does a step. Returns `None` if there is no piece yet.
    fn step(&mut self, store: &dyn Store, slice: &Slice) -> mailstore::Result<Option<UrlPiece>> {
        match std::mem::replace(self, Self::Done) {
            Self::Open { url, context, account } => match start(&url, &context, account, store)? {
                Started::Piece(piece) => Ok(Some(piece)),
                Started::Count(structure, encoded) => {
                    *self = Self::Count(structure, encoded);
                    Ok(None)
                }
            },
            Self::Count(structure, mut encoded) => {
                let contents = match encoded.step()? {
                    None => {
                        *self = Self::Count(structure, encoded);
                        return Ok(None);
                    }
                    Some(counted) => counted.ok().map(|size| encoded.into_contents(size)),
                };
                Ok(Some(UrlPiece::Start(Box::new(OpenUrl { structure, contents }))))
            }
            Self::Contents(mut contents) => {
                let bytes = read(&mut contents, slice)?;
                if bytes.is_empty() {
                    *self = Self::Contents(contents);
                    return Ok(None);
                }
                Ok(Some(UrlPiece::Bytes(contents, Bytes::from(bytes))))
            }
            Self::Done => Err(mailstore::Error::Corrupt("a message, which was read to its end,")),
        }
    }
}

enum Started {
    Piece(UrlPiece),
    /// The contents are decoded, and counted first.
    Count(Option<Box<Part>>, Box<EncodedContents>),
}

/// Opens the contents of a URL, if its token is authentic and this user may read it.
fn start(
    requested: &RequestedUrl,
    context: &ServerContext,
    account: AccountId,
    store: &dyn Store,
) -> mailstore::Result<Started> {
    let text = &requested.url;
    let invalid = Ok(Started::Piece(UrlPiece::Invalid));
    let Some(found) = AuthorizedUrl::find(text, &context.name, translate::now().seconds, store)? else {
        return invalid;
    };
    if !found.is_authentic(text, store)? || !found.allows(account, store)? {
        return invalid;
    }
    let owner = found.owner;
    let Some(url) = MessageUrl::new(found.url, None) else { return invalid };
    match url.open_message(store, owner)? {
        Ok(opened) => locate(&url, opened, requested.parameters),
        Err(_) => invalid,
    }
}

/// Finds what is requested in an open message.
fn locate(
    url: &MessageUrl,
    opened: OpenMessage,
    parameters: Option<Parameters>,
) -> mailstore::Result<Started> {
    let Some(part) = url.part(&opened) else { return Ok(Started::Piece(UrlPiece::Invalid)) };
    let structure = parameters.is_some_and(|found| found.structure).then(|| Box::new(part.clone()));
    let contents = match parameters {
        Some(Parameters { contents: None, .. }) => None,
        Some(Parameters { contents: Some(UrlParameter::Binary), .. }) => match url.decoded(opened) {
            Some(DecodedContents::Encoded(encoded)) => return Ok(Started::Count(structure, encoded)),
            Some(DecodedContents::Stored(contents)) => Some(contents),
            Some(DecodedContents::UnknownEncoding) | None => None,
        },
        _ => url.stored(opened),
    };
    let measured = match contents {
        Some(contents) => match contents.measured(FIELDS_LIMIT)? {
            Some(measured) => Some(measured),
            None => return Ok(Started::Piece(UrlPiece::Invalid)),
        },
        None => None,
    };
    Ok(Started::Piece(UrlPiece::Start(Box::new(OpenUrl { structure, contents: measured }))))
}

/// Reads the next bytes of the contents. There are none yet if bytes before `;PARTIAL=` filled the slice.
fn read(contents: &mut UrlContents, slice: &Slice) -> mailstore::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while bytes.len() < BATCH {
        if !contents.step(&mut bytes)? {
            if bytes.is_empty() {
                return Err(mailstore::Error::Corrupt("a message, which changed while it was read,"));
            }
            break;
        }
        if slice.is_over() {
            break;
        }
    }
    Ok(bytes)
}
