//! Sending one message step by step, each reply with the time that it took: for whoever looks at a server.
//!
//! One command at a time, nothing is tried again, and it ends behind the step that was asked for. What a transaction
//! is, the library knows; here is what can be seen of it.

use std::io::{Read, Seek};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use io_mio::ConnectStage as Passed;
use io_mio::{ConnectionEvent, Connector, SmtpClient, StageReport};
use proto_mail::{Channel, Credentials, SendBuffer};
use proto_smtp::client::{Client, Event, NotSent, Outcome, Progress, Step as Command, Transaction};
use proto_smtp::{Config, Pipelining};

use proto_smtp::types::{Capabilities, Extension, ExtensionSet, Response};
use serde::Serialize;

use super::Step;
use super::contents::Contents;
use super::envelope::Envelope;
use super::show;
use super::spool::Spool;
use crate::connect::Way;
use crate::failure::{Failure, Kind};
use crate::interrupt::Unanswered;
use crate::output::Output;
use crate::smtp::{Authenticate, Parting, Session, Task, with_session};
use crate::url::TlsMode;

/// How much of a message waits to be sent at most, in octets.
const AHEAD: usize = 256 * 1024;
const CHUNK: usize = 64 * 1024;

/// Sends a message as far as this step.
pub(super) fn walk(
    way: &Way,
    credentials: Option<Credentials>,
    envelope: &Envelope,
    spool: Spool,
    last: Step,
    output: Output,
) -> Result<(), Failure> {
    let cleartext = way.is_cleartext()?;
    if cleartext && last == Step::Tls {
        return Err(Failure::new(Kind::Usage, "with --danger-cleartext there is no TLS to stop behind"));
    }
    let recipients = envelope.recipients_of(&spool.facts.headers)?;
    let steps = Steps::new(output, last, recipients.clone());
    let observer = steps.clone();
    let connector = way.connector(move |report| observer.observe(report));
    let config = way.smtp_config().dialect(envelope.dialect()).pipelining(Pipelining::Off);
    let early =
        last == Step::Connect || last == Step::Greeting && (cleartext || way.url.tls == TlsMode::StartTls);
    if early {
        return before_tls(way, &connector, config, &steps);
    }
    let work = Work { way, credentials, envelope, recipients, spool, steps: &steps };
    with_session(way, &connector, config, work)?;
    if last == Step::Quit {
        steps.pass(Step::Quit, "closed".to_owned());
    }
    steps.finish()
}

/// The steps in front of TLS: nothing but EHLO is said.
fn before_tls(way: &Way, connector: &Connector, config: Config, steps: &Steps) -> Result<(), Failure> {
    let config = Arc::new(config.danger_cleartext());
    let mut connection = connector.danger_connect_cleartext::<SmtpClient>(&way.target(), &config)?;
    if steps.last() > Step::Connect {
        connection.drive(|turn, _, _| match turn {
            ConnectionEvent::Machine(Event::Greeting(response)) => {
                steps.reply(Step::Greeting, None, true, &response);
                Ok(Some(()))
            }
            ConnectionEvent::Machine(Event::Rejected(_, response) | Event::Closed(Some(response))) => {
                steps.reply(Step::Greeting, None, false, &response);
                Ok(Some(()))
            }
            _ => Ok::<_, Failure>(None),
        })?;
    }
    let _ = connection.close();
    steps.finish()
}

/// The steps behind TLS.
struct Work<'a> {
    way: &'a Way,
    credentials: Option<Credentials>,
    envelope: &'a Envelope,
    recipients: Vec<String>,
    spool: Spool,
    steps: &'a Steps,
}

impl Task for Work<'_> {
    type Output = ();
    type Error = Failure;

    fn run<C: Channel>(mut self, session: &mut Session<C>) -> Result<(), Failure>
    where
        Client<C>: Authenticate,
    {
        let (steps, last) = (self.steps, self.steps.last());
        if last == Step::Tls {
            return Ok(());
        }
        session.ready(|response| {
            steps.reply(Step::Greeting, None, true, response);
            Ok::<_, Failure>(())
        })?;
        if last == Step::Greeting {
            return Ok(());
        }
        steps.pass(Step::Ehlo, session.extensions().join(", "));
        if last == Step::Ehlo {
            return Ok(());
        }
        if let Some(credentials) = self.credentials.take() {
            let logged_in = session.log_in(self.way, &credentials)?;
            steps.pass(Step::Auth, logged_in.describe());
        }
        if last == Step::Auth {
            return Ok(());
        }
        if matches!(last, Step::Data | Step::Dot) {
            session.parting = Parting::Close;
        }
        self.transact(session)
    }
}

