//! Adapts a transaction to the capabilities of the server: a message that needs an extension which is not offered is not
//! sent; parameters that are only useful are left out.

use alloc::collections::BTreeSet;

use proto_mail::Channel;

use super::machine::Client;
use super::transaction::{NotSent, Outcome, Transaction};
use crate::address::Address;
use crate::body_type::BodyType;
use crate::capabilities::Capabilities;
use crate::deliver_by::ByMode;
use crate::extension::Extension;
use crate::mail::Mail;
use crate::rcpt::Rcpt;
use crate::server_limits::ServerLimits;
use crate::valid_since::RelayAction;

impl Transaction {
    /// Returns why the message cannot be sent to this server.
    pub(super) fn reason_not_to_send<C: Channel>(&self, client: &Client<C>) -> Option<NotSent> {
        let none = Capabilities::default();
        let capabilities = client.core.capabilities().unwrap_or(&none);
        if let (Some(size), Some(limit)) = (self.mail.size, capabilities.size_limit())
            && size > limit
        {
            return Some(NotSent::TooLarge(limit));
        }
        if capabilities
            .limits()
            .mails
            .is_some_and(|most| client.core.transactions.mails >= u64::from(most.get()))
        {
            return Some(NotSent::SessionUsedUp);
        }
        if let Err(extension) = self.content_parameters(client) {
            return Some(NotSent::NotOffered(extension));
        }
        let missing = |extension: &Extension| !client.core.offers(*extension);
        let mut needs = self.needs().into_iter().flatten();
        if let Some(extension) = needs.find(missing) {
            return Some(NotSent::NotOffered(extension));
        }
        self.out_of_range(client)
    }

    /// The extensions without which the message must not be sent, whatever its content.
    fn needs(&self) -> [Option<Extension>; 3] {
        let Mail { by, .. } = &self.mail;
        let hold = self.mail.hold();
        let with = |needed: bool, extension| needed.then_some(extension);
        [
            // RFC 2852 §4: a server without DELIVERBY would not return the message.
            with(by.is_some_and(|by| by.mode() == ByMode::Return), Extension::DeliverBy),
            // A server without FUTURERELEASE would deliver it at once.
            with(hold.is_some(), Extension::FutureRelease),
            with(self.mail.require_tls, Extension::RequireTls),
        ]
    }

    /// Checks values against the announced parameters of their capabilities.
    fn out_of_range<C: Channel>(&self, client: &Client<C>) -> Option<NotSent> {
        let none = Capabilities::default();
        let capabilities = client.core.capabilities().unwrap_or(&none);
        if let (Some(by), Some(least)) = (self.mail.by, capabilities.min_by_time())
            && by.mode() == ByMode::Return
            && i64::from(by.seconds()) < i64::from(least)
        {
            return Some(NotSent::TimeTooShort(least));
        }
        if let (Some(hold), Some(most)) = (self.mail.hold(), capabilities.future_release())
            && !most.allows(hold)
        {
            return Some(NotSent::HeldTooLong(most));
        }
        if let (Some(solicit), Some(unwanted)) = (self.mail.solicit(), capabilities.no_soliciting())
            && solicit.intersects(&unwanted)
        {
            return Some(NotSent::Unwanted);
        }
        None
    }

    /// Removes parameters that are not offered and not needed.
    pub(super) fn adapt<C: Channel>(&mut self, client: &Client<C>) {
        let offers = |extension| client.core.offers(extension);
        if let Ok(parameters) = self.content_parameters(client) {
            self.mail.body = parameters.body;
            self.mail.utf8 = parameters.utf8;
        }
        adapt_mail(&mut self.mail, offers);
        for recipient in &mut self.recipients {
            if recipient.outcome == Outcome::Pending && !adapt_rcpt(&mut recipient.rcpt, offers) {
                recipient.outcome = Outcome::NotSent(NotSent::NotOffered(Extension::Rrvs));
            }
        }
    }

    /// Leaves out the recipients beyond the limits of one transaction.
    pub(super) fn apply_limits(&mut self, limits: ServerLimits) {
        let (mut kept, mut domains) = (0, BTreeSet::new());
        for recipient in self.recipients.iter_mut().filter(|recipient| recipient.outcome == Outcome::Pending)
        {
            let domain =
                recipient.rcpt.to.address().map(|address| address.domain().as_str().to_ascii_lowercase());
            let new_domain = domain.as_ref().is_some_and(|domain| !domains.contains(domain));
            let exceeds_limit = limits.recipients.is_some_and(|most| kept >= most.get())
                || limits
                    .recipient_domains
                    .is_some_and(|most| new_domain && domains.len() as u64 >= u64::from(most.get()));
            if exceeds_limit {
                recipient.outcome = Outcome::NotSent(NotSent::LeftOver);
            } else {
                kept += 1;
                domains.extend(domain);
            }
        }
    }
}

