//! The envelope of a message: who sends to whom, and which service is asked for, read from the command line and checked
//! before anybody is called.

use std::collections::HashSet;
use std::io::{Read, Seek};

use io_mio::delivery::{Chunking, Message};
use proto_smtp::Dialect;
use proto_smtp::types::{
    Address, BodyType, Extension, ExtensionSet, ForwardPath, Hold, Mail, OriginalRecipient, Rcpt, Return,
    ReversePath,
};

use super::SendArgs;
use super::header::Headers;
use super::service::{self, Original, Service};
use super::spool::{Facts, HeaderBytes};
use crate::compose::{ComposeLimits, Mailbox};
use crate::config;
use crate::failure::{Failure, Kind};

/// The most recipients that the header of a message may name.
const FROM_HEADER: usize = 1000;

/// Who sends to whom.
#[derive(Debug)]
pub(super) struct Envelope {
    /// None for the null path, for what must not be answered with a report (RFC 5321 §4.5.5).
    pub(super) from: Option<Mailbox>,
    pub(super) to: Vec<Mailbox>,
    pub(super) cc: Vec<Mailbox>,
    /// The recipients of every message, each once, in order.
    pub(super) recipients: Vec<String>,
    /// The domain of recipients in a header that have none.
    domain: Option<String>,
    /// The recipients that each message names are added.
    takes_header: bool,
    service: Service,
}

impl Envelope {
    /// Reads the envelope from the command line, the configuration file and, for a message that comes whole, its header.
    pub(super) fn new(
        arguments: &SendArgs,
        settings: &config::Send,
        headers: Option<&Headers>,
    ) -> Result<Self, Failure> {
        let mut wrong = Vec::new();
        let mut read = |field: &str, texts: &[&String]| {
            let read = |text: &&String| {
                // An argument without an option may be anything, a password included: it is not shown.
                let shown = if field == "recipient" { String::new() } else { format!(" {text:?}") };
                qualified(text, settings).map_err(|why| wrong.push(format!("{field}{shown}: {why}"))).ok()
            };
            texts.iter().filter_map(read).collect::<Vec<_>>()
        };
        let sender = arguments.from.as_ref().or(settings.from.as_ref());
        let sender = sender
            .or_else(|| headers.and_then(|headers| headers.from.as_ref()).filter(|_| arguments.as_sendmail));
        let sender = sender.ok_or_else(|| {
            Failure::new(Kind::Usage, "a message needs a sender")
                .advise("--from ADDRESS, or from = \"ADDRESS\" in [send] of the configuration file")
        })?;
        let from = if sender.trim() == "<>" { None } else { read("--from", &[sender]).pop() };
        let mut to = read("recipient", &arguments.recipients().collect::<Vec<_>>());
        to.extend(read("--to", &arguments.to.iter().collect::<Vec<_>>()));
        let cc = read("--cc", &arguments.cc.iter().collect::<Vec<_>>());
        let bcc = read("--bcc", &arguments.bcc.iter().collect::<Vec<_>>());
        let (mut recipients, mut known) = (Vec::new(), HashSet::new());
        for mailbox in to.iter().chain(&cc).chain(&bcc) {
            if known.insert(compared(&mailbox.address)) {
                recipients.push(mailbox.address.clone());
            }
        }
        let most = ComposeLimits::default().recipients;
        if recipients.len() > most {
            wrong.push(format!("{} recipients, and {most} is the most for one message", recipients.len()));
        }
        let service = arguments.service.clone();
        if recipients.len() > 1 && matches!(service.orcpt, Some(Original::Other(_))) {
            wrong.push("--orcpt: it names one recipient, and there are several; try --orcpt own".to_owned());
        }
        if !wrong.is_empty() {
            return Err(Failure::new(Kind::Data, wrong.join("; ")));
        }
        let takes_header = arguments.recipients_from_header;
        if recipients.is_empty() && !takes_header {
            return Err(Failure::new(Kind::Usage, "a message needs a recipient").advise("--to ADDRESS"));
        }
        let domain = domain(settings);
        let envelope = Self { from, to, cc, recipients, domain, takes_header, service };
        if let Some(headers) = headers {
            envelope.recipients_of(headers)?;
        }
        Ok(envelope)
    }

    /// The recipients of a message with this header. One that is no address stays as it was written.
    pub(super) fn recipients_of(&self, headers: &Headers) -> Result<Vec<String>, Failure> {
        let mut recipients = self.recipients.clone();
        if !self.takes_header {
            return Ok(recipients);
        }
        let mut known: HashSet<String> = recipients.iter().map(|one| compared(one)).collect();
        for text in &headers.recipients {
            let address = with_domain(text, self.domain.as_deref());
            let address = Mailbox::parse(&address).map_or(address, |mailbox| mailbox.address);
            if known.insert(compared(&address)) {
                recipients.push(address);
            }
        }
        if headers.has_too_many || recipients.len() > FROM_HEADER {
            return Err(Failure::new(
                Kind::Data,
                format!(
                    "the header names more than {FROM_HEADER} recipients, which is the most for one message"
                ),
            ));
        }
        if recipients.is_empty() {
            return Err(Failure::new(Kind::Data, "the message names no recipient in To, Cc or Bcc")
                .advise("--to ADDRESS"));
        }
        Ok(recipients)
    }