impl Work<'_> {
    fn transact<C: Channel>(&mut self, session: &mut Session<C>) -> Result<(), Failure> {
        let (steps, connection) = (self.steps, &mut session.connection);
        let offered =
            connection.machine().capabilities().map_or(ExtensionSet::NONE, Capabilities::extensions);
        if let Some(missing) = self.envelope.not_offered(offered) {
            steps.hint(&missing);
        }
        let recipients = self.recipients.iter().map(|text| self.envelope.rcpt(text));
        let recipients = recipients.collect::<Result<Vec<_>, _>>()?;
        let mut transaction =
            Transaction::new(self.envelope.mail(&self.spool.facts)?).with_content(self.spool.facts.content);
        // A chunk is sent without asking: who stops in front of the message wants to be asked.
        if self.envelope.may_chunk() && steps.last() != Step::Data {
            transaction = transaction.in_one_chunk(self.spool.facts.octets);
        }
        if self.envelope.needs_chunking() && !offered.contains(Extension::Chunking) {
            return Err(super::no_chunking());
        }
        let mut transaction = recipients.into_iter().fold(transaction, Transaction::recipient);
        self.spool.contents.rewind().map_err(|error| unreadable(&error))?;
        let mut upload = Upload { file: &mut self.spool.contents, sending: false, unanswered: None };
        let mut done = connection.with(|client, tx| transaction.start(client, tx))? == Progress::Done;
        if !done {
            let driven = connection.drive(|turn, client, tx| {
                if let ConnectionEvent::Machine(event) = turn {
                    if steps.saw(&event, transaction.recipients().len()) {
                        return Ok(Some(false));
                    }
                    match transaction.event(&event, client, tx)? {
                        Progress::Done => return Ok(Some(true)),
                        Progress::SendData => upload.sending = true,
                        Progress::Continue => {}
                    }
                }
                upload.fill(client, tx)?;
                Ok::<_, Failure>(None)
            });
            done = match driven {
                Ok(done) => done,
                Err(failure) => {
                    let _ = connection.with(|client, tx| transaction.lost(client, tx));
                    let uncertain =
                        transaction.recipients().iter().any(|one| *one.outcome() == Outcome::Uncertain);
                    return Err(if uncertain { and_uncertain(failure) } else { failure });
                }
            };
        }
        if done { told(&transaction) } else { Ok(()) }
    }
}

/// What no reply has told.
fn told(transaction: &Transaction) -> Result<(), Failure> {
    let unsent = transaction.recipients().iter().find_map(|recipient| match recipient.outcome() {
        Outcome::NotSent(why) => Some(*why),
        _ => None,
    });
    match unsent {
        Some(NotSent::TooLarge(limit)) => Err(Failure::new(
            Kind::Unavailable,
            format!("the server takes messages of at most {limit} octets"),
        )),
        Some(NotSent::NotOffered(extension)) => Err(Failure::new(
            Kind::Unavailable,
            format!("the message needs {}, which the server does not offer", extension.keyword()),
        )),
        Some(NotSent::Lost) => Err(Failure::new(Kind::TryAgain, "the server closed the connection")),
        Some(_) => Err(Failure::new(Kind::Unavailable, "the server takes fewer recipients at once")
            .advise("leave --stop-after and --timings out: the others follow then")),
        None if transaction.recipients().iter().any(|one| *one.outcome() == Outcome::Uncertain) => {
            Err(and_uncertain(Failure::new(Kind::TryAgain, "the server closed the connection")))
        }
        None => Ok(()),
    }
}

fn and_uncertain(failure: Failure) -> Failure {
    Failure::new(
        Kind::Uncertain,
        format!("{}; the whole message was sent, and whether the server has it is not known", failure.what),
    )
    .advise(show::LOOK_FIRST)
}

/// The octets of the message on their way.
struct Upload<'a> {
    file: &'a mut Contents,
    sending: bool,
    /// Held once the message was sent to its end.
    unanswered: Option<Unanswered>,
}

impl Upload<'_> {
    /// Queues as much as may wait.
    fn fill<C: Channel>(&mut self, client: &mut Client<C>, tx: &mut SendBuffer) -> Result<(), Failure> {
        while self.sending && tx.len() < AHEAD {
            let mut chunk = Vec::with_capacity(CHUNK);
            self.file
                .by_ref()
                .take(CHUNK as u64)
                .read_to_end(&mut chunk)
                .map_err(|error| unreadable(&error))?;
            let mut writer = client.data_writer()?;
            if chunk.is_empty() {
                writer.finish(tx)?;
                self.sending = false;
                self.unanswered = Some(Unanswered::new());
            } else {
                writer.write_payload(&Bytes::from(chunk), tx)?;
            }
        }
        Ok(())
    }
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::new(Kind::Data, format!("the message cannot be read: {error}"))
}

/// What has been passed, and where it is shown.
#[derive(Clone)]
struct Steps(Arc<Mutex<Inner>>);

