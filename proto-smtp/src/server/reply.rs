//! Answers: the token that stands for one that is owed, what the machine says by itself, and what an answer changes.

use proto_mail::token::Token;
use proto_mail::{Error, Limit, Misuse, PeerError, SendBuffer};

use super::core::{Core, State, Step};
use super::transaction::{Domains, Transaction};
use crate::chunking::ChunkEnd;
use crate::command::Verb;
use crate::config::Dialect;
use crate::response::Response;
use crate::status_code::{Code, EnhancedCode, Severity};

/// An answer that the server owes. Give it back with [`Server::reply`](crate::server::Server::reply).
///
/// It is owned and may be sent to another thread. Nothing else happens in the session until it is answered. If it is
/// dropped, the next call of `next_event` answers `451 4.3.0` (see [`proto_mail::token`]).
#[derive(Debug)]
#[must_use = "the client waits for a reply"]
pub struct Reply {
    token: Token,
    verb: Verb,
}

impl Reply {
    /// Which command is to be answered. The end of a message counts as its DATA or BDAT.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        self.verb
    }
}

/// What the application was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Mail(Transaction),
    Rcpt,
    Data,
    Chunk {
        size: u64,
        end: ChunkEnd,
    },
    DataEnd,
    /// BURL.
    Url(ChunkEnd),
    /// VRFY, EXPN, HELP and ETRN: the answer changes nothing.
    Information,
    XClient {
        /// It says as whom the client has logged in.
        login: bool,
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
const OK: Response<'static> = Response::ok();
const CONTENT_ANALYSIS: Response<'static> =
    Response::fixed(Code::CONTENT_ANALYSIS, (0, 0), "Content analysis has started");
const ACCEPTED: Response<'static> =
    Response::fixed(Code::OK, (0, 0), "Accepted for those for whom it was accepted above");
const ACCEPTED_FOR_NOBODY: Response<'static> =
    Response::fixed(Code::MAILBOX_UNAVAILABLE, (0, 0), "Accepted for nobody");
const ACCEPTED_FOR_NOBODY_NOW: Response<'static> =
    Response::fixed(Code::MAILBOX_BUSY, (0, 0), "Accepted for nobody now");
const NO_SERVICE: Response<'static> = Response::fixed(Code::FAILED, (3, 2), "No service here");
const CLOSING: Response<'static> = Response::fixed(Code::CLOSING, (0, 0), "Good-bye");

/// Who is sent away, and with which words.
const FAREWELLS: &[(Error, Response<'static>)] = &[
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
    /// Pauses until the application has answered.
    pub(super) fn ask(&mut self, verb: Verb, question: Question) -> Reply {
        self.enter(State::Owed { question });
        Reply { token: self.tokens.issue(), verb }
    }

    /// Refuses a command by itself, and counts the error.
    pub(super) fn refuse(&mut self, response: &Response<'_>, tx: &mut SendBuffer) -> Result<(), Error> {
        response.encode(tx);
        self.errors = self.errors.saturating_add(1);
        if self.errors >= self.config.limits.errors {
            return Err(self.fail(Limit::Errors.into(), tx));
        }
        Ok(())
    }

    pub(super) fn ok(tx: &mut SendBuffer) {
        OK.encode(tx);
    }

    pub(super) fn good_bye(&mut self, tx: &mut SendBuffer) {
        CLOSING.encode(tx);
        self.enter(State::Closing);
    }

    /// Ends the session with an error; the farewell is in `tx`.
    pub(super) fn fail(&mut self, error: Error, tx: &mut SendBuffer) -> Error {
        let farewell = match error {
            Error::Limit(Limit::Timeout(_)) => Some(&TIMEOUT),
            _ => FAREWELLS.iter().find(|(fatal, _)| *fatal == error).map(|(_, response)| response),
        };
        if let Some(response) = farewell {
            response.encode(tx);
        }
        self.end(error)
    }

    /// Ends the session with an error, where the last words were said.
    pub(super) fn end(&mut self, error: Error) -> Error {
        self.transaction = None;
        self.enter(State::Failed(error));
        error
    }

    /// Says good-bye because the server goes down.
    pub(super) fn shutdown(&mut self, text: &str, tx: &mut SendBuffer) {
        if !matches!(self.state, State::Failed(_) | State::Closing | State::Closed) {
            Response::new(Code::UNAVAILABLE, text).with_enhanced(EnhancedCode::fixed(4, 3, 2)).encode(tx);
            self.enter(State::Closing);
        }
    }

    /// The application's answer: the same for every recipient where LMTP wants more than one.
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
        if matches!(question, Question::XClient { .. }) && is_yes(response) {
            self.restart(tx);
            return;
        }
        let times = if question.ends_message() { self.replies_behind_data() } else { 1 };
        let line = fitting(question, response);
        let line = line.as_ref().unwrap_or(response);
        // The reply to a chunk comes when the chunk has, a refusal too; only a farewell cannot wait.
        if !matches!(question, Question::Chunk { .. }) || line.code() == Code::UNAVAILABLE {
            (0..times).for_each(|_| line.encode(tx));
        }
        self.answered(question, line);
    }

    /// Answers with a temporary failure the question whose token the application has dropped.
    pub(super) fn token_dropped(&mut self, tx: &mut SendBuffer) -> Step {
        match core::mem::replace(&mut self.state, State::Command) {
            State::Owed { question } => self.answer(question, &Response::try_again(), tx),
            State::Verdict { exchange, .. } => self.unavailable(exchange, tx),
            other => {
                self.state = other;
                self.refuse_starttls(tx);
            }
        }
        Step::Again
    }

    /// The application's answers for each recipient that was accepted, in their order (RFC 2033 §4.2). In SMTP they
    /// stand between two others (PRDR).
    pub(super) fn reply_each(
        &mut self,
        reply: Reply,
        responses: &[Response<'_>],
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        let question = self.question(&reply)?;
        let prdr = self.transaction.as_ref().filter(|transaction| transaction.prdr);
        let recipients =
            prdr.map_or_else(|| self.replies_behind_data(), |transaction| transaction.recipients);
        if !question.ends_message() || responses.len() != recipients {
            // The client waits and must have its answers, even if the program cannot count.
            self.reply(reply, &Response::try_again(), tx)?;
            return Err(Misuse::WrongLength.into());
        }
        let prdr = prdr.is_some();
        if prdr {
            CONTENT_ANALYSIS.encode(tx);
        }
        for response in responses {
            for_one(response).as_ref().unwrap_or(response).encode(tx);
        }
        if prdr {
            overall(responses).encode(tx);
        }
        self.answered(question, &OK);
        Ok(())
    }

    pub(super) fn question(&self, reply: &Reply) -> Result<Question, Error> {
        match &self.state {
            State::Owed { question } if self.tokens.is_newest(&reply.token) => Ok(*question),
            State::Failed(error) => Err(*error),
            _ => Err(Misuse::StaleToken.into()),
        }
    }

    /// How many replies the end of a message has: one, or one for each recipient.
    pub(super) fn replies_behind_data(&self) -> usize {
        match (self.config.dialect, &self.transaction) {
            (Dialect::Lmtp, Some(transaction)) => transaction.recipients,
            _ => 1,
        }
    }

    fn answered(&mut self, question: Question, response: &Response<'_>) {
        if response.code() == Code::UNAVAILABLE {
            self.enter(State::Closing);
            return;
        }
        let yes = is_yes(response);
        self.enter(State::Command);
        match question {
            Question::Mail(transaction) if yes => {
                self.transaction = Some(transaction);
                self.domains = Domains::default();
                self.forwarded.begin();
            }
            Question::Rcpt if yes => {
                self.domains.keep();
                if let Some(transaction) = &mut self.transaction {
                    transaction.recipients += 1;
                }
            }
            Question::Data if yes => self.begin_data(),
            Question::Chunk { size, end } => {
                self.begin_chunk(size, end, (!yes).then(|| response.clone().into_owned()))
            }
            Question::DataEnd => self.transaction = None,
            Question::Data => self.transaction = None,
            Question::Url(end) => self.url_taken(end, yes),
            Question::XForward => self.forward(yes),
            Question::Mail(_) | Question::Rcpt | Question::Information | Question::XClient { .. } => {}
        }
    }
}

impl Question {
    /// Whether the answer is the one to a whole message.
    fn ends_message(self) -> bool {
        matches!(self, Self::DataEnd | Self::Url(ChunkEnd::Last))
    }
}

/// What stands behind the answers for each recipient: yes if anybody has the message (PRDR).
fn overall(responses: &[Response<'_>]) -> Response<'static> {
    if responses.iter().any(is_yes) {
        ACCEPTED
    } else if responses.iter().any(|response| response.is_transient()) {
        ACCEPTED_FOR_NOBODY_NOW
    } else {
        ACCEPTED_FOR_NOBODY
    }
}

const fn is_yes(response: &Response<'_>) -> bool {
    response.is_positive()
}

/// What refuses a session or a greeting: the application's answer if it says no.
pub(super) fn refusing<'r>(response: &Response<'r>) -> Response<'r> {
    match response.code().severity() {
        Severity::Transient | Severity::Permanent => response.clone(),
        Severity::Completed | Severity::Intermediate => NO_SERVICE,
    }
}

/// The answer that can be given to a question, if it is not the one that was given: 354 is for DATA and for DATA
/// alone.
fn fitting(question: Question, response: &Response<'_>) -> Option<Response<'static>> {
    match (question, response.code().severity()) {
        (Question::Data, Severity::Completed) => Some(Response::start_data()),
        (Question::Data, _) => None,
        (_, Severity::Intermediate) => Some(OK),
        _ => None,
    }
}

/// The answer for one recipient among others, if it is not the one that was given: 421 would speak for all of them,
/// while the next may have been told yes.
fn for_one(response: &Response<'_>) -> Option<Response<'static>> {
    if response.code() != Code::UNAVAILABLE {
        return fitting(Question::DataEnd, response);
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
    fn every_canned_answer_agrees_with_itself() {
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
            OK,
            ACCEPTED,
            ACCEPTED_FOR_NOBODY,
            ACCEPTED_FOR_NOBODY_NOW,
            Response::help(),
            NO_SERVICE,
            CLOSING,
            TIMEOUT,
        ];
        for response in all.iter().chain(FAREWELLS.iter().map(|(_, response)| response)) {
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
