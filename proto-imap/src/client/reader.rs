//! The client's position in its input: between two responses, inside a FETCH response or inside a long response to a
//! search, and how much of the receive buffer was examined.

use proto_mail::RecvBuffer;

use crate::frame::Framer;
use crate::parse::LiteralScan;
use crate::parse::fetch::ItemPosition;
use crate::parse::search::{Failure, Part, PieceKind, SearchCursor};

/// The response that is being read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input {
    /// The next response.
    Response,
    /// A FETCH response, item by item.
    Fetch(FetchReader),
    /// A long response to a search, piece by piece.
    Search(SearchReader),
}

/// The position in a long response to a search.
#[derive(Debug, Clone, Copy)]
pub(super) struct SearchReader {
    pub(super) stage: SearchStage,
    /// The part of the response in the buffer: the offset up to which it was read, and the offset of its end.
    pub(super) at: usize,
    pub(super) end: usize,
    pub(super) part: Part,
    pub(super) ending: Ending,
}

/// Whether the end of a response is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Reported,
    Silent,
}

/// What the client expects next in a long response to a search.
#[derive(Debug, Clone, Copy)]
pub(super) enum SearchStage {
    /// The beginning was read and not yet reported.
    Start(SearchCursor),
    /// The next piece is expected.
    Pieces(SearchCursor),
    /// A piece is to be reported: its kind, its place, and the offset up to which it was read.
    Piece { cursor: SearchCursor, kind: PieceKind, from: usize, to: usize, used: usize },
    /// The next part of the response is expected; these pieces go on in it.
    NextPart(SearchCursor),
    /// The rest cannot be parsed, which is to be reported.
    Failed(Failure),
    /// The rest is to be skipped.
    Skip,
    /// The next part of the response is expected, to be skipped.
    SkipNextPart,
    /// The end of the response is to be reported.
    End,
    /// Everything was reported.
    Done,
}

/// The position in a FETCH response.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchReader {
    pub(super) stage: Stage,
    /// The part of the response in the buffer: the offset up to which it was read, and the offset of its end.
    pub(super) at: usize,
    pub(super) end: usize,
    /// The size of the body that is announced at the end of the part, in bytes.
    pub(super) body: Option<u64>,
    pub(super) place: ItemPosition,
    pub(super) visibility: Visibility,
}

/// What the client expects next in a FETCH response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The sequence number was read and not yet reported.
    Start(u32),
    /// The UID of a UIDFETCH response was read and not yet reported.
    UidStart(u32),
    /// The next item is expected.
    Items,
    /// A body that is a string in the frame; these bytes of it are to be reported.
    Inline(usize, usize, Escapes),
    /// A body that is part of the frame was reported.
    InlineEnd,
    /// This many bytes of a body follow.
    Body(u64),
    /// The rest of the part is to be skipped.
    Skip,
    /// This many bytes of a body are to be skipped.
    SkipBody(u64),
    /// The line after a body is expected.
    NextPart,
    /// The line ended before the list. The next line belongs to the response if it begins with `)`.
    LineEnd,
    /// The end of the response is to be reported.
    End,
    /// Everything was reported.
    Done,
}

/// Whether backslashes in an inline body escape something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    None,
    Some,
}

/// How much of a response the application sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visibility {
    /// All of it.
    All,
    /// Only its end: an item could not be parsed.
    End,
    /// Nothing.
    Hidden,
}

impl FetchReader {
    /// Returns whether bytes of a body are expected.
    pub(super) const fn is_in_body(&self) -> bool {
        matches!(self.stage, Stage::Body(_) | Stage::SkipBody(_))
    }
}

/// The result of the next step in a response that is read in parts.
pub(super) enum ReaderStep {
    /// No such response is being read.
    None,
    /// More bytes are needed.
    More,
    /// A response that the application does not see.
    Silent,
    /// An event to report, see `Session::reader_event`.
    Event,
}

/// A response, or a part of one, at the start of the receive buffer.
pub(super) enum Frame {
    /// More bytes are needed.
    More,
    /// A complete response of this many bytes.
    Whole(usize),
    /// A FETCH response up to the announcement of a body of this size.
    UpToBody(usize, u64),
    /// The first bytes of a long response to a search.
    Piece(usize),
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
                Input::Response | Input::Search(_) => LiteralScan::new(),
                Input::Fetch(_) => LiteralScan::continued(),
            };
        }
    }

    /// Expects the next response, if everything of this one was reported.
    pub(super) const fn leave_response(&mut self) {
        if matches!(
            self.input,
            Input::Fetch(FetchReader { stage: Stage::Done, .. })
                | Input::Search(SearchReader { stage: SearchStage::Done, .. })
        ) {
            self.input = Input::Response;
            self.remainder = Remainder::None;
        }
    }

    /// Returns whether a response has begun and is not complete.
    pub(super) fn is_inside_response(&self, rx: &RecvBuffer) -> bool {
        !matches!(self.input, Input::Response) || !rx.is_empty()
    }
}
