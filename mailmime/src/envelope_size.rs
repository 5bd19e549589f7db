//! Limits an envelope to the size with which IMAP may write it (RFC 9051 §7.5.2).
//!
//! A stored address can take six bytes and forty in a response, and Sender and Reply-To repeat a From of any length.
//! So the address lists of an envelope are cut after it is read from its record.

use crate::structure::{Address, Envelope};

/// The bytes of `NIL`, and of an address without any part: the end of a group.
const NIL: usize = 3;
const GROUP_END: usize = 5 + 4 * NIL;

/// The bytes of the parentheses of an envelope and its six lists, and of nine spaces.
const FRAME: usize = 2 + 6 * NIL + 9;

impl Envelope {
    /// Drops the last addresses of an envelope that IMAP would write with more than `limit` bytes. The
    /// copies of From are dropped first.
    pub(crate) fn limit_size(&mut self, limit: usize) {
        let texts = [&self.date, &self.subject, &self.in_reply_to, &self.message_id];
        let fixed: usize = FRAME + texts.into_iter().map(|text| size(text.as_deref())).sum::<usize>();
        let mut room = limit.saturating_sub(fixed);
        let lists =
            [&mut self.from, &mut self.to, &mut self.cc, &mut self.bcc, &mut self.sender, &mut self.reply_to];
        for list in lists {
            self.truncated |= !limit_list(list, &mut room);
        }
    }
}

/// Keeps as many entries as there is room for, and closes a group that has begun. Returns whether all were kept.
fn limit_list(list: &mut Vec<Address>, room: &mut usize) -> bool {
    let mut in_group = false;
    let mut kept = 0;
    for address in list.iter() {
        let stays_in_group = match (&address.mailbox, &address.host) {
            (Some(_), None) => true,
            (None, None) => false,
            _ => in_group,
        };
        let size = address_size(address);
        // Reserves room for the end of a group when the group starts.
        if size + if stays_in_group { GROUP_END } else { 0 } > *room {
            break;
        }
        *room -= size;
        in_group = stays_in_group;
        kept += 1;
    }
    if kept == list.len() {
        return true;
    }
    list.truncate(kept);
    if in_group {
        list.push(Address::default());
        *room = room.saturating_sub(GROUP_END);
    }
    list.shrink_to_fit();
    false
}

/// Returns the bytes of an address: parentheses, three spaces, and its texts.
fn address_size(address: &Address) -> usize {
    let texts = [
        address.name.as_deref(),
        address.adl.as_deref(),
        address.envelope_mailbox(),
        address.envelope_host(),
    ];
    5 + texts.into_iter().map(size).sum::<usize>()
}

/// Returns the bytes of a text: quoted, or as a literal if it can't be quoted.
fn size(text: Option<&str>) -> usize {
    let Some(text) = text else { return NIL };
    if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return text.len() + 2 + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    }
    text.len() + "{00000}\r\n".len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::structure::Structure;

    fn list_size(list: &[Address]) -> usize {
        NIL + list.iter().map(address_size).sum::<usize>()
    }

    fn whole(envelope: &Envelope) -> usize {
        let lists =
            [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc];
        lists.into_iter().map(|list| list_size(list)).sum()
    }

    #[test]
    fn repeats_long_from_up_to_the_envelope_limit() {
        let envelope = Structure::parse(format!("From: {}\r\n\r\n", "a,".repeat(1_000)).as_bytes()).envelope;
        assert_eq!(envelope.from.len(), 1_000);
        assert!(envelope.truncated);
        assert!(envelope.sender.len() < 1_000 && envelope.from.starts_with(&envelope.sender));
        let size = whole(&envelope);
        let limit = Limits::default().envelope;
        assert!((limit - 256..=limit).contains(&size), "{size}");
    }

    #[test]
    fn limits_the_address_fields_of_an_envelope_together() {
        let list = "a,".repeat(1_000);
        let header = format!("To: {list}\r\nCc: group: {list};\r\nBcc: \u{e9}\\,{list}\r\n\r\n");
        let envelope = Structure::parse(header.as_bytes()).envelope;
        assert_eq!(envelope.to.len(), 1_000);
        assert!(envelope.truncated);
        assert_eq!(envelope.cc.last(), Some(&Address::default()), "a group that has begun is ended");
        let size = whole(&envelope);
        assert!(size <= Limits::default().envelope, "{size}");
    }

    #[test]
    fn keeps_short_envelope_unchanged() {
        let header = format!("From: Ann <a@b.example>\r\nTo: {}\r\n\r\n", "c@d.example, ".repeat(512));
        let envelope = Structure::parse(header.as_bytes()).envelope;
        assert_eq!((envelope.to.len(), envelope.truncated), (512, false));
        assert_eq!(envelope.sender, envelope.from);
        assert_eq!(envelope.reply_to, envelope.from);
    }
}
