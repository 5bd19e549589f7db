//! The strict parser reads every encoded value as the same value, and as one message.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where something is wrong"
)]

use proptest::prelude::*;
use proto_imap::encode;
use proto_imap::parse::{Context, response};
use proto_imap::types::*;

/// Leaks a test value, because views borrow.
fn kept<T>(values: Vec<T>) -> &'static [T] {
    Vec::leak(values)
}

fn bytes() -> BoxedStrategy<Vec<u8>> {
    prop_oneof![
        "[ -~]{0,20}".prop_map(String::into_bytes),
        "[A-Za-z0-9.-]{1,12}".prop_map(String::into_bytes),
        r#"["\\(){}\[\] ]{0,8}"#.prop_map(String::into_bytes),
        prop::collection::vec(1_u8..=255, 0..12),
        Just(b"NIL".to_vec()),
        Just(b"a\r\nb".to_vec()),
        Just("Grüße".as_bytes().to_vec()),
        prop::collection::vec(Just(b'x'), 1000..1100),
    ]
    .boxed()
}

fn string() -> BoxedStrategy<IString<'static>> {
    bytes().prop_map(|bytes| IString::new(kept(bytes))).boxed()
}

fn nstring() -> BoxedStrategy<Option<IString<'static>>> {
    prop::option::of(string()).boxed()
}

fn atom() -> BoxedStrategy<&'static str> {
    "[A-Za-z$][A-Za-z0-9$!#&'+,./:;<=>?@^_`|~-]{0,10}".prop_map(|text| &*text.leak()).boxed()
}

fn flag() -> BoxedStrategy<Flag<'static>> {
    prop_oneof![
        Just(Flag::Seen),
        Just(Flag::Answered),
        Just(Flag::Draft),
        Just(Flag::Recent),
        atom().prop_map(|name| Flag::new(name).unwrap()),
        atom().prop_map(|name| Flag::new(&*format!("\\X{name}").leak()).unwrap()),
    ]
    .boxed()
}

fn flags() -> BoxedStrategy<FlagList<'static>> {
    prop::collection::vec(flag(), 0..5).prop_map(|flags| FlagList::new(kept(flags))).boxed()
}

fn numbers() -> BoxedStrategy<Numbers<'static>> {
    let range =
        (1_u32.., 0_u32..50).prop_map(|(first, more)| NumberRange::new(first, first.saturating_add(more)));
    prop::collection::vec(range, 1..6).prop_map(|ranges| Numbers::new(kept(ranges))).boxed()
}

fn single_numbers() -> BoxedStrategy<Numbers<'static>> {
    prop::collection::vec((1_u32..).prop_map(NumberRange::from), 0..20)
        .prop_map(|ranges| Numbers::new(kept(ranges)))
        .boxed()
}

/// Generates text without a leading space, which the tolerant parser skips.
fn text() -> BoxedStrategy<Text<'static>> {
    "[a-zA-Zé!-Z][ -~é]{0,20}".prop_map(|text| Text::new(text.leak()).unwrap()).boxed()
}

fn capabilities() -> BoxedStrategy<CapabilityList<'static>> {
    prop::collection::vec(atom().prop_map(Capability::new), 1..6)
        .prop_map(|list| CapabilityList::new(kept(list)))
        .boxed()
}

fn plain_code() -> BoxedStrategy<PlainCode> {
    prop_oneof![
        Just(PlainCode::Alert),
        Just(PlainCode::ReadOnly),
        Just(PlainCode::TryCreate),
        Just(PlainCode::UnknownCte),
        Just(PlainCode::PrivacyRequired),
    ]
    .boxed()
}

