//! An IMAP server with one mailbox, as an async function.

use std::sync::Arc;

use bytes::Bytes;
use io_tokio::{Deadlines, Error, ImapServer, ListenerTls, Server, TlsServerConfig, server::SecureSession};
use proto_imap::{
    server::OwnedEvent,
    types::{
        Command, Condition, LazyList, ListResponse, PlainCode, ResponseCode, Section, StatusResponse, Text,
        Untagged,
    },
};

type Messages = Arc<Vec<Vec<u8>>>;

async fn serve(mut session: SecureSession<ImapServer>, messages: Messages) -> Result<(), Error> {
    while let Some(event) = session.next_event().await? {
        match event {
            OwnedEvent::Auth(request) => {
                session
                    .answer_password(request, |user, password| user == "alice" && password == b"secret")?;
            }
            OwnedEvent::Command(command, token) => {
                let mut status = StatusResponse::new(Condition::Ok, Text::first_line("done"));
                let mut bodies = Vec::new();
                match command.view() {
                    Command::List(_) => session.data(&Untagged::List(ListResponse {
                        attributes: LazyList::EMPTY,
                        delimiter: Some('/'),
                        mailbox: "INBOX".into(),
                        extended: LazyList::EMPTY,
                    }))?,
                    Command::Select(_) => {
                        session.data(&Untagged::Exists(messages.len() as u32))?;
                        status = status.with_code(ResponseCode::Plain(PlainCode::ReadWrite));
                    }
                    Command::Fetch(fetch) => {
                        let all = fetch.messages.resolve(messages.len() as u32);
                        bodies.extend(all.into_iter().flatten());
                    }
                    _ => status = StatusResponse::new(Condition::No, Text::first_line("what?")),
                }
                for number in bodies {
                    send_body(&mut session, number, &messages[number as usize - 1]).await?;
                }
                session.reply(token, &status)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Sends a message in pieces, each when the piece before has left.
async fn send_body(
    session: &mut SecureSession<ImapServer>,
    number: u32,
    message: &[u8],
) -> Result<(), Error> {
    let size = message.len() as u64;
    session.with(|server, tx| {
        server.fetch(number, tx)?.stream_body(Section::FULL, None, size);
        Ok::<_, proto_mail::Error>(())
    })?;
    for piece in message.chunks(64 * 1024) {
        let piece = Bytes::copy_from_slice(piece);
        session.with(|server, tx| server.write_body(piece, tx))?;
        session.flush().await?;
    }
    session.with(|server, tx| server.resume_fetch(tx)?.finish())?;
    Ok(())
}

pub(crate) async fn listen(server: &mut Server, tls: TlsServerConfig, messages: Vec<Vec<u8>>) -> u16 {
    let messages = Arc::new(messages);
    let service = move |session| serve(session, messages.clone());
    let (address, tls) = (([127, 0, 0, 1], 0).into(), ListenerTls::Implicit(tls));
    let config = Default::default();
    server.serve::<ImapServer>(address, tls, config, Deadlines::default(), service).await.unwrap().port()
}
