//! Runs the command, a server of it, and scripted servers. This module knows processes and sockets, but no protocol's
//! contents.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The longest that a run of the command may take.
const RUN_TIMEOUT: Duration = Duration::from_secs(30);

/// The account of every server: a name that occurs nowhere else.
const USER: &str = "wilhelmine";
const PASSWORD: &str = "hY7-pq2RvT9s";

/// The result of a run of the command.
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) out: String,
    /// Standard output followed by standard error.
    pub(crate) shown: String,
    pub(crate) took: Duration,
}

impl CommandOutput {
    /// Asserts this exit code.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.shown);
        self
    }

    /// Asserts that each of these texts was shown.
    pub(crate) fn shows(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.shown.contains(text), "{text:?} is not shown:\n{}", self.shown);
        }
        self
    }

    /// Parses the first line of standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.out.lines().next().unwrap()).unwrap()
    }
}

/// Runs the command with a password and with `input` on standard input.
pub(crate) fn run_with(arguments: &[&str], password: &str, input: &[u8]) -> CommandOutput {
    finish(&mut command(arguments, password), input)
}

/// Runs the command without a password.
pub(crate) fn run_without_password(arguments: &[&str]) -> CommandOutput {
    finish(command(arguments, "").env_remove("MAILWIRE_PASSWORD"), b"")
}

/// Runs a prepared command with `input` on standard input.
pub(crate) fn finish(command: &mut Command, input: &[u8]) -> CommandOutput {
    let begun = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // The command may have ended without reading.
    let _ = stdin.write_all(input);
    drop(stdin);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let took = begun.elapsed();
    assert!(took < RUN_TIMEOUT, "{:?} took {took:?}", command.get_args());
    let out = String::from_utf8(stdout).unwrap();
    let shown = format!("{out}{}", String::from_utf8(stderr).unwrap());
    CommandOutput { code: status.code().unwrap(), out, shown, took }
}

