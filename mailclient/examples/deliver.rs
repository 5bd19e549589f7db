//! Delivers messages one after another on a kept session, with retries, and prints the status of each recipient.

use std::{io::Cursor, sync::Arc};

use io_mio::{Connector, Deadlines, Error, Security, Target, TlsClientConfig};
use mailclient::delivery::{DeliveryStatus, Message, Pool, PoolLimits, RetryPolicy, Route, SystemClock};
use proto_mail::Credentials;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Delivers a message to each recipient and returns their statuses.
pub(crate) fn deliver(
    tls: TlsClientConfig,
    target: &Target,
    password: &str,
    recipients: &[&str],
) -> Result<Vec<DeliveryStatus>> {
    let connector = Connector::new(tls).deadlines(Deadlines::for_delivery());
    let password = password.to_owned();
    let route = Route::with_login(&connector, target, &Arc::default(), move || {
        Ok::<_, Error>(Credentials::password("alice", &*password))
    });
    let pool = Pool::new(PoolLimits::default());
    let mut statuses = Vec::new();
    for to in recipients {
        let text = format!("From: alice@example.com\r\nTo: {to}\r\nSubject: Hi\r\n\r\nHello\r\n");
        let mut message = Message::from_text("alice@example.com", Cursor::new(text)).recipient_text(to);
        let report =
            pool.deliver(&route, &mut message, &RetryPolicy::default(), &mut SystemClock::start())?;
        for recipient in &report.recipients {
            println!("{}: {:?}", recipient.address, recipient.status);
            statuses.push(recipient.status);
        }
    }
    Ok(statuses)
}

fn main() -> Result<()> {
    let target = Target::new("smtp.example.com", 465, Security::ImplicitTls);
    let recipients = ["bob@example.org", "eve@example.org"];
    deliver(TlsClientConfig::platform()?, &target, &std::env::var("PASSWORD")?, &recipients)?;
    Ok(())
}
