//! UIDONLY: a session without sequence numbers (RFC 9586).
//!
//! After `ENABLE UIDONLY` a server reports UIDFETCH and VANISHED instead of FETCH and EXPUNGE, and rejects every command
//! that names messages by their sequence numbers, or returns such numbers.

use crate::types::{Command, CommandName, SearchKey, SelectCommand, SelectParameter};

/// Returns whether every command of this name uses sequence numbers.
pub(crate) const fn uses_sequence_numbers(name: CommandName) -> bool {
    matches!(
        name,
        CommandName::Copy
            | CommandName::Fetch
            | CommandName::Move
            | CommandName::Replace
            | CommandName::Search
            | CommandName::Sort
            | CommandName::Store
            | CommandName::Thread
    )
}

/// Returns whether the command or one of its arguments uses sequence numbers. `$` is a saved result and uses none.
pub(crate) fn names_sequence_numbers(command: &Command<'_>) -> bool {
    let keys = match command {
        Command::UidSearch(search) => search.keys,
        Command::UidSort(sort) => sort.keys,
        Command::UidThread(thread) => thread.keys,
        Command::Esearch(search) => search.search.keys,
        Command::Select(select) | Command::Examine(select) => return has_known_pairs(select),
        _ => return uses_sequence_numbers(command.name()),
    };
    keys.iter().any(|key| is_of_sequence_numbers(&key))
}

/// Returns whether QRESYNC has pairs of sequence numbers and UIDs.
fn has_known_pairs(select: &SelectCommand<'_>) -> bool {
    select
        .parameters
        .iter()
        .any(|parameter| matches!(parameter, SelectParameter::QResync(known) if known.known_pairs.is_some()))
}

/// The parser and the encoder limit how deep keys are nested.
fn is_of_sequence_numbers(key: &SearchKey<'_>) -> bool {
    match key {
        SearchKey::Sequence(set) => !set.is_saved(),
        SearchKey::Not(key) | SearchKey::Fuzzy(key) => {
            key.view().is_some_and(|key| is_of_sequence_numbers(&key))
        }
        SearchKey::Or(one, other) => {
            [one, other].iter().any(|key| key.view().is_some_and(|key| is_of_sequence_numbers(&key)))
        }
        SearchKey::And(keys) => keys.iter().any(|key| is_of_sequence_numbers(&key)),
        _ => false,
    }
}
