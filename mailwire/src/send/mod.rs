//! `send`: sends messages and reports the result for each recipient.
//!
//! This module prepares the server, the envelope and the messages, and starts the run. [`source`] and [`requests`] provide
//! many messages; [`mod@run`] and [`run_state`] deliver and report them. Sessions, retries and delays are those of
//! [`mailclient::delivery`].

mod arguments;
mod contents;
mod envelope;
mod header;
mod job;
mod journal;
mod mbox;
mod message_reader;
mod report;
mod requests;
mod run;
mod run_journal;
mod run_state;
pub(crate) mod sendmail;
mod separator;
mod service_options;
mod source;
mod spool;
mod steps;
mod stop_control;

use std::io::{IsTerminal, Read};
use std::time::Duration;

use mailclient::delivery::RetryPolicy;

pub(crate) use self::arguments::SendArgs;
pub(crate) use self::sendmail::SendmailArgs;

use self::arguments::Step;
use self::envelope::Envelope;
use self::journal::Journal;
use self::requests::Messages;
use self::run::DeliveryPlan;
use self::run_journal::{JournalLifetime, RunJournal, UncertainPolicy};
use self::sendmail::UntilDot;
use self::source::Sources;
use self::spool::{AddFields, Spool};
use crate::account_access::{AccountAccess, store_directory};
use crate::command_error::{CommandError, ExitCode};
use crate::compose::{Attachment, ComposeLimits, Draft, Mailbox, MissingFields, added_fields, parse_field};
use crate::config;
use crate::endpoint::Endpoint;
use crate::output::Output;
use crate::user_directories::user_data_directory;
use mailclient::endpoint::{Protocol, Url};

/// The longest line that every server accepts, without its end, in bytes (RFC 5321 §4.5.3.1.6).
const MAX_LINE_BYTES: u64 = 998;
/// The default number of retries.
const DEFAULT_RETRIES: u32 = 3;

/// Runs the command.
pub(crate) fn run(arguments: &SendArgs) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let output = if arguments.as_sendmail { output.only_failures() } else { output };
    let mut settings = config::send(arguments.connection.config.as_deref())?;
    let endpoint = match &arguments.account.account {
        Some(_) => account_endpoint(arguments, &mut settings)?,
        None => Endpoint::new(&server(arguments, &settings)?, &arguments.connection)?,
    };
    let url = endpoint.url.clone();
    run_to(arguments, &settings, endpoint, output)
        .map_err(|failure| failure.at(&url).or_reason("smtp_send_failed"))
}

/// Returns the submission server of the account. The account's first identity is the default sender.
fn account_endpoint(arguments: &SendArgs, settings: &mut config::Send) -> Result<Endpoint, CommandError> {
    let options = &arguments.account;
    let access = AccountAccess::open(&store_directory(options.store.as_deref())?, &options.key)?;
    let account = access.active(options.account.as_deref().unwrap_or_default())?;
    if arguments.urls().next().is_some() {
        return Err(CommandError::new(
            ExitCode::Usage,
            "a URL and --account are given: only one of them is allowed",
        ));
    }
    if let Some(identity) = account.settings.identities.first() {
        settings.from = Some(format!("{} <{}>", identity.name, identity.address));
    }
    access.endpoint(&account, Protocol::Smtp, &arguments.connection)
}

/// Runs `mailwire sendmail`.
pub(crate) fn run_sendmail(arguments: &SendmailArgs) -> Result<(), CommandError> {
    run(&sendmail::parse(&arguments.arguments)?)
}

