//! `send`: messages to recipients, and the truth about each of them.
//!
//! This file knows the order of the work: which server, which envelope, which messages, then the run. Where many messages
//! come from stands in `source` and `orders`, and what is written down and told of them in `run`. Sessions, tries, pauses
//! and what a recipient's fate means are the business of [`io_mio::delivery`].

mod arguments;
mod contents;
mod envelope;
mod header;
mod journal;
mod ledger;
mod mbox;
mod octets;
mod orders;
mod run;
pub(crate) mod sendmail;
mod separator;
mod service;
mod show;
mod source;
mod spool;
mod steps;
mod stopping;

use std::io::{IsTerminal, Read};
use std::time::Duration;

use io_mio::delivery::RetryPolicy;

pub(crate) use self::arguments::{SendArgs, Step, delay};
use self::envelope::Envelope;
use self::journal::Journal;
use self::ledger::{Keep, Ledger, Uncertain};
use self::orders::Messages;
use self::run::Plan;
pub(crate) use self::sendmail::SendmailArgs;
use self::sendmail::UntilDot;
use self::source::Sources;
use self::spool::{Complete, Spool};
use crate::compose::{Attachment, ComposeLimits, Draft, Mailbox, added_fields, parse_field};
use crate::config;
use crate::connect::Way;
use crate::data;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::url::{Protocol, Url};

/// The longest line that every server takes, without its end, in bytes (RFC 5321 §4.5.3.1.6).
const LONGEST_LINE: u64 = 998;
/// How often a message is tried again unless that is set.
const RETRIES: u32 = 3;

/// Runs the command.
pub(crate) fn run(arguments: &SendArgs) -> Result<(), Failure> {
    let output = Output::from(arguments.output);
    let output = if arguments.as_sendmail { output.only_failures() } else { output };
    let settings = config::send(arguments.connection.config.as_deref())?;
    let url = server(arguments, &settings)?;
    run_to(arguments, &settings, &url, output).map_err(|failure| failure.at(&url))
}

fn run_to(arguments: &SendArgs, settings: &config::Send, url: &Url, output: Output) -> Result<(), Failure> {
    let way = Way::new(url, &arguments.connection)?;
    let many = !arguments.messages.is_empty();
    let policy = policy(arguments, settings)?;
    let whole = if many || arguments.builds_message() { None } else { Some(whole(arguments, settings)?) };
    let envelope = Envelope::new(arguments, settings, whole.as_ref().map(|spool| &spool.facts.headers))?;
    let message = |whole: Option<Spool>| whole.map_or_else(|| built(arguments, &envelope), Ok);
    if arguments.timings || arguments.stop_after.is_some() {
        let last = arguments.stop_after.unwrap_or(Step::Quit);
        let spool = message(whole)?;
        let credentials = if last >= Step::Auth { way.credentials()? } else { None };
        return steps::walk(&way, credentials, &envelope, spool, last, output);
    }
    let messages = if many {
        Messages::Found(Sources::find(&arguments.messages)?)
    } else {
        let spool = message(whole)?;
        if spool.facts.longest_line > LONGEST_LINE {
            output.hint(format!(
                "a line has {} bytes, and {LONGEST_LINE} is the most that every server takes",
                spool.facts.longest_line
            ));
        }
        Messages::Alone(Some(spool))
    };
    let ledger = ledger(arguments, url, &envelope)?;
    let credentials = way.credentials()?;
    let concurrency = if many { usize::from(arguments.concurrency) } else { 1 };
    let tally =
        run::deliver(Plan { way, credentials, envelope, policy, concurrency }, messages, ledger, output)?;
    if many {
        tally.show(output);
    }
    tally.verdict()
}

/// The server: the one that was named, or that of the configuration file.
fn server(arguments: &SendArgs, settings: &config::Send) -> Result<Url, Failure> {
    let mut named = arguments.urls();
    let url = match (named.next(), named.next()) {
        (Some(_), Some(_)) => return Err(Failure::new(Kind::Usage, "one server at a time: there are two URLs")),
        (Some(url), None) => url.clone(),
        (None, _) => settings.url()?.ok_or_else(|| {
            let kind = if arguments.as_sendmail { Kind::Configuration } else { Kind::Usage };
            Failure::new(kind, "there is no server to send to").advise(
                "a URL as smtps://user@host, or url = \"smtps://user@host\" in [send] of mailwire/config.toml in the \
                 configuration directory",
            )
        })?,
    };
    if url.protocol != Protocol::Smtp {
        return Err(Failure::new(Kind::Usage, "sending needs an SMTP URL")
            .advise("smtps://user@host or smtp://user@host"));
    }
    Ok(url)
}

