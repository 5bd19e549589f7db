//! Traces of the buffers: each byte appears once, as the kind that a machine gave it; bytes of no known kind are counted.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proto_mail::trace::{TraceKind, TraceSpan};
use proto_mail::{RecvBuffer, SendBuffer};

fn text(text: &str) -> TraceSpan {
    TraceSpan::Text(text.into())
}

#[test]
fn without_a_trace_nothing_is_recorded() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    rx.extend(b"a NOOP\r\n");
    assert!(!rx.is_traced());
    rx.trace_span(8, TraceKind::Text);
    rx.consume(8);
    tx.put(b"a OK\r\n");
    tx.put_secret(b"hunter2");
    tx.sent(13);
    assert!(rx.take_trace().is_empty() && tx.take_trace().is_empty());
}

#[test]
fn traces_received_bytes_once() {
    let mut rx = RecvBuffer::new();
    rx.trace(100);
    assert!(rx.is_traced());
    rx.extend(b"a LOGIN alice hunter2\r\nb NOOP\r\nxyz");
    rx.trace_span(8, TraceKind::Text);
    rx.trace_span(8, TraceKind::Secret);
    rx.trace_span(5, TraceKind::Secret);
    assert_eq!(rx.take_trace(), [text("a LOGIN ")], "traced already");
    rx.trace_span(23, TraceKind::Secret);
    rx.consume(23);
    assert_eq!(rx.take_trace(), [TraceSpan::Secret(15)]);
    rx.trace_span(8, TraceKind::Text);
    rx.consume(2);
    rx.consume(6);
    assert_eq!(rx.take_trace(), [text("b NOOP\r\n")], "after the consumed bytes");
    rx.consume(1);
    assert_eq!(rx.take_trace(), [TraceSpan::Unknown(1)]);
    rx.consume_wiping(1);
    assert_eq!(rx.take_trace(), [TraceSpan::Secret(1)]);
    rx.trace_span(100, TraceKind::Data);
    assert_eq!(rx.take_trace(), [TraceSpan::Data(1)], "no more than was received");
    rx.consume(1);
    assert!(rx.take_trace().is_empty());
}

#[test]
fn traces_a_line_in_parts() {
    let mut rx = RecvBuffer::new();
    rx.trace(100);
    rx.extend(b"0123456789");
    rx.trace_span(4, TraceKind::Text);
    rx.consume(6);
    rx.trace_span(2, TraceKind::Text);
    rx.consume_wiping(4);
    assert_eq!(rx.take_trace(), [text("0123"), TraceSpan::Unknown(2), text("67"), TraceSpan::Secret(2)]);
}

#[test]
fn shortens_long_lines() {
    let mut rx = RecvBuffer::new();
    rx.trace(4);
    rx.extend(b"0123456789\r\nabcd\r\n");
    rx.trace_span(7, TraceKind::Text);
    rx.trace_span(18, TraceKind::Text);
    assert_eq!(rx.take_trace(), [text("0123"), TraceSpan::Elided(6), text("\r\nabcd\r\n")]);
}

#[test]
fn traces_output_when_it_is_sent() {
    let mut tx = SendBuffer::new();
    tx.trace(100);
    tx.put(b"a LOGIN ");
    tx.put_secret(b"hunter2");
    tx.put(b"\r\n");
    tx.put_as(b"tag", TraceKind::Unknown);
    tx.put_payload(Bytes::from_static(b"message"));
    assert!(tx.take_trace().is_empty(), "nothing was sent");
    tx.sent(11);
    assert_eq!(tx.take_trace(), [text("a LOGIN "), TraceSpan::Secret(3)]);
    tx.sent(5);
    assert_eq!(tx.take_trace(), [TraceSpan::Secret(4), text("\r")]);
    tx.sent(11);
    assert_eq!(tx.take_trace(), [text("\n"), TraceSpan::Unknown(3), TraceSpan::Data(7)]);
}

#[test]
fn counts_output_that_was_queued_before_the_trace() {
    let mut tx = SendBuffer::new();
    tx.put(b"old");
    tx.sent(1);
    tx.trace(100);
    tx.put(b"new");
    tx.sent(5);
    assert_eq!(tx.take_trace(), [TraceSpan::Unknown(2), text("new")]);
}

#[test]
fn does_not_trace_discarded_output() {
    let mut tx = SendBuffer::new();
    tx.trace(100);
    tx.put_secret(b"hunter2");
    tx.put(b"a");
    tx.put_secret(b"");
    tx.discard();
    assert!(tx.take_trace().is_empty());
    tx.put(b"b\r\n");
    tx.sent(3);
    assert_eq!(tx.take_trace(), [text("b\r\n")]);
}
