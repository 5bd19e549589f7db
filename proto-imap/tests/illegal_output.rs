//! Data that a server must not send: the machine rejects them as a mistake of the application and sends nothing.
#![allow(clippy::unwrap_used, clippy::panic)]

use proto_imap::Config;
use proto_imap::mailbox_view::Expunges;
use proto_imap::server::{Event, Reply, Server};
use proto_imap::types::{Condition, FetchItem, StatusResponse, Text, Untagged};
use proto_mail::{AuthVerdict, Misuse, RecvBuffer, Secure, SendBuffer};

/// A server and its buffers.
struct Session {
    server: Server<Secure>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl Session {
    fn authenticated() -> Self {
        let mut tx = SendBuffer::new();
        let server = Server::<Secure>::new(Config::default(), Secure::trusted_local(), &mut tx);
        let mut session = Self { server, rx: RecvBuffer::new(), tx };
        session.rx.extend(b"a LOGIN user password\r\n");
        match session.server.next_event(&mut session.rx, &mut session.tx).unwrap() {
            Some(Event::Auth(request)) => {
                session.server.answer_auth(request, AuthVerdict::Accept, &mut session.tx).unwrap();
            }
            other => panic!("{other:?}"),
        }
        session.sent();
        session
    }

    /// Creates a session with a selected mailbox of this many messages.
    fn selected(messages: u32) -> Self {
        let mut session = Self::authenticated();
        let reply = session.command("b SELECT INBOX\r\n");
        assert_eq!(session.data(&Untagged::Exists(messages)), Ok(format!("* {messages} EXISTS\r\n")));
        session.answer(reply, Condition::Ok);
        session
    }

    fn command(&mut self, line: &str) -> Reply {
        self.rx.extend(line.as_bytes());
        match self.server.next_event(&mut self.rx, &mut self.tx).unwrap() {
            Some(Event::Command(_, reply)) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, reply: Reply, condition: Condition) {
        let status = StatusResponse::new(condition, Text::first_line("x"));
        self.server.reply(reply, &status, &mut self.tx).unwrap();
        self.sent();
    }

    fn sent(&mut self) -> String {
        String::from_utf8(self.tx.take()).unwrap()
    }

    /// Returns the bytes that were sent for these data.
    fn data(&mut self, data: &Untagged<'_>) -> Result<String, proto_mail::Error> {
        let result = self.server.data(data, &mut self.tx);
        let sent = self.sent();
        assert!(result.is_ok() || sent.is_empty(), "{sent}");
        result.map(|()| sent)
    }

    /// Checks whether the server may name this message.
    fn names(&mut self, sequence: u32) -> Result<(), proto_mail::Error> {
        let mut writer = self.server.fetch(sequence, &mut self.tx)?;
        writer.item(&FetchItem::Uid(7));
        writer.finish()?;
        assert_eq!(self.sent(), format!("* {sequence} FETCH (UID 7)\r\n"));
        Ok(())
    }
}

fn refused<T>(misuse: Misuse) -> Result<T, proto_mail::Error> {
    Err(misuse.into())
}

#[test]
fn refuses_a_fetch_response_without_items() {
    let mut session = Session::selected(1);
    let writer = session.server.fetch(1, &mut session.tx).unwrap();
    assert_eq!(writer.finish(), refused(Misuse::InvalidArgument));
    let mut writer = session.server.fetch(1, &mut session.tx).unwrap();
    writer.item(&FetchItem::Uid(0));
    assert_eq!(writer.finish(), refused(Misuse::InvalidArgument), "no UID is 0");
    assert_eq!(session.sent(), "");
    assert_eq!(session.names(1), Ok(()), "the session goes on");
}

#[test]
fn refuses_sequence_numbers_that_the_mailbox_does_not_have() {
    let mut session = Session::selected(2);
    assert_eq!(session.names(2), Ok(()));
    for sequence in [0, 3, u32::MAX] {
        assert_eq!(session.names(sequence), refused(Misuse::InvalidArgument));
    }
    let reply = session.command("c NOOP\r\n");
    for sequence in [0, 3] {
        assert_eq!(session.data(&Untagged::Expunge(sequence)), refused(Misuse::InvalidArgument));
    }
    assert!(session.data(&Untagged::Expunge(2)).is_ok());
    assert_eq!(session.names(2), refused(Misuse::InvalidArgument), "one message is left");
    assert!(session.data(&Untagged::Exists(5)).is_ok());
    assert_eq!(session.names(5), Ok(()));
    session.answer(reply, Condition::Ok);
}

#[test]
fn refuses_an_exists_that_goes_down_without_an_expunge() {
    let mut session = Session::selected(3);
    assert_eq!(session.data(&Untagged::Exists(2)), refused(Misuse::InvalidArgument));
    let reply = session.command("c NOOP\r\n");
    assert!(session.data(&Untagged::Expunge(1)).is_ok());
    assert!(session.data(&Untagged::Exists(2)).is_ok());
    session.answer(reply, Condition::Ok);
    // Another mailbox has a different number of messages.
    let reply = session.command("d SELECT other\r\n");
    assert!(session.data(&Untagged::Exists(1)).is_ok());
    session.answer(reply, Condition::Ok);
    assert_eq!(session.names(2), refused(Misuse::InvalidArgument));
}

#[test]
fn refuses_data_about_messages_while_no_mailbox_is_selected() {
    let mut session = Session::authenticated();
    assert_eq!(session.data(&Untagged::Exists(1)), refused(Misuse::WrongState));
    assert_eq!(session.data(&Untagged::Recent(1)), refused(Misuse::WrongState));
    assert_eq!(session.names(1), refused(Misuse::WrongState));
    let reply = session.command("b NOOP\r\n");
    assert_eq!(session.data(&Untagged::Expunge(1)), refused(Misuse::WrongState));
    session.answer(reply, Condition::Ok);
    // A failed SELECT leaves no mailbox selected.
    let mut session = Session::selected(1);
    let reply = session.command("c SELECT missing\r\n");
    session.answer(reply, Condition::No);
    assert_eq!(session.data(&Untagged::Exists(1)), refused(Misuse::WrongState));
}

#[test]
fn refuses_expunge_while_a_command_uses_sequence_numbers() {
    for command in ["c FETCH 1 FLAGS\r\n", "c STORE 1 FLAGS ()\r\n", "c SEARCH ALL\r\n"] {
        let mut session = Session::selected(2);
        let reply = session.command(command);
        assert_eq!(session.server.expunges(), Expunges::HeldBack, "{command}");
        assert_eq!(session.data(&Untagged::Expunge(1)), refused(Misuse::WrongState), "{command}");
        session.answer(reply, Condition::Ok);
    }
    for command in ["c UID FETCH 1 FLAGS\r\n", "c UID STORE 1 FLAGS ()\r\n", "c UID SEARCH ALL\r\n"] {
        let mut session = Session::selected(2);
        let reply = session.command(command);
        assert_eq!(session.server.expunges(), Expunges::Allowed, "{command}");
        assert!(session.data(&Untagged::Expunge(1)).is_ok(), "{command}");
        session.answer(reply, Condition::Ok);
        assert_eq!(session.server.expunges(), Expunges::HeldBack, "no command is in progress");
    }
}

#[test]
fn refuses_a_bye_that_does_not_end_the_session() {
    let mut session = Session::authenticated();
    let bye = StatusResponse::new(Condition::Bye, Text::first_line("x"));
    assert_eq!(session.data(&Untagged::Status(bye)), refused(Misuse::WrongState));
    session.server.shutdown("going down", &mut session.tx);
    assert_eq!(session.sent(), "* BYE going down\r\n");
}

#[test]
fn a_dropped_reply_to_select_leaves_no_mailbox_selected() {
    let mut session = Session::selected(1);
    drop(session.command("c SELECT other\r\n"));
    assert!(session.server.next_event(&mut session.rx, &mut session.tx).unwrap().is_none());
    assert!(session.sent().starts_with("c NO [SERVERBUG]"));
    assert!(!session.server.state().is_selected(), "the client was told NO");
}

#[test]
fn a_refused_session_hears_bye_and_ends() {
    let mut tx = SendBuffer::new();
    let busy = StatusResponse::new(Condition::Bye, Text::first_line("too many connections"));
    let mut server = Server::<Secure>::refusing(Config::default(), Secure::trusted_local(), &busy, &mut tx);
    assert_eq!(tx.take(), b"* BYE too many connections\r\n");
    let mut rx = RecvBuffer::new();
    rx.extend(b"a NOOP\r\n");
    assert!(matches!(server.next_event(&mut rx, &mut tx), Ok(Some(Event::Closed))));
    assert!(server.is_closed() && tx.is_empty());
}
