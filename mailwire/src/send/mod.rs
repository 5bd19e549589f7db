//! `send`: one message to many recipients, and the truth about each of them.
//!
//! A try is one connection and one transaction. Recipients that a server refuses for now are tried again, with a
//! growing pause; those that it took or refused for good are not, so that nobody gets a message twice.

mod report;
mod spool;

use std::io::{IsTerminal, Read};
use std::time::{Duration, Instant};

use bytes::Bytes;
use io_mio::{Report, Turn};
use proto_core::{Channel, Credentials};
use proto_smtp::client::{Client, NotSent, Outcome, Progress, Step, Transaction};
use proto_smtp::types::{Address, BodyType, ForwardPath, Mail, Rcpt, Response, ReversePath};

use self::report::{Answer, DeliveryReport, RecipientReport, Stage, Status};
use self::spool::Spool;
use crate::cli::SendArgs;
use crate::compose::{Attachment, ComposeLimits, Draft, Mailbox, parse_field};
use crate::connect::Way;
use crate::credentials;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::smtp::{Authenticate, Session, Task, with_session};
use crate::url::Protocol;

/// How much of a message waits to be sent at most, in octets.
const AHEAD: usize = 256 * 1024;

/// The longest line that every server takes, without its end, in octets (RFC 5321 §4.5.3.1.6).
const LONGEST_LINE: u64 = 998;

/// How much of a message is read at once, in octets.
const CHUNK: usize = 64 * 1024;

/// Runs the command.
pub(crate) fn run(arguments: &SendArgs) -> Result<(), Failure> {
    let output = Output::from(arguments.output);
    if arguments.url.protocol != Protocol::Smtp {
        return Err(Failure::new(Kind::Usage, "sending needs an SMTP URL")
            .advise("smtps://user@host or smtp://user@host"));
    }
    let way = Way::new(&arguments.url, &arguments.connection)?;
    let envelope = Envelope::new(arguments)?;
    let mut message = message(arguments, &envelope)?;
    if message.longest_line > LONGEST_LINE {
        output.hint(format!(
            "a line has {} octets, and {LONGEST_LINE} is the most that every server takes",
            message.longest_line
        ));
    }
    let credentials = way.credentials()?;
    let started = Instant::now();
    let mut report = DeliveryReport::new(message.message_id.clone(), &envelope.recipients);
    for attempt in 1..=arguments.attempts {
        let again = attempt < arguments.attempts;
        match try_once(&way, credentials.as_ref(), &envelope, &mut message, &mut report, output) {
            Ok(()) => {}
            Err(failure) if failure.kind == Kind::TryAgain && again => report.postpone(&failure),
            Err(failure) if report.has_outcome() => report.postpone(&failure),
            Err(failure) => return Err(failure),
        }
        if !report.is_pending() || !again {
            break;
        }
        report.retry_count += 1;
        let pause = pause_before(attempt);
        output.hint(format!("the server says to try again later: waiting {:.1} s", pause.as_secs_f64()));
        std::thread::sleep(pause);
    }
    report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    report.conclude();
    show(&report, output);
    match report.status {
        Status::Success => Ok(()),
        Status::TempFailed | Status::Retry | Status::Uncertain => {
            Err(Failure::new(Kind::TryAgain, "not every recipient got the message")
                .advise("send it to the rest later"))
        }
        Status::Invalid => Err(Failure::new(Kind::Data, "the message is not valid")),
        Status::Failed | Status::Rejected => {
            Err(Failure::new(Kind::Unavailable, "not every recipient got the message"))
        }
    }
}

/// Who sends to whom.
struct Envelope {
    from: Mailbox,
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    /// All that get it, each once, in order.
    recipients: Vec<String>,
}

