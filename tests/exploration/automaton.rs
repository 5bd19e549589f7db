//! An end of a conversation as the states that it was seen in and the steps between them.
//!
//! A step is played on the real machine, once for each state and each thing that can be heard there. That two ways to one
//! state lead on alike is not taken on trust: see [`Automaton::confirm`]. This file knows no protocol and no application.

use std::collections::HashMap;

/// A machine with its application, whom an attacker feeds.
pub(crate) trait End {
    /// The peer says something, in one read.
    fn hear(&mut self, bytes: &[u8]);

    /// The peer says no more.
    fn cut(&mut self);

    /// TLS is in place. Called at the gate, and nowhere else.
    fn shake_hands(&mut self);

    /// What was put out since this was asked last: in cleartext line by line, or reply by reply.
    fn said(&mut self) -> Vec<Vec<u8>>;

    /// How it looks.
    fn view(&self) -> View;

    /// Holds what has happened to every statement about one end, and says how many there were.
    ///
    /// # Errors
    /// Which statement does not hold.
    fn judge(&self) -> Result<usize, String>;
}

/// What is to be known of an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) stage: Stage,
    /// How many bytes lie unread.
    pub(crate) unread: usize,
    pub(crate) beliefs: Beliefs,
    /// Everything else that what follows depends on.
    pub(crate) state: String,
}

/// Where an end is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Cleartext,
    /// It has agreed to begin TLS and waits for the handshake.
    Gate,
    Secure,
    /// Its session is over, whether well or badly.
    Over,
}

/// What an end believes of this session, under TLS.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beliefs {
    /// The client is who it says.
    pub(crate) identity: Belief,
    /// The server has the message.
    pub(crate) message: Belief,
}

/// How far a belief goes: a client asks first.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Belief {
    #[default]
    No,
    Asked,
    Yes,
}

/// Bytes, by number.
pub(crate) type Piece = u16;

/// All pieces that were ever said.
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

/// What an end hears.
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
    /// The first way to it, and the last that was found.
    ways: Vec<Vec<Input>>,
}

/// The states of an end, by number, and its steps.
pub(crate) struct Automaton<'p, E> {
    start: &'p dyn Fn() -> E,
    nodes: Vec<Node>,
    numbers: HashMap<String, usize>,
    pub(crate) steps: HashMap<(usize, Input), Step>,
    /// How many statements were checked.
    pub(crate) statements: usize,
    /// Every way to the gate: what follows behind it must not depend on it.
    pub(crate) to_the_gate: Vec<Vec<Input>>,
}

impl<'p, E: End> Automaton<'p, E> {
    /// With what it says first.
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

    /// How it looks there.
    pub(crate) fn view(&self, at: usize) -> &View {
        &self.nodes[at].view
    }

    /// The state that looks so.
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

    /// What comes of hearing that there.
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

    /// Plays a way on a new machine. With what was said last.
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

    /// Makes the steps of each state again from the last way that led there; and each step behind the gate behind every
    /// way to the gate. Says how many there were.
    ///
    /// # Panics
    /// If a step leads elsewhere.
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
