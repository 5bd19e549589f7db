//! The states of a session and how commands move it between them (RFC 9051 §3).
//!
//! ```text
//!                    +----------------------+
//!                    |connection established|
//!                    +----------------------+
//!                               ||
//!                               \/
//!             +--------------------------------------+
//!             |          server greeting             |
//!             +--------------------------------------+
//!                       || (1)       || (2)        || (3)
//!                       \/           ||            ||
//!             +-----------------+    ||            ||
//!             |Not Authenticated|    ||            ||
//!             +-----------------+    ||            ||
//!              || (7)   || (4)       ||            ||
//!              ||       \/           \/            ||
//!              ||     +----------------+           ||
//!              ||     | Authenticated  |<=++       ||
//!              ||     +----------------+  ||       ||
//!              ||       || (7)   || (5)   || (6)   ||
//!              ||       ||       \/       ||       ||
//!              ||       ||    +--------+  ||       ||
//!              ||       ||    |Selected|==++       ||
//!              ||       ||    +--------+           ||
//!              ||       ||       || (7)            ||
//!              \/       \/       \/                \/
//!             +--------------------------------------+
//!             |               Logout                 |
//!             +--------------------------------------+
//!
//! (1) OK greeting          (4) successful LOGIN or AUTHENTICATE        (7) LOGOUT, BYE, or the connection ends
//! (2) PREAUTH greeting     (5) successful SELECT or EXAMINE
//! (3) BYE greeting         (6) CLOSE, UNSELECT, or failed SELECT or EXAMINE
//! ```
//!
//! (The figure is that of RFC 9051 §3.) This module defines the transitions as a table, which client and server
//! share. It does not parse or answer commands.

use crate::types::CommandName;

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The client has not logged in.
    NotAuthenticated,
    /// The client has logged in, and no mailbox is selected.
    Authenticated,
    /// A mailbox is selected.
    Selected(Access),
    /// The session is over, or about to be.
    Logout,
}

/// The changes allowed in a selected mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Opened with SELECT: messages and flags may be changed, as far as the user's rights allow.
    ReadWrite,
    /// Opened with EXAMINE, or the server has sent `[READ-ONLY]`.
    ReadOnly,
}

/// The effect of a command on the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Effect {
    /// LOGIN and AUTHENTICATE.
    Authenticate,
    /// SELECT and EXAMINE.
    Select(Access),
    /// CLOSE and UNSELECT.
    Unselect,
    /// LOGOUT.
    Logout,
    /// UNAUTHENTICATE (RFC 8437).
    Unauthenticate,
    /// Every other command, which does not change the state.
    None,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// OK.
    Success,
    /// NO: the command was understood but failed.
    Failure,
    /// BAD: the command was not understood or not allowed, and had no effect.
    Refused,
}

impl Effect {
    /// Returns the effect of the command with this name.
    pub(crate) const fn of(name: CommandName) -> Self {
        match name {
            CommandName::Authenticate | CommandName::Login => Self::Authenticate,
            CommandName::Select => Self::Select(Access::ReadWrite),
            CommandName::Examine => Self::Select(Access::ReadOnly),
            CommandName::Close | CommandName::Unselect => Self::Unselect,
            CommandName::Logout => Self::Logout,
            CommandName::Unauthenticate => Self::Unauthenticate,
            _ => Self::None,
        }
    }
}

impl State {
    /// Returns the state after a command with this effect has ended: the transitions of the figure.
    pub(crate) const fn after(self, effect: Effect, outcome: Outcome) -> Self {
        use Outcome::{Failure, Refused, Success};
        match (self, effect, outcome) {
            (Self::Logout, _, _) => Self::Logout,
            (Self::NotAuthenticated, Effect::Authenticate, Success) => Self::Authenticated,
            (Self::Authenticated | Self::Selected(_), Effect::Select(access), Success) => {
                Self::Selected(access)
            }
            (Self::Selected(_), Effect::Select(_), Failure) => Self::Authenticated,
            (Self::Selected(_), Effect::Unselect, Success) => Self::Authenticated,
            (Self::Authenticated | Self::Selected(_), Effect::Unauthenticate, Success) => {
                Self::NotAuthenticated
            }
            (_, Effect::Logout, Success) => Self::Logout,
            (state, _, Success | Failure | Refused) => state,
        }
    }

    /// Returns whether the client has logged in.
    #[must_use]
    pub const fn is_authenticated(self) -> bool {
        matches!(self, Self::Authenticated | Self::Selected(_))
    }

    /// Returns whether a mailbox is selected.
    #[must_use]
    pub const fn is_selected(self) -> bool {
        matches!(self, Self::Selected(_))
    }
}

/// The states in which a command is allowed (RFC 9051 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Allowed {
    /// In any state.
    Any,
    /// Before authentication only.
    NotAuthenticated,
    /// After authentication, selected or not.
    Authenticated,
    /// With a mailbox selected.
    Selected,
}