impl Envelope {
    fn new(arguments: &SendArgs) -> Result<Self, Failure> {
        let mut wrong = Vec::new();
        let mut read = |field: &str, texts: &[String]| {
            let read = |text: &String| {
                Mailbox::parse(text).map_err(|why| wrong.push(format!("--{field} {text:?}: {why}"))).ok()
            };
            texts.iter().filter_map(read).collect::<Vec<_>>()
        };
        let from = read("from", std::slice::from_ref(&arguments.from)).pop();
        let (to, cc, bcc) =
            (read("to", &arguments.to), read("cc", &arguments.cc), read("bcc", &arguments.bcc));
        let mut recipients: Vec<String> = Vec::new();
        for mailbox in to.iter().chain(&cc).chain(&bcc) {
            if !recipients.contains(&mailbox.address) {
                recipients.push(mailbox.address.clone());
            }
        }
        let most = ComposeLimits::default().recipients;
        if recipients.len() > most {
            wrong.push(format!("{} recipients, and {most} is the most for one message", recipients.len()));
        }
        match from {
            Some(from) if wrong.is_empty() && !recipients.is_empty() => Ok(Self { from, to, cc, recipients }),
            _ if wrong.is_empty() => {
                Err(Failure::new(Kind::Usage, "a message needs a recipient").advise("--to ADDRESS"))
            }
            _ => Err(Failure::new(Kind::Data, wrong.join("; "))),
        }
    }
}

/// The message: built, or taken whole from standard input.
fn message(arguments: &SendArgs, envelope: &Envelope) -> Result<Spool, Failure> {
    if !arguments.builds_message() {
        if std::io::stdin().is_terminal() {
            return Err(Failure::new(Kind::Usage, "there is no message")
                .advise("--subject and --text, or a whole message on standard input"));
        }
        return Spool::read(std::io::stdin().lock());
    }
    let limits = ComposeLimits::default();
    let html = match &arguments.html {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| Failure::file(path, &error))?),
        None => None,
    };
    let attachments =
        arguments.attach.iter().map(|path| Attachment::read(path, &limits)).collect::<Result<_, _>>()?;
    let headers = arguments
        .header
        .iter()
        .map(|field| parse_field(field).map_err(|why| Failure::new(Kind::Data, format!("--header: {why}"))))
        .collect::<Result<_, _>>()?;
    let draft = Draft {
        from: Some(envelope.from.clone()),
        to: envelope.to.clone(),
        cc: envelope.cc.clone(),
        subject: arguments.subject.clone(),
        text: text(arguments)?,
        html,
        attachments,
        headers,
    };
    let errors: Vec<String> = draft.check(&limits).iter().map(ToString::to_string).collect();
    if !errors.is_empty() {
        return Err(Failure::new(Kind::Data, errors.join("; ")));
    }
    let (octets, _) = draft.build(&jiff::Zoned::now())?;
    Spool::read(octets.as_slice())
}

fn text(arguments: &SendArgs) -> Result<Option<String>, Failure> {
    if arguments.text.as_deref() != Some("-") {
        return Ok(arguments.text.clone());
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(ComposeLimits::default().body as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(Kind::Data, format!("standard input: {error}")))?;
    Ok(Some(text))
}

/// One connection, one transaction.
fn try_once(
    way: &Way,
    credentials: Option<&Credentials>,
    envelope: &Envelope,
    message: &mut Spool,
    report: &mut DeliveryReport,
    output: Output,
) -> Result<(), Failure> {
    message.rewind()?;
    let connector = way.connector(|_: &Report| {});
    let credentials = credentials.map(credentials::copy);
    with_session(way, &connector, Try { way, credentials, envelope, message, report, output })
}

struct Try<'a> {
    way: &'a Way,
    credentials: Option<Credentials>,
    envelope: &'a Envelope,
    message: &'a mut Spool,
    report: &'a mut DeliveryReport,
    output: Output,
}

