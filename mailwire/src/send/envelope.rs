//! The envelope of a message: sender, recipients and SMTP parameters, parsed and checked before the client connects.

use std::collections::HashSet;
use std::io::{Read, Seek};

use mailclient::delivery::{Chunking, Message};
use proto_smtp::Dialect;
use proto_smtp::types::{
    Address, BodyType, Extension, ExtensionSet, ForwardPath, Hold, Mail, OriginalRecipient, Rcpt, Return,
    ReversePath,
};

use super::arguments::SendArgs;
use super::header::Headers;
use super::service_options::{self, Original, ServiceOptions};
use super::spool::{HeaderBytes, MessageInfo};
use crate::command_error::{CommandError, ExitCode};
use crate::compose::Mailbox;
use crate::config;

/// The maximum number of recipients of one message, including those in its header.
const MAX_HEADER_RECIPIENTS: usize = 1000;

/// The envelope of every message of a run.
#[derive(Debug)]
pub(super) struct Envelope {
    /// `None` is the null path, for messages that must not cause a delivery report (RFC 5321 §4.5.5).
    pub(super) from: Option<Mailbox>,
    pub(super) to: Vec<Mailbox>,
    pub(super) cc: Vec<Mailbox>,
    /// The recipients of every message, without duplicates, in order.
    pub(super) recipients: Vec<String>,
    /// The domain to add to recipients in a header that have none.
    default_domain: Option<String>,
    /// Whether the recipients in the header of each message are added.
    adds_header_recipients: bool,
    service: ServiceOptions,
}

impl Envelope {
    /// Parses the envelope from the command line, the configuration file and, for a complete message, its header.
    pub(super) fn new(
        arguments: &SendArgs,
        settings: &config::Send,
        headers: Option<&Headers>,
    ) -> Result<Self, CommandError> {
        let mut errors = Vec::new();
        let mut parse = |field: &str, texts: &[&String]| {
            let parse = |text: &&String| {
                // An argument without an option may be a mistyped password, so it is not shown.
                let shown = if field == "recipient" { String::new() } else { format!(" {text:?}") };
                parse_mailbox(text, settings)
                    .map_err(|why| errors.push(format!("{field}{shown}: {why}")))
                    .ok()
            };
            texts.iter().filter_map(parse).collect::<Vec<_>>()
        };
        let sender = arguments.from.as_ref().or(settings.from.as_ref());
        let sender = sender
            .or_else(|| headers.and_then(|headers| headers.from.as_ref()).filter(|_| arguments.as_sendmail));
        let sender = sender.ok_or_else(|| {
            CommandError::new(ExitCode::Usage, "the message has no sender")
                .advise("use --from ADDRESS, or set from = \"ADDRESS\" in [send] of the configuration file")
        })?;
        let from = if sender.trim() == "<>" { None } else { parse("--from", &[sender]).pop() };
        let mut to = parse("recipient", &arguments.recipients().collect::<Vec<_>>());
        to.extend(parse("--to", &arguments.to.iter().collect::<Vec<_>>()));
        let cc = parse("--cc", &arguments.cc.iter().collect::<Vec<_>>());
        let bcc = parse("--bcc", &arguments.bcc.iter().collect::<Vec<_>>());
        let (mut recipients, mut known) = (Vec::new(), HashSet::new());
        for mailbox in to.iter().chain(&cc).chain(&bcc) {
            if known.insert(comparison_key(&mailbox.address)) {
                recipients.push(mailbox.address.clone());
            }
        }
        let max = settings.limits().recipients;
        if recipients.len() > max {
            errors.push(format!("{} recipients, and the limit is {max} per message", recipients.len()));
        }
        let service = arguments.service.clone();
        if recipients.len() > 1 && matches!(service.orcpt, Some(Original::Other(_))) {
            errors.push("--orcpt names one recipient, but there are several; use --orcpt own".to_owned());
        }
        if !errors.is_empty() {
            return Err(CommandError::new(ExitCode::Data, errors.join("; ")));
        }
        let adds_header_recipients = arguments.recipients_from_header;
        if recipients.is_empty() && !adds_header_recipients {
            return Err(
                CommandError::new(ExitCode::Usage, "the message has no recipient").advise("use --to ADDRESS")
            );
        }
        let default_domain = default_domain(settings);
        let envelope = Self { from, to, cc, recipients, default_domain, adds_header_recipients, service };
        if let Some(headers) = headers {
            envelope.recipients_of(headers)?;
        }
        Ok(envelope)
    }

