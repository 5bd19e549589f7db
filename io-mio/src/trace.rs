//! The wire trace: the whole conversation with its times, safe to paste.
//!
//! This file knows what may be shown. It does not know what the octets mean: what is secret was marked when it was
//! queued, and what a server receives may be a password anywhere, so servers trace no input.

use std::{fmt, io::Write, time::Duration};

/// Takes the records of one connection.
pub trait Trace: Send {
    /// Something passed, or happened.
    fn record(&mut self, record: &Record<'_>);
}

/// One record of a trace.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Record<'r> {
    /// When, since the connection was begun.
    pub at: Duration,
    /// Whether TLS was in place.
    pub secured: bool,
    /// What.
    pub what: What<'r>,
}

impl<'r> Record<'r> {
    /// A record: for whoever drives a machine by hand and traces it.
    #[must_use]
    pub const fn new(at: Duration, secured: bool, what: What<'r>) -> Self {
        Self { at, secured, what }
    }
}

/// What a record shows.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum What<'r> {
    /// Octets that were sent.
    Sent(&'r [u8]),
    /// So many octets were sent, and they are secret.
    SentSecret(usize),
    /// Octets that were received.
    Received(&'r [u8]),
    /// Something happened to the connection.
    Note(&'r str),
}

/// Writes a trace as text: a line for each line that passed.
///
/// ```text
///    0.004 S: * OK ready
///    0.005 C: a1 STARTTLS
///    0.031 -- TLSv1.3 TLS_AES_256_GCM_SHA384
///    0.032 C= a2 LOGIN [18 octets redacted]
/// ```
///
/// `C:` and `S:` pass in cleartext, `C=` and `S=` under TLS. Octets that are not printable are shown as `\xNN`. Of
/// one direction's uninterrupted flow only the first [`SHOWN`](Self::SHOWN) octets are shown.
pub struct TraceWriter<W: Write + Send> {
    out: W,
    /// The direction of the flow and how much of it was shown; whether a line has been begun.
    flow: Option<(char, usize)>,
    elided: usize,
    open: bool,
}

impl<W: Write + Send> TraceWriter<W> {
    /// How many octets of one direction's uninterrupted flow are shown.
    pub const SHOWN: usize = 16 * 1024;

    /// Writes to `out`. Errors of `out` are ignored: a trace must not end a session.
    pub const fn new(out: W) -> Self {
        Self { out, flow: None, elided: 0, open: false }
    }

    fn try_record(&mut self, record: &Record<'_>) -> std::io::Result<()> {
        let (side, bytes) = match record.what {
            What::Sent(bytes) => ('C', bytes),
            What::Received(bytes) => ('S', bytes),
            What::SentSecret(count) => {
                self.turn_to('C')?;
                self.begin(record, 'C')?;
                return write!(self.out, "[{count} octets redacted]");
            }
            What::Note(note) => {
                self.turn_to('-')?;
                return writeln!(self.out, "{:>8.3} -- {}", record.at.as_secs_f64(), note.escape_debug());
            }
        };
        self.turn_to(side)?;
        let shown = self.flow.map_or(0, |(_, shown)| shown);
        let take = bytes.len().min(Self::SHOWN.saturating_sub(shown));
        self.elided += bytes.len() - take;
        self.flow = Some((side, shown + take));
        for line in bytes[..take].split_inclusive(|&octet| octet == b'\n') {
            self.begin(record, side)?;
            let text = line.strip_suffix(b"\r\n").unwrap_or(line);
            let text = text.strip_suffix(b"\n").unwrap_or(text);
            write!(self.out, "{}", text.escape_ascii())?;
            if line.ends_with(b"\n") {
                writeln!(self.out)?;
                self.open = false;
            }
        }
        Ok(())
    }

    fn begin(&mut self, record: &Record<'_>, side: char) -> std::io::Result<()> {
        if self.open {
            return Ok(());
        }
        self.open = true;
        let mark = if record.secured { '=' } else { ':' };
        write!(self.out, "{:>8.3} {side}{mark} ", record.at.as_secs_f64())
    }

    /// Ends what the other side was showing.
    fn turn_to(&mut self, side: char) -> std::io::Result<()> {
        if matches!(self.flow, Some((now, _)) if now == side) {
            return Ok(());
        }
        self.flow = Some((side, 0));
        if self.elided > 0 {
            write!(self.out, "[{} octets elided]", self.elided)?;
            self.elided = 0;
            self.open = true;
        }
        if self.open {
            writeln!(self.out)?;
            self.open = false;
        }
        Ok(())
    }
}

impl<W: Write + Send> Trace for TraceWriter<W> {
    fn record(&mut self, record: &Record<'_>) {
        // A trace must not end a session.
        let _ = self.try_record(record);
    }
}

impl<W: Write + Send> Drop for TraceWriter<W> {
    fn drop(&mut self) {
        let _ = self.turn_to('.').and_then(|()| self.out.flush());
    }
}

impl<W: Write + Send> fmt::Debug for TraceWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TraceWriter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_readable_and_holds_no_secret() {
        let mut out = Vec::new();
        let mut trace = TraceWriter::new(&mut out);
        let mut at = 0;
        let mut record = |secured, what| {
            at += 1;
            trace.record(&Record { at: Duration::from_millis(at), secured, what });
        };
        record(false, What::Received(b"* OK re"));
        record(false, What::Received(b"ady\r\n"));
        record(false, What::Sent(b"a1 STARTTLS\r\n"));
        record(false, What::Note("TLSv1.3"));
        record(true, What::Sent(b"a2 LOGIN "));
        record(true, What::SentSecret(7));
        record(true, What::Sent(b"\r\n"));
        record(true, What::Received(&[b'x'; 40_000]));
        record(true, What::Received(b"\x1b]0;title"));
        record(true, What::Sent(b"a3 NOOP\r\n"));
        drop(trace);
        let text = String::from_utf8(out).unwrap();
        let expected = "   0.001 S: * OK ready\n   0.003 C: a1 STARTTLS\n   0.004 -- TLSv1.3\n   0.005 C= a2 LOGIN [7 \
                        octets redacted]\n   0.008 S= ";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("x[23625 octets elided]\n   0.010 C= a3 NOOP\n"), "{text}");
        assert!(!text.contains('\x1b') && text.len() < 20_000);
    }
}
