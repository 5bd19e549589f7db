//! The envelope of a message: who sends to whom, and which service is asked for, read from the command line and checked
//! before anybody is called.

use std::io::{Read, Seek};

use io_mio::delivery::{Chunking, Message};
use proto_smtp::Dialect;
use proto_smtp::types::{
    Address, BodyType, Extension, ExtensionSet, ForwardPath, Hold, Mail, OriginalRecipient, Rcpt, Return,
    ReversePath,
};

use super::service::{self, Original, Service};
use super::spool::{Facts, HeaderBytes};
use crate::cli::SendArgs;
use crate::compose::{ComposeLimits, Mailbox};
use crate::failure::{Failure, Kind};

/// Who sends to whom.
#[derive(Debug)]
pub(super) struct Envelope {
    /// Nobody, for what must not be answered with a report (RFC 5321 §4.5.5).
    pub(super) from: Option<Mailbox>,
    pub(super) to: Vec<Mailbox>,
    pub(super) cc: Vec<Mailbox>,
    /// All that get it, each once, in order.
    pub(super) recipients: Vec<String>,
    service: Service,
}

impl Envelope {
    pub(super) fn new(arguments: &SendArgs) -> Result<Self, Failure> {
        let mut wrong = Vec::new();
        let mut read = |field: &str, texts: &[String]| {
            let read = |text: &String| {
                Mailbox::parse(text).map_err(|why| wrong.push(format!("--{field} {text:?}: {why}"))).ok()
            };
            texts.iter().filter_map(read).collect::<Vec<_>>()
        };
        let nobody = arguments.from.trim() == "<>";
        let from = if nobody { None } else { read("from", std::slice::from_ref(&arguments.from)).pop() };
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
        let service = arguments.service.clone();
        if recipients.len() > 1 && matches!(service.orcpt, Some(Original::Other(_))) {
            wrong.push("--orcpt: it names one recipient, and there are several; try --orcpt own".to_owned());
        }
        if !wrong.is_empty() {
            return Err(Failure::new(Kind::Data, wrong.join("; ")));
        }
        if recipients.is_empty() {
            return Err(Failure::new(Kind::Usage, "a message needs a recipient").advise("--to ADDRESS"));
        }
        Ok(Self { from, to, cc, recipients, service })
    }

    /// The message of which this is known, in this envelope.
    pub(super) fn around<S: Read + Seek>(&self, facts: &Facts, octets: S) -> Result<Message<S>, Failure> {
        let chunking = if self.may_chunk() { Chunking::WhereOffered } else { Chunking::WhereNeeded };
        let (mail, recipients) = self.commands(facts)?;
        let message = Message::new(mail, octets)
            .with_content(facts.content)
            .message_id(facts.headers.message_id.clone())
            .chunking(chunking);
        Ok(recipients.into_iter().fold(message, Message::recipient))
    }

    /// MAIL, and each RCPT, for a message.
    pub(super) fn commands(&self, facts: &Facts) -> Result<(Mail<'static>, Vec<Rcpt<'static>>), Failure> {
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
        let recipient = |text: &String| -> Result<Rcpt<'static>, Failure> {
            let address = address(text)?;
            let original = match &self.service.orcpt {
                Some(Original::Own) => OriginalRecipient::of(&address),
                Some(Original::Other(other)) => Some(other.clone()),
                None => None,
            };
            let mut rcpt = Rcpt::new(ForwardPath::from(address));
            (rcpt.notify, rcpt.original) = (self.service.notify, original);
            Ok(rcpt)
        };
        Ok((mail, self.recipients.iter().map(recipient).collect::<Result<_, _>>()?))
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
        mail.envid = asked.envid.clone();
        mail.by = asked.deliver_by;
        mail.priority = asked.priority;
        mail.hold = asked.hold_for.map(Hold::For);
        mail.require_tls = asked.require_tls;
        mail.utf8 = asked.smtputf8;
        mail
    }
}

fn address(text: &str) -> Result<Address<'static>, Failure> {
    match Address::parse(text) {
        Ok(address) => Ok(address.into_owned()),
        Err(why) => Err(Failure::new(Kind::Data, why.to_string())),
    }
}
