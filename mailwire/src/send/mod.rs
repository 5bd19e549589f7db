//! `send`: one message to many recipients, and the truth about each of them.
//!
//! This file knows arguments, the message that they make, and how the result is shown. What is tried again and what
//! became of whom is the business of [`io_mio::delivery`].

mod spool;

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::time::Duration;

use io_mio::Report;
use io_mio::delivery::{self, Clock, DeliveryReport, Message, Obstacle, RetryPolicy, Status, SystemClock};
use proto_core::{Channel, Credentials};
use proto_smtp::client::Client;
use proto_smtp::types::{Address, BodyType, ForwardPath, Mail, Rcpt, ReversePath};

use self::spool::Spool;
use crate::cli::SendArgs;
use crate::compose::{Attachment, ComposeLimits, Draft, Mailbox, parse_field};
use crate::connect::Way;
use crate::credentials;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::smtp::{Authenticate, Session, Task, with_session};
use crate::url::Protocol;

/// The longest line that every server takes, without its end, in octets (RFC 5321 §4.5.3.1.6).
const LONGEST_LINE: u64 = 998;

/// Runs the command.
pub(crate) fn run(arguments: &SendArgs) -> Result<(), Failure> {
    let output = Output::from(arguments.output);
    if arguments.url.protocol != Protocol::Smtp {
        return Err(Failure::new(Kind::Usage, "sending needs an SMTP URL")
            .advise("smtps://user@host or smtp://user@host"));
    }
    let way = Way::new(&arguments.url, &arguments.connection)?;
    let envelope = Envelope::new(arguments)?;
    let spool = message(arguments, &envelope)?;
    if spool.longest_line > LONGEST_LINE {
        output.hint(format!(
            "a line has {} octets, and {LONGEST_LINE} is the most that every server takes",
            spool.longest_line
        ));
    }
    let mut message = address(&envelope, spool)?;
    let credentials = way.credentials()?;
    let policy = RetryPolicy { tries: arguments.attempts, ..RetryPolicy::default() };
    let mut report = message.report();
    delivery::retry(&policy, &mut Patient::start(output), &mut report, |clock, report| {
        let connector = way.connector(|_: &Report| {});
        let credentials = credentials.as_ref().map(credentials::copy);
        let message = &mut message;
        with_session(&way, &connector, Try { way: &way, credentials, message, report, clock, output })
    })?;
    show(&report, output);
    match report.status {
        Status::Success => Ok(()),
        Status::Invalid => Err(Failure::new(Kind::Data, "the message is not valid")),
        Status::Failed | Status::Rejected => {
            Err(Failure::new(Kind::Unavailable, "not every recipient got the message"))
        }
        _ => Err(Failure::new(Kind::TryAgain, "not every recipient got the message")
            .advise("send it to the rest later")),
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

impl Obstacle for Failure {
    fn is_transient(&self) -> bool {
        self.kind == Kind::TryAgain
    }

    fn what(&self) -> String {
        self.what.clone()
    }
}

/// The clock of this machine, which says that it waits.
struct Patient {
    clock: SystemClock,
    output: Output,
}

impl Patient {
    fn start(output: Output) -> Self {
        Self { clock: SystemClock::start(), output }
    }
}

impl Clock for Patient {
    fn now(&mut self) -> jiff::Timestamp {
        self.clock.now()
    }

    fn elapsed(&mut self) -> Duration {
        self.clock.elapsed()
    }

    fn pause(&mut self, pause: Duration) {
        let seconds = pause.as_secs_f64();
        self.output.hint(format!("the server says to try again later: waiting {seconds:.1} s"));
        self.clock.pause(pause);
    }

    fn chance(&mut self) -> u64 {
        self.clock.chance()
    }
}

/// One connection.
struct Try<'a> {
    way: &'a Way,
    credentials: Option<Credentials>,
    message: &'a mut Message<File>,
    report: &'a mut DeliveryReport,
    clock: &'a mut Patient,
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
        if let Some(credentials) = self.credentials {
            session.log_in(credentials, self.way.mechanism())?;
        }
        let bar = self.output.progress(self.message.octets().unwrap_or_default(), "sending");
        let sent = |octets| bar.inc(octets);
        let tried = delivery::transact(&mut session.connection, self.message, self.report, self.clock, sent);
        bar.finish_and_clear();
        tried.map_err(Failure::from)
    }
}

/// The message with its envelope.
fn address(envelope: &Envelope, spool: Spool) -> Result<Message<File>, Failure> {
    let read = |address: &str| match Address::parse(address) {
        Ok(address) => Ok(address.into_owned()),
        Err(why) => Err(Failure::new(Kind::Data, why.to_string())),
    };
    let mut mail = Mail::new(ReversePath::from(read(&envelope.from.address)?));
    mail.size = Some(spool.octets);
    mail.body = spool.eight_bit.then_some(BodyType::EightBitMime);
    mail.utf8 = spool.header_eight_bit;
    let mut message = Message::new(mail, spool.file).message_id(spool.message_id);
    for recipient in &envelope.recipients {
        message = message.recipient(Rcpt::new(ForwardPath::from(read(recipient)?)));
    }
    Ok(message)
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
