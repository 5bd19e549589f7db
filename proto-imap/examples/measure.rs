//! How long the response grammar takes: `cargo run --release -p proto-imap --example measure`.
//!
//! A rough figure to compare before and after a change of the grammar; the benches compare with other libraries.
#![allow(clippy::unwrap_used, clippy::panic, reason = "an example stops where something is wrong")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use proto_imap::encode::FetchWriter;
use proto_imap::parse::{Context, fetch, response};
use proto_imap::types::{BodyStructure, FetchItem, Flag, FlagList, Response};

const FLAGS: &[u8] = b"* 172 FETCH (FLAGS (\\Seen \\Answered) UID 4827313)\r\n";

const STRUCTURE: &[u8] = b"* 12 FETCH (ENVELOPE (\"Wed, 17 Jul 2024 02:23:25 -0700\" \"Re: minutes of the meeting of the working group\" ((\"Terry Gray\" NIL \"gray\" \"cac.example.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.example.edu\")) ((\"Terry Gray\" NIL \"gray\" \"cac.example.edu\")) ((NIL NIL \"imap\" \"cac.example.edu\")) ((NIL NIL \"minutes\" \"cnri.example.com\")(\"John Klensin\" NIL \"klensin\" \"mit.example.edu\")) NIL NIL \"<B27397-0100000@cac.example.edu>\") BODYSTRUCTURE ((((\"text\" \"plain\" (\"charset\" \"utf-8\") NIL NIL \"quoted-printable\" 1152 23 NIL NIL NIL NIL)(\"text\" \"html\" (\"charset\" \"utf-8\") NIL NIL \"base64\" 4554 73 NIL NIL NIL NIL) \"alternative\" (\"boundary\" \"b1\") NIL NIL NIL)(\"image\" \"png\" (\"name\" \"logo.png\") \"<logo@x>\" NIL \"base64\" 15440 NIL (\"inline\" (\"filename\" \"logo.png\")) NIL NIL) \"related\" (\"boundary\" \"b2\") NIL NIL NIL)(\"application\" \"pdf\" (\"name\" \"minutes.pdf\") NIL NIL \"base64\" 215440 NIL (\"attachment\" (\"filename\" \"minutes.pdf\")) NIL NIL) \"mixed\" (\"boundary\" \"b3\") NIL NIL NIL))\r\n";

fn main() {
    for (name, cx) in [("strict", Context::strict()), ("tolerant", Context::tolerant())] {
        println!("{name}:");
        measure("FLAGS, item by item", FLAGS.len(), || walk_items(FLAGS, &cx));
        measure("FLAGS, whole", FLAGS.len(), || whole(FLAGS, &cx));
        measure("ENVELOPE BODYSTRUCTURE, item by item", STRUCTURE.len(), || walk_items(STRUCTURE, &cx));
        measure("ENVELOPE BODYSTRUCTURE, whole", STRUCTURE.len(), || whole(STRUCTURE, &cx));
        measure("ENVELOPE BODYSTRUCTURE, and every part", STRUCTURE.len(), || walk_parts(STRUCTURE, &cx));
        let list = b"* LIST (\\HasNoChildren \\Sent) \"/\" \"Archive/2024/Sent Items\"\r\n";
        measure("LIST", list.len(), || whole(list, &cx));
        let search = search_response();
        measure("SEARCH of 10000", search.len(), || whole(&search, &cx));
    }
    let mut out = Vec::with_capacity(1 << 16);
    measure("FLAGS, written", FLAGS.len(), || {
        out.clear();
        let mut fetch = FetchWriter::start(172, &mut out);
        fetch.item(&FetchItem::Flags(FlagList::new(&[Flag::Seen, Flag::Answered])));
        fetch.item(&FetchItem::Uid(4_827_313));
        fetch.end();
        black_box(out.len())
    });
}

fn walk_items(frame: &[u8], cx: &Context) -> usize {
    let (_, mut at) = fetch::start(frame, cx).unwrap();
    let mut place = fetch::ItemPosition::First;
    let mut count = 0;
    loop {
        let (used, step) = fetch::next_item(&frame[at..], place, cx).unwrap();
        match black_box(&step) {
            fetch::ParsedItem::Item(_) => count += 1,
            _ => return count,
        }
        at += used;
        place = fetch::ItemPosition::Later;
    }
}

fn whole(frame: &[u8], cx: &Context) -> usize {
    match black_box(response(frame, cx)) {
        Response::Untagged(_) => 1,
        other => panic!("{other:?}"),
    }
}

fn walk_parts(frame: &[u8], cx: &Context) -> usize {
    fn count(body: &BodyStructure<'_>) -> usize {
        1 + body.parts().iter().map(|part| count(&part)).sum::<usize>()
    }
    let (_, mut at) = fetch::start(frame, cx).unwrap();
    let mut place = fetch::ItemPosition::First;
    loop {
        let (used, step) = fetch::next_item(&frame[at..], place, cx).unwrap();
        if let fetch::ParsedItem::Item(FetchItem::BodyStructure(body)) = &step {
            return body.view().map_or(0, |body| count(&body));
        }
        at += used;
        place = fetch::ItemPosition::Later;
    }
}

fn search_response() -> Vec<u8> {
    let mut response = b"* SEARCH".to_vec();
    for number in 0..10_000 {
        response.extend_from_slice(format!(" {}", 1_000_000 + number * 7).as_bytes());
    }
    response.extend_from_slice(b"\r\n");
    response
}

fn measure(name: &str, bytes: usize, mut run: impl FnMut() -> usize) {
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let mut rounds = 0_u32;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(10) {
            for _ in 0..50 {
                black_box(run());
            }
            rounds += 50;
        }
        best = best.min(begin.elapsed() / rounds);
    }
    println!("  {name:42} {bytes:6} bytes {:9} ns", best.as_nanos());
}