fn run_to(
    arguments: &SendArgs,
    settings: &config::Send,
    endpoint: Endpoint,
    output: Output,
) -> Result<(), CommandError> {
    let many = !arguments.messages.is_empty();
    let policy = retry_policy(arguments, settings)?;
    let read =
        if many || arguments.builds_message() { None } else { Some(read_message(arguments, settings)?) };
    let envelope = Envelope::new(arguments, settings, read.as_ref().map(|spool| &spool.info.headers))?;
    let limits = settings.limits();
    let message = |read: Option<Spool>| read.map_or_else(|| build_message(arguments, &envelope, &limits), Ok);
    if arguments.timings || arguments.stop_after.is_some() {
        let last = arguments.stop_after.unwrap_or(Step::Quit);
        let spool = message(read)?;
        let credentials = if last >= Step::Auth { endpoint.credentials()? } else { None };
        return steps::run(&endpoint, credentials, &envelope, spool, last, output);
    }
    let messages = if many {
        Messages::Many(Sources::find(&arguments.messages)?)
    } else {
        let spool = message(read)?;
        if spool.info.longest_line > MAX_LINE_BYTES {
            output.hint(format!(
                "a line has {} bytes; some servers accept at most {MAX_LINE_BYTES}",
                spool.info.longest_line
            ));
        }
        Messages::Single(Some(spool))
    };
    let journal = open_journal(arguments, &endpoint.url, &envelope)?;
    let credentials = endpoint.credentials()?;
    let concurrency = if many { usize::from(arguments.concurrency) } else { 1 };
    let counters = run::deliver(
        DeliveryPlan { endpoint, credentials, envelope, policy, concurrency },
        messages,
        journal,
        output,
    )?;
    if many {
        counters.print(output);
    }
    counters.result()
}

/// Returns the given server, or that of the configuration file.
fn server(arguments: &SendArgs, settings: &config::Send) -> Result<Url, CommandError> {
    let mut given = arguments.urls();
    let url = match (given.next(), given.next()) {
        (Some(_), Some(_)) => {
            return Err(CommandError::new(
                ExitCode::Usage,
                "there are two URLs, but only one server at a time is allowed",
            ));
        }
        (Some(url), None) => url.clone(),
        (None, _) => settings.url()?.ok_or_else(|| {
            let kind = if arguments.as_sendmail { ExitCode::Configuration } else { ExitCode::Usage };
            CommandError::new(kind, "no server is given").advise(
                "add a URL such as smtps://user@host, or set url = \"smtps://user@host\" in [send] of \
                 mailwire/config.toml in the configuration directory",
            )
        })?,
    };
    if url.protocol != Protocol::Smtp {
        return Err(CommandError::new(ExitCode::Usage, "this command needs an SMTP URL")
            .advise("use smtps://user@host or smtp://user@host"));
    }
    Ok(url)
}

/// Returns the number of retries and their delays: those of the command line, or else of the configuration file.
fn retry_policy(arguments: &SendArgs, settings: &config::Send) -> Result<RetryPolicy, CommandError> {
    let mut delays: Vec<Duration> = arguments.retry_delays.clone();
    let given = arguments.retries.or(arguments.attempts.map(|attempts| attempts.saturating_sub(1)));
    let of_delays = |delays: &[Duration]| u32::try_from(delays.len()).ok().filter(|count| *count > 0);
    let given = given.or_else(|| of_delays(&delays));
    if delays.is_empty() {
        delays = settings.retry_delays()?;
    }
    let retries = given.or(settings.retries).or_else(|| of_delays(&delays)).unwrap_or(DEFAULT_RETRIES);
    Ok(RetryPolicy { attempts: retries.saturating_add(1), fixed_delays: delays, ..RetryPolicy::default() })
}

/// Opens the given journal. For many messages, opens an automatic one by default, which the same command finds again.
fn open_journal(
    arguments: &SendArgs,
    url: &Url,
    envelope: &Envelope,
) -> Result<Option<RunJournal>, CommandError> {
    let (path, lifetime) = match &arguments.journal {
        Some(path) => (path.clone(), JournalLifetime::Permanent),
        None if arguments.no_journal || arguments.messages.is_empty() => return Ok(None),
        None => {
            let data = user_data_directory().ok_or_else(|| {
                CommandError::new(ExitCode::Configuration, "there is no data directory for the journal")
                    .advise("use --journal FILE or --no-journal")
            })?;
            let paths =
                arguments.messages.iter().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
            let mut fields = vec![url.host.clone(), envelope.sender().to_owned()];
            fields.extend(envelope.recipients.iter().cloned());
            fields.extend(paths.map(|path| path.to_string_lossy().into_owned()));
            let fields: Vec<&[u8]> = fields.iter().map(String::as_bytes).collect();
            (journal::path_in(&data, &fields), JournalLifetime::UntilComplete)
        }
    };
    let uncertain = if arguments.resend_uncertain { UncertainPolicy::Resend } else { UncertainPolicy::Skip };
    Ok(Some(RunJournal::new(Journal::open(&path)?, &url.host, uncertain, lifetime)))
}

