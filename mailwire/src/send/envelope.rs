//! The envelope of a message: who sends to whom, read from the command line and checked before anybody is called.

use std::io::{Read, Seek};

use io_mio::delivery::Message;
use proto_smtp::types::{Address, BodyType, ForwardPath, Mail, Rcpt, ReversePath};

use super::spool::Spool;
use crate::cli::SendArgs;
use crate::compose::{ComposeLimits, Mailbox};
use crate::failure::{Failure, Kind};

/// Who sends to whom.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) from: Mailbox,
    pub(super) to: Vec<Mailbox>,
    pub(super) cc: Vec<Mailbox>,
    /// All that get it, each once, in order.
    pub(super) recipients: Vec<String>,
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

    /// A message in this envelope. `octets` gives what is in the spool.
    pub(super) fn around<S: Read + Seek>(&self, spool: &Spool, octets: S) -> Result<Message<S>, Failure> {
        let mut mail = Mail::new(ReversePath::from(address(&self.from.address)?));
        mail.size = Some(spool.octets);
        mail.body = spool.eight_bit.then_some(BodyType::EightBitMime);
        mail.utf8 = spool.header_eight_bit;
        let mut message = Message::new(mail, octets).message_id(spool.message_id.clone());
        for recipient in &self.recipients {
            message = message.recipient(Rcpt::new(ForwardPath::from(address(recipient)?)));
        }
        Ok(message)
    }
}

fn address(text: &str) -> Result<Address<'static>, Failure> {
    match Address::parse(text) {
        Ok(address) => Ok(address.into_owned()),
        Err(why) => Err(Failure::new(Kind::Data, why.to_string())),
    }
}
