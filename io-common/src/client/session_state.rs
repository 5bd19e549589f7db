//! What a driver needs of the state of a typed client, whatever its protocol.

use proto_mail::{Machine, SendBuffer};

use super::error::ClientError;

/// The largest piece of a message that a typed client queues at once, in bytes.
pub const PIECE: usize = 32 * 1024;

/// The state of a typed client beside its machine: what was begun and is not finished.
pub trait SessionState<M: Machine> {
    /// Notes what an event means for the commands that are unfinished. Call it with every event of the machine, before any
    /// other use of the event.
    fn note(&mut self, event: &M::Event<'_>);

    /// Finishes what was begun before. Returns true when the next command can be given. Call it first without an event,
    /// then with each event until it returns true.
    ///
    /// # Errors
    /// The session is over, and the driver cuts the connection: [`ClientError::Interrupted`] if a message was not sent
    /// completely; the server refuses to serve.
    fn settle(
        &mut self,
        event: Option<&M::Event<'_>>,
        machine: &mut M,
        tx: &mut SendBuffer,
    ) -> Result<bool, ClientError>;
}