/// Reads a complete message from standard input.
fn read_message(arguments: &SendArgs, settings: &config::Send) -> Result<Spool, CommandError> {
    if std::io::stdin().is_terminal() && !arguments.as_sendmail {
        return Err(CommandError::new(ExitCode::Usage, "there is no message").advise(
            "use --subject and --text, or --messages PATH, or pass a complete message on standard input",
        ));
    }
    let stdin = std::io::stdin().lock();
    if !arguments.as_sendmail {
        return Spool::read(stdin, None);
    }
    let add_fields = Some(missing_fields(arguments, settings)?);
    if arguments.ignore_dots {
        Spool::read(stdin, add_fields)
    } else {
        Spool::read(UntilDot::new(stdin), add_fields)
    }
}

/// Returns a function that adds the required fields that programs leave to sendmail (RFC 6409 §8).
fn missing_fields(arguments: &SendArgs, settings: &config::Send) -> Result<AddFields, CommandError> {
    let sender = arguments.from.as_deref().filter(|from| from.trim() != "<>").or(settings.from.as_deref());
    let mut sender = match sender {
        Some(text) => Some(
            envelope::parse_mailbox(text, settings).map_err(|why| CommandError::new(ExitCode::Data, why))?,
        ),
        None => None,
    };
    if let (Some(Mailbox { name, .. }), Some(full)) = (&mut sender, &arguments.full_name) {
        *name = Some(full.clone()).filter(|full| !full.chars().any(char::is_control));
    }
    Ok(Box::new(move |headers| {
        let missing = MissingFields {
            from: sender.as_ref().filter(|_| headers.from.is_none()),
            date: !headers.has_date,
            message_id: headers.message_id.is_none(),
        };
        added_fields(&missing, &jiff::Zoned::now())
    }))
}

/// Builds the message from the options.
fn build_message(
    arguments: &SendArgs,
    envelope: &Envelope,
    limits: &ComposeLimits,
) -> Result<Spool, CommandError> {
    let html = match &arguments.html {
        Some(path) => {
            let read = std::fs::File::open(path).and_then(|file| read_body(file, limits));
            Some(read.map_err(|error| CommandError::file(path, &error))?)
        }
        None => None,
    };
    let attachments =
        arguments.attach.iter().map(|given| Attachment::read(given, limits)).collect::<Result<_, _>>()?;
    let headers = arguments
        .header
        .iter()
        .map(|field| {
            parse_field(field).map_err(|why| CommandError::new(ExitCode::Data, format!("--header: {why}")))
        })
        .collect::<Result<_, _>>()?;
    let is_ascii = |address: &String| address.is_ascii();
    let draft = Draft {
        ascii_recipients: envelope.sender().is_ascii() && envelope.recipients.iter().any(is_ascii),
        from: envelope.from.clone(),
        to: envelope.to.clone(),
        cc: envelope.cc.clone(),
        subject: arguments.subject.clone(),
        text: read_text(arguments, limits)?,
        html,
        attachments,
        headers,
    };
    let errors: Vec<String> = draft.check(limits).iter().map(ToString::to_string).collect();
    if !errors.is_empty() {
        return Err(CommandError::new(ExitCode::Data, errors.join("; ")));
    }
    let (bytes, _) = draft.build(&jiff::Zoned::now())?;
    Spool::read(bytes.as_slice(), None)
}

/// Returns the text of a built message.
fn read_text(arguments: &SendArgs, limits: &ComposeLimits) -> Result<Option<String>, CommandError> {
    if arguments.text.as_deref() != Some("-") {
        return Ok(arguments.text.clone());
    }
    let text = read_body(std::io::stdin().lock(), limits);
    text.map(Some).map_err(|error| CommandError::new(ExitCode::Data, format!("standard input: {error}")))
}

/// Reads a body, and of one that is too large only enough to see it.
fn read_body(from: impl Read, limits: &ComposeLimits) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    from.take((limits.body as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    // A cut inside a character does not matter: the text is refused for its length.
    if bytes.len() > limits.body {
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes)
        .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "the text is not UTF-8"))
}
