//! Records one endpoint of a conversation as an automaton: its states and the steps between them.
//!
//! Each step runs on the real machine, once for each state and input. [`Automaton::confirm`] checks that two paths to
//! the same state continue alike. This module knows no protocol and no application.

use std::collections::HashMap;

/// A machine with its application. An attacker sends its input.
pub(crate) trait Endpoint {
    /// Delivers bytes from the peer in one read.
    fn receive(&mut self, bytes: &[u8]);

    /// Closes the peer's side.
    fn close_peer(&mut self);

    /// Completes the TLS handshake. Called only at [`Stage::HandshakePending`].
    fn complete_handshake(&mut self);

    /// Returns the output since the last call: in cleartext one piece per line or reply.
    fn take_output(&mut self) -> Vec<Vec<u8>>;

    /// Returns the current view of this endpoint.
    fn view(&self) -> EndpointView;

    /// Checks every invariant of one endpoint. Returns how many checks were made.
    ///
    /// # Errors
    /// The invariant that does not hold.
    fn check_invariants(&self) -> Result<usize, String>;
}

/// The observable state of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndpointView {
    pub(crate) stage: Stage,
    /// The number of unread bytes.
    pub(crate) unread: usize,
    pub(crate) beliefs: Beliefs,
    /// Everything else that can influence later steps.
    pub(crate) state: String,
}

/// The stage of an endpoint's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Cleartext,
    /// The endpoint has agreed to start TLS and waits for the handshake.
    HandshakePending,
    Secure,
    /// The session has ended, with or without an error.
    Ended,
}

/// What an endpoint believes about the session under TLS.
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
pub(crate) type PieceNumber = u16;

/// All pieces that either endpoint has ever sent, each with a number.
#[derive(Default)]
pub(crate) struct PieceTable {
    pub(crate) bytes: Vec<Vec<u8>>,
    numbers: HashMap<Vec<u8>, PieceNumber>,
}

impl PieceTable {
    pub(crate) fn number(&mut self, bytes: Vec<u8>) -> PieceNumber {
        let next = self.bytes.len() as PieceNumber;
        *self.numbers.entry(bytes).or_insert_with_key(|bytes| {
            self.bytes.push(bytes.clone());
            next
        })
    }
}

/// An input of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// Bytes from the peer in one read.
    Receive(PieceNumber),
    /// Two pieces from the peer in one read.
    ReceiveTwo(PieceNumber, PieceNumber),
    PeerCloses,
    CompleteHandshake,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) to: usize,
    pub(crate) output: Vec<PieceNumber>,
}

struct Node {
    view: EndpointView,
    /// The first path to the state, and the last one found.
    paths: Vec<Vec<Input>>,
}

/// The numbered states of an endpoint, and its steps.
pub(crate) struct Automaton<'p, E> {
    start: &'p dyn Fn() -> E,
    nodes: Vec<Node>,
    numbers: HashMap<String, usize>,
    pub(crate) steps: HashMap<(usize, Input), Step>,
    /// The number of checks.
    pub(crate) checks: usize,
    /// Every path to [`Stage::HandshakePending`]. What follows the upgrade must not depend on the path.
    pub(crate) paths_to_handshake: Vec<Vec<Input>>,
}

impl<'p, E: Endpoint> Automaton<'p, E> {
    /// Creates an automaton. Also returns the endpoint's first output.
    pub(crate) fn new(start: &'p dyn Fn() -> E, pieces: &mut PieceTable) -> (Self, Vec<PieceNumber>) {
        let mut end = start();
        let output = end.take_output().into_iter().map(|bytes| pieces.number(bytes)).collect();
        let mut automaton = Self {
            start,
            nodes: Vec::new(),
            numbers: HashMap::new(),
            steps: HashMap::new(),
            checks: 0,
            paths_to_handshake: Vec::new(),
        };
        automaton.find(end.view(), Vec::new());
        (automaton, output)
    }

