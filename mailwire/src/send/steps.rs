//! Sends one message step by step and prints each reply with its time, to test a server.
//!
//! Sends one command at a time, retries nothing, and stops after the requested step.

use std::io::{Read, Seek};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use io_mio::{ConnectStage, ConnectionEvent, Connector, SmtpClientProtocol, StageReport};
use mailclient::endpoint::TlsMode;
use mailclient::smtp::{Session, SessionEnd, SessionTask, SmtpChannel};
use proto_mail::{Channel, Credentials, SendBuffer};
use proto_smtp::client::{Client, Event, NotSent, Outcome, Progress, Step as Command, Transaction};
use proto_smtp::types::Response;
use proto_smtp::{Config, Pipelining};
use serde::Serialize;

use super::arguments::Step;
use super::contents::Contents;
use super::envelope::Envelope;
use super::report::CHECK_FIRST;
use super::spool::Spool;
use crate::command_error::{CommandError, ExitCode};
use crate::endpoint::Endpoint;
use crate::interrupt::Unanswered;
use crate::output::{Mark, Output};

/// The maximum number of bytes of a message in the send buffer.
const MAX_QUEUED: usize = 256 * 1024;
/// How many bytes to read at once.
const CHUNK: usize = 64 * 1024;

/// Sends a message up to the step `last`.
pub(super) fn run(
    endpoint: &Endpoint,
    credentials: Option<Credentials>,
    envelope: &Envelope,
    spool: Spool,
    last: Step,
    output: Output,
) -> Result<(), CommandError> {
    let cleartext = endpoint.is_cleartext()?;
    if cleartext && last == Step::Tls {
        return Err(CommandError::new(
            ExitCode::Usage,
            "--stop-after tls cannot be used with --danger-cleartext",
        ));
    }
    let recipients = envelope.recipients_of(&spool.info.headers)?;
    let steps = StepReport::new(output, last, recipients.clone());
    let observer = steps.clone();
    let connector = endpoint.connector(move |report| observer.observe(report));
    let config = endpoint.smtp_config().dialect(envelope.dialect()).pipelining(Pipelining::Off);
    let ends_before_tls = last == Step::Connect
        || last == Step::Greeting && (cleartext || endpoint.url.tls == TlsMode::StartTls);
    if ends_before_tls {
        return run_before_tls(endpoint, &connector, config, &steps);
    }
    let task = SendSteps { endpoint, credentials, envelope, recipients, spool, steps: &steps };
    endpoint.with_smtp_session(&connector, config, task)?;
    if last == Step::Quit {
        steps.passed(Step::Quit, "closed".to_owned());
    }
    steps.finish()
}

/// Runs the steps before TLS. The client sends at most EHLO.
fn run_before_tls(
    endpoint: &Endpoint,
    connector: &Connector,
    config: Config,
    steps: &StepReport,
) -> Result<(), CommandError> {
    let config = Arc::new(config.danger_cleartext());
    let mut connection =
        connector.danger_connect_cleartext::<SmtpClientProtocol>(&endpoint.target(), &config)?;
    if steps.last() > Step::Connect {
        connection.drive(|turn, _, _| match turn {
            ConnectionEvent::Machine(Event::Greeting(response)) => {
                steps.reply(Step::Greeting, None, Mark::Ok, &response);
                Ok(Some(()))
            }
            ConnectionEvent::Machine(Event::Rejected(_, response) | Event::Closed(Some(response))) => {
                steps.reply(Step::Greeting, None, Mark::Fail, &response);
                Ok(Some(()))
            }
            _ => Ok::<_, CommandError>(None),
        })?;
    }
    let _ = connection.close();
    steps.finish()
}

/// The steps after TLS.
struct SendSteps<'a> {
    endpoint: &'a Endpoint,
    credentials: Option<Credentials>,
    envelope: &'a Envelope,
    recipients: Vec<String>,
    spool: Spool,
    steps: &'a StepReport,
}

