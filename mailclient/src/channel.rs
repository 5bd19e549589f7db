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

    fn start_smtp_login(
        client: &mut proto_smtp::client::Client<Self>,
        credentials: Credentials,
        mechanism: Mechanism,
        tx: &mut SendBuffer,
    ) -> Result<(), proto_mail::Error> {
        client.danger_cleartext_authenticate(mechanism, credentials, tx)
    }
}
