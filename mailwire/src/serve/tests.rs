//! Tests of a whole server in one process, with hand-written commands over real sockets and real TLS.

mod mail;
mod quota;
mod search;
mod selected;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::arguments::ServeArgs;
use mailserver::Service;

use super::Server;
use crate::line_writer::LineWriter;

/// A running server on free ports, with its account.
struct RunningServer {
    listening: Vec<(Service, SocketAddr)>,
    tls: Arc<ClientConfig>,
    user: String,
    password: String,
    server: Option<super::Server>,
    directory: tempfile::TempDir,
}

/// Returns a log that discards its lines.
fn log() -> LineWriter {
    LineWriter::start(std::io::sink()).unwrap()
}

/// Returns the arguments of a server on free ports that uses this directory.
fn arguments(directory: &std::path::Path, options: &[&'static str]) -> ServeArgs {
    let any = "127.0.0.1:0";
    let words = ["--smtp", any, "--smtps", any, "--imap", any, "--imaps", any, "--dir"];
    let words = words.into_iter().map(Into::into).chain([directory.as_os_str().to_owned()]);
    let words = words.chain(options.iter().map(Into::into));
    ServeArgs::parse_from(words)
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// A connection of a test client.
struct Connection(BufReader<Box<dyn Stream>>);

impl RunningServer {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(options: &[&'static str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments = arguments(directory.path(), options);
        let mut server = Server::start(&arguments, &log()).unwrap();
        let account = server.generated_account.take().unwrap();
        let mut roots = RootCertStore::empty();
        let authority = server.identity.authority.clone().unwrap();
        roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listening = server.mail.addresses().to_vec();
        Self {
            listening,
            tls: Arc::new(tls),
            user: account.name.to_owned(),
            password: account.password.expose().clone(),
            server: Some(server),
            directory,
        }
    }

    /// Returns the files of messages that are too large for the database.
    fn files_of_messages(&self) -> Vec<std::path::PathBuf> {
        let mut folders = vec![self.directory.path().join("messages")];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files
    }

    fn connect(&self, wanted: Service) -> TcpStream {
        let (_, address) = self.listening.iter().find(|(service, _)| *service == wanted).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    }

    fn secure(&self, socket: TcpStream) -> Connection {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(self.tls.clone(), name).unwrap();
        Connection(BufReader::new(Box::new(StreamOwned::new(connection, socket))))
    }

    fn clear(&self, service: Service) -> Connection {
        Connection(BufReader::new(Box::new(self.connect(service))))
    }

    fn imap(&self) -> Connection {
        let mut connection = self.secure(self.connect(Service::Imaps));
        assert!(connection.line().starts_with("* OK [CAPABILITY "));
        let login = format!("LOGIN {} {}", self.user, self.password);
        connection.ok(&login);
        connection
    }

    fn smtp(&self) -> Connection {
        let mut connection = self.secure(self.connect(Service::Smtps));
        assert!(connection.reply().starts_with("220 "));
        connection.expect_reply("EHLO client.test", "250");
        let identity = format!("\0{}\0{}", self.user, self.password);
        let encoded = proto_mail::sasl::encode_base64(identity.as_bytes());
        connection.expect_reply(&format!("AUTH PLAIN {}", String::from_utf8_lossy(encoded.expose())), "235");
        connection
    }

    /// Sends a message through submission.
    fn deliver(&self, message: &str) {
        let mut connection = self.smtp();
        connection.expect_reply("MAIL FROM:<a@example.test>", "250");
        connection.expect_reply(&format!("RCPT TO:<{}@localhost>", self.user), "250");
        connection.expect_reply("DATA", "354");
        connection.expect_reply(
            &format!("{}\r\n.", message.replace("\r\n.", "\r\n..").trim_end_matches("\r\n")),
            "250",
        );
        connection.expect_reply("QUIT", "221");
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        let ended = self.server.take().map(|server| server.mail.shut_down(Duration::from_secs(5)));
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))));
    }
}

