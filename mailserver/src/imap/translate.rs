//! Converts between the store's types and the protocol's: flags, dates, envelopes, body structures, sections.
//!
//! The protocol's types borrow their content. It is kept in an arena that lives while one response is written.

use bumpalo::Bump;
use mailmime::SectionText as StoreText;
use mailstore::{Flags, InternalDate, StoreMode, UidSet};
use proto_imap::types::StoreAction;
use proto_imap::types::{
    Address, AddressList, BodyExtension, BodyPart, BodyStructure, DateTime, Disposition, Envelope, Flag,
    FlagList, IString, LazyList, LazyValue, Multipart, NumberRange, Parameter, Parameters, PartContent,
    Section, SectionText,
};

/// Converts ranges of UIDs.
pub(super) fn uid_set(ranges: impl IntoIterator<Item = NumberRange>) -> UidSet {
    ranges.into_iter().map(|range| range.first()..=range.last()).collect()
}

/// Converts the flags of a message.
pub(super) fn flags<'a>(arena: &'a Bump, flags: &'a Flags, recent: Recency) -> FlagList<'a> {
    let names = flags.names().filter_map(|name| Flag::new(name).ok());
    let recent = (recent == Recency::Recent).then_some(Flag::Recent);
    LazyList::new(slice(arena, names.chain(recent)))
}

/// Whether this session is the first to be told about a message (`\Recent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recency {
    Recent,
    Old,
}

pub(super) const fn store_mode(action: StoreAction) -> StoreMode {
    match action {
        StoreAction::Replace => StoreMode::Replace,
        StoreAction::Add => StoreMode::Add,
        StoreAction::Remove => StoreMode::Remove,
    }
}

/// Converts an INTERNALDATE. Returns the start of 1970 for a time that IMAP cannot express.
pub(super) fn date_time(date: InternalDate) -> Option<DateTime> {
    DateTime::from_timestamp(date.seconds, date.offset_minutes).or_else(|| DateTime::from_timestamp(0, 0))
}

/// Converts seconds since 1970. Returns `None` for a time that IMAP cannot express.
pub(super) fn utc_date_time(seconds: i64) -> Option<DateTime> {
    DateTime::from_timestamp(seconds, 0)
}

pub(super) fn internal_date(date: DateTime) -> InternalDate {
    InternalDate { seconds: date.timestamp(), offset_minutes: date.zone() }
}

/// Returns the current time, in UTC.
pub(super) fn now() -> InternalDate {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    InternalDate { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), offset_minutes: 0 }
}

pub(super) fn envelope<'a>(arena: &'a Bump, from: &'a mailmime::Envelope) -> Envelope<'a> {
    Envelope {
        date: text(&from.date),
        subject: text(&from.subject),
        from: addresses(arena, &from.from),
        sender: addresses(arena, &from.sender),
        reply_to: addresses(arena, &from.reply_to),
        to: addresses(arena, &from.to),
        cc: addresses(arena, &from.cc),
        bcc: addresses(arena, &from.bcc),
        in_reply_to: text(&from.in_reply_to),
        message_id: text(&from.message_id),
    }
}

fn addresses<'a>(arena: &'a Bump, from: &'a [mailmime::Address]) -> AddressList<'a> {
    LazyList::new(slice(
        arena,
        from.iter().map(|address| Address {
            name: text(&address.name),
            adl: text(&address.adl),
            mailbox: address.envelope_mailbox().map(IString::from),
            host: address.envelope_host().map(IString::from),
        }),
    ))
}

/// Converts the structure of a message, given its root part.
pub(super) fn structure<'a>(arena: &'a Bump, part: &'a mailmime::Part) -> BodyStructure<'a> {
    let extension = BodyExtension {
        disposition: part.disposition.as_ref().map(|disposition| Disposition {
            kind: IString::from(disposition.kind.as_str()),
            parameters: parameters(arena, &disposition.parameters),
        }),
        language: LazyList::new(slice(arena, part.languages.iter().map(|tag| IString::from(tag.as_str())))),
        location: text(&part.location),
        further: IString::EMPTY,
    };
    if part.is_multipart() {
        return BodyStructure::Multipart(Multipart {
            parts: LazyList::new(slice(arena, part.children.iter().map(|child| structure(arena, child)))),
            subtype: IString::from(part.media_subtype.as_str()),
            parameters: parameters(arena, &part.parameters),
            extension,
        });
    }
    let content = match &part.message {
        Some(message) => PartContent::Message {
            envelope: LazyValue::new(arena.alloc(envelope(arena, &message.envelope))),
            body: LazyValue::new(arena.alloc(structure(arena, &message.root))),
            lines: part.lines,
        },
        None if part.media_type == "text" => PartContent::Text { lines: part.lines },
        None => PartContent::Basic,
    };
    BodyStructure::Part(BodyPart {
        media_type: IString::from(part.media_type.as_str()),
        subtype: IString::from(part.media_subtype.as_str()),
        parameters: parameters(arena, &part.parameters),
        id: text(&part.id),
        description: text(&part.description),
        encoding: IString::from(part.encoding.as_str()),
        size: part.body_size(),
        content,
        md5: text(&part.md5),
        extension,
    })
}

