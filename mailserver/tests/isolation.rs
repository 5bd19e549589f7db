//! What one account or session does has no effect on another: names, guesses of passwords, programs that panic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod pipe;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mailserver::certificate::Authority;
use mailserver::{
    Encryption, ListenerOptions, MessageCallback, Options, ServerContext, Service, Settings, scram_keys,
};
use mailstore::{Accounts, MemoryStore, PasswordCost, Store};
use pipe::Session;

fn start(context: &Arc<ServerContext>, service: Service) -> Session {
    let certificate = Authority::generate(&[], 1_800_000_000).unwrap().issue(&[], 1_800_000_000).unwrap();
    let encryption = Encryption::DangerCleartext(certificate.tls().unwrap());
    Session::start(context, ListenerOptions::new(service, encryption))
}

fn context(settings: &Settings, options: Options) -> (Arc<ServerContext>, Arc<MemoryStore>) {
    let store = MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap();
    let store = Arc::new(store.with_key_maker(Arc::new(|password| scram_keys::derive_with(password, 4096))));
    for name in ["ann", "bob"] {
        store.create_account(name, b"a password").unwrap();
    }
    (ServerContext::new(store.clone(), settings, options).unwrap(), store)
}

fn logged_in(context: &Arc<ServerContext>, name: &str) -> Session {
    let mut imap = start(context, Service::Imap);
    imap.exchange(&format!("a LOGIN {name} \"a password\"\r\n"), "a OK");
    imap
}

#[test]
fn an_account_cannot_reach_the_mailboxes_of_another() {
    let (context, store) = context(&Settings::default(), Options::default());
    let mut ann = logged_in(&context, "ann");
    ann.exchange("b CREATE secret/plans\r\n", "b OK");
    ann.exchange("c APPEND secret/plans {4}\r\n", "+ ");
    ann.exchange("text\r\n", "c OK");
    let mut bob = logged_in(&context, "bob");
    bob.exchange("b APPEND INBOX {4}\r\n", "+ ");
    bob.exchange("mail\r\n", "b OK");
    bob.exchange("c SELECT INBOX\r\n", "c OK");
    for command in [
        "EXAMINE secret/plans",
        "STATUS secret/plans (MESSAGES)",
        "DELETE secret/plans",
        "DELETE secret",
        "RENAME secret mine",
        "RENAME secret/plans mine",
    ] {
        bob.exchange(&format!("x {command}\r\n"), "x NO");
    }
    let listed = bob.exchange(
        "l LIST (SUBSCRIBED RECURSIVEMATCH) \"\" * RETURN (CHILDREN STATUS (MESSAGES))\r\n",
        "l OK",
    );
    assert!(!listed.contains("secret"), "{listed}");
    bob.exchange("s SELECT INBOX\r\n", "s OK");
    for command in ["COPY 1 secret/plans", "MOVE 1 secret/plans", "APPEND secret/plans {4}"] {
        let answer = bob.exchange(&format!("z {command}\r\n"), "z NO");
        assert!(answer.contains("[TRYCREATE]"), "{command}: {answer}");
    }
    assert!(ann.exchange("d STATUS secret/plans (MESSAGES)\r\n", "d OK").contains("MESSAGES 1"));
    let account = store.account("ann").unwrap().unwrap().id;
    assert_eq!(store.usage(account).unwrap().bytes, 4);
}

/// The failures of one address count together, whatever the protocol.
#[test]
fn guesses_are_delayed_across_all_three_protocols() {
    let mut settings = Settings::default();
    settings.failed_logins.free = 0;
    let (context, _) = context(&settings, Options::default());
    // NUL, a name, NUL, a password.
    let [wrong, right] = ["AGFubgBndWVzcw==", "AGFubgBhIHBhc3N3b3Jk"];
    let mut waited = Vec::new();
    for service in [Service::Lmtp, Service::Smtp, Service::Imap] {
        let mut session = start(&context, service);
        let begun = Instant::now();
        match service {
            Service::Imap => drop(session.exchange(&format!("a AUTHENTICATE PLAIN {wrong}\r\n"), "a NO")),
            _ => {
                let hello = if service == Service::Lmtp { "LHLO" } else { "EHLO" };
                session.exchange(&format!("{hello} client.test\r\n"), "250 ");
                session.exchange(&format!("AUTH PLAIN {wrong}\r\n"), "535 ");
            }
        }
        waited.push(begun.elapsed());
    }
    assert!(waited[2] >= Duration::from_millis(1_500), "{waited:?}");
    let mut owner = start(&context, Service::Imap);
    let begun = Instant::now();
    owner.exchange(&format!("a AUTHENTICATE PLAIN {right}\r\n"), "a OK");
    assert!(begun.elapsed() < waited[0].max(Duration::from_millis(500)), "the owner does not wait");
}

#[test]
fn a_callback_that_panics_does_not_make_the_client_send_again() {
    let called = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&called);
    let mut options = Options::default();
    options.on_message = Some(MessageCallback::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        panic!("the test wants it");
    }));
    let (context, store) = context(&Settings::default(), options);
    let mut lmtp = start(&context, Service::Lmtp);
    lmtp.exchange("LHLO client.test\r\n", "250 ");
    for _ in 0..2 {
        lmtp.exchange("MAIL FROM:<bob@client.test>\r\n", "250 ");
        lmtp.exchange("RCPT TO:<ann@localhost>\r\n", "250 ");
        lmtp.exchange("DATA\r\n", "354 ");
        lmtp.exchange("Subject: hello\r\n\r\nbody\r\n.\r\n", "250 ");
    }
    let account = store.account("ann").unwrap().unwrap().id;
    assert_eq!((called.load(Ordering::SeqCst), store.usage(account).unwrap().messages), (2, 2));
}
