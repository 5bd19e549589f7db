//! Delivery to scripted servers: what is retried, what is not, and what the report says about each recipient.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::{BufRead, BufReader, Cursor, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use io_mio::{
    Connection, Connector, Deadlines, Error, Security, SmtpClientProtocol, Target, TlsClientConfig,
};
use mailclient::delivery::{
    self, Clock, DeliveryReport, DeliveryStage, DeliveryStatus, Message, RetryPolicy,
};
use proto_mail::Cleartext;
use proto_smtp::{
    Config,
    client::Client,
    types::{Address, ForwardPath, Mail, Rcpt, ReversePath},
};

/// The server's next action: for the greeting, then for each command and the end of the message.
#[derive(Clone, Copy)]
enum Act {
    Say(&'static str),
    /// Closes the connection without a reply.
    Close,
    /// Sends nothing until the client disconnects.
    Silence,
}
use Act::{Close, Say, Silence};

/// Starts a server with a script for each connection. The thread returns the number of complete messages received.
fn serve(scripts: Vec<Vec<Act>>) -> (SocketAddr, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || scripts.iter().map(|script| one(&listener, script)).sum());
    (address, thread)
}

fn one(listener: &TcpListener, script: &[Act]) -> usize {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok);
    let mut messages = 0;
    for (number, act) in script.iter().enumerate() {
        // The first action is the greeting, and a message follows 354.
        let in_message =
            number > 0 && matches!(script.get(number - 1), Some(Say(text)) if text.starts_with("354"));
        if in_message {
            messages += usize::from(lines.any(|line| line == "."));
        } else if number > 0 && lines.next().is_none() {
            return messages;
        }
        match act {
            Say(text) => socket.write_all(format!("{text}\r\n").as_bytes()).unwrap(),
            Close => return messages,
            Silence => break,
        }
    }
    // Further input gets no reply.
    lines.for_each(drop);
    messages
}

/// The time limit of every phase.
const LIMIT: Duration = Duration::from_millis(500);

/// A clock that advances only by the requested delays.
#[derive(Default)]
struct Still {
    pauses: Vec<Duration>,
}

impl Clock for Still {
    fn now(&mut self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }

    fn elapsed(&mut self) -> Duration {
        self.pauses.iter().sum()
    }

    fn sleep(&mut self, pause: Duration) {
        self.pauses.push(pause);
    }

    fn random(&mut self) -> u64 {
        7
    }
}

fn connect(address: SocketAddr) -> Result<Connection<Client<Cleartext>>, Error> {
    let mut deadlines = Deadlines::uniform(LIMIT);
    deadlines.data_end = LIMIT;
    let connector = Connector::new(TlsClientConfig::danger_accept_any_certificate().unwrap())
        .deadlines(deadlines)
        .without_probe();
    let target = Target::new(address.ip().to_string(), address.port(), Security::StartTls);
    let config = Arc::new(Config::default().danger_cleartext());
    let mut connection = connector.danger_connect_cleartext::<SmtpClientProtocol>(&target, &config)?;
    delivery::wait_until_ready(&mut connection)?;
    Ok(connection)
}

/// Delivers to this many recipients. Returns the report, the delays, and the number of messages received.
fn deliver(
    recipients: usize,
    scripts: Vec<Vec<Act>>,
) -> (Result<DeliveryReport, Error>, Vec<Duration>, usize) {
    let tries = u32::try_from(scripts.len()).unwrap();
    let (address, server) = serve(scripts);
    let path = |text: &str| Address::parse(text).unwrap().into_owned();
    let mail = Mail::new(ReversePath::from(path("from@example.com")));
    let message = Message::new(mail, Cursor::new("Subject: x\r\n\r\n.dot\r\nbody\r\n"));
    let mut message = (0..recipients).fold(message, |message, number| {
        message.recipient(Rcpt::new(ForwardPath::from(path(&format!("to{number}@example.com")))))
    });
    let mut clock = Still::default();
    let policy = RetryPolicy { attempts: tries, ..RetryPolicy::default() };
    let done = delivery::deliver(&mut message, &policy, &mut clock, || connect(address));
    (done, clock.pauses, server.join().unwrap())
}

/// A successful script, up to the reply to the message.
const GOOD: [Act; 6] = [
    Say("220 x"),
    Say("250 x"),
    Say("250 sender"),
    Say("250 recipient"),
    Say("354 go"),
    Say("250 2.0.0 taken"),
];

/// A successful script up to action number `stage`, which is `act` instead.
fn good_until(stage: usize, act: Act) -> Vec<Act> {
    let mut script = GOOD[..stage].to_vec();
    script.push(act);
    script
}

#[test]
fn retries_temporarily_refused_recipients() {
    let (report, pauses, messages) = deliver(1, vec![good_until(3, Say("450 4.2.1 busy")), GOOD.to_vec()]);
    let report = report.unwrap();
    assert_eq!((report.status, report.retry_count, messages), (DeliveryStatus::Success, 1, 1));
    assert_eq!(pauses, [Duration::from_millis(1007)]);
    assert_eq!(report.duration_ms, 1007);
    let answer = report.recipients[0].diagnostic.as_ref().unwrap();
    assert_eq!((answer.code, answer.enhanced.as_deref()), (Some(250), Some("2.0.0")));
}

