//! Where traces go, and how they look. What may stand in one is the library's business.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use io_mio::Trace;
use io_mio::trace::{NameVisibility, TraceFormat, TraceWriter};

use crate::cli;
use crate::failure::Failure;
use crate::line_writer::LineWriter;
use crate::private;

/// Makes the trace of each connection: all of them go to one place, line by line.
#[derive(Debug, Clone)]
pub(crate) struct Tracing {
    place: Arc<Mutex<Place>>,
    format: TraceFormat,
    names: NameVisibility,
}

#[derive(Debug)]
enum Place {
    File(File),
    StandardError,
    /// Standard error of a server, which must not wait for its reader.
    Lines(LineWriter),
}

impl Tracing {
    /// What the user asked for, if it is anything.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn asked(options: &cli::Trace) -> Result<Option<Self>, Failure> {
        let Some(path) = &options.trace else { return Ok(None) };
        let place = if path.as_os_str() == "-" {
            Place::StandardError
        } else {
            Place::File(private::create_file(path)?)
        };
        let format = match options.trace_format {
            cli::TraceFormat::Text => TraceFormat::Text,
            cli::TraceFormat::Json => TraceFormat::Json,
        };
        let names = if options.trace_without_names { NameVisibility::Hidden } else { NameVisibility::Shown };
        Ok(Some(Self { place: Arc::new(Mutex::new(place)), format, names }))
    }

    /// The same for a server: lines for standard error go through `log`, which never blocks.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn asked_of_server(options: &cli::Trace, log: &LineWriter) -> Result<Option<Self>, Failure> {
        let Some(tracing) = Self::asked(options)? else { return Ok(None) };
        let mut place = tracing.place.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if matches!(*place, Place::StandardError) {
            *place = Place::Lines(log.clone());
        }
        drop(place);
        Ok(Some(tracing))
    }

    /// The trace of one connection.
    pub(crate) fn begin(&self) -> Box<dyn Trace> {
        Box::new(TraceWriter::new(Line(Arc::clone(&self.place))).format(self.format).names(self.names))
    }
}

/// Writes whole lines, one connection at a time.
struct Line(Arc<Mutex<Place>>);

impl Write for Line {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        // Whoever panicked while it wrote has left a line at most.
        let mut place = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &mut *place {
            Place::File(file) => file.write_all(octets)?,
            Place::StandardError => io::stderr().write_all(octets)?,
            Place::Lines(lines) => lines.line(octets),
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
