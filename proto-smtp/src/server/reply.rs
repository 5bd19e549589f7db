//! Replies: the token for a reply that is owed, the fixed replies of the server, and the effect of each reply.

use proto_mail::token::Token;
use proto_mail::{Error, Limit, Misuse, PeerError, SendBuffer};

use super::core::{Core, State, Step};
use super::transaction::MailOptions;
use crate::chunking::ChunkEnd;
use crate::command::Verb;
use crate::config::Dialect;
use crate::response::Response;
use crate::status_code::{Code, EnhancedCode, Severity};

/// A reply that the server owes. Pass it to [`Server::reply`](crate::server::Server::reply).
///
/// It is owned and may be sent to another thread. The session pauses until the reply is given. If it is
/// dropped, the next call of `next_event` replies `451 4.3.0` (see [`proto_mail::token`]).
#[derive(Debug)]
#[must_use = "the client waits for a reply"]
pub struct Reply {
    token: Token,
    verb: Verb,
}

impl Reply {
    /// Returns the command that is to be answered. The end of a message counts as its DATA or BDAT.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        self.verb
    }
}

/// What the application is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Mail(MailOptions),
    Rcpt,
    Data,
    Chunk {
        size: u64,
        end: ChunkEnd,
    },
    DataEnd,
    Burl(ChunkEnd),
    /// VRFY, EXPN, HELP and ETRN: the reply has no effect.
    Information,
    XClient {
        /// It names the user that the client has authenticated as.
        has_login: bool,
    },
    XForward,
}

pub(super) const ORDER: (u16, u16) = (5, 1);
pub(super) const NOT_RECOGNIZED: Response<'static> =
    Response::fixed(Code::SYNTAX, ORDER, "Command not recognized");
pub(super) const NOT_IMPLEMENTED: Response<'static> = Response::not_implemented();
pub(super) const LINE_TOO_LONG: Response<'static> = Response::fixed(Code::SYNTAX, (5, 2), "Line too long");
pub(super) const BARE_NEWLINE: Response<'static> =
    Response::fixed(Code::SYNTAX, (5, 2), "A bare CR, a bare LF or a NUL is not allowed");
pub(super) const BARE_NEWLINE_IN_DATA: Response<'static> =
    Response::fixed(Code::FAILED, (6, 0), "The message holds a bare CR, a bare LF or a NUL");
pub(super) const MESSAGE_TOO_LARGE: Response<'static> =
    Response::fixed(Code::TOO_LARGE, (3, 4), "The message is larger than the limit");
pub(super) const TOO_MANY_RECIPIENTS: Response<'static> =
    Response::fixed(Code::INSUFFICIENT_STORAGE, (5, 3), "Too many recipients in one transaction");
pub(super) const TOO_MANY_DOMAINS: Response<'static> =
    Response::fixed(Code::INSUFFICIENT_STORAGE, (5, 3), "Recipients of too many domains in one transaction");
pub(super) const TOO_MANY_MAILS: Response<'static> =
    Response::fixed(Code::UNAVAILABLE, (7, 0), "Too many messages in one session; open another");
pub(super) const TIME_TOO_SHORT: Response<'static> =
    Response::fixed(Code::FAILED, (4, 7), "No message can be delivered or returned so soon");
pub(super) const HELD_TOO_LONG: Response<'static> =
    Response::fixed(Code::ARGUMENTS, (5, 4), "No message is held so long");
pub(super) const UNWANTED: Response<'static> =
    Response::fixed(Code::MAILBOX_UNAVAILABLE, (7, 1), "No soliciting");
pub(super) const NEEDS_UTF8: Response<'static> =
    Response::fixed(Code::MAILBOX_NAME, (6, 7), "The address needs SMTPUTF8 with MAIL");
pub(super) const UNKNOWN_PARAMETER: Response<'static> =
    Response::fixed(Code::UNKNOWN_PARAMETER, (5, 4), "A parameter is not known or not offered here");
pub(super) const NEEDS_TLS: Response<'static> = Response::fixed(Code::REQUIRED, (7, 0), "Say STARTTLS first");
pub(super) const NEEDS_AUTHENTICATION: Response<'static> =
    Response::fixed(Code::REQUIRED, (7, 0), "Authentication required");