    /// The message of which this is known, in this envelope, to these recipients.
    pub(super) fn around<S: Read + Seek>(
        &self,
        facts: &Facts,
        recipients: &[String],
        octets: S,
    ) -> Result<Message<S>, Failure> {
        let chunking = if self.may_chunk() { Chunking::WhereOffered } else { Chunking::WhereNeeded };
        let message = Message::new(self.mail(facts)?, octets)
            .with_content(facts.content)
            .message_id(facts.headers.message_id.clone())
            .chunking(chunking);
        Ok(recipients.iter().fold(message, |message, text| match self.rcpt(text) {
            Ok(rcpt) => message.recipient(rcpt),
            // The report says what is wrong with it.
            Err(_) => message.recipient_text(text),
        }))
    }

    /// MAIL for a message.
    pub(super) fn mail(&self, facts: &Facts) -> Result<Mail<'static>, Failure> {
        let from = match &self.from {
            Some(from) => ReversePath::from(address(&from.address)?),
            None => ReversePath::Null,
        };
        let mut mail = self.service(Mail::new(from));
        mail.size = Some(facts.octets);
        mail.body = facts.eight_bit.then_some(BodyType::EightBitMime);
        // SMTPUTF8 says that a header is UTF-8 (RFC 6531 §3.6).
        mail.utf8 = match facts.header {
            HeaderBytes::Ascii => mail.utf8,
            HeaderBytes::Utf8 => true,
            HeaderBytes::Other => false,
        };
        Ok(mail)
    }

    /// RCPT for a recipient.
    pub(super) fn rcpt(&self, text: &str) -> Result<Rcpt<'static>, Failure> {
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

    /// What is wanted of the server and is not offered: it is left out, and the message goes without it.
    pub(super) fn not_offered(&self, offered: ExtensionSet) -> Option<String> {
        let needed = [Extension::SmtpUtf8, Extension::RequireTls, Extension::FutureRelease].into_iter();
        let dsn = self.service.notify.is_some() || self.service.orcpt.is_some();
        let wanted: ExtensionSet = self.service(Mail::new(ReversePath::Null)).extensions();
        let wanted = if dsn { wanted.with(Extension::Dsn) } else { wanted };
        // Without these it is not sent at all, and the report says so.
        let wanted = needed.fold(wanted.difference(offered), ExtensionSet::without);
        let names: Vec<_> = wanted.iter().map(Extension::keyword).collect();
        (!names.is_empty()).then(|| format!("the server does not offer {}: sent without", names.join(", ")))
    }

    /// Whether a message may go as one chunk.
    pub(super) fn may_chunk(&self) -> bool {
        self.service.chunking != service::Chunking::Never
    }

    /// Whether the server must offer CHUNKING.
    pub(super) fn needs_chunking(&self) -> bool {
        self.service.chunking == service::Chunking::Always
    }

    /// SMTP or LMTP.
    pub(super) const fn dialect(&self) -> Dialect {
        if self.service.lmtp { Dialect::Lmtp } else { Dialect::Smtp }
    }

    /// The sender's address; of nobody it is empty.
    pub(super) fn sender(&self) -> &str {
        self.from.as_ref().map_or("", |from| &from.address)
    }

    fn service(&self, mut mail: Mail<'static>) -> Mail<'static> {
        let asked = &self.service;
        mail.ret = asked.ret.map(|ret| match ret {
            service::Ret::Full => Return::Full,
            service::Ret::Hdrs => Return::Headers,
        });
        mail.set_envid(asked.envid.as_ref());
        mail.by = asked.deliver_by;
        mail.priority = asked.priority;
        mail.set_hold(asked.hold_for.map(Hold::For));
        mail.require_tls = asked.require_tls;
        mail.utf8 = asked.smtputf8;
        mail
    }
}

/// The form of an address in which equal ones are the same: domains compare without case, local parts with it (RFC 5321
/// §2.4).
fn compared(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_lowercase()),
        None => address.to_owned(),
    }
}

/// A mailbox as it was written, with the domain of the configuration file where it has none.
pub(super) fn qualified(text: &str, settings: &config::Send) -> Result<Mailbox, String> {
    Mailbox::parse(&with_domain(text, domain(settings).as_deref()))
}

/// The domain of addresses without one.
fn domain(settings: &config::Send) -> Option<String> {
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

fn address(text: &str) -> Result<Address<'static>, Failure> {
    match Address::parse(text) {
        Ok(address) => Ok(address.into_owned()),
        Err(why) => Err(Failure::new(Kind::Data, why.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::compared;

    #[test]
    fn domains_compare_without_case_and_local_parts_with_it() {
        assert_eq!(compared("a@x.example"), compared("a@X.Example"));
        assert_eq!(compared("a@M\u{dc}LLER.example"), compared("a@m\u{fc}ller.example"));
        assert_ne!(compared("a@x.example"), compared("A@x.example"));
        assert_eq!(compared("\"a@B\"@X"), "\"a@B\"@x");
    }
}
