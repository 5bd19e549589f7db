//! Mailboxes that accounts share (RFC 4314, RFC 2342).

mod administration;
mod commands;
mod nothing_leaks;
mod revoked;

use std::sync::Arc;

use mailserver::ServerContext;
use mailstore::{
    AccountId, AclChange, Delivery, Flags, InternalDate, MailboxId, MemoryStore, PasswordCost, Rights,
    SqliteStore, Store, Target, UidSet,
};

use crate::pipe::Session;

/// Ann's mailbox, as bob names it.
const WORK: &str = "\"Other Users/ann/Work\"";

/// Ann has the mailbox `Work` with a message, and bob may use it.
struct Shared<'s> {
    context: &'s Arc<ServerContext>,
    store: &'s dyn Store,
    ann: Session,
    bob: Session,
    owner: AccountId,
    work: MailboxId,
    /// How often bob may have connected again.
    rounds: usize,
}

/// Runs a test over SQLite and in memory.
fn with_shared(test: impl Fn(&mut Shared<'_>)) {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap();
    let stores: [Arc<dyn Store>; 2] =
        [Arc::new(SqliteStore::open(directory.path()).unwrap()), Arc::new(memory)];
    for store in stores {
        let context = super::context(Arc::clone(&store));
        store.create_account("bob", b"a password").unwrap();
        let owner = store.account("ann").unwrap().unwrap().id;
        let work = store.create_mailbox(owner, "Work", None).unwrap();
        let (ann, bob) = (super::login(&context), login(&context, "bob"));
        let mut shared = Shared { context: &context, store: &*store, ann, bob, owner, work, rounds: 0 };
        shared.deliver(work, &[]);
        test(&mut shared);
    }
}

fn login(context: &Arc<ServerContext>, name: &str) -> Session {
    let mut session = super::session(context);
    session.exchange(&format!("a LOGIN {name} \"a password\"\r\n"), "a OK");
    session
}

fn rights(letters: &str) -> Rights {
    letters.chars().fold(Rights::NONE, |all, letter| all.or(Rights::from_letter(letter).unwrap()))
}

impl Shared<'_> {
    /// Bob connects again from time to time: a session with many rejected commands is closed.
    fn reconnect(&mut self) {
        self.rounds += 1;
        if self.rounds.is_multiple_of(4) {
            self.bob = login(self.context, "bob");
        }
    }

    /// Gives bob these rights to `Work`, and no others.
    fn grant(&self, letters: &str) {
        self.grant_to(self.work, letters);
    }

    fn grant_to(&self, mailbox: MailboxId, letters: &str) {
        self.store.set_acl(self.owner, mailbox, "bob", AclChange::Replace, rights(letters)).unwrap();
    }

    fn deliver(&self, mailbox: MailboxId, flags: &[&str]) {
        let mut upload = self.store.upload().unwrap();
        upload.write(b"Subject: hello\r\n\r\nbody\r\n").unwrap();
        let flags = Flags::parse(flags.iter().copied()).unwrap();
        let target = Target { mailbox, flags, internal_date: InternalDate::default() };
        self.store.append(Delivery { upload, targets: vec![target] }).unwrap();
    }

    /// The flags of the messages in a mailbox.
    fn flags(&self, mailbox: MailboxId) -> Vec<String> {
        let columns = mailstore::Columns::summary();
        let page = self.store.fetch_page(mailbox, &UidSet::all(), columns, 100).unwrap();
        page.messages.iter().map(|message| message.flags.to_string()).collect()
    }
}

/// Sends a command and returns the answer.
fn run(session: &mut Session, command: &str) -> String {
    let answer = session.exchange(&format!("x {command}\r\nz CAPABILITY\r\n"), "z OK");
    answer.split_once("* CAPABILITY").map_or(answer.clone(), |(before, _)| before.to_owned())
}

fn ok(session: &mut Session, command: &str) -> String {
    let answer = run(session, command);
    assert!(answer.contains("x OK"), "{command}: {answer}");
    answer
}

fn refused(session: &mut Session, command: &str, code: &str) -> String {
    let answer = run(session, command);
    assert!(answer.contains(&format!("x NO [{code}]")), "{command}: {answer}");
    answer
}
