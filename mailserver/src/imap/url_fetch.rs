//! GENURLAUTH, RESETKEY and URLFETCH (RFC 4467).
//!
//! A worker checks a URL and reads its contents. The session writes them until so much output is pending that the client
//! must read first.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use io_common::{JobStep, Next};
use mailstore::{AccountId, Annotated, Store};
use proto_imap::server::Reply;
use proto_imap::types::{
    IString, ImapUrl, LazyList, PlainCode, ResetKeyCommand, ResponseCode, Untagged, UrlContents as UrlAnswer,
    UrlData, UrlFetchItem, UrlRequest,
};

use super::message_url::{MessageUrl, UrlContents};
use super::url_token::{self, AuthorizedUrl};
use super::{
    InProgress, Session, Turn, decode_name, next_or_close, reply_bad, reply_invalid_name, reply_limit,
    reply_no, reply_ok, reply_ok_with_code, reply_store_error, translate,
};
use crate::server_context::ServerContext;

/// The most URLs in one command.
const URL_LIMIT: usize = 100;

/// Once this many bytes of output are pending, nothing more is written until the client reads.
const HIGH_WATER: usize = 128 * 1024;

/// The bytes that a worker reads before the session writes them.
const BATCH: usize = 128 * 1024;

/// The most bytes of selected header fields, which are read before their size is announced.
const FIELDS_LIMIT: usize = 256 * 1024;

/// A URLFETCH whose answers are being written.
pub(super) struct UrlFetchInProgress {
    reply: Reply,
    urls: VecDeque<String>,
    /// The contents that are being written; `None` between two URLs, or while they are on a worker.
    current: Option<UrlContents>,
}

/// What a worker has read.
enum UrlPiece {
    /// The URL is not valid.
    Invalid,
    /// The size of the contents, which follow.
    Start(UrlContents),
    Bytes(UrlContents, Bytes),
}

