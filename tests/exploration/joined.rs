//! Joins a client and a server through an attacker who controls everything between them.
//!
//! Until both endpoints have started TLS, the attacker may deliver, drop, repeat, swap, combine, inject and cut as often as
//! it likes. Under TLS the attacker may only deliver and cut. The exploration goes through pairs of states and what is
//! on the wire between them. This module knows no protocol and no application.

use std::collections::HashSet;

use crate::automaton::{
    Automaton, Belief, Beliefs, Endpoint, EndpointView, Input, PieceNumber, PieceTable, Stage,
};

/// The two endpoints, and what the attacker may send to each.
pub(crate) struct JoinedSetup<'p, C, S> {
    pub(crate) client: &'p dyn Fn() -> C,
    pub(crate) server: &'p dyn Fn() -> S,
    pub(crate) to_client: &'p [&'p str],
    pub(crate) to_server: &'p [&'p str],
    /// An endpoint receives nothing more while this many of its own pieces are on the wire.
    pub(crate) max_on_wire: usize,
    /// The client's result for its message in a session that is not cut after the upgrade. `None`: the two endpoints never
    /// both start TLS.
    pub(crate) expected_outcome: Option<Belief>,
}

/// The size of an exploration.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The number of different states of both endpoints and the wire.
    pub(crate) states: usize,
    /// The number of the attacker's actions.
    pub(crate) transitions: usize,
    /// The number of checks after the actions and after each step of an endpoint.
    pub(crate) checks: usize,
    /// The length of the longest of the shortest paths to a state.
    pub(crate) depth: usize,
    /// The number of different paths that lead an endpoint to the TLS handshake.
    pub(crate) handshake_paths: usize,
    /// The number of different steps of the real machines.
    pub(crate) steps: usize,
    /// The number of steps that were repeated from the same state by another path.
    pub(crate) confirmed: usize,
}

/// The endpoint that receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Receiver {
    Client,
    Server,
}

/// An action of the attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Delivers the first piece.
    Deliver(Receiver),
    /// Delivers the first two pieces in one read.
    DeliverTwo(Receiver),
    /// Discards the first piece.
    Drop(Receiver),
    /// Delivers the first piece and keeps it for another delivery.
    DeliverAndKeep(Receiver),
    /// Swaps the first two pieces.
    Swap(Receiver),
    /// Delivers a piece of the attacker's own.
    Inject(Receiver, PieceNumber),
    /// Delivers the first piece and, in the same read, another piece of the attacker's choice.
    DeliverWith(Receiver, PieceNumber),
    /// Closes the connection toward this endpoint.
    Cut(Receiver),
    CompleteHandshake,
}

/// The pieces that travel in one direction, eight at most. The first has the lowest place. Each is stored as its number
/// plus one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Wire(u128);

impl Wire {
    fn at(self, place: u32) -> Option<PieceNumber> {
        ((self.0 >> (16 * place)) as u16).checked_sub(1)
    }

    fn len(self) -> usize {
        (0..8).take_while(|&place| self.at(place).is_some()).count()
    }

    const fn without_first(self) -> Self {
        Self(self.0 >> 16)
    }

    fn with(self, pieces: &[PieceNumber]) -> Self {
        assert!(self.len() + pieces.len() <= 8, "a wire holds 8 pieces at most");
        pieces.iter().fold(self, |wire, &piece| Self(wire.0 | u128::from(piece + 1) << (16 * wire.len())))
    }

    fn swapped(self) -> Self {
        let rest = Self(self.0 >> 32);
        Self(self.0 >> 16 & 0xffff | (self.0 & 0xffff) << 16 | rest.0 << 32)
    }
}

/// Both endpoints and what is on the wire between them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct JointState {
    client: usize,
    server: usize,
    to_client: Wire,
    to_server: Wire,
    secure: bool,
    /// Whether an endpoint has received the end of the connection under TLS.
    cut: bool,
}

