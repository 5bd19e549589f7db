//! A mailbox whose messages the test describes, and a client of it.

use std::sync::Arc;

use mailserver::certificate::Authority;
use mailserver::{Encryption, ListenerOptions, Options, ServerContext, Service, Settings};
use mailstore::{Delivery, Flags, InternalDate, MemoryStore, PasswordCost, SqliteStore, Store, Target};

use crate::pipe::Session;

/// A message as the test describes it.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    pub header: String,
    pub body: String,
    pub flags: u8,
    /// The internal date, in seconds since 1970.
    pub arrived: i64,
}

impl Mail {
    pub fn new(header: &str) -> Self {
        Self { header: header.to_owned(), body: "text\n".to_owned(), ..Self::default() }
    }

    pub fn arrived(self, arrived: i64) -> Self {
        Self { arrived, ..self }
    }

    pub fn flags(self, flags: u8) -> Self {
        Self { flags, ..self }
    }

    pub fn body(self, body: &str) -> Self {
        Self { body: body.to_owned(), ..self }
    }

    /// The bytes of the message.
    pub fn bytes(&self) -> Vec<u8> {
        format!("{}\n\n{}", self.header.trim_end(), self.body).replace('\n', "\r\n").into_bytes()
    }
}

/// A server with one account.
pub struct TestServer {
    pub store: Arc<dyn Store>,
    context: Arc<ServerContext>,
}

impl TestServer {
    pub fn new(store: Arc<dyn Store>) -> Self {
        store.create_account("ann", b"a password").unwrap();
        let context =
            ServerContext::new(Arc::clone(&store), &Settings::default(), Options::default()).unwrap();
        Self { store, context }
    }

    pub fn append(&self, mailbox: &str, mails: &[Mail]) {
        let account = self.store.account("ann").unwrap().unwrap().id;
        let mailbox = self.store.mailbox(account, mailbox).unwrap().id;
        let deliveries = mails
            .iter()
            .map(|mail| {
                let mut upload = self.store.upload().unwrap();
                upload.write(&mail.bytes()).unwrap();
                let internal_date = InternalDate { seconds: mail.arrived, offset_minutes: 0 };
                let target = Target { mailbox, flags: Flags::system(mail.flags), internal_date };
                Delivery { upload, targets: vec![target] }
            })
            .collect();
        for appended in self.store.append_batch(deliveries).unwrap() {
            appended.unwrap();
        }
    }

    /// Logs in.
    pub fn login(&self) -> Client {
        let certificate = Authority::generate(&[], 1_800_000_000).unwrap().issue(&[], 1_800_000_000).unwrap();
        let encryption = Encryption::DangerCleartext(certificate.tls().unwrap());
        let session = Session::start(&self.context, ListenerOptions::new(Service::Imap, encryption));
        let mut client = Client { session, commands: 0 };
        client.ok("LOGIN ann \"a password\"");
        client
    }

    /// Logs in and selects INBOX.
    pub fn select(&self) -> Client {
        let mut client = self.login();
        client.ok("SELECT INBOX");
        client
    }
}

/// A client that waits for the answer to each command.
pub struct Client {
    session: Session,
    commands: u32,
}

impl Client {
    /// Sends a command. Returns the untagged responses, with the tag as `TAG`, and the tagged one without the tag.
    pub fn command(&mut self, command: &str) -> (Vec<String>, String) {
        self.commands += 1;
        let tag = format!("t{}", self.commands);
        self.tagged(&tag, command)
    }

    /// Like [`command`](Self::command), with this tag.
    pub fn tagged(&mut self, tag: &str, command: &str) -> (Vec<String>, String) {
        let tagged = format!("{tag} ");
        let answer = self.session.exchange_until(&format!("{tagged}{command}\r\n"), |answer| {
            answer.ends_with("\r\n") && answer.lines().any(|line| line.starts_with(&tagged))
        });
        let mut lines: Vec<String> = answer
            .split_terminator("\r\n")
            .map(|line| line.replace(&format!("TAG \"{tag}\""), "TAG \"TAG\""))
            .collect();
        let last = lines.pop().unwrap();
        (lines, last.strip_prefix(&format!("{tag} ")).unwrap().to_owned())
    }

    /// Sends a command that succeeds, and returns the untagged responses.
    pub fn ok(&mut self, command: &str) -> Vec<String> {
        let (lines, last) = self.command(command);
        assert!(last.starts_with("OK "), "{command}: {lines:?} {last}");
        lines
    }

    /// Sends a command that has exactly one untagged response.
    pub fn one(&mut self, command: &str) -> String {
        let lines = self.ok(command);
        assert_eq!(lines.len(), 1, "{command}: {lines:?}");
        lines[0].clone()
    }

    /// Starts IDLE.
    pub fn idle(&mut self) {
        self.session.exchange("idle IDLE\r\n", "+ ");
    }

    /// Waits until the server has sent this text. Returns what it has sent.
    pub fn wait_for(&mut self, text: &str) -> String {
        self.session.exchange("", text)
    }

    /// Ends IDLE.
    pub fn done(&mut self) {
        self.session.exchange("DONE\r\n", "idle OK");
    }

    /// Sends a command that fails, and returns the tagged response.
    pub fn fails(&mut self, command: &str) -> String {
        let (lines, last) = self.command(command);
        assert!(!last.starts_with("OK "), "{command}: {lines:?} {last}");
        last
    }
}

/// Runs a test over SQLite and in memory.
pub fn over_every_store(test: impl Fn(&TestServer)) {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap();
    let stores: [Arc<dyn Store>; 2] =
        [Arc::new(SqliteStore::open(directory.path()).unwrap()), Arc::new(memory)];
    stores.into_iter().for_each(|store| test(&TestServer::new(store)));
}
