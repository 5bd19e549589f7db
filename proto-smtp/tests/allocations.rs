//! The hot paths do not allocate: parsing commands and replies, and a server in its steady state.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unsafe_code)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use proto_mail::{Cleartext, RecvBuffer, SendBuffer};
use proto_smtp::server::{Event, Server};
use proto_smtp::types::{Command, Response};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = COUNT.with(Cell::get);
    work();
    COUNT.with(Cell::get) - before
}

#[test]
fn parses_commands_and_replies_without_allocating() {
    let count = allocations(|| {
        for line in [
            "MAIL FROM:<a@example.com> SIZE=1 BODY=8BITMIME SMTPUTF8 AUTH=<> RET=FULL ENVID=x X-FOO=1",
            "RCPT TO:<\"a b\"@[IPv6:::1]> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a@b X=1",
            "EHLO client.example.com",
            "AUTH PLAIN AHUAc2VjcmV0",
            "BDAT 100 LAST",
            "XYZZY",
        ] {
            assert!(black_box(Command::parse(line.as_bytes())).is_ok());
        }
        for reply in [&b"250 2.1.0 ok\r\n"[..], b"250-a\r\n250 b\r\n"] {
            assert!(black_box(Response::parse(reply)).is_ok());
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn serves_transactions_without_allocating() {
    let transaction = b"MAIL FROM:<a@b.example> SIZE=100\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@f.example>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nRSET\r\n";
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Cleartext>::new(support::config(), &mut tx);
    tx.sent(usize::MAX);
    rx.extend(b"EHLO c\r\n");
    let ok = Response::ok();
    let mut run = |rounds: u32| {
        let mut ends = 0;
        for _ in 0..rounds {
            rx.extend(transaction);
            while let Some(event) = server.next_event(&mut rx, &mut tx).unwrap() {
                match event {
                    Event::Mail(_, reply) | Event::Rcpt(_, reply) | Event::Data(reply) => {
                        server.reply(reply, &ok, &mut tx).unwrap();
                    }
                    Event::DataEnd(reply) => {
                        ends += 1;
                        server.reply(reply, &ok, &mut tx).unwrap();
                    }
                    _ => {}
                }
            }
            tx.sent(usize::MAX);
        }
        ends
    };
    assert_eq!(run(4), 4);
    let mut ends = 0;
    assert_eq!(allocations(|| ends = run(100)), 0);
    assert_eq!(ends, 100);
}