fn parameters<'a>(arena: &'a Bump, from: &'a [(String, String)]) -> Parameters<'a> {
    LazyList::new(slice(
        arena,
        from.iter().map(|(name, value)| Parameter {
            name: IString::from(name.as_str()),
            value: IString::from(value.as_str()),
        }),
    ))
}

/// Converts a section to the store's form: the part number, and which text of the part.
pub(super) fn section(section: Section<'_>) -> (Vec<u32>, StoreText) {
    let names = |names: LazyList<'_, IString<'_>>| {
        names.iter().map(|name| name.to_str_lossy().into_owned()).collect()
    };
    let text = match section.text() {
        SectionText::Header => StoreText::Header,
        SectionText::HeaderFields(fields) => StoreText::HeaderFields(names(fields)),
        SectionText::HeaderFieldsNot(fields) => StoreText::HeaderFieldsNot(names(fields)),
        SectionText::Text => StoreText::Text,
        SectionText::Mime => StoreText::Mime,
        _ => StoreText::Whole,
    };
    (section.part().collect(), text)
}

fn text(text: &Option<String>) -> Option<IString<'_>> {
    text.as_deref().map(IString::from)
}

fn slice<T>(arena: &Bump, items: impl Iterator<Item = T>) -> &[T] {
    bumpalo::collections::Vec::from_iter_in(items, arena).into_bump_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_dates_in_both_directions() {
        let date = InternalDate { seconds: 837_596_665, offset_minutes: -420 };
        assert_eq!(internal_date(date_time(date).unwrap()), date);
        assert!(date_time(InternalDate { seconds: i64::MAX, offset_minutes: 0 }).is_some());
    }

    #[test]
    fn converts_nested_structures() {
        let message = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninside\r\n--b--\r\n";
        let read = mailmime::Structure::parse(message.as_bytes());
        let arena = Bump::new();
        let structure = structure(&arena, &read.root);
        assert_eq!(structure.parts().iter().count(), 2);
        let Some(BodyStructure::Part(BodyPart { content: PartContent::Message { envelope, .. }, .. })) =
            structure.part(&[2])
        else {
            panic!("{structure:?}")
        };
        assert_eq!(envelope.view().unwrap().subject.unwrap(), "inner");
    }

    #[test]
    fn an_address_without_a_domain_has_a_host() {
        let read = mailmime::Structure::parse(b"From: Whomever\r\nTo: team: <@b>;, \"Name\" <>\r\n\r\n");
        let arena = Bump::new();
        let envelope = envelope(&arena, &read.envelope);
        let shown = |list: AddressList<'_>| {
            let text = |text: Option<IString<'_>>| {
                text.map_or("NIL".into(), |text| text.to_str_lossy().into_owned())
            };
            list.iter().map(|one| format!("{} {}", text(one.mailbox), text(one.host))).collect::<Vec<_>>()
        };
        assert_eq!(shown(envelope.from), ["Whomever .MISSING-HOST-NAME."]);
        assert_eq!(
            shown(envelope.to),
            ["team NIL", ".MISSING-MAILBOX. b", "NIL NIL", ".MISSING-MAILBOX. .MISSING-HOST-NAME."]
        );
    }

    #[test]
    fn converts_section_names() {
        let named = |spec| section(Section::body(spec).unwrap());
        assert_eq!(named(""), (vec![], StoreText::Whole));
        assert_eq!(named("1.2.MIME"), (vec![1, 2], StoreText::Mime));
        assert_eq!(
            named("2.HEADER.FIELDS (From \"X-A\")"),
            (vec![2], StoreText::HeaderFields(vec!["From".into(), "X-A".into()]))
        );
    }
}