    /// Returns the recipients of a message with this header. Invalid addresses are kept as written.
    pub(super) fn recipients_of(&self, headers: &Headers) -> Result<Vec<String>, CommandError> {
        let mut recipients = self.recipients.clone();
        if !self.adds_header_recipients {
            return Ok(recipients);
        }
        let mut known: HashSet<String> = recipients.iter().map(|one| comparison_key(one)).collect();
        for text in &headers.recipients {
            let address = with_domain(text, self.default_domain.as_deref());
            let address = Mailbox::parse(&address).map_or(address, |mailbox| mailbox.address);
            if known.insert(comparison_key(&address)) {
                recipients.push(address);
            }
        }
        if headers.has_too_many_recipients || recipients.len() > MAX_HEADER_RECIPIENTS {
            return Err(CommandError::new(
                ExitCode::Data,
                format!("the header names more than {MAX_HEADER_RECIPIENTS} recipients, which is the limit"),
            ));
        }
        if recipients.is_empty() {
            return Err(CommandError::new(ExitCode::Data, "the message names no recipient in To, Cc or Bcc")
                .advise("use --to ADDRESS"));
        }
        Ok(recipients)
    }

    /// Returns a message with this envelope and these recipients.
    pub(super) fn message<S: Read + Seek>(
        &self,
        info: &MessageInfo,
        recipients: &[String],
        bytes: S,
    ) -> Result<Message<S>, CommandError> {
        let chunking = if self.may_chunk() { Chunking::WhereOffered } else { Chunking::WhereNeeded };
        let message = Message::new(self.mail(info)?, bytes)
            .with_content(info.content)
            .message_id(info.headers.message_id.clone())
            .chunking(chunking);
        Ok(recipients.iter().fold(message, |message, text| match self.rcpt(text) {
            Ok(rcpt) => message.recipient(rcpt),
            // The report says why the address is invalid.
            Err(_) => message.recipient_text(text),
        }))
    }

