//! A breadth-first walk: every state that some sequence of moves leads to is visited, and every move is tried in it.
//!
//! A machine cannot be copied, on purpose. So a state is kept as the shortest sequence of moves that leads to it, and is
//! played again for each move that is tried there. Two states are one if their descriptions are the same. This file knows
//! no protocol.

use std::collections::HashSet;
use std::fmt::Debug;

/// Something whose moves can be tried: a machine with its buffers, its application and its peer.
pub(crate) trait World {
    /// What the peer or the application may do.
    type Move: Copy + Debug;

    /// What may be done now. None: nothing can follow.
    fn moves(&self) -> Vec<Self::Move>;

    /// Does it.
    fn make(&mut self, next: Self::Move);

    /// Everything that what follows depends on, and no more: numbers that only tell one step from another are left out.
    fn state(&self) -> String;

    /// Holds what has happened to every statement, and says how many there were.
    ///
    /// # Errors
    /// Which statement does not hold.
    fn judge(&self) -> Result<usize, String>;

    /// The state, if the last move has led through the gate.
    fn behind_the_gate(&self) -> Option<String>;
}

/// Whether TLS is in place, and whether since the last move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secured {
    No,
    JustNow,
    Before,
}

impl Secured {
    /// Another move is made.
    pub(crate) fn pass(&mut self) {
        if *self == Self::JustNow {
            *self = Self::Before;
        }
    }
}

/// How much was walked.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Figures {
    /// How many different states there are.
    pub(crate) states: usize,
    /// How many moves were made in them.
    pub(crate) transitions: usize,
    /// How many statements were checked behind them.
    pub(crate) statements: usize,
    /// The longest of the shortest ways to a state.
    pub(crate) depth: usize,
    /// How many moves led through the gate.
    pub(crate) upgrades: usize,
    /// The states that they led to.
    pub(crate) behind: HashSet<String>,
}

impl Figures {
    /// Both walks together.
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

/// Walks from a start until there is no state left whose moves were not tried, or until every way is `depth` moves long.
///
/// # Panics
/// If a statement does not hold, with the way that leads there; or if the same way leads to two states.
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

/// Plays a way again.
fn follow<W: World>(start: impl Fn() -> W, way: &[W::Move]) -> W {
    let mut world = start();
    way.iter().for_each(|&next| world.make(next));
    world
}

/// A machine's description without what only tells one step from another: its configuration, which never changes, and
/// the numbers that count up for ever. Numbers of these names are cut at a bound.
pub(crate) fn described(machine: &impl Debug, left_out: &[&str]) -> String {
    let mut text = format!("{machine:?}");
    if let Some(from) = text.find("config: Config {") {
        text.replace_range(from..closing(&text, from), "");
    }
    without(text, left_out)
}

/// A text without the numbers of these names.
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

/// A text without what stands between these.
pub(crate) fn without_text(mut text: String, from: &str, to: &str) -> String {
    if let Some(begin) = text.find(from).map(|at| at + from.len())
        && let Some(len) = text[begin..].find(to)
    {
        text.replace_range(begin..begin + len, "");
    }
    text
}

/// The same, with every number of this name that is larger than `most` as large as that: where all of them mean the
/// same.
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

/// The same, with every number of this name counted from `base` on: what lies before it is all the same.
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

/// Where the braces that open behind `from` are closed.
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

    /// Counts to 4, and forgets at the gate.
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