fn code() -> BoxedStrategy<ResponseCode<'static>> {
    let non_zero = || (1_u32..).prop_map(std::num::NonZeroU32::new);
    prop_oneof![
        plain_code().prop_map(ResponseCode::Plain),
        "[A-Za-z0-9.]{1,8}".prop_map(|tag| ResponseCode::NoUpdate(IString::new(kept(tag.into_bytes())))),
        "[A-Za-z0-9.-]{1,8}"
            .prop_map(|name| ResponseCode::UndefinedFilter(IString::new(kept(name.into_bytes())))),
        (1_u32.., numbers()).prop_map(|(uid_validity, uids)| ResponseCode::AppendUid { uid_validity, uids }),
        (1_u32.., numbers(), numbers()).prop_map(|(uid_validity, source, target)| ResponseCode::CopyUid {
            uid_validity,
            source,
            target
        }),
        capabilities().prop_map(ResponseCode::Capability),
        prop::collection::vec(string().prop_filter("no NIL", |text| *text != "NIL"), 0..3)
            .prop_map(|list| ResponseCode::BadCharset(LazyList::new(kept(list)))),
        (1_u64..i64::MAX as u64).prop_map(ResponseCode::HighestModSeq),
        atom().prop_map(|id| ResponseCode::MailboxId(IString::from(id))),
        any::<u32>().prop_map(ResponseCode::MetadataMaxSize),
        Just(ResponseCode::AnnotateTooBig),
        Just(ResponseCode::AnnotateTooMany),
        (non_zero(), any::<bool>()).prop_map(|(size, no_private)| {
            let access = size.map_or(AnnotationAccess::ReadOnly, AnnotationAccess::MaxSize);
            ResponseCode::Annotations(AnnotationSupport { access, no_private })
        }),
        any::<u32>().prop_map(ResponseCode::MetadataLongEntries),
        numbers().prop_map(ResponseCode::Modified),
        flags().prop_map(ResponseCode::PermanentFlags),
        atom().prop_map(|url| ResponseCode::Referral(IString::from(url))),
        atom().prop_map(|url| ResponseCode::BadUrl(IString::from(url))),
        non_zero().prop_map(ResponseCode::UidNext),
        non_zero().prop_map(ResponseCode::Unseen),
        (1_u32..).prop_map(ResponseCode::UidValidity),
        (atom(), prop::option::of(atom())).prop_map(|(name, argument)| ResponseCode::Other {
            name: IString::from(&*format!("X-{name}").leak()),
            argument: argument.map(IString::from),
        }),
    ]
    .boxed()
}

fn status(conditions: &'static [Condition]) -> BoxedStrategy<StatusResponse<'static>> {
    (prop::sample::select(conditions), prop::option::of(code()), text())
        .prop_map(|(condition, code, text)| StatusResponse { condition, code, text })
        .boxed()
}

fn address() -> BoxedStrategy<Address<'static>> {
    (nstring(), nstring(), nstring(), nstring())
        .prop_map(|(name, adl, mailbox, host)| Address { name, adl, mailbox, host })
        .boxed()
}

fn addresses() -> BoxedStrategy<AddressList<'static>> {
    prop::collection::vec(address(), 0..3).prop_map(|list| AddressList::new(kept(list))).boxed()
}

fn envelope() -> BoxedStrategy<Envelope<'static>> {
    let lists = (addresses(), addresses(), addresses(), addresses(), addresses(), addresses());
    (nstring(), nstring(), lists, nstring(), nstring())
        .prop_map(|(date, subject, (from, sender, reply_to, to, cc, bcc), in_reply_to, message_id)| {
            Envelope { date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id }
        })
        .boxed()
}

fn parameters() -> BoxedStrategy<Parameters<'static>> {
    let parameter = (string(), string()).prop_map(|(name, value)| Parameter { name, value });
    prop::collection::vec(parameter, 0..3).prop_map(|list| Parameters::new(kept(list))).boxed()
}

fn extension() -> BoxedStrategy<BodyExtension<'static>> {
    let disposition =
        (string(), parameters()).prop_map(|(kind, parameters)| Disposition { kind, parameters });
    (
        prop::option::of(disposition),
        prop::collection::vec(string(), 0..3),
        nstring(),
        prop_oneof![Just(""), Just("NIL"), Just("7 (\"a\" (\"b\") {1}\r\nc)")],
    )
        .prop_map(|(disposition, language, location, further)| BodyExtension {
            disposition,
            language: LazyList::new(kept(language)),
            location,
            further: IString::from(further),
        })
        .boxed()
}

fn part(
    content: PartContent<'static>,
    media: (&'static str, &'static str),
) -> BoxedStrategy<BodyStructure<'static>> {
    let fields =
        (parameters(), nstring(), nstring(), string().prop_filter("not empty", |text| !text.is_empty()));
    (fields, any::<u32>(), nstring(), extension())
        .prop_map(move |((parameters, id, description, encoding), bytes, md5, extension)| {
            BodyStructure::Part(BodyPart {
                media_type: IString::from(media.0),
                subtype: IString::from(media.1),
                parameters,
                id,
                description,
                encoding,
                size: bytes.into(),
                content,
                md5,
                extension,
            })
        })
        .boxed()
}