impl Task for Try<'_> {
    type Output = ();
    type Error = Failure;

    fn run<C: Channel>(self, session: &mut Session<C>) -> Result<(), Failure>
    where
        Client<C>: Authenticate,
    {
        session.ready(|_| Ok::<_, Failure>(()))?;
        self.report.tls = session.connection.tls_info().map(|info| info.version.to_owned());
        if let Some(credentials) = self.credentials {
            session.log_in(credentials, self.way.mechanism())?;
        }
        let pending = self.report.pending();
        let mut transaction = begin(self.envelope, self.message, &pending)?;
        let bar = self.output.progress(self.message.octets, "sending");
        let mut sending = false;
        let started = session.connection.with(|client, tx| transaction.start(client, tx))?;
        let lost = if started == Progress::Done {
            None
        } else {
            let message = self.message;
            let driven = session.connection.drive(|turn, client, tx| {
                match turn {
                    Turn::Event(event) => match transaction.event(&event, client, tx)? {
                        Progress::Done => return Ok(Some(())),
                        Progress::SendData => sending = true,
                        Progress::Continue => {}
                    },
                    Turn::Writable => {}
                }
                while sending && tx.len() < AHEAD {
                    let chunk = message.next_chunk(CHUNK)?;
                    bar.inc(chunk.len() as u64);
                    let mut writer = client.data_writer()?;
                    if chunk.is_empty() {
                        writer.finish(tx)?;
                        sending = false;
                    } else {
                        writer.write_payload(&Bytes::from(chunk), tx)?;
                    }
                }
                Ok::<_, Failure>(None)
            });
            driven.err()
        };
        bar.finish_and_clear();
        if lost.is_some() {
            let _ = session.connection.with(|client, tx| transaction.lost(client, tx));
        }
        for (index, recipient) in pending.into_iter().zip(transaction.recipients()) {
            self.report.decide(index, recipient.outcome(), lost.as_ref());
        }
        Ok(())
    }
}

/// The transaction for the recipients that still wait.
fn begin(envelope: &Envelope, message: &Spool, pending: &[usize]) -> Result<Transaction, Failure> {
    let unreadable = |why: proto_smtp::parse::SyntaxError| Failure::new(Kind::Data, why.to_string());
    let from = Address::parse(&envelope.from.address).map_err(unreadable)?.into_owned();
    let mut mail = Mail::new(ReversePath::from(from));
    mail.size = Some(message.octets);
    mail.body = message.eight_bit.then_some(BodyType::EightBitMime);
    mail.utf8 = message.header_eight_bit;
    let mut transaction = Transaction::new(mail);
    for index in pending {
        let address = envelope.recipients.get(*index).map(String::as_str).unwrap_or_default();
        let address = Address::parse(address).map_err(unreadable)?.into_owned();
        transaction = transaction.recipient(Rcpt::new(ForwardPath::from(address)));
    }
    Ok(transaction)
}

impl DeliveryReport {
    fn new(message_id: Option<String>, recipients: &[String]) -> Self {
        let recipient = |address: &String| RecipientReport {
            address: address.clone(),
            status: Status::Retry,
            answer: None,
        };
        Self {
            status: Status::Retry,
            message_id,
            recipients: recipients.iter().map(recipient).collect(),
            sent_at: None,
            retry_count: 0,
            is_retryable: false,
            duration_ms: 0,
            tls: None,
        }
    }

    /// The recipients that wait for another try.
    fn pending(&self) -> Vec<usize> {
        let waits = |(index, recipient): (usize, &RecipientReport)| {
            (recipient.status == Status::Retry).then_some(index)
        };
        self.recipients.iter().enumerate().filter_map(waits).collect()
    }

    fn is_pending(&self) -> bool {
        self.recipients.iter().any(|recipient| recipient.status == Status::Retry)
    }

    fn has_outcome(&self) -> bool {
        self.recipients.iter().any(|recipient| recipient.answer.is_some())
    }

    /// Nothing was said about anybody: what went wrong stands for all that wait.
    fn postpone(&mut self, failure: &Failure) {
        for index in self.pending() {
            if let Some(recipient) = self.recipients.get_mut(index) {
                recipient.answer = Some(Answer::none(Stage::Connect, failure.what.clone()));
            }
        }
    }

