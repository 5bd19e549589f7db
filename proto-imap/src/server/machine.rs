//! The server type of the public API, as a thin layer.
//!
//! The type says what each channel allows. One machine implements both channels.

use alloc::sync::Arc;

use bytes::Bytes;
use proto_mail::{
    AuthRequest, AuthVerdict, Channel, Cleartext, Error, Machine, OwnedEvents, RecvBuffer, Secure,
    SendBuffer, Wait,
};

use super::core::Core;
use super::counters::Refusals;
use super::event::{Event, LiteralOffer, Reply};
use super::expunges::Expunges;
use super::fetch::FetchWriter;
use super::owned_event::OwnedEvent;
use super::search::SearchForm;
use crate::client::Trust;
use crate::config::Config;
use crate::state::State;
use crate::types::{
    IString, LazyList, NameEncoding, Numbers, RelevancyScore, SearchReturnData, StatusResponse, Tag, Threads,
    Untagged, UrlMetadata, UrlParameter,
};

/// An IMAP server's side of one session: bytes in, events out; answers in, bytes out (RFC 9051).
///
/// # The contract
///
/// * **Pull until `None`.** After each read call [`next_event`](Self::next_event) until it returns `None`, then write
///   the contents of `tx`. Call it again after the write, before the next read: while too much output is queued, the
///   server handles no further command. An event borrows `rx` and never the server, so the application can answer
///   while it handles the event.
/// * **Every token is answered once**, now or later: with [`reply`](Self::reply), [`answer_auth`](Self::answer_auth),
///   [`accept_starttls`](Self::accept_starttls) or [`refuse_starttls`](Self::refuse_starttls),
///   [`accept_literal`](Self::accept_literal) or [`reject_literal`](Self::reject_literal). Until then there is no
///   further event, and [`wants_read`](Self::wants_read) is false. Pipelined commands are checked in the state that the previous answer
///   leaves.
/// * **Data come before the answer**: [`data`](Self::data) and [`fetch`](Self::fetch), then [`reply`](Self::reply).
///   An unfinished FETCH response pauses the session, as a token does.
/// * **The machine itself** greets the client, lists capabilities, rejects commands that are not allowed or not
///   understood, ends the session on LOGOUT, and exchanges SASL messages. On a [`Cleartext`] channel it offers no
///   authentication.
/// * **An error is final**: every later call returns it. The final response to the client is in `tx`.
///
/// # The loop
///
/// ```
/// use proto_mail::{AuthVerdict, RecvBuffer, Secure, SendBuffer};
/// use proto_imap::Config;
/// use proto_imap::server::{Event, Server};
/// use proto_imap::types::{Condition, StatusResponse, Text};
///
/// let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
/// let mut server = Server::<Secure>::new(Config::default(), Secure::trusted_local(), &mut tx);
/// // Stands in for a socket: each read returns the next item.
/// let mut client = ["", "a LOGIN alice secret\r\n", "b NOOP\r\nc LOGOUT\r\n"].into_iter();
/// let mut wire = Vec::new();
/// 'session: loop {
///     rx.extend(client.next().ok_or("the client is gone")?.as_bytes());
///     while let Some(event) = server.next_event(&mut rx, &mut tx)? {
///         match event {
///             Event::Auth(request) => server.answer_auth(request, AuthVerdict::Accept, &mut tx)?,
///             Event::Command(_command, reply) => {
///                 let done = StatusResponse::new(Condition::Ok, Text::first_line("done"));
///                 server.reply(reply, &done, &mut tx)?;
///             }
///             Event::Closed => break 'session,
///             _ => {}
///         }
///     }
///     wire.extend(tx.take()); // written, all of it
/// }
/// wire.extend(tx.take());
/// assert!(String::from_utf8(wire)?.ends_with("b OK done\r\n* BYE good-bye\r\nc OK LOGOUT completed\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server<C: Channel> {
    pub(super) core: Core,
    pub(super) channel: C,
}

