//! `UIDBATCHES`: ranges of UIDs with about the same number of messages each (RFC 10022).

use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::number::nz_number;
use crate::grammar::owned::{owned_struct, plain};
use crate::grammar::primitive::{byte, close, open, sp, word};
use crate::grammar::sink::{Sink, number};
use crate::grammar::string::IString;
use crate::grammar::string::encode::string;
use crate::grammar::string::parse::astring;
use crate::grammar::{Context, Parsed, expected};
use crate::numbers::parse::known_sequence_set;
use crate::numbers::{NumberRange, Numbers};

/// `UIDBATCHES`: asks for ranges of UIDs that divide the selected mailbox into batches (RFC 10022).
///
/// A server may refuse a size below 500 (`NO [TOOFEW]`) and batches of more than 100,000 messages together (`NO
/// [TOOMANY]`). As long as the mailbox stays selected, send the command again only after half a batch of messages has
/// arrived or was expunged (RFC 10022 §3.1.1); the machine does not check that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UidBatchesCommand {
    /// The number of messages in a batch; at least 1.
    pub size: u32,
    /// The batches to return, counted from 1, which has the highest UIDs; `None` for all.
    pub batches: Option<NumberRange>,
}

impl UidBatchesCommand {
    /// Creates a command for all batches of this size.
    #[must_use]
    pub const fn new(size: u32) -> Self {
        Self { size, batches: None }
    }
}

/// `UIDBATCHES`: the batches that a command has asked for (RFC 10022).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UidBatchesResponse<'i> {
    /// The tag of the UIDBATCHES command.
    pub tag: IString<'i>,
    /// The range of UIDs of each batch, the highest UIDs first. Not every UID of a range is that of a message. Empty if the
    /// mailbox has no such batches.
    pub batches: Numbers<'i>,
}

/// `message-batches = "UIDBATCHES" SP nz-number [SP nz-number ":" nz-number]`, after the word and the first space. The
/// first batch must not be after the last.
pub(crate) fn uid_batches<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, UidBatchesCommand> {
    let (rest, size) = nz_number(i, cx)?;
    let [b' ', batches @ ..] = rest else {
        return Ok((rest, UidBatchesCommand::new(size)));
    };
    let (rest, first) = nz_number(batches, cx)?;
    let (rest, ()) = byte(rest, b':', "a colon")?;
    let (rest, last) = nz_number(rest, cx)?;
    if first > last {
        return expected(batches, "a range of batches in ascending order");
    }
    Ok((rest, UidBatchesCommand { size, batches: Some(NumberRange::new(first, last)) }))
}

/// `SP "(" "TAG" SP tag-string ")" [SP uid-range *("," uid-range)]`. A single UID is accepted as a range.
pub(crate) fn uid_batches_response<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, UidBatchesResponse<'i>> {
    let (rest, ()) = open(sp(i, cx)?.0, cx)?;
    let (rest, ()) = word(rest, b"TAG", "TAG")?;
    let (rest, tag) = astring(sp(rest, cx)?.0, cx)?;
    let (rest, ()) = close(rest, cx)?;
    let (rest, batches) = match rest {
        // Only the tolerant parser accepts spaces before the line end.
        [b' ', ranges @ ..] if !ranges.trim_ascii_start().is_empty() => {
            known_sequence_set(sp(rest, cx)?.0, cx)?
        }
        rest => (rest, Numbers::EMPTY),
    };
    Ok((rest, UidBatchesResponse { tag, batches }))
}

impl<S: CommandSink> Writer<'_, S> {
    /// `nz-number [SP nz-number ":" nz-number]`
    pub(crate) fn uid_batches(&mut self, command: &UidBatchesCommand) -> Written {
        if command.size == 0 {
            return fault("batch size", ArgumentFault::OutOfRange);
        }
        self.number(command.size.into());
        let Some(batches) = command.batches else { return Ok(()) };
        if batches.first() == 0 {
            return fault("range of batches", ArgumentFault::OutOfRange);
        }
        self.put(b" ");
        self.number(batches.first().into());
        self.put(b":");
        self.number(batches.last().into());
        Ok(())
    }
}

/// `SP "(" "TAG" SP tag-string ")" [SP uid-range *("," uid-range)]`, the highest UID of each range first. UIDs of 0 are
/// written as 1.
pub(crate) fn write_uid_batches(response: &UidBatchesResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(b" (TAG ");
    string(response.tag, out);
    out.put(b")");
    let mut before: &[u8] = b" ";
    for range in response.batches.ranges() {
        out.put(before);
        number(range.last().max(1).into(), out);
        out.put(b":");
        number(range.first().max(1).into(), out);
        before = b",";
    }
}

plain!(UidBatchesCommand);

owned_struct!(UidBatchesResponse { tag, batches });

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn a_command_has_a_size_and_an_ascending_range() {
        let range = |first, last| Some(NumberRange::new(first, last));
        for (arguments, expected) in [
            ("2000", Some((2000, None))),
            ("500 10:20", Some((500, range(10, 20)))),
            ("1 1:1", Some((1, range(1, 1)))),
            ("4294967295 1:4294967295", Some((u32::MAX, range(1, u32::MAX)))),
            ("500 20:10", None),
            ("500 10", None),
            ("500 0:1", None),
            ("500 1:*", None),
            ("500 ", None),
            ("0", None),
            ("4294967296", None),
        ] {
            let line = alloc::format!("a UIDBATCHES {arguments}\r\n");
            let read = crate::parse::command(line.as_bytes(), &Context::strict());
            let read = read.ok().and_then(|(_, command)| match command {
                crate::types::Command::UidBatches(UidBatchesCommand { size, batches }) => {
                    Some((size, batches))
                }
                _ => None,
            });
            assert_eq!(read, expected, "{arguments}");
        }
    }

    #[test]
    fn a_response_lists_the_highest_uids_first() {
        let read = |line: &'static str| match crate::parse::response(line.as_bytes(), &Context::strict()) {
            crate::types::Response::Untagged(crate::types::Untagged::UidBatches(found)) => Some(found),
            _ => None,
        };
        let found = read("* UIDBATCHES (TAG \"A143\") 99695:20351,20350:7830,7829:1\r\n").unwrap();
        assert_eq!(
            alloc::format!("{found:?}"),
            "UidBatchesResponse { tag: \"A143\", batches: [20351..=99695, 7830..=20350, 1..=7829] }"
        );
        let mut written = Vec::new();
        write_uid_batches(&found, &mut written);
        assert_eq!(written, b" (TAG \"A143\") 99695:20351,20350:7830,7829:1");
        assert!(read("* UIDBATCHES (TAG \"A143\")\r\n").unwrap().batches.is_empty());
        assert_eq!(read("* UIDBATCHES (TAG A1) 7:7,3\r\n").unwrap().batches.count(), 2);
        for line in [
            "* UIDBATCHES\r\n",
            "* UIDBATCHES 7:1\r\n",
            "* UIDBATCHES (TAG \"a\") \r\n",
            "* UIDBATCHES (TAG \"a\") 7:*\r\n",
            "* UIDBATCHES (TAG \"a\") 7:1,\r\n",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
