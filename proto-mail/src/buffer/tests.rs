//! The two buffers, including their memory.

use super::*;

#[test]
fn finds_lines_in_chunks_of_any_size() {
    let text = b"one\r\ntwo\r\nthree\r\n";
    for size in 1..text.len() {
        let mut rx = RecvBuffer::new();
        let mut lines = Vec::new();
        for chunk in text.chunks(size) {
            rx.extend(chunk);
            while let Line::Complete(len) = rx.find_line(64) {
                lines.push(rx.bytes()[..len].to_vec());
                rx.consume(len);
            }
        }
        assert_eq!(lines, [&b"one\r\n"[..], b"two\r\n", b"three\r\n"], "chunks of {size}");
        assert!(rx.is_empty());
    }
}

#[test]
fn the_line_limit_includes_the_line_end() {
    let mut rx = RecvBuffer::new();
    rx.extend(b"abc\r");
    assert_eq!(rx.find_line(5), Line::Partial);
    rx.extend(b"\n");
    assert_eq!(rx.find_line(5), Line::Complete(5));
    assert_eq!(rx.find_line(4), Line::TooLong);
    let mut rx = RecvBuffer::new();
    rx.extend(b"abcde");
    assert_eq!(rx.find_line(5), Line::TooLong, "five bytes without an end cannot become a line of five");
}

#[test]
fn finds_a_line_after_a_literal() {
    let mut rx = RecvBuffer::new();
    rx.extend(b"{3}\r\na\nb rest\r\n");
    assert_eq!(rx.find_line_from(8, 64), Line::Complete(7));
    assert_eq!((rx.find_line_from(8, 7), rx.find_line_from(8, 6)), (Line::Complete(7), Line::TooLong));
    assert_eq!(rx.find_line(64), Line::Complete(5), "asking for the first line again still works");
}

#[test]
fn keeps_the_order_while_bytes_are_moved() {
    let mut rx = RecvBuffer::new();
    let mut expected = 0u8;
    for round in 0..10_000u32 {
        let spare = rx.spare_mut(3);
        for (i, byte) in spare[..3].iter_mut().enumerate() {
            *byte = (round * 3 + i as u32) as u8;
        }
        rx.filled(3);
        for _ in 0..if round % 7 == 0 { 4 } else { 2 } {
            if let Some(&byte) = rx.bytes().first() {
                assert_eq!(byte, expected);
                expected = expected.wrapping_add(1);
                rx.consume(1);
            }
        }
    }
    assert_eq!(rx.received_total(), 30_000);
}

#[test]
fn an_empty_buffer_frees_its_memory() {
    let mut rx = RecvBuffer::new();
    rx.extend(&[7; 4096]);
    rx.consume_wiping(4096);
    assert!(rx.memory.iter().all(|&byte| byte == 0));
    rx.release();
    assert_eq!(rx.memory.capacity(), 0);
}

#[test]
fn sends_in_order_and_counts() {
    let mut tx = SendBuffer::new();
    tx.put(b"a1 LOGIN u ");
    tx.put_secret(b"hunter2");
    tx.put(b"\r\n");
    tx.put_payload(Bytes::from(alloc::vec![b'x'; 5000]));
    assert_eq!(tx.len(), 11 + 7 + 2 + 5000);
    assert_eq!(tx.chunks().filter(|chunk| chunk.secret).count(), 1);
    tx.sent(15);
    assert_eq!(tx.chunks().next().map(|chunk| chunk.bytes), Some(&b"er2"[..]));
    tx.sent(3);
    assert_eq!((tx.queued_total(), tx.sent_total()), (5020, 18));
    let rest = tx.take();
    assert!(rest.starts_with(b"\r\nxxx") && rest.len() == 5002);
    assert!(tx.is_empty());
    tx.put(b"more");
    assert_eq!(tx.take(), b"more");
    tx.put_secret(b"hunter2");
    assert!(tx.chunks().all(|chunk| chunk.secret && chunk.bytes == b"hunter2"), "no empty chunk precedes it");
}

#[test]
fn moves_bytes_only_if_half_of_the_memory_is_free() {
    let mut rx = RecvBuffer::new();
    rx.extend(&[1; 1024]);
    assert_eq!(rx.memory.len(), 1024);
    rx.consume(512);
    rx.extend(&[2; 512]);
    assert_eq!((rx.memory.len(), rx.start, rx.end), (1024, 0, 1024), "moved to the front");
    rx.consume(511);
    rx.extend(&[3; 511]);
    assert_eq!(rx.bytes(), [&[1][..], &[2; 512], &[3; 511]].concat());
    assert_eq!(
        (rx.memory.len(), rx.start),
        (2048, 0),
        "more was held than freed: moving would not be worth it"
    );
    let held = rx.len();
    assert_eq!(rx.spare_mut(1).len(), 1024);
    rx.filled(5000);
    assert_eq!(rx.len(), held + 1024, "no more than the room");
    assert_eq!(rx.received_total(), 1024 + 512 + 511 + 1024);
    rx.consume(usize::MAX);
    assert!(rx.is_empty() && rx.start == 0 && rx.end == 0);
}

#[test]
fn grows_only_if_there_is_too_little_room() {
    let mut rx = RecvBuffer::new();
    rx.extend(&[1; 1024]);
    rx.consume(900);
    rx.filled(0);
    assert_eq!(rx.spare_mut(0).len(), 0);
    assert_eq!((rx.start, rx.end), (900, 1024), "no room was asked for, so nothing moved");
    rx.extend(&[2; 901]);
    assert_eq!((rx.memory.len(), rx.start), (2048, 0), "together it would not fit");
    assert_eq!(rx.bytes(), [&[1; 124][..], &[2; 901]].concat());
}

