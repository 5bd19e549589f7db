//! The sync engine without I/O: a server as a function over command lines, and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use io_common::TlsClientConfig;
use mailclient::sync::{SyncAction, SyncEnd, SyncEngine, SyncEvent, SyncJob};
use mailclient::{Endpoint, Error, ErrorKind, Task, TaskStep};
use mailstore::{Accounts, MemoryStore, Store, SyncStore};
use proto_imap::client::Client;
use proto_imap::config::Config;
use proto_mail::{ChannelBinding, Credentials, Mechanism, RecvBuffer, Secure, SendBuffer};

/// A server's answer to a command.
enum Answer {
    /// These lines.
    Say(String),
    /// Ends the connection after these lines.
    Close(String),
}

/// A server with one folder.
struct FakeServer {
    messages: Vec<u32>,
    /// The message that the server cannot send: it closes the connection.
    broken: Option<u32>,
    /// The message that the server refuses.
    refused: Option<u32>,
    sessions: usize,
    capabilities: &'static str,
    /// The commands with their arguments, without tags.
    commands: Vec<String>,
}

impl FakeServer {
    fn new(messages: &[u32]) -> Self {
        let messages = messages.to_vec();
        let capabilities = "IMAP4rev1";
        Self { messages, broken: None, refused: None, sessions: 0, capabilities, commands: Vec::new() }
    }

    fn answer(&mut self, line: &str) -> Answer {
        let (tag, command) = line.split_once(' ').unwrap();
        self.commands.push(command.to_owned());
        let words: Vec<&str> = command.split(' ').collect();
        let mut out = String::new();
        let verb = if words[0] == "UID" { words[1] } else { words[0] };
        match verb {
            "AUTHENTICATE" => {
                return Answer::Say(format!("{tag} OK [CAPABILITY {}] in\r\n", self.capabilities));
            }
            "IDLE" => return Answer::Close("+ idling\r\n".to_owned()),
            "LIST" => out.push_str("* LIST () \"/\" INBOX\r\n"),
            "LSUB" => out.push_str("* LSUB () \"/\" INBOX\r\n"),
            "EXAMINE" => out.push_str(&format!(
                "* {} EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 99] x\r\n",
                self.messages.len()
            )),
            "SEARCH" => {
                let uids: Vec<_> = self.messages.iter().map(u32::to_string).collect();
                out.push_str(&format!("* SEARCH {}\r\n", uids.join(" ")));
            }
            "FETCH" => {
                let wants_body = command.contains("BODY");
                for (at, uid) in self.messages.iter().enumerate().filter(|(_, uid)| has(words[2], **uid)) {
                    let number = at + 1;
                    if !wants_body {
                        out.push_str(&format!("* {number} FETCH (UID {uid} FLAGS (\\Seen))\r\n"));
                        continue;
                    }
                    if self.refused == Some(*uid) {
                        return Answer::Say(format!("{out}{tag} NO cannot\r\n"));
                    }
                    let text = format!("Subject: {uid}\r\n\r\n{}\r\n", "x".repeat(*uid as usize));
                    out.push_str(&format!(
                        "* {number} FETCH (UID {uid} FLAGS (\\Seen) BODY[] {{{}}}\r\n",
                        text.len()
                    ));
                    if self.broken == Some(*uid) {
                        return Answer::Close(out);
                    }
                    out.push_str(&format!("{text})\r\n"));
                }
            }
            _ => panic!("{line}"),
        }
        Answer::Say(format!("{out}{tag} OK done\r\n"))
    }
}

/// Returns whether a sequence set contains a UID.
fn has(set: &str, uid: u32) -> bool {
    set.split(',').any(|range| {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        let number = |text: &str| if text == "*" { u32::MAX } else { text.parse().unwrap() };
        (number(first)..=number(last)).contains(&uid)
    })
}