fn body() -> BoxedStrategy<BodyStructure<'static>> {
    let leaf = prop_oneof![
        part(PartContent::Text { lines: 12 }, ("text", "plain")),
        part(PartContent::Text { lines: 0 }, ("TEXT", "html")),
        part(PartContent::Basic, ("image", "png")),
        part(PartContent::Basic, ("message", "delivery-status")),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let multipart = (prop::collection::vec(inner.clone(), 1..4), string(), parameters(), extension())
            .prop_filter("a subtype", |(_, subtype, ..)| !subtype.is_empty())
            .prop_map(|(parts, subtype, parameters, extension)| {
                BodyStructure::Multipart(Multipart {
                    parts: LazyList::new(kept(parts)),
                    subtype,
                    parameters,
                    extension,
                })
            });
        let message = (envelope(), inner, any::<u32>()).prop_flat_map(|(envelope, body, lines)| {
            let content = PartContent::Message {
                envelope: LazyValue::new(&kept(vec![envelope])[0]),
                body: LazyValue::new(&kept(vec![body])[0]),
                lines: lines.into(),
            };
            part(content, ("message", "rfc822"))
        });
        prop_oneof![multipart, message]
    })
    .boxed()
}

fn date_time() -> BoxedStrategy<DateTime> {
    (-62_000_000_000_i64..250_000_000_000, -1439_i16..1440)
        .prop_filter_map("in the calendar", |(seconds, zone)| DateTime::from_timestamp(seconds, zone))
        .boxed()
}

fn annotations() -> BoxedStrategy<AnnotationEntries<'static>> {
    let name = || "/[a-z0-9 ]{1,4}(/[a-z\"]{1,4})?".prop_map(|name: String| IString::from(&*name.leak()));
    let attribute = ("[a-z]{1,4}(\\.(priv|shared))?", nstring())
        .prop_map(|(name, value)| AnnotationAttribute { name: IString::from(&*name.leak()), value });
    let entry = (name(), prop::collection::vec(attribute, 1..3))
        .prop_map(|(name, attributes)| AnnotationEntry { name, attributes: LazyList::new(kept(attributes)) });
    prop_oneof![
        prop::collection::vec(entry, 1..3)
            .prop_map(|entries| AnnotationEntries::Values(LazyList::new(kept(entries)))),
        prop::collection::vec(name(), 1..3)
            .prop_map(|names| AnnotationEntries::Changed(LazyList::new(kept(names)))),
    ]
    .boxed()
}

fn item() -> BoxedStrategy<FetchItem<'static>> {
    prop_oneof![
        flags().prop_map(FetchItem::Flags),
        (1_u32..).prop_map(FetchItem::Uid),
        (0..i64::MAX as u64).prop_map(FetchItem::Size),
        envelope().prop_map(|envelope| FetchItem::Envelope(LazyValue::new(Box::leak(Box::new(envelope))))),
        body().prop_map(|body| FetchItem::BodyStructure(LazyValue::new(Box::leak(Box::new(body))))),
        (0..i64::MAX as u64).prop_map(FetchItem::ModSeq),
        atom().prop_map(|id| FetchItem::EmailId(IString::from(id))),
        prop::option::of(atom()).prop_map(|id| FetchItem::ThreadId(id.map(IString::from))),
        nstring().prop_map(FetchItem::Preview),
        annotations().prop_map(FetchItem::Annotation),
        prop::option::of(date_time()).prop_map(FetchItem::SaveDate),
        prop::collection::vec(string().prop_filter("no NIL", |label| *label != "NIL"), 0..3)
            .prop_map(|labels| FetchItem::GmailLabels(LazyList::new(kept(labels)))),
    ]
    .boxed()
}

fn listed() -> BoxedStrategy<ListResponse<'static>> {
    let attributes = prop::sample::subsequence(
        vec![
            MailboxAttribute::NoSelect,
            MailboxAttribute::HasChildren,
            MailboxAttribute::Junk,
            MailboxAttribute::Sent,
            MailboxAttribute::Subscribed,
        ],
        0..5,
    );
    let extended = prop_oneof![Just("(\"SUBSCRIBED\")"), Just("NIL"), Just("12")]
        .prop_map(|value| ExtendedItem { name: IString::from("CHILDINFO"), value: IString::from(value) });
    (
        attributes,
        prop::option::of(prop::char::range(' ', '~')),
        string(),
        prop::collection::vec(extended, 0..3),
    )
        .prop_map(|(attributes, delimiter, mailbox, extended)| ListResponse {
            attributes: LazyList::new(kept(attributes)),
            delimiter,
            mailbox,
            extended: LazyList::new(kept(extended)),
        })
        .boxed()
}

