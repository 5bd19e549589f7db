//! Stores accounts, mailboxes and messages: on disk, in memory, or where you want.
//!
//! Implements IMAP's model of a mail store: UIDs, UIDVALIDITY and flags (RFC 9051 §2.3), and mod-sequences (RFC 7162). It
//! implements no wire protocol, opens no socket and starts no thread.
//!
//! * `SqliteStore` (feature `sqlite`, on by default) keeps everything in a directory.
//! * [`MemoryStore`] keeps everything in memory, up to a limit.
//! * [`IndexedStore`] makes a store of your own [`Storage`], which keeps the bytes of messages.
//! * Or implement [`Store`] and [`Accounts`] yourself. `conformance` (a feature) tests any store.
//!
//! Calls block, so call from worker threads and never from an event loop. A [`Store`] is `Send + Sync`. Calls from several
//! threads run concurrently; appends to `SqliteStore` that wait for each other are committed together.
//!
//! **Durable**: when a method of `SqliteStore` returns `Ok`, its changes survive `kill -9` and loss of power. **Atomic**: a
//! call makes all of its changes or none. **Exact**: the bytes of a message are returned exactly as they were appended.
//!
//! A password is kept as an Argon2id verifier and as [SCRAM keys](scram_keys). Both are slow to compute on purpose, and
//! without optimisation they take seconds. A program that runs in debug builds optimises these crates in its `Cargo.toml`:
//!
//! ```toml
//! [profile.dev.package]
//! argon2 = { opt-level = 3 }
//! blake2 = { opt-level = 3 }
//! hmac = { opt-level = 3 }
//! pbkdf2 = { opt-level = 3 }
//! sha1 = { opt-level = 3 }
//! sha2 = { opt-level = 3 }
//! ```
//!
//! ```
//! use mailstore::{Accounts, Columns, Delivery, Flags, InternalDate, MemoryStore, Store, Target, UidSet};
//!
//! # fn main() -> mailstore::Result<()> {
//! let store = MemoryStore::new()?; // or `SqliteStore::open(directory)?`
//! let account = store.create_account("ann", b"a long password")?;
//! let inbox = store.mailbox(account.id, "INBOX")?.id;
//!
//! let mut upload = store.upload()?;
//! upload.write(b"Subject: hello\r\n\r\n")?;
//! upload.write(b"world\r\n")?;
//! let target = Target { mailbox: inbox, flags: Flags::new(), internal_date: InternalDate::now() };
//! store.append(Delivery { upload, targets: vec![target] })?;
//!
//! let page = store.fetch_page(inbox, &UidSet::all(), Columns::summary().with_envelope(), 100)?;
//! let message = &page.messages[0];
//! assert_eq!(message.envelope.as_ref().and_then(|e| e.subject.as_deref()), Some("hello"));
//! assert_eq!(store.open_content(message.content)?.read(18, 5)?, b"world");
//! # Ok(())
//! # }
//! ```

mod accounts;
mod callback;
mod client_accounts;
#[cfg(feature = "conformance")]
pub mod conformance;
mod content;
mod default_copies;
mod error;
mod flags;
mod indexed;
mod keyword_table;
mod limits;
mod lock;
mod mailbox_name;
mod memory;
mod metadata;
mod object_id;
mod passwords;
mod quota;
mod remote_types;
mod removals;
mod rights;
pub mod scram_keys;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod sync_store;
mod text_index;
mod types;
mod uid_set;
mod upload_owner;

pub use accounts::Accounts;
pub use callback::{
    AccountChange, AccountChangeCallback, AccountChangeSubscription, ChangeCallback, ChangeSubscription,
    KeyMaker,
};
pub use client_accounts::{
    CLIENT_ACCOUNT_LIMIT, CLIENT_ACCOUNT_NAME_LIMIT, CLIENT_ACCOUNT_SETTINGS_LIMIT,
    CLIENT_ACCOUNT_TEXT_LIMIT, ClientAccount, ClientAccountStore, ClientSync, Reseal,
    SEALED_SECRET_COUNT_LIMIT, SEALED_SECRET_LIMIT, SealedSecret, SecretChange, SecretKeyRecord,
};
pub use content::{Body, SMALL_LIMIT, Upload};
pub use default_copies::REPLACED_MESSAGE;
pub use error::{Error, Result};
pub use flags::{
    Flags, KEYWORD_COUNT_LIMIT, KEYWORD_LENGTH_LIMIT, MAILBOX_KEYWORD_BYTES_LIMIT, MAILBOX_KEYWORD_LIMIT,
};
pub use indexed::{
    IndexedStore, Storage, StorageChange, StoredAccount, StoredMailbox, StoredMessage, StoredMetadata,
};
pub use limits::{LEVEL_LIMIT, NAME_LIMIT, WRITE_SLICE};
pub use memory::{MEMORY_LIMIT, MemoryStorage, MemoryStore};
pub use metadata::{
    Annotated, METADATA_ENTRY_LIMIT, METADATA_NAME_LIMIT, METADATA_VALUE_LIMIT, MetadataChange,
    MetadataEntry, MetadataPage,
};
pub use passwords::PasswordCost;
pub use remote_types::*;
pub use rights::{
    ACL_ACCOUNT_LIMIT, ACL_ENTRY_LIMIT, ACL_IDENTIFIER_LIMIT, AclChange, AclEntry, Rights, rights_of,
};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
pub use store::Store;
pub use sync_store::SyncStore;
pub use text_index::{TextIndex, TextIndexPosition, TextSignatures};
pub use types::*;

#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../README.md")]
mod readme {}
