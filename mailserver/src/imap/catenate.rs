//! The parts of CATENATE (RFC 4469): literals, and URLs of the account's own messages.
//!
//! A worker copies the bytes that a URL names to the spool of the message, in slices. Size and quota are checked before
//! they are copied.

use io_common::{JobStep, Next, Slice};
use mailstore::{AccountId, MailboxId, Store, Upload};
use proto_imap::server::LiteralOffer;
use proto_imap::types::{
    CatenatePart, Condition, IString, ImapUrl, PlainCode, ResponseCode, StatusResponse, Text,
};

use super::append_state::NextElement;
use super::message_url::{MessageUrl, UrlContents, UrlError, is_this_server};
use super::{InProgress, Session, Turn, next_or_close, no_status};
use crate::spool::Spool;

/// The bytes of a URL that a response shows.
const URL_SHOWN: usize = 1000;

/// Copies the bytes of a URL behind those of an upload.
struct UrlCopy {
    account: AccountId,
    /// The mailbox of the new message, and the bytes of all messages of the command so far.
    target: (MailboxId, u64),
    url: MessageUrl,
    /// The server and the user of an absolute URL are checked first.
    user: Option<String>,
    /// The most bytes that the message may still get.
    room: u64,
    contents: Option<UrlContents>,
}

impl Session {
    /// Handles a part of a message.
    pub(super) fn append_part(
        &mut self,
        part: CatenatePart<'_>,
        offer: LiteralOffer,
        turn: &mut Turn<'_, '_>,
    ) -> Next {
        match part {
            CatenatePart::Text(size) | CatenatePart::Utf8(size) => {
                self.append_literal_part(size, offer, turn)
            }
            CatenatePart::Url(url) => {
                let url = url.to_str_lossy().into_owned();
                self.append_element(NextElement::Url(url, offer), turn)
            }
            _ => self.abort_append(offer, &no_status(PlainCode::Cannot, "unsupported part"), turn),
        }
    }

    fn append_literal_part(&mut self, size: u64, offer: LiteralOffer, turn: &mut Turn<'_, '_>) -> Next {
        let limit = self.context.limits().message;
        let InProgress::Append(append) = &mut self.in_progress else { return Next::Close };
        if let Some(status) = append.too_large(size, limit) {
            return self.abort_append(offer, &status, turn);
        }
        let (mailbox, total) = (append.mailbox, append.bytes().saturating_add(size));
        self.run_job(
            turn,
            move |store| store.check_quota(mailbox, total),
            move |session, checked, turn| match checked {
                Ok(()) => next_or_close(turn.machine.accept_literal(offer, turn.tx)),
                Err(error) => session.fail_append(offer, &error, turn),
            },
        )
    }

    /// Copies the bytes that a URL names to the current message.
    pub(super) fn copy_url(&mut self, text: String, offer: LiteralOffer, turn: &mut Turn<'_, '_>) -> Next {
        let limit = self.context.limits().message;
        let selected = self.selected.as_ref().map(|selected| (selected.owner, selected.mailbox));
        let (Some(account), InProgress::Append(append)) = (self.account, &mut self.in_progress) else {
            return Next::Close;
        };
        let Some((user, url)) = own_url(&text, &self.context.name, selected) else {
            return self.bad_url(&text, offer, turn);
        };
        let room = limit.saturating_sub(append.current.spool.size());
        let target = (append.mailbox, append.bytes());
        let Some(finish) = append.current.spool.finish() else { return Next::Close };
        let mut copy = UrlCopy { account, target, url, user, room, contents: None };
        let (mut finish, mut upload) = (Some(finish), None);
        self.run_in_slices(
            turn,
            move |store, slice| {
                if let Some(finish) = finish.take() {
                    match finish(store) {
                        Ok(finished) => upload = Some(finished),
                        Err(error) => return JobStep::Done(Err(error)),
                    }
                }
                let Some(mut writing) = upload.take() else {
                    return JobStep::Done(Err(mailstore::Error::NotFound("upload")));
                };
                match copy.run(store, &mut writing, slice) {
                    Ok(Ok(false)) => {
                        upload = Some(writing);
                        JobStep::More
                    }
                    Ok(Ok(true)) => JobStep::Done(Ok(Ok(writing))),
                    Ok(Err(error)) => JobStep::Done(Ok(Err(error))),
                    Err(error) => JobStep::Done(Err(error)),
                }
            },
            move |session, copied, turn| match (copied, &mut session.in_progress) {
                (Ok(Ok(upload)), InProgress::Append(append)) => {
                    append.current.spool = Spool::continue_with(upload);
                    next_or_close(turn.machine.accept_literal(offer, turn.tx))
                }
                (Ok(Ok(_)), _) => Next::Close,
                (Ok(Err(UrlError::Bad)), _) => session.bad_url(&text, offer, turn),
                (Ok(Err(UrlError::TooLarge)), _) => {
                    let status =
                        no_status(PlainCode::TooBig, "the message is larger than this server accepts");
                    session.abort_append(offer, &status, turn)
                }
                (Err(error), _) => session.fail_append(offer, &error, turn),
            },
        )
    }