/// One connection to the server.
struct Connection {
    client: Client<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl Connection {
    fn open(server: &mut FakeServer) -> Self {
        server.sessions += 1;
        let secure = Secure::tls(ChannelBinding::TlsExporter([1; 32])).with_seed([1; 32]);
        let mut rx = RecvBuffer::new();
        rx.extend(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello\r\n");
        Self { client: Client::<Secure>::new(Config::default(), secure), rx, tx: SendBuffer::new() }
    }

    /// Moves lines between engine and server until the engine needs something else.
    fn drive(&mut self, engine: &mut SyncEngine, server: &mut FakeServer) -> Result<(), Error> {
        loop {
            while let Some(event) = self.client.next_event(&mut self.rx, &mut self.tx)? {
                if let TaskStep::Done(()) = engine.event(event, &mut self.client, &mut self.tx)? {
                    return Ok(());
                }
            }
            if let TaskStep::Done(()) = engine.ready(&mut self.client, &mut self.tx)? {
                return Ok(());
            }
            let sent = String::from_utf8(self.tx.take()).unwrap();
            assert!(!sent.is_empty(), "the engine waits for nothing");
            for line in sent.lines() {
                match server.answer(line) {
                    Answer::Say(text) => self.rx.extend(text.as_bytes()),
                    Answer::Close(text) => {
                        self.rx.extend(text.as_bytes());
                        self.rx.close();
                        break;
                    }
                }
            }
        }
    }
}

/// What happened in a run.
struct Run {
    end: SyncEnd,
    events: Vec<SyncEvent>,
}

impl Run {
    fn imported(&self) -> u64 {
        let counts = self.events.iter().map(|event| match event {
            SyncEvent::Stored { imported, .. } => *imported,
            _ => 0,
        });
        counts.sum()
    }

    fn failed(&self) -> Vec<u32> {
        let uids = self.events.iter().filter_map(|event| match event {
            SyncEvent::MessageFailed { uid, .. } => Some(*uid),
            _ => None,
        });
        uids.collect()
    }
}

fn job(store: &MemoryStore) -> (Endpoint, SyncJob) {
    let tls = TlsClientConfig::danger_accept_any_certificate().unwrap();
    let endpoint = Endpoint::new("imaps://ann@h".parse().unwrap(), tls).mechanisms([Mechanism::Plain]);
    let account = match store.account("ann").unwrap() {
        Some(account) => account.id,
        None => store.create_account("ann", b"x").unwrap().id,
    };
    let remote = store.remote_account(account, "imap:ann@h").unwrap().id;
    (endpoint, SyncJob::new(account, remote))
}

/// Runs a sync. `stop_at` ends it at the store job with this number.
fn sync(store: &MemoryStore, server: &mut FakeServer, stop_at: Option<usize>) -> Run {
    let (endpoint, job) = job(store);
    let mut engine = SyncEngine::new(&endpoint, job);
    let (mut connection, mut events, mut jobs) = (None, Vec::new(), 0);
    for _ in 0..10_000 {
        events.extend(std::iter::from_fn(|| engine.take_event()));
        match engine.next_action() {
            SyncAction::Connect => {
                connection = Some(Connection::open(server));
                engine.connected(Credentials::password("ann", &b"hunter2"[..]));
            }
            SyncAction::Drive => {
                let connection: &mut Connection = connection.as_mut().unwrap();
                if let Err(error) = connection.drive(&mut engine, server) {
                    engine.session_failed(error);
                }
            }
            SyncAction::Store(job) => {
                jobs += 1;
                engine.stored(job.run(store));
                if stop_at == Some(jobs) {
                    engine.stop(Error::new(ErrorKind::Stopped, "stopped"));
                }
            }
            SyncAction::Wait(_) => {}
            SyncAction::Done(end) => return Run { end, events },
        }
    }
    panic!("the run does not end");
}

fn stored(store: &MemoryStore) -> u64 {
    let account = store.account("ann").unwrap().unwrap().id;
    let mailbox = store.mailbox(account, "INBOX").unwrap().id;
    u64::from(store.status(mailbox).unwrap().messages)
}

/// Follows an account that is cut off whenever it waits. Between the sessions, connecting fails `failures` times. Returns the
/// pauses before each session, and the messages stored.
fn watch(failures: &[u32]) -> (Vec<Vec<Duration>>, u64) {
    let (store, mut server) = (MemoryStore::new().unwrap(), FakeServer::new(&[1]));
    server.capabilities = "IMAP4rev1 IDLE";
    let (endpoint, mut job) = job(&store);
    job.watch = true;
    let mut engine = SyncEngine::new(&endpoint, job);
    let (mut connection, mut pauses) = (None, vec![Vec::new()]);
    let mut failures = failures.iter().copied();
    let mut left = 0;
    for _ in 0..10_000 {
        while engine.take_event().is_some() {}
        match engine.next_action() {
            SyncAction::Connect if left > 0 => {
                left -= 1;
                engine.connect_failed(Error::new(ErrorKind::Unavailable, "no route"));
            }
            SyncAction::Connect => {
                let uid = server.messages.len() as u32 + 1;
                server.messages.push(uid);
                connection = Some(Connection::open(&mut server));
                engine.connected(Credentials::password("ann", &b"hunter2"[..]));
            }
            SyncAction::Drive => {
                let connection: &mut Connection = connection.as_mut().unwrap();
                if let Err(error) = connection.drive(&mut engine, &mut server) {
                    engine.session_failed(error);
                    match failures.next() {
                        Some(next) => left = next,
                        None => engine.stop(Error::new(ErrorKind::Stopped, "stopped")),
                    }
                    pauses.push(Vec::new());
                }
            }
            SyncAction::Store(job) => engine.stored(job.run(&store)),
            SyncAction::Wait(time) => pauses.last_mut().unwrap().push(time),
            SyncAction::Done(SyncEnd::Stopped(error)) if error.kind() == ErrorKind::Stopped => {
                return (pauses, stored(&store));
            }
            SyncAction::Done(end) => panic!("{end:?}"),
        }
    }
    panic!("the run does not end");
}

#[test]
fn a_watched_session_that_is_cut_comes_back_after_growing_pauses() {
    let (pauses, stored) = watch(&[0, 6, 0]);
    assert_eq!(stored, 5, "each session fetches what came meanwhile");
    let counts: Vec<usize> = pauses.iter().map(Vec::len).collect();
    assert_eq!(counts, [0, 1, 7, 1, 0]);
    // A second, then twice as long each time, less a random half.
    let [_, first, growing, again, _] = &pauses[..] else { panic!("{pauses:?}") };
    let is_within = |pause: &Duration, longest: u64| {
        (Duration::from_secs(longest) / 2..=Duration::from_secs(longest)).contains(pause)
    };
    assert!(is_within(&first[0], 1) && is_within(&again[0], 1), "{pauses:?}");
    let expected = [1, 1, 2, 4, 8, 16, 32];
    assert!(growing.iter().zip(expected).all(|(pause, longest)| is_within(pause, longest)), "{growing:?}");
}

#[test]
fn fetches_every_message_once() {
    let (store, mut server) = (MemoryStore::new().unwrap(), FakeServer::new(&[1, 2, 5, 300]));
    let run = sync(&store, &mut server, None);
    assert_eq!((run.end.clone(), run.imported(), stored(&store)), (SyncEnd::Complete, 4, 4));
    assert_eq!(run.events.first(), Some(&SyncEvent::Connected));
    assert_eq!(run.events.last(), Some(&SyncEvent::FolderDone));
    let again = sync(&store, &mut server, None);
    assert!(again.events.contains(&SyncEvent::Planned { missing: 0, known: 4 }), "{:?}", again.events);
    assert_eq!((again.imported(), stored(&store), server.sessions), (0, 4, 2));
}

#[test]
fn isolates_a_message_that_breaks_the_connection_and_retries_it_in_the_next_run() {
    let (store, mut server) = (MemoryStore::new().unwrap(), FakeServer::new(&[1, 2, 3, 4, 5]));
    server.broken = Some(3);
    let run = sync(&store, &mut server, None);
    assert_eq!((run.end.clone(), run.imported(), run.failed()), (SyncEnd::Incomplete, 4, vec![3]));
    assert!(server.sessions <= 3, "{}", server.sessions);
    server.broken = None;
    let run = sync(&store, &mut server, None);
    assert_eq!(
        (run.end.clone(), run.imported(), run.failed(), stored(&store)),
        (SyncEnd::Complete, 1, vec![], 5)
    );
    assert!(server.commands.last().unwrap().starts_with("UID FETCH 3 ("), "{:?}", server.commands.last());
}

#[test]
fn a_refused_message_costs_only_itself() {
    let (store, mut server) = (MemoryStore::new().unwrap(), FakeServer::new(&[1, 2, 3, 4, 5]));
    server.refused = Some(4);
    let run = sync(&store, &mut server, None);
    assert_eq!((run.end.clone(), run.imported(), run.failed()), (SyncEnd::Incomplete, 4, vec![4]));
    assert_eq!(server.sessions, 1);
}

#[test]
fn a_run_that_is_stopped_at_any_job_of_the_store_continues_in_the_next_one() {
    for stop_at in 1..12 {
        let (store, mut server) = (MemoryStore::new().unwrap(), FakeServer::new(&[1, 2, 3, 4, 5]));
        let run = sync(&store, &mut server, Some(stop_at));
        let first = run.imported();
        let run = sync(&store, &mut server, None);
        assert_eq!((run.end.clone(), first + run.imported()), (SyncEnd::Complete, 5), "stopped at {stop_at}");
        assert_eq!(stored(&store), 5, "stopped at {stop_at}");
    }
}
