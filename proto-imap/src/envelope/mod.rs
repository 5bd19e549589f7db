//! Envelopes: the main header fields of a message as the server has parsed them (RFC 9051 §7.5.2).
//!
//! This module decodes nothing: names and subjects are as in the header and can contain encoded words.

pub(crate) mod encode;
pub(crate) mod encoded;
pub(crate) mod parse;

use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::owned::owned_struct;
use crate::grammar::string::IString;

/// The envelope of a message. A field is `None` if the header has no such field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Envelope<'i> {
    /// `Date:`, exactly as in the header.
    pub date: Option<IString<'i>>,
    /// `Subject:`
    pub subject: Option<IString<'i>>,
    /// `From:`
    pub from: AddressList<'i>,
    /// `Sender:`; the server puts `From:` here if there is none.
    pub sender: AddressList<'i>,
    /// `Reply-To:`; the server puts `From:` here if there is none.
    pub reply_to: AddressList<'i>,
    /// `To:`
    pub to: AddressList<'i>,
    /// `Cc:`
    pub cc: AddressList<'i>,
    /// `Bcc:`
    pub bcc: AddressList<'i>,
    /// `In-Reply-To:`
    pub in_reply_to: Option<IString<'i>>,
    /// `Message-ID:`
    pub message_id: Option<IString<'i>>,
}

impl Envelope<'_> {
    /// Returns whether this is not the message's envelope but a placeholder of a server that could not parse the
    /// message. Fetch `BODY[]` to see the contents.
    #[must_use]
    pub fn is_placeholder(&self) -> bool {
        self.from.iter().any(|address| {
            address.mailbox.is_none()
                && address.host.is_some_and(|host| host.eq_ignore_ascii_case(b".MISSING-HOST-NAME."))
        })
    }
}

/// The addresses of one header field.
pub type AddressList<'i> = LazyList<'i, Address<'i>>;

/// An address, or one end of a group (RFC 9051 §7.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Address<'i> {
    /// The display name.
    pub name: Option<IString<'i>>,
    /// The source route. Obsolete.
    pub adl: Option<IString<'i>>,
    /// The part before the `@`. In the first element of a group, the group's name; `None` in the last element of a
    /// group.
    pub mailbox: Option<IString<'i>>,
    /// The part after the `@`; `None` in the first and the last element of a group.
    pub host: Option<IString<'i>>,
}

impl<'i> Address<'i> {
    /// Returns the name of the group that starts here; `None` if none does.
    #[must_use]
    pub const fn group_start(&self) -> Option<IString<'i>> {
        if self.host.is_none() { self.mailbox } else { None }
    }

    /// Returns whether a group ends here.
    #[must_use]
    pub const fn is_group_end(&self) -> bool {
        self.host.is_none() && self.mailbox.is_none()
    }
}

impl Sealed for Envelope<'_> {}

impl Sealed for Address<'_> {}

owned_struct!(Envelope { date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id });

owned_struct!(Address { name, adl, mailbox, host });