pub(super) const BINARY_NEEDS_CHUNKS: Response<'static> =
    Response::fixed(Code::BAD_SEQUENCE, ORDER, "A message of BINARYMIME comes by BDAT");
pub(super) const CANNOT_VERIFY: Response<'static> =
    Response::fixed(Code::CANNOT_VERIFY, (5, 0), "Send the mail, and it will be tried");
const OK: Response<'static> = Response::ok();
const CONTENT_ANALYSIS: Response<'static> =
    Response::fixed(Code::CONTENT_ANALYSIS, (0, 0), "Content analysis has started");
const ACCEPTED: Response<'static> =
    Response::fixed(Code::OK, (0, 0), "Accepted for the recipients that were accepted above");
const ACCEPTED_FOR_NONE: Response<'static> =
    Response::fixed(Code::MAILBOX_UNAVAILABLE, (0, 0), "Accepted for no recipient");
const ACCEPTED_FOR_NONE_NOW: Response<'static> =
    Response::fixed(Code::MAILBOX_BUSY, (0, 0), "Accepted for no recipient now");
const NO_SERVICE: Response<'static> = Response::fixed(Code::FAILED, (3, 2), "No service here");
const CLOSING: Response<'static> = Response::fixed(Code::CLOSING, (0, 0), "Good-bye");