impl Server<Cleartext> {
    /// Creates a session without TLS. Its greeting is in `tx`.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>, tx: &mut SendBuffer) -> Self {
        Self { core: Core::new(config.into(), Trust::Cleartext).greet(tx), channel: Cleartext }
    }

    /// Creates a session without TLS that rejects the client at once. Its greeting is BYE with the code and the text
    /// of `status`, and [`Event::Closed`] follows.
    #[must_use]
    pub fn refusing(
        config: impl Into<Arc<Config>>,
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Self {
        Self { core: Core::new(config.into(), Trust::Cleartext).refuse(status, tx), channel: Cleartext }
    }
}

impl Server<Secure> {
    /// Creates a session over implicit TLS, or over a channel that needs no TLS. Its greeting is in `tx`.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>, secure: Secure, tx: &mut SendBuffer) -> Self {
        Self { core: Core::secure(config.into(), &secure).greet(tx), channel: secure }
    }

    /// Creates a session over implicit TLS that rejects the client at once. Its greeting is BYE with the code and the
    /// text of `status`, and [`Event::Closed`] follows.
    #[must_use]
    pub fn refusing(
        config: impl Into<Arc<Config>>,
        secure: Secure,
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Self {
        Self { core: Core::secure(config.into(), &secure).refuse(status, tx), channel: secure }
    }

    /// Answers a login with the application's verdict. A rejection reaches the client after a delay; see
    /// [`wait`](Self::wait).
    ///
    /// # Errors
    /// [`Misuse::StaleToken`](proto_mail::Misuse::StaleToken) if the request is not the open one;
    /// [`Limit::AuthAttempts`](proto_mail::Limit::AuthAttempts) if the last allowed attempt has failed and there is no
    /// delay.
    pub fn answer_auth(
        &mut self,
        request: AuthRequest,
        verdict: AuthVerdict,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.answer(|session| session.answer_auth(&request, verdict, tx))
    }
}

impl<C: Channel> Server<C> {
    /// Returns the next event; `None` if there is none until more bytes are received or sent, or a token is answered.
    ///
    /// # Errors
    /// The session is over; the final response is in `tx`. Every later call returns the same error.
    pub fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i, C>>, Error> {
        match self.core.next_event(rx, tx)? {
            None => Ok(None),
            // An event that this channel does not allow is never created. If it were, the session would pause and
            // reveal nothing.
            Some(event) => Ok(event.on::<C>()),
        }
    }

    /// Answers a command with OK, NO or BAD, and changes the state accordingly.
    ///
    /// # Errors
    /// [`Misuse::StaleToken`](proto_mail::Misuse::StaleToken) if the token is not the open one;
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if the status does not complete a command, or the client
    /// is still idling; [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if a FETCH response is not finished;
    /// [`Misuse::ForbiddenByte`](proto_mail::Misuse::ForbiddenByte) if the status cannot be written. The last three
    /// errors consume the token: the next call of [`next_event`](Self::next_event) answers `NO [SERVERBUG]`, or ends
    /// the session if a response is not finished.
    pub fn reply(
        &mut self,
        reply: Reply,
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.answer(|session| session.reply(&reply, status, tx))
    }

    /// Accepts the message of an APPEND. It arrives in chunks.
    ///
    /// # Errors
    /// [`Misuse::StaleToken`](proto_mail::Misuse::StaleToken) if the offer is not the open one;
    /// [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if a FETCH response is not finished, which consumes the
    /// token and ends the session.
    pub fn accept_literal(&mut self, offer: LiteralOffer, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.answer(|session| session.accept_literal(&offer, tx))
    }