/// The parameters of MAIL that depend on the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentParameters {
    pub(super) body: Option<BodyType>,
    pub(super) utf8: bool,
}

impl Transaction {
    /// Returns the parameters for this server, or an extension that the message needs and the server does not offer.
    pub(super) fn content_parameters<C: Channel>(
        &self,
        client: &Client<C>,
    ) -> Result<ContentParameters, Extension> {
        let offers = |extension| client.core.offers(extension);
        let missing = |extension| if offers(extension) { Ok(()) } else { Err(extension) };
        let utf8 = !self.has_ascii_envelope()
            || (self.mail.utf8
                && (offers(Extension::SmtpUtf8) || self.content.is_none_or(|content| content.needs_utf8())));
        if utf8 {
            missing(Extension::SmtpUtf8)?;
        }
        let body = match self.mail.body {
            Some(BodyType::BinaryMime) => match self.binary(client) {
                Ok(()) => Some(BodyType::BinaryMime),
                Err(extension) => Some(self.lines_of_binary().ok_or(extension)?),
            },
            body => body,
        };
        let body = match (body, self.content) {
            (Some(BodyType::BinaryMime), _) => return Ok(ContentParameters { body, utf8 }),
            // The known content counts, whatever MAIL says.
            (_, Some(content)) if content.eight_bit => Some(BodyType::EightBitMime),
            (Some(BodyType::EightBitMime), Some(content)) if !offers(Extension::EightBitMime) => {
                let seven_bit = match self.chunk_for(client) {
                    Some(_) => content.fits(BodyType::SevenBit),
                    None => content.is_seven_bit_in_data(client.core.config.line_endings),
                };
                if seven_bit { Some(BodyType::SevenBit) } else { body }
            }
            (body, _) => body,
        };
        if body == Some(BodyType::EightBitMime) {
            missing(Extension::EightBitMime)?;
        }
        Ok(ContentParameters { body, utf8 })
    }

    /// Checks that the message can be sent as binary: by BDAT only (RFC 3030 §3), with a known size.
    fn binary<C: Channel>(&self, client: &Client<C>) -> Result<(), Extension> {
        if !client.core.offers(Extension::BinaryMime) {
            Err(Extension::BinaryMime)
        } else if self.chunk_for(client).is_none() {
            Err(Extension::Chunking)
        } else {
            Ok(())
        }
    }

    /// The type of a binary message that is known to be made of lines.
    fn lines_of_binary(&self) -> Option<BodyType> {
        let content = self.content?;
        [BodyType::SevenBit, BodyType::EightBitMime].into_iter().find(|body| content.fits(*body))
    }

    fn has_ascii_envelope(&self) -> bool {
        let ascii = |address: Option<&Address<'_>>| address.is_none_or(Address::is_ascii);
        ascii(self.mail.from.address())
            && self.recipients.iter().all(|recipient| ascii(recipient.rcpt.to.address()))
    }
}

/// Removes optional parameters of MAIL that are not offered.
fn adapt_mail(mail: &mut Mail<'_>, offers: impl Fn(Extension) -> bool) {
    if !offers(Extension::Size) {
        mail.size = None;
    }
    if !offers(Extension::EightBitMime) && mail.body != Some(BodyType::BinaryMime) {
        // Only BODY=7BIT is left, which is the default.
        mail.body = None;
    }
    if !offers(Extension::Dsn) {
        mail.ret = None;
        mail.set_envid(None);
    }
    if !offers(Extension::Auth) {
        mail.set_auth(None);
    }
    if !offers(Extension::DeliverBy) {
        mail.by = None;
    }
    if !offers(Extension::MtPriority) {
        mail.priority = None;
    }
    if !offers(Extension::NoSoliciting) {
        mail.set_solicit(None);
    }
    mail.conperm &= offers(Extension::ConPerm);
    mail.prdr &= offers(Extension::Prdr);
}

/// Removes optional parameters of RCPT that are not offered. Returns false if the recipient must not be named without
/// them.
fn adapt_rcpt(rcpt: &mut Rcpt<'_>, offers: impl Fn(Extension) -> bool) -> bool {
    if !offers(Extension::Dsn) {
        rcpt.notify = None;
        rcpt.set_original(None);
    }
    rcpt.conneg &= offers(Extension::Conneg);
    match rcpt.valid_since {
        Some(_) if offers(Extension::Rrvs) => true,
        // The mailbox may have another owner now: the sender decides about the risk (RFC 7293 §3.1).
        Some(valid_since) => {
            rcpt.valid_since = None;
            valid_since.relay == Some(RelayAction::Continue)
        }
        None => true,
    }
}
