//! A layer that changes what a server sends, for servers that imitate others.

use std::{fmt, sync::Arc};

use proto_mail::SendBuffer;

/// Changes the bytes that a session sends, above TLS. For tests of clients: a server can imitate another one, with its
/// faults, although the machine writes correct responses only.
pub trait OutputFilter: Send {
    /// Takes the next bytes that the machine has written, and appends what is sent instead. May hold back the bytes of an
    /// unfinished line.
    fn filter(&mut self, bytes: &[u8], out: &mut Vec<u8>);
}

/// Makes the filter of each session of a listener.
#[derive(Clone)]
pub struct OutputFilterFactory(Arc<dyn Fn() -> Box<dyn OutputFilter> + Send + Sync>);

impl OutputFilterFactory {
    /// Wraps a function that makes a filter.
    pub fn new(make: impl Fn() -> Box<dyn OutputFilter> + Send + Sync + 'static) -> Self {
        Self(Arc::new(make))
    }

    pub(crate) fn make(&self) -> FilterLayer {
        FilterLayer { filter: (self.0)(), filtered: 0 }
    }
}

impl fmt::Debug for OutputFilterFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutputFilterFactory")
    }
}

/// The filter of a session, and up to where its output is filtered.
pub(crate) struct FilterLayer {
    filter: Box<dyn OutputFilter>,
    /// In bytes ever queued.
    filtered: u64,
}

impl FilterLayer {
    /// Filters what was queued since the last call.
    pub(crate) fn run(&mut self, tx: &mut SendBuffer) {
        let filter = &mut self.filter;
        tx.rewrite_queued(self.filtered, |bytes, out| filter.filter(bytes, out));
        self.filtered = tx.queued_total();
    }

    /// Starts again with a new buffer.
    pub(crate) fn restart(&mut self) {
        self.filtered = 0;
    }
}
