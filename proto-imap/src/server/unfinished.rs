//! The response that the application writes in parts, and how much of it was written.

use crate::thread::encode::ThreadOrder;
use crate::types::PartialRange;

/// The response that is being written in parts, and how much of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// Every response is complete.
    Nothing,
    /// A FETCH response for this message; nothing was written yet.
    FetchBegun(u32),
    /// A UIDFETCH response for this UID; nothing was written yet.
    UidFetchBegun(u32),
    /// A FETCH response, after an item.
    FetchItems,
    /// A body in a FETCH response; this many of its bytes are missing.
    Body(u64),
    /// The contents of a URL in a URLFETCH response; this many of its bytes are missing.
    UrlData(u64),
    /// The contents of a URL in the answer to an extended URLFETCH; this many of their bytes are missing.
    UrlMetadata(u64),
    /// The numbers of a SEARCH or ESEARCH response.
    Search(Listing),
    /// The lists of a THREAD response.
    Thread(ThreadOrder),
}

/// How the numbers of a response are written, and how much was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// Separately.
    Singles,
    /// As a set; no number was written yet.
    SetBegin,
    /// As a set that continues.
    Set,
    /// As the set of a page; no number was written yet.
    PageBegin(PartialRange),
    /// As the set of a page, which continues.
    Page,
    /// The numbers are complete; their scores are being written.
    Scores,
}
