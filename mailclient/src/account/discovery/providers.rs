//! The servers of well-known providers.

use super::suggestion::{Source, Suggestion};
use crate::account::settings::{AuthMode, ServerSettings};
use crate::endpoint::{Protocol, TlsMode};

/// A provider: its name, its domains, its servers and the modes that it accepts.
struct Provider {
    name: &'static str,
    domains: &'static [&'static str],
    imap: &'static str,
    smtp: Submission,
    auth_modes: &'static [AuthMode],
}

/// A submission server: on port 465 with TLS, or on port 587 with STARTTLS.
enum Submission {
    Tls(&'static str),
    StartTls(&'static str),
}

use Submission::{StartTls, Tls};

const PASSWORD: &[AuthMode] = &[AuthMode::Password];

const PROVIDERS: &[Provider] = &[
    Provider {
        name: "Gmail",
        domains: &["gmail.com", "googlemail.com"],
        imap: "imap.gmail.com",
        smtp: Tls("smtp.gmail.com"),
        auth_modes: &[AuthMode::OauthGoogle, AuthMode::Password],
    },
    Provider {
        name: "Outlook",
        domains: &[
            "outlook.com",
            "hotmail.com",
            "live.com",
            "msn.com",
            "outlook.de",
            "hotmail.co.uk",
            "outlook.fr",
        ],
        imap: "outlook.office365.com",
        smtp: StartTls("smtp-mail.outlook.com"),
        auth_modes: &[AuthMode::OauthMicrosoft],
    },
    Provider {
        name: "Yahoo",
        domains: &[
            "yahoo.com",
            "yahoo.co.uk",
            "yahoo.de",
            "yahoo.fr",
            "yahoo.it",
            "ymail.com",
            "rocketmail.com",
        ],
        imap: "imap.mail.yahoo.com",
        smtp: Tls("smtp.mail.yahoo.com"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "AOL",
        domains: &["aol.com"],
        imap: "imap.aol.com",
        smtp: Tls("smtp.aol.com"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "iCloud",
        domains: &["icloud.com", "me.com", "mac.com"],
        imap: "imap.mail.me.com",
        smtp: StartTls("smtp.mail.me.com"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "Fastmail",
        domains: &["fastmail.com", "fastmail.fm"],
        imap: "imap.fastmail.com",
        smtp: Tls("smtp.fastmail.com"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "GMX",
        domains: &["gmx.de", "gmx.net", "gmx.at", "gmx.ch"],
        imap: "imap.gmx.net",
        smtp: Tls("mail.gmx.net"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "GMX",
        domains: &["gmx.com", "gmx.us", "gmx.co.uk"],
        imap: "imap.gmx.com",
        smtp: Tls("mail.gmx.com"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "WEB.DE",
        domains: &["web.de"],
        imap: "imap.web.de",
        smtp: StartTls("smtp.web.de"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "Telekom",
        domains: &["t-online.de", "magenta.de"],
        imap: "secureimap.t-online.de",
        smtp: Tls("securesmtp.t-online.de"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "Posteo",
        domains: &["posteo.de", "posteo.net", "posteo.org", "posteo.at", "posteo.ch"],
        imap: "posteo.de",
        smtp: Tls("posteo.de"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "mailbox.org",
        domains: &["mailbox.org"],
        imap: "imap.mailbox.org",
        smtp: Tls("smtp.mailbox.org"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "Zoho",
        domains: &["zoho.com", "zohomail.com"],
        imap: "imap.zoho.com",
        smtp: Tls("smtp.zoho.com"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "Mail.ru",
        domains: &["mail.ru", "inbox.ru", "list.ru", "bk.ru"],
        imap: "imap.mail.ru",
        smtp: Tls("smtp.mail.ru"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "QQ Mail",
        domains: &["qq.com", "foxmail.com"],
        imap: "imap.qq.com",
        smtp: Tls("smtp.qq.com"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "NetEase",
        domains: &["163.com"],
        imap: "imap.163.com",
        smtp: Tls("smtp.163.com"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "La Poste",
        domains: &["laposte.net"],
        imap: "imap.laposte.net",
        smtp: Tls("smtp.laposte.net"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "Seznam",
        domains: &["seznam.cz", "email.cz"],
        imap: "imap.seznam.cz",
        smtp: Tls("smtp.seznam.cz"),
        auth_modes: PASSWORD,
    },
    Provider {
        name: "Runbox",
        domains: &["runbox.com"],
        imap: "mail.runbox.com",
        smtp: Tls("mail.runbox.com"),
        auth_modes: PASSWORD,
    },
];

/// Returns the servers of a well-known provider, or `None` if the address is of no such provider.
#[must_use]
pub fn provider(address: &str) -> Option<Vec<Suggestion>> {
    let (_, domain) = address.rsplit_once('@')?;
    let is_here = |one: &&Provider| one.domains.iter().any(|known| known.eq_ignore_ascii_case(domain));
    let provider = PROVIDERS.iter().find(is_here)?;
    let suggestion = |protocol, host: &str, port, tls| Suggestion {
        protocol,
        server: ServerSettings { host: host.to_owned(), port, tls, user: address.to_owned() },
        auth_modes: provider.auth_modes.to_vec(),
        source: Source::Provider(provider.name),
        is_authenticated: true,
    };
    let smtp = match provider.smtp {
        Tls(host) => suggestion(Protocol::Smtp, host, 465, TlsMode::Implicit),
        StartTls(host) => suggestion(Protocol::Smtp, host, 587, TlsMode::StartTls),
    };
    Some(vec![suggestion(Protocol::Imap, provider.imap, 993, TlsMode::Implicit), smtp])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        let mut domains: Vec<&str> = PROVIDERS.iter().flat_map(|one| one.domains.iter().copied()).collect();
        let count = domains.len();
        domains.sort_unstable();
        domains.dedup();
        assert_eq!(domains.len(), count, "a domain is there twice");
        for domain in domains {
            let found = provider(&format!("ann@{domain}")).unwrap();
            assert!(domain == domain.to_ascii_lowercase() && found.len() == 2, "{domain}");
            assert!(found.iter().all(|one| crate::account::address::check_host(&one.server.host).is_ok()));
        }
        assert!(provider("ann@example.org").is_none() && provider("ann").is_none());
    }
}
