//! Short forms of the usual answers of each protocol.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Poll, ready},
};

use proto_imap::types::{StatusResponse, Untagged};
use proto_mail::{AuthRequest, AuthVerdict};
use proto_smtp::types::Response;
use tokio::io::AsyncBufRead;

use super::{
    async_protocol::{AuthenticatingMachine, ServedMachine},
    session::Session,
};
use crate::error::Error;

impl<C: proto_mail::Channel> Session<proto_smtp::server::Server<C>>
where
    proto_smtp::server::Server<C>: ServedMachine<Reply = proto_smtp::server::Reply>,
{
    /// Answers a command or a message.
    ///
    /// # Errors
    /// Those of [`Server::reply`](proto_smtp::server::Server::reply).
    pub fn reply(&mut self, token: proto_smtp::server::Reply, response: &Response<'_>) -> Result<(), Error> {
        Ok(self.with(|server, tx| server.reply(token, response, tx))?)
    }

    /// Asks the client for the message (354 to DATA), and collects it in memory. Answer the token when it is stored. Returns
    /// `None` if the client did not complete the message, or if it had more bytes than
    /// [`Config::max_message`](proto_smtp::Config::max_message) and was rejected (552). That is also the size that the server
    /// announces.
    ///
    /// # Errors
    /// The connection or the session failed.
    pub async fn receive(
        &mut self,
        token: proto_smtp::server::Reply,
    ) -> Result<Option<(Vec<u8>, proto_smtp::server::Reply)>, Error> {
        self.reply(token, &Response::start_data())?;
        let mut message = Vec::new();
        let mut body = self.message();
        poll_fn(|cx| {
            loop {
                let piece = ready!(Pin::new(&mut body).poll_fill_buf(cx))?;
                let length = piece.len();
                if length == 0 {
                    return Poll::Ready(Ok::<_, std::io::Error>(()));
                }
                // The machine passes no more than the largest message.
                message.extend_from_slice(piece);
                Pin::new(&mut body).consume(length);
            }
        })
        .await?;
        Ok(body.end().map(|token| (message, token)))
    }
}

impl<C: proto_mail::Channel> Session<proto_imap::server::Server<C>>
where
    proto_imap::server::Server<C>: ServedMachine,
{
    /// Completes a command.
    ///
    /// # Errors
    /// Those of [`Server::reply`](proto_imap::server::Server::reply).
    pub fn reply(
        &mut self,
        token: proto_imap::server::Reply,
        status: &StatusResponse<'_>,
    ) -> Result<(), Error> {
        Ok(self.with(|server, tx| server.reply(token, status, tx))?)
    }

    /// Sends untagged data.
    ///
    /// # Errors
    /// Those of [`Server::data`](proto_imap::server::Server::data).
    pub fn data(&mut self, data: &Untagged<'_>) -> Result<(), Error> {
        Ok(self.with(|server, tx| server.data(data, tx))?)
    }
}

impl<M: AuthenticatingMachine> Session<M> {
    /// Answers an authentication. After [`AuthVerdict::Accept`] the client [has logged in](Self::logged_in).
    ///
    /// # Errors
    /// [`StaleToken`](proto_mail::Misuse::StaleToken) if the request is not the open one.
    pub fn answer_auth(&mut self, request: AuthRequest, verdict: AuthVerdict) -> Result<(), Error> {
        let is_accepted = matches!(verdict, AuthVerdict::Accept);
        self.with(|server, tx| server.answer_auth(request, verdict, tx))?;
        if is_accepted {
            self.logged_in();
        }
        Ok(())
    }

    /// Answers an authentication by a check of user and password. Questions that it cannot answer are rejected: offer only
    /// mechanisms that pass the password, as the default configuration does.
    ///
    /// # Errors
    /// As [`answer_auth`](Self::answer_auth).
    pub fn answer_password(
        &mut self,
        request: AuthRequest,
        is_correct: impl FnOnce(&str, &[u8]) -> bool,
    ) -> Result<(), Error> {
        let verdict = request.check_password(is_correct);
        self.answer_auth(request, verdict)
    }
}
