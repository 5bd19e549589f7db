//! Joins a client and a server through an attacker who controls everything between them.
//!
//! Until both ends have started TLS, the attacker may deliver, drop, repeat, swap, combine, inject and cut as often as
//! it likes. Under TLS the attacker may only deliver and cut. The exploration goes through pairs of states and what is
//! on the wire between them. This module knows no protocol and no application.

use std::collections::HashSet;

use crate::automaton::{Automaton, Belief, Beliefs, End, Input, Piece, Pieces, Stage, View};

/// The two ends, and what the attacker may send to each.
pub(crate) struct Pair<'p, C, S> {
    pub(crate) client: &'p dyn Fn() -> C,
    pub(crate) server: &'p dyn Fn() -> S,
    pub(crate) to_client: &'p [&'p str],
    pub(crate) to_server: &'p [&'p str],
    /// An end receives nothing more while this many of its own pieces are on the wire.
    pub(crate) room: usize,
    /// The client's result for its message in a session that is not cut after the upgrade. `None`: the two ends never
    /// both start TLS.
    pub(crate) ends: Option<Belief>,
}

/// The size of an exploration.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Figures {
    /// The number of different states of both ends and the wire.
    pub(crate) states: usize,
    /// The number of the attacker's moves.
    pub(crate) transitions: usize,
    /// The number of checks after the moves and after each step of an end.
    pub(crate) statements: usize,
    /// The length of the longest of the shortest paths to a state.
    pub(crate) depth: usize,
    /// The number of different steps that lead an end to the gate.
    pub(crate) gate: usize,
    /// The number of different steps of the real machines.
    pub(crate) steps: usize,
    /// The number of steps that were repeated from the same state by another path.
    pub(crate) confirmed: usize,
}

/// The receiving end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum To {
    Client,
    Server,
}

/// A move of the attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Move {
    Deliver(To),
    /// Delivers the first two pieces in one read.
    DeliverTwo(To),
    Drop(To),
    /// Delivers the first piece and keeps it for another delivery.
    Repeat(To),
    Swap(To),
    Inject(To, Piece),
    /// Delivers the first piece and, in the same read, another piece of the attacker's choice.
    Glue(To, Piece),
    Cut(To),
    ShakeHands,
}

/// The pieces that travel in one direction, eight at most. The first has the lowest place. Each is stored as its number
/// plus one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Wire(u128);

impl Wire {
    fn at(self, place: u32) -> Option<Piece> {
        ((self.0 >> (16 * place)) as u16).checked_sub(1)
    }

    fn len(self) -> usize {
        (0..8).take_while(|&place| self.at(place).is_some()).count()
    }

    const fn without_first(self) -> Self {
        Self(self.0 >> 16)
    }

    fn with(self, pieces: &[Piece]) -> Self {
        assert!(self.len() + pieces.len() <= 8, "so much at once fits on no wire");
        pieces.iter().fold(self, |wire, &piece| Self(wire.0 | u128::from(piece + 1) << (16 * wire.len())))
    }

    fn swapped(self) -> Self {
        let rest = Self(self.0 >> 32);
        Self(self.0 >> 16 & 0xffff | (self.0 & 0xffff) << 16 | rest.0 << 32)
    }
}

/// Both ends and what is between them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Joint {
    client: usize,
    server: usize,
    to_client: Wire,
    to_server: Wire,
    secure: bool,
    /// Whether a side has received the end of the connection under TLS.
    cut: bool,
}

/// A state, and the first path that led there.
#[derive(Clone, Copy)]
struct Reached {
    here: Joint,
    /// The previous state, and the move that was made there.
    from: Option<(usize, Move)>,
    depth: usize,
}

impl Joint {
    /// Returns whether both wires are empty.
    fn is_quiet(self) -> bool {
        (self.to_client, self.to_server) == (Wire::default(), Wire::default())
    }

    const fn carries(self, to: To) -> Wire {
        match to {
            To::Client => self.to_client,
            To::Server => self.to_server,
        }
    }

    const fn wire(&mut self, to: To) -> &mut Wire {
        match to {
            To::Client => &mut self.to_client,
            To::Server => &mut self.to_server,
        }
    }
}

