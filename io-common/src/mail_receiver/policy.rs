//! Who may send mail to a program, to whom, and how much.

use std::{fmt, sync::Arc};

use proto_smtp::{Config, types::Extension};

use crate::{
    deadlines::Deadlines,
    protocol::SmtpServer,
    server::{ListenerSettings, ListenerTls},
};

/// The bytes of messages that may be held at a time.
const MEMORY: usize = 256 << 20;

pub(super) type PasswordCheck = dyn Fn(&str, &[u8]) -> bool + Send + Sync;
pub(super) type SenderCheck = dyn Fn(Option<&str>, &str) -> bool + Send + Sync;
pub(super) type RecipientCheck = dyn Fn(&str) -> bool + Send + Sync;

/// Who may send mail to a program, to whom, and how much. Choose the role of the server by name:
/// [`submission`](Self::submission), [`mail_exchanger`](Self::mail_exchanger) or [`lmtp`](Self::lmtp).
#[derive(Clone)]
pub struct MailPolicy {
    config: Config,
    deadlines: Deadlines,
    pub(super) memory: usize,
    pub(super) password: Option<Arc<PasswordCheck>>,
    pub(super) sender: Option<Arc<SenderCheck>>,
    pub(super) recipient: Option<Arc<RecipientCheck>>,
}

impl MailPolicy {
    /// A submission server (RFC 6409): takes mail under TLS only, from users who have logged in, to any recipient.
    ///
    /// `is_correct` gets the name and the password of a user (PLAIN or LOGIN), and should compare hashes. It runs on worker
    /// threads, and may take long.
    pub fn submission(is_correct: impl Fn(&str, &[u8]) -> bool + Send + Sync + 'static) -> Self {
        Self { password: Some(Arc::new(is_correct)), ..Self::new(Config::submission()) }
    }

    /// A mail exchanger, the server that the MX record of a domain names: takes mail from everyone, without login, for known
    /// recipients. The others are rejected (550).
    ///
    /// `is_known` gets the address of a recipient. It runs on the thread of the sessions, so it must not block.
    pub fn mail_exchanger(is_known: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { recipient: Some(Arc::new(is_known)), ..Self::new(Config::mail_exchanger()) }
    }

    /// An LMTP server (RFC 2033) for another program on this machine. As [`mail_exchanger`](Self::mail_exchanger) otherwise.
    /// Listen with [`ListenerTls::TrustedLocal`].
    pub fn lmtp(is_known: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { recipient: Some(Arc::new(is_known)), ..Self::new(Config::lmtp()) }
    }

    fn new(config: Config) -> Self {
        let deadlines = Deadlines::default();
        Self { config, deadlines, memory: MEMORY, password: None, sender: None, recipient: None }
    }

    /// Sets which senders are allowed. `is_allowed` gets the user who has logged in, and the reverse-path of MAIL (empty: the
    /// null reverse-path). Others are rejected (553). It runs on the thread of the sessions, so it must not block. Default:
    /// all.
    #[must_use]
    pub fn senders(self, is_allowed: impl Fn(Option<&str>, &str) -> bool + Send + Sync + 'static) -> Self {
        Self { sender: Some(Arc::new(is_allowed)), ..self }
    }

    /// Sets which recipients are known. `is_known` gets the address; others are rejected (550). It runs on the thread of the
    /// sessions, so it must not block.
    #[must_use]
    pub fn recipients(self, is_known: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { recipient: Some(Arc::new(is_known)), ..self }
    }

    /// Sets the largest message, in bytes. EHLO announces it; a message that is announced as larger is rejected at MAIL, and
    /// one that turns out to be larger after it was sent (552). Default: 64 MiB.
    #[must_use]
    pub fn max_message(self, bytes: u64) -> Self {
        Self { config: self.config.max_message(bytes), ..self }
    }

    /// Sets how many bytes of messages all sessions together may hold, from their first byte until the [`ReceivedMail`] is
    /// dropped. What goes beyond it is rejected for now (452). Default: 256 MiB.
    ///
    /// [`ReceivedMail`]: super::ReceivedMail
    #[must_use]
    pub fn max_memory(self, bytes: usize) -> Self {
        Self { memory: bytes, ..self }
    }

    /// Changes the settings of the machine: the host name, for example.
    #[must_use]
    pub fn config(self, change: impl FnOnce(Config) -> Config) -> Self {
        Self { config: change(self.config), ..self }
    }

    /// Replaces the time limits.
    #[must_use]
    pub fn deadlines(self, deadlines: Deadlines) -> Self {
        Self { deadlines, ..self }
    }

    /// Returns the settings of a listener. Without a certificate it does not offer STARTTLS.
    #[must_use]
    pub fn settings(&self, tls: ListenerTls) -> ListenerSettings<SmtpServer> {
        let mut config = self.config.clone();
        if matches!(tls, ListenerTls::None) {
            config.extensions = config.extensions.without(Extension::StartTls);
        }
        ListenerSettings::new(Arc::new(config), tls, self.deadlines.clone())
    }
}

impl fmt::Debug for MailPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailPolicy")
            .field("config", &self.config)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}