    /// Rejects the message of an APPEND. If the client sends it nevertheless, it is discarded.
    ///
    /// # Errors
    /// [`Misuse::StaleToken`](proto_mail::Misuse::StaleToken) if the offer is not the open one;
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if the status is not NO or BAD;
    /// [`Misuse::ForbiddenByte`](proto_mail::Misuse::ForbiddenByte) if it cannot be written.
    pub fn reject_literal(
        &mut self,
        offer: LiteralOffer,
        status: &StatusResponse<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.answer(|session| session.reject_literal(&offer, status, tx))
    }

    /// Sends untagged data. FETCH also has its own writer: [`fetch`](Self::fetch).
    ///
    /// EXISTS announces the number of messages in the mailbox, first while SELECT or EXAMINE is answered. From then
    /// on the machine counts: EXISTS adds messages, EXPUNGE and VANISHED remove them.
    ///
    /// Once the client has enabled QRESYNC or UIDONLY, VANISHED takes the place of EXPUNGE (RFC 7162 §3.2.10). With QRESYNC
    /// alone, a mailbox for which the application has sent NOMODSEQ while it was selected keeps EXPUNGE.
    ///
    /// # Errors
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) for data about messages while no mailbox is selected or
    /// being selected; for EXPUNGE where VANISHED has to be sent, and the reverse; for VANISHED (EARLIER) without QRESYNC; for EXPUNGE and VANISHED when no command is in progress, or one that forbids them (FETCH, STORE,
    /// SEARCH; RFC 9051 §7.5.1); for data about mailboxes before authentication; and for BYE and PREAUTH.
    /// [`Misuse::InvalidArgument`](proto_mail::Misuse::InvalidArgument) for a sequence number that the mailbox does not
    /// have, a lower EXISTS, and a FETCH response without items.
    /// [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if another response is not finished.
    pub fn data(&mut self, data: &Untagged<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.session()?.data(data, tx)
    }

    /// Starts a FETCH response for the message with this sequence number.
    ///
    /// # Errors
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if no mailbox is selected;
    /// [`Misuse::InvalidArgument`](proto_mail::Misuse::InvalidArgument) if the mailbox has no such message: the number
    /// is 0 or greater than the last EXISTS allows; [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if another
    /// response is not finished.
    pub fn fetch<'a>(&'a mut self, sequence: u32, tx: &'a mut SendBuffer) -> Result<FetchWriter<'a>, Error> {
        let session = self.core.session()?;
        session.begin_fetch(sequence)?;
        Ok(FetchWriter { session, tx })
    }

    /// Starts a UIDFETCH response for the message with this UID, after the client has enabled UIDONLY (RFC 9586). The
    /// application then writes VANISHED instead of EXPUNGE as well.
    ///
    /// # Errors
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if no mailbox is selected or the client has not enabled
    /// UIDONLY; [`Misuse::InvalidArgument`](proto_mail::Misuse::InvalidArgument) for UID 0;
    /// [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if another response is not finished.
    pub fn uid_fetch<'a>(&'a mut self, uid: u32, tx: &'a mut SendBuffer) -> Result<FetchWriter<'a>, Error> {
        let session = self.core.session()?;
        session.begin_uid_fetch(uid)?;
        Ok(FetchWriter { session, tx })
    }

    /// Writes the next bytes of a body that [`FetchWriter::stream_body`], [`begin_url_data`](Self::begin_url_data) or
    /// [`begin_url_metadata`](Self::begin_url_metadata) has started. Returns how many are still missing.
    ///
    /// # Errors
    /// [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if there are more bytes than announced: none of them is
    /// written; [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if no bytes are expected.
    pub fn write_body(&mut self, contents: Bytes, tx: &mut SendBuffer) -> Result<u64, Error> {
        self.core.session()?.write_body(contents, tx)
    }

    /// Continues an unfinished FETCH response, after a streamed body or after its writer was dropped.
    ///
    /// # Errors
    /// [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if bytes of the body are missing;
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if there is no unfinished response.
    pub fn resume_fetch<'a>(&'a mut self, tx: &'a mut SendBuffer) -> Result<FetchWriter<'a>, Error> {
        let session = self.core.session()?;
        session.resume_fetch()?;
        Ok(FetchWriter { session, tx })
    }

    /// Starts a URLFETCH response for one URL whose contents are `size` bytes (RFC 4467). Write them with
    /// [`write_body`](Self::write_body), now or in later rounds of the loop, and end with
    /// [`finish_url_data`](Self::finish_url_data). [`data`](Self::data) writes contents that are in memory.
    ///
    /// # Errors
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) before the login;
    /// [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if another response is not finished.
    pub fn begin_url_data(&mut self, url: IString<'_>, size: u64, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.session()?.begin_url_data(url, size, tx)
    }

    /// Ends the URLFETCH response.
    ///
    /// # Errors
    /// [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if bytes of the contents are missing;
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if no such response was started.
    pub fn finish_url_data(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.session()?.finish_url_data(tx)
    }

    /// Starts the answer for one URL of an extended URLFETCH whose contents are `size` bytes (RFC 5524): the items in
    /// `before`, and then the contents as stored or decoded. Decoded contents are a literal8. Write them with
    /// [`write_body`](Self::write_body), now or in later rounds of the loop, and end with
    /// [`finish_url_metadata`](Self::finish_url_metadata). [`data`](Self::data) writes an answer without contents.
    ///
    /// # Errors
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) before the login;
    /// [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if another response is not finished;
    /// [`Misuse::InvalidArgument`](proto_mail::Misuse::InvalidArgument) if `contents` is neither
    /// [`UrlParameter::Body`] nor [`UrlParameter::Binary`].
    pub fn begin_url_metadata(
        &mut self,
        url: IString<'_>,
        before: LazyList<'_, UrlMetadata<'_>>,
        contents: UrlParameter,
        size: u64,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.session()?.begin_url_metadata(url, before, contents, size, tx)
    }

    /// Ends the answer for one URL of an extended URLFETCH.
    ///
    /// # Errors
    /// [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if bytes of the contents are missing;
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if no such answer was started.
    pub fn finish_url_metadata(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.session()?.finish_url_metadata(tx)
    }

    /// Starts a SEARCH, SORT or ESEARCH response. Its numbers are written in pieces, now or in later rounds of the loop.
    ///
    /// # Errors
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if no mailbox is selected; an ESEARCH response with a MAILBOX
    /// needs none (RFC 7377 §2.1). [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if another response is not
    /// finished.
    pub fn begin_search(&mut self, form: &SearchForm<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.session()?.begin_search(form, tx)
    }

    /// Writes the next numbers of the response. In an ESEARCH response they are the ALL or PARTIAL result.
    ///
    /// # Errors
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if no such response was started.
    pub fn search_numbers(&mut self, numbers: Numbers<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.session()?.search_numbers(numbers, tx)
    }

    /// Writes the next scores of RELEVANCY in an ESEARCH response: one for each number, in their order, after all numbers
    /// (RFC 6203 §4).
    ///
    /// # Errors
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if no such response was started.
    pub fn search_scores(&mut self, scores: &[RelevancyScore], tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.session()?.search_scores(scores, tx)
    }

    /// Ends the response. `results` follow the numbers; a SEARCH response allows only MODSEQ.
    ///
    /// # Errors
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if no such response was started.
    pub fn finish_search(
        &mut self,
        results: &[SearchReturnData<'_>],
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.core.session()?.finish_search(results, tx)
    }

    /// Starts a THREAD response. Its threads are written in pieces, now or in later rounds of the loop.
    ///
    /// # Errors
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if no mailbox is selected;
    /// [`Misuse::WrongLength`](proto_mail::Misuse::WrongLength) if another response is not finished.
    pub fn begin_thread(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.session()?.begin_thread(tx)
    }

    /// Writes the next items of the threads. A list may end in another piece.
    ///
    /// # Errors
    /// [`Misuse::InvalidArgument`](proto_mail::Misuse::InvalidArgument) if an item cannot follow the one before it, or a
    /// number is 0: nothing is written. [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if no such response was
    /// started.
    pub fn thread_items(&mut self, threads: Threads<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.session()?.thread_items(threads, tx)
    }

    /// Ends the THREAD response.
    ///
    /// # Errors
    /// [`Misuse::InvalidArgument`](proto_mail::Misuse::InvalidArgument) if a list is open;
    /// [`Misuse::WrongState`](proto_mail::Misuse::WrongState) if no such response was started.
    pub fn finish_thread(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.session()?.finish_thread(tx)
    }

    /// Ends the session at the server's request, for example for a shutdown. Sends BYE with this text, unless a FETCH
    /// response is unfinished: the client would take the BYE for a part of it.
    pub fn shutdown(&mut self, text: &str, tx: &mut SendBuffer) {
        self.core.shutdown(text, tx);
    }

    /// Returns how many commands were rejected. The machine counts only its own rejections as
    /// [errors](proto_mail::Limits::errors); the application decides how to limit the others.
    #[must_use]
    pub const fn refusals(&self) -> Refusals {
        self.core.refusals()
    }

    /// Returns the session's state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.core.state()
    }

    /// Returns the tag of the command in progress, which ESEARCH repeats (RFC 9051 §7.3.4).
    #[must_use]
    pub fn tag(&self) -> Option<Tag<'_>> {
        self.core.tag()
    }

    /// Returns whether the client may be told now that messages are gone (RFC 9051 §7.5.1). Otherwise EXPUNGE and
    /// VANISHED are refused as misuse.
    #[must_use]
    pub fn expunges(&self) -> Expunges {
        self.core.expunges()
    }

    /// Returns whether the client has enabled a capability with ENABLE.
    #[must_use]
    pub fn is_enabled(&self, capability: &str) -> bool {
        self.core.is_enabled(capability)
    }

    /// Returns how mailbox names are written in this session: in UTF-8 after the client has enabled it.
    #[must_use]
    pub fn name_encoding(&self) -> NameEncoding {
        if self.is_enabled("IMAP4rev2") || self.is_enabled("UTF8=ACCEPT") {
            NameEncoding::Utf8
        } else {
            NameEncoding::ModifiedUtf7
        }
    }

    /// Returns the channel.
    #[must_use]
    pub const fn channel(&self) -> &C {
        &self.channel
    }

    /// Returns whether the driver should read. False while the application owes an answer or too much output is
    /// queued.
    #[must_use]
    pub fn wants_read(&self, tx: &SendBuffer) -> bool {
        self.core.wants_read(tx)
    }

    /// Returns what the server waits for, and its time limit.
    #[must_use]
    pub fn wait(&self) -> Wait {
        self.core.wait()
    }

    /// Reports that the time limit or the delay of [`wait`](Self::wait) has passed.
    ///
    /// # Errors
    /// The session is over; the final response is in `tx`.
    pub fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.timed_out(tx)
    }

    /// Returns whether the session has ended normally.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.core.is_closed()
    }
}

impl<C: Channel> Machine for Server<C> {
    type Event<'i> = Event<'i, C>;

    fn next_event<'i>(
        &mut self,
        rx: &'i mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Option<Event<'i, C>>, Error> {
        Self::next_event(self, rx, tx)
    }

    fn wants_read(&self, tx: &SendBuffer) -> bool {
        self.core.wants_read(tx)
    }

    fn wait(&self) -> Wait {
        self.core.wait()
    }

    fn timed_out(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        self.core.timed_out(tx)
    }

    fn is_closed(&self) -> bool {
        self.core.is_closed()
    }
}

impl<C: Channel> OwnedEvents for Server<C> {
    type OwnedEvent = OwnedEvent<C>;

    fn into_owned(event: Event<'_, C>) -> OwnedEvent<C> {
        event.into_owned()
    }
}
