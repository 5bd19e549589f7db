//! The consent of a user by OAuth 2.0: in a browser on this machine, or on another device.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use mailclient::account::{Account, KEY_VARIABLE, SecretField};
use mailclient::oauth::{
    DeviceAuthorization, DevicePoll, HttpsClient, LoopbackReceiver, OAuthError, OAuthErrorCode,
    PendingAuthorizations, Provider, Subject, TokenSet, exchange_code,
};
use proto_mail::Secret;
use serde_json::json;

use super::arguments::ConnectArgs;
use crate::account_access::AccountAccess;
use crate::account_login::access_tokens;
use crate::command_error::CommandError;
use crate::credentials::NEXT_KEY_VARIABLE;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// The environment variable with the client secret of a provider of the user's own.
const CLIENT_SECRET_VARIABLE: &str = "MAILWIRE_OAUTH_CLIENT_SECRET";

/// The environment variables that the browser does not get.
const SECRET_VARIABLES: [&str; 6] = [
    KEY_VARIABLE,
    NEXT_KEY_VARIABLE,
    CLIENT_SECRET_VARIABLE,
    "GOOGLE_CLIENT_SECRET",
    "MICROSOFT_CLIENT_SECRET",
    crate::credentials::VARIABLE,
];

/// How long the user may take.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Gets tokens by a consent of the user, and keeps them.
///
/// # Errors
/// There is no client registration, the user refused, or the provider failed.
pub(super) fn get_tokens(
    access: &AccountAccess,
    account: &Account,
    arguments: &ConnectArgs,
    output: Output,
) -> Result<(), CommandError> {
    keep_client_secret(access, account)?;
    let failed = |error: OAuthError| CommandError::from(mailclient::Error::from(error));
    let provider = Provider::of_account(&access.accounts, account).map_err(failed)?;
    let http = HttpsClient::new().map_err(failed)?;
    let interrupt = Interrupt::install()?;
    let tokens = {
        let _graceful = interrupt.graceful();
        match arguments.device {
            true => on_another_device(&provider, &http, account, &interrupt, output),
            false => in_a_browser(&provider, &http, account, arguments, &interrupt, output),
        }
    };
    let tokens = tokens.map_err(|error| match error.code() {
        OAuthErrorCode::Stopped => interrupt.check().err().unwrap_or_else(|| failed(error)),
        _ => failed(error),
    })?;
    let kept = access_tokens(&access.accounts, &access.directory)?;
    kept.connected(&account.name, &tokens).map_err(failed)
}

/// Keeps the client secret of a provider of the user's own, if the environment has one.
fn keep_client_secret(access: &AccountAccess, account: &Account) -> Result<(), CommandError> {
    if account.settings.oauth.is_none() {
        return Ok(());
    }
    let Some(secret) = std::env::var_os(CLIENT_SECRET_VARIABLE).filter(|secret| !secret.is_empty()) else {
        return Ok(());
    };
    let secret = Secret::new(secret.into_encoded_bytes());
    access.accounts.put_secrets(account.id, &[(SecretField::ClientSecret, Some(&secret))])?;
    Ok(())
}

fn in_a_browser(
    provider: &Provider,
    http: &HttpsClient,
    account: &Account,
    arguments: &ConnectArgs,
    interrupt: &Interrupt,
    output: Output,
) -> Result<TokenSet, OAuthError> {
    let receiver = LoopbackReceiver::bind(provider.loopback_host())?;
    let (pending, subject) = (PendingAuthorizations::default(), Subject::account(&account.name));
    let address = Some(account.settings.address.as_str());
    let url = pending.begin(provider, &subject, receiver.redirect_uri(), address, Instant::now())?;
    output.json(&json!({ "account": account.name, "authorization_url": url }));
    output.line("open this address in a browser on this machine, and allow access to mail:");
    output.line(&url);
    if arguments.open_browser
        && let Err(error) = open_browser(&url)
    {
        output.hint(format!("the browser could not be started: {error}"));
    }
    let granted = receiver.receive(
        TIMEOUT,
        || interrupt.is_requested(),
        |callback| pending.take(provider, callback, &subject, Instant::now()),
    )?;
    exchange_code(provider, http, &granted, Timestamp::now())
}

fn on_another_device(
    provider: &Provider,
    http: &HttpsClient,
    account: &Account,
    interrupt: &Interrupt,
    output: Output,
) -> Result<TokenSet, OAuthError> {
    let mut device = DeviceAuthorization::begin(provider, http, Instant::now())?;
    output.json(&json!({
        "account": account.name,
        "verification_uri": device.verification_uri(),
        "verification_uri_complete": device.verification_uri_complete(),
        "user_code": device.user_code(),
    }));
    output.line(format!(
        "open {} on any device, and enter the code {}",
        device.verification_uri(),
        device.user_code()
    ));
    loop {
        match device.poll(provider, http, Instant::now(), Timestamp::now())? {
            DevicePoll::Tokens(tokens) => return Ok(tokens),
            DevicePoll::Wait(wait) if interrupt.sleep(wait) => {}
            DevicePoll::Wait(_) => {
                return Err(OAuthError::new(OAuthErrorCode::Stopped, "the wait for the consent was stopped"));
            }
        }
    }
}

/// Starts the browser of the system. It gets no secret of this command.
fn open_browser(url: &str) -> std::io::Result<()> {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for variable in SECRET_VARIABLES {
        command.env_remove(variable);
    }
    // It ends by itself; the command does not wait for it.
    command.spawn().map(drop)
}
