//! Messages for which as much data as possible is derived, and an allocator that counts. The tests of mailstore use both, too.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use mailmime::Envelope;

/// The system's allocator, counting the bytes that each thread holds.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    // A thread that is ending has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old block and the new one may be held at the same time.
        count(size as isize);
        count(-(layout.size() as isize));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Returns the most bytes that this thread held while `work` ran, in addition to those it held before.
pub(crate) fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let value = work();
    (value, usize::try_from(PEAK.get() - before).unwrap())
}

pub(crate) const MEBIBYTE: usize = 1024 * 1024;

/// Returns text of about `size` bytes that repeats `piece`.
pub(crate) fn fill(size: usize, start: &str, piece: &str, end: &str) -> Vec<u8> {
    let mut text = String::with_capacity(size + start.len() + end.len());
    text.push_str(start);
    while text.len() < size {
        text.push_str(piece);
    }
    text.push_str(end);
    text.into_bytes()
}

fn nested_messages(size: usize) -> Vec<u8> {
    let each = size / 30;
    let mut text = String::new();
    for _ in 0..30 {
        let addresses = fill(each, "", "Somewhat Long Name <long.name@mail.example>,\r\n ", "");
        text.push_str("Content-Type: message/rfc822\r\nSubject: x\r\nTo: ");
        text.push_str(std::str::from_utf8(&addresses).unwrap());
        text.push_str("\r\n\r\n");
    }
    text.into_bytes()
}

fn deep_multiparts(size: usize) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < size {
        let name = format!("{}{}", "b".repeat(60), text.len());
        text.push_str(&format!("Content-Type: multipart/mixed; boundary={name}\r\n\r\n--{name}\r\n"));
    }
    text.into_bytes()
}

/// Every part has every field that a part can have.
fn rich_parts(size: usize) -> Vec<u8> {
    let long = "v".repeat(900);
    let part = format!(
        "--b\r\nContent-Type: application/x-{long}; name={long}; charset=\"{long}\"\r\n\
         Content-Disposition: attachment; filename=\"{long}\"\r\nContent-ID: <{long}>\r\n\
         Content-Description: {long}\r\nContent-Location: {long}\r\nContent-Language: a,b,c\r\n\r\nx\r\n"
    );
    fill(size, "Content-Type: multipart/mixed; boundary=b\r\n\r\n", &part, "--b--\r\n")
}

/// Messages of about `size` bytes for which as much data as possible is derived.
pub(crate) fn hostile(size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let mixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let latin: Vec<u8> =
        fill(size, "To: ", "ab\u{a0},", "\r\n\r\nx").into_iter().filter(|b| *b != 0xc2).collect();
    vec![
        ("from a,a,a", fill(size, "From: ", "a,", "\r\n\r\nx")),
        ("from in all fields", fill(size, "", "From: a,b,c\r\nTo: d\r\nCc: e\r\nBcc: f\r\n", "\r\nx")),
        ("folded addresses", fill(size, "To: ", "Ann Lee <ann@mail.example>,\r\n ", "\r\n\r\nx")),
        ("groups", fill(size, "To: ", "g:a@b;", "\r\n\r\nx")),
        ("an open group", fill(size, "To: g:", "a@b.example, ", "\r\n\r\nx")),
        ("empty address fields", fill(size, "", "To:\r\nCc: ,\r\nBcc: <>\r\n", "\r\nx")),
        ("latin-1 addresses", latin),
        ("a long address", fill(size, "To: ", "aaaaaaaaaaaaaaaa", "@b, c@d\r\n\r\nx")),
        ("a long comment", fill(size, "To: a@b (", "((comment))", ")\r\n\r\nx")),
        ("a long quoted name", fill(size, "To: \"", "\\\"name", "\" <a@b>\r\n\r\nx")),
        ("a long subject", fill(size, "Subject: ", "=?utf-8?q?word?= ", "\r\n\r\nx")),
        ("a folded subject", fill(size, "Subject: a\r\n", " \r\n", "b\r\n\r\nx")),
        ("a long line", fill(size, "Subject: ", "\u{fc}", "")),
        (
            "long texts",
            fill(size, "", "Date: x\r\nMessage-ID: <a@b>\r\nIn-Reply-To: <c@d> <e@f>\r\n", "\r\nx"),
        ),
        ("many identifiers", fill(size, "In-Reply-To: ", "<0123456789@mail.example>\r\n ", "\r\n\r\nx")),
        ("parameters", fill(size, "Content-Type: text/plain", "; a=b", "\r\n\r\nx")),
        ("empty parameters", fill(size, "Content-Type: text/plain", ";", "\r\n\r\nx")),
        ("disposition parameters", fill(size, "Content-Disposition: inline", ";\r\n a=b", "\r\n\r\nx")),
        ("languages", fill(size, "Content-Language: ", "de, ", "\r\n\r\nx")),
        ("tiny fields", fill(size, "", "a: b\r\n", "\r\nx")),
        ("lines without a colon", fill(size, "", "x\n", "")),
        ("tiny parts", fill(size, mixed, "--b\n\nx\n", "--b--\n")),
        ("parts with parameters", fill(size, mixed, "--b\nContent-Type: a/b;c=d;e=f;g=h\n\nx\n", "--b--\n")),
        ("boundaries only", fill(size, mixed, "--b\n", "")),
        (
            "a digest",
            fill(size, "Content-Type: multipart/digest; boundary=b\r\n\r\n", "--b\n\nTo: a\n\nx\n", ""),
        ),
        ("enclosed messages", fill(size, mixed, "--b\nContent-Type: message/rfc822\n\nTo: a,b,c\n\nx\n", "")),
        ("deep multiparts", deep_multiparts(size)),
        ("nested messages with address lists", nested_messages(size)),
        ("rich parts", rich_parts(size)),
    ]
}

/// Checks that each group that starts also ends.
pub(crate) fn check_groups(envelope: &Envelope) {
    for list in [&envelope.from, &envelope.to, &envelope.cc, &envelope.bcc] {
        let mut open = false;
        for address in list {
            if address.host.is_none() {
                assert_eq!(open, address.mailbox.is_none());
                open = !open;
            }
        }
        assert!(!open);
    }
}

/// Returns `count` addresses that differ, each with a comma.
pub(crate) fn named(count: usize) -> String {
    (0..count).map(|n| format!("n{n}@d.example, ")).collect()
}