/// Explores until every move of every state was tried.
///
/// # Panics
/// If an invariant does not hold, with the path that leads there.
pub(crate) fn join<C: End, S: End>(pair: &Pair<'_, C, S>) -> Figures {
    let mut pieces = Pieces::default();
    let numbers = |bytes: &[&str], pieces: &mut Pieces| {
        bytes.iter().map(|bytes| pieces.number(bytes.as_bytes().to_vec())).collect()
    };
    let (to_client, to_server) = (numbers(pair.to_client, &mut pieces), numbers(pair.to_server, &mut pieces));
    let (client, first) = Automaton::new(pair.client, &mut pieces);
    let (server, greeting) = Automaton::new(pair.server, &mut pieces);
    let start = Joint {
        client: 0,
        server: 0,
        to_client: Wire::default().with(&greeting),
        to_server: Wire::default().with(&first),
        secure: false,
        cut: false,
    };
    let room = pair.room;
    let mut walk = Walk { client, server, pieces, to_client, to_server, room, behind: HashSet::new() };
    let mut figures = Figures { states: 1, ..Figures::default() };
    let mut seen = HashSet::from([start]);
    let mut ways = vec![Reached { here: start, from: None, depth: 0 }];
    let (mut at, mut ends) = (0, 0);
    while at < ways.len() {
        let Reached { here, depth, .. } = ways[at];
        assert!(ways.len() < 1_000_000, "there is no end of states: {:?}", walk.server.view(here.server));
        let moves = walk.moves(here);
        if here.secure && !here.cut && here.is_quiet() {
            ends += 1;
            let taken = walk.client.view(here.client).beliefs.message;
            assert_eq!(Some(taken), pair.ends, "a session that is not cut under TLS");
        }
        for next in moves {
            figures.transitions += 1;
            let there = walk.make(here, next);
            match walk.judge(there) {
                Ok(statements) => figures.statements += statements,
                Err(broken) => panic!("{broken}\nafter {}", walk.way(&ways, at, next)),
            }
            if seen.insert(there) {
                figures.states += 1;
                figures.depth = depth + 1;
                ways.push(Reached { here: there, from: Some((at, next)), depth: depth + 1 });
            }
        }
        at += 1;
    }
    assert_eq!(ends > 0, pair.ends.is_some(), "whether both can go through the gate");
    figures.gate = walk.client.to_the_gate.len() + walk.server.to_the_gate.len();
    figures.steps = walk.client.steps.len() + walk.server.steps.len();
    figures.statements += walk.client.statements + walk.server.statements;
    figures.confirmed = walk.client.confirm(&mut walk.pieces) + walk.server.confirm(&mut walk.pieces);
    figures
}

struct Walk<'p, C, S> {
    client: Automaton<'p, C>,
    server: Automaton<'p, S>,
    pieces: Pieces,
    to_client: Vec<Piece>,
    to_server: Vec<Piece>,
    room: usize,
    /// Both states right after the upgrade.
    behind: HashSet<(usize, usize)>,
}

