//! The tables of the database, their versions, and opening a connection.
//!
//! `synchronous = FULL` makes SQLite sync the write-ahead log at every commit. With `NORMAL`, a loss of power could
//! undo acknowledged commits.

use crate::error::{Error, Result};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// The version that this program writes.
const VERSION: i64 = 15;

/// The length of the store's secret, in bytes.
const SECRET_LENGTH: usize = 32;

/// How long a connection waits for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(15);

const TABLES: &str = "
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    verifier TEXT NOT NULL,
    last_uid_validity INTEGER NOT NULL
) STRICT;

CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    uid_validity INTEGER NOT NULL,
    uid_next INTEGER NOT NULL DEFAULT 1,
    first_recent_uid INTEGER NOT NULL DEFAULT 1,
    highest_modseq INTEGER NOT NULL DEFAULT 1,
    special_use TEXT,
    no_select INTEGER NOT NULL DEFAULT 0,
    messages INTEGER NOT NULL DEFAULT 0,
    unseen INTEGER NOT NULL DEFAULT 0,
    deleted INTEGER NOT NULL DEFAULT 0,
    size INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, name)
) STRICT;

CREATE TABLE subscriptions (
    account INTEGER NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    PRIMARY KEY (account, name)
) STRICT, WITHOUT ROWID;

-- The body is the last column: SQLite reads the columns before it without touching its pages.
CREATE TABLE contents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    size INTEGER NOT NULL,
    file TEXT UNIQUE,
    envelope TEXT NOT NULL,
    structure TEXT NOT NULL,
    body BLOB
) STRICT;

