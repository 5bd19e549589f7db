//! `account add`: finds the servers of an address, tests them, and keeps the account with its password.

use mailclient::account::discovery::{Discovery, Suggestion, SystemNetwork, discover};
use mailclient::account::{
    Account, AccountError, AccountForm, AccountSettings, AccountState, AuthMode, Identity, OAuthProvider,
    SecretField, ServerForm, ServerSettings,
};
use mailclient::diagnosis::Stage;
use mailclient::endpoint::{Protocol, TlsMode};
use proto_mail::{Credentials, Secret};
use serde_json::{Value, json};

use super::arguments::AddArgs;
use super::connect::read_password;
use super::key_file::keys_or_new;
use super::test::test_endpoint;
use crate::account_access::AccountAccess;
use crate::command_error::{CommandError, ExitCode};
use crate::compose::Mailbox;
use crate::endpoint::Endpoint;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Runs the command.
pub(super) fn run(arguments: &AddArgs) -> Result<(), CommandError> {
    let output = Output::from(arguments.output);
    let directory = arguments.location.directory()?;
    let mut form = form(arguments)?;
    let is_given = form.imap.is_some() || form.smtp.is_some();
    let (name, _) = check_given(&form)?;
    let keys = keys_or_new(&arguments.location.key, arguments.create_key, output)?;
    let access = AccountAccess::create(&directory, keys)?;
    access.check_key()?;
    if access.accounts.get(&name).is_ok() {
        return Err(AccountError::Exists(name).into());
    }
    Interrupt::install()?;
    let mut report = Vec::new();
    if !is_given {
        find_servers(arguments, &mut form, output, &mut report)?;
    }
    let (name, settings) = form.check().map_err(AccountError::Invalid)?;
    let password = match settings.auth_mode {
        AuthMode::Password => {
            let user = settings.imap.as_ref().or(settings.smtp.as_ref()).map(|server| server.user.clone());
            Some(read_password(&user.unwrap_or_default(), arguments.password_stdin, &arguments.connection)?)
        }
        _ => None,
    };
    let servers = match arguments.no_test {
        true => Vec::new(),
        false => test(arguments, &settings, password.as_ref(), output)?,
    };
    let account = keep(&access, &name, &settings, password.as_ref(), !arguments.no_test)?;
    output.json(&json!({ "account": account, "suggestions": report, "servers": servers }));
    output.line(format!("added {}", account.name));
    if settings.auth_mode.is_oauth() {
        output.hint(format!("connect it now: mailwire account connect {}", account.name));
    }
    Ok(())
}

/// Returns what the options say, without the servers that have to be found.
fn form(arguments: &AddArgs) -> Result<AccountForm, CommandError> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let server = |host: &Option<String>, port: &Option<String>, security: &Option<String>| {
        host.as_ref().map(|host| ServerForm {
            host: host.clone(),
            port: text(port),
            security: text(security),
            user: text(&arguments.user),
        })
    };
    let identity = |given: &String| {
        let mailbox = Mailbox::parse(given).map_err(|why| {
            CommandError::new(ExitCode::Data, format!("--identity {given:?}: {why}"))
                .reason("account_invalid")
        })?;
        Ok(Identity { name: mailbox.name.unwrap_or_default(), address: mailbox.address })
    };
    let mode = AuthMode::from(arguments.mode);
    let provider = (mode == AuthMode::OauthCustom).then(|| OAuthProvider {
        authorization_endpoint: text(&arguments.oauth_authorization_endpoint),
        token_endpoint: text(&arguments.oauth_token_endpoint),
        device_authorization_endpoint: arguments.oauth_device_authorization_endpoint.clone(),
        client_id: text(&arguments.oauth_client_id),
        scopes: arguments.oauth_scope.clone(),
    });
    Ok(AccountForm {
        name: arguments.name.clone(),
        address: arguments.address.clone(),
        auth_mode: mode.name().to_owned(),
        imap: server(&arguments.imap_host, &arguments.imap_port, &arguments.imap_security),
        smtp: server(&arguments.smtp_host, &arguments.smtp_port, &arguments.smtp_security),
        identities: arguments.identity.iter().map(identity).collect::<Result<_, CommandError>>()?,
        oauth: provider,
    })
}

/// Checks all fields that are given. Servers that have to be found are not among them.
fn check_given(form: &AccountForm) -> Result<(String, AccountSettings), CommandError> {
    let mut given = form.clone();
    if given.imap.is_none() && given.smtp.is_none() {
        given.imap = Some(ServerForm { host: "localhost".to_owned(), ..ServerForm::default() });
    }
    Ok(given.check().map_err(AccountError::Invalid)?)
}

