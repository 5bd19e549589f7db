//! Records one end of a conversation as an automaton: its states and the steps between them.
//!
//! Each step runs on the real machine, once for each state and input. [`Automaton::confirm`] checks that two paths to
//! the same state continue alike. This module knows no protocol and no application.

use std::collections::HashMap;

/// A machine with its application. An attacker sends its input.
pub(crate) trait End {
    /// Delivers bytes from the peer in one read.
    fn hear(&mut self, bytes: &[u8]);

    /// Closes the peer's side.
    fn cut(&mut self);

    /// Completes the TLS handshake. Called only at [`Stage::Gate`].
    fn shake_hands(&mut self);

    /// Returns the output since the last call: in cleartext one piece per line or reply.
    fn said(&mut self) -> Vec<Vec<u8>>;

    /// Returns the current view of this end.
    fn view(&self) -> View;

    /// Checks every invariant of one end. Returns how many checks were made.
    ///
    /// # Errors
    /// The invariant that does not hold.
    fn judge(&self) -> Result<usize, String>;
}

/// The observable state of an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) stage: Stage,
    /// The number of unread bytes.
    pub(crate) unread: usize,
    pub(crate) beliefs: Beliefs,
    /// Everything else that can influence later steps.
    pub(crate) state: String,
}

/// The stage of an end's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Cleartext,
    /// The end has agreed to start TLS and waits for the handshake.
    Gate,
    Secure,
    /// The session has ended, with or without an error.
    Over,
}

/// What an end believes about the session under TLS.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beliefs {
    /// Whether the client is authenticated.
    pub(crate) identity: Belief,
    /// Whether the server has accepted the message.
    pub(crate) message: Belief,
}

/// The degree of a belief. A client first asks for what it wants.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Belief {
    #[default]
    No,
    Asked,
    Yes,
}

/// The number of a piece of output.
pub(crate) type Piece = u16;

/// All pieces that either end has ever sent.
#[derive(Default)]
pub(crate) struct Pieces {
    pub(crate) bytes: Vec<Vec<u8>>,
    numbers: HashMap<Vec<u8>, Piece>,
}

impl Pieces {
    pub(crate) fn number(&mut self, bytes: Vec<u8>) -> Piece {
        let next = self.bytes.len() as Piece;
        *self.numbers.entry(bytes).or_insert_with_key(|bytes| {
            self.bytes.push(bytes.clone());
            next
        })
    }
}

/// An input of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    Hear(Piece),
    HearTwo(Piece, Piece),
    Cut,
    ShakeHands,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) to: usize,
    pub(crate) said: Vec<Piece>,
}

struct Node {
    view: View,
    /// The first path to the state, and the last one found.
    ways: Vec<Vec<Input>>,
}

/// The numbered states of an end, and its steps.
pub(crate) struct Automaton<'p, E> {
    start: &'p dyn Fn() -> E,
    nodes: Vec<Node>,
    numbers: HashMap<String, usize>,
    pub(crate) steps: HashMap<(usize, Input), Step>,
    /// The number of checks.
    pub(crate) statements: usize,
    /// Every path to [`Stage::Gate`]. What follows the upgrade must not depend on the path.
    pub(crate) to_the_gate: Vec<Vec<Input>>,
}

impl<'p, E: End> Automaton<'p, E> {
    /// Creates an automaton. Also returns the end's first output.
    pub(crate) fn new(start: &'p dyn Fn() -> E, pieces: &mut Pieces) -> (Self, Vec<Piece>) {
        let mut end = start();
        let said = end.said().into_iter().map(|bytes| pieces.number(bytes)).collect();
        let mut automaton = Self {
            start,
            nodes: Vec::new(),
            numbers: HashMap::new(),
            steps: HashMap::new(),
            statements: 0,
            to_the_gate: Vec::new(),
        };
        automaton.find(end.view(), Vec::new());
        (automaton, said)
    }

    /// Returns the view in this state.
    pub(crate) fn view(&self, at: usize) -> &View {
        &self.nodes[at].view
    }

    /// Returns the number of the state with this view.
    fn find(&mut self, view: View, way: Vec<Input>) -> usize {
        if view.stage == Stage::Gate && view.unread == 0 {
            self.to_the_gate.push(way.clone());
        }
        let name = format!("{view:?}");
        if let Some(&at) = self.numbers.get(&name) {
            self.nodes[at].ways.truncate(1);
            self.nodes[at].ways.push(way);
            return at;
        }
        self.nodes.push(Node { view, ways: vec![way] });
        self.numbers.insert(name, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// Returns the step that this input causes in this state.
    pub(crate) fn step(&mut self, from: usize, input: Input, pieces: &mut Pieces) -> Step {
        if let Some(step) = self.steps.get(&(from, input)) {
            return step.clone();
        }
        let way = [self.nodes[from].ways[0].as_slice(), &[input]].concat();
        let (end, said) = self.play(&way, pieces);
        match end.judge() {
            Ok(statements) => self.statements += statements,
            Err(broken) => panic!("{broken}\nafter {}\nin {:?}", shown(&way, pieces), end.view()),
        }
        if self.view(from).stage == Stage::Over {
            assert!(said.is_empty(), "its session is over, and it goes on: {}", shown(&way, pieces));
        }
        let step = Step { to: self.find(end.view(), way), said };
        self.steps.insert((from, input), step.clone());
        step
    }

    /// Replays a path on a new machine. Also returns the output of the last step.
    fn play(&self, way: &[Input], pieces: &mut Pieces) -> (E, Vec<Piece>) {
        let mut end = (self.start)();
        let mut said = end.said();
        for &input in way {
            match input {
                Input::Hear(piece) => end.hear(&pieces.bytes[usize::from(piece)]),
                Input::HearTwo(first, second) => {
                    let both = [first, second].map(|piece| pieces.bytes[usize::from(piece)].as_slice());
                    end.hear(&both.concat());
                }
                Input::Cut => end.cut(),
                Input::ShakeHands => end.shake_hands(),
            }
            said = end.said();
        }
        (end, said.into_iter().map(|bytes| pieces.number(bytes)).collect())
    }

    /// Repeats the steps of each state from the last path that leads there. Repeats each step under TLS after every
    /// path to [`Stage::Gate`]. Returns how many steps were repeated.
    ///
    /// # Panics
    /// If a step leads to another state.
    pub(crate) fn confirm(&self, pieces: &mut Pieces) -> usize {
        let mut confirmed = 0;
        for (&(from, input), step) in &self.steps {
            let node = &self.nodes[from];
            let mut ways: Vec<_> = node.ways.iter().skip(1).cloned().collect();
            let gate = node.ways[0].iter().position(|&input| input == Input::ShakeHands);
            if let Some(gate) = gate {
                ways.extend(self.to_the_gate.iter().map(|way| [way, &node.ways[0][gate..]].concat()));
            }
            for way in ways {
                let way = [way.as_slice(), &[input]].concat();
                let (end, said) = self.play(&way, pieces);
                let same = end.view() == *self.view(step.to) && said == step.said;
                assert!(same, "another way to one state leads on to another: {}", shown(&way, pieces));
                confirmed += 1;
            }
        }
        confirmed
    }
}

fn shown(way: &[Input], pieces: &Pieces) -> String {
    let bytes = |piece: Piece| pieces.bytes[usize::from(piece)].escape_ascii().to_string();
    let lines = way.iter().map(|&input| match input {
        Input::Hear(piece) => bytes(piece),
        Input::HearTwo(first, second) => format!("{} and {}", bytes(first), bytes(second)),
        other => format!("{other:?}"),
    });
    lines.collect::<Vec<_>>().join("\n  ")
}
