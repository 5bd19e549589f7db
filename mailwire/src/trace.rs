//! Where traces are written, and their format. The library decides what a trace may contain.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use io_mio::Trace;
use io_mio::trace::{NameVisibility, TraceFormat, TraceWriter};

use crate::command_error::CommandError;
use crate::line_writer::LineWriter;
use crate::options::{self, TraceOptions};
use crate::private_files;

/// Creates the trace of each connection. All traces are written to one destination, line by line.
#[derive(Debug, Clone)]
pub(crate) struct Tracing {
    destination: Arc<Mutex<Destination>>,
    format: TraceFormat,
    names: NameVisibility,
}

#[derive(Debug)]
enum Destination {
    File(File),
    StandardError,
    /// Standard error of a server, through a writer that never blocks.
    Lines(LineWriter),
}

impl Tracing {
    /// Opens the destination. Returns `None` if the user requested no trace.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn from_options(options: &TraceOptions) -> Result<Option<Self>, CommandError> {
        let Some(path) = &options.trace else { return Ok(None) };
        let destination = if path.as_os_str() == "-" {
            Destination::StandardError
        } else {
            Destination::File(private_files::create_file(path)?)
        };
        let format = match options.trace_format {
            options::TraceFormat::Text => TraceFormat::Text,
            options::TraceFormat::Json => TraceFormat::Json,
        };
        let names = if options.trace_without_names { NameVisibility::Hidden } else { NameVisibility::Shown };
        Ok(Some(Self { destination: Arc::new(Mutex::new(destination)), format, names }))
    }

    /// Opens the destination for a server: traces on standard error go through `log`, which never blocks.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn for_server(options: &TraceOptions, log: &LineWriter) -> Result<Option<Self>, CommandError> {
        let Some(tracing) = Self::from_options(options)? else { return Ok(None) };
        let mut destination = tracing.destination.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if matches!(*destination, Destination::StandardError) {
            *destination = Destination::Lines(log.clone());
        }
        drop(destination);
        Ok(Some(tracing))
    }

    /// Returns the trace of a new connection.
    pub(crate) fn begin(&self) -> Box<dyn Trace> {
        Box::new(
            TraceWriter::new(TraceLines(Arc::clone(&self.destination))).format(self.format).names(self.names),
        )
    }
}

/// Writes whole lines, so that connections do not mix within a line.
struct TraceLines(Arc<Mutex<Destination>>);

impl Write for TraceLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A panic during a write leaves at most an incomplete line.
        let mut destination = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &mut *destination {
            Destination::File(file) => file.write_all(bytes)?,
            Destination::StandardError => io::stderr().write_all(bytes)?,
            Destination::Lines(lines) => lines.line(bytes),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