/// How often and after which pauses a message is tried: what the command line says, or else the configuration file.
fn policy(arguments: &SendArgs, settings: &config::Send) -> Result<RetryPolicy, Failure> {
    let mut delays: Vec<Duration> = arguments.retry_delays.clone();
    let given = arguments.retries.or(arguments.attempts.map(|attempts| attempts.saturating_sub(1)));
    let of_delays = |delays: &[Duration]| u32::try_from(delays.len()).ok().filter(|count| *count > 0);
    let given = given.or_else(|| of_delays(&delays));
    if delays.is_empty() {
        delays = settings.retry_delays()?;
    }
    let retries = given.or(settings.retries).or_else(|| of_delays(&delays)).unwrap_or(RETRIES);
    Ok(RetryPolicy { attempts: retries.saturating_add(1), fixed_delays: delays, ..RetryPolicy::default() })
}

/// A server that must take chunks does not.
fn no_chunking() -> Failure {
    Failure::new(Kind::Unavailable, "the server does not offer CHUNKING").advise("--chunking auto")
}

/// The journal: the one that was named, or for many messages one that this command finds again.
fn ledger(arguments: &SendArgs, url: &Url, envelope: &Envelope) -> Result<Option<Ledger>, Failure> {
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
            let mut fields = vec![url.host.clone(), envelope.sender().to_owned()];
            fields.extend(envelope.recipients.iter().cloned());
            fields.extend(paths.map(|path| path.to_string_lossy().into_owned()));
            let fields: Vec<&[u8]> = fields.iter().map(String::as_bytes).collect();
            (journal::path_in(&data, &fields), Keep::UntilComplete)
        }
    };
    let uncertain = if arguments.resend_uncertain { Uncertain::Resend } else { Uncertain::Leave };
    Ok(Some(Ledger::new(Journal::open(&path)?, &url.host, uncertain, keep)))
}

/// A whole message from standard input.
fn whole(arguments: &SendArgs, settings: &config::Send) -> Result<Spool, Failure> {
    if std::io::stdin().is_terminal() && !arguments.as_sendmail {
        return Err(Failure::new(Kind::Usage, "there is no message")
            .advise("--subject and --text, --messages PATH, or a whole message on standard input"));
    }
    let stdin = std::io::stdin().lock();
    if !arguments.as_sendmail {
        return Spool::read(stdin, None);
    }
    let complete = Some(completion(arguments, settings)?);
    if arguments.ignore_dots {
        Spool::read(stdin, complete)
    } else {
        Spool::read(UntilDot::new(stdin), complete)
    }
}

/// Adds the fields that a message must have and that programs leave to sendmail (RFC 6409 §8).
fn completion(arguments: &SendArgs, settings: &config::Send) -> Result<Complete, Failure> {
    let sender = arguments.from.as_deref().filter(|from| from.trim() != "<>").or(settings.from.as_deref());
    let mut sender = match sender {
        Some(text) => Some(envelope::qualified(text, settings).map_err(|why| Failure::new(Kind::Data, why))?),
        None => None,
    };
    if let (Some(Mailbox { name, .. }), Some(full)) = (&mut sender, &arguments.full_name) {
        *name = Some(full.clone()).filter(|full| !full.chars().any(char::is_control));
    }
    Ok(Box::new(move |headers| {
        added_fields(
            sender.as_ref().filter(|_| headers.from.is_none()),
            !headers.has_date,
            headers.message_id.is_none(),
            &jiff::Zoned::now(),
        )
    }))
}

/// The message that the options make.
fn built(arguments: &SendArgs, envelope: &Envelope) -> Result<Spool, Failure> {
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
    let is_ascii = |address: &String| address.is_ascii();
    let draft = Draft {
        ascii_recipients: envelope.sender().is_ascii() && envelope.recipients.iter().any(is_ascii),
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
    Spool::read(octets.as_slice(), None)
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
