//! The mailbox view: what one client knows of its selected mailbox, for authors of servers.

mod own_changes;
mod resolve;
mod uid_bitmap;
mod update;
mod view;

pub use resolve::ResolveError;
pub use uid_bitmap::{UidBitmap, number_ranges};
pub use update::{ExpungeForm, Expunges, ViewUpdate};
pub use view::MailboxView;
