//! The traits that connect an async server to the machines of each protocol.

use std::borrow::Cow;

use io_common::{ImapServer, MachineMut, Protocol, ServerProtocol, SmtpServer};
use proto_mail::{
    AuthRequest, AuthVerdict, Cleartext, Machine, OwnedEvents, Secure, SendBuffer, StartTlsRequest,
};

/// A protocol whose servers [`Server::serve`](crate::Server::serve) runs: [`ImapServer`] and [`SmtpServer`].
pub trait AsyncProtocol:
    ServerProtocol<
        Cleartext: ServedMachine<Protocol = Self>,
        Secure: ServedMachine<Protocol = Self>,
        Upgrade: Send,
        Config: Send + Sync,
    >
{
    /// Returns the request to start TLS, if the event is one. Any other event is dropped with its token.
    fn starttls_request(
        event: <<Self as Protocol>::Cleartext as OwnedEvents>::OwnedEvent,
    ) -> Option<StartTlsRequest>;
}

/// A server's machine on one channel.
pub trait ServedMachine: OwnedEvents<OwnedEvent: Send> + Send + Sized + 'static {
    /// The machine's protocol.
    type Protocol: ServerProtocol<Cleartext: Machine, Secure: Machine>;
    /// The token that answers a complete message.
    type Reply: Send + Unpin;

    /// Returns the machine with its channel.
    fn on_channel(&mut self) -> MachineMut<'_, Self::Protocol>;

    /// Returns what an event means for a message that is being received.
    fn incoming(event: Self::Event<'_>) -> Incoming<'_, Self::Reply>;
}

/// A server's machine that authenticates clients: one under TLS.
pub trait AuthenticatingMachine: ServedMachine {
    /// Answers an authentication.
    ///
    /// # Errors
    /// [`StaleToken`](proto_mail::Misuse::StaleToken) if the request is not the open one.
    fn answer_auth(
        &mut self,
        request: AuthRequest,
        verdict: AuthVerdict,
        tx: &mut SendBuffer,
    ) -> Result<(), proto_mail::Error>;
}

/// An event of a message that is being received.
#[derive(Debug)]
pub enum Incoming<'e, R> {
    /// The next bytes.
    Chunk(Cow<'e, [u8]>),
    /// The message is complete: answer the token.
    End(R),
    /// The message will not be completed: discard it.
    Aborted,
    /// The event does not concern the message.
    Other,
}

macro_rules! smtp {
    ($channel:ident) => {
        impl ServedMachine for proto_smtp::server::Server<$channel> {
            type Protocol = SmtpServer;
            type Reply = proto_smtp::server::Reply;

            fn on_channel(&mut self) -> MachineMut<'_, SmtpServer> {
                MachineMut::$channel(self)
            }

            fn incoming(event: Self::Event<'_>) -> Incoming<'_, Self::Reply> {
                use proto_smtp::server::Event;
                match event {
                    Event::DataChunk(bytes) => Incoming::Chunk(bytes),
                    Event::DataEnd(reply) => Incoming::End(reply),
                    Event::Reset | Event::Closed => Incoming::Aborted,
                    _ => Incoming::Other,
                }
            }
        }
    };
}

macro_rules! imap {
    ($channel:ident) => {
        impl ServedMachine for proto_imap::server::Server<$channel> {
            type Protocol = ImapServer;
            type Reply = proto_imap::server::Reply;

            fn on_channel(&mut self) -> MachineMut<'_, ImapServer> {
                MachineMut::$channel(self)
            }

            fn incoming(event: Self::Event<'_>) -> Incoming<'_, Self::Reply> {
                use proto_imap::server::Event;
                match event {
                    Event::AppendChunk(bytes) => Incoming::Chunk(Cow::Borrowed(bytes)),
                    Event::AppendEnd(reply) => Incoming::End(reply),
                    Event::AppendAborted | Event::Closed => Incoming::Aborted,
                    _ => Incoming::Other,
                }
            }
        }
    };
}

macro_rules! authenticating {
    ($server:ty) => {
        impl AuthenticatingMachine for $server {
            fn answer_auth(
                &mut self,
                request: AuthRequest,
                verdict: AuthVerdict,
                tx: &mut SendBuffer,
            ) -> Result<(), proto_mail::Error> {
                <$server>::answer_auth(self, request, verdict, tx)
            }
        }
    };
}

smtp!(Cleartext);
smtp!(Secure);
imap!(Cleartext);
imap!(Secure);
authenticating!(proto_smtp::server::Server<Secure>);
authenticating!(proto_imap::server::Server<Secure>);

impl AsyncProtocol for SmtpServer {
    fn starttls_request(event: proto_smtp::server::OwnedEvent<Cleartext>) -> Option<StartTlsRequest> {
        match event {
            proto_smtp::server::Event::StartTls(request) => Some(request),
            _ => None,
        }
    }
}

impl AsyncProtocol for ImapServer {
    fn starttls_request(event: proto_imap::server::OwnedEvent<Cleartext>) -> Option<StartTlsRequest> {
        match event {
            proto_imap::server::OwnedEvent::StartTls(request) => Some(request),
            _ => None,
        }
    }
}