impl Session {
    pub(super) fn gen_url_auth(
        &mut self,
        account: AccountId,
        reply: Reply,
        requests: LazyList<'_, UrlRequest<'_>>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let mut urls = Vec::new();
        for request in requests {
            if urls.len() >= URL_LIMIT {
                return reply_limit(reply, "too many URLs in one command", turn);
            }
            if !request.mechanism.eq_ignore_ascii_case(b"INTERNAL") {
                return reply_bad(reply, "the only mechanism is INTERNAL", turn);
            }
            let url = request.url.to_str_lossy().into_owned();
            if ImapUrl::parse(&url).is_err() {
                return reply_bad(reply, "an argument is no IMAP URL", turn);
            }
            urls.push(url);
        }
        let context = Arc::clone(&self.context);
        self.run_job(
            turn,
            move |store| {
                let authorized = urls.iter().map(|url| authorize(url, &context, account, store));
                authorized.collect::<mailstore::Result<Option<Vec<String>>>>()
            },
            move |_, authorized, turn| match authorized {
                Ok(Some(urls)) => {
                    let urls: Vec<IString<'_>> = urls.iter().map(|url| IString::from(url.as_str())).collect();
                    match turn.machine.data(&Untagged::GenUrlAuth(LazyList::new(&urls)), turn.tx) {
                        Ok(()) => reply_ok(reply, "URLs authorized", turn),
                        Err(error) => next_or_close(Err(error)),
                    }
                }
                Ok(None) => reply_no(
                    reply,
                    PlainCode::Cannot,
                    "a URL names no message of this account, or its access is not known",
                    turn,
                ),
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    pub(super) fn reset_key(
        &mut self,
        account: AccountId,
        reply: Reply,
        command: ResetKeyCommand<'_>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        if command.mechanisms.iter().any(|one| !one.eq_ignore_ascii_case(b"INTERNAL")) {
            return reply_bad(reply, "the only mechanism is INTERNAL", turn);
        }
        let name = match command.mailbox.map(|mailbox| decode_name(mailbox, turn)) {
            Some(None) => return reply_invalid_name(reply, turn),
            Some(Some(name)) => Some(name),
            None => None,
        };
        self.run_job(
            turn,
            move |store| {
                let of = match &name {
                    Some(name) => Annotated::Mailbox(store.mailbox(account, name)?.id),
                    None => Annotated::Server,
                };
                url_token::reset(store, account, of)
            },
            move |_, reset, turn| match reset {
                Ok(()) => {
                    let argument = Some(IString::new(b"INTERNAL"));
                    let code = ResponseCode::Other { name: IString::new(b"URLMECH"), argument };
                    reply_ok_with_code(reply, code, "all earlier URLs are invalid", turn)
                }
                Err(error) => reply_store_error(reply, &error, turn),
            },
        )
    }

    pub(super) fn url_fetch(
        &mut self,
        reply: Reply,
        items: LazyList<'_, UrlFetchItem<'_>>,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        let mut urls = VecDeque::new();
        for item in items {
            if item.parameters.is_some() {
                return reply_bad(reply, "URLAUTH=BINARY is not offered", turn);
            }
            if urls.len() >= URL_LIMIT {
                return reply_limit(reply, "too many URLs in one command", turn);
            }
            urls.push_back(item.url.to_str_lossy().into_owned());
        }
        self.in_progress = InProgress::UrlFetch(Box::new(UrlFetchInProgress { reply, urls, current: None }));
        self.continue_url_fetch(turn)
    }

    /// Reads the next piece on a worker, unless much output is pending or everything is written.
    pub(super) fn continue_url_fetch(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        let (Some(account), InProgress::UrlFetch(fetch)) = (self.account, &mut self.in_progress) else {
            return Next::Close;
        };
        if self.pending.is_some() {
            return Next::Continue;
        }
        if turn.tx.len() >= HIGH_WATER {
            return Next::More;
        }
        let url = fetch.urls.front().cloned();
        let current = fetch.current.take();
        let (Some(url), context) = (url, Arc::clone(&self.context)) else { return self.end_url_fetch(turn) };
        let mut current = Some(current);
        self.run_in_slices(
            turn,
            move |store, _| match current.take() {
                Some(Some(contents)) => JobStep::Done(read(contents)),
                _ => JobStep::Done(start(&url, &context, account, store)),
            },
            |session, piece, turn| session.write_url_piece(piece, turn),
        )
    }

    fn write_url_piece(&mut self, piece: mailstore::Result<UrlPiece>, turn: &mut Turn<'_, '_>) -> Next {
        let InProgress::UrlFetch(fetch) = &mut self.in_progress else { return Next::Close };
        let Some(url) = fetch.urls.front() else { return Next::Close };
        let url = IString::from(url.as_str());
        let (written, left) = match piece {
            Ok(UrlPiece::Invalid) => {
                let data = [UrlData { url, contents: UrlAnswer::Simple(None) }];
                (turn.machine.data(&Untagged::UrlFetch(LazyList::new(&data)), turn.tx), None)
            }
            Ok(UrlPiece::Start(contents)) => {
                (turn.machine.begin_url_data(url, contents.at_most(), turn.tx), Some(contents))
            }
            Ok(UrlPiece::Bytes(contents, bytes)) => {
                (turn.machine.write_body(bytes, turn.tx).map(|_| ()), Some(contents))
            }
            // The size may be announced already, so that the error can only be signalled by closing the session.
            Err(error) => {
                tracing::error!(session = self.number, %error, "cannot read the contents of a URL");
                return Next::Close;
            }
        };
        let written = written.and_then(|()| match &left {
            Some(contents) if contents.at_most() == 0 => turn.machine.finish_url_data(turn.tx),
            _ => Ok(()),
        });
        fetch.current = left.filter(|contents| contents.at_most() > 0);
        if fetch.current.is_none() {
            fetch.urls.pop_front();
        }
        match written {
            Ok(()) => self.continue_url_fetch(turn),
            Err(error) => next_or_close(Err(error)),
        }
    }

    fn end_url_fetch(&mut self, turn: &mut Turn<'_, '_>) -> Next {
        match std::mem::replace(&mut self.in_progress, InProgress::None) {
            InProgress::UrlFetch(fetch) => reply_ok(fetch.reply, "completed", turn),
            _ => Next::Close,
        }
    }
}

/// Authorizes a URL of this account. Returns `None` if it is not valid.
fn authorize(
    url: &str,
    context: &ServerContext,
    account: AccountId,
    store: &dyn Store,
) -> mailstore::Result<Option<String>> {
    match AuthorizedUrl::find(url, &context.name, translate::now().seconds, store)? {
        Some(found)
            if found.owner == account
                && found.has_known_access()
                && found
                    .url
                    .authorization
                    .as_ref()
                    .is_some_and(|authorization| authorization.token.is_none()) =>
        {
            found.authorize(url, store).map(Some)
        }
        _ => Ok(None),
    }
}

/// Opens the contents of a URL, if its token is authentic and this user may read it.
fn start(
    text: &str,
    context: &ServerContext,
    account: AccountId,
    store: &dyn Store,
) -> mailstore::Result<UrlPiece> {
    let Some(found) = AuthorizedUrl::find(text, &context.name, translate::now().seconds, store)? else {
        return Ok(UrlPiece::Invalid);
    };
    if !found.is_authentic(text, store)? || !found.allows(account, store)? {
        return Ok(UrlPiece::Invalid);
    }
    let owner = found.owner;
    let Some(url) = MessageUrl::new(found.url, None) else { return Ok(UrlPiece::Invalid) };
    match url.open(store, owner)? {
        Ok(contents) => Ok(contents.measured(FIELDS_LIMIT)?.map_or(UrlPiece::Invalid, UrlPiece::Start)),
        Err(_) => Ok(UrlPiece::Invalid),
    }
}

fn read(mut contents: UrlContents) -> mailstore::Result<UrlPiece> {
    let mut bytes = Vec::new();
    while bytes.len() < BATCH && contents.step(&mut bytes)? {}
    if bytes.is_empty() {
        return Err(mailstore::Error::Corrupt("a message, which changed while it was read,"));
    }
    Ok(UrlPiece::Bytes(contents, Bytes::from(bytes)))
}
