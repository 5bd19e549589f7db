//! The tag of the command in progress, and whether a trace may show it.

use alloc::vec::Vec;

use proto_mail::SendBuffer;
use proto_mail::trace::TraceKind;

use crate::types::CommandName;
use crate::types::Tag;

/// The longest tag that is repeated to a client.
const LONGEST: usize = 256;

/// The tag of the command in progress.
pub(super) struct CommandTag {
    /// Empty for a command without a valid tag.
    bytes: Vec<u8>,
    /// How a trace shows it: a password on a line of its own can look like a tag.
    kind: TraceKind,
    login: LoginAttempt,
}

/// Whether credentials may arrive where no credentials are expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoginAttempt {
    None,
    /// The client has begun to log in and was not accepted yet.
    Begun,
}

impl CommandTag {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), kind: TraceKind::Unknown, login: LoginAttempt::None }
    }

    /// Keeps the tag of the command that this line begins.
    pub(super) fn begin(&mut self, line: &[u8]) {
        let tag = line.split(|byte| matches!(byte, b' ' | b'\r' | b'\n')).next().unwrap_or_default();
        self.bytes.clear();
        self.kind = TraceKind::Unknown;
        if tag.len() <= LONGEST && Tag::new(tag).is_ok() {
            self.bytes.extend_from_slice(tag);
        }
    }

    /// The command's name is known: its tag may be shown, unless it may be a credential that was sent too late.
    pub(super) fn named(&mut self, name: CommandName, first_line: bool) {
        if name != CommandName::Other && self.login == LoginAttempt::None && first_line {
            self.kind = TraceKind::Text;
        }
        if matches!(name, CommandName::Login | CommandName::Authenticate) {
            self.login = LoginAttempt::Begun;
        }
    }

    /// The client has logged in.
    pub(super) const fn login_accepted(&mut self) {
        self.login = LoginAttempt::None;
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn get(&self) -> Option<Tag<'_>> {
        Tag::new(&self.bytes).ok()
    }

    pub(super) const fn kind(&self) -> TraceKind {
        self.kind
    }

    /// What the answer begins with: the tag, or `*`.
    pub(super) fn shown(&self) -> &[u8] {
        if self.bytes.is_empty() { b"*" } else { &self.bytes }
    }

    /// Writes what the answer begins with.
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

/// Shows how long the tag is, not what it is: it may be a secret of the client.
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
