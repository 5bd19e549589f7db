//! The endpoint of a command: what the options and the configuration say about one server and its user.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use io_mio::{Connector, Fingerprint, StageReport, Target};
use mailclient::account::Account;
use mailclient::blocking;
use mailclient::endpoint::{ClientId, CredentialSource, Encryption, Protocol, TlsMode, Trust, Url};
use mailclient::{imap, smtp};
use proto_mail::{Credentials, Mechanism};

use crate::account_login::AccountLogin;
use crate::command_error::{CommandError, ExitCode};
use crate::config;
use crate::credentials::CredentialSource as SecretSource;
use crate::options::ConnectionOptions;
use crate::trace::Tracing;

/// One server with the options to connect to it.
pub(crate) struct Endpoint {
    pub(crate) url: Url,
    pub(crate) options: ConnectionOptions,
    /// What the library needs.
    pub(crate) inner: mailclient::Endpoint,
    /// The credentials of the account that it belongs to.
    account: Option<AccountLogin>,
    /// Whether a session has used the token that was read at the start.
    has_used_token: AtomicBool,
}

impl Endpoint {
    /// Reads the configuration, the certificates and the pin. Does not connect.
    pub(crate) fn new(url: &Url, given: &ConnectionOptions) -> Result<Self, CommandError> {
        let options = config::complete(given.clone(), &url.host)?;
        let mut inner = mailclient::Endpoint::new(url.clone(), trust(&options)?.tls_config()?);
        if let Some(trace) = Tracing::from_options(&options.trace)? {
            inner = inner.trace(move || trace.begin());
        }
        if let Some(names) = options.mechanism.as_deref() {
            inner = inner.mechanisms(parse_mechanisms(names)?);
        }
        if let Some(seconds) = options.timeout {
            inner = inner.timeout(Duration::from_secs(seconds));
        }
        if let Some(name) = &options.helo {
            inner = inner.helo(name.clone());
        }
        if !options.no_id {
            let (name, version) = (env!("CARGO_PKG_NAME").into(), env!("CARGO_PKG_VERSION").into());
            inner = inner.client_id(ClientId::Send { name, version });
        }
        // A contradiction is reported by `is_cleartext`, when the command connects.
        if options.danger_cleartext && url.tls == TlsMode::StartTls {
            inner = inner.encryption(if options.danger_cleartext_login {
                Encryption::DangerCleartextLogin
            } else {
                Encryption::DangerCleartext
            })?;
        }
        Ok(Self { url: url.clone(), options, inner, account: None, has_used_token: AtomicBool::new(false) })
    }

    /// Reads the configuration for an account, which logs in with its own secret and always uses TLS.
    pub(crate) fn of_account(
        account: &Account,
        protocol: Protocol,
        login: AccountLogin,
        given: &ConnectionOptions,
    ) -> Result<Self, CommandError> {
        if given.danger_cleartext {
            return Err(CommandError::new(ExitCode::Usage, "an account always uses TLS")
                .advise("remove --danger-cleartext, or use a URL"));
        }
        let endpoint = Self::new(&account.settings.url(protocol)?, given)?;
        Ok(Self { account: Some(login), ..endpoint })
    }

    /// Returns the name of the account that it belongs to.
    pub(crate) fn account_name(&self) -> Option<&str> {
        self.account.as_ref().map(AccountLogin::account_name)
    }

    /// Returns a connector that reports each stage to `observer`.
    pub(crate) fn connector(&self, observer: impl Fn(&StageReport) + Send + Sync + 'static) -> Connector {
        blocking::connector(&self.inner, observer)
    }

    /// Returns the SMTP client configuration, with the host name for EHLO if one was given.
    pub(crate) fn smtp_config(&self) -> proto_smtp::Config {
        self.inner.smtp_config()
    }

    /// Returns the host, the port and the TLS mode.
    pub(crate) fn target(&self) -> Target {
        self.inner.target()
    }