/// A state, and the first path that led there.
#[derive(Clone, Copy)]
struct ReachedState {
    current: JointState,
    /// The previous state, and the action that was performed there.
    from: Option<(usize, Action)>,
    depth: usize,
}

impl JointState {
    /// Returns whether both wires are empty.
    fn is_quiet(self) -> bool {
        (self.to_client, self.to_server) == (Wire::default(), Wire::default())
    }

    const fn carries(self, to: Receiver) -> Wire {
        match to {
            Receiver::Client => self.to_client,
            Receiver::Server => self.to_server,
        }
    }

    const fn wire(&mut self, to: Receiver) -> &mut Wire {
        match to {
            Receiver::Client => &mut self.to_client,
            Receiver::Server => &mut self.to_server,
        }
    }
}

/// Explores until every action was tried in every state.
///
/// # Panics
/// If an invariant does not hold, with the path that leads there.
pub(crate) fn explore_joined<C: Endpoint, S: Endpoint>(setup: &JoinedSetup<'_, C, S>) -> Counts {
    let mut pieces = PieceTable::default();
    let numbers = |bytes: &[&str], pieces: &mut PieceTable| {
        bytes.iter().map(|bytes| pieces.number(bytes.as_bytes().to_vec())).collect()
    };
    let (to_client, to_server) =
        (numbers(setup.to_client, &mut pieces), numbers(setup.to_server, &mut pieces));
    let (client, first) = Automaton::new(setup.client, &mut pieces);
    let (server, greeting) = Automaton::new(setup.server, &mut pieces);
    let start = JointState {
        client: 0,
        server: 0,
        to_client: Wire::default().with(&greeting),
        to_server: Wire::default().with(&first),
        secure: false,
        cut: false,
    };
    let max_on_wire = setup.max_on_wire;
    let mut exploration = JoinedExploration {
        client,
        server,
        pieces,
        to_client,
        to_server,
        max_on_wire,
        states_after_upgrade: HashSet::new(),
    };
    let mut counts = Counts { states: 1, ..Counts::default() };
    let mut seen = HashSet::from([start]);
    let mut paths = vec![ReachedState { current: start, from: None, depth: 0 }];
    let (mut at, mut complete_sessions) = (0, 0);
    while at < paths.len() {
        let ReachedState { current, depth, .. } = paths[at];
        assert!(
            paths.len() < 1_000_000,
            "the exploration does not end: {:?}",
            exploration.server.view(current.server)
        );
        let actions = exploration.actions(current);
        if current.secure && !current.cut && current.is_quiet() {
            complete_sessions += 1;
            let taken = exploration.client.view(current.client).beliefs.message;
            assert_eq!(Some(taken), setup.expected_outcome, "a session that is not cut under TLS");
        }
        for next in actions {
            counts.transitions += 1;
            let next_state = exploration.perform(current, next);
            match exploration.check_invariants(next_state) {
                Ok(checks) => counts.checks += checks,
                Err(broken) => panic!("{broken}\nafter {}", exploration.path(&paths, at, next)),
            }
            if seen.insert(next_state) {
                counts.states += 1;
                counts.depth = depth + 1;
                paths.push(ReachedState { current: next_state, from: Some((at, next)), depth: depth + 1 });
            }
        }
        at += 1;
    }
    assert_eq!(
        complete_sessions > 0,
        setup.expected_outcome.is_some(),
        "whether both endpoints can start TLS"
    );
    counts.handshake_paths =
        exploration.client.paths_to_handshake.len() + exploration.server.paths_to_handshake.len();
    counts.steps = exploration.client.steps.len() + exploration.server.steps.len();
    counts.checks += exploration.client.checks + exploration.server.checks;
    counts.confirmed = exploration.client.confirm(&mut exploration.pieces)
        + exploration.server.confirm(&mut exploration.pieces);
    counts
}