fn mailbox_status() -> BoxedStrategy<MailboxStatus<'static>> {
    let items = prop_oneof![
        any::<u32>().prop_map(StatusItem::Messages),
        (1_u32..).prop_map(|uid| StatusItem::UidNext(std::num::NonZeroU32::new(uid))),
        (1_u32..).prop_map(StatusItem::UidValidity),
        (0..i64::MAX as u64).prop_map(StatusItem::Size),
        (0..i64::MAX as u64).prop_map(StatusItem::HighestModSeq),
        prop::option::of(0..i64::MAX as u64).prop_map(StatusItem::AppendLimit),
        atom().prop_map(|id| StatusItem::MailboxId(IString::from(id))),
    ];
    (string(), prop::collection::vec(items, 0..5))
        .prop_map(|(mailbox, items)| MailboxStatus { mailbox, items: LazyList::new(kept(items)) })
        .boxed()
}

fn context_changes() -> BoxedStrategy<LazyList<'static, ContextChange<'static>>> {
    let change =
        (any::<u32>(), numbers()).prop_map(|(position, numbers)| ContextChange { position, numbers });
    prop::collection::vec(change, 1..4).prop_map(|changes| LazyList::new(kept(changes))).boxed()
}

/// Generates threads as the grammar allows them: a list of numbers, then nothing or two and more lists.
fn threads() -> BoxedStrategy<Vec<ThreadItem>> {
    let list = |inner: Vec<ThreadItem>| {
        let ends = (vec![ThreadItem::ListStart], vec![ThreadItem::ListEnd]);
        [ends.0, inner, ends.1].concat()
    };
    let messages = |least| prop::collection::vec((1_u32..).prop_map(ThreadItem::Message), least..4);
    let thread = messages(1).prop_map(list).prop_recursive(6, 40, 4, move |branch| {
        let branches = prop::collection::vec(branch, 2..4).prop_map(|all| all.concat());
        (messages(0), branches).prop_map(move |(messages, branches)| list([messages, branches].concat()))
    });
    prop::collection::vec(thread, 0..4).prop_map(|all| all.concat()).boxed()
}

fn esearch() -> BoxedStrategy<EsearchResponse<'static>> {
    let results = prop_oneof![
        (1_u32..).prop_map(SearchReturnData::Min),
        (1_u32..).prop_map(SearchReturnData::Max),
        any::<u32>().prop_map(SearchReturnData::Count),
        numbers().prop_map(SearchReturnData::All),
        (1..i64::MAX as u64).prop_map(SearchReturnData::ModSeq),
        (1_u32..1000, numbers()).prop_map(|(first, numbers)| SearchReturnData::Partial {
            page: PartialRange::FromLast(NumberRange::new(first, first + 9)),
            numbers
        }),
        context_changes().prop_map(SearchReturnData::AddTo),
        context_changes().prop_map(SearchReturnData::RemoveFrom),
        prop::collection::vec((1_u8..=100).prop_map(|score| RelevancyScore::new(score).unwrap()), 0..5)
            .prop_map(|scores| SearchReturnData::Relevancy(LazyList::new(kept(scores)))),
        (atom(), prop_oneof![Just("7"), Just("(a \"b\" (1:2))"), Just("{3}\r\na b")]).prop_map(
            |(name, value)| {
                let name = IString::from(&*format!("X-{name}").leak());
                SearchReturnData::Other { name, value: IString::from(value) }
            }
        ),
    ];
    let correlator = (prop::option::of(string()), prop::option::of(string()), prop::option::of(1_u32..));
    (correlator, any::<bool>(), prop::collection::vec(results, 0..4))
        .prop_map(|((tag, mailbox, uid_validity), uids, results)| EsearchResponse {
            tag,
            mailbox,
            uid_validity,
            number_kind: if uids { NumberKind::Uids } else { NumberKind::SequenceNumbers },
            results: LazyList::new(kept(results)),
        })
        .boxed()
}

fn namespaces() -> BoxedStrategy<Namespaces<'static>> {
    let one = || {
        let namespace = (string(), prop::option::of(prop::char::range(' ', '~')))
            .prop_map(|(prefix, delimiter)| Namespace { prefix, delimiter, extensions: IString::EMPTY });
        prop::collection::vec(namespace, 0..3).prop_map(|list| LazyList::new(kept(list)))
    };
    (one(), one(), one())
        .prop_map(|(personal, other_users, shared)| Namespaces { personal, other_users, shared })
        .boxed()
}