/// Prepares a run of the command.
pub(crate) fn command(arguments: &[&str], password: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailwire"));
    command
        .args(arguments)
        .env("HOME", "/nonexistent")
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("XDG_DATA_HOME")
        .env_remove("EMAIL_ENCRYPTION_KEY")
        .env("MAILWIRE_PASSWORD", password)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(crate) fn run(arguments: &[&str], password: &str) -> CommandOutput {
    run_with(arguments, password, b"")
}

/// A folder that is deleted at the end of the test.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A running `mailwire serve` with one account.
pub(crate) struct RunningServer {
    child: Child,
    folder: tempfile::TempDir,
    addresses: Vec<(String, SocketAddr)>,
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    pub(crate) ca: String,
}

impl RunningServer {
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_in(folder(), more)
    }

    /// Starts a server with these limits.
    pub(crate) fn with_limits(limits: &str, more: &[&str]) -> Self {
        let folder = folder();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, format!("[serve]\n{limits}\n")).unwrap();
        Self::start_in(folder, &[&["--config", path.to_str().unwrap()], more].concat())
    }

    /// Starts a server with these environment variables.
    pub(crate) fn with_environment(variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailwire"));
        command.envs(variables.iter().copied());
        Self::spawn(command, folder(), &[])
    }

    /// The configuration file with the limits.
    pub(crate) fn limits(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// Starts a server that may have only this many open files.
    pub(crate) fn under_limit(files: u32, limits: &str) -> Self {
        let folder = folder();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, format!("[serve]\n{limits}\n")).unwrap();
        let mut shell = Command::new("/bin/sh");
        let line = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        shell.args(["-c", &line, env!("CARGO_BIN_EXE_mailwire")]);
        Self::spawn(shell, folder, &["--config", path.to_str().unwrap()])
    }

    fn start_in(folder: tempfile::TempDir, more: &[&str]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_mailwire")), folder, more)
    }

    fn spawn(mut command: Command, folder: tempfile::TempDir, more: &[&str]) -> Self {
        let mut child = command
            .arg("serve")
            .args(["--smtp", "127.0.0.1:0", "--smtps", "127.0.0.1:0", "--imap", "127.0.0.1:0"])
            .args(["--imaps", "127.0.0.1:0", "--dir"])
            .arg(folder.path().join("served"))
            .args(["--user", USER])
            .args(more)
            .env("MAILWIRE_PASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut addresses, mut ca) = (Vec::new(), None);
        for line in lines.map_while(Result::ok) {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["listening", service, address] => {
                    addresses.push(((*service).to_owned(), address.parse().unwrap()));
                }
                ["ca", path] => ca = Some((*path).to_owned()),
                ["ready"] => break,
                _ => {}
            }
        }
        Self { child, folder, addresses, user: USER, password: PASSWORD, ca: ca.unwrap_or_default() }
    }

    /// The server's directory.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("served")
    }

    /// Sends the server a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// Waits at most this long for the server to exit, and returns its exit code.
    pub(crate) fn ends(&mut self, timeout: Duration) -> i32 {
        exit_code(&mut self.child, timeout)
    }

    /// The server's private resident memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Everything that the server has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) fn address(&self, service: &str) -> SocketAddr {
        self.addresses.iter().find(|(name, _)| name == service).unwrap().1
    }

    /// The URL of the account on this service.
    pub(crate) fn url(&self, service: &str) -> String {
        format!("{service}://{}@localhost:{}", self.user, self.address(service).port())
    }

    /// The account's mail address.
    pub(crate) fn mailbox(&self) -> String {
        format!("{}@localhost", self.user)
    }

    /// Runs the command as the account, trusting this server.
    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> CommandOutput {
        run_with(&[arguments, &["--ca", &self.ca]].concat(), self.password, input)
    }

    /// Connects without TLS and reads the greeting.
    pub(crate) fn connect(&self, service: &str) -> Conversation {
        let mut talk = Conversation::new(TcpStream::connect(self.address(service)).unwrap());
        talk.answer();
        talk
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits at most this long for a process to exit, and returns its exit code.
pub(crate) fn exit_code(child: &mut Child, timeout: Duration) -> i32 {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        assert!(begun.elapsed() < timeout, "it still runs after {timeout:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A line-based conversation with a server.
pub(crate) struct Conversation {
    stream: BufReader<TcpStream>,
}

impl Conversation {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends this and returns the answer: every line of an SMTP reply, or the next IMAP line.
    pub(crate) fn ask(&mut self, bytes: &str) -> String {
        self.stream.get_mut().write_all(bytes.as_bytes()).unwrap();
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> String {
        let mut answer = String::new();
        loop {
            let begin = answer.len();
            if self.stream.read_line(&mut answer).unwrap() == 0
                || answer.as_bytes()[begin..].get(3) != Some(&b'-')
            {
                return answer;
            }
        }
    }

    /// The connection itself.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }
}

/// A server that runs a script for each connection.
pub(crate) struct ScriptedServer {
    pub(crate) port: u16,
    seen: Arc<Mutex<Observed>>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

/// What a scripted server has observed.
#[derive(Default, Clone)]
pub(crate) struct Observed {
    /// Accepted connections, and those of them that the client has closed.
    pub(crate) connections: usize,
    pub(crate) closed: usize,
    /// Everything that the server received.
    pub(crate) received: String,
    over: bool,
}

/// One connection of a scripted server.
pub(crate) struct ScriptedConnection {
    stream: BufReader<TcpStream>,
    seen: Arc<Mutex<Observed>>,
    /// The connection's number, from 0.
    pub(crate) number: usize,
}

impl ScriptedConnection {
    fn follow(&mut self, script: &dyn Fn(&mut Self)) {
        script(self);
        // The script is over; read what the client still sends.
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
        let ended = self.stream.read_to_end(&mut Vec::new());
        let waited = ended.is_err_and(|error| {
            matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        });
        self.seen.lock().unwrap().closed += usize::from(!waited);
    }

    pub(crate) fn say(&mut self, text: impl AsRef<str>) {
        // The client may be gone.
        let _ = self.stream.get_mut().write_all(text.as_ref().as_bytes());
    }

    /// Like [`say`](Self::say), but returns false if the client is gone.
    pub(crate) fn try_say(&mut self, text: &str) -> bool {
        self.stream.get_mut().write_all(text.as_bytes()).is_ok()
    }

    /// The next line without its end, or `None` if the client has closed.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let count = self.stream.read_until(b'\n', &mut line).unwrap_or(0);
        let line = String::from_utf8_lossy(&line).into_owned();
        self.seen.lock().unwrap().received.push_str(&line);
        (count > 0).then(|| line.trim_end().to_owned())
    }
}

impl ScriptedServer {
    /// Serves one connection after the other.
    pub(crate) fn start(script: impl Fn(&mut ScriptedConnection) + Send + Sync + 'static) -> Self {
        Self::listen(script, |_, serve| serve())
    }

    /// Serves all connections at once.
    pub(crate) fn at_once(script: impl Fn(&mut ScriptedConnection) + Send + Sync + 'static) -> Self {
        Self::listen(script, |threads, serve| threads.push(std::thread::spawn(serve)))
    }

    fn listen(
        script: impl Fn(&mut ScriptedConnection) + Send + Sync + 'static,
        run: impl Fn(&mut Vec<JoinHandle<()>>, Box<dyn FnOnce() + Send>) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Observed::default()));
        let (shared, script) = (Arc::clone(&seen), Arc::new(script));
        let thread = std::thread::spawn(move || {
            let mut threads = Vec::new();
            for (number, stream) in listener.incoming().enumerate() {
                let stream = stream.unwrap();
                if shared.lock().unwrap().over {
                    break;
                }
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                shared.lock().unwrap().connections += 1;
                let mut peer =
                    ScriptedConnection { stream: BufReader::new(stream), seen: Arc::clone(&shared), number };
                let script = Arc::clone(&script);
                run(&mut threads, Box::new(move || peer.follow(&*script)));
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        Self { port: address.port(), seen, address, thread: Some(thread) }
    }

    /// Waits at most five seconds for every connection to close, and returns what the server observed.
    pub(crate) fn seen(&self) -> Observed {
        for _ in 0..500 {
            let seen = self.seen.lock().unwrap().clone();
            if seen.connections > 0 && seen.closed == seen.connections {
                return seen;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("a connection was left open");
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.seen.lock().unwrap().over = true;
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An IMAP server without TLS: `answer` receives the tag and the command, and returns everything to send.
pub(crate) fn imap_server(
    greeting: &'static str,
    answer: impl Fn(&str, &str) -> String + Send + Sync + 'static,
) -> ScriptedServer {
    ScriptedServer::start(move |peer| {
        peer.say(greeting);
        while let Some(line) = peer.line() {
            let (tag, command) = line.split_once(' ').unwrap_or((&line, ""));
            let answer = answer(tag, &command.to_uppercase());
            if answer.is_empty() {
                return;
            }
            peer.say(answer);
        }
    })
}

/// An SMTP server without TLS: `answer` receives the verb and the connection's number, and returns the reply. DATA is
/// answered `354` first.
pub(crate) fn smtp_server(answer: impl Fn(&str, usize) -> String + Send + Sync + 'static) -> ScriptedServer {
    ScriptedServer::start(move |peer| {
        peer.say("220 s.example ESMTP\r\n");
        while let Some(line) = peer.line() {
            let verb = line.get(..4).unwrap_or_default().to_uppercase();
            if verb == "DATA" {
                peer.say("354 go on\r\n");
                while peer.line().is_some_and(|line| line != ".") {}
            }
            let answer = answer(&verb, peer.number);
            peer.say(&answer);
            if verb == "QUIT" || answer.is_empty() || answer.starts_with("421") {
                return;
            }
        }
    })
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
