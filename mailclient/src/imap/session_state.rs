//! What is remembered of an IMAP session to explain its end.

use proto_imap::client::Event;

use crate::error::Error;
use crate::refusal_error::imap_bye_error;
use crate::server_reply::ServerReply;

/// What an IMAP session has received so far that explains its end.
#[derive(Debug, Default)]
pub struct SessionState {
    /// The server's BYE.
    bye: Option<ServerReply>,
    /// Whether the server has sent its greeting.
    is_greeted: bool,
}

impl SessionState {
    /// Notes an event. The driver of a session calls it with each one.
    pub fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Bye(status) => self.bye = Some(ServerReply::imap(status)),
            Event::Greeting(_) => self.is_greeted = true,
            _ => {}
        }
    }

    /// Replaces the error by the server's BYE, if it sent one before the connection closed.
    #[must_use]
    pub fn explain(&mut self, error: Error) -> Error {
        if error.reply().is_some() {
            return error;
        }
        let what = if self.is_greeted {
            "the server ended the session"
        } else {
            "the server refuses the connection"
        };
        match self.bye.take() {
            Some(reply) => imap_bye_error(reply, what).closed(),
            None => error,
        }
    }
}
