//! The text index: a search with it finds exactly what a search without it finds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mailstore::{MemoryStore, PasswordCost, SqliteStore, Store};

use crate::mailbox::{Client, Mail, TestServer};

/// A source of numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 20] = [
            "lunch",
            "Munich",
            "punch",
            "Grüße",
            "GRÜSSE",
            "straße",
            "ΟΔΟΣ",
            "οδος",
            "ab",
            "c",
            "=",
            "привет",
            "ПРИВЕТ",
            "新年快乐",
            "invoice",
            "voice",
            "in",
            "x-ray",
            "e\u{301}te",
            "İstanbul",
        ];
        WORDS[self.below(WORDS.len())]
    }

    fn words(&mut self, most: usize) -> String {
        let words: Vec<_> = (0..=self.below(most)).map(|_| self.word()).collect();
        words.join([" ", "", ", "][self.below(3)])
    }

    fn mail(&mut self, number: usize) -> Mail {
        let mut header = format!("Subject: {}\n", self.words(4));
        if self.below(2) == 0 {
            header.push_str(&format!("From: \"{}\" <a{number}@example.test>\n", self.word()));
        }
        if self.below(3) == 0 {
            header.push_str("Cc: =?utf-8?q?J=C3=B6rg?= (a comment) <joerg@example.test>\n");
        }
        if self.below(4) == 0 {
            header.push_str(&format!("X-Odd: {}\n folded {}\n", self.word(), self.word()));
        }
        let kind = if number % 100 == 2 { 8 } else { self.below(8) };
        let body = match kind {
            0 => {
                header
                    .push_str("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n");
                "R3LDvMOfZSBhdXMgTcO8bmNoZW4=\n".to_owned()
            }
            1 => format!("{}{}", "padding \n".repeat(self.below(500)), self.words(9)),
            // Too long for the index.
            8 => {
                let noise = (0..12_000).map(|_| format!("{:x} ", self.below(1 << 40)));
                format!("{}{}", noise.collect::<String>(), self.words(3))
            }
            _ => self.words(30),
        };
        if !body.starts_with("R3L") {
            header.push_str("Content-Type: text/plain; charset=utf-8\n");
        }
        Mail::new(&header).body(&body)
    }

    fn key(&mut self, depth: usize) -> String {
        let mut text = self.words(3);
        if self.below(2) == 0 {
            // A part of a text, from the middle of a word.
            let characters: Vec<char> = text.chars().collect();
            let start = self.below(characters.len());
            text = characters[start..characters.len().min(start + 1 + self.below(6))].iter().collect();
        }
        let text = text.replace('"', "");
        match self.below(if depth > 0 { 12 } else { 9 }) {
            0 | 1 => format!("TEXT \"{text}\""),
            2 | 3 => format!("BODY \"{text}\""),
            4 => format!("SUBJECT \"{text}\""),
            5 => format!("FROM \"{text}\""),
            6 => format!("HEADER X-Odd \"{text}\""),
            7 => format!("CC \"{}\"", ["jörg <joerg", "comment", "J\u{d6}RG"][self.below(3)]),
            8 => "SEEN".to_owned(),
            9 => format!("NOT {}", self.key(depth - 1)),
            10 => format!("OR {} {}", self.key(depth - 1), self.key(depth - 1)),
            _ => format!("({} {})", self.key(depth - 1), self.key(depth - 1)),
        }
    }
}

fn wait_for_index(store: &dyn Store, below: u32) {
    let account = store.account("ann").unwrap().unwrap().id;
    let mailbox = store.mailbox(account, "INBOX").unwrap().id;
    let until = Instant::now() + Duration::from_secs(120);
    while store.text_index().unwrap().indexed_below(mailbox).unwrap() < below {
        assert!(Instant::now() < until, "the messages are not indexed");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_search_with_the_index_finds_what_a_search_without_it_finds() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path()).unwrap());
    let memory = MemoryStore::new().unwrap().with_password_cost(PasswordCost::Minimal).unwrap();
    let (indexed, plain) = (TestServer::new(Arc::clone(&sqlite)), TestServer::new(Arc::new(memory)));
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mails: Vec<Mail> = (0..270).map(|number| random.mail(number)).collect();
    for server in [&indexed, &plain] {
        server.append("INBOX", &mails);
    }
    // A batch is indexed at once; the last messages are not.
    wait_for_index(&*sqlite, 257);
    let mut clients = [indexed.select(), plain.select()];
    compare(&mut clients, &mut random, 60);
    for client in &mut clients {
        client.ok("UID STORE 1:100,150,200:230 +FLAGS.SILENT (\\Deleted)");
        client.ok("EXPUNGE");
    }
    compare(&mut clients, &mut random, 20);
}

/// Compares the results of random searches in both mailboxes.
fn compare([one, other]: &mut [Client; 2], random: &mut Random, count: usize) {
    let mut matches = 0;
    for _ in 0..count {
        let command = format!("UID SEARCH CHARSET UTF-8 {}", random.key(2));
        let (found, expected) = (one.one(&command), other.one(&command));
        assert_eq!(found, expected, "{command}");
        matches += found.split(' ').count() - 2;
    }
    assert!(matches > count, "the searches find something");
}

#[test]
fn the_rest_of_a_mailbox_is_indexed_once_it_is_quiet() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path()).unwrap());
    let server = TestServer::new(Arc::clone(&store));
    server.append(
        "INBOX",
        &(0..20).map(|number| Mail::new(&format!("Subject: s{number}"))).collect::<Vec<_>>(),
    );
    wait_for_index(&*store, 21);
    let mut client = server.select();
    assert_eq!(client.one("SEARCH TEXT \"Subject: S17\""), "* SEARCH 18");
    assert_eq!(client.one("SEARCH SUBJECT \"s1\" NOT TEXT s12"), "* SEARCH 2 11 12 14 15 16 17 18 19 20");
    // The copies are new messages.
    client.ok("COPY 18 INBOX");
    assert_eq!(client.one("UID SEARCH SUBJECT s17"), "* SEARCH 18 21");
}
