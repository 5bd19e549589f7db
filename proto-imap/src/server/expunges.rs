//! When a client may be told that messages are gone.

use crate::command_name::CommandName;

/// Whether a client may be told now that messages are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expunges {
    /// While a command is in progress that does not use sequence numbers, and during IDLE. At any other time as well, if
    /// the client has asked for it with NOTIFY and `selected` (RFC 5465 §5.3).
    Allowed,
    /// During FETCH, STORE, SEARCH, SORT and THREAD, whose responses use sequence numbers, and otherwise while no command
    /// is in progress.
    HeldBack,
}

impl Expunges {
    /// Returns whether a client may be told during the command with this name (RFC 9051 §7.5.1, RFC 5256
    /// §3).
    #[must_use]
    pub const fn during(command: CommandName) -> Self {
        match command {
            CommandName::Fetch
            | CommandName::Store
            | CommandName::Search
            | CommandName::Sort
            | CommandName::Thread => Self::HeldBack,
            _ => Self::Allowed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commands_with_sequence_numbers_hold_expunges_back() {
        for name in [
            CommandName::Fetch,
            CommandName::Store,
            CommandName::Search,
            CommandName::Sort,
            CommandName::Thread,
        ] {
            assert_eq!(Expunges::during(name), Expunges::HeldBack);
        }
        for name in [
            CommandName::UidFetch,
            CommandName::UidStore,
            CommandName::UidSearch,
            CommandName::UidSort,
            CommandName::UidThread,
            CommandName::Esearch,
            CommandName::Noop,
        ] {
            assert_eq!(Expunges::during(name), Expunges::Allowed);
        }
    }
}