    /// Returns the view in this state.
    pub(crate) fn view(&self, at: usize) -> &EndpointView {
        &self.nodes[at].view
    }

    /// Returns the number of the state with this view.
    fn find(&mut self, view: EndpointView, path: Vec<Input>) -> usize {
        if view.stage == Stage::HandshakePending && view.unread == 0 {
            self.paths_to_handshake.push(path.clone());
        }
        let name = format!("{view:?}");
        if let Some(&at) = self.numbers.get(&name) {
            self.nodes[at].paths.truncate(1);
            self.nodes[at].paths.push(path);
            return at;
        }
        self.nodes.push(Node { view, paths: vec![path] });
        self.numbers.insert(name, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    /// Returns the step that this input causes in this state.
    pub(crate) fn step(&mut self, from: usize, input: Input, pieces: &mut PieceTable) -> Step {
        if let Some(step) = self.steps.get(&(from, input)) {
            return step.clone();
        }
        let path = [self.nodes[from].paths[0].as_slice(), &[input]].concat();
        let (end, output) = self.play(&path, pieces);
        match end.check_invariants() {
            Ok(checks) => self.checks += checks,
            Err(broken) => panic!("{broken}\nafter {}\nin {:?}", shown(&path, pieces), end.view()),
        }
        if self.view(from).stage == Stage::Ended {
            assert!(output.is_empty(), "output after the end of the session: {}", shown(&path, pieces));
        }
        let step = Step { to: self.find(end.view(), path), output };
        self.steps.insert((from, input), step.clone());
        step
    }

    /// Replays a path on a new machine. Also returns the output of the last step.
    fn play(&self, path: &[Input], pieces: &mut PieceTable) -> (E, Vec<PieceNumber>) {
        let mut end = (self.start)();
        let mut output = end.take_output();
        for &input in path {
            match input {
                Input::Receive(piece) => end.receive(&pieces.bytes[usize::from(piece)]),
                Input::ReceiveTwo(first, second) => {
                    let both = [first, second].map(|piece| pieces.bytes[usize::from(piece)].as_slice());
                    end.receive(&both.concat());
                }
                Input::PeerCloses => end.close_peer(),
                Input::CompleteHandshake => end.complete_handshake(),
            }
            output = end.take_output();
        }
        (end, output.into_iter().map(|bytes| pieces.number(bytes)).collect())
    }

    /// Repeats the steps of each state from the last path that leads there. Repeats each step under TLS after every
    /// path to [`Stage::HandshakePending`]. Returns how many steps were repeated.
    ///
    /// # Panics
    /// If a step leads to another state.
    pub(crate) fn confirm(&self, pieces: &mut PieceTable) -> usize {
        let mut confirmed = 0;
        for (&(from, input), step) in &self.steps {
            let node = &self.nodes[from];
            let mut paths: Vec<_> = node.paths.iter().skip(1).cloned().collect();
            let handshake = node.paths[0].iter().position(|&input| input == Input::CompleteHandshake);
            if let Some(handshake) = handshake {
                paths.extend(
                    self.paths_to_handshake.iter().map(|path| [path, &node.paths[0][handshake..]].concat()),
                );
            }
            for path in paths {
                let path = [path.as_slice(), &[input]].concat();
                let (end, output) = self.play(&path, pieces);
                let same = end.view() == *self.view(step.to) && output == step.output;
                assert!(same, "two paths to a state continue differently: {}", shown(&path, pieces));
                confirmed += 1;
            }
        }
        confirmed
    }
}

fn shown(path: &[Input], pieces: &PieceTable) -> String {
    let bytes = |piece: PieceNumber| pieces.bytes[usize::from(piece)].escape_ascii().to_string();
    let lines = path.iter().map(|&input| match input {
        Input::Receive(piece) => bytes(piece),
        Input::ReceiveTwo(first, second) => format!("{} and {}", bytes(first), bytes(second)),
        other => format!("{other:?}"),
    });
    lines.collect::<Vec<_>>().join("\n  ")
}
