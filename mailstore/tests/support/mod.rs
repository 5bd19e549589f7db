//! Creates stores of earlier versions.

use std::path::Path;

/// Converts a database to version 14: removes what version 15 added.
pub(crate) fn downgrade_to_14(directory: &Path) {
    let database = rusqlite::Connection::open(directory.join("mail.db")).unwrap();
    let text = "DROP TABLE client_secrets; DROP TABLE client_accounts; DROP TABLE client_secret_key;
        PRAGMA user_version = 14;";
    database.execute_batch(text).unwrap();
}

/// Converts a database to version 11: removes what later versions added.
pub(crate) fn downgrade_to_11(directory: &Path) {
    downgrade_to_14(directory);
    let database = rusqlite::Connection::open(directory.join("mail.db")).unwrap();
    database
        .execute_batch("DROP TRIGGER mailbox_deleted_with_acl; DROP TABLE acl; PRAGMA user_version = 11;")
        .unwrap();
}

/// Converts a database to version 10: removes what version 11 added, and later ones.
pub(crate) fn downgrade_to_10(directory: &Path) {
    downgrade_to_11(directory);
    let database = rusqlite::Connection::open(directory.join("mail.db")).unwrap();
    for column in ["object_id", "highest_modseq", "uid_next", "messages", "is_gone"] {
        database.execute_batch(&format!("ALTER TABLE remote_mailboxes DROP COLUMN {column}")).unwrap();
    }
    database
        .execute_batch("ALTER TABLE remote_messages DROP COLUMN is_removed; PRAGMA user_version = 10;")
        .unwrap();
}

/// Removes what version 8 added.
fn remove_metadata(database: &rusqlite::Connection) {
    let text = "DROP TRIGGER metadata_came; DROP TRIGGER metadata_went; DROP TABLE metadata;
        DROP TRIGGER mailbox_deleted_with_metadata; ALTER TABLE accounts DROP COLUMN metadata;
        DROP TRIGGER deleted_message_came; DROP TRIGGER deleted_message_went; DROP TRIGGER deleted_flag;
        ALTER TABLE mailboxes DROP COLUMN deleted_size";
    database.execute_batch(text).unwrap();
}

/// Converts a database to version 5: removes what later versions added.
pub(crate) fn downgrade_to_5(directory: &Path) {
    downgrade_to_10(directory);
    let database = rusqlite::Connection::open(directory.join("mail.db")).unwrap();
    remove_metadata(&database);
    database
        .execute_batch(
            "ALTER TABLE messages DROP COLUMN saved; DROP TABLE previews; DROP TABLE text_indexes;
             DROP TABLE text_segments; DROP TABLE text_bits; ALTER TABLE mailboxes DROP COLUMN removals;
             ALTER TABLE mailboxes DROP COLUMN forgotten; PRAGMA user_version = 5;",
        )
        .unwrap();
}

/// Converts a database to version 3: removes what version 4 added, and later ones.
pub(crate) fn downgrade(directory: &Path) {
    downgrade_to_5(directory);
    let database = rusqlite::Connection::open(directory.join("mail.db")).unwrap();
    let triggers = [
        "message_came",
        "message_went",
        "mailbox_came",
        "mailbox_deleted",
        "mailbox_went",
        "subscription_came",
        "subscription_went",
        "remote_account_came",
    ];
    triggers.iter().for_each(|name| database.execute_batch(&format!("DROP TRIGGER {name}")).unwrap());
    let columns = ["messages", "bytes", "mailboxes", "subscriptions", "remote_accounts"];
    for column in columns {
        database.execute_batch(&format!("ALTER TABLE accounts DROP COLUMN {column}")).unwrap();
    }
    database
        .execute_batch(
            "ALTER TABLE mailboxes DROP COLUMN recent; PRAGMA user_version = 3;
             CREATE TRIGGER message_came AFTER INSERT ON messages BEGIN
                 UPDATE mailboxes SET messages = messages + 1 WHERE id = new.mailbox;
             END;
             CREATE TRIGGER message_went AFTER DELETE ON messages BEGIN
                 UPDATE mailboxes SET messages = messages - 1 WHERE id = old.mailbox;
             END;",
        )
        .unwrap();
}
