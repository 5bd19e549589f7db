//! Breadth-first state exploration: visits every state that a sequence of actions can reach, and tries every action there.
//!
//! A machine is not `Clone`, on purpose. A state is therefore stored as the shortest sequence of actions that leads to
//! it, and is replayed for each action. Two states are equal if their descriptions are equal. This module knows no
//! protocol.

use std::collections::HashSet;
use std::fmt::Debug;

/// What is explored: a machine with its buffers, its application and its peer.
pub(crate) trait SystemUnderTest {
    /// An action of the peer or the application.
    type Action: Copy + Debug;

    /// Returns the possible actions. Empty in a final state.
    fn actions(&self) -> Vec<Self::Action>;

    /// Performs an action.
    fn perform(&mut self, next: Self::Action);

    /// Describes everything that can influence later actions, and no more. Numbers that only distinguish one step from
    /// another are left out.
    fn state(&self) -> String;

    /// Checks every invariant. Returns how many checks were made.
    ///
    /// # Errors
    /// The invariant that does not hold.
    fn check_invariants(&self) -> Result<usize, String>;

    /// Returns the state if the last action completed the upgrade to TLS.
    fn state_after_upgrade(&self) -> Option<String>;
}

/// Whether TLS is established, and whether the last action established it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secured {
    No,
    JustNow,
    Before,
}

impl Secured {
    /// Records that another action was made.
    pub(crate) fn note_action(&mut self) {
        if *self == Self::JustNow {
            *self = Self::Before;
        }
    }
}

/// The size of an exploration.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The number of different states.
    pub(crate) states: usize,
    /// The number of actions performed in them.
    pub(crate) transitions: usize,
    /// The number of checks after the actions.
    pub(crate) checks: usize,
    /// The length of the longest of the shortest paths to a state.
    pub(crate) depth: usize,
    /// The number of actions that completed the upgrade to TLS.
    pub(crate) upgrades: usize,
    /// The states after the upgrade.
    pub(crate) states_after_upgrade: HashSet<String>,
}

impl Counts {
    /// Adds the counts of another exploration.
    pub(crate) fn plus(mut self, other: Self) -> Self {
        self.states += other.states;
        self.transitions += other.transitions;
        self.checks += other.checks;
        self.depth = self.depth.max(other.depth);
        self.upgrades += other.upgrades;
        self.states_after_upgrade.extend(other.states_after_upgrade);
        self
    }
}

/// Explores from a start until every action was tried in every state, or until every path has `depth` actions.
///
/// # Panics
/// If an invariant does not hold, with the path that leads there; or if the same path leads to two states.
pub(crate) fn explore<S: SystemUnderTest>(start: impl Fn() -> S, depth: usize) -> Counts {
    let first = start().state();
    let mut counts = Counts { states: 1, ..Counts::default() };
    let mut seen = HashSet::from([first.clone()]);
    let mut paths = vec![(Vec::new(), first)];
    let mut at = 0;
    while at < paths.len() {
        let (path, state) = paths[at].clone();
        at += 1;
        if path.len() >= depth {
            continue;
        }
        let current = replay(&start, &path);
        assert_eq!(current.state(), state, "the same actions lead to another state: {path:#?}");
        for next in current.actions() {
            let mut system = replay(&start, &path);
            system.perform(next);
            let path = [path.as_slice(), &[next]].concat();
            counts.transitions += 1;
            match system.check_invariants() {
                Ok(checks) => counts.checks += checks,
                Err(broken) => panic!("{broken}\nafter {path:#?}\nin {}", system.state()),
            }
            if let Some(upgraded) = system.state_after_upgrade() {
                counts.upgrades += 1;
                counts.states_after_upgrade.insert(upgraded);
            }
            let state = system.state();
            if seen.insert(state.clone()) {
                counts.states += 1;
                counts.depth = counts.depth.max(path.len());
                paths.push((path, state));
            }
        }
    }
    counts
}

/// Replays a path.
fn replay<S: SystemUnderTest>(start: impl Fn() -> S, path: &[S::Action]) -> S {
    let mut system = start();
    path.iter().for_each(|&next| system.perform(next));
    system
}