    /// Returns the MAIL command for a message.
    pub(super) fn mail(&self, info: &MessageInfo) -> Result<Mail<'static>, CommandError> {
        let from = match &self.from {
            Some(from) => ReversePath::from(address(&from.address)?),
            None => ReversePath::Null,
        };
        let mut mail = self.apply_service(Mail::new(from));
        mail.size = Some(info.size);
        mail.body = info.eight_bit.then_some(BodyType::EightBitMime);
        // SMTPUTF8 is needed only for a UTF-8 header (RFC 6531 §3.6).
        mail.utf8 = match info.header {
            HeaderBytes::Ascii => mail.utf8,
            HeaderBytes::Utf8 => true,
            HeaderBytes::Other => false,
        };
        Ok(mail)
    }

    /// Returns the RCPT command for a recipient.
    pub(super) fn rcpt(&self, text: &str) -> Result<Rcpt<'static>, CommandError> {
        let address = address(text)?;
        let original = match &self.service.orcpt {
            Some(Original::Own) => OriginalRecipient::of(&address),
            Some(Original::Other(other)) => Some(other.clone()),
            None => None,
        };
        let mut rcpt = Rcpt::new(ForwardPath::from(address));
        rcpt.notify = self.service.notify;
        rcpt.set_original(original.as_ref());
        Ok(rcpt)
    }

    /// Checks that the server offers CHUNKING if it is required.
    pub(super) fn check_chunking(&self, offered: ExtensionSet) -> Result<(), CommandError> {
        if self.service.chunking != service_options::Chunking::Always || offered.contains(Extension::Chunking)
        {
            return Ok(());
        }
        Err(CommandError::new(ExitCode::Unavailable, "the server does not offer CHUNKING")
            .advise("use --chunking auto"))
    }

    /// Returns a hint that names the requested extensions that the server does not offer. The message is sent without
    /// them.
    pub(super) fn missing_extensions_hint(&self, offered: ExtensionSet) -> Option<String> {
        let needed = [Extension::SmtpUtf8, Extension::RequireTls, Extension::FutureRelease].into_iter();
        let dsn = self.service.notify.is_some() || self.service.orcpt.is_some();
        let wanted: ExtensionSet = self.apply_service(Mail::new(ReversePath::Null)).extensions();
        let wanted = if dsn { wanted.with(Extension::Dsn) } else { wanted };
        // Without these the message is not sent, and the report says so.
        let wanted = needed.fold(wanted.difference(offered), ExtensionSet::without);
        let names: Vec<_> = wanted.iter().map(Extension::keyword).collect();
        (!names.is_empty())
            .then(|| format!("the server does not offer {}: sending without", names.join(", ")))
    }

    /// Returns whether a message may be sent as one chunk.
    pub(super) fn may_chunk(&self) -> bool {
        self.service.chunking != service_options::Chunking::Never
    }

    /// Returns whether to use SMTP or LMTP.
    pub(super) const fn dialect(&self) -> Dialect {
        if self.service.lmtp { Dialect::Lmtp } else { Dialect::Smtp }
    }

    /// Returns the sender's address, or an empty text for the null path.
    pub(super) fn sender(&self) -> &str {
        self.from.as_ref().map_or("", |from| &from.address)
    }

    /// Adds the service options to a MAIL command.
    fn apply_service(&self, mut mail: Mail<'static>) -> Mail<'static> {
        let options = &self.service;
        mail.ret = options.ret.map(|ret| match ret {
            service_options::Ret::Full => Return::Full,
            service_options::Ret::Hdrs => Return::Headers,
        });
        mail.set_envid(options.envid.as_ref());
        mail.by = options.deliver_by;
        mail.priority = options.priority;
        mail.set_hold(options.hold_for.map(Hold::For));
        mail.require_tls = options.require_tls;
        mail.utf8 = options.smtputf8;
        mail
    }
}

/// Returns the form in which addresses are compared. The domain is case-insensitive, the local part is not (RFC 5321
/// §2.4).
fn comparison_key(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_lowercase()),
        None => address.to_owned(),
    }
}

/// Parses a mailbox, and adds the default domain if it has none.
pub(super) fn parse_mailbox(text: &str, settings: &config::Send) -> Result<Mailbox, String> {
    Mailbox::parse(&with_domain(text, default_domain(settings).as_deref()))
}

/// Returns the domain for addresses without one.
fn default_domain(settings: &config::Send) -> Option<String> {
    let of_sender = || {
        settings.from.as_ref()?.trim_end_matches('>').rsplit_once('@').map(|(_, domain)| domain.to_owned())
    };
    settings.domain.clone().or_else(of_sender)
}

fn with_domain(text: &str, domain: Option<&str>) -> String {
    let is_local = !text.is_empty() && !text.contains(['@', '<', ' ']);
    match domain {
        Some(domain) if is_local => format!("{text}@{domain}"),
        _ => text.to_owned(),
    }
}

fn address(text: &str) -> Result<Address<'static>, CommandError> {
    match Address::parse(text) {
        Ok(address) => Ok(address.into_owned()),
        Err(why) => Err(CommandError::new(ExitCode::Data, why.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::comparison_key;

    #[test]
    fn compares_only_domains_case_insensitively() {
        assert_eq!(comparison_key("a@x.example"), comparison_key("a@X.Example"));
        assert_eq!(comparison_key("a@M\u{dc}LLER.example"), comparison_key("a@m\u{fc}ller.example"));
        assert_ne!(comparison_key("a@x.example"), comparison_key("A@x.example"));
        assert_eq!(comparison_key("\"a@B\"@X"), "\"a@B\"@x");
    }
}