impl<C: End, S: End> Walk<'_, C, S> {
    /// Returns the attacker's possible moves.
    fn moves(&self, here: Joint) -> Vec<Move> {
        let mut moves = Vec::new();
        let views = (self.client.view(here.client), self.server.view(here.server));
        let sides = [
            (To::Client, views.0, here.to_client, here.to_server, &self.to_client),
            (To::Server, views.1, here.to_server, here.to_client, &self.to_server),
        ];
        for (to, view, wire, back, sayings) in sides {
            if view.stage == Stage::Over {
                continue;
            }
            moves.push(Move::Cut(to));
            // A TLS stream has its own limits.
            let hears = here.secure || back.len() < self.room;
            let fits = |piece| here.secure || self.fits(view, piece);
            if let Some(first) = wire.at(0) {
                moves.extend((hears && fits(first)).then_some(Move::Deliver(to)));
                moves.extend((hears && fits(first) && wire.len() > 1).then_some(Move::DeliverTwo(to)));
            }
            if here.secure {
                continue;
            }
            if let Some(first) = wire.at(0) {
                moves.push(Move::Drop(to));
                moves.extend((wire.len() > 1).then_some(Move::Swap(to)));
                moves.extend((hears && fits(first)).then_some(Move::Repeat(to)));
                let glued = sayings.iter().filter(|_| hears && fits(first));
                moves.extend(glued.map(|&piece| Move::Glue(to, piece)));
            }
            let said = sayings.iter().filter(|&&piece| hears && fits(piece));
            moves.extend(said.map(|&piece| Move::Inject(to, piece)));
        }
        let both = views.0.stage == Stage::Gate && views.1.stage == Stage::Gate;
        if both && here.is_quiet() {
            moves.push(Move::ShakeHands);
        }
        moves
    }

    /// Returns whether an end can receive this piece: unread input that the machine does not look at yet must not grow.
    fn fits(&self, view: &View, piece: Piece) -> bool {
        let whole = self.pieces.bytes[usize::from(piece)].ends_with(b"\n");
        view.unread == 0 || (whole && view.stage == Stage::Cleartext && view.unread < 64)
    }

    fn make(&mut self, here: Joint, next: Move) -> Joint {
        let mut there = here;
        match next {
            Move::Deliver(to) | Move::Drop(to) => *there.wire(to) = there.wire(to).without_first(),
            Move::DeliverTwo(to) => *there.wire(to) = there.wire(to).without_first().without_first(),
            Move::Glue(to, _) => *there.wire(to) = there.wire(to).without_first(),
            Move::Swap(to) => *there.wire(to) = there.wire(to).swapped(),
            Move::Cut(to) => (*there.wire(to), there.cut) = (Wire::default(), here.secure),
            Move::Repeat(_) | Move::Inject(..) | Move::ShakeHands => {}
        }
        let first = |to: To, place| here.carries(to).at(place).unwrap_or_default();
        let (to, input) = match next {
            Move::Drop(_) | Move::Swap(_) => return there,
            Move::ShakeHands => return self.shake_hands(there),
            Move::Deliver(to) | Move::Repeat(to) => (to, Input::Hear(first(to, 0))),
            Move::DeliverTwo(to) => (to, Input::HearTwo(first(to, 0), first(to, 1))),
            Move::Glue(to, piece) => (to, Input::HearTwo(first(to, 0), piece)),
            Move::Inject(to, piece) => (to, Input::Hear(piece)),
            Move::Cut(to) => (to, Input::Cut),
        };
        self.step(there, to, input)
    }

    fn step(&mut self, mut here: Joint, to: To, input: Input) -> Joint {
        match to {
            To::Client => {
                let step = self.client.step(here.client, input, &mut self.pieces);
                (here.client, here.to_server) = (step.to, here.to_server.with(&step.said));
            }
            To::Server => {
                let step = self.server.step(here.server, input, &mut self.pieces);
                (here.server, here.to_client) = (step.to, here.to_client.with(&step.said));
            }
        }
        // Lines in transit to a closed side are lost.
        if self.client.view(here.client).stage == Stage::Over {
            here.to_client = Wire::default();
        }
        if self.server.view(here.server).stage == Stage::Over {
            here.to_server = Wire::default();
        }
        here
    }

    /// Completes the handshake. If one end does not start TLS, there is no handshake and the other end sees the
    /// connection close.
    fn shake_hands(&mut self, here: Joint) -> Joint {
        let client = self.client.step(here.client, Input::ShakeHands, &mut self.pieces).to;
        let server = self.server.step(here.server, Input::ShakeHands, &mut self.pieces).to;
        let client = self.client.view(client).stage == Stage::Secure;
        let server = self.server.view(server).stage == Stage::Secure;
        let secure = client && server;
        let input = |begins| if begins && !secure { Input::Cut } else { Input::ShakeHands };
        let there = self.step(here, To::Client, input(client));
        let there = self.step(there, To::Server, input(server));
        if secure {
            self.behind.insert((there.client, there.server));
        }
        Joint { secure, ..there }
    }

    /// Checks the invariants of both ends.
    fn judge(&self, here: Joint) -> Result<usize, String> {
        let (client, server) = (self.client.view(here.client), self.server.view(here.server));
        let (asks, knows) = (client.beliefs, server.beliefs);
        if !here.secure && (client.stage == Stage::Secure || server.stage == Stage::Secure) {
            return Err("one is behind the gate, and the other is not".to_owned());
        }
        if !here.secure && (asks != Beliefs::default() || knows != Beliefs::default()) {
            return Err(format!("believed before TLS: {asks:?}, {knows:?}"));
        }
        for (what, asks, knows) in
            [("identity", asks.identity, knows.identity), ("message", asks.message, knows.message)]
        {
            if knows == Belief::Yes && asks == Belief::No {
                return Err(format!("the server believes in a {what} that the client never gave"));
            }
            if asks == Belief::Yes && knows != Belief::Yes {
                return Err(format!(
                    "the client believes that its {what} is accepted, and the server does not"
                ));
            }
        }
        if self.behind.len() > 1 {
            return Err("more than one state behind the gate".to_owned());
        }
        Ok(6)
    }

    /// Returns the attacker's moves on a path.
    fn way(&self, ways: &[Reached], at: usize, last: Move) -> String {
        let mut moves = vec![last];
        let mut before = ways[at].from;
        while let Some((at, next)) = before {
            moves.push(next);
            before = ways[at].from;
        }
        let lines = moves.iter().rev().map(|next| match next {
            Move::Inject(to, piece) | Move::Glue(to, piece) => {
                let bytes = self.pieces.bytes[usize::from(*piece)].escape_ascii();
                format!("{next:?}: {bytes} to the {to:?}")
            }
            next => format!("{next:?}"),
        });
        lines.collect::<Vec<_>>().join("\n  ")
    }
}