impl Connection {
    fn send(&mut self, line: &str) {
        let stream = self.0.get_mut();
        stream.write_all(line.as_bytes()).unwrap();
        stream.write_all(b"\r\n").unwrap();
        stream.flush().unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).unwrap();
        String::from_utf8(line).unwrap().trim_end_matches("\r\n").to_owned()
    }

    /// Reads an SMTP reply and returns its last line.
    fn reply(&mut self) -> String {
        loop {
            let line = self.line();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    fn expect_reply(&mut self, command: &str, code: &str) {
        self.send(command);
        let reply = self.reply();
        assert!(reply.starts_with(code), "{command}: {reply}");
    }

    /// Returns the untagged responses, with their literals, and the tagged response.
    fn command(&mut self, command: &str) -> (Vec<String>, String) {
        self.send(&format!("t {command}"));
        self.answer()
    }

    fn answer(&mut self) -> (Vec<String>, String) {
        let mut untagged = Vec::new();
        loop {
            let mut response = self.line();
            while let Some(size) = literal(&response) {
                let mut bytes = vec![0; size];
                self.0.read_exact(&mut bytes).unwrap();
                response.push_str("\r\n");
                response.push_str(&String::from_utf8(bytes).unwrap());
                response.push_str(&self.line());
            }
            match response.strip_prefix("t ") {
                Some(answer) => return (untagged, answer.to_owned()),
                None => untagged.push(response),
            }
        }
    }

    fn ok(&mut self, command: &str) -> Vec<String> {
        let (untagged, answer) = self.command(command);
        assert!(answer.starts_with("OK "), "{command}: {answer}");
        untagged
    }

    fn append(&mut self, mailbox: &str, message: &str) {
        self.ok(&format!("APPEND {mailbox} {{{}+}}\r\n{message}", message.len()));
    }
}

fn literal(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}

const MESSAGE: &str = "From: a@example.test\r\nSubject: dots\r\n\r\n.\r\n..two\r\nend\r\n";

#[test]
fn fetches_a_message_exactly_as_it_was_sent() {
    let server = RunningServer::start();
    server.deliver(MESSAGE);
    let mut imap = server.imap();
    let selected = imap.ok("SELECT INBOX");
    assert!(selected.contains(&"* 1 EXISTS".to_owned()), "{selected:?}");
    let fetched = imap.ok("FETCH 1 BODY.PEEK[]");
    assert_eq!(fetched, [format!("* 1 FETCH (BODY[] {{{}}}\r\n{MESSAGE})", MESSAGE.len())]);
    assert_eq!(imap.ok("FETCH 1 (UID FLAGS)"), ["* 1 FETCH (UID 1 FLAGS (\\Recent))"]);
    assert!(
        imap.ok("FETCH 1 BODY[TEXT]<0.3>")[0].contains("BODY[TEXT]<0> {3}\r\n.\r\n FLAGS (\\Seen \\Recent)")
    );
}

#[test]
fn both_protocols_support_starttls() {
    let server = RunningServer::start();
    let mut imap = BufReader::new(server.connect(Service::Imap));
    let mut line = String::new();
    imap.read_line(&mut line).unwrap();
    assert!(line.contains("STARTTLS LOGINDISABLED") && !line.contains(" AUTH="), "{line}");
    imap.get_mut().write_all(b"a STARTTLS\r\n").unwrap();
    line.clear();
    imap.read_line(&mut line).unwrap();
    assert!(line.starts_with("a OK"), "{line}");
    let mut imap = server.secure(imap.into_inner());
    imap.ok(&format!("LOGIN {} {}", server.user, server.password));
    let mut smtp = BufReader::new(server.connect(Service::Smtp));
    let mut asks = |command: &[u8], code: &str| {
        smtp.get_mut().write_all(command).unwrap();
        let mut line = String::from("250-");
        while line.as_bytes().get(3) == Some(&b'-') {
            line.clear();
            smtp.read_line(&mut line).unwrap();
            assert!(!line.contains("AUTH"), "{line}");
        }
        assert!(line.starts_with(code), "{line}");
    };
    asks(b"", "220");
    asks(b"EHLO client.test\r\n", "250");
    asks(b"MAIL FROM:<a@example.test>\r\n", "530 5.7.0");
    asks(b"STARTTLS\r\n", "220");
    server.secure(smtp.into_inner()).expect_reply("EHLO client.test", "250");
}

#[test]
fn streams_large_messages_in_both_directions() {
    let server = RunningServer::start();
    let large = format!("Subject: large\r\n\r\n{}", "0123456789abcde\r\n".repeat(100_000));
    server.deliver(&large);
    let mut imap = server.imap();
    imap.append("INBOX", &large);
    imap.ok("SELECT INBOX");
    let fetched = imap.ok("FETCH 1:2 (UID BODY.PEEK[] RFC822.SIZE)");
    let of = |number: u32| {
        let size = large.len();
        format!("* {number} FETCH (UID {number} BODY[] {{{size}}}\r\n{large} RFC822.SIZE {size})")
    };
    assert!(fetched == [of(1), of(2)]);
    let piece = imap.ok("FETCH 2 (BODY.PEEK[TEXT]<16.34> BODY.PEEK[HEADER])");
    let lines = "\n0123456789abcde\r\n0123456789abcde\r";
    assert_eq!(
        piece,
        [format!(
            "* 2 FETCH (BODY[TEXT]<16> {{34}}\r\n{lines} BODY[HEADER] {{18}}\r\nSubject: large\r\n\r\n)"
        )]
    );
}

/// Damages the only message file of the store.
fn damage(server: &RunningServer, how: impl Fn(&std::path::Path)) {
    let files: Vec<_> = files_below(server.directory.path())
        .into_iter()
        .filter(|path| path.parent().is_some_and(|directory| directory.ends_with("messages")))
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    how(&files[0]);
}

fn files_below(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn fetching_an_unreadable_message_fails_and_leaves_it_unseen() {
    let large = format!("Subject: large\r\n\r\n{}", "0123456789abcde\r\n".repeat(10_000));
    for cut in [false, true] {
        let server = RunningServer::start();
        let mut imap = server.imap();
        imap.append("INBOX", MESSAGE);
        imap.append("INBOX", &large);
        imap.append("INBOX", MESSAGE);
        imap.ok("SELECT INBOX");
        damage(&server, |path| match cut {
            false => std::fs::remove_file(path).unwrap(),
            true => std::fs::File::options().write(true).open(path).unwrap().set_len(9).unwrap(),
        });
        for command in
            ["FETCH 1:3 (BODY[])", "UID FETCH 1:3 (BODY[HEADER.FIELDS (Subject)])", "FETCH 2 BODY[1]"]
        {
            let (fetched, answer) = imap.command(command);
            assert!(answer.starts_with("NO [SERVERBUG] "), "{command}: {answer}");
            assert!(!fetched.concat().contains("NIL"), "{fetched:?}");
            let others = if command.contains("1:3") { 2 } else { 0 };
            assert_eq!(fetched.iter().filter(|line| line.contains("BODY[")).count(), others, "{fetched:?}");
            assert!(!fetched.iter().any(|line| line.starts_with("* 2 ")), "{fetched:?}");
        }
        let flags = imap.ok("FETCH 1:3 FLAGS");
        let seen: Vec<_> = flags.iter().map(|line| line.contains("\\Seen")).collect();
        assert_eq!(seen, [true, false, true], "{flags:?}");
        assert!(imap.ok("FETCH 2 (RFC822.SIZE ENVELOPE)")[0].contains("large"));
    }
}

#[test]
fn returns_many_exact_sections_of_a_large_message() {
    let body: String = (0..20_000).map(|number| format!("line {number} =3D\r\n")).collect();
    let decoded = body.replace("=3D", "=");
    let header: String = (0..3_000).map(|number| format!("X-{}: {number}\r\n", number % 7)).collect();
    let header = format!("{header}Content-Transfer-Encoding: quoted-printable\r\n\r\n");
    let message = format!("{header}{body}");
    let server = RunningServer::start();
    let mut imap = server.imap();
    imap.append("INBOX", &message);
    imap.ok("SELECT INBOX");
    let without: String = header.split_inclusive("\r\n").filter(|line| !line.starts_with("X-3:")).collect();
    let offsets: Vec<usize> = (0..100).map(|number| number * 3_001).collect();
    let slices: Vec<String> = offsets.iter().map(|offset| format!("BINARY.PEEK[1]<{offset}.500>")).collect();
    let command =
        format!("FETCH 1 (UID BODY.PEEK[HEADER.FIELDS.NOT (X-3)] BINARY.SIZE[1] {})", slices.join(" "));
    let fetched = imap.ok(&command).concat();
    assert!(fetched.contains(&format!(
        "{{{}}}\r\n{without} BINARY.SIZE[1] {}",
        without.len(),
        decoded.len()
    )));
    for offset in offsets {
        let piece = decoded.get(offset..(offset + 500).min(decoded.len())).unwrap_or_default();
        let (_, sent) = fetched.split_once(&format!("BINARY[1]<{offset}> ")).unwrap();
        let expected = format!("{{{}}}\r\n{piece}", piece.len());
        assert!(sent.trim_start_matches('~').starts_with(&expected), "{offset}");
    }
    assert!(imap.ok("FETCH 1 BINARY.PEEK[1]")[0].contains(&format!("{{{}}}\r\n{decoded}", decoded.len())));
}

#[test]
fn rejects_too_many_items_keys_and_patterns() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    imap.append("INBOX", MESSAGE);
    imap.ok("SELECT INBOX");
    let many = |count: usize, of: &dyn Fn(usize) -> String| -> String {
        (0..count).map(of).collect::<Vec<_>>().join(" ")
    };
    let section = |number: usize| format!("BODY.PEEK[]<{number}.1>");
    assert!(imap.command(&format!("FETCH 1 ({})", many(257, &section))).1.starts_with("BAD [LIMIT] "));
    imap.ok(&format!("FETCH 1 ({})", many(256, &section)));
    let key = |number: usize| format!("TEXT n{number}");
    assert!(imap.command(&format!("SEARCH {}", many(1_001, &key))).1.starts_with("BAD [LIMIT] "));
    imap.ok(&format!("SEARCH {}", many(990, &key)));
    let long = "x".repeat(4_097);
    assert!(imap.command(&format!("SEARCH BODY {long}")).1.starts_with("BAD [LIMIT] "));
    for (open, close) in [("(", ")"), ("NOT ", ""), ("OR ALL ", "")] {
        let nested = |depth| format!("SEARCH {}ALL{}", open.repeat(depth), close.repeat(depth));
        assert!(imap.command(&nested(32)).1.starts_with("OK "), "{open}");
        assert!(imap.command(&nested(33)).1.starts_with("BAD [LIMIT] "), "{open}");
    }
    let nested = format!("SEARCH {}ALL{}", "(".repeat(40), ")".repeat(40));
    assert!(imap.command(&nested).1.starts_with("BAD "));
    let pattern = |number: usize| format!("a*{number}");
    assert!(imap.command(&format!("LIST \"\" ({})", many(101, &pattern))).1.starts_with("BAD [LIMIT] "));
    imap.ok(&format!("LIST \"\" ({})", many(100, &pattern)));
}

#[test]
fn sequence_numbers_change_only_with_an_expunge_response() {
    let server = RunningServer::start();
    let (mut one, mut other) = (server.imap(), server.imap());
    for _ in 0..3 {
        one.append("INBOX", MESSAGE);
    }
    one.ok("SELECT INBOX");
    other.ok("SELECT INBOX");
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    assert_eq!(other.ok("EXPUNGE"), ["* 1 EXPUNGE"]);
    // The first message is gone, but this session was not told yet: its sequence numbers stay.
    assert_eq!(one.ok("FETCH 1:3 UID"), ["* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)"]);
    assert_eq!(one.ok("SEARCH ALL"), ["* SEARCH 2 3"]);
    assert_eq!(one.ok("STORE 3 +FLAGS (\\Flagged)"), ["* 3 FETCH (FLAGS (\\Flagged \\Recent))"]);
    assert_eq!(one.ok("NOOP"), ["* 1 EXPUNGE"]);
    assert_eq!(one.ok("FETCH 1:* UID"), ["* 1 FETCH (UID 2)", "* 2 FETCH (UID 3)"]);
    assert_eq!(other.ok("NOOP"), ["* 2 FETCH (UID 3 FLAGS (\\Flagged))"]);
    assert_eq!(one.ok("NOOP"), Vec::<String>::new());
    assert!(one.command("FETCH 3 UID").1.starts_with("BAD "));
}

#[test]
fn reports_changes_to_an_idle_session_at_once() {
    let server = RunningServer::start();
    let (mut idle, mut other) = (server.imap(), server.imap());
    idle.ok("SELECT INBOX");
    other.ok("SELECT INBOX");
    idle.send("t IDLE");
    assert!(idle.line().starts_with("+ "));
    server.deliver(MESSAGE);
    assert_eq!(idle.line(), "* 1 EXISTS");
    assert_eq!(idle.line(), "* 1 RECENT");
    other.ok("NOOP");
    other.ok("STORE 1 +FLAGS (\\Seen)");
    assert_eq!(idle.line(), "* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent))");
    other.ok("STORE 1 +FLAGS (\\Deleted)");
    assert_eq!(idle.line(), "* 1 FETCH (UID 1 FLAGS (\\Deleted \\Seen \\Recent))");
    other.ok("EXPUNGE");
    assert_eq!(idle.line(), "* 1 EXPUNGE");
    idle.send("DONE");
    assert!(idle.answer().1.starts_with("OK "));
}

#[test]
fn unchangedsince_prevents_overwriting_changes() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    imap.append("INBOX", MESSAGE);
    imap.append("INBOX", MESSAGE);
    imap.ok("SELECT INBOX (CONDSTORE)");
    let first = imap.ok("FETCH 1 MODSEQ")[0].clone();
    let modseq: u64 = first.split_once("MODSEQ (").unwrap().1.trim_end_matches(')').parse().unwrap();
    server.imap().ok("SELECT INBOX");
    imap.ok("STORE 1 +FLAGS.SILENT (\\Seen)");
    let (_, refused) = imap.command(&format!("STORE 1 (UNCHANGEDSINCE {modseq}) +FLAGS (\\Deleted)"));
    assert!(refused.starts_with("OK [MODIFIED 1] "), "{refused}");
    let changed = imap.ok(&format!("FETCH 1:* (FLAGS) (CHANGEDSINCE {})", modseq + 1));
    assert!(
        changed.len() == 1 && changed[0].contains("\\Seen") && changed[0].contains("MODSEQ"),
        "{changed:?}"
    );
}

