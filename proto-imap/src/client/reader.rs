//! The client's position in its input: between two responses or inside a FETCH response, and how much of the receive
//! buffer was examined.

use proto_mail::RecvBuffer;

use super::fetch::FetchReader;
use crate::frame::Framer;
use crate::parse::LiteralScan;

/// The response that is being read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input {
    /// The next response.
    Response,
    /// A FETCH response, item by item.
    Fetch(FetchReader),
}

/// A response, or a part of one, at the start of the receive buffer.
pub(super) enum Frame {
    /// More bytes are needed.
    More,
    /// A complete response of this many bytes.
    Whole(usize),
    /// A FETCH response up to the announcement of a body of this size.
    UpToBody(usize, u64),
}

/// Whether a response has begun to arrive and is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remainder {
    None,
    Awaited,
}

/// The state of reading.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) framer: Framer,
    /// Finds out which literals of the response are bodies.
    pub(super) scan: LiteralScan,
    pub(super) input: Input,
    /// The number of bytes that the last event borrowed; the next call consumes them.
    pub(super) borrowed: usize,
    pub(super) remainder: Remainder,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self {
            framer: Framer::default(),
            scan: LiteralScan::new(),
            input: Input::Response,
            borrowed: 0,
            remainder: Remainder::None,
        }
    }

    /// Consumes the bytes that the last event borrowed.
    pub(super) fn consume(&mut self, rx: &mut RecvBuffer) {
        if self.borrowed > 0 {
            rx.consume(self.borrowed);
            self.borrowed = 0;
            self.framer.reset();
            self.scan = match self.input {
                Input::Response => LiteralScan::new(),
                Input::Fetch(_) => LiteralScan::continued(),
            };
        }
    }

    /// Continues after an item of a FETCH response. After the last item it expects the next response.
    pub(super) fn resume(&mut self, fetch: FetchReader) {
        self.input = fetch.next_input();
        if matches!(self.input, Input::Response) {
            self.remainder = Remainder::None;
        }
    }

    /// Returns whether a response has begun and is not complete.
    pub(super) fn is_inside_response(&self, rx: &RecvBuffer) -> bool {
        matches!(self.input, Input::Fetch(_)) || !rx.is_empty()
    }
}
