//! Delivers messages to several recipients at the same time on tokio, with retries, and prints the status of each recipient.

use std::{io::Cursor, ops::ControlFlow, sync::Arc};

use io_tokio::{Connector, Deadlines, Error, Security, Target, TlsClientConfig};
use mailclient::delivery::tokio::{Dispatcher, FromIter, Pool, Route};
use mailclient::delivery::{DeliveryRequest, DeliveryStatus, Message, PoolLimits, SystemClock};
use proto_mail::Credentials;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Delivers a message to each recipient and returns their statuses, in the order of the recipients.
pub(crate) async fn deliver(
    tls: TlsClientConfig,
    target: &Target,
    password: &str,
    recipients: &[&str],
) -> Vec<Option<DeliveryStatus>> {
    let connector = Connector::new(tls).deadlines(Deadlines::for_delivery());
    let password = password.to_owned();
    let route = Route::with_login(&connector, target, &Arc::default(), move || {
        Ok::<_, Error>(Credentials::password("alice", &*password))
    });
    let requests = recipients.iter().enumerate().map(|(id, to)| {
        let text = format!("From: alice@example.com\r\nTo: {to}\r\nSubject: Hi\r\n\r\nHello\r\n");
        let message = Message::from_text("alice@example.com", Cursor::new(text)).recipient_text(to);
        DeliveryRequest { id, message, route: route.clone() }
    });
    let pool = Pool::new(PoolLimits { sessions_per_host: 2, ..PoolLimits::default() });
    let mut statuses = vec![None; recipients.len()];
    let dispatcher = Dispatcher::new(&pool, SystemClock::start());
    let run = dispatcher.run(FromIter(requests), |result| {
        for recipient in &result.report.recipients {
            println!("{}: {:?}", recipient.address, recipient.status);
        }
        if let Some(status) = statuses.get_mut(result.id) {
            *status = Some(result.report.status);
        }
        ControlFlow::Continue(())
    });
    run.await;
    pool.close_idle().await;
    statuses
}

#[tokio::main]
async fn main() -> Result<()> {
    let target = Target::new("smtp.example.com", 465, Security::ImplicitTls);
    let recipients = ["bob@example.org", "eve@example.org"];
    deliver(TlsClientConfig::platform()?, &target, &std::env::var("PASSWORD")?, &recipients).await;
    Ok(())
}
