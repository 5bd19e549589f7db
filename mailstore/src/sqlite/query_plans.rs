//! Tests that SQLite answers every statement of the store from an index, with `EXPLAIN QUERY PLAN`.

use super::{mailboxes, messages, schema};
use crate::types::Columns;
use rusqlite::Connection;

/// The files that hold statements.
const SOURCES: [&str; 20] = [
    include_str!("accounts.rs"),
    include_str!("acl.rs"),
    include_str!("append.rs"),
    include_str!("changes.rs"),
    include_str!("client_accounts.rs"),
    include_str!("group_commit.rs"),
    include_str!("keywords.rs"),
    include_str!("mailbox_row.rs"),
    include_str!("mailboxes.rs"),
    include_str!("messages.rs"),
    include_str!("metadata.rs"),
    include_str!("quota.rs"),
    include_str!("remote.rs"),
    include_str!("removals.rs"),
    include_str!("remote_state.rs"),
    include_str!("schema.rs"),
    include_str!("store.rs"),
    include_str!("unfetched.rs"),
    include_str!("unfinished_copies.rs"),
    include_str!("writer.rs"),
];

/// Allowed steps of plans that read or sort more than their result: the start of the statement, the step, and the
/// reason.
const ALLOWED: [(&str, &str, &str); 27] = [
    ("SELECT id, name, verifier, EXISTS", "SEARCH login_keys", "one row is enough"),
    ("SELECT id, name FROM accounts", "SCAN accounts", "all accounts are the result"),
    ("SELECT copy, mailbox, first, last", "SCAN unfinished_copies", "one row is enough"),
    ("SELECT secret FROM own_secret", "SCAN own_secret", "the table has one row"),
    ("SELECT r.uid_validity, r.uid, r.local_uid FROM", "SCAN r", "the subquery has a hundred rows at most"),
    (
        "SELECT name FROM mailbox_keywords",
        "SEARCH mailbox_keywords",
        "all keywords of a mailbox are the result",
    ),
    ("DELETE FROM mailbox_keywords", "SEARCH mailbox_keywords", "all keywords of a mailbox are deleted"),
    ("DELETE FROM messages WHERE mailbox = ?1 AND uid IN", "SEARCH messages", "the subquery has a limit"),
    ("DELETE FROM expunged", "SEARCH expunged", "the subquery has a limit"),
    (
        "SELECT modseq FROM expunged",
        "SEARCH expunged",
        "it reads as many rows as are then deleted: about 1,000",
    ),
    ("DELETE FROM remote_unfetched", "SEARCH remote_unfetched", "there are at most 10,000 rows"),
    ("DELETE FROM login_keys", "SEARCH login_keys", "all keys of an account are deleted: a few"),
    ("SELECT id, url_key, last_sync_at", "SEARCH remote_accounts", "all remote accounts are the result"),
    ("SELECT id, name, mailbox, uid_validity", "SEARCH remote_mailboxes", "all of them are the result"),
    ("SELECT name, mailbox FROM remote_mailboxes", "SEARCH remote_mailboxes", "all of them are the result"),
    ("SELECT other.id FROM remote_mailboxes", "SEARCH other", "all other mailboxes are the result"),
    ("SELECT 1 FROM ( SELECT local_mailbox", "SCAN r", "the subquery has a hundred rows at most"),
    ("SELECT identifier, rights FROM acl", "SEARCH acl", "a mailbox has 64 entries at most"),
    ("SELECT count(*) FROM acl WHERE mailbox", "SEARCH acl", "a mailbox has 64 entries at most"),
    ("SELECT count(*) FROM acl WHERE account", "SEARCH acl", "an account has 1,000 entries at most"),
    ("INSERT INTO acl", "SEARCH a", "a mailbox has 64 entries at most"),
    ("DELETE FROM acl WHERE mailbox", "SEARCH acl", "a mailbox has 64 entries at most"),
    ("SELECT count(*) FROM client_accounts", "SCAN client_accounts", "there are at most 1,000 accounts"),
    ("SELECT id FROM client_accounts", "SCAN client_accounts", "all accounts are the result"),
    ("SELECT number, key_check", "SCAN client_secret_key", "the table has one row"),
    ("SELECT field, key_number, sealed", "SEARCH client_secrets", "an account has a few secrets"),
    ("SELECT count(*) FROM client_secrets", "SEARCH client_secrets", "an account has a few secrets"),
];

/// Returns whether a step reads or sorts more than a key selects: a whole table, or all rows of a mailbox or an
/// account.
fn is_broad(step: &str) -> bool {
    let whole = ["(mailbox=?)", "(account=?)", "(remote_mailbox=?)", "(remote=?)"];
    (step.contains("SCAN") && step != "SCAN CONSTANT ROW")
        || step.contains("TEMP B-TREE")
        || whole.iter().any(|constraint| step.ends_with(constraint))
}

