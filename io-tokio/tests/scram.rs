//! A login for which the server demands many iterations does not hold the event loop.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue must fail"
)]

mod common;

use std::{
    net::SocketAddr,
    sync::OnceLock,
    time::{Duration, Instant},
};

use common::Identity;
use io_tokio::{
    ConnectionLimits, Connector, Deadlines, Error, ImapClient, ImapServer, ListenerTls, Security, Server,
    SmtpClient, SmtpServer, Target, server::SecureSession,
};
use proto_mail::{
    AuthVerdict, Credentials, Mechanisms,
    sasl::{ScramHash, ScramKeys},
    token::AuthQuestion,
};
use tokio::{sync::oneshot, time::sleep};

/// Half of what a client accepts at most.
const ITERATIONS: u32 = 500_000;

/// Answers with the user's keys.
fn verdict(question: &AuthQuestion) -> AuthVerdict {
    static KEYS: OnceLock<String> = OnceLock::new();
    match question {
        AuthQuestion::Keys { .. } => {
            let text = KEYS.get_or_init(|| {
                let salt = b"0123456789abcdef";
                let keys = ScramKeys::derive(ScramHash::Sha256, "secret", salt, ITERATIONS).unwrap();
                keys.to_text().expose().clone()
            });
            AuthVerdict::Keys(Box::new(ScramKeys::from_text(text).unwrap()))
        }
        AuthQuestion::Authorize { .. } => AuthVerdict::Accept,
        _ => AuthVerdict::Reject,
    }
}

async fn smtp(mut session: SecureSession<SmtpServer>) -> Result<(), Error> {
    while let Some(event) = session.next_event().await? {
        if let proto_smtp::server::Event::Auth(request) = event {
            let verdict = verdict(request.question());
            session.answer_auth(request, verdict)?;
        }
    }
    Ok(())
}

async fn imap(mut session: SecureSession<ImapServer>) -> Result<(), Error> {
    while let Some(event) = session.next_event().await? {
        if let proto_imap::server::OwnedEvent::Auth(request) = event {
            let verdict = verdict(request.question());
            session.answer_auth(request, verdict)?;
        }
    }
    Ok(())
}

/// Starts both servers on a thread and loop of their own. They run until `_stop` is dropped.
fn servers(identity: &Identity) -> (SocketAddr, SocketAddr, oneshot::Sender<()>) {
    let (told, addresses) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel();
    let tls = || ListenerTls::Implicit(identity.server());
    let (smtp_tls, imap_tls) = (tls(), tls());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let any = "127.0.0.1:0".parse().unwrap();
            let mut server = Server::new(ConnectionLimits::default());
            let config = proto_smtp::Config::default().offered_mechanisms(Mechanisms::all());
            let smtp = server.serve::<SmtpServer>(any, smtp_tls, config.into(), Deadlines::default(), smtp);
            let smtp = smtp.await.unwrap();
            let config = proto_imap::Config::default().offered_mechanisms(Mechanisms::all());
            let imap = server.serve::<ImapServer>(any, imap_tls, config.into(), Deadlines::default(), imap);
            told.send((smtp, imap.await.unwrap())).unwrap();
            let _ = stopped.await;
        });
    });
    let (smtp, imap) = addresses.recv().unwrap();
    (smtp, imap, stop)
}

/// Runs `work` beside a task that wants to run every millisecond. Returns how long that task waited at most.
async fn longest_pause<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let mut longest = Duration::ZERO;
    let ticks = async {
        loop {
            let started = Instant::now();
            sleep(Duration::from_millis(1)).await;
            longest = longest.max(started.elapsed());
        }
    };
    let done = tokio::select! {
        done = work => done,
        () = ticks => unreachable!(),
    };
    (longest, done)
}

#[tokio::test]
async fn a_login_with_many_iterations_does_not_hold_the_loop() {
    let identity = Identity::localhost();
    let (smtp_address, imap_address, _stop) = servers(&identity);
    let connector = Connector::new(identity.trust());
    let target = |address: SocketAddr| Target::new("localhost", address.port(), Security::ImplicitTls);
    let right = Credentials::password("ann", "secret");
    // How long the same derivation takes in one piece, on this machine and in this build.
    let started = Instant::now();
    let question = AuthQuestion::Keys { hash: ScramHash::Sha256, username: "ann".into() };
    assert!(matches!(verdict(&question), AuthVerdict::Keys(_)));
    let whole = started.elapsed();
    let mut smtp = SmtpClient::connect(&connector, &target(smtp_address)).await.unwrap();
    let (pause, logged_in) = longest_pause(smtp.login(&right)).await;
    logged_in.unwrap();
    assert!(pause < whole / 3, "SMTP: {pause:?} of {whole:?}");
    let mut imap = ImapClient::connect(&connector, &target(imap_address)).await.unwrap();
    let (pause, logged_in) = longest_pause(imap.login(&right)).await;
    logged_in.unwrap();
    assert!(pause < whole / 3, "IMAP: {pause:?} of {whole:?}");
}