#[test]
fn imap4rev2_uses_utf_8_names_and_no_recent_messages() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    imap.ok("CREATE Entw&APw-rfe");
    imap.append("Entw&APw-rfe", MESSAGE);
    imap.ok("ENABLE IMAP4rev2");
    assert_eq!(imap.ok("LIST \"\" Entw*"), ["* LIST (\\HasNoChildren) \"/\" {9}\r\nEntwürfe"]);
    let selected = imap.ok("SELECT \"Entwürfe\"");
    assert!(selected.iter().any(|line| line == "* LIST () \"/\" {9}\r\nEntwürfe"), "{selected:?}");
    assert!(!selected.iter().any(|line| line.contains("RECENT")), "{selected:?}");
    assert_eq!(imap.ok("FETCH 1 FLAGS"), ["* 1 FETCH (FLAGS ())"]);
    assert_eq!(imap.ok("SEARCH ALL"), ["* ESEARCH (TAG \"t\") ALL 1"]);
}

#[test]
fn move_and_copy_report_uids() {
    let server = RunningServer::start();
    let mut imap = server.imap();
    for _ in 0..3 {
        imap.append("INBOX", MESSAGE);
    }
    imap.ok("SELECT INBOX");
    assert!(imap.command("COPY 1:2 Sent").1.contains(" 1:2 1:2] "));
    assert!(imap.command("COPY 1 Nowhere").1.starts_with("NO [TRYCREATE] "));
    let moved = imap.ok("UID MOVE 2 Trash");
    assert!(moved[0].starts_with("* OK [COPYUID ") && moved[0].contains(" 2 1] "), "{moved:?}");
    assert_eq!(moved[1..], ["* 2 EXPUNGE"]);
    let status = imap.ok("STATUS Trash (MESSAGES UIDNEXT)");
    assert_eq!(status, ["* STATUS Trash (MESSAGES 1 UIDNEXT 2)"]);
}

#[test]
fn answers_a_wrong_password_and_an_unknown_user_alike() {
    let server = RunningServer::start();
    let answer = |user: &str| {
        let mut connection = server.secure(server.connect(Service::Imaps));
        connection.line();
        connection.command(&format!("LOGIN {user} wrong")).1
    };
    let wrong = answer(&server.user);
    assert!(wrong.starts_with("NO [AUTHENTICATIONFAILED]"), "{wrong}");
    assert_eq!(wrong, answer("unknown"));
}