impl SessionTask for SendSteps<'_> {
    type Output = ();
    type Error = CommandError;

    fn run<C: SmtpChannel>(mut self, session: &mut Session<C>) -> Result<(), CommandError> {
        let (steps, last) = (self.steps, self.steps.last());
        if last == Step::Tls {
            return Ok(());
        }
        session.ready(|response| {
            steps.reply(Step::Greeting, None, Mark::Ok, response);
            Ok::<_, CommandError>(())
        })?;
        if last == Step::Greeting {
            return Ok(());
        }
        steps.passed(Step::Ehlo, session.extensions().join(", "));
        if last == Step::Ehlo {
            return Ok(());
        }
        if let Some(credentials) = self.credentials.take() {
            let logged_in = session.log_in(&self.endpoint.inner, &self.endpoint.source(&credentials))?;
            steps.passed(Step::Auth, logged_in.describe());
        }
        if last == Step::Auth {
            return Ok(());
        }
        if matches!(last, Step::Data | Step::Dot) {
            session.end = SessionEnd::Close;
        }
        self.transact(session)
    }
}

impl SendSteps<'_> {
    fn transact<C: SmtpChannel>(&mut self, session: &mut Session<C>) -> Result<(), CommandError> {
        let offered = session.offered();
        let (steps, connection) = (self.steps, &mut session.connection);
        if let Some(missing) = self.envelope.missing_extensions_hint(offered) {
            steps.hint(&missing);
        }
        let recipients = self.recipients.iter().map(|text| self.envelope.rcpt(text));
        let recipients = recipients.collect::<Result<Vec<_>, _>>()?;
        let mut transaction =
            Transaction::new(self.envelope.mail(&self.spool.info)?).with_content(self.spool.info.content);
        // BDAT has no step at which the server waits for the message.
        if self.envelope.may_chunk() && steps.last() != Step::Data {
            transaction = transaction.in_one_chunk(self.spool.info.size);
        }
        self.envelope.check_chunking(offered)?;
        let mut transaction = recipients.into_iter().fold(transaction, Transaction::recipient);
        self.spool.contents.rewind().map_err(|error| unreadable(&error))?;
        let mut upload = Upload { contents: &mut self.spool.contents, is_sending: false, unanswered: None };
        let mut done = connection.with(|client, tx| transaction.start(client, tx))? == Progress::Done;
        if !done {
            let driven = connection.drive(|turn, client, tx| {
                if let ConnectionEvent::Machine(event) = turn {
                    if steps.observe_event(&event, transaction.recipients().len()) {
                        return Ok(Some(false));
                    }
                    match transaction.event(&event, client, tx)? {
                        Progress::Done => return Ok(Some(true)),
                        Progress::SendData => upload.is_sending = true,
                        Progress::Continue => {}
                    }
                }
                upload.fill(client, tx)?;
                Ok::<_, CommandError>(None)
            });
            done = match driven {
                Ok(done) => done,
                Err(failure) => {
                    let _ = connection.with(|client, tx| transaction.lost(client, tx));
                    let is_uncertain =
                        transaction.recipients().iter().any(|one| *one.outcome() == Outcome::Uncertain);
                    return Err(if is_uncertain { uncertain(failure) } else { failure });
                }
            };
        }
        if done { check_unsent(&transaction) } else { Ok(()) }
    }
}

