//! The effect of each reply of the application.

use proto_mail::{Error, Limit, Misuse, SendBuffer};

use super::core::{Core, State, Step};
use super::fixed_replies;
use super::question::{Question, Reply};
use crate::command::Verb;
use crate::config::Dialect;
use crate::reply_code::{Code, Severity};
use crate::response::Response;

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
        fixed_replies::OK.encode(tx);
    }

    pub(super) fn answer_quit(&mut self, tx: &mut SendBuffer) {
        fixed_replies::CLOSING.encode(tx);
        self.enter(State::Closing);
    }

    /// Ends the session with an error, and writes the last reply.
    pub(super) fn fail(&mut self, error: Error, tx: &mut SendBuffer) -> Error {
        let last_reply = match error {
            Error::Limit(Limit::Timeout(_)) => Some(&fixed_replies::TIMEOUT),
            _ => fixed_replies::FATAL_REPLIES
                .iter()
                .find(|(fatal, _)| *fatal == error)
                .map(|(_, response)| response),
        };
        if let Some(response) = last_reply {
            response.encode(tx);
        }
        self.end(error)
    }

    /// Ends the session with an error. The last reply was written already.
    pub(super) fn end(&mut self, error: Error) -> Error {
        self.session.end_transaction();
        self.enter(State::Failed(error.clone()));
        error
    }

    /// Ends the session because the server shuts down.
    pub(super) fn shutdown(&mut self, text: &str, tx: &mut SendBuffer) {
        if !matches!(self.state, State::Failed(_) | State::Closing | State::Closed) {
            fixed_replies::SHUTDOWN.with_text(text).encode(tx);
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
            fixed_replies::CONTENT_ANALYSIS.encode(tx);
        }
        for response in responses {
            replacement_for_one(response).as_ref().unwrap_or(response).encode(tx);
        }
        if is_prdr {
            prdr_summary(responses).encode(tx);
        }
        self.answered(question, &fixed_replies::OK);
        Ok(())
    }

    /// Returns the question that a token belongs to.
    pub(super) fn question(&self, reply: &Reply) -> Result<Question, Error> {
        match &self.state {
            State::ReplyOwed(question) if self.tokens.is_newest(&reply.token) => Ok(*question),
            State::Failed(error) => Err(error.clone()),
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
        } else if is_accepted && matches!(question, Question::Mail(_)) {
            self.counters.forget_command();
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
            Question::Burl(end) if is_accepted => self.burl_accepted(end),
            // The message is complete, or lost with the rejected part.
            Question::Data | Question::DataEnd | Question::Burl(_) => {
                self.session.end_transaction();
            }
            Question::XForward if is_accepted => self.forwarded.accept(),
            Question::XForward => self.forwarded.reject(),
            Question::Mail(_) | Question::Rcpt | Question::Information | Question::XClient { .. } => {}
        }
    }
}

/// The final PRDR reply: positive if at least one recipient accepted the message.
fn prdr_summary(responses: &[Response<'_>]) -> Response<'static> {
    if responses.iter().any(Response::is_positive) {
        fixed_replies::ACCEPTED
    } else if responses.iter().any(|response| response.is_transient()) {
        fixed_replies::ACCEPTED_FOR_NONE_NOW
    } else {
        fixed_replies::ACCEPTED_FOR_NONE
    }
}

/// Returns the reply to write instead if the application's reply does not fit the question: 354 belongs to DATA only.
fn replacement(question: Question, response: &Response<'_>) -> Option<Response<'static>> {
    match (question, response.code().severity()) {
        (Question::Data, Severity::Completed) => Some(Response::start_data()),
        (Question::Data, _) => None,
        (_, Severity::Intermediate) => Some(fixed_replies::OK),
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