/// The last reply of a session that ends with an error.
const FATAL_REPLIES: &[(Error, Response<'static>)] = &[
    (
        Error::Limit(Limit::Errors),
        Response::fixed(Code::UNAVAILABLE, (7, 0), "Too many errors; closing the connection"),
    ),
    (
        Error::Limit(Limit::AuthAttempts),
        Response::fixed(Code::UNAVAILABLE, (7, 0), "Too many failed authentications; closing the connection"),
    ),
    (
        Error::Limit(Limit::CommandsBeforeAuth),
        Response::fixed(Code::UNAVAILABLE, (7, 0), "Too many commands without authentication"),
    ),
    (
        Error::Limit(Limit::IdleCommands),
        Response::fixed(
            Code::UNAVAILABLE,
            (7, 0),
            "Too many commands without progress; closing the connection",
        ),
    ),
    (Error::Limit(Limit::Line), LINE_TOO_LONG),
    (
        Error::Peer(PeerError::PlaintextAfterStartTls),
        Response::fixed(Code::FAILED, ORDER, "Nothing may follow STARTTLS before TLS"),
    ),
    (
        Error::Peer(PeerError::EarlyTalker),
        Response::fixed(Code::FAILED, ORDER, "Wait for the greeting before you speak"),
    ),
    (
        Error::Peer(PeerError::Malformed),
        Response::fixed(Code::FAILED, ORDER, "This is SMTP; closing the connection"),
    ),
    (
        Error::Peer(PeerError::TlsInCleartext),
        Response::fixed(Code::FAILED, ORDER, "TLS begins with STARTTLS on this port"),
    ),
];

const TIMEOUT: Response<'static> =
    Response::fixed(Code::UNAVAILABLE, (4, 2), "Nothing came in time; closing");

impl Core {
    /// Pauses the session until the application has given the reply.
    pub(super) fn ask(&mut self, verb: Verb, question: Question) -> Reply {
        self.enter(State::ReplyOwed(question));
        Reply { token: self.tokens.issue(), verb }
    }

    /// Writes a rejection that the server gives without asking the application, and counts the error.
    pub(super) fn reject(&mut self, response: &Response<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        response.encode(tx);
        match self.counters.note_error(&self.config.limits) {
            Ok(()) => Ok(()),
            Err(limit) => Err(self.fail(limit.into(), tx)),
        }
    }

    pub(super) fn encode_ok(tx: &mut SendBuffer) {
        OK.encode(tx);
    }

    pub(super) fn answer_quit(&mut self, tx: &mut SendBuffer) {
        CLOSING.encode(tx);
        self.enter(State::Closing);
    }

    /// Ends the session with an error, and writes the last reply.
    pub(super) fn fail(&mut self, error: Error, tx: &mut SendBuffer) -> Error {
        let last_reply = match error {
            Error::Limit(Limit::Timeout(_)) => Some(&TIMEOUT),
            _ => FATAL_REPLIES.iter().find(|(fatal, _)| *fatal == error).map(|(_, response)| response),
        };
        if let Some(response) = last_reply {
            response.encode(tx);
        }
        self.end(error)
    }

    /// Ends the session with an error. The last reply was written already.
    pub(super) fn end(&mut self, error: Error) -> Error {
        self.session.end_transaction();
        self.enter(State::Failed(error));
        error
    }

    /// Ends the session because the server shuts down.
    pub(super) fn shutdown(&mut self, text: &str, tx: &mut SendBuffer) {
        if !matches!(self.state, State::Failed(_) | State::Closing | State::Closed) {
            Response::new(Code::UNAVAILABLE, text).with_enhanced(EnhancedCode::fixed(4, 3, 2)).encode(tx);
            self.enter(State::Closing);
        }
    }

    /// Takes the application's reply. After a message in LMTP it is written once for each recipient.
    pub(super) fn reply(
        &mut self,
        reply: Reply,
        response: &Response<'_>,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        let question = self.question(&reply)?;
        self.answer(question, response, tx);
        Ok(())
    }

    fn answer(&mut self, question: Question, response: &Response<'_>, tx: &mut SendBuffer) {
        if matches!(question, Question::XClient { .. }) && response.is_positive() {
            self.restart(tx);
            return;
        }
        let times = if question.ends_message() { self.replies_after_message() } else { 1 };
        let allowed = replacement(question, response);
        let response = allowed.as_ref().unwrap_or(response);
        // The reply to a chunk is written after the chunk was received, unless the session ends.
        if !matches!(question, Question::Chunk { .. }) || response.code() == Code::UNAVAILABLE {
            (0..times).for_each(|_| response.encode(tx));
        }
        self.answered(question, response);
    }

    /// Answers the question whose token the application has dropped with a temporary failure.
    pub(super) fn token_dropped(&mut self, tx: &mut SendBuffer) -> Step {
        match core::mem::replace(&mut self.state, State::Command) {
            State::ReplyOwed(question) => self.answer(question, &Response::try_again(), tx),
            State::AuthAnswerOwed { login, .. } => self.answer_unavailable(login, tx),
            other => {
                self.state = other;
                self.refuse_starttls(tx);
            }
        }
        Step::Again
    }

    /// Takes the application's replies for each accepted recipient, in their order (RFC 2033 §4.2). In SMTP they are
    /// enclosed by two others (PRDR).
    pub(super) fn reply_each(
        &mut self,
        reply: Reply,
        responses: &[Response<'_>],
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        let question = self.question(&reply)?;
        let prdr = self.session.transaction().filter(|transaction| transaction.options.prdr);
        let recipients =
            prdr.map_or_else(|| self.replies_after_message(), |transaction| transaction.recipients);
        if !question.ends_message() || responses.len() != recipients {
            // The client must get its replies even if the application gave the wrong number.
            self.reply(reply, &Response::try_again(), tx)?;
            return Err(Misuse::WrongLength.into());
        }
        let is_prdr = prdr.is_some();
        if is_prdr {
            CONTENT_ANALYSIS.encode(tx);
        }
        for response in responses {
            replacement_for_one(response).as_ref().unwrap_or(response).encode(tx);
        }
        if is_prdr {
            prdr_summary(responses).encode(tx);
        }
        self.answered(question, &OK);
        Ok(())
    }

    /// Returns the question that a token belongs to.
    pub(super) fn question(&self, reply: &Reply) -> Result<Question, Error> {
        match &self.state {
            State::ReplyOwed(question) if self.tokens.is_newest(&reply.token) => Ok(*question),
            State::Failed(error) => Err(*error),
            _ => Err(Misuse::StaleToken.into()),
        }
    }

    /// The number of replies after a message: one, or in LMTP one for each recipient.
    pub(super) fn replies_after_message(&self) -> usize {
        match (self.config.dialect, self.session.transaction()) {
            (Dialect::Lmtp, Some(transaction)) => transaction.recipients,
            _ => 1,
        }
    }

    /// Does what a reply implies.
    fn answered(&mut self, question: Question, response: &Response<'_>) {
        if response.code() == Code::UNAVAILABLE {
            self.enter(State::Closing);
            return;
        }
        let is_accepted = response.is_positive();
        self.enter(State::Command);
        if is_accepted && question.is_progress() {
            self.counters.note_progress();
        }
        match question {
            Question::Mail(options) if is_accepted => {
                let forwarded = self.forwarded.take();
                self.session.begin_transaction(options, forwarded);
            }
            Question::Rcpt if is_accepted => {
                if let Some(transaction) = self.session.transaction_mut() {
                    transaction.add_recipient();
                }
            }
            Question::Data if is_accepted => self.begin_data(),
            Question::Chunk { size, end } => {
                self.begin_chunk(size, end, (!is_accepted).then(|| response.clone().into_owned()));
            }
            Question::Data | Question::DataEnd => {
                self.session.end_transaction();
            }
            Question::Burl(end) => self.burl_answered(end, is_accepted),
            Question::XForward => self.forwarded.answered(is_accepted),
            Question::Mail(_) | Question::Rcpt | Question::Information | Question::XClient { .. } => {}
        }
    }
}

impl Question {
    /// Whether a positive reply moves the session forward. Other commands count as idle.
    const fn is_progress(self) -> bool {
        matches!(
            self,
            Self::Mail(_) | Self::Rcpt | Self::Data | Self::Chunk { .. } | Self::DataEnd | Self::Burl(_)
        )
    }

    /// Whether the reply is the one to a whole message.
    fn ends_message(self) -> bool {
        matches!(self, Self::DataEnd | Self::Burl(ChunkEnd::Last))
    }
}

/// The final PRDR reply: positive if at least one recipient accepted the message.
fn prdr_summary(responses: &[Response<'_>]) -> Response<'static> {
    if responses.iter().any(Response::is_positive) {
        ACCEPTED
    } else if responses.iter().any(|response| response.is_transient()) {
        ACCEPTED_FOR_NONE_NOW
    } else {
        ACCEPTED_FOR_NONE
    }
}

/// Returns the rejection of a session or of EHLO: the application's reply, if it is one.
pub(super) fn as_rejection<'r>(response: &Response<'r>) -> Response<'r> {
    match response.code().severity() {
        Severity::Transient | Severity::Permanent => response.clone(),
        Severity::Completed | Severity::Intermediate => NO_SERVICE,
    }
}

/// Returns the reply to write instead if the application's reply does not fit the question: 354 belongs to DATA only.
fn replacement(question: Question, response: &Response<'_>) -> Option<Response<'static>> {
    match (question, response.code().severity()) {
        (Question::Data, Severity::Completed) => Some(Response::start_data()),
        (Question::Data, _) => None,
        (_, Severity::Intermediate) => Some(OK),
        _ => None,
    }
}

/// Returns the reply to write instead for one recipient among others: 421 would apply to all of them.
fn replacement_for_one(response: &Response<'_>) -> Option<Response<'static>> {
    if response.code() != Code::UNAVAILABLE {
        return replacement(Question::DataEnd, response);
    }
    let local = Response::new(Code::LOCAL_ERROR, response.text());
    Some(match response.enhanced() {
        Some(enhanced) => local.with_enhanced(enhanced),
        None => local,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_fixed_replies_with_consistent_codes() {
        let all = [
            NOT_RECOGNIZED,
            NOT_IMPLEMENTED,
            LINE_TOO_LONG,
            BARE_NEWLINE,
            BARE_NEWLINE_IN_DATA,
            MESSAGE_TOO_LARGE,
            TOO_MANY_RECIPIENTS,
            TOO_MANY_DOMAINS,
            TOO_MANY_MAILS,
            TIME_TOO_SHORT,
            HELD_TOO_LONG,
            UNWANTED,
            NEEDS_UTF8,
            UNKNOWN_PARAMETER,
            NEEDS_TLS,
            NEEDS_AUTHENTICATION,
            BINARY_NEEDS_CHUNKS,
            CANNOT_VERIFY,
            OK,
            ACCEPTED,
            ACCEPTED_FOR_NONE,
            ACCEPTED_FOR_NONE_NOW,
            Response::help(),
            NO_SERVICE,
            CLOSING,
            TIMEOUT,
        ];
        for response in all.iter().chain(FATAL_REPLIES.iter().map(|(_, response)| response)) {
            let mut tx = SendBuffer::new();
            response.encode(&mut tx);
            let bytes = tx.take();
            let read = Response::parse(&bytes).unwrap();
            assert_eq!((read.code(), read.enhanced()), (response.code(), response.enhanced()));
            assert!(read.enhanced().is_some(), "{response}");
            assert_eq!(read.text(), response.text());
        }
    }
}
