//! What a login needs on each channel.

use proto_imap::client::LoginMethod;
use proto_mail::{Channel, Cleartext, Credentials, Mechanism, Secure, SendBuffer};

/// A channel on which a client can log in. On [`Cleartext`], the machine must have been allowed to.
pub trait ClientChannel: Channel + Sized {
    /// Starts an IMAP login.
    ///
    /// # Errors
    /// The machine refuses.
    fn start_imap_login(
        client: &mut proto_imap::client::Client<Self>,
        credentials: &Credentials,
        method: LoginMethod,
        tx: &mut SendBuffer,
    ) -> Result<(), proto_mail::Error>;

    /// Asks for compression (RFC 4978). `None` on a channel that is never compressed.
    ///
    /// # Errors
    /// The machine refuses.
    fn start_compression(
        client: &mut proto_imap::client::Client<Self>,
        tx: &mut SendBuffer,
    ) -> Result<Option<proto_imap::client::CommandId>, proto_mail::Error>;

    /// Starts an SMTP login.
    ///
    /// # Errors
    /// The machine refuses.
    fn start_smtp_login(
        client: &mut proto_smtp::client::Client<Self>,
        credentials: Credentials,
        mechanism: Mechanism,
        tx: &mut SendBuffer,
    ) -> Result<(), proto_mail::Error>;
}

impl ClientChannel for Secure {
    fn start_imap_login(
        client: &mut proto_imap::client::Client<Self>,
        credentials: &Credentials,
        method: LoginMethod,
        tx: &mut SendBuffer,
    ) -> Result<(), proto_mail::Error> {
        client.authenticate(method, credentials, tx).map(drop)
    }

    fn start_compression(
        client: &mut proto_imap::client::Client<Self>,
        tx: &mut SendBuffer,
    ) -> Result<Option<proto_imap::client::CommandId>, proto_mail::Error> {
        client.compress(tx).map(Some)
    }

    fn start_smtp_login(
        client: &mut proto_smtp::client::Client<Self>,
        credentials: Credentials,
        mechanism: Mechanism,
        tx: &mut SendBuffer,
    ) -> Result<(), proto_mail::Error> {
        client.authenticate(mechanism, credentials, tx)
    }
}

impl ClientChannel for Cleartext {
    fn start_imap_login(
        client: &mut proto_imap::client::Client<Self>,
        credentials: &Credentials,
        method: LoginMethod,
        tx: &mut SendBuffer,
    ) -> Result<(), proto_mail::Error> {
        client.danger_cleartext_authenticate(method, credentials, tx).map(drop)
    }

    fn start_compression(
        _: &mut proto_imap::client::Client<Self>,
        _: &mut SendBuffer,
    ) -> Result<Option<proto_imap::client::CommandId>, proto_mail::Error> {
        Ok(None)
    }

    fn start_smtp_login(
        client: &mut proto_smtp::client::Client<Self>,
        credentials: Credentials,
        mechanism: Mechanism,
        tx: &mut SendBuffer,
    ) -> Result<(), proto_mail::Error> {
        client.danger_cleartext_authenticate(mechanism, credentials, tx)
    }
}
