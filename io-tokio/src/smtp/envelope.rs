//! The envelope of a message.

use proto_smtp::{
    client::Transaction,
    types::{Address, ForwardPath, Mail, Rcpt, ReversePath},
};

use crate::error::Error;

/// The sender and the recipients of a message, with their parameters.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The sender, and the parameters of the message.
    pub mail: Mail<'static>,
    /// The recipients, each with its parameters.
    pub recipients: Vec<Rcpt<'static>>,
}

impl Envelope {
    /// An envelope without parameters. An empty sender is the null sender, `<>`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if an address cannot be used.
    pub fn new<'a>(from: &str, to: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let from = match from {
            "" => ReversePath::Null,
            from => address(from)?.into(),
        };
        let recipients = to
            .into_iter()
            .map(|to| Ok(Rcpt::new(ForwardPath::from(address(to)?))))
            .collect::<Result<_, Error>>()?;
        Ok(Self { mail: Mail::new(from), recipients })
    }
}

fn address(text: &str) -> Result<Address<'static>, Error> {
    match Address::parse(text) {
        Ok(address) => Ok(address.into_owned()),
        Err(why) => Err(Error::Invalid(format!("{text:?} is not an address: {why}"))),
    }
}

impl From<Envelope> for Transaction {
    fn from(envelope: Envelope) -> Self {
        envelope.recipients.into_iter().fold(Self::new(envelope.mail), Self::recipient)
    }
}