struct JoinedExploration<'p, C, S> {
    client: Automaton<'p, C>,
    server: Automaton<'p, S>,
    pieces: PieceTable,
    to_client: Vec<PieceNumber>,
    to_server: Vec<PieceNumber>,
    max_on_wire: usize,
    /// The states of both endpoints right after the upgrade.
    states_after_upgrade: HashSet<(usize, usize)>,
}

impl<C: Endpoint, S: Endpoint> JoinedExploration<'_, C, S> {
    /// Returns the attacker's possible actions.
    fn actions(&self, current: JointState) -> Vec<Action> {
        let mut actions = Vec::new();
        let views = (self.client.view(current.client), self.server.view(current.server));
        let sides = [
            (Receiver::Client, views.0, current.to_client, current.to_server, &self.to_client),
            (Receiver::Server, views.1, current.to_server, current.to_client, &self.to_server),
        ];
        for (to, view, wire, back, peer_input) in sides {
            if view.stage == Stage::Ended {
                continue;
            }
            actions.push(Action::Cut(to));
            // A TLS stream has its own limits.
            let may_receive = current.secure || back.len() < self.max_on_wire;
            let fits = |piece| current.secure || self.fits(view, piece);
            if let Some(first) = wire.at(0) {
                actions.extend((may_receive && fits(first)).then_some(Action::Deliver(to)));
                actions
                    .extend((may_receive && fits(first) && wire.len() > 1).then_some(Action::DeliverTwo(to)));
            }
            if current.secure {
                continue;
            }
            if let Some(first) = wire.at(0) {
                actions.push(Action::Drop(to));
                actions.extend((wire.len() > 1).then_some(Action::Swap(to)));
                actions.extend((may_receive && fits(first)).then_some(Action::DeliverAndKeep(to)));
                let delivered_with = peer_input.iter().filter(|_| may_receive && fits(first));
                actions.extend(delivered_with.map(|&piece| Action::DeliverWith(to, piece)));
            }
            let injected = peer_input.iter().filter(|&&piece| may_receive && fits(piece));
            actions.extend(injected.map(|&piece| Action::Inject(to, piece)));
        }
        let both = views.0.stage == Stage::HandshakePending && views.1.stage == Stage::HandshakePending;
        if both && current.is_quiet() {
            actions.push(Action::CompleteHandshake);
        }
        actions
    }

    /// Returns whether an endpoint can receive this piece: unread input that the machine does not look at yet must not grow.
    fn fits(&self, view: &EndpointView, piece: PieceNumber) -> bool {
        let whole = self.pieces.bytes[usize::from(piece)].ends_with(b"\n");
        view.unread == 0 || (whole && view.stage == Stage::Cleartext && view.unread < 64)
    }

    fn perform(&mut self, current: JointState, next: Action) -> JointState {
        let mut next_state = current;
        match next {
            Action::Deliver(to) | Action::Drop(to) => {
                *next_state.wire(to) = next_state.wire(to).without_first()
            }
            Action::DeliverTwo(to) => {
                *next_state.wire(to) = next_state.wire(to).without_first().without_first()
            }
            Action::DeliverWith(to, _) => *next_state.wire(to) = next_state.wire(to).without_first(),
            Action::Swap(to) => *next_state.wire(to) = next_state.wire(to).swapped(),
            Action::Cut(to) => (*next_state.wire(to), next_state.cut) = (Wire::default(), current.secure),
            Action::DeliverAndKeep(_) | Action::Inject(..) | Action::CompleteHandshake => {}
        }
        let first = |to: Receiver, place| current.carries(to).at(place).unwrap_or_default();
        let (to, input) = match next {
            Action::Drop(_) | Action::Swap(_) => return next_state,
            Action::CompleteHandshake => return self.complete_handshake(next_state),
            Action::Deliver(to) | Action::DeliverAndKeep(to) => (to, Input::Receive(first(to, 0))),
            Action::DeliverTwo(to) => (to, Input::ReceiveTwo(first(to, 0), first(to, 1))),
            Action::DeliverWith(to, piece) => (to, Input::ReceiveTwo(first(to, 0), piece)),
            Action::Inject(to, piece) => (to, Input::Receive(piece)),
            Action::Cut(to) => (to, Input::PeerCloses),
        };
        self.step(next_state, to, input)
    }

    fn step(&mut self, mut current: JointState, to: Receiver, input: Input) -> JointState {
        match to {
            Receiver::Client => {
                let step = self.client.step(current.client, input, &mut self.pieces);
                (current.client, current.to_server) = (step.to, current.to_server.with(&step.output));
            }
            Receiver::Server => {
                let step = self.server.step(current.server, input, &mut self.pieces);
                (current.server, current.to_client) = (step.to, current.to_client.with(&step.output));
            }
        }
        // Lines in transit to a closed side are lost.
        if self.client.view(current.client).stage == Stage::Ended {
            current.to_client = Wire::default();
        }
        if self.server.view(current.server).stage == Stage::Ended {
            current.to_server = Wire::default();
        }
        current
    }

    /// Completes the handshake. If one endpoint does not start TLS, there is no handshake and the other endpoint sees the
    /// connection close.
    fn complete_handshake(&mut self, current: JointState) -> JointState {
        let client = self.client.step(current.client, Input::CompleteHandshake, &mut self.pieces).to;
        let server = self.server.step(current.server, Input::CompleteHandshake, &mut self.pieces).to;
        let client = self.client.view(client).stage == Stage::Secure;
        let server = self.server.view(server).stage == Stage::Secure;
        let secure = client && server;
        let input = |begins| if begins && !secure { Input::PeerCloses } else { Input::CompleteHandshake };
        let next_state = self.step(current, Receiver::Client, input(client));
        let next_state = self.step(next_state, Receiver::Server, input(server));
        if secure {
            self.states_after_upgrade.insert((next_state.client, next_state.server));
        }
        JointState { secure, ..next_state }
    }

    /// Checks the invariants of both endpoints.
    fn check_invariants(&self, current: JointState) -> Result<usize, String> {
        let (client, server) = (self.client.view(current.client), self.server.view(current.server));
        let (client_beliefs, server_beliefs) = (client.beliefs, server.beliefs);
        if !current.secure && (client.stage == Stage::Secure || server.stage == Stage::Secure) {
            return Err("one endpoint is under TLS, and the other is not".to_owned());
        }
        if !current.secure && (client_beliefs != Beliefs::default() || server_beliefs != Beliefs::default()) {
            return Err(format!("beliefs before TLS: {client_beliefs:?}, {server_beliefs:?}"));
        }
        for (what, client_beliefs, server_beliefs) in [
            ("identity", client_beliefs.identity, server_beliefs.identity),
            ("message", client_beliefs.message, server_beliefs.message),
        ] {
            if server_beliefs == Belief::Yes && client_beliefs == Belief::No {
                return Err(format!("the server believes in a {what} that the client never gave"));
            }
            if client_beliefs == Belief::Yes && server_beliefs != Belief::Yes {
                return Err(format!(
                    "the client believes that its {what} is accepted, and the server does not"
                ));
            }
        }
        if self.states_after_upgrade.len() > 1 {
            return Err("more than one state after the upgrade".to_owned());
        }
        Ok(6)
    }

    /// Returns the attacker's actions on a path.
    fn path(&self, paths: &[ReachedState], at: usize, last: Action) -> String {
        let mut actions = vec![last];
        let mut before = paths[at].from;
        while let Some((at, next)) = before {
            actions.push(next);
            before = paths[at].from;
        }
        let lines = actions.iter().rev().map(|next| match next {
            Action::Inject(to, piece) | Action::DeliverWith(to, piece) => {
                let bytes = self.pieces.bytes[usize::from(*piece)].escape_ascii();
                format!("{next:?}: {bytes} to the {to:?}")
            }
            next => format!("{next:?}"),
        });
        lines.collect::<Vec<_>>().join("\n  ")
    }
}