struct Inner {
    output: Output,
    last: Step,
    since: Instant,
    /// What the next step took already.
    before: Duration,
    recipients: Vec<String>,
    /// How many recipients were answered.
    answered: usize,
    /// The first refusal.
    refused: Option<Kind>,
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

impl Steps {
    fn new(output: Output, last: Step, recipients: Vec<String>) -> Self {
        let (since, before) = (Instant::now(), Duration::ZERO);
        Self(Arc::new(Mutex::new(Inner {
            output,
            last,
            since,
            before,
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

    /// A step of the connection was passed.
    fn observe(&self, report: &StageReport) {
        let (step, text) = match &report.stage {
            Passed::Resolved(addresses) => {
                let addresses: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
                ("name", addresses.join(", "))
            }
            Passed::Connected(address) => (word(Step::Connect), address.to_string()),
            Passed::Greeted => (word(Step::Greeting), "ready for STARTTLS".to_owned()),
            Passed::TlsDone(info) => (word(Step::Tls), format!("{} {}", info.version, info.cipher)),
            _ => {
                // A part of the next one.
                self.0.lock().unwrap_or_else(PoisonError::into_inner).before += report.took;
                return;
            }
        };
        self.show(step, None, true, None, text, Some(report.took));
    }

    /// A step of the session was passed that has no reply of its own here.
    fn pass(&self, step: Step, text: String) {
        self.show(word(step), None, true, None, text, None);
    }

    /// A reply.
    fn reply(&self, step: Step, recipient: Option<usize>, ok: bool, response: &Response<'_>) {
        let text = response.to_string();
        let code = response.code().get();
        let text = text.strip_prefix(&format!("{code} ")).unwrap_or(&text).to_owned();
        self.show(word(step), recipient, ok, Some(code), text, None);
        if !ok {
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let kind = if response.is_transient() { Kind::TryAgain } else { Kind::Unavailable };
            inner.refused.get_or_insert(kind);
        }
    }

    /// An event of the transaction. Says whether this was the last step.
    fn saw(&self, event: &Event<'_>, recipients: usize) -> bool {
        let last = self.last();
        match event {
            Event::Accepted(Command::Mail, response) => {
                self.reply(Step::Mail, None, true, response);
                last == Step::Mail
            }
            Event::Rejected(Command::Mail, response) => {
                self.reply(Step::Mail, None, false, response);
                false
            }
            Event::Accepted(Command::Rcpt(number), response) => {
                self.recipient(*number, true, response, recipients)
            }
            Event::Rejected(Command::Rcpt(number), response) => {
                self.recipient(*number, false, response, recipients)
            }
            Event::SendData(response) => {
                self.reply(Step::Data, None, true, response);
                last == Step::Data
            }
            Event::Rejected(Command::Data, response) => {
                self.reply(Step::Data, None, false, response);
                false
            }
            Event::Delivered(number, response) => {
                self.reply(Step::Dot, *number, true, response);
                false
            }
            Event::Rejected(Command::Message(number), response) => {
                self.reply(Step::Dot, *number, false, response);
                false
            }
            Event::Closed(Some(response)) => {
                self.reply(Step::Quit, None, false, response);
                false
            }
            _ => false,
        }
    }

    fn recipient(&self, number: usize, ok: bool, response: &Response<'_>, of: usize) -> bool {
        self.reply(Step::Rcpt, Some(number), ok, response);
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.answered += 1;
        inner.last == Step::Rcpt && inner.answered >= of
    }

    fn finish(&self) -> Result<(), Failure> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.refused {
            Some(Kind::TryAgain) => {
                Err(Failure::new(Kind::TryAgain, "the server said no for now").advise("try again later"))
            }
            Some(kind) => Err(Failure::new(kind, "the server said no")),
            None => Ok(()),
        }
    }

    fn show(
        &self,
        step: &'static str,
        recipient: Option<usize>,
        ok: bool,
        code: Option<u16>,
        text: String,
        took: Option<Duration>,
    ) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let took = took.map_or_else(|| inner.since.elapsed(), |took| took + inner.before);
        inner.before = Duration::ZERO;
        let recipient = recipient.and_then(|number| inner.recipients.get(number).cloned());
        let line = Line { step, recipient, ok, ms: (took.as_secs_f64() * 1e5).round() / 100.0, code, text };
        inner.output.json(&line);
        let recipient = line.recipient.as_ref().map(|recipient| format!("{recipient}: ")).unwrap_or_default();
        let code = code.map(|code| format!("{code} ")).unwrap_or_default();
        inner.output.marked(ok, format!("{step:10}{:>9.1} ms  {recipient}{code}{}", line.ms, line.text));
        inner.since = Instant::now();
    }
}

const fn word(step: Step) -> &'static str {
    match step {
        Step::Connect => "connect",
        Step::Greeting => "greeting",
        Step::Tls => "tls",
        Step::Ehlo => "ehlo",
        Step::Auth => "auth",
        Step::Mail => "mail",
        Step::Rcpt => "rcpt",
        Step::Data => "data",
        Step::Dot => "dot",
        Step::Quit => "quit",
    }
}