fn untagged() -> BoxedStrategy<Untagged<'static>> {
    const ANY: &[Condition] =
        &[Condition::Ok, Condition::No, Condition::Bad, Condition::PreAuth, Condition::Bye];
    let id =
        prop::collection::vec((string(), nstring()).prop_map(|(name, value)| IdField { name, value }), 0..3);
    prop_oneof![
        status(ANY).prop_map(Untagged::Status),
        capabilities().prop_map(Untagged::Capability),
        capabilities().prop_map(Untagged::Enabled),
        id.prop_map(|fields| Untagged::Id(LazyList::new(kept(fields)))),
        namespaces().prop_map(Untagged::Namespace),
        listed().prop_map(Untagged::List),
        listed().prop_map(Untagged::Lsub),
        mailbox_status().prop_map(Untagged::MailboxStatus),
        flags().prop_map(Untagged::Flags),
        (single_numbers(), prop::option::of(1..i64::MAX as u64))
            .prop_map(|(numbers, mod_sequence)| Untagged::Search(SearchResponse { numbers, mod_sequence })),
        (single_numbers(), prop::option::of(1..i64::MAX as u64))
            .prop_map(|(numbers, mod_sequence)| Untagged::Sort(SearchResponse { numbers, mod_sequence })),
        threads().prop_map(|items| Untagged::Thread(ThreadResponse { threads: Threads::new(kept(items)) })),
        esearch().prop_map(Untagged::Esearch),
        any::<u32>().prop_map(Untagged::Exists),
        any::<u32>().prop_map(Untagged::Recent),
        (1_u32..).prop_map(Untagged::Expunge),
        numbers().prop_map(|uids| Untagged::Vanished { when: VanishedWhen::Now, uids }),
        numbers().prop_map(|uids| Untagged::Vanished { when: VanishedWhen::Earlier, uids }),
        (1_u32.., prop::collection::vec(item(), 1..4)).prop_map(|(sequence, items)| Untagged::Fetch(
            FetchResponse { sequence, items: LazyList::new(kept(items)) }
        )),
        (string(), atom(), 0..i64::MAX as u64).prop_map(|(root, name, limit)| {
            let resource = QuotaResource { name: IString::from(name), usage: 1, limit };
            Untagged::Quota(Quota { root, resources: LazyList::new(kept(vec![resource])) })
        }),
    ]
    .boxed()
}

fn any_response() -> BoxedStrategy<Response<'static>> {
    const TAGGED: &[Condition] = &[Condition::Ok, Condition::No, Condition::Bad];
    prop_oneof![
        5 => untagged().prop_map(Response::Untagged),
        1 => ("[A-Za-z0-9]{1,8}", status(TAGGED))
            .prop_map(|(tag, status)| Response::Tagged { tag: Tag::new(kept(tag.into_bytes())).unwrap(), status }),
        1 => (prop::option::of(code()), text()).prop_map(|(code, text)| Response::Continue(ContinuationRequest { code, text })),
    ].boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(given in any_response()) {
        let mut out = Vec::new();
        encode::response(&given, &mut out);
        for cx in [Context::strict(), Context::tolerant()] {
            let read = response(&out, &cx);
            prop_assert_eq!(&given, &read, "written as {:?}", String::from_utf8_lossy(&out));
            prop_assert_eq!(cx.repairs.total(), 0, "repaired {:?} in {:?}", cx.repairs.recent(), String::from_utf8_lossy(&out));
        }
        // Writing the parsed value again gives the same bytes.
        let mut again = Vec::new();
        encode::response(&response(&out, &Context::strict()), &mut again);
        prop_assert_eq!(out, again);
    }

    #[test]
    fn owned_values_are_the_same(envelope in envelope(), body in body()) {
        let kept = EncodedEnvelope::new(&envelope);
        prop_assert_eq!(kept.view(), envelope);
        prop_assert_eq!(&EncodedEnvelope::from_wire(kept.wire()).unwrap(), &kept);
        let kept = EncodedBodyStructure::new(&body);
        prop_assert_eq!(kept.view(), body);
        prop_assert!(EncodedBodyStructure::from_wire(&kept.wire()[1..]).is_err());
    }

    #[test]
    fn any_flag_and_text_is_written_in_one_line(name in any::<String>(), words in any::<String>()) {
        let mut out = Vec::new();
        let text = Text::first_line(&words);
        if let Ok(flag) = Flag::new(&name) {
            let flags = [flag];
            let status = StatusResponse::new(Condition::Ok, text).with_code(ResponseCode::PermanentFlags(FlagList::new(&flags)));
            encode::response(&Response::Untagged(Untagged::Status(status)), &mut out);
        } else {
            encode::response(&Response::Untagged(Untagged::Status(StatusResponse::new(Condition::No, text))), &mut out);
        }
        prop_assert_eq!(out.iter().filter(|byte| matches!(byte, b'\r' | b'\n' | 0)).count(), 2);
        let read = response(&out, &Context::strict());
        prop_assert!(matches!(read, Response::Untagged(Untagged::Status(_))), "{:?} is {:?}", String::from_utf8_lossy(&out), read);
    }
}
