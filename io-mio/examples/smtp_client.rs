//! Sends one message by submission, with STARTTLS, in a program that blocks.

use std::sync::Arc;

use io_mio::{ConnectionEvent, Connector, Error, Security, SmtpClient, Target, TlsClientConfig};
use proto_mail::{Credentials, Mechanism};
use proto_smtp::client::{AuthOutcome, Event, Progress, Transaction};

const MESSAGE: &[u8] = b"From: alice@example.com\r\nSubject: Hello\r\n\r\nHello Bob\r\n";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Returns the outcome for each recipient.
pub(crate) fn send(tls: TlsClientConfig, target: &Target, password: String) -> Result<Transaction> {
    let credentials = Credentials::password("alice", password);
    let mut mail = Transaction::from_addresses("alice@example.com", ["bob@example.org"])?;
    let mut connection = Connector::new(tls).connect::<SmtpClient>(target, &Arc::default())?;
    connection.drive(|event, client, tx| {
        let ConnectionEvent::Machine(event) = event else { return Ok(None) };
        let progress = match &event {
            Event::Capabilities(_) => {
                let mechanism = client.choose_mechanism(&Mechanism::ALL, &credentials).into_result();
                client.authenticate(
                    mechanism.map_err(|reasons| reasons.to_string())?,
                    credentials.duplicate(),
                    tx,
                )?;
                Progress::Continue
            }
            Event::Auth(AuthOutcome::Accepted(_)) => mail.start(client, tx)?,
            Event::Auth(AuthOutcome::Rejected(reply)) => return Err(reply.to_string().into()),
            event => mail.event(event, client, tx)?,
        };
        if progress == Progress::SendData {
            client.data_writer()?.write(MESSAGE, tx)?;
            client.data_writer()?.finish(tx)?;
        }
        Ok::<_, Box<dyn std::error::Error>>((progress == Progress::Done).then_some(()))
    })?;
    connection.with(|client, tx| client.quit(tx))?;
    connection.drive(|event, _, _| {
        Ok::<_, Error>(matches!(event, ConnectionEvent::Machine(Event::Closed(_))).then_some(()))
    })?;
    connection.close()?;
    Ok(mail)
}

fn main() -> Result<()> {
    let target = Target::new("mail.example.com", 587, Security::StartTls);
    let mail = send(TlsClientConfig::platform()?, &target, std::env::var("PASSWORD")?)?;
    for recipient in mail.recipients() {
        println!("{recipient}");
    }
    Ok(())
}
