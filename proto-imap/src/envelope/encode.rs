//! Writes envelopes and address lists.

use crate::envelope::{Address, AddressList, Envelope};
use crate::grammar::sink::{Sink, separated};
use crate::grammar::string::encode::nstring;

/// `envelope`
pub(crate) fn envelope(envelope: &Envelope<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(b"(");
    separated([envelope.date, envelope.subject], out, |field, out| nstring(field, out));
    let lists = [envelope.from, envelope.sender, envelope.reply_to, envelope.to, envelope.cc, envelope.bcc];
    for list in lists {
        out.put(b" ");
        address_list(list, out);
    }
    out.put(b" ");
    separated([envelope.in_reply_to, envelope.message_id], out, |field, out| nstring(field, out));
    out.put(b")");
}

/// `"(" 1*address ")" / nil`
pub(crate) fn address_list(list: AddressList<'_>, out: &mut (impl Sink + ?Sized)) {
    let mut addresses = list.iter().peekable();
    if addresses.peek().is_none() {
        out.put(b"NIL");
        return;
    }
    out.put(b"(");
    for one in addresses {
        address(&one, out);
    }
    out.put(b")");
}

fn address(address: &Address<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(b"(");
    separated([address.name, address.adl, address.mailbox, address.host], out, |field, out| {
        nstring(field, out);
    });
    out.put(b")");
}
