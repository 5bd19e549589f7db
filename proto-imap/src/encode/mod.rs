//! The grammar in the other direction: always strict, whatever was read tolerantly.
//!
//! Responses append to a [`Sink`] and cannot fail: what the grammar has no words for is not written (a keyword that
//! is no atom, a `UIDNEXT` of 0), and no value whatsoever can bring a line end, a NUL or a parenthesis to a place
//! where it would be read as anything but data. Nothing is allocated. [Commands](mod@command) are refused as a whole where
//! an argument cannot be written.

pub mod argument;
pub mod body;
pub mod command;
pub mod envelope;
pub mod fetch;
pub mod mailbox_data;
pub mod primitive;
pub mod response;
pub mod search;
mod search_key;
pub mod status;

pub use argument::{ArgumentFault, CommandBuffer, CommandSink, InvalidArgument, LiteralMode, Options};
pub use command::{append_prefix, command};
pub use fetch::FetchWriter;
pub use response::response;

/// Where encoded octets go.
pub trait Sink {
    /// Appends a copy of `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for alloc::vec::Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for proto_mail::SendBuffer {
    fn put(&mut self, bytes: &[u8]) {
        Self::put(self, bytes);
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn put(&mut self, bytes: &[u8]) {
        (**self).put(bytes);
    }
}
