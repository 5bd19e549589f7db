//! The envelope of a message.

use proto_smtp::{
    client::Transaction,
    types::{Address, ForwardPath, Mail, Rcpt, ReversePath},
};

use super::error::ClientError;

/// The sender and the recipients of a message, with their parameters.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The sender, and the parameters of the message.
    pub mail: Mail<'static>,
    /// The recipients, each with its parameters.
    pub recipients: Vec<Rcpt<'static>>,
}

impl Envelope {
    /// An envelope without parameters, except that an address beyond US-ASCII requests SMTPUTF8 (RFC 6531). An empty
    /// sender is the null sender, `<>`.
    ///
    /// # Errors
    /// [`ClientError::Invalid`] if an address cannot be used, or there is no recipient.
    pub fn new<'a>(from: &str, to: impl IntoIterator<Item = &'a str>) -> Result<Self, ClientError> {
        let from = match from {
            "" => ReversePath::Null,
            from => address(from)?.into(),
        };
        let recipients = to
            .into_iter()
            .map(|to| Ok(Rcpt::new(ForwardPath::from(address(to)?))))
            .collect::<Result<Vec<_>, ClientError>>()?;
        if recipients.is_empty() {
            return Err(ClientError::Invalid("a message needs at least one recipient".to_owned()));
        }
        let addresses =
            recipients.iter().filter_map(|rcpt: &Rcpt<'_>| rcpt.to.address()).chain(from.address());
        let needs_utf8 = addresses.into_iter().any(|address| !address.is_ascii());
        let mail = Mail::new(from);
        Ok(Self { mail: if needs_utf8 { mail.with_utf8() } else { mail }, recipients })
    }
}

fn address(text: &str) -> Result<Address<'static>, ClientError> {
    match Address::parse(text) {
        Ok(address) => Ok(address.into_owned()),
        Err(why) => Err(ClientError::Invalid(format!("{text:?} is not an address: {why}"))),
    }
}

impl From<Envelope> for Transaction {
    fn from(envelope: Envelope) -> Self {
        envelope.recipients.into_iter().fold(Self::new(envelope.mail), Self::recipient)
    }
}
