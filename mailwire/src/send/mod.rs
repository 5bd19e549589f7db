//! `send`: messages to recipients, and the truth about each of them.
//!
//! This file knows arguments and the message that they make. Where many messages come from stands in `source` and
//! `orders`, and what is written down and told of them in `run`. Sessions, tries, pauses and what a recipient's fate
//! means are the business of [`io_mio::delivery`].

mod contents;
mod envelope;
mod header;
mod journal;
mod ledger;
mod mbox;
mod octets;
mod orders;
mod run;
mod separator;
mod service;
mod show;
mod source;
mod spool;
mod steps;

use std::io::{IsTerminal, Read};

use io_mio::delivery::RetryPolicy;

use self::envelope::Envelope;
use self::journal::Journal;
use self::ledger::{Keep, Ledger, Uncertain};
use self::orders::Messages;
use self::run::Plan;
pub(crate) use self::service::Service;
use self::source::Sources;
use self::spool::Spool;
use crate::cli::{SendArgs, Step};
use crate::compose::{Attachment, ComposeLimits, Draft, parse_field};
use crate::connect::Way;
use crate::data;
use crate::failure::{Failure, Kind};
use crate::output::Output;
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
    let many = !arguments.messages.is_empty();
    if arguments.timings || arguments.stop_after.is_some() {
        let last = arguments.stop_after.unwrap_or(Step::Quit);
        let spool = message(arguments, &envelope)?;
        let credentials = if last >= Step::Auth { way.credentials()? } else { None };
        return steps::walk(&way, credentials, &envelope, spool, last, output);
    }
    let messages = if many {
        Messages::Found(Sources::find(&arguments.messages)?)
    } else {
        let spool = message(arguments, &envelope)?;
        if spool.facts.longest_line > LONGEST_LINE {
            output.hint(format!(
                "a line has {} octets, and {LONGEST_LINE} is the most that every server takes",
                spool.facts.longest_line
            ));
        }
        Messages::Alone(Some(spool))
    };
    let ledger = ledger(arguments, &envelope)?;
    let credentials = way.credentials()?;
    let policy = RetryPolicy { tries: arguments.attempts, ..RetryPolicy::default() };
    let concurrency = if many { usize::from(arguments.concurrency) } else { 1 };
    let tally =
        run::deliver(Plan { way, credentials, envelope, policy, concurrency }, messages, ledger, output)?;
    if many {
        tally.show(output);
    }
    tally.verdict()
}

/// A server that must take chunks does not.
fn no_chunking() -> Failure {
    Failure::new(Kind::Unavailable, "the server does not offer CHUNKING").advise("--chunking auto")
}

/// The journal: the one that was named, or for many messages one that this command finds again.
fn ledger(arguments: &SendArgs, envelope: &Envelope) -> Result<Option<Ledger>, Failure> {
    let (path, keep) = match &arguments.journal {
        Some(path) => (path.clone(), Keep::Always),
        None if arguments.no_journal || arguments.messages.is_empty() => return Ok(None),
        None => {
            let data = data::directory().ok_or_else(|| {
                Failure::new(Kind::Configuration, "there is no data directory for the journal")
                    .advise("--journal FILE, or --no-journal")
            })?;
            let paths =
                arguments.messages.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
            let mut fields = vec![arguments.url.host.clone(), envelope.sender().to_owned()];
            fields.extend(envelope.recipients.iter().cloned());
            fields.extend(paths.map(|path| path.to_string_lossy().into_owned()));
            let fields: Vec<&[u8]> = fields.iter().map(String::as_bytes).collect();
            (journal::path_in(&data, &fields), Keep::UntilComplete)
        }
    };
    let uncertain = if arguments.resend_uncertain { Uncertain::Resend } else { Uncertain::Leave };
    Ok(Some(Ledger::new(Journal::open(&path)?, &arguments.url.host, uncertain, keep)))
}

/// The message: built, or taken whole from standard input.
fn message(arguments: &SendArgs, envelope: &Envelope) -> Result<Spool, Failure> {
    if !arguments.builds_message() {
        if std::io::stdin().is_terminal() {
            return Err(Failure::new(Kind::Usage, "there is no message")
                .advise("--subject and --text, --messages PATH, or a whole message on standard input"));
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
        from: envelope.from.clone(),
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
