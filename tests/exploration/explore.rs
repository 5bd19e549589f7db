//! Breadth-first state exploration: visits every state that a sequence of moves can reach, and tries every move there.
//!
//! A machine is not `Clone`, on purpose. A state is therefore stored as the shortest sequence of moves that leads to
//! it, and is replayed for each move. Two states are equal if their descriptions are equal. This module knows no
//! protocol.

use std::collections::HashSet;
use std::fmt::Debug;

/// What is explored: a machine with its buffers, its application and its peer.
pub(crate) trait World {
    /// An action of the peer or the application.
    type Move: Copy + Debug;

    /// Returns the possible moves. Empty in a final state.
    fn moves(&self) -> Vec<Self::Move>;

    /// Makes a move.
    fn make(&mut self, next: Self::Move);

    /// Describes everything that can influence later moves, and no more. Numbers that only distinguish one step from
    /// another are left out.
    fn state(&self) -> String;

    /// Checks every invariant. Returns how many checks were made.
    ///
    /// # Errors
    /// The invariant that does not hold.
    fn judge(&self) -> Result<usize, String>;

    /// Returns the state if the last move completed the upgrade to TLS.
    fn behind_the_gate(&self) -> Option<String>;
}

/// Whether TLS is established, and whether the last move established it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secured {
    No,
    JustNow,
    Before,
}

impl Secured {
    /// Records that another move was made.
    pub(crate) fn pass(&mut self) {
        if *self == Self::JustNow {
            *self = Self::Before;
        }
    }
}

/// The size of an exploration.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Figures {
    /// The number of different states.
    pub(crate) states: usize,
    /// The number of moves made in them.
    pub(crate) transitions: usize,
    /// The number of checks made after the moves.
    pub(crate) statements: usize,
    /// The length of the longest of the shortest paths to a state.
    pub(crate) depth: usize,
    /// The number of moves that completed the upgrade to TLS.
    pub(crate) upgrades: usize,
    /// The states after the upgrade.
    pub(crate) behind: HashSet<String>,
}

impl Figures {
    /// Adds the figures of another exploration.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.states += other.states;
        self.transitions += other.transitions;
        self.statements += other.statements;
        self.depth = self.depth.max(other.depth);
        self.upgrades += other.upgrades;
        self.behind.extend(other.behind);
        self
    }
}

/// Explores from a start until every move of every state was tried, or until every path has `depth` moves.
///
/// # Panics
/// If an invariant does not hold, with the path that leads there; or if the same path leads to two states.
pub(crate) fn explore<W: World>(start: impl Fn() -> W, depth: usize) -> Figures {
    let first = start().state();
    let mut figures = Figures { states: 1, ..Figures::default() };
    let mut seen = HashSet::from([first.clone()]);
    let mut ways = vec![(Vec::new(), first)];
    let mut at = 0;
    while at < ways.len() {
        let (way, state) = ways[at].clone();
        at += 1;
        if way.len() >= depth {
            continue;
        }
        let here = follow(&start, &way);
        assert_eq!(here.state(), state, "the same moves lead elsewhere: {way:#?}");
        for next in here.moves() {
            let mut world = follow(&start, &way);
            world.make(next);
            let way = [way.as_slice(), &[next]].concat();
            figures.transitions += 1;
            match world.judge() {
                Ok(statements) => figures.statements += statements,
                Err(broken) => panic!("{broken}\nafter {way:#?}\nin {}", world.state()),
            }
            if let Some(behind) = world.behind_the_gate() {
                figures.upgrades += 1;
                figures.behind.insert(behind);
            }
            let state = world.state();
            if seen.insert(state.clone()) {
                figures.states += 1;
                figures.depth = figures.depth.max(way.len());
                ways.push((way, state));
            }
        }
    }
    figures
}

/// Replays a path.
fn follow<W: World>(start: impl Fn() -> W, way: &[W::Move]) -> W {
    let mut world = start();
    way.iter().for_each(|&next| world.make(next));
    world
}

/// Returns a machine's description without its configuration, which never changes, and without the numbers of these
/// names, which grow without limit.
pub(crate) fn described(machine: &impl Debug, left_out: &[&str]) -> String {
    let mut text = format!("{machine:?}");
    if let Some(from) = text.find("config: Config {") {
        text.replace_range(from..closing(&text, from), "");
    }
    without(text, left_out)
}

/// Returns a text without the numbers of these names.
pub(crate) fn without(mut text: String, left_out: &[&str]) -> String {
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
pub(crate) fn without_text(mut text: String, from: &str, to: &str) -> String {
    if let Some(begin) = text.find(from).map(|at| at + from.len())
        && let Some(len) = text[begin..].find(to)
    {
        text.replace_range(begin..begin + len, "");
    }
    text
}

/// Returns the text with every larger number of this name replaced by `most`: larger numbers all mean the same.
pub(crate) fn capped(mut text: String, name: &str, most: u64) -> String {
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
pub(crate) fn counted_from(text: String, name: &str, base: u64) -> String {
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

    impl World for Counter {
        type Move = u8;

        fn moves(&self) -> Vec<u8> {
            if self.0 < 4 { vec![1, 2] } else { Vec::new() }
        }

        fn make(&mut self, next: u8) {
            self.0 += next;
        }

        fn state(&self) -> String {
            self.0.to_string()
        }

        fn judge(&self) -> Result<usize, String> {
            Ok(1)
        }

        fn behind_the_gate(&self) -> Option<String> {
            (self.0 == 4).then(|| self.state())
        }
    }

    #[test]
    fn every_state_is_visited_and_every_move_is_tried() {
        let figures = explore(|| Counter(0), 100);
        assert_eq!((figures.states, figures.transitions, figures.statements), (6, 8, 8));
        assert_eq!((figures.depth, figures.upgrades), (3, 2));
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
        let text = described(&machine, &["serial"]);
        assert_eq!(text, "Machine { _config: [], , serial: , errors: 2 }");
        assert_eq!(capped(text.clone(), "errors", 1), "Machine { _config: [], , serial: , errors: 1 }");
        assert_eq!(capped(text.clone(), "errors", 2), text);
    }
}
