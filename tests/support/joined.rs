//! A client and a server, joined by a wire that splits arbitrarily and may corrupt data.
//!
//! The first line of an input chooses IMAP or SMTP, where and how the wire fails, and then what the client does; the
//! second line chooses what the server's application answers. Without a fault both sides report the same for every
//! command, and every message arrives as it was sent. If the wire is cut, neither side reports more than what
//! happened. If it corrupts data, the results are arbitrary, but nothing panics and both sides come to an end.
//!
//! This module carries bytes and knows no protocol.

use proto_mail::{RecvBuffer, SendBuffer};

use crate::play::Choices;
use crate::{joined_imap, joined_smtp};

/// Joins a client and a server.
///
/// # Panics
/// If one of them reports something that did not happen.
pub fn differential(data: &[u8]) {
    let mut lines = data.splitn(3, |&byte| byte == b'\n');
    let mut line = || Choices::new(lines.next().unwrap_or_default());
    let (mut client, server) = (line(), line());
    let smtp = client.pick(2) == 0;
    let wire = Wire::new(&mut client);
    if smtp {
        joined_smtp::run(client, server, wire);
    } else {
        joined_imap::run(client, server, wire);
    }
}

/// Carries bytes in both directions.
pub struct Wire {
    fault: Fault,
    /// After this many bytes.
    at: u64,
    carried: u64,
    dice: u32,
}

/// A fault of the wire at one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No fault.
    None,
    /// The wire carries nothing more.
    Cut,
    /// One byte is changed.
    Flip,
    /// One byte is lost.
    Drop,
    /// A piece is repeated.
    Repeat,
}

impl Wire {
    fn new(choices: &mut Choices) -> Self {
        let fault = match choices.pick(8) {
            1 | 5 => Fault::Cut,
            2 => Fault::Flip,
            3 => Fault::Drop,
            4 => Fault::Repeat,
            _ => Fault::None,
        };
        let at = u64::from(choices.pick(64)) * 16 + u64::from(choices.pick(16));
        Self { fault, at, carried: 0, dice: u32::from(choices.pick(255)) + 1 }
    }

    /// The wire's fault.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        self.fault
    }

    /// Whether the wire is cut.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        matches!(self.fault, Fault::Cut) && self.carried >= self.at
    }

    /// Carries a part of the pending bytes. Returns false if there were none or the wire is cut.
    pub fn carry(&mut self, tx: &mut SendBuffer, rx: &mut RecvBuffer) -> bool {
        let Some(piece) = tx.chunks().map(|chunk| chunk.bytes).find(|bytes| !bytes.is_empty()) else {
            return false;
        };
        self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let most = if self.dice >> 30 == 0 { 1 + (self.dice >> 16) as usize % 7 } else { piece.len() };
        let left = usize::try_from(self.at.saturating_sub(self.carried)).unwrap_or(usize::MAX);
        let here = self.fault != Fault::None && left < piece.len().min(most);
        let take = match self.fault {
            Fault::None => most.min(piece.len()),
            _ if left == 0 => usize::from(self.fault != Fault::Cut),
            _ => most.min(piece.len()).min(left),
        };
        let mut piece = piece.get(..take).unwrap_or_default().to_vec();
        self.carried += take as u64;
        if here && left == 0 {
            match self.fault {
                Fault::Flip => piece.iter_mut().for_each(|byte| *byte ^= 4),
                Fault::Drop => piece.clear(),
                Fault::Repeat => piece.extend_from_within(..),
                Fault::None | Fault::Cut => {}
            }
        }
        rx.extend(&piece);
        tx.sent(take);
        take > 0
    }
}
