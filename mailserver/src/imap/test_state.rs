//! What a session remembers while a client is tested: the random numbers of its faults, and what is delayed.

use std::time::Instant;

use proto_imap::server::Reply;
use proto_imap::types::{Command, Owned};
use proto_mail::AuthRequest;

use crate::server_context::ServerContext;

/// The state of a session for tests. Other sessions have none.
pub(super) struct TestControls {
    /// The random numbers for the session's faults.
    pub(super) random: fastrand::Rng,
    /// Whether the client has sent ID.
    pub(super) identified: bool,
    pub(super) held: Option<(Instant, Held)>,
}

/// What is delayed.
pub(super) enum Held {
    Command(Owned<Command<'static>>, Reply),
    Idle(Reply),
    Login(AuthRequest),
    Append(Reply),
}

impl TestControls {
    /// Returns the state for a new session, if the server has faults or imitates another one.
    pub(super) fn new(context: &ServerContext, number: u64) -> Option<Box<Self>> {
        let is_needed = context.dialect.is_some() || context.faults.has_imap_rules();
        let new = || Self { random: context.faults.session_rng(number), identified: false, held: None };
        is_needed.then(|| Box::new(new()))
    }
}
