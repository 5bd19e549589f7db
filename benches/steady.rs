//! Checks that an item costs no allocation once a session runs: twice as many items, the same number of allocations.
//!
//! This needs no clock, so it may fail on any machine. What a pass allocates to set itself up does not count, since
//! both lengths pay for it.

use mailwire_benches::{allocations, reset, workloads};

use crate::implementations::ours;

/// The bytes of a read, and of a short one.
const CHUNK: usize = 16 * 1024;
const SHORT: usize = 1024;

/// One promise: an implementation that allocates nothing per item.
struct Promise {
    row: &'static str,
    who: &'static str,
    item: &'static str,
    /// Enough items to exceed every buffer's growth, and to make many chunks.
    items: usize,
    input: fn(usize) -> Vec<u8>,
    run: fn(&[u8]) -> u64,
    /// The result of `run` for this many items.
    found: fn(usize) -> u64,
}

const COUNT: fn(usize) -> u64 = |items| items as u64;
const KIB: fn(usize) -> u64 = |items| (items << 10) as u64;
const BODY: fn(usize) -> Vec<u8> = |items| workloads::fetch_body(items << 10);

#[rustfmt::skip]
const PROMISES: [Promise; 9] = [
    Promise { row: "P1s", who: "session", item: "response", items: 4000, input: workloads::fetch_flags,
        run: |input| ours::imap_session(input, CHUNK), found: COUNT },
    Promise { row: "P1s", who: "session, 1 KiB", item: "response", items: 4000, input: workloads::fetch_flags,
        run: |input| ours::imap_session(input, SHORT), found: COUNT },
    Promise { row: "P2", who: "parse", item: "response", items: 200, input: workloads::fetch_structure,
        run: ours::imap_parse, found: COUNT },
    Promise { row: "P6", who: "session", item: "KiB", items: 1024, input: BODY,
        run: |input| ours::imap_body(input, CHUNK), found: KIB },
    Promise { row: "P6", who: "session, 1 KiB", item: "KiB", items: 1024, input: BODY,
        run: |input| ours::imap_body(input, SHORT), found: KIB },
    Promise { row: "P10", who: "parse", item: "command", items: 4000, input: workloads::smtp_commands,
        run: ours::smtp_parse, found: COUNT },
    Promise { row: "P10", who: "session", item: "command", items: 4000, input: workloads::smtp_commands,
        run: |input| ours::smtp_session(input, CHUNK), found: COUNT },
    // MAIL, RCPT, DATA and the end of each message are events.
    Promise { row: "P12", who: "session", item: "message", items: 200, input: workloads::smtp_messages,
        run: |input| ours::smtp_session(input, CHUNK), found: |items| 4 * items as u64 },
    Promise { row: "P12", who: "session, 1 KiB", item: "message", items: 200, input: workloads::smtp_messages,
        run: |input| ours::smtp_session(input, SHORT), found: |items| 4 * items as u64 },
];

/// Checks every promise; returns their number.
///
/// # Errors
/// A promise that is broken, or whose result is wrong.
pub(crate) fn check() -> Result<usize, String> {
    for promise in &PROMISES {
        let (once, twice) = (allocated(promise, promise.items)?, allocated(promise, 2 * promise.items)?);
        if twice > once {
            let Promise { row, who, item, items, .. } = promise;
            return Err(format!(
                "{row} {who}: {once} allocations for {items} and {twice} for twice as many, and none per {item} are promised"
            ));
        }
    }
    Ok(PROMISES.len())
}

fn allocated(promise: &Promise, items: usize) -> Result<usize, String> {
    let input = (promise.input)(items);
    reset();
    let found = (promise.run)(&input);
    let allocated = allocations();
    let expected = (promise.found)(items);
    if found == expected {
        Ok(allocated)
    } else {
        Err(format!("{} {}: found {found}, and {expected} is right", promise.row, promise.who))
    }
}