impl Allowed {
    /// Returns the states in which the command of this name is allowed; `None` if the name is unknown.
    pub(crate) const fn of(name: CommandName) -> Option<Self> {
        use CommandName as Name;
        Some(match name {
            Name::Capability | Name::Noop | Name::Logout | Name::Id | Name::Language => Self::Any,
            Name::StartTls | Name::Authenticate | Name::Login => Self::NotAuthenticated,
            Name::Check
            | Name::Close
            | Name::Unselect
            | Name::Expunge
            | Name::UidExpunge
            | Name::Search
            | Name::UidSearch
            | Name::Sort
            | Name::UidSort
            | Name::Thread
            | Name::UidThread
            | Name::UidBatches
            | Name::CancelUpdate
            | Name::Fetch
            | Name::UidFetch
            | Name::Store
            | Name::UidStore
            | Name::Copy
            | Name::UidCopy
            | Name::Move
            | Name::UidMove
            | Name::Replace
            | Name::UidReplace => Self::Selected,
            Name::Other => return None,
            _ => Self::Authenticated,
        })
    }

    /// Returns whether a command of this kind is allowed in `state`.
    pub(crate) const fn holds_in(self, state: State) -> bool {
        match self {
            Self::Any => !matches!(state, State::Logout),
            Self::NotAuthenticated => matches!(state, State::NotAuthenticated),
            Self::Authenticated => state.is_authenticated(),
            Self::Selected => state.is_selected(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 5] = [
        State::NotAuthenticated,
        State::Authenticated,
        State::Selected(Access::ReadWrite),
        State::Selected(Access::ReadOnly),
        State::Logout,
    ];

    #[test]
    fn allows_only_the_transitions_of_the_figure() {
        use Outcome::{Failure, Refused, Success};
        let (write, read) = (Access::ReadWrite, Access::ReadOnly);
        let arrows = [
            (State::NotAuthenticated, Effect::Authenticate, Success, State::Authenticated),
            (State::Authenticated, Effect::Select(write), Success, State::Selected(write)),
            (State::Authenticated, Effect::Select(read), Success, State::Selected(read)),
            (State::Selected(write), Effect::Select(read), Success, State::Selected(read)),
            (State::Selected(read), Effect::Select(write), Success, State::Selected(write)),
            (State::Selected(write), Effect::Select(write), Failure, State::Authenticated),
            (State::Selected(write), Effect::Select(read), Failure, State::Authenticated),
            (State::Selected(read), Effect::Select(write), Failure, State::Authenticated),
            (State::Selected(read), Effect::Select(read), Failure, State::Authenticated),
            (State::Selected(write), Effect::Unselect, Success, State::Authenticated),
            (State::Selected(read), Effect::Unselect, Success, State::Authenticated),
            (State::Authenticated, Effect::Unauthenticate, Success, State::NotAuthenticated),
            (State::Selected(write), Effect::Unauthenticate, Success, State::NotAuthenticated),
            (State::Selected(read), Effect::Unauthenticate, Success, State::NotAuthenticated),
            (State::NotAuthenticated, Effect::Logout, Success, State::Logout),
            (State::Authenticated, Effect::Logout, Success, State::Logout),
            (State::Selected(write), Effect::Logout, Success, State::Logout),
            (State::Selected(read), Effect::Logout, Success, State::Logout),
        ];
        let effects = [
            Effect::Authenticate,
            Effect::Select(write),
            Effect::Select(read),
            Effect::Unselect,
            Effect::Unauthenticate,
            Effect::Logout,
            Effect::None,
        ];
        for from in STATES {
            for effect in effects {
                for outcome in [Success, Failure, Refused] {
                    let to = arrows
                        .iter()
                        .find(|arrow| (arrow.0, arrow.1, arrow.2) == (from, effect, outcome))
                        .map_or(from, |arrow| arrow.3);
                    assert_eq!(from.after(effect, outcome), to, "{from:?} {effect:?} {outcome:?}");
                }
            }
        }
    }

    #[test]
    fn maps_commands_to_effects() {
        use CommandName as Name;
        for (names, effect) in [
            (&[Name::Login, Name::Authenticate][..], Effect::Authenticate),
            (&[Name::Select], Effect::Select(Access::ReadWrite)),
            (&[Name::Examine], Effect::Select(Access::ReadOnly)),
            (&[Name::Close, Name::Unselect], Effect::Unselect),
            (&[Name::Logout], Effect::Logout),
            (&[Name::Unauthenticate], Effect::Unauthenticate),
            (&[Name::Noop, Name::StartTls, Name::Append, Name::Expunge, Name::Other], Effect::None),
        ] {
            assert!(names.iter().all(|name| Effect::of(*name) == effect), "{names:?}");
        }
    }

    #[test]
    fn allows_commands_in_the_states_of_the_rfc() {
        let table = [
            (Allowed::Any, [true, true, true, true, false]),
            (Allowed::NotAuthenticated, [true, false, false, false, false]),
            (Allowed::Authenticated, [false, true, true, true, false]),
            (Allowed::Selected, [false, false, true, true, false]),
        ];
        for (allowed, row) in table {
            for (state, expected) in STATES.into_iter().zip(row) {
                assert_eq!(allowed.holds_in(state), expected, "{allowed:?} {state:?}");
            }
        }
    }
}
