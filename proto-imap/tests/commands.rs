//! Known answers: the result of parsing each command, and the position of the error in invalid ones.
//!
//! They include the examples of RFC 9051 §6 and those of RFC 2971, 3516, 4731, 5161, 5182, 5256, 5258, 5267, 5466, 5819,
//! 5957, 6154, 6203, 7162, 7377, 8474 and 9394. The tests also parse every prefix of a command and every command with one byte changed, which must
//! not panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use proto_imap::frame::{Binary, Sync};
use proto_imap::parse::{self, Authentication, Context};
use proto_imap::types::CommandName;
use proto_mail::Credentials;

/// Commands without their line end, each with the parsed command.
#[rustfmt::skip]
const COMMANDS: &[(&str, &str)] = &[
    ("abcd CAPABILITY", "Capability"),
    ("a002 noop", "Noop"),
    ("A023 LOGOUT", "Logout"),
    (r#"a023 ID ("name" "sodr" "version" "19.34" "vendor" NIL)"#, r#"Id([IdField { name: "name", value: Some("sodr") }, IdField { name: "version", value: Some("19.34") }, IdField { name: "vendor", value: None }])"#),
    ("a042 ID NIL", "Id([])"),
    ("a1 ID ()", "Id([])"),
    ("t1 ENABLE CONDSTORE", "Enable([CONDSTORE])"),
    ("t3 enable X-GOOD-IDEA IMAP4rev2", "Enable([X-GOOD-IDEA, IMAP4rev2])"),
    ("A142 SELECT INBOX", r#"Select(SelectCommand { mailbox: "INBOX", parameters: [] })"#),
    (r#"A142 SELECT "Sent Items" (CONDSTORE)"#, r#"Select(SelectCommand { mailbox: "Sent Items", parameters: [CondStore] })"#),
    ("A02 SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))", r#"Select(SelectCommand { mailbox: "INBOX", parameters: [QResync(QResync { uid_validity: 67890007, mod_sequence: 20050715194045000, known_uids: Some(41,43:211,214:541), known_pairs: None })] })"#),
    ("A03 SELECT INBOX (QRESYNC (67890007 90060115194045000 41:211,214:541 (1:3 41:43)) CONDSTORE)", r#"Select(SelectCommand { mailbox: "INBOX", parameters: [QResync(QResync { uid_validity: 67890007, mod_sequence: 90060115194045000, known_uids: Some(41:211,214:541), known_pairs: Some((1:3, 41:43)) }), CondStore] })"#),
    ("A04 EXAMINE blurdybloop (QRESYNC (1 2 (1 1)))", r#"Examine(SelectCommand { mailbox: "blurdybloop", parameters: [QResync(QResync { uid_validity: 1, mod_sequence: 2, known_uids: None, known_pairs: Some((1, 1)) })] })"#),
    ("A932 EXAMINE {11}\r\nblurdybloop", r#"Examine(SelectCommand { mailbox: "blurdybloop", parameters: [] })"#),
    ("A003 CREATE owatagusiam/", r#"Create(CreateCommand { mailbox: "owatagusiam/", special_use: [] })"#),
    (r"A001 CREATE MyDrafts (USE (\Drafts \Sent))", r#"Create(CreateCommand { mailbox: "MyDrafts", special_use: [\Drafts, \Sent] })"#),
    ("A683 DELETE blurdybloop", r#"Delete("blurdybloop")"#),
    ("Z434 RENAME INBOX old-mail", r#"Rename(RenameCommand { from: "INBOX", to: "old-mail" })"#),
    ("A683 RENAME blurdybloop {9+}\r\nsarasoop!", r#"Rename(RenameCommand { from: "blurdybloop", to: "sarasoop!" })"#),
    ("A002 SUBSCRIBE #news.comp.mail.mime", r##"Subscribe("#news.comp.mail.mime")"##),
    (r##"A002 UNSUBSCRIBE "#news.comp.mail.mime""##, r##"Unsubscribe("#news.comp.mail.mime")"##),
    (r#"A101 LIST "" """#, r#"List(ListCommand { selection: [], reference: "", patterns: [""], returns: [] })"#),
    (r#"A102 LIST #news.comp.mail.misc """#, r##"List(ListCommand { selection: [], reference: "#news.comp.mail.misc", patterns: [""], returns: [] })"##),
    (r#"A103 LIST /usr/staff/jones """#, r#"List(ListCommand { selection: [], reference: "/usr/staff/jones", patterns: [""], returns: [] })"#),
    ("A202 LIST ~/Mail/ %", r#"List(ListCommand { selection: [], reference: "~/Mail/", patterns: ["%"], returns: [] })"#),
    (r#"A04 LIST (SUBSCRIBED) "" "*""#, r#"List(ListCommand { selection: [Subscribed], reference: "", patterns: ["*"], returns: [] })"#),
    (r#"A05 LIST (REMOTE RECURSIVEMATCH SUBSCRIBED) "" "*" RETURN (CHILDREN)"#, r#"List(ListCommand { selection: [Remote, RecursiveMatch, Subscribed], reference: "", patterns: ["*"], returns: [Children] })"#),
    (r#"BBB LIST "" ("INBOX" "Drafts" "Sent/%")"#, r#"List(ListCommand { selection: [], reference: "", patterns: ["INBOX", "Drafts", "Sent/%"], returns: [] })"#),
    (r#"A10 LIST () "" (%) RETURN (STATUS (MESSAGES UNSEEN) SPECIAL-USE SUBSCRIBED MYRIGHTS)"#, r#"List(ListCommand { selection: [], reference: "", patterns: ["%"], returns: [Status([Messages, Unseen]), SpecialUse, Subscribed, MyRights] })"#),
    ("A LIST \"\" {3}\r\na*b RETURN ()", r#"List(ListCommand { selection: [], reference: "", patterns: ["a*b"], returns: [] })"#),
    (r##"A002 LSUB "#news." "comp.mail.*""##, r##"Lsub(LsubCommand { reference: "#news.", pattern: "comp.mail.*" })"##),
    ("A001 NAMESPACE", "Namespace"),
    ("A042 STATUS blurdybloop (UIDNEXT MESSAGES)", r#"Status(StatusCommand { mailbox: "blurdybloop", attributes: [UidNext, Messages] })"#),
    (r#"A1 STATUS "inbox" (messages recent uidnext uidvalidity unseen deleted size highestmodseq appendlimit deleted-storage mailboxid)"#, r#"Status(StatusCommand { mailbox: "inbox", attributes: [Messages, Recent, UidNext, UidValidity, Unseen, Deleted, Size, HighestModSeq, AppendLimit, DeletedStorage, MailboxId] })"#),
    ("A002 IDLE", "Idle"),
    ("A341 CLOSE", "Close"),
    ("A342 UNSELECT", "Unselect"),
    ("A343 UNAUTHENTICATE", "Unauthenticate"),
    ("FXXZ CHECK", "Check"),
    ("A202 EXPUNGE", "Expunge"),
    ("A003 UID EXPUNGE 3000:3002", "UidExpunge(3000:3002)"),
    (r#"A282 SEARCH RETURN (MIN COUNT) FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith""#, r#"Search(SearchCommand { returns: Some([Min, Count]), charset: None, keys: [Flagged, Since(Date { year: 1994, month: 2, day: 1 }), Not(Some(From("Smith")))] })"#),
    (r#"A283 SEARCH RETURN () FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith""#, r#"Search(SearchCommand { returns: Some([]), charset: None, keys: [Flagged, Since(Date { year: 1994, month: 2, day: 1 }), Not(Some(From("Smith")))] })"#),
    (r#"A284 SEARCH TEXT "string not in mailbox""#, r#"Search(SearchCommand { returns: None, charset: None, keys: [Text("string not in mailbox")] })"#),
    ("A285 SEARCH CHARSET UTF-8 TEXT {12}\r\nсобака", r#"Search(SearchCommand { returns: None, charset: Some("UTF-8"), keys: [Text("собака")] })"#),
    ("E101 UID SEARCH RETURN (SAVE PARTIAL -1:-100) $ SMALLER 4196 (OR SEEN (UNDELETED 2:*)) UID 1,3", "UidSearch(SearchCommand { returns: Some([Save, Partial(FromLast(NumberRange { first: 1, last: 100 }))]), charset: None, keys: [Sequence($), Smaller(4196), And([Or(Some(Seen), Some(And([Undeleted, Sequence(2:*)])))]), Uid(1,3)] })"),
    ("P283 SEARCH RETURN (SAVE) CHARSET KOI8-R (OR $ 1,3000:3021) TEXT {8}\r\nabcdefgh", r#"Search(SearchCommand { returns: Some([Save]), charset: Some("KOI8-R"), keys: [And([Or(Some(Sequence($)), Some(Sequence(1,3000:3021)))]), Text("abcdefgh")] })"#),
    (r#"A1 SEARCH BEFORE "1-Feb-1994" ON 02-Mar-2024 SENTBEFORE 3-Apr-2024 SENTON 4-May-2024 SENTSINCE 5-Jun-2024"#, "Search(SearchCommand { returns: None, charset: None, keys: [Before(Date { year: 1994, month: 2, day: 1 }), On(Date { year: 2024, month: 3, day: 2 }), SentBefore(Date { year: 2024, month: 4, day: 3 }), SentOn(Date { year: 2024, month: 5, day: 4 }), SentSince(Date { year: 2024, month: 6, day: 5 })] })"),
    ("A1 SEARCH ALL ANSWERED DELETED DRAFT FLAGGED NEW OLD RECENT SEEN UNANSWERED UNDELETED UNDRAFT UNFLAGGED UNSEEN", "Search(SearchCommand { returns: None, charset: None, keys: [All, Answered, Deleted, Draft, Flagged, New, Old, Recent, Seen, Unanswered, Undeleted, Undraft, Unflagged, Unseen] })"),
    (r#"A1 SEARCH BCC a CC b TO c BODY d SUBJECT e HEADER Message-ID "" KEYWORD $Junk UNKEYWORD x LARGER 0 OLDER 1 YOUNGER 2"#, r#"Search(SearchCommand { returns: None, charset: None, keys: [Bcc("a"), Cc("b"), To("c"), Body("d"), Subject("e"), Header { name: "Message-ID", text: "" }, Keyword($Junk), Unkeyword(x), Larger(0), Older(1), Younger(2)] })"#),
    (r#"a SEARCH MODSEQ "/flags/\\draft" all 620162338 MODSEQ 0"#, r#"Search(SearchCommand { returns: None, charset: None, keys: [ModSeq { entry: Some(ModSeqEntry { name: "/flags/\\draft", kind: All }), mod_sequence: 620162338 }, ModSeq { entry: None, mod_sequence: 0 }] })"#),
    ("a SEARCH EMAILID M6d99ac3275bb4e THREADID T64b478a75b7ea9 SAVEDATESUPPORTED SAVEDSINCE 1-Jan-2020 FUZZY SUBJECT x", r#"Search(SearchCommand { returns: None, charset: None, keys: [EmailId("M6d99ac3275bb4e"), ThreadId("T64b478a75b7ea9"), SaveDateSupported, SavedSince(Date { year: 2020, month: 1, day: 1 }), Fuzzy(Some(Subject("x")))] })"#),
    (r#"a SEARCH X-GM-RAW "has:attachment" X-GM-MSGID 1278455344230334865 X-GM-THRID 1"#, r#"Search(SearchCommand { returns: None, charset: None, keys: [GmailRaw("has:attachment"), GmailMessageId(1278455344230334865), GmailThreadId(1)] })"#),
    (r#"a FETCH 1 (ANNOTATION (/* (value.priv size.priv)) UID)"#, r#"Fetch(FetchCommand { messages: 1, attributes: [Annotation { entries: [AnnotationPattern("/*")], attributes: ["value.priv", "size.priv"] }, Uid], modifiers: [] })"#),
    (r#"a FETCH 1 ANNOTATION ((/comment "/1/x y") value)"#, r#"Fetch(FetchCommand { messages: 1, attributes: [Annotation { entries: [AnnotationPattern("/comment"), AnnotationPattern("/1/x y")], attributes: ["value"] }], modifiers: [] })"#),
    (r#"a SEARCH X-GM-LABELS "\\Important""#, r#"Search(SearchCommand { returns: None, charset: None, keys: [GmailLabel("\\Important")] })"#),
    ("a SEARCH FILTER on-the-road FUZZY FROM x", r#"Search(SearchCommand { returns: None, charset: None, keys: [Filter("on-the-road"), Fuzzy(Some(From("x")))] })"#),
    ("A282 SORT (SUBJECT) UTF-8 SINCE 1-Feb-1994", r#"Sort(SortCommand { returns: None, criteria: [SortCriterion { key: Subject, direction: Ascending }], charset: "UTF-8", keys: [Since(Date { year: 1994, month: 2, day: 1 })] })"#),
    ("A283 sort (subject reverse date) us-ascii all", r#"Sort(SortCommand { returns: None, criteria: [SortCriterion { key: Subject, direction: Ascending }, SortCriterion { key: Date, direction: Reverse }], charset: "us-ascii", keys: [All] })"#),
    (r#"A284 SORT (REVERSE DISPLAYFROM DISPLAYTO ARRIVAL CC FROM SIZE TO RELEVANCY) "US-ASCII" TEXT "not in mailbox""#, r#"Sort(SortCommand { returns: None, criteria: [SortCriterion { key: DisplayFrom, direction: Reverse }, SortCriterion { key: DisplayTo, direction: Ascending }, SortCriterion { key: Arrival, direction: Ascending }, SortCriterion { key: Cc, direction: Ascending }, SortCriterion { key: From, direction: Ascending }, SortCriterion { key: Size, direction: Ascending }, SortCriterion { key: To, direction: Ascending }, SortCriterion { key: Relevancy, direction: Ascending }], charset: "US-ASCII", keys: [Text("not in mailbox")] })"#),
    ("E01 UID SORT RETURN (UPDATE COUNT PARTIAL 1:500) (REVERSE DATE) UTF-8 UNDELETED UNKEYWORD $Junk", r#"UidSort(SortCommand { returns: Some([Update, Count, Partial(FromFirst(NumberRange { first: 1, last: 500 }))]), criteria: [SortCriterion { key: Date, direction: Reverse }], charset: "UTF-8", keys: [Undeleted, Unkeyword($Junk)] })"#),
    ("A283 THREAD ORDEREDSUBJECT UTF-8 SINCE 5-MAR-2000", r#"Thread(ThreadCommand { algorithm: OrderedSubject, charset: "UTF-8", keys: [Since(Date { year: 2000, month: 3, day: 5 })] })"#),
    ("A284 UID thread references US-ASCII TEXT {4}\r\ngewp UID 1:*", r#"UidThread(ThreadCommand { algorithm: References, charset: "US-ASCII", keys: [Text("gewp"), Uid(1:*)] })"#),
    ("A143 UIDBATCHES 2000", "UidBatches(UidBatchesCommand { size: 2000, batches: None })"),
    ("A302 uidbatches 500 10:20", "UidBatches(UidBatchesCommand { size: 500, batches: Some(NumberRange { first: 10, last: 20 }) })"),
    ("A THREAD REFS UTF-8 ALL", r#"Thread(ThreadCommand { algorithm: Refs, charset: "UTF-8", keys: [All] })"#),
    ("A THREAD X-NEW UTF-8 ALL", r#"Thread(ThreadCommand { algorithm: Other("X-NEW"), charset: "UTF-8", keys: [All] })"#),
    (r#"B04 CANCELUPDATE "B01" "B02""#, r#"CancelUpdate(CancelUpdateCommand { tags: ["B01", "B02"] })"#),
    (r#"tag1 ESEARCH IN (mailboxes "folder1" subtree "folder2") unseen"#, r#"Esearch(MultiSearchCommand { sources: [Mailboxes(["folder1"]), Subtree(["folder2"])], scope_options: [], search: SearchCommand { returns: None, charset: None, keys: [Unseen] } })"#),
    (r#"tag2 ESEARCH IN (SELECTED inboxes personal subscribed subtree-one ("a b" c) (X-DEPTH 3)) RETURN (MIN) CHARSET UTF-8 subject "chad""#, r#"Esearch(MultiSearchCommand { sources: [Selected, Inboxes, Personal, Subscribed, SubtreeOne(["a b", "c"])], scope_options: [88, 45, 68, 69, 80, 84, 72, 32, 51], search: SearchCommand { returns: Some([Min]), charset: Some("UTF-8"), keys: [Subject("chad")] } })"#),
    ("tag3 ESEARCH RETURN (SAVE) ALL", "Esearch(MultiSearchCommand { sources: [], scope_options: [], search: SearchCommand { returns: Some([Save]), charset: None, keys: [All] } })"),
    ("A654 FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])", "Fetch(FetchCommand { messages: 2:4, attributes: [Flags, Section { section: BODY[HEADER.FIELDS (DATE FROM)], partial: None, peek: No }], modifiers: [] })"),
    ("A1 FETCH 1 ALL", "Fetch(FetchCommand { messages: 1, attributes: [Flags, InternalDate, Size, Envelope], modifiers: [] })"),
    ("A1 FETCH 1 fast", "Fetch(FetchCommand { messages: 1, attributes: [Flags, InternalDate, Size], modifiers: [] })"),
    ("A1 FETCH 1 FULL", "Fetch(FetchCommand { messages: 1, attributes: [Flags, InternalDate, Size, Envelope, Body], modifiers: [] })"),
    ("A1 FETCH * BODY", "Fetch(FetchCommand { messages: *, attributes: [Body], modifiers: [] })"),
    ("A1 FETCH 1:* (UID ENVELOPE BODYSTRUCTURE INTERNALDATE RFC822.SIZE MODSEQ EMAILID THREADID PREVIEW PREVIEW (LAZY) SAVEDATE)", "Fetch(FetchCommand { messages: 1:*, attributes: [Uid, Envelope, BodyStructure, InternalDate, Size, ModSeq, EmailId, ThreadId, Preview, PreviewLazy, SaveDate], modifiers: [] })"),
    (r#"A1 UID FETCH 1 (BODY.PEEK[] BODY[]<0.2048> BODY.PEEK[1.2.MIME] BODY[TEXT] BODY[4.1.HEADER.FIELDS.NOT (a "b c")]<5.1>)"#, r#"UidFetch(FetchCommand { messages: 1, attributes: [Section { section: BODY[], partial: None, peek: Yes }, Section { section: BODY[], partial: Some(Partial { offset: 0, length: 2048 }), peek: No }, Section { section: BODY[1.2.MIME], partial: None, peek: Yes }, Section { section: BODY[TEXT], partial: None, peek: No }, Section { section: BODY[4.1.HEADER.FIELDS.NOT (a "b c")], partial: Some(Partial { offset: 5, length: 1 }), peek: No }], modifiers: [] })"#),
    ("A1 FETCH 1 (BINARY[1.2] BINARY.PEEK[1]<0.100> BINARY.SIZE[2] RFC822 RFC822.HEADER RFC822.TEXT)", "Fetch(FetchCommand { messages: 1, attributes: [Section { section: BINARY[1.2], partial: None, peek: No }, Section { section: BINARY[1], partial: Some(Partial { offset: 0, length: 100 }), peek: Yes }, BinarySize(BINARY[2]), Section { section: RFC822, partial: None, peek: No }, Section { section: RFC822.HEADER, partial: None, peek: No }, Section { section: RFC822.TEXT, partial: None, peek: No }], modifiers: [] })"),
    ("A1 FETCH 1 RFC822.SIZE (CHANGEDSINCE 12345)", "Fetch(FetchCommand { messages: 1, attributes: [Size], modifiers: [ChangedSince(12345)] })"),
    ("s100 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 12345 VANISHED)", "UidFetch(FetchCommand { messages: 1:*, attributes: [Flags], modifiers: [ChangedSince(12345), Vanished] })"),
    ("10 UID FETCH 25900:26600 (UID FLAGS) (PARTIAL -1:-30 CHANGEDSINCE 98305)", "UidFetch(FetchCommand { messages: 25900:26600, attributes: [Uid, Flags], modifiers: [Partial(FromLast(NumberRange { first: 1, last: 30 })), ChangedSince(98305)] })"),
    (r"A003 STORE 2:4 +FLAGS (\Deleted)", r"Store(StoreCommand { messages: 2:4, unchanged_since: None, action: Add, answer: Flags, flags: [\Deleted] })"),
    (r"A003 STORE 1 -FLAGS.SILENT \Deleted $Junk", r"Store(StoreCommand { messages: 1, unchanged_since: None, action: Remove, answer: Silent, flags: [\Deleted, $Junk] })"),
    ("a103 UID STORE 6,4,8 (UNCHANGEDSINCE 12121230045) +FLAGS.SILENT ()", "UidStore(StoreCommand { messages: 6,4,8, unchanged_since: Some(12121230045), action: Add, answer: Silent, flags: [] })"),
    (r"a STORE 1 flags \X-Odd", r"Store(StoreCommand { messages: 1, unchanged_since: None, action: Replace, answer: Flags, flags: [\X-Odd] })"),
    ("A003 COPY 2:4 MEETING", r#"Copy(CopyCommand { messages: 2:4, mailbox: "MEETING" })"#),
    (r#"a UID COPY 42:69 "foo""#, r#"UidCopy(CopyCommand { messages: 42:69, mailbox: "foo" })"#),
    ("a UID MOVE $ foo", r#"UidMove(CopyCommand { messages: $, mailbox: "foo" })"#),
    ("a MOVE 1 foo", r#"Move(CopyCommand { messages: 1, mailbox: "foo" })"#),
    ("x X-QUOTAROOT INBOX {3}\r\na b", "Raw(X-QUOTAROOT and 15 bytes)"),
    ("x X-FOO", "Raw(X-FOO and 0 bytes)"),
    ("a FETCH 1 (BODY[HEADER.FIELDS ({4}\r\nFrom \"X-\\\"q\\\"\")] UID)", "Fetch(FetchCommand { messages: 1, attributes: [Section { section: BODY[HEADER.FIELDS ({4}\r\nFrom \"X-\\\"q\\\"\")], partial: None, peek: No }, Uid], modifiers: [] })"),
    (r#"a SEARCH NOT NOT (SEEN) OR FROM "a\"b" OR 1 2"#, r#"Search(SearchCommand { returns: None, charset: None, keys: [Not(Some(Not(Some(And([Seen]))))), Or(Some(From("a\"b")), Some(Or(Some(Sequence(1)), Some(Sequence(2)))))] })"#),
    ("a UID FETCH 1:3,5,9:* BODY.PEEK[2]<10.20>", "UidFetch(FetchCommand { messages: 1:3,5,9:*, attributes: [Section { section: BODY[2], partial: Some(Partial { offset: 10, length: 20 }), peek: Yes }], modifiers: [] })"),
];

/// Invalid commands without their line end, each with the offset of the error and the expected element.
#[rustfmt::skip]
const NO_COMMANDS: &[(&str, usize, &str)] = &[
    ("A", 1, "a space after the tag"),
    ("A ", 2, "a command name"),
    (" NOOP", 0, "a tag"),
    ("(A NOOP", 0, "a tag"),
    ("A+ NOOP", 1, "a space after the tag"),
    ("A  NOOP", 2, "a command name"),
    ("A NOOP ", 6, "the end of the line"),
    ("A NOOP x", 6, "the end of the line"),
    ("A (", 2, "a command name"),
    ("A UID", 5, "a space and a command name after UID"),
    ("A UID ", 5, "a space and a command name after UID"),
    ("A UID NOOP", 6, "a command that can follow UID"),
    ("A UID  FETCH 1 FLAGS", 5, "a space and a command name after UID"),
    ("A SELECT", 8, "a space and arguments"),
    ("A SELECT  INBOX", 9, "a mailbox name"),
    ("A SELECT IN BOX", 11, "the end of the line"),
    (r#"A SELECT "INBOX"#, 9, "a mailbox name"),
    ("A SELECT {5}INBOX", 12, "a line end after the size of the literal"),
    ("A SELECT {9}\r\nINBOX", 9, "a mailbox name"),
    ("A SELECT INBOX ()", 16, "at least one element in the parentheses"),
    ("A SELECT INBOX (CONDSTORE", 25, "a space"),
    ("A SELECT INBOX (X-NEW)", 16, "CONDSTORE, QRESYNC or ANNOTATE"),
    ("A SELECT INBOX (QRESYNC (0 1))", 25, "a non-zero number"),
    ("A SELECT INBOX (QRESYNC (1 0))", 27, "a non-zero number"),
    ("A SELECT INBOX (QRESYNC (1 1 *))", 28, "a closing parenthesis"),
    ("A SELECT INBOX (QRESYNC (1 1 $))", 28, "a closing parenthesis"),
    ("A SELECT INBOX (QRESYNC (1 9223372036854775808))", 27, "a smaller number"),
    ("A CREATE a (USE (Sent))", 17, "an attribute, which begins with a backslash"),
    ("A CREATE a (FOO)", 12, "USE"),
    ("A RENAME a", 10, "a space"),
    (r#"A LIST "" "#, 10, "a mailbox name"),
    (r#"A LIST "" ()"#, 11, "at least one element in the parentheses"),
    (r#"A LIST (RECURSIVEMATCH) "" *"#, 7, "RECURSIVEMATCH together with SUBSCRIBED or SPECIAL-USE"),
    (r#"A LIST (RECURSIVEMATCH REMOTE) "" *"#, 7, "RECURSIVEMATCH together with SUBSCRIBED or SPECIAL-USE"),
    (r#"A LIST (X-NEW) "" *"#, 8, "a selection option of LIST"),
    (r#"A LIST "" * RETURN"#, 18, "a space"),
    (r#"A LIST "" * RETURN (X-NEW)"#, 20, "a return option of LIST"),
    (r#"A LIST "" * RETURN (STATUS ())"#, 28, "at least one element in the parentheses"),
    (r#"A LIST "" * FOO (CHILDREN)"#, 12, "RETURN or the end of the line"),
    ("A STATUS INBOX ()", 16, "at least one element in the parentheses"),
    ("A STATUS INBOX (X-NEW)", 16, "an attribute of STATUS"),
    ("A STATUS INBOX MESSAGES", 15, "an opening parenthesis"),
    ("A ENABLE", 8, "a space and arguments"),
    ("A ENABLE (X)", 9, "an atom"),
    ("A ID", 4, "a space and arguments"),
    (r#"A ID ("a")"#, 9, "a space"),
    ("A ID (a b)", 6, "a string"),
    ("A UID EXPUNGE", 13, "a space and arguments"),
    ("A UID EXPUNGE 0", 14, "a sequence number"),
    ("A UID EXPUNGE 4294967296", 14, "a number below 4294967296"),
    ("A FETCH 1", 9, "a space"),
    ("A FETCH 1 ()", 11, "at least one element in the parentheses"),
    ("A FETCH 1 (ALL)", 11, "an attribute of FETCH"),
    ("A FETCH 1 ALL FLAGS", 13, "the end of the line"),
    ("A FETCH 1 (FLAGS", 16, "a space"),
    ("A FETCH 1 (FLAGS UID))", 21, "the end of the line"),
    ("A FETCH 1 FOO", 10, "an attribute of FETCH"),
    ("A FETCH 1 BODY[", 15, "HEADER, TEXT, MIME or a part number"),
    ("A FETCH 1 BODY[MIME]", 15, "a section"),
    ("A FETCH 1 BODY[1.]", 15, "a section"),
    ("A FETCH 1 BODY[0]", 15, "HEADER, TEXT, MIME or a part number"),
    ("A FETCH 1 BODY[HEADER.FIELDS ()]", 30, "a string"),
    ("A FETCH 1 BODY[TEXT.1]", 15, "HEADER, TEXT, MIME or a part number"),
    ("A FETCH 1 BODY[]<0>", 18, "a dot and the length of the piece"),
    ("A FETCH 1 BODY[]<0.0>", 19, "a length above 0"),
    ("A FETCH 1 BODY[]<-1.5>", 17, "a number"),
    ("A FETCH 1 BODY[]<0.9223372036854775808>", 19, "a smaller number"),
    ("A FETCH 1 BINARY[TEXT]", 17, "a closing bracket"),
    ("A FETCH 1 BODY.PEEK", 19, "a section"),
    ("A FETCH 1:2: FLAGS", 11, "a space"),
    ("A FETCH 1;2 FLAGS", 9, "a space"),
    ("A FETCH 1 (FLAGS) (CHANGEDSINCE 0)", 32, "a non-zero number"),
    ("A FETCH 1 (FLAGS) (CHANGEDSINCE 5 VANISHED)", 18, "VANISHED in a UID FETCH with CHANGEDSINCE only"),
    ("A UID FETCH 1 (FLAGS) (VANISHED)", 22, "VANISHED in a UID FETCH with CHANGEDSINCE only"),
    ("A UID FETCH 1 (FLAGS) ()", 23, "at least one element in the parentheses"),
    ("A STORE 1 FLAGS", 15, "a space"),
    (r"A STORE 1 FLAGS (\Recent)", 16, "flags without \\Recent, which only a server sets"),
    (r"A STORE 1 +FLAGS \Recent", 17, "a flag other than \\Recent, which only a server sets"),
    (r"A STORE 1 +FLAGS (\*)", 17, "a flag"),
    ("A STORE 1 FLAGS.LOUD ()", 10, "FLAGS, +FLAGS or -FLAGS"),
    ("A STORE 1 (UNCHANGEDSINCE) FLAGS ()", 25, "a space"),
    (r#"A STORE 1 FLAGS (a"b)"#, 17, "a flag"),
    ("A COPY 1", 8, "a space"),
    ("A COPY INBOX 1", 7, "a sequence number"),
    ("A SEARCH", 8, "a space and arguments"),
    ("A SEARCH ", 9, "a search key"),
    ("A SEARCH FOO", 9, "a search key"),
    ("A SEARCH SUBJECT", 16, "a space"),
    ("A SEARCH HEADER Subject fileinto test", 33, "a search key"),
    ("A SEARCH ()", 10, "a search key"),
    ("A SEARCH (SEEN", 14, "a closing parenthesis"),
    ("A SEARCH SEEN)", 13, "the end of the line"),
    ("A SEARCH OR SEEN", 16, "a space"),
    ("A SEARCH NOT", 12, "a space"),
    ("A SEARCH ON 30-Feb-2024", 12, "a date"),
    ("A SEARCH ON 1-1-2024", 12, "a date"),
    ("A SEARCH LARGER 9223372036854775808", 16, "a smaller number"),
    ("A SEARCH OLDER 0", 15, "a non-zero number"),
    (r"A SEARCH KEYWORD \Seen", 17, "an atom"),
    ("A SEARCH CHARSET UTF-8", 22, "a space"),
    ("A SEARCH RETURN (FOO) ALL", 17, "a return option of SEARCH"),
    ("A SEARCH RETURN MIN ALL", 16, "an opening parenthesis"),
    ("A SEARCH RETURN (PARTIAL -1:5) ALL", 28, "a minus sign"),
    (r#"A SEARCH MODSEQ "x" foo 1"#, 20, "priv, shared or all"),
    ("A SEARCH FILTER a/b", 16, "the name of a filter"),
    ("A SORT DATE UTF-8 ALL", 7, "an opening parenthesis"),
    ("A SORT () UTF-8 ALL", 8, "at least one element in the parentheses"),
    ("A SORT (REVERSE) UTF-8 ALL", 15, "a space"),
    ("A SORT (REVERSE REVERSE DATE) UTF-8 ALL", 16, "a sort key"),
    ("A SORT (FOO) UTF-8 ALL", 8, "a sort key"),
    ("A SORT (DATE) UTF-8", 19, "a space"),
    ("A SORT RETURN (FOO) (DATE) UTF-8 ALL", 15, "a return option of SEARCH"),
    ("A THREAD", 8, "a space and arguments"),
    (r#"A THREAD "REFS" UTF-8 ALL"#, 9, "a threading algorithm"),
    ("A THREAD REFS ALL", 17, "a space"),
    ("A CANCELUPDATE x", 15, "a quoted string"),
    (r#"A CANCELUPDATE "x" y"#, 19, "a quoted string"),
    ("A UID ESEARCH ALL", 6, "a command that can follow UID"),
    ("A ESEARCH IN () ALL", 14, "a set of mailboxes"),
    ("A ESEARCH IN (selected-delayed) ALL", 14, "a set of mailboxes"),
    ("A ESEARCH IN (subtree) ALL", 21, "a space"),
    ("A ESEARCH IN (mailboxes ()) ALL", 25, "at least one element in the parentheses"),
    ("A ESEARCH IN (mailboxes x) RETURN (SAVE) ALL", 10, "no mailbox but the selected one with SAVE"),
    ("A LOGIN a b", 2, "a command that a machine does not handle itself"),
    ("A STARTTLS", 2, "a command that a machine does not handle itself"),
    ("A APPEND INBOX {3}\r\nabc", 2, "a command that a machine does not handle itself"),
];

fn frame(line: &str) -> Vec<u8> {
    format!("{line}\r\n").into_bytes()
}

#[test]
fn parses_each_command() {
    for (line, expected) in COMMANDS {
        let frame = frame(line);
        let (tag, command) =
            parse::command(&frame, &Context::strict()).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(format!("{command:?}"), *expected, "{line}");
        let (same_tag, name, _) = parse::command_name(&frame).unwrap();
        assert_eq!((same_tag, name), (tag, command.name()), "{line}");
        let cx = Context::tolerant();
        assert_eq!(parse::command(&frame, &cx).unwrap(), (tag, command), "{line}: tolerantly");
        assert_eq!(cx.repairs.total(), 0, "{line}");
    }
}

#[test]
fn reports_offset_and_expectation_of_invalid_commands() {
    for (line, at, why) in NO_COMMANDS {
        let frame = frame(line);
        let error = parse::command(&frame, &Context::strict()).unwrap_err();
        assert_eq!((error.offset, error.expected), (*at, *why), "{line}");
        let tag = frame.starts_with(b"A ").then_some(&b"A"[..]);
        assert_eq!(error.tag.map(|tag| tag.as_bytes()), tag, "{line}");
    }
}

/// Invalid commands that clients are known to send, each with its valid form.
const SLOPPY: &[(&str, &str)] = &[
    ("A NOOP ", "A NOOP"),
    ("A SELECT  INBOX ", "A SELECT INBOX"),
    ("A FETCH 1 ( FLAGS UID )", "A FETCH 1 (FLAGS UID)"),
    ("A UID FETCH 1:*  (FLAGS) ", "A UID FETCH 1:* (FLAGS)"),
    ("A SEARCH SEEN ", "A SEARCH SEEN"),
    ("A SEARCH ( SEEN ) ", "A SEARCH (SEEN)"),
    ("A LIST \"\"  * ", "A LIST \"\" *"),
    ("A STATUS INBOX (MESSAGES )", "A STATUS INBOX (MESSAGES)"),
    ("A STORE 1 +FLAGS \\Seen ", "A STORE 1 +FLAGS \\Seen"),
    ("A STORE 1 +FLAGS ( \\Seen )", "A STORE 1 +FLAGS (\\Seen)"),
    ("A ENABLE CONDSTORE ", "A ENABLE CONDSTORE"),
    ("A SELECT Entw%rfe", "A SELECT \"Entw%rfe\""),
    ("A SELECT Entwürfe", "A SELECT \"Entwürfe\""),
];

#[test]
fn parses_sloppy_commands_only_tolerantly() {
    for (sloppy, right) in SLOPPY {
        let (sloppy, right) = (frame(sloppy), frame(right));
        assert!(parse::command(&sloppy, &Context::strict()).is_err(), "{sloppy:?}");
        let cx = Context::tolerant();
        let read = parse::command(&sloppy, &cx).unwrap_or_else(|error| panic!("{sloppy:?}: {error}"));
        assert_eq!(read, parse::command(&right, &Context::strict()).unwrap());
        assert!(cx.repairs.total() > 0, "{sloppy:?}");
    }
}

/// `a1 SEARCH HEADER Subject fileinto test`: an unquoted argument with a space. The reply names the wrong word.
#[test]
fn bad_replies_name_the_unexpected_word() {
    let error =
        parse::command(b"a1 SEARCH HEADER Subject fileinto test\r\n", &Context::strict()).unwrap_err();
    assert_eq!(error.to_string(), "Expected a search key at byte 34, found test");
}

#[test]
fn a_frame_ends_with_its_line() {
    for bad in
        [&b"A NOOP"[..], b"A NOOP\n", b"A NOOP\r", b"A NOOP\r\n\r\n", b"A NOOP\r\nB NOOP\r\n", b"", b"\r\n"]
    {
        assert!(parse::command(bad, &Context::strict()).is_err(), "{bad:?}");
    }
    let cx = Context::tolerant();
    assert!(parse::command(b"A NOOP \n", &cx).is_ok());
    assert_eq!(cx.repairs.total(), 2);
    assert!(parse::command(b"A NOOP\r\nB NOOP\r\n", &cx).is_err());
}

#[test]
fn rejects_hidden_line_ends_and_nul() {
    for bad in [
        &b"A SELECT \"a\rb\"\r\n"[..],
        b"A SELECT \"a\nb\"\r\n",
        b"A SELECT \"a\0b\"\r\n",
        b"A SELECT {1}\r\n\0\r\n",
        b"A SELECT a\0\r\n",
        b"A SELECT \"\xff\"\r\n",
        b"A SELECT \xc3\xa9\r\n",
        b"A X-FOO\0\r\n",
    ] {
        assert!(parse::command(bad, &Context::strict()).is_err(), "{bad:?}");
    }
    for good in [&b"A SELECT {4}\r\na\r\nb\r\n"[..], b"A SELECT \"caf\xc3\xa9\"\r\n"] {
        assert!(parse::command(good, &Context::strict()).is_ok(), "{good:?}");
    }
}

#[test]
fn search_keys_nest_32_deep() {
    let search = |before: &str, depth: usize, open: &str, close: &str| {
        frame(&format!("A {before} {}SEEN{}", open.repeat(depth), close.repeat(depth)))
    };
    for before in ["SEARCH", "SORT (DATE) UTF-8", "THREAD REFS UTF-8", "ESEARCH IN (personal)"] {
        for (open, close) in [("(", ")"), ("NOT ", ""), ("OR SEEN ", ""), ("FUZZY ", "")] {
            assert!(parse::command(&search(before, 32, open, close), &Context::strict()).is_ok(), "{open}");
            for depth in [33, 1_000, 100_000] {
                let frame = search(before, depth, open, close);
                let error = parse::command(&frame, &Context::strict()).unwrap_err();
                assert_eq!(error.expected, "fewer nested search keys", "{open}");
            }
        }
    }
}

fn login(line: &str) -> Option<(String, Vec<u8>)> {
    match parse::authentication(line.as_bytes(), &Context::strict()) {
        Ok((_, Authentication::Login(Credentials::Password { authorization, username, password }))) => {
            assert_eq!(authorization, "");
            Some((username, password.expose().clone()))
        }
        Ok(_) => None,
        Err(error) => {
            for shown in [format!("{error}"), format!("{error:?}")] {
                assert!(!shown.contains("alice") && !shown.contains("wonder"), "{shown}");
            }
            None
        }
    }
}

#[test]
fn parses_login_and_hides_its_arguments() {
    let alice = |password: &[u8]| Some((String::from("alice"), password.to_vec()));
    assert_eq!(login("a001 LOGIN alice wonder\r\n"), alice(b"wonder"));
    assert_eq!(login("a001 login \"alice\" \"won\\\"der\\\\\"\r\n"), alice(b"won\"der\\"));
    assert_eq!(login("a001 LOGIN {5}\r\nalice {8+}\r\nwon\r\nder\r\n"), alice(b"won\r\nder"));
    assert_eq!(login("a001 LOGIN {5}\r\nalice \"\"\r\n"), alice(b""));
    for bad in [
        "a LOGIN alice\r\n",
        "a LOGIN alice wonder land\r\n",
        "a LOGIN alice won(der\r\n",
        "a LOGIN alice  wonder\r\n",
        "a LOGIN alice \"wonder\r\n",
        "a LOGIN alice {9}\r\nwonder\r\n",
        "a LOGIN\r\n",
        "a NOOP alice wonder\r\n",
    ] {
        assert_eq!(login(bad), None, "{bad:?}");
    }
    assert!(parse::authentication(b"a LOGIN \"\xff\" x\r\n", &Context::strict()).is_err());
    let shown = format!("{:?}", parse::authentication(b"a LOGIN alice wonder\r\n", &Context::strict()));
    assert!(!shown.contains("alice") && !shown.contains("wonder"), "{shown}");
}

#[test]
fn parses_authenticate_with_and_without_initial_response() {
    let read = |line: &str| match parse::authentication(line.as_bytes(), &Context::strict()) {
        Ok((_, Authentication::Authenticate { mechanism, initial })) => Some((
            String::from_utf8_lossy(mechanism).into_owned(),
            initial.map(|initial| initial.expose().clone()),
        )),
        _ => None,
    };
    assert_eq!(read("a AUTHENTICATE GSSAPI\r\n"), Some(("GSSAPI".into(), None)));
    assert_eq!(
        read("a authenticate PLAIN AHRlc3QAdGVzdA==\r\n"),
        Some(("PLAIN".into(), Some(b"\0test\0test".to_vec())))
    );
    assert_eq!(read("a AUTHENTICATE EXTERNAL =\r\n"), Some(("EXTERNAL".into(), Some(Vec::new()))));
    for bad in [
        "a AUTHENTICATE\r\n",
        "a AUTHENTICATE PLAIN \r\n",
        "a AUTHENTICATE PLAIN AHR\r\n",
        "a AUTHENTICATE PLAIN AA== x\r\n",
    ] {
        assert_eq!(read(bad), None, "{bad:?}");
    }
}

#[test]
fn parses_append_up_to_its_message() {
    let read = |frame: &str| {
        let (tag, append, announced) = parse::append_prefix(frame.as_bytes(), &Context::strict()).ok()?;
        assert!(parse::is_append_payload(frame.as_bytes()));
        Some(format!("{tag} {append:?} {} {:?} {:?}", announced.size, announced.sync, announced.binary))
    };
    assert_eq!(
        read("A003 APPEND saved-messages (\\Seen) {326}\r\n").as_deref(),
        Some(
            "A003 AppendCommand { mailbox: \"saved-messages\", flags: [\\Seen], date: None } 326 Synchronising No"
        )
    );
    let (_, append, announced) = parse::append_prefix(
        b"A append {5}\r\nINBOX (\\Seen $a) \"17-Jul-1996 02:44:25 -0700\" ~{9+}\r\n",
        &Context::strict(),
    )
    .unwrap();
    assert_eq!((announced.size, announced.sync, announced.binary), (9, Sync::NonSynchronising, Binary::Yes));
    assert_eq!(append.date.unwrap().timestamp(), 837_596_665);
    assert!(append.mailbox.is_inbox());
    for bad in [
        "A APPEND {5}\r\n",
        "A APPEND INBOX\r\n",
        "A APPEND INBOX (\\Seen {5}\r\n",
        "A APPEND INBOX (\\Recent) {5}\r\n",
        "A APPEND INBOX \"17-Foo-1996 02:44:25 -0700\" {5}\r\n",
        "A APPEND INBOX x {5}\r\n",
        "A APPEND INBOX {5}",
        "A APPEND INBOX {5}\r\nhello",
        "A APPEND INBOX {9223372036854775808}\r\n",
        "A APPEND INBOX \"{5}\r\n",
        "A APPEND \"INBOX {5}\r\n",
        "A APPEND INBOX (){5}\r\n",
        "A SELECT INBOX {5}\r\n",
        "A LOGIN INBOX {5}\r\n",
        "APPEND INBOX {5}\r\n",
    ] {
        assert_eq!(read(bad), None, "{bad:?}");
        assert!(!parse::is_append_payload(bad.as_bytes()), "{bad:?}");
    }
}

/// Classifies each of many literals. If the long line before them were parsed again for each, the test would not
/// finish.
#[test]
fn parses_many_literals_in_linear_time() {
    let mut frame = format!("A APPEND x ({}", "flag ".repeat(12_000)).into_bytes();
    for _ in 0..200_000 {
        frame.extend_from_slice(b"{1+}\r\n");
        assert!(!parse::is_append_payload(&frame));
        frame.push(b'x');
    }
}

#[test]
fn finds_the_name_before_the_arguments() {
    for (line, name) in [
        ("a FETCH garbage(((", CommandName::Fetch),
        ("a uId fEtCh", CommandName::UidFetch),
        ("a STARTTLS", CommandName::StartTls),
        ("a login", CommandName::Login),
        ("a XYZZY", CommandName::Other),
        ("a A-VERY-LONG-NAME-THAT-IS-UNKNOWN", CommandName::Other),
    ] {
        assert_eq!(parse::command_name(&frame(line)).unwrap().1, name, "{line}");
    }
    assert_eq!(parse::no_arguments(b"a STARTTLS\r\n", &Context::strict()).unwrap().1, CommandName::StartTls);
    assert!(parse::no_arguments(b"a STARTTLS x\r\n", &Context::strict()).is_err());
    assert!(parse::no_arguments(b"a STARTTLS\r\na NOOP\r\n", &Context::strict()).is_err());
}

/// Parses `frame` in every way, and iterates over all lists in the results.
fn read_all(frame: &[u8]) {
    for cx in [Context::strict(), Context::tolerant()] {
        match parse::command(frame, &cx) {
            Ok((tag, command)) => assert!(!format!("{tag:?} {command:?}").is_empty()),
            Err(error) => {
                assert!(error.offset <= frame.len());
                assert!(!error.to_string().is_empty());
            }
        }
        let (append, strict) = (parse::append_prefix(frame, &cx).is_ok(), parse::is_append_payload(frame));
        assert!(append || !strict, "what is read strictly is read tolerantly");
        let authentication = parse::authentication(frame, &cx);
        assert!(!(append && authentication.is_ok()));
    }
}

#[test]
fn prefixes_and_changed_bytes_never_panic() {
    let more = [
        "A APPEND INBOX (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {5}",
        "A LOGIN \"a\\\"\" {1}\r\nb",
        "A AUTHENTICATE PLAIN AA==",
    ];
    for line in COMMANDS.iter().map(|(line, _)| *line).chain(more) {
        let frame = frame(line);
        for end in 0..frame.len() {
            read_all(&frame[..end]);
            let mut changed = frame.clone();
            for byte in [0, b'\r', b'\n', b'"', b'(', b')', b'{', b'\\', b' ', b'9', 0xff] {
                changed[end] = byte;
                read_all(&changed);
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn random_commands_do_not_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
        read_all(&bytes);
    }

    #[test]
    fn no_tokens_panic(tokens in proptest::collection::vec(proptest::sample::select(&[
        "A", " ", "UID", "FETCH", "SEARCH", "STORE", "LIST", "APPEND", "(", ")", "\"", "\\", "{1}\r\n", "{1+}\r\n", "~{0}\r\n", "*",
        "1:2", ",", "$", "OR", "NOT", "BODY[", "]", "<1.2>", "HEADER.FIELDS", "RETURN", "FLAGS", "\\Seen", "\r\n", "NIL", "1", "INBOX",
        "MODSEQ", "99999999999999999999", "STATUS", "-1:-2", "PARTIAL", "é",
    ][..]), 0..24)) {
        let frame = tokens.concat();
        read_all(frame.as_bytes());
        read_all(format!("A UID FETCH {frame}\r\n").as_bytes());
        read_all(format!("A SEARCH {frame}\r\n").as_bytes());
    }
}