/// Returns whether a step looks for a row of another table that refers to an inserted or deleted one. One row is
/// enough.
fn is_foreign_key_check(statement: &str, step: &str) -> bool {
    let mut words = statement.split_whitespace();
    let changes = matches!(words.next(), Some("INSERT" | "DELETE")) && !statement.contains("SELECT");
    let own = words.find(|word| !matches!(*word, "INTO" | "FROM" | "OR" | "IGNORE" | "REPLACE"));
    changes && step.starts_with("SEARCH") && step.split_whitespace().nth(1) != own
}

/// Returns the string literals of a source that are statements, except those built with `format!`.
fn statements(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    // Migrations run once, on the tables of an earlier version.
    let code = code.split("pub(super) fn migrate(").next().unwrap_or_default();
    // Even pieces are code, odd ones are literals: no statement contains a quote.
    let literals = code.split('"').skip(1).step_by(2);
    let text =
        literals.map(|text| text.replace("\\\n", " ").split_whitespace().collect::<Vec<_>>().join(" "));
    let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE "];
    let is_statement = |text: &String| verbs.iter().any(|verb| text.starts_with(verb));
    // COLUMNS is only the start of a statement. Several statements together are a migration.
    text.filter(is_statement)
        .filter(|text| !text.contains(['{', ';']) && !text.ends_with("FROM mailboxes m"))
        .collect()
}

/// Returns the statements of the database's triggers, with parameters instead of the row's values.
fn trigger_statements(connection: &Connection) -> Vec<String> {
    let mut triggers = connection.prepare("SELECT sql FROM sqlite_schema WHERE type = 'trigger'").unwrap();
    let triggers = triggers.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let mut statements = Vec::new();
    for trigger in triggers {
        let trigger = trigger.unwrap();
        let body = trigger.split_once("BEGIN").unwrap().1.rsplit_once("END").unwrap().0;
        for statement in body.split(';').map(str::trim).filter(|text| !text.is_empty()) {
            let words = statement.split_inclusive(|c: char| !c.is_alphanumeric() && c != '.' && c != '_');
            let replaced = words.map(|word| match word.starts_with("new.") || word.starts_with("old.") {
                true => format!(
                    "?1{}",
                    word.trim_start_matches(|c: char| c.is_alphanumeric() || ".?_".contains(c))
                ),
                false => word.to_owned(),
            });
            statements.push(replaced.collect());
        }
    }
    statements
}

fn plan(connection: &Connection, statement: &str) -> Vec<String> {
    let mut explain = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
    let count = explain.parameter_count();
    for index in 1..=count {
        explain.raw_bind_parameter(index, 1).unwrap();
    }
    let mut rows = explain.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        steps.push(row.get::<_, String>(3).unwrap());
    }
    steps
}

#[test]
fn every_statement_is_answered_from_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mail.db");
    drop(super::files::open_private_file(&path).unwrap());
    let connection = schema::open_writer(&path).unwrap();
    let mut all: Vec<String> = SOURCES.into_iter().flat_map(statements).collect();
    assert!(all.len() > 60, "{} statements are found", all.len());
    // Statements that are built with `format!`.
    let built = SOURCES.iter().map(|source| source.matches("format!(\"{COLUMNS}").count()).sum::<usize>();
    assert_eq!(built, 2, "the statements made of COLUMNS are listed here");
    all.extend([mailboxes::list_query(), mailboxes::lookup_query()]);
    let built = SOURCES.iter().map(|source| source.matches("\"SELECT {SUMMARY}").count()).sum::<usize>();
    assert_eq!(built, 1, "the statement made of SUMMARY is listed here");
    for bits in 0..16 {
        let columns = Columns {
            envelope: bits & 1 != 0,
            structure: bits & 2 != 0,
            body: bits & 4 != 0,
            email_id: true,
            preview: bits & 8 != 0,
        };
        all.push(messages::page_query(columns));
    }
    let triggers = trigger_statements(&connection);
    assert!(triggers.len() >= 10);
    all.extend(triggers);

    let mut used = std::collections::BTreeSet::new();
    let mut wrong = Vec::new();
    for statement in &all {
        for step in plan(&connection, statement) {
            if !is_broad(&step) {
                continue;
            }
            if is_foreign_key_check(statement, &step) {
                continue;
            }
            match ALLOWED.iter().position(|(start, allowed, _)| {
                statement.trim_start().starts_with(start) && step.starts_with(allowed)
            }) {
                Some(at) => drop(used.insert(at)),
                None => wrong.push(format!("{step}: {statement}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (at, allowed) in ALLOWED.iter().enumerate() {
        assert!(used.contains(&at), "{allowed:?} is needed no more");
    }
}