    /// Reads the user's credentials. Returns `None` if the URL names no user.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>, CommandError> {
        if let Some(account) = &self.account {
            return Ok(Some(account.credentials()?));
        }
        let source = SecretSource {
            password_command: self.options.password_command.as_deref(),
            token_command: self.options.token_command.as_deref(),
            timeout: self.options.secret_command_timeout.map(Duration::from_secs),
        };
        self.url.user.as_deref().map(|user| source.credentials(user)).transpose()
    }

    /// Returns the source of the credentials of each session, which begins with those that were read at the start.
    pub(crate) const fn source<'e>(&'e self, given: &'e Credentials) -> SessionCredentials<'e> {
        SessionCredentials { endpoint: self, given }
    }

    /// Reads a new token from `--token-command`. Returns `None` without that option.
    fn renewed_token(&self) -> Result<Option<Credentials>, CommandError> {
        if self.options.token_command.is_some() { self.credentials() } else { Ok(None) }
    }

    /// Returns whether to connect without TLS: only with `--danger-cleartext`, and only on a STARTTLS port.
    pub(crate) fn is_cleartext(&self) -> Result<bool, CommandError> {
        if self.options.danger_cleartext && self.url.tls == TlsMode::Implicit {
            return Err(CommandError::new(
                ExitCode::Usage,
                "--danger-cleartext cannot be used with implicit TLS",
            )
            .advise("use imap:// or smtp://"));
        }
        Ok(self.options.danger_cleartext)
    }

    /// Connects to the IMAP server, and runs the task.
    pub(crate) fn with_imap_session<T: imap::SessionTask<Error: From<CommandError>>>(
        &self,
        connector: &Connector,
        task: T,
    ) -> Result<T::Output, T::Error> {
        self.is_cleartext()?;
        imap::with_session(&self.inner, connector, task)
    }

    /// Connects to the SMTP server, runs the task and quits.
    pub(crate) fn with_smtp_session<T: smtp::SessionTask<Error: From<CommandError>>>(
        &self,
        connector: &Connector,
        config: proto_smtp::Config,
        task: T,
    ) -> Result<T::Output, T::Error> {
        self.is_cleartext()?;
        smtp::with_session(&self.inner, connector, config, task)
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The credentials of each session. A token is read from `--token-command` again for each session but the first, since it
/// may have expired.
pub(crate) struct SessionCredentials<'e> {
    endpoint: &'e Endpoint,
    given: &'e Credentials,
}

impl CredentialSource for SessionCredentials<'_> {
    fn credentials(&self) -> Result<Credentials, mailclient::Error> {
        let endpoint = self.endpoint;
        if let Some(account) = &endpoint.account {
            return account.credentials();
        }
        if endpoint.options.token_command.is_some() && endpoint.has_used_token.swap(true, Ordering::SeqCst) {
            return Ok(endpoint.renewed_token()?.unwrap_or_else(|| self.given.duplicate()));
        }
        Ok(self.given.duplicate())
    }

    fn renewed_token(&self) -> Result<Option<Credentials>, mailclient::Error> {
        match &self.endpoint.account {
            Some(account) => account.renewed_token(),
            None => Ok(self.endpoint.renewed_token()?),
        }
    }
}

/// Returns the certificates that the options trust.
fn trust(options: &ConnectionOptions) -> Result<Trust, CommandError> {
    Ok(if options.danger_accept_any_certificate {
        Trust::DangerAny
    } else if let Some(pin) = &options.pin {
        let pin: Fingerprint = pin.parse().map_err(|_| {
            CommandError::new(ExitCode::Usage, "--pin is not a fingerprint")
                .advise("use sha256: and 64 hexadecimal digits")
        })?;
        Trust::Pinned(pin)
    } else if let Some(ca) = &options.ca {
        Trust::Authorities(vec![ca.clone()])
    } else {
        Trust::System
    })
}

/// Parses the value of `--mechanism`.
fn parse_mechanisms(names: &str) -> Result<Vec<Mechanism>, CommandError> {
    let known = |name: &str| {
        Mechanism::from_name(name.trim().as_bytes()).ok_or_else(|| {
            let known: Vec<_> = Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect();
            CommandError::new(ExitCode::Usage, format!("--mechanism: unknown mechanism {name:?}"))
                .advise(format!("use one of {}", known.join(", ")))
        })
    };
    names.split(',').map(known).collect()
}