    /// Rejects the command because of this URL.
    fn bad_url(&mut self, url: &str, offer: LiteralOffer, turn: &mut Turn<'_, '_>) -> Next {
        let shown = url_in_code(url);
        let text = Text::first_line("the URL names no message of this account");
        let mut status = StatusResponse::new(Condition::No, text);
        if !shown.is_empty() {
            status = status.with_code(ResponseCode::BadUrl(IString::from(shown.as_str())));
        }
        self.abort_append(offer, &status, turn)
    }
}

/// Returns a URL as a response code can have it (RFC 4469 §5): other bytes are encoded, and a long one is cut. So is one with
/// a token, which a trace would show.
fn url_in_code(url: &str) -> String {
    const TOKEN: &str = ";URLAUTH=";
    let shown_bytes =
        url.as_bytes().windows(TOKEN.len()).position(|part| part.eq_ignore_ascii_case(TOKEN.as_bytes()));
    let mut shown = String::new();
    for byte in url.bytes().take(shown_bytes.unwrap_or(URL_SHOWN).min(URL_SHOWN)) {
        match byte {
            b'!'..=b'~' if byte != b']' => shown.push(byte.into()),
            _ => shown.push_str(&format!("%{byte:02X}")),
        }
    }
    shown
}

/// Parses a URL that may name a message of this server. Returns the user of an absolute URL, who must be the session's.
fn own_url(
    text: &str,
    host: &str,
    selected: Option<(AccountId, MailboxId)>,
) -> Option<(Option<String>, MessageUrl)> {
    let mut url = ImapUrl::parse(text).ok()?;
    if url.authorization.is_some() {
        return None;
    }
    let user = match url.server.take() {
        None => None,
        Some(server) if is_this_server(&server.host, host) => Some(server.user?),
        Some(_) => return None,
    };
    Some((user, MessageUrl::new(url, selected)?))
}

impl UrlCopy {
    /// Copies for one slice. Returns whether everything was copied.
    fn run(
        &mut self,
        store: &dyn Store,
        upload: &mut Upload,
        slice: &Slice,
    ) -> mailstore::Result<Result<bool, UrlError>> {
        let contents = match &mut self.contents {
            Some(contents) => contents,
            None => match self.open(store)? {
                Ok(contents) => self.contents.insert(contents),
                Err(error) => return Ok(Err(error)),
            },
        };
        let mut piece = Vec::new();
        loop {
            piece.clear();
            if !contents.step(&mut piece)? {
                return Ok(Ok(true));
            }
            upload.write(&piece)?;
            if slice.is_over() {
                return Ok(Ok(false));
            }
        }
    }

    fn open(&self, store: &dyn Store) -> mailstore::Result<Result<UrlContents, UrlError>> {
        if let Some(user) = &self.user
            && store.account(user)?.is_none_or(|account| account.id != self.account)
        {
            return Ok(Err(UrlError::Bad));
        }
        let contents = match self.url.open(store, self.account)? {
            Ok(contents) => contents,
            Err(error) => return Ok(Err(error)),
        };
        if contents.at_most() > self.room {
            return Ok(Err(UrlError::TooLarge));
        }
        let (mailbox, total) = self.target;
        store.check_quota(mailbox, total.saturating_add(contents.at_most()))?;
        Ok(Ok(contents))
    }
}