/// Returns the error for a message that was not sent, which no reply has reported.
fn check_unsent(transaction: &Transaction) -> Result<(), CommandError> {
    let unsent = transaction.recipients().iter().find_map(|recipient| match recipient.outcome() {
        Outcome::NotSent(why) => Some(*why),
        _ => None,
    });
    match unsent {
        Some(NotSent::TooLarge(limit)) => Err(CommandError::new(
            ExitCode::Unavailable,
            format!("the server accepts messages of at most {limit} bytes"),
        )),
        Some(NotSent::NotOffered(extension)) => Err(CommandError::new(
            ExitCode::Unavailable,
            format!("the message needs {}, which the server does not offer", extension.keyword()),
        )),
        Some(NotSent::Lost) => Err(CommandError::new(ExitCode::TryAgain, "the server closed the connection")),
        Some(_) => {
            Err(CommandError::new(ExitCode::Unavailable, "the server accepts fewer recipients at once")
                .advise("remove --stop-after and --timings: the other recipients are then sent separately"))
        }
        None if transaction.recipients().iter().any(|one| *one.outcome() == Outcome::Uncertain) => {
            Err(uncertain(CommandError::new(ExitCode::TryAgain, "the server closed the connection")))
        }
        None => Ok(()),
    }
}

/// Marks a failure after which the message is uncertain.
fn uncertain(failure: CommandError) -> CommandError {
    CommandError::new(
        ExitCode::Uncertain,
        format!(
            "{}; the whole message was sent, and it is unknown whether the server accepted it",
            failure.what
        ),
    )
    .advise(CHECK_FIRST)
}

/// The upload of the message.
struct Upload<'a> {
    contents: &'a mut Contents,
    /// Whether the server waits for the message.
    is_sending: bool,
    /// Set once the whole message was sent.
    unanswered: Option<Unanswered>,
}

impl Upload<'_> {
    /// Queues as many bytes as allowed.
    fn fill<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<(), CommandError> {
        while self.is_sending && tx.len() < MAX_QUEUED {
            let mut chunk = Vec::with_capacity(CHUNK);
            self.contents
                .by_ref()
                .take(CHUNK as u64)
                .read_to_end(&mut chunk)
                .map_err(|error| unreadable(&error))?;
            let mut writer = client.data_writer()?;
            if chunk.is_empty() {
                writer.finish(tx)?;
                self.is_sending = false;
                self.unanswered = Some(Unanswered::new());
            } else {
                writer.write_payload(&Bytes::from(chunk), tx)?;
            }
        }
        Ok(())
    }
}

fn unreadable(error: &std::io::Error) -> CommandError {
    CommandError::new(ExitCode::Data, format!("the message cannot be read: {error}"))
}

/// The progress of the steps, and their output. Cheap to clone.
#[derive(Clone)]
struct StepReport(Arc<Mutex<Inner>>);

struct Inner {
    output: Output,
    last: Step,
    /// When the current step began.
    since: Instant,
    /// Time to add to the next step.
    carried: Duration,
    recipients: Vec<String>,
    /// For how many recipients the server has replied.
    answered: usize,
    /// The kind of the first refusal.
    refused: Option<ExitCode>,
}

#[derive(Serialize)]
struct Line {
    step: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipient: Option<String>,
    ok: bool,
    ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    text: String,
}

impl StepReport {
    fn new(output: Output, last: Step, recipients: Vec<String>) -> Self {
        let (since, carried) = (Instant::now(), Duration::ZERO);
        Self(Arc::new(Mutex::new(Inner {
            output,
            last,
            since,
            carried,
            recipients,
            answered: 0,
            refused: None,
        })))
    }

    fn last(&self) -> Step {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    fn hint(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).output.hint(text);
    }

    /// Records a step of the connection.
    fn observe(&self, report: &StageReport) {
        let (step, text) = match &report.stage {
            ConnectStage::Resolved(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
                ("name", addresses.join(", "))
            }
            ConnectStage::Connected(address) => (Step::Connect.name(), address.to_string()),
            ConnectStage::Greeted => (Step::Greeting.name(), "ready for STARTTLS".to_owned()),
            ConnectStage::TlsDone(info) => (Step::Tls.name(), format!("{} {}", info.version, info.cipher)),
            _ => {
                // This time counts towards the next step.
                self.0.lock().unwrap_or_else(PoisonError::into_inner).carried += report.took;
                return;
            }
        };
        self.show(step, None, Mark::Ok, None, text, Some(report.took));
    }

