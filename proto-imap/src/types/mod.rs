//! The nouns of the protocol, one room for each part of it.
//!
//! Types that come out of the grammar are *views*: they borrow the octets of the message (`'i`), hold no memory of
//! their own, and walk their lists when asked to. Where an application wants to keep one beyond the message there
//! is an owned twin. The same types go into [`encode`](crate::encode).

pub mod date;
pub mod flag;
pub mod repair;
pub mod string;
pub mod tag;

pub use date::{Date, DateTime};
pub use flag::{Flag, FlagList, Keyword};
pub use repair::{Reading, Repair, RepairSet, Repairs};
pub use string::{Form, IString};
pub use tag::Tag;
