//! GENURLAUTH, RESETKEY and URLFETCH (RFC 4467, RFC 5524).
//!
//! A worker checks a URL and reads its contents with a [`UrlReader`]. The session writes them until so much output is
//! pending that the client must read first.

use std::collections::VecDeque;
use std::sync::Arc;

use bumpalo::Bump;
use io_common::Next;
use mailstore::{AccountId, Annotated, Store};
use proto_imap::server::Reply;
use proto_imap::types::{
    IString, ImapUrl, LazyList, LazyValue, PlainCode, ResetKeyCommand, ResponseCode, Untagged,
    UrlContents as UrlAnswer, UrlData, UrlFetchItem, UrlMetadata, UrlParameter, UrlRequest,
};
use proto_mail::Error;

use super::command_state::UrlFetchInProgress;
use super::mailbox_access::MailboxAccess;
use super::message_url::UrlContents;
use super::output_limits::HIGH_WATER;
use super::url_reader::{OpenUrl, RequestedUrl, UrlPiece, UrlReader};
use super::url_token::{self, AuthorizedUrl};
use super::{
    InProgress, Session, Turn, decode_name, next_or_close, reply_bad, reply_invalid_name, reply_limit,
    reply_no, reply_ok, reply_ok_with_code, reply_store_error, translate,
};
use crate::server_context::ServerContext;

/// The most URLs in one command.
const URL_LIMIT: usize = 100;

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
                    Some(name) => Annotated::Mailbox(MailboxAccess::new(account).find_own(store, name)?.id),
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
            if urls.len() >= URL_LIMIT {
                return reply_limit(reply, "too many URLs in one command", turn);
            }
            let Some(requested) = RequestedUrl::new(&item) else {
                return reply_bad(
                    reply,
                    "a parameter is repeated, or both BODY and BINARY are requested",
                    turn,
                );
            };
            urls.push_back(requested);
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
        let Some(url) = fetch.urls.front() else { return self.end_url_fetch(turn) };
        let mut reader = match fetch.current.take() {
            Some(contents) => UrlReader::Contents(contents),
            None => UrlReader::open(url.clone(), Arc::clone(&self.context), account),
        };
        self.run_in_slices(
            turn,
            move |store, slice| reader.run(store, slice),
            |session, piece, turn| session.write_url_piece(piece, turn),
        )
    }

    fn write_url_piece(&mut self, piece: mailstore::Result<UrlPiece>, turn: &mut Turn<'_, '_>) -> Next {
        let InProgress::UrlFetch(fetch) = &mut self.in_progress else { return Next::Close };
        let Some(requested) = fetch.urls.front() else { return Next::Close };
        let url = IString::from(requested.url.as_str());
        let (written, left) = match piece {
            Ok(UrlPiece::Invalid) => {
                let data = [UrlData { url, contents: UrlAnswer::Simple(None) }];
                (turn.machine.data(&Untagged::UrlFetch(LazyList::new(&data)), turn.tx), None)
            }
            Ok(UrlPiece::Start(opened)) => (begin(requested, &opened, turn), opened.contents),
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
            Some(contents) if contents.at_most() > 0 => Ok(()),
            Some(_) if requested.parameters.is_some() => turn.machine.finish_url_metadata(turn.tx),
            Some(_) => turn.machine.finish_url_data(turn.tx),
            None => Ok(()),
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

/// Starts the answer for a URL, and writes all of it if no contents follow.
fn begin(requested: &RequestedUrl, opened: &OpenUrl, turn: &mut Turn<'_, '_>) -> Result<(), Error> {
    let url = IString::from(requested.url.as_str());
    let size = opened.contents.as_ref().map(UrlContents::at_most);
    let (arena, mut items) = (Bump::new(), Vec::new());
    if let Some(part) = &opened.structure {
        let structure = arena.alloc(translate::structure(&arena, part));
        items.push(UrlMetadata::BodyPartStructure(LazyValue::new(structure)));
    }
    let contents = match (requested.parameters, size) {
        (None, Some(size)) => return turn.machine.begin_url_data(url, size, turn.tx),
        (None, None) => UrlAnswer::Simple(None),
        (Some(parameters), Some(size)) => {
            let contents = parameters.contents.unwrap_or(UrlParameter::Body);
            let before = LazyList::new(&items);
            return turn.machine.begin_url_metadata(url, before, contents, size, turn.tx);
        }
        (Some(parameters), None) => {
            match parameters.contents {
                Some(UrlParameter::Binary) => items.push(UrlMetadata::Binary(None)),
                Some(_) => items.push(UrlMetadata::Body(None)),
                None => {}
            }
            // The grammar has no empty list of items. An empty string says that the URL is valid.
            let is_check = items.is_empty();
            if is_check {
                UrlAnswer::Simple(Some(IString::EMPTY))
            } else {
                UrlAnswer::Extended(LazyList::new(&items))
            }
        }
    };
    turn.machine.data(&Untagged::UrlFetch(LazyList::new(&[UrlData { url, contents }])), turn.tx)
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
