//! The server's figures after conversations with known outcomes.

use std::net::SocketAddr;

use mailserver::metrics::{MessageOrigin, ServiceMetrics};
use mailserver::{Metrics, Service, Settings};

use super::{IMAP, LMTP, context, on_mio_in, over_tcp};

fn of(metrics: &Metrics, service: Service) -> &ServiceMetrics {
    metrics.services.iter().find(|metrics| metrics.service == service).unwrap()
}

#[test]
fn counts_sessions_commands_refusals_and_messages() {
    let (context, _directory) = context();
    let settings = Settings::default();
    assert!(context.metrics().services.iter().all(|service| service.sessions == 0));

    let open = |address: SocketAddr| {
        over_tcp(address, IMAP);
        // A session that stays open, in the middle of a command.
        let socket = std::net::TcpStream::connect(address).unwrap();
        while of(&context.metrics(), Service::Imap).open_sessions == 0 {
            std::thread::yield_now();
        }
        let metrics = context.metrics();
        drop(socket);
        metrics
    };
    let during = on_mio_in(&context, &settings, Service::Imap, open);
    assert!((1..=2).contains(&of(&during, Service::Imap).open_sessions));
    on_mio_in(&context, &settings, Service::Lmtp, |address| over_tcp(address, LMTP));

    let metrics = context.metrics();
    let (imap, lmtp) = (of(&metrics, Service::Imap), of(&metrics, Service::Lmtp));
    assert_eq!((imap.open_sessions, imap.sessions, imap.failed_sessions), (0, 2, 0), "{imap:?}");
    // A wrong password, a message that is gone, a command that does not exist.
    assert_eq!(imap.refusals, 3, "{imap:?}");
    // The machine answers CAPABILITY, LOGOUT and the command that does not exist.
    assert_eq!(imap.commands, 12, "{imap:?}");
    assert_eq!((lmtp.sessions, lmtp.refusals, lmtp.failed_sessions), (1, 2, 0), "{lmtp:?}");
    assert_eq!((imap.tls12, imap.tls13, lmtp.tls13), (0, 0, 0), "there was no TLS");
    assert_eq!(of(&metrics, Service::Smtps).sessions, 0);

    let logins = metrics.logins;
    assert_eq!((logins.accepted, logins.rejected, logins.unavailable), (1, 1, 0));
    let messages = metrics.messages.map(|messages| (messages.origin, messages.messages, messages.bytes));
    let expected = [
        (MessageOrigin::Submission, 0, 0),
        (MessageOrigin::Lmtp, 1, "Subject: hello\r\n\r\n.dot\r\n".len() as u64),
        (MessageOrigin::Append, 1, 29),
    ];
    assert_eq!(messages, expected);
    assert!(metrics.jobs.slices > 0 && metrics.jobs.waiting == 0, "{:?}", metrics.jobs);
    assert!(metrics.jobs.slices_within.is_sorted() && metrics.jobs.slices_within[5] <= metrics.jobs.slices);
}
