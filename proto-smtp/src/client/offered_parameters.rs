//! What a server offers decides what is asked of it: what a message needs and does not find keeps it from being sent,
//! what it would merely like is left out.
//!
//! This file knows which parameter is which. It gives no command.

use alloc::collections::BTreeSet;

use proto_mail::Channel;

use super::Client;
use super::transaction::{NotSent, Outcome, Transaction};
use crate::body_type::BodyType;
use crate::deliver_by::ByMode;
use crate::extension::Extension;
use crate::mail::Mail;
use crate::rcpt::Rcpt;
use crate::server_limits::ServerLimits;
use crate::valid_since::RelayAction;

impl Transaction {
    /// What stands against sending it at all.
    pub(super) fn obstacle<C: Channel>(&self, client: &Client<C>) -> Option<NotSent> {
        let extensions = client.capabilities();
        if let (Some(size), Some(limit)) = (self.mail.size, extensions.size_limit())
            && size > limit
        {
            return Some(NotSent::TooLarge(limit));
        }
        if extensions.limits().mails.is_some_and(|most| client.core.mails >= u64::from(most.get())) {
            return Some(NotSent::SessionUsedUp);
        }
        if let Err(extension) = self.asks(client) {
            return Some(NotSent::NotOffered(extension));
        }
        let missing = |extension: &Extension| !client.core.offers(*extension);
        let mut needs = self.needs().into_iter().flatten();
        if let Some(extension) = needs.find(missing) {
            return Some(NotSent::NotOffered(extension));
        }
        self.out_of_bounds(client)
    }

    /// The extensions without which the message must not be sent, whatever it is made of.
    fn needs(&self) -> [Option<Extension>; 3] {
        let Mail { by, .. } = &self.mail;
        let hold = self.mail.hold();
        let with = |needed: bool, extension| needed.then_some(extension);
        [
            // RFC 2852 §4: a server that does not know of the time would not return it.
            with(by.is_some_and(|by| by.mode() == ByMode::Return), Extension::DeliverBy),
            // A server that does not hold it would deliver it at once.
            with(hold.is_some(), Extension::FutureRelease),
            with(self.mail.require_tls, Extension::RequireTls),
        ]
    }

    /// What the server offers, and not so far.
    fn out_of_bounds<C: Channel>(&self, client: &Client<C>) -> Option<NotSent> {
        let extensions = client.capabilities();
        if let (Some(by), Some(least)) = (self.mail.by, extensions.min_by_time())
            && by.mode() == ByMode::Return
            && i64::from(by.seconds()) < i64::from(least)
        {
            return Some(NotSent::TimeTooShort(least));
        }
        if let (Some(hold), Some(most)) = (self.mail.hold(), extensions.future_release())
            && !most.allows(hold)
        {
            return Some(NotSent::HeldTooLong(most));
        }
        if let (Some(solicit), Some(unwanted)) = (self.mail.solicit(), extensions.no_soliciting())
            && solicit.intersects(&unwanted)
        {
            return Some(NotSent::Unwanted);
        }
        None
    }

    /// Leaves out what is not offered and not needed; asks for what is needed.
    pub(super) fn fit<C: Channel>(&mut self, client: &Client<C>) {
        let offers = |extension| client.core.offers(extension);
        if let Ok(asked) = self.asks(client) {
            self.mail.body = asked.body;
            self.mail.utf8 = asked.utf8;
        }
        fit_mail(&mut self.mail, offers);
        for recipient in &mut self.recipients {
            if recipient.outcome == Outcome::Pending && !fit_rcpt(&mut recipient.rcpt, offers) {
                recipient.outcome = Outcome::NotSent(NotSent::NotOffered(Extension::Rrvs));
            }
        }
    }

    /// Leaves out the recipients that are too many for one transaction.
    pub(super) fn keep_within(&mut self, limits: ServerLimits) {
        let (mut kept, mut domains) = (0, BTreeSet::new());
        for recipient in self.recipients.iter_mut().filter(|recipient| recipient.outcome == Outcome::Pending)
        {
            let domain =
                recipient.rcpt.to.address().map(|address| address.domain().as_str().to_ascii_lowercase());
            let new_domain = domain.as_ref().is_some_and(|domain| !domains.contains(domain));
            let too_many = limits.recipients.is_some_and(|most| kept >= most.get())
                || limits
                    .recipient_domains
                    .is_some_and(|most| new_domain && domains.len() as u64 >= u64::from(most.get()));
            if too_many {
                recipient.outcome = Outcome::NotSent(NotSent::LeftOver);
            } else {
                kept += 1;
                domains.extend(domain);
            }
        }
    }
}

/// Leaves out what MAIL asks for and need not.
fn fit_mail(mail: &mut Mail<'_>, offers: impl Fn(Extension) -> bool) {
    if !offers(Extension::Size) {
        mail.size = None;
    }
    if !offers(Extension::EightBitMime) && mail.body != Some(BodyType::BinaryMime) {
        // What is left is BODY=7BIT, which need not be said.
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

/// Leaves out what RCPT asks for and need not; `false` if the recipient must not be named without it.
fn fit_rcpt(rcpt: &mut Rcpt<'_>, offers: impl Fn(Extension) -> bool) -> bool {
    if !offers(Extension::Dsn) {
        rcpt.notify = None;
        rcpt.set_original(None);
    }
    rcpt.conneg &= offers(Extension::Conneg);
    match rcpt.valid_since {
        Some(_) if offers(Extension::Rrvs) => true,
        // Somebody else may live there now: only who says so takes the risk (RFC 7293 §3.1).
        Some(valid_since) => {
            rcpt.valid_since = None;
            valid_since.relay == Some(RelayAction::Continue)
        }
        None => true,
    }
}
