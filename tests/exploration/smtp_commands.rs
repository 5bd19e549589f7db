//! Gives the commands of the explored SMTP client's application to the machine.

use mailwire_tests::invariants::PASSWORD;
use mailwire_tests::play::{Queued, Record};
use proto_mail::{Channel, Cleartext, Credentials, Error, Mechanism, Secure, SendBuffer};
use proto_smtp::client::{Client, Step};
use proto_smtp::types::{Address, ChunkEnd, Mail, Rcpt, ReversePath};

use crate::custom_mechanism;
use crate::smtp_client::Action;

/// Logs in on one channel.
type LogIn<C> = fn(&mut Client<C>, Mechanism, &mut SendBuffer) -> Result<(), Error>;

fn credentials() -> Credentials {
    Credentials::password("x", PASSWORD.as_bytes())
}

pub(crate) fn log_in(
    client: &mut Client<Secure>,
    mechanism: Mechanism,
    tx: &mut SendBuffer,
) -> Result<(), Error> {
    match mechanism {
        Mechanism::Custom(_) => client.authenticate_with(Box::new(custom_mechanism::TestClient::new()), tx),
        _ => client.authenticate(mechanism, credentials(), tx),
    }
}

pub(crate) fn log_in_in_cleartext(
    client: &mut Client<Cleartext>,
    mechanism: Mechanism,
    tx: &mut SendBuffer,
) -> Result<(), Error> {
    match mechanism {
        Mechanism::Custom(_) => {
            client.danger_cleartext_authenticate_with(Box::new(custom_mechanism::TestClient::new()), tx)
        }
        _ => client.danger_cleartext_authenticate(mechanism, credentials(), tx),
    }
}

/// Gives a command. Returns the step that awaits a reply, if the machine allowed the command.
pub(crate) fn give<C: Channel>(
    command: Action,
    client: &mut Client<C>,
    log_in: LogIn<C>,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Option<Step> {
    let address = || Address::parse("x@example.com").unwrap();
    let mut step = Step::Noop;
    let before = Queued::of(tx);
    let (verb, outcome) = match command {
        Action::Authenticate(mechanism) => {
            step = Step::Auth;
            ("AUTHENTICATE", log_in(client, mechanism, tx))
        }
        Action::Mail => {
            step = Step::Mail;
            ("MAIL", client.mail(&Mail::new(ReversePath::from(address())), tx))
        }
        Action::Rcpt => {
            let in_progress = client.rcpt(&Rcpt::new(address()), tx);
            step = Step::Rcpt(in_progress.clone().unwrap_or_default());
            ("RCPT", in_progress.map(drop))
        }
        Action::Data => {
            step = Step::Data;
            ("DATA", client.data(tx))
        }
        Action::Message => {
            step = Step::Message(None);
            let written = client.data_writer().and_then(|mut writer| {
                writer.write(b"x\r\n.\r\n", tx)?;
                writer.finish(tx)
            });
            record.noted("message", written)?;
            return Some(step);
        }
        Action::Chunk => {
            step = Step::Message(None);
            let written = client.bdat(3, ChunkEnd::Last, tx).and_then(|()| {
                client.data_writer()?.write(b"x\r\n", tx)?;
                client.data_writer()?.finish(tx)
            });
            ("BDAT", written)
        }
        Action::Reset => {
            step = Step::Reset;
            ("RSET", client.reset(tx))
        }
        Action::Quit => {
            step = Step::Quit;
            ("QUIT", client.quit(tx))
        }
        _ => ("NOOP", client.noop(tx)),
    };
    record.given_since(verb, outcome, before, tx).map(|()| step)
}