#[test]
fn wipes_consumed_bytes_and_keeps_the_rest() {
    let mut rx = RecvBuffer::new();
    rx.extend(b"..secret rest");
    rx.consume(2);
    rx.consume_wiping(6);
    assert_eq!(rx.bytes(), b" rest");
    assert_eq!(&rx.memory[..8], b"..\0\0\0\0\0\0");
    rx.bytes_mut()[0] = b'_';
    rx.consume_wiping(100);
    assert!(rx.is_empty() && rx.memory[2..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_search_continues_where_the_last_one_stopped() {
    let mut rx = RecvBuffer::new();
    rx.extend(b"one\r\ntwo");
    assert_eq!(rx.find_line_from(5, 64), Line::Partial);
    assert_eq!(rx.searched, 8);
    rx.consume(5);
    assert_eq!(rx.searched, 3, "the searched part is counted from the front");
    rx.extend(b"\r\n");
    assert_eq!(rx.find_line(64), Line::Complete(5));
    rx.consume(100);
    rx.extend(b"abc");
    assert_eq!((rx.find_line_from(1, 3), rx.find_line_from(1, 2)), (Line::Partial, Line::TooLong));
    assert_eq!(rx.find_line_from(4, 1), Line::Partial, "there is nothing after the end yet");
    rx.consume(3);
    rx.release();
    assert_eq!(rx.searched, 0);
    assert!(!rx.is_closed());
    rx.close();
    assert!(rx.is_closed());
}

#[test]
fn release_keeps_what_the_buffer_holds() {
    let mut rx = RecvBuffer::new();
    rx.extend(b"kept");
    rx.release();
    assert_eq!(rx.bytes(), b"kept");
    let mut tx = SendBuffer::new();
    tx.put(b"kept");
    tx.sent(1);
    tx.release();
    assert_eq!(tx.take(), b"ept");
    tx.put(b"x");
    tx.sent(1);
    assert_eq!(tx.segments.len(), 1, "its memory is kept for the next output");
    tx.release();
    assert_eq!(tx.segments.capacity(), 0);
}

#[test]
fn copies_small_payloads_and_queues_large_ones() {
    let pieces = |size: usize| {
        let mut tx = SendBuffer::new();
        tx.put(b"{n}\r\n");
        tx.put_payload(Bytes::from(alloc::vec![b'x'; size]));
        tx.chunks().map(|chunk| chunk.bytes.len()).collect::<Vec<_>>()
    };
    assert_eq!(pieces(COPY_BELOW - 1), [5 + COPY_BELOW - 1]);
    assert_eq!(pieces(COPY_BELOW), [5, COPY_BELOW]);
}

#[test]
fn begins_a_segment_when_the_last_is_full() {
    let mut tx = SendBuffer::new();
    tx.put(&[b'a'; SEGMENT]);
    tx.put(b"b");
    assert_eq!(tx.segments.len(), 2, "it was full");
    let mut tx = SendBuffer::new();
    tx.put(&[b'a'; SEGMENT - 1]);
    tx.put(b"bb");
    assert_eq!(tx.segments.len(), 1, "it was not full");
    let room = tx.segments.front().map_or(0, |segment| match segment {
        Segment::Text(text) => text.capacity() - text.len(),
        _ => 0,
    });
    tx.put(&alloc::vec![b'c'; room]);
    assert_eq!(tx.segments.len(), 1, "output goes where there is room");
    tx.put(b"d");
    assert_eq!(tx.segments.len(), 2);
    let all = tx.take();
    assert_eq!((all.len(), all.last()), (SEGMENT + 2 + room, Some(&b'd')));
    assert!(tx.segments.len() <= 1 && tx.is_empty());
}

#[test]
fn frees_large_segments_and_ignores_empty_output() {
    let mut tx = SendBuffer::new();
    tx.put(&[b'a'; SEGMENT + 1]);
    tx.sent(usize::MAX);
    assert!(tx.segments.is_empty(), "more memory than a segment is freed");
    tx.put(&alloc::vec![b'a'; SEGMENT]);
    tx.sent(SEGMENT);
    assert_eq!(tx.segments.len(), 1);
    tx.put(b"");
    tx.put_secret(b"");
    assert_eq!((tx.segments.len(), tx.chunks().count(), tx.queued_total()), (1, 0, 2 * SEGMENT as u64 + 1));
}

#[test]
fn debug_shows_lengths_only() {
    let mut rx = RecvBuffer::new();
    rx.extend(b"abc");
    assert_eq!(alloc::format!("{rx:?}"), "RecvBuffer { len: 3, closed: false, .. }");
    let mut tx = SendBuffer::new();
    tx.put_secret(b"abcd");
    tx.sent(1);
    assert_eq!(alloc::format!("{tx:?}"), "SendBuffer { len: 3, queued_total: 4, sent_total: 1, .. }");
    let chunk = tx.chunks().next();
    assert_eq!(alloc::format!("{chunk:?}"), "Some(Chunk { len: 3, secret: true })");
}

#[test]
fn debug_shows_no_secret() {
    let mut tx = SendBuffer::new();
    tx.put_secret(b"hunter2");
    let mut rx = RecvBuffer::new();
    rx.extend(b"hunter2");
    let shown = alloc::format!("{tx:?} {rx:?} {:?}", tx.chunks().next());
    assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
}