    /// What became of one recipient in this try.
    fn decide(&mut self, index: usize, outcome: &Outcome, lost: Option<&Failure>) {
        let Some(recipient) = self.recipients.get_mut(index) else { return };
        let why =
            || lost.map_or_else(|| "the connection was lost".to_owned(), |failure| failure.what.clone());
        let (status, answer) = match outcome {
            Outcome::Delivered(response) => {
                self.sent_at = Some(jiff::Timestamp::now().to_string());
                (Status::Success, answer(Stage::Message, response))
            }
            Outcome::Refused(step, response) => {
                let answer = answer(stage(*step), response);
                let for_good = if matches!(step, Step::Mail | Step::Rcpt(_)) {
                    Status::Rejected
                } else {
                    Status::Failed
                };
                (if answer.is_retryable() { Status::Retry } else { for_good }, answer)
            }
            Outcome::Uncertain => (Status::Uncertain, Answer::none(Stage::Message, why())),
            Outcome::NotSent(NotSent::TooLarge(limit)) => (
                Status::Failed,
                Answer::none(Stage::Mail, format!("the server takes messages of at most {limit} octets")),
            ),
            Outcome::NotSent(NotSent::NotOffered(extension)) => (
                Status::Failed,
                Answer::none(
                    Stage::Mail,
                    format!("the message needs {}, which the server does not offer", extension.keyword()),
                ),
            ),
            Outcome::NotSent(NotSent::LeftOver | NotSent::SessionUsedUp) => (
                Status::Retry,
                Answer::none(Stage::Mail, "the server takes no more of them at once".to_owned()),
            ),
            _ => (Status::Retry, Answer::none(Stage::Message, why())),
        };
        recipient.status = status;
        recipient.answer = Some(answer);
    }
}

fn stage(step: Step) -> Stage {
    match step {
        Step::Greeting | Step::Hello | Step::StartTls => Stage::Greeting,
        Step::Auth => Stage::Auth,
        Step::Mail => Stage::Mail,
        Step::Rcpt(_) => Stage::Rcpt,
        Step::Data => Stage::Data,
        _ => Stage::Message,
    }
}

fn answer(stage: Stage, response: &Response<'_>) -> Answer {
    Answer {
        stage,
        code: Some(response.code().get()),
        enhanced: response.enhanced().map(|enhanced| enhanced.to_string()),
        text: response.text(),
    }
}

/// One second, two, four, … up to a minute, and up to half as much again, so that many senders do not come back at
/// the same moment.
fn pause_before(attempt: u32) -> Duration {
    use std::hash::{BuildHasher, Hasher};
    let base = 1000u64 << attempt.saturating_sub(1).min(6);
    let base = base.min(60_000);
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    Duration::from_millis(base + random % (base / 2))
}

fn show(report: &DeliveryReport, output: Output) {
    output.json(report);
    for recipient in &report.recipients {
        let text = match &recipient.answer {
            Some(answer) => {
                let code = answer.code.map(|code| format!("{code} ")).unwrap_or_default();
                let enhanced =
                    answer.enhanced.as_ref().map(|enhanced| format!("{enhanced} ")).unwrap_or_default();
                format!("{code}{enhanced}{}", answer.text)
            }
            None => String::new(),
        };
        output.marked(recipient.status == Status::Success, format!("{}: {text}", recipient.address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded() {
        for attempt in 1..40 {
            let pause = pause_before(attempt);
            assert!(
                pause >= Duration::from_secs(1) && pause <= Duration::from_secs(90),
                "{attempt}: {pause:?}"
            );
        }
        assert!(pause_before(4) >= Duration::from_secs(8));
    }

    #[test]
    fn only_those_that_wait_are_tried_again() {
        let recipients = ["a@x.example", "b@x.example", "c@x.example"].map(str::to_owned);
        let mut report = DeliveryReport::new(None, &recipients);
        let refused = |code: u16| {
            let code = proto_smtp::types::Code::new(code).unwrap();
            Outcome::Refused(Step::Rcpt(0), Response::new(code, "no").into_owned())
        };
        report.decide(0, &refused(450), None);
        report.decide(1, &refused(550), None);
        report.decide(2, &Outcome::Uncertain, None);
        assert_eq!(report.pending(), [0]);
        assert_eq!(report.recipients[1].status, Status::Rejected);
        report.conclude();
        assert_eq!(report.recipients[0].status, Status::TempFailed);
        assert_eq!(report.status, Status::Uncertain);
    }
}
