//! A command line above the limit: the server discards it and answers BAD, so that a client that sends a very long sequence
//! set keeps its session.
//!
//! At most 64 bytes of the line are held, which may announce a literal. The line may have as many bytes as a command. Before
//! the login the session ends instead: no client needs such lines there.

use proto_mail::{Error, Limit, PeerError, RecvBuffer, SendBuffer};

use super::refusal::Refusal;
use super::session::{Found, Session, Turn};
use crate::frame::{self, LineEnd, LiteralHeader, Sync};
use crate::parse;
use crate::types::CommandName;

/// The bytes at the end of a line that are held: an announcement of a literal, and its line end.
const HELD: usize = LONGEST + 4;

/// An announcement of this length has leading zeros or cannot be met. It ends the session.
const LONGEST: usize = 60;

const TOO_LONG: Refusal = Refusal::no("BAD [LIMIT]", "the command line is too long");

impl Session {
    /// Starts to discard the current line of a command, which is too long.
    pub(super) fn begin_long_line(&mut self, rx: &RecvBuffer, tx: &mut SendBuffer) -> Result<Found, Error> {
        if !self.state.is_authenticated() {
            return Err(self.fail(Limit::Line.into(), "a command is too long", tx));
        }
        if self.reader.framer.is_first_line() {
            let bytes = rx.bytes();
            self.counters.empty_lines = 0;
            self.tag.begin(bytes);
            self.count_command(tx)?;
            self.tag.named(parse::command_name(bytes).map_or(CommandName::Other, |(_, name, _)| name));
        }
        self.turn =
            Turn::LongLine { begin: self.reader.framer.line_offset(), left: self.config.limits.frame };
        Ok(Found::Silent)
    }

    /// Discards what has arrived of the line. `begin` bytes before it belong to the same command.
    pub(super) fn skip_long_line(
        &mut self,
        (begin, left): (usize, usize),
        rx: &mut RecvBuffer,
        tx: &mut SendBuffer,
    ) -> Result<Found, Error> {
        rx.consume_wiping(begin);
        self.reader.framer.reset();
        let line = rx.bytes();
        let end = memchr::memchr(b'\n', line);
        let text = match end {
            Some(end) => line.get(..end).and_then(|line| line.strip_suffix(b"\r")),
            None => Some(line.strip_suffix(b"\r").unwrap_or(line)),
        };
        let Some(text) = text.filter(|text| !frame::has_forbidden(text)) else {
            // What a client takes for a line end decides whether a literal follows.
            let farewell = "CR, LF and NUL are not allowed in a command line";
            return Err(self.fail(PeerError::ForbiddenByte.into(), farewell, tx));
        };
        let discarded = end.map_or(line.len().saturating_sub(HELD), |end| end + 1);
        let Some(left) = left.checked_sub(discarded) else {
            return Err(self.fail(Limit::Frame.into(), "a command is too long", tx));
        };
        let ending = if is_long_announcement(text) {
            LineEnd::Endless(Sync::NonSynchronising)
        } else {
            frame::ending(text)
        };
        rx.consume_wiping(discarded);
        if end.is_none() {
            self.turn = Turn::LongLine { begin: 0, left };
            return Ok(if discarded > 0 { Found::Silent } else { Found::More });
        }
        self.turn = Turn::Command;
        match ending {
            LineEnd::Endless(Sync::NonSynchronising) => Err(self.endless_literal(tx)),
            LineEnd::Literal(announced @ LiteralHeader { sync: Sync::NonSynchronising, .. }) => {
                self.refuse_at_literal(0, announced, TOO_LONG, tx)
            }
            // The client waits before it sends a literal, and is refused.
            _ => self.refuse_command(0, TOO_LONG, tx),
        }
    }
}

/// Returns whether a line ends with the announcement of a literal that may be longer than what is held of the line.
fn is_long_announcement(text: &[u8]) -> bool {
    let Some(end) = text.len().checked_sub(LONGEST).and_then(|start| text.get(start..)) else { return false };
    let Some(inside) = end.strip_suffix(b"}") else { return false };
    inside.strip_suffix(b"+").unwrap_or(inside).iter().all(u8::is_ascii_digit)
}