    /// Records a step of the session that has no reply to print.
    fn passed(&self, step: Step, text: String) {
        self.show(step.name(), None, Mark::Ok, None, text, None);
    }

    /// Records the reply to a step.
    fn reply(&self, step: Step, recipient: Option<usize>, mark: Mark, response: &Response<'_>) {
        let text = response.to_string();
        let code = response.code().get();
        let text = text.strip_prefix(&format!("{code} ")).unwrap_or(&text).to_owned();
        self.show(step.name(), recipient, mark, Some(code), text, None);
        if mark == Mark::Fail {
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let kind = if response.is_transient() { ExitCode::TryAgain } else { ExitCode::Unavailable };
            inner.refused.get_or_insert(kind);
        }
    }

    /// Records an event of the transaction. Returns whether the last step is done.
    fn observe_event(&self, event: &Event<'_>, recipients: usize) -> bool {
        let last = self.last();
        match event {
            Event::Accepted(Command::Mail, response) => {
                self.reply(Step::Mail, None, Mark::Ok, response);
                last == Step::Mail
            }
            Event::Rejected(Command::Mail, response) => {
                self.reply(Step::Mail, None, Mark::Fail, response);
                false
            }
            Event::Accepted(Command::Rcpt(number), response) => {
                self.recipient(*number, Mark::Ok, response, recipients)
            }
            Event::Rejected(Command::Rcpt(number), response) => {
                self.recipient(*number, Mark::Fail, response, recipients)
            }
            Event::SendData(response) => {
                self.reply(Step::Data, None, Mark::Ok, response);
                last == Step::Data
            }
            Event::Rejected(Command::Data, response) => {
                self.reply(Step::Data, None, Mark::Fail, response);
                false
            }
            Event::Delivered(number, response) => {
                self.reply(Step::Dot, *number, Mark::Ok, response);
                false
            }
            Event::Rejected(Command::Message(number), response) => {
                self.reply(Step::Dot, *number, Mark::Fail, response);
                false
            }
            Event::Closed(Some(response)) => {
                self.reply(Step::Quit, None, Mark::Fail, response);
                false
            }
            _ => false,
        }
    }

    fn recipient(&self, number: usize, mark: Mark, response: &Response<'_>, of: usize) -> bool {
        self.reply(Step::Rcpt, Some(number), mark, response);
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.answered += 1;
        inner.last == Step::Rcpt && inner.answered >= of
    }

    /// Returns the failure if the server refused a step.
    fn finish(&self) -> Result<(), CommandError> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.refused {
            Some(ExitCode::TryAgain) => {
                Err(CommandError::new(ExitCode::TryAgain, "the server refused temporarily")
                    .advise("try again later"))
            }
            Some(kind) => Err(CommandError::new(kind, "the server refused")),
            None => Ok(()),
        }
    }

    fn show(
        &self,
        step: &'static str,
        recipient: Option<usize>,
        mark: Mark,
        code: Option<u16>,
        text: String,
        took: Option<Duration>,
    ) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let took = took.map_or_else(|| inner.since.elapsed(), |took| took + inner.carried);
        inner.carried = Duration::ZERO;
        let recipient = recipient.and_then(|number| inner.recipients.get(number).cloned());
        let line = Line {
            step,
            recipient,
            ok: mark == Mark::Ok,
            ms: (took.as_secs_f64() * 1e5).round() / 100.0,
            code,
            text,
        };
        inner.output.json(&line);
        let recipient = line.recipient.as_ref().map(|recipient| format!("{recipient}: ")).unwrap_or_default();
        let code = code.map(|code| format!("{code} ")).unwrap_or_default();
        inner.output.marked(mark, format!("{step:10}{:>9.1} ms  {recipient}{code}{}", line.ms, line.text));
        inner.since = Instant::now();
    }
}