/// Returns a machine's description without its configuration, which never changes, and without the numbers of these
/// names, which grow without limit.
pub(crate) fn describe(machine: &impl Debug, left_out: &[&str]) -> String {
    let mut text = format!("{machine:?}");
    if let Some(from) = text.find("config: Config {") {
        text.replace_range(from..closing(&text, from), "");
    }
    remove_numbers(text, left_out)
}

/// Returns a text without the numbers of these names.
pub(crate) fn remove_numbers(mut text: String, left_out: &[&str]) -> String {
    for name in left_out {
        let field = format!("{name}: ");
        let mut from = 0;
        while let Some(at) = text.get(from..).and_then(|rest| rest.find(&field)) {
            let begin = from + at + field.len();
            let digits = text[begin..].bytes().take_while(u8::is_ascii_digit).count();
            text.replace_range(begin..begin + digits, "");
            from = begin;
        }
    }
    text
}

/// Returns a text without what is between these two.
pub(crate) fn remove_between(mut text: String, from: &str, to: &str) -> String {
    if let Some(begin) = text.find(from).map(|at| at + from.len())
        && let Some(len) = text[begin..].find(to)
    {
        text.replace_range(begin..begin + len, "");
    }
    text
}

/// Returns the text with every larger number of this name replaced by `most`: larger numbers all mean the same.
pub(crate) fn cap_numbers(mut text: String, name: &str, most: u64) -> String {
    let field = format!(" {name}: ");
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(&field)) {
        let begin = from + at + field.len();
        let digits = text[begin..].bytes().take_while(u8::is_ascii_digit).count();
        if text[begin..begin + digits].parse().is_ok_and(|number: u64| number > most) {
            text.replace_range(begin..begin + digits, &most.to_string());
        }
        from = begin;
    }
    text
}

/// Returns the text with every number of this name counted from `base`. Smaller numbers are all the same.
pub(crate) fn rebase_numbers(text: String, name: &str, base: u64) -> String {
    let field = format!(" {name}: ");
    let mut parts = text.split(field.as_str());
    let mut counted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = part[..digits].parse().unwrap();
        counted.extend([&field, &number.saturating_sub(base).to_string(), &part[digits..]]);
    }
    counted
}

/// Returns the offset after the brace that closes the first one opened at or after `from`.
fn closing(text: &str, from: usize) -> usize {
    let mut open = 0_usize;
    for (at, byte) in text.bytes().enumerate().skip(from) {
        match byte {
            b'{' => open += 1,
            b'}' if open == 1 => return at + 1,
            b'}' => open -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts to 4, and forgets its count at the upgrade.
    #[derive(Debug, Clone)]
    struct Counter(u8);

    impl SystemUnderTest for Counter {
        type Action = u8;

        fn actions(&self) -> Vec<u8> {
            if self.0 < 4 { vec![1, 2] } else { Vec::new() }
        }

        fn perform(&mut self, next: u8) {
            self.0 += next;
        }

        fn state(&self) -> String {
            self.0.to_string()
        }

        fn check_invariants(&self) -> Result<usize, String> {
            Ok(1)
        }

        fn state_after_upgrade(&self) -> Option<String> {
            (self.0 == 4).then(|| self.state())
        }
    }

    #[test]
    fn every_state_is_visited_and_every_move_is_tried() {
        let counts = explore(|| Counter(0), 100);
        assert_eq!((counts.states, counts.transitions, counts.checks), (6, 8, 8));
        assert_eq!((counts.depth, counts.upgrades), (3, 2));
        assert_eq!(explore(|| Counter(0), 1).states, 3);
    }

    #[test]
    fn a_description_has_no_running_numbers() {
        #[derive(Debug)]
        struct Config {
            _size: u8,
        }
        #[derive(Debug)]
        struct Machine {
            _config: [u8; 0],
            config: Config,
            serial: u32,
            errors: u32,
        }
        let machine = Machine { _config: [], config: Config { _size: 1 }, serial: 71, errors: 2 };
        let _ = (&machine.config, machine.serial, machine.errors);
        let text = describe(&machine, &["serial"]);
        assert_eq!(text, "Machine { _config: [], , serial: , errors: 2 }");
        assert_eq!(cap_numbers(text.clone(), "errors", 1), "Machine { _config: [], , serial: , errors: 1 }");
        assert_eq!(cap_numbers(text.clone(), "errors", 2), text);
    }
}
