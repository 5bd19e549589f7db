//! The server's output at startup: one line per fact, whose first word names its kind. It is read by people and by
//! programs.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use mailserver::Service;
use serde_json::json;

use super::accounts::GeneratedAccount;
use crate::output::Output;

/// What the server reports at startup.
pub(super) struct StartupReport<'a> {
    pub(super) listening: &'a [(Service, SocketAddr)],
    /// The scheme and the address of the HTTP server.
    pub(super) http: Option<(&'static str, SocketAddr)>,
    pub(super) authority: Option<&'a Path>,
    pub(super) generated_account: Option<&'a GeneratedAccount>,
    /// Warnings about options that weaken the server's protection.
    pub(super) warnings: &'a [String],
    /// The account used in the examples.
    pub(super) user: &'a str,
}

impl StartupReport<'_> {
    pub(super) fn print(&self, output: Output) {
        let services = self.listening.iter().map(|(service, address)| (service.name(), *address));
        for (name, address) in services.chain(self.http) {
            output.line(format!("listening {name} {address}"));
            output.json(&json!({ "listening": name, "address": address.to_string() }));
        }
        if let Some(authority) = self.authority {
            output.line(format!("ca {}", authority.display()));
            output.json(&json!({ "ca": authority.display().to_string() }));
        }
        if let Some(account) = self.generated_account {
            // The only place where a password is shown. It was generated, and it is not shown again.
            output.line(format!("account {} {}", account.name, account.password.expose()));
            output.json(&json!({ "account": account.name, "password": account.password.expose() }));
        }
        for warning in self.warnings {
            output.line(format!("warning {warning}"));
            output.json(&json!({ "warning": warning }));
        }
        for example in self.examples() {
            output.line(format!("  {example}"));
        }
        output.line("ready");
        output.json(&json!({ "ready": true }));
    }

    /// Returns example commands for a shell. Both programs prompt for the password.
    fn examples(&self) -> Vec<String> {
        let port = |services: [Service; 2]| {
            services.into_iter().find_map(|wanted| {
                self.listening
                    .iter()
                    .find(|(service, _)| *service == wanted)
                    .map(|(_, address)| (wanted, *address))
            })
        };
        let ca = self.authority.map(|path| quoted(&path.display().to_string()));
        let with_ca = |option: &str| ca.as_ref().map(|ca| format!(" {option} {ca}")).unwrap_or_default();
        let user = quoted(self.user);
        let mut examples = Vec::new();
        if let Some((service, address)) = port([Service::Smtps, Service::Smtp]) {
            let (scheme, place, required) = parts(service, address);
            examples.push(format!(
                "curl{}{required} --user {user} --mail-from {user}@localhost --mail-rcpt {user}@localhost \
                 --upload-file message.eml {scheme}://{place}/localhost",
                with_ca("--cacert"),
            ));
            examples.push(format!(
                "mailwire send{} --from {user}@localhost --to {user}@localhost --subject Hello --text Hello \
                 {scheme}://{user}@{place}",
                with_ca("--ca"),
            ));
        }
        if let Some((service, address)) = port([Service::Imaps, Service::Imap]) {
            let (scheme, place, required) = parts(service, address);
            examples.push(format!(
                "curl{}{required} --user {user} '{scheme}://{place}/INBOX;MAILINDEX=*'",
                with_ca("--cacert"),
            ));
            examples.push(format!("mailwire check{} {scheme}://{user}@{place}", with_ca("--ca")));
        }
        examples
    }
}

/// Returns the scheme, the host as the certificate names it with the port, and curl's option that requires TLS.
fn parts(service: Service, address: SocketAddr) -> (&'static str, String, &'static str) {
    let host = match address.ip() {
        ip if ip.is_loopback() || ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let required = match service {
        Service::Smtp | Service::Imap => " --ssl-reqd",
        Service::Smtps | Service::Imaps | Service::Lmtp => "",
    };
    (service.name(), format!("{host}:{}", address.port()), required)
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@:".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_contain_no_password_and_require_tls() {
        let listening = [
            (Service::Smtp, "127.0.0.1:1587".parse().unwrap()),
            (Service::Imaps, "0.0.0.0:1993".parse().unwrap()),
        ];
        let generated_account = GeneratedAccount { name: "mailwire", password: "hunter2".to_owned().into() };
        let report = StartupReport {
            listening: &listening,
            http: None,
            authority: Some(Path::new("/tmp/a dir/ca.pem")),
            generated_account: Some(&generated_account),
            warnings: &[],
            user: "mailwire",
        };
        let examples = report.examples();
        assert_eq!(examples.len(), 4);
        assert!(
            examples.iter().all(|line| !line.contains("hunter2") && line.contains("'/tmp/a dir/ca.pem'"))
        );
        assert!(examples[0].contains("--ssl-reqd") && examples[2].contains("imaps://localhost:1993/"));
    }

    #[test]
    fn quotes_a_word_for_a_shell() {
        assert_eq!(quoted("plain-1.x"), "plain-1.x");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