#[test]
fn retries_when_the_server_closes_at_any_stage() {
    for stage in 0..GOOD.len() {
        let (report, pauses, messages) = deliver(1, vec![good_until(stage, Say("421 later")), GOOD.to_vec()]);
        let report = report.unwrap();
        assert_eq!((report.status, report.retry_count), (DeliveryStatus::Success, 1), "{stage}: {report:?}");
        // At the last stage the server had received the message and refused it.
        assert_eq!((pauses.len(), messages), (1, 1 + usize::from(stage == 5)), "{stage}");
    }
}

#[test]
fn does_not_retry_permanently_refused_recipients() {
    for stage in 0..2 {
        let (report, pauses, _) = deliver(1, vec![good_until(stage, Say("554 5.7.1 not you"))]);
        let error = report.unwrap_err();
        assert_eq!((error.is_retryable(), pauses.len()), (false, 0), "{stage}");
        assert!(error.to_string().contains("554 5.7.1 not you"), "{error}");
    }
}

#[test]
fn fails_temporarily_after_the_last_attempt() {
    let busy = || good_until(3, Say("452 4.5.3 too many"));
    let (report, pauses, _) = deliver(1, vec![busy(), busy(), busy()]);
    let report = report.unwrap();
    assert_eq!(
        (report.status, report.is_retryable, report.retry_count),
        (DeliveryStatus::TempFailed, true, 2)
    );
    assert_eq!(pauses, [Duration::from_millis(1007), Duration::from_millis(2007)]);
}

#[test]
fn each_recipient_has_its_own_result_and_no_duplicate() {
    let first = vec![
        Say("220 x"),
        Say("250 x"),
        Say("250 sender"),
        Say("250 good"),
        Say("550 5.1.1 unknown"),
        Say("451 4.3.0 later"),
        Say("354 go"),
        Say("250 taken"),
    ];
    let (report, _, messages) = deliver(3, vec![first, GOOD.to_vec()]);
    let report = report.unwrap();
    let statuses: Vec<_> = report.recipients.iter().map(|recipient| recipient.status).collect();
    // The second script has a reply for only one RCPT: a second RCPT would get none.
    assert_eq!(statuses, [DeliveryStatus::Success, DeliveryStatus::Rejected, DeliveryStatus::Success]);
    assert_eq!((report.status, messages), (DeliveryStatus::Rejected, 2));
    let refused = report.recipients[1].diagnostic.as_ref().unwrap();
    assert_eq!(
        (refused.stage, refused.code, refused.text.as_str()),
        (DeliveryStage::Rcpt, Some(550), "unknown")
    );
}

#[test]
fn recipients_beyond_a_transaction_follow_in_the_same_session() {
    let mut script = GOOD.to_vec();
    script[1] = Say("250-x\r\n250 LIMITS RCPTMAX=1");
    script.extend_from_slice(&GOOD[2..]);
    let (report, pauses, messages) = deliver(2, vec![script]);
    let report = report.unwrap();
    assert_eq!((report.status, report.retry_count), (DeliveryStatus::Success, 0), "{report:?}");
    assert_eq!((pauses.len(), messages), (0, 2));
}

#[test]
fn a_connection_lost_after_the_final_dot_is_uncertain_and_not_retried() {
    for act in [Close, Silence] {
        let (report, pauses, messages) = deliver(1, vec![good_until(5, act)]);
        let report = report.unwrap();
        assert_eq!((report.status, report.is_retryable), (DeliveryStatus::Uncertain, false));
        assert_eq!((pauses.len(), messages), (0, 1));
    }
}

#[test]
fn retries_after_a_server_is_too_slow() {
    let (report, pauses, messages) = deliver(1, vec![good_until(3, Silence), GOOD.to_vec()]);
    let report = report.unwrap();
    assert_eq!((report.status, report.retry_count), (DeliveryStatus::Success, 1));
    assert_eq!((pauses.len(), messages), (1, 1));
}

#[test]
fn an_unreadable_source_delivers_no_part_of_the_message() {
    struct Broken(bool);
    impl std::io::Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(std::io::Error::other("the disk is gone"));
            }
            buffer[..3].copy_from_slice(b"a\r\n");
            Ok(3)
        }
    }
    impl std::io::Seek for Broken {
        fn seek(&mut self, _: std::io::SeekFrom) -> std::io::Result<u64> {
            Ok(0)
        }
    }
    let (address, server) = serve(vec![GOOD.to_vec()]);
    let to = Address::parse("to@example.com").unwrap().into_owned();
    let mut message =
        Message::new(Mail::new(ReversePath::Null), Broken(false)).recipient(Rcpt::new(ForwardPath::from(to)));
    let mut clock = Still::default();
    let done = delivery::deliver(&mut message, &RetryPolicy::default(), &mut clock, || connect(address));
    let report = done.unwrap();
    assert_eq!((report.status, clock.pauses.len()), (DeliveryStatus::TempFailed, 0));
    assert!(report.recipients[0].diagnostic.as_ref().unwrap().text.contains("the disk is gone"));
    assert_eq!(server.join().unwrap(), 0);
}
