//! Responses of deployed servers. The tolerant parser must parse every row of `data/quirks.jsonl` as the row
//! specifies, with the repairs that it names. The strict parser must accept only the rows that follow the grammar.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where something is wrong"
)]

mod common;

use common::{client, config, converse};
use proto_imap::parse::{Context, response};
use proto_imap::types::Response;
use serde_json::Value;

const ROWS: &str = include_str!("data/quirks.jsonl");

#[test]
fn parses_every_row_as_listed() {
    let mut wrong = Vec::new();
    for line in ROWS.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let id = row["id"].as_str().unwrap();
        let frame = unescape(row["bytes"].as_str().unwrap());

        let cx = Context::tolerant();
        let read = format!("{:?}", response(&frame, &cx));
        if read != row["reads_as"].as_str().unwrap() {
            wrong.push(format!("{id}: read as {read}"));
        }
        let repairs: Vec<_> = cx.repairs.recent().iter().map(|repair| Value::from(repair.name())).collect();
        if row["repairs"] != Value::from(repairs.clone()) {
            wrong.push(format!("{id}: repaired {repairs:?}"));
        }

        let cx = Context::strict();
        let strict = response(&frame, &cx);
        let accepts = !matches!(strict, Response::Unparsed(_));
        if accepts != (row["strict"] == "accepts") {
            wrong.push(format!("{id}: strictly read as {strict:?}"));
        }
        assert_eq!(cx.repairs.total(), 0, "{id}: the strict reading repairs nothing");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Input that follows the grammar gives the same result in both parsers and needs no repair. A few exceptions follow
/// the grammar but obviously mean something else.
#[test]
fn strict_and_tolerant_agree() {
    const MISUSED: [&str; 2] = ["q037", "q083"];
    for line in ROWS.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        if row["strict"] != "accepts" || MISUSED.contains(&row["id"].as_str().unwrap()) {
            continue;
        }
        let frame = unescape(row["bytes"].as_str().unwrap());
        let tolerant = Context::tolerant();
        // Only the tolerant parser accepts XLIST.
        if !frame.starts_with(b"* XLIST") {
            assert_eq!(response(&frame, &Context::strict()), response(&frame, &tolerant), "{}", row["id"]);
            assert_eq!(tolerant.repairs.total(), 0, "{}", row["id"]);
        }
    }
}

/// Divides the input into pieces of pseudorandom sizes from 1 to 16.
fn random_pieces(input: &[u8], seed: u32) -> Vec<&[u8]> {
    let (mut rest, mut state) = (input, seed);
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = (state >> 28) as usize + 1;
        let (piece, after) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// A client reads each row alike in whatever pieces it arrives, and a row that it can't read costs only itself.
#[test]
fn rows_arrive_in_any_pieces_and_cost_only_themselves() {
    for line in ROWS.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let frame = unescape(row["bytes"].as_str().unwrap());
        let greeting = b"* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n";
        let input = [greeting, &frame[..], b"* ID (\"name\" \"last\")\r\n"].concat();
        let read = |pieces: Vec<&[u8]>| converse(client(config(), |_, _, _| {}).as_mut(), pieces, false);
        let whole = read(vec![&input]);
        let chunks = [1, 2, 3, 7, 16].map(|size| input.chunks(size).collect::<Vec<_>>());
        for pieces in chunks.into_iter().chain((1..5).map(|seed| random_pieces(&input, seed))) {
            assert_eq!(read(pieces), whole, "{}", row["id"]);
        }
        // A tagged response, a continuation request or BYE ends the session of a client without a command.
        let is_data = frame.starts_with(b"*") && !frame.starts_with(b"* BYE") && row["id"] != "q056";
        assert!(!is_data || whole.has("value: Some(\"last\")"), "{}: {whole:?}", row["id"]);
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().unwrap() {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'\\' => b'\\',
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("no such escape: {other}"),
            },
            plain => plain,
        });
    }
    bytes
}
