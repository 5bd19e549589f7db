//! The tag of the command in progress, and whether a trace may show it.

use alloc::vec::Vec;

use proto_mail::SendBuffer;
use proto_mail::trace::TraceKind;

use crate::types::CommandName;
use crate::types::Tag;

/// The maximum length of a tag that is repeated to a client, in bytes.
const LONGEST: usize = 256;

/// The tag of the command in progress.
pub(super) struct CommandTag {
    /// The bytes of the tag; empty if the command has no valid tag.
    bytes: Vec<u8>,
    /// How a trace shows the tag: a password on its own line can look like a tag.
    kind: TraceKind,
    login: LoginAttempt,
}

/// Whether credentials may arrive where none are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginAttempt {
    None,
    /// The client has started to log in and was not accepted yet.
    Begun,
}

impl CommandTag {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), kind: TraceKind::Unknown, login: LoginAttempt::None }
    }

    /// Stores the tag of the command that this line starts.
    pub(super) fn begin(&mut self, line: &[u8]) {
        let tag = line.split(|byte| matches!(byte, b' ' | b'\r' | b'\n')).next().unwrap_or_default();
        self.bytes.clear();
        self.kind = TraceKind::Unknown;
        if tag.len() <= LONGEST && Tag::new(tag).is_ok() {
            self.bytes.extend_from_slice(tag);
        }
    }

    /// Allows a trace to show the tag, because the command's name is known and on the tag's line. A tag that may be a
    /// late credential stays hidden.
    pub(super) fn show_for(&mut self, name: CommandName) {
        if name != CommandName::Other && self.login == LoginAttempt::None {
            self.kind = TraceKind::Text;
        }
    }

    /// Records the name of the command. From LOGIN or AUTHENTICATE on, until a login succeeds, tags may be credentials.
    pub(super) fn named(&mut self, name: CommandName) {
        if matches!(name, CommandName::Login | CommandName::Authenticate) {
            self.login = LoginAttempt::Begun;
        }
    }

    /// Records that the client has logged in.
    pub(super) const fn login_accepted(&mut self) {
        self.login = LoginAttempt::None;
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn get(&self) -> Option<Tag<'_>> {
        // `begin` has checked the bytes.
        (!self.is_empty()).then(|| Tag::checked(&self.bytes))
    }

    pub(super) const fn kind(&self) -> TraceKind {
        self.kind
    }

    /// Returns the start of the answer: the tag, or `*`.
    pub(super) fn shown(&self) -> &[u8] {
        if self.bytes.is_empty() { b"*" } else { &self.bytes }
    }

    /// Writes the start of the answer.
    pub(super) fn put(&self, tx: &mut SendBuffer) {
        tx.put_as(self.shown(), self.kind);
    }

    /// Writes a line that begins with the tag.
    pub(super) fn put_line(&self, line: &[u8], tx: &mut SendBuffer) {
        let (tag, rest) = line.split_at(self.shown().len().min(line.len()));
        tx.put_as(tag, self.kind);
        tx.put(rest);
    }
}

/// Shows the length of the tag and not its bytes, which may be a secret of the client.
impl core::fmt::Debug for CommandTag {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { bytes, kind, login } = self;
        f.debug_struct("CommandTag")
            .field("tag_len", &bytes.len())
            .field("kind", kind)
            .field("login", login)
            .finish()
    }
}