CREATE TABLE messages (
    mailbox INTEGER NOT NULL REFERENCES mailboxes (id),
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    created INTEGER NOT NULL, -- the mod-sequence at which the message was added
    flags INTEGER NOT NULL,
    keyword_bits BLOB,
    seconds INTEGER NOT NULL,
    offset_minutes INTEGER NOT NULL,
    sent INTEGER,
    size INTEGER NOT NULL,
    content INTEGER NOT NULL REFERENCES contents (id),
    PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX messages_modseq ON messages (mailbox, modseq);
CREATE INDEX messages_content ON messages (content);

CREATE TABLE expunged (
    mailbox INTEGER NOT NULL REFERENCES mailboxes (id),
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    created INTEGER NOT NULL,
    PRIMARY KEY (mailbox, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX expunged_modseq ON expunged (mailbox, modseq);

-- 1 is Seen, 8 is Deleted.
CREATE TRIGGER message_flags AFTER UPDATE OF flags ON messages WHEN old.flags != new.flags BEGIN
    UPDATE mailboxes SET unseen = unseen + (new.flags & 1 = 0) - (old.flags & 1 = 0),
        deleted = deleted + (new.flags & 8 != 0) - (old.flags & 8 != 0) WHERE id = new.mailbox;
END;

CREATE TABLE remote_accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES accounts (id),
    url_key TEXT NOT NULL,
    last_sync_at INTEGER,
    status TEXT,
    error TEXT,
    UNIQUE (account, url_key)
) STRICT;

CREATE TABLE remote_mailboxes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    remote INTEGER NOT NULL REFERENCES remote_accounts (id),
    name TEXT NOT NULL,
    mailbox INTEGER NOT NULL,
    uid_validity INTEGER NOT NULL,
    UNIQUE (remote, name)
) STRICT;

-- `local_uid` may name a message that was removed: it stays recorded and is not fetched again. Messages of another
-- `local_mailbox` than the one in force are unknown: a mailbox that was deleted here is filled anew.
CREATE TABLE remote_messages (
    remote_mailbox INTEGER NOT NULL REFERENCES remote_mailboxes (id),
    uid_validity INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    local_mailbox INTEGER NOT NULL,
    local_uid INTEGER NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (remote_mailbox, uid_validity, uid)
) STRICT, WITHOUT ROWID;
CREATE INDEX remote_messages_digest ON remote_messages (remote_mailbox, digest);
";

/// Version 2 added login keys, for mechanisms that do not send the password, and the store's secret.
const LOGIN_KEYS: &str = "
CREATE TABLE login_keys (
    account INTEGER NOT NULL REFERENCES accounts (id),
    kind TEXT NOT NULL,
    keys TEXT NOT NULL,
    PRIMARY KEY (account, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE own_secret (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    secret BLOB NOT NULL
) STRICT;
";

/// Version 3 added numbered keywords: a message stores one bit for each.
const KEYWORDS: &str = "
CREATE TABLE mailbox_keywords (
    mailbox INTEGER NOT NULL REFERENCES mailboxes (id),
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (mailbox, number)
) STRICT, WITHOUT ROWID;
";

/// Version 4 added counters of an account for its quotas, and of a mailbox for RECENT. Triggers keep the counters, so
/// they can't drift from the rows.
const COUNTERS: &str = "
ALTER TABLE mailboxes ADD COLUMN recent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN messages INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN mailboxes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN subscriptions INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN remote_accounts INTEGER NOT NULL DEFAULT 0;

UPDATE mailboxes SET recent =
    (SELECT count(*) FROM messages m WHERE m.mailbox = mailboxes.id AND m.uid >= mailboxes.first_recent_uid);
UPDATE accounts SET
    messages = (SELECT coalesce(sum(messages), 0) FROM mailboxes m WHERE m.account = accounts.id),
    bytes = (SELECT coalesce(sum(size), 0) FROM mailboxes m WHERE m.account = accounts.id),
    mailboxes = (SELECT count(*) FROM mailboxes m WHERE m.account = accounts.id AND m.name >= char(2)),
    subscriptions = (SELECT count(*) FROM subscriptions s WHERE s.account = accounts.id),
    remote_accounts = (SELECT count(*) FROM remote_accounts r WHERE r.account = accounts.id);

DROP TRIGGER IF EXISTS message_came;
DROP TRIGGER IF EXISTS message_went;
CREATE TRIGGER message_came AFTER INSERT ON messages BEGIN
    UPDATE mailboxes SET messages = messages + 1, size = size + new.size, unseen = unseen + (new.flags & 1 = 0),
        deleted = deleted + (new.flags & 8 != 0), recent = recent + (new.uid >= first_recent_uid)
        WHERE id = new.mailbox;
    UPDATE accounts SET messages = messages + 1, bytes = bytes + new.size
        WHERE id = (SELECT account FROM mailboxes WHERE id = new.mailbox);
END;
CREATE TRIGGER message_went AFTER DELETE ON messages BEGIN
    UPDATE mailboxes SET messages = messages - 1, size = size - old.size, unseen = unseen - (old.flags & 1 = 0),
        deleted = deleted - (old.flags & 8 != 0), recent = recent - (old.uid >= first_recent_uid)
        WHERE id = old.mailbox;
    UPDATE accounts SET messages = messages - 1, bytes = bytes - old.size
        WHERE id = (SELECT account FROM mailboxes WHERE id = old.mailbox);
END;
CREATE TRIGGER mailbox_came AFTER INSERT ON mailboxes BEGIN
    UPDATE accounts SET mailboxes = mailboxes + 1 WHERE id = new.account;
END;
-- A deleted mailbox that still holds messages has a name below char(2).
CREATE TRIGGER mailbox_deleted AFTER UPDATE OF name ON mailboxes WHEN old.name >= char(2) AND new.name < char(2) BEGIN
    UPDATE accounts SET mailboxes = mailboxes - 1 WHERE id = new.account;
END;
CREATE TRIGGER mailbox_went AFTER DELETE ON mailboxes WHEN old.name >= char(2) BEGIN
    UPDATE accounts SET mailboxes = mailboxes - 1 WHERE id = old.account;
END;
CREATE TRIGGER subscription_came AFTER INSERT ON subscriptions BEGIN
    UPDATE accounts SET subscriptions = subscriptions + 1 WHERE id = new.account;
END;
CREATE TRIGGER subscription_went AFTER DELETE ON subscriptions BEGIN
    UPDATE accounts SET subscriptions = subscriptions - 1 WHERE id = old.account;
END;
CREATE TRIGGER remote_account_came AFTER INSERT ON remote_accounts BEGIN
    UPDATE accounts SET remote_accounts = remote_accounts + 1 WHERE id = new.account;
END;
";

/// Version 8 added metadata (RFC 5464), and the size of a mailbox's messages with `\Deleted`. The entries of a mailbox go
/// with it.
const METADATA: &str = "
CREATE TABLE metadata (
    account INTEGER NOT NULL REFERENCES accounts (id),
    mailbox INTEGER NOT NULL, -- 0 for the entries of the server
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (account, mailbox, name)
) STRICT, WITHOUT ROWID;

ALTER TABLE accounts ADD COLUMN metadata INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER metadata_came AFTER INSERT ON metadata BEGIN
    UPDATE accounts SET metadata = metadata + 1, bytes = bytes + length(new.name) + length(new.value)
        WHERE id = new.account;
END;
CREATE TRIGGER metadata_went AFTER DELETE ON metadata BEGIN
    UPDATE accounts SET metadata = metadata - 1, bytes = bytes - length(old.name) - length(old.value)
        WHERE id = old.account;
END;
CREATE TRIGGER mailbox_deleted_with_metadata AFTER UPDATE OF name ON mailboxes
    WHEN old.name >= char(2) AND new.name < char(2)
BEGIN
    DELETE FROM metadata WHERE account = new.account AND mailbox = new.id;
END;

-- 8 is Deleted.
ALTER TABLE mailboxes ADD COLUMN deleted_size INTEGER NOT NULL DEFAULT 0;
UPDATE mailboxes SET deleted_size = (SELECT coalesce(sum(m.size), 0) FROM messages m
    WHERE m.mailbox = mailboxes.id AND m.flags & 8 != 0) WHERE deleted > 0;
CREATE TRIGGER deleted_message_came AFTER INSERT ON messages WHEN new.flags & 8 != 0 BEGIN
    UPDATE mailboxes SET deleted_size = deleted_size + new.size WHERE id = new.mailbox;
END;
CREATE TRIGGER deleted_message_went AFTER DELETE ON messages WHEN old.flags & 8 != 0 BEGIN
    UPDATE mailboxes SET deleted_size = deleted_size - old.size WHERE id = old.mailbox;
END;
CREATE TRIGGER deleted_flag AFTER UPDATE OF flags ON messages WHEN old.flags & 8 != new.flags & 8 BEGIN
    UPDATE mailboxes SET deleted_size = deleted_size + (new.flags & 8 != 0) * new.size - (old.flags & 8 != 0) * old.size
        WHERE id = new.mailbox;
END;
";

/// Version 9 added the text index. `below` is the first UID that is not indexed; `bits` has 8 bitmaps of the signatures in a
/// segment, `uids` the UID of each signature in 4 bytes.
const TEXT_INDEX: &str = "
CREATE TABLE IF NOT EXISTS text_indexes (
    mailbox INTEGER PRIMARY KEY,
    below INTEGER NOT NULL,
    segments INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS text_segments (
    mailbox INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    uids BLOB NOT NULL,
    PRIMARY KEY (mailbox, segment)
) STRICT;

CREATE TABLE IF NOT EXISTS text_bits (
    mailbox INTEGER NOT NULL,
    bucket INTEGER NOT NULL,
    segment INTEGER NOT NULL,
    bits BLOB NOT NULL,
    PRIMARY KEY (mailbox, bucket, segment)
) STRICT, WITHOUT ROWID;
";

/// Version 10 added the time at which a message was saved in its mailbox, which is unknown for earlier messages, and the
/// previews of messages.
const SAVED_DATES: &str = "
ALTER TABLE messages ADD COLUMN saved INTEGER;

CREATE TABLE previews (
    content INTEGER PRIMARY KEY REFERENCES contents (id) ON DELETE CASCADE,
    text TEXT NOT NULL
) STRICT;
";

/// Version 14 folds the texts of the index as `i;unicode-casemap` does, so they are indexed again.
const FOLDED_TEXTS: &str = "
DELETE FROM text_bits;
DELETE FROM text_segments;
DELETE FROM text_indexes;
";

/// Opens the database for writing and brings its schema up to date.
pub(super) fn open_writer(path: &Path) -> Result<Connection> {
    let mut connection = connect(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // 16 MiB of log between checkpoints means fewer syncs of the main file under steady delivery.
    connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if !(0..=VERSION).contains(&found) {
        return Err(Error::NewerSchema { found, supported: VERSION });
    }
    if found == 0 {
        transaction.execute_batch(TABLES)?;
    }
    if found < 2 {
        add_login_keys(&transaction)?;
    }
    if found < 3 {
        transaction.execute_batch(super::unfetched::TABLE)?;
        transaction.execute_batch(KEYWORDS)?;
    }
    if matches!(found, 1 | 2) {
        number_keywords(&transaction)?;
    }
    if found < 4 {
        transaction.execute_batch(COUNTERS)?;
    }
    if found < 5 {
        transaction.execute_batch(super::unfinished_copies::TABLE)?;
    }
    if found < 6 {
        transaction.execute_batch(super::removals::COLUMNS)?;
    }
    if found < 8 {
        transaction.execute_batch(METADATA)?;
    }
    if found < 9 {
        transaction.execute_batch(TEXT_INDEX)?;
    }
    if found < 10 {
        transaction.execute_batch(SAVED_DATES)?;
    }
    if found < 11 {
        transaction.execute_batch(super::remote_state::COLUMNS)?;
    }
    if found < 12 {
        transaction.execute_batch(super::acl::TABLE)?;
    }
    if found < 14 {
        transaction.execute_batch(FOLDED_TEXTS)?;
    }
    if found < 15 {
        transaction.execute_batch(super::client_accounts::TABLES)?;
    }
    if found != VERSION {
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(connection)
}

fn add_login_keys(transaction: &Transaction<'_>) -> Result<()> {
    let mut secret = [0_u8; SECRET_LENGTH];
    getrandom::fill(&mut secret).map_err(|_| Error::Crypto)?;
    transaction.execute_batch(LOGIN_KEYS)?;
    transaction.execute("INSERT INTO own_secret (id, secret) VALUES (1, ?1)", [secret])?;
    Ok(())
}

fn number_keywords(transaction: &Transaction<'_>) -> Result<()> {
    transaction.execute_batch("ALTER TABLE messages ADD COLUMN keyword_bits BLOB")?;
    super::keywords::migrate(transaction)?;
    transaction.execute_batch("ALTER TABLE messages DROP COLUMN keywords")?;
    Ok(())
}

/// Opens a connection for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}