/// Finds the servers of the address, and puts the first of each protocol that passes the test into the form.
fn find_servers(
    arguments: &AddArgs,
    form: &mut AccountForm,
    output: Output,
    report: &mut Vec<Value>,
) -> Result<(), CommandError> {
    let found = discover(form.address.trim(), &SystemNetwork::new());
    for miss in &found.misses {
        output.hint(format!("{}: {}", miss.source, miss.why));
    }
    let imap = choose(arguments, &found, Protocol::Imap, output, report)?;
    let smtp = choose(arguments, &found, Protocol::Smtp, output, report)?;
    if imap.is_none() && smtp.is_none() {
        let what = "no server of this address was found that uses TLS and passes the test";
        return Err(CommandError::new(ExitCode::Unavailable, what)
            .reason("server_not_found")
            .advise("name the servers with --imap-host and --smtp-host"));
    }
    for (server, option) in [(&imap, "--imap-host"), (&smtp, "--smtp-host")] {
        if server.is_none() {
            output.hint(format!("the account is kept without this server; name it with {option} instead"));
        }
    }
    let server = |server: ServerSettings| ServerForm {
        host: server.host,
        port: server.port.to_string(),
        security: if server.tls == TlsMode::Implicit { "tls" } else { "starttls" }.to_owned(),
        user: arguments.user.clone().unwrap_or(server.user),
    };
    (form.imap, form.smtp) = (imap.map(server), smtp.map(server));
    Ok(())
}

/// Returns the first suggestion for a protocol whose server passes the test.
fn choose(
    arguments: &AddArgs,
    found: &Discovery,
    protocol: Protocol,
    output: Output,
    report: &mut Vec<Value>,
) -> Result<Option<ServerSettings>, CommandError> {
    for suggestion in found.of(protocol) {
        let url = suggestion.server.url(protocol);
        output.line(format!("{url} (from {})", suggestion.source));
        let outcome = try_suggestion(arguments, suggestion, output)?;
        report.push(json!({
            "url": url.to_string(),
            "source": suggestion.source,
            "ok": outcome.is_none(),
            "error": outcome.as_ref().map(crate::output::describe),
        }));
        match outcome {
            None => {
                warn_about_mode(arguments, suggestion, output);
                return Ok(Some(suggestion.server.clone()));
            }
            Some(failure) => output.hint(format!("not used: {}", failure.what)),
        }
    }
    Ok(None)
}

/// Tests the server of a suggestion, without logging in. Returns why it cannot be used.
fn try_suggestion(
    arguments: &AddArgs,
    suggestion: &Suggestion,
    output: Output,
) -> Result<Option<CommandError>, CommandError> {
    let host = &suggestion.server.host;
    if !suggestion.is_authenticated {
        let what =
            format!("{host} is outside the domain of the address, and DNS does not prove that it is right");
        return Ok(Some(CommandError::new(ExitCode::Refused, what).reason("server_not_authenticated")));
    }
    if arguments.no_test {
        return Ok(None);
    }
    let endpoint = Endpoint::new(&suggestion.server.url(suggestion.protocol), &arguments.connection)?;
    require_tls(&endpoint)?;
    Ok(test_endpoint(&endpoint, None, Stage::Capabilities, output).1)
}

fn warn_about_mode(arguments: &AddArgs, suggestion: &Suggestion, output: Output) {
    let mode = AuthMode::from(arguments.mode);
    let Some(preferred) = suggestion.auth_modes.first() else { return };
    if !suggestion.auth_modes.contains(&mode) {
        output.hint(format!("{} accepts no {mode}: use --mode {preferred}", suggestion.source));
    } else if *preferred != mode {
        output
            .hint(format!("with {mode}, this provider needs an app password; --mode {preferred} needs none"));
    }
}

fn require_tls(endpoint: &Endpoint) -> Result<(), CommandError> {
    match endpoint.options.danger_cleartext {
        true => Err(CommandError::new(ExitCode::Usage, "an account always uses TLS")
            .advise("remove --danger-cleartext")),
        false => Ok(()),
    }
}

/// Tests the servers: with the password up to the folders, without one up to the capabilities.
fn test(
    arguments: &AddArgs,
    settings: &AccountSettings,
    password: Option<&Secret<Vec<u8>>>,
    output: Output,
) -> Result<Vec<Value>, CommandError> {
    let mut results = Vec::new();
    for protocol in [Protocol::Imap, Protocol::Smtp] {
        let Ok(url) = settings.url(protocol) else { continue };
        let endpoint = Endpoint::new(&url, &arguments.connection)?;
        require_tls(&endpoint)?;
        let user = url.user.clone().unwrap_or_default();
        let credentials = password.map(|password| Credentials::password(user, password.expose().as_slice()));
        let last = if credentials.is_some() { Stage::Folders } else { Stage::Capabilities };
        let (result, failure) = test_endpoint(&endpoint, credentials.as_ref(), last, output);
        if let Some(failure) = failure {
            return Err(failure.append("; the account was not kept"));
        }
        results.push(result);
    }
    Ok(results)
}

/// Stores the account with its password: both or neither.
fn keep(
    access: &AccountAccess,
    name: &str,
    settings: &AccountSettings,
    password: Option<&Secret<Vec<u8>>>,
    is_tested: bool,
) -> Result<Account, CommandError> {
    let accounts = &access.accounts;
    let id = accounts.add(name, settings)?;
    if let Some(password) = password {
        if let Err(error) = accounts.put_secrets(id, &[(SecretField::Password, Some(password))]) {
            let _ = accounts.remove(id);
            return Err(error.into());
        }
        if is_tested {
            accounts.set_state(id, AccountState::Connected)?;
        }
    }
    Ok(accounts.get(name)?)
}
