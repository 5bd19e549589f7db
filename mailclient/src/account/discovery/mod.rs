//! Finds the servers of an address: in a table of providers, in the domain's autoconfig file, and in SRV records.
//!
//! A suggestion always uses TLS: one that is cleartext is dropped. The parsers are pure functions; what reads from the network
//! implements [`Network`].

mod autoconfig;
mod network;
mod providers;
mod srv;
mod suggestion;

pub use autoconfig::{AUTOCONFIG_LIMIT, autoconfig_urls, parse_autoconfig};
pub use network::{Network, SystemNetwork};
pub use providers::provider;
pub use srv::{SrvRecord, SrvService, suggest as suggest_from_srv};
pub use suggestion::{SUGGESTION_LIMIT, Source, Suggestion};

use crate::endpoint::Protocol;

/// A source that had no suggestion, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// The source.
    pub source: Source,
    /// Why it had none. Never holds the address.
    pub why: String,
}

/// What was found for an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The suggestions, the best first; at most [`SUGGESTION_LIMIT`].
    pub suggestions: Vec<Suggestion>,
    /// The sources that had none.
    pub misses: Vec<Miss>,
}

impl Discovery {
    /// Returns the suggestions for a protocol, the best first.
    pub fn of(&self, protocol: Protocol) -> impl Iterator<Item = &Suggestion> {
        self.suggestions.iter().filter(move |one| one.protocol == protocol)
    }

    fn add(&mut self, source: Source, found: Result<Vec<Suggestion>, String>) {
        match found {
            Ok(found) if found.is_empty() => {
                self.misses.push(Miss { source, why: "names no server with TLS".to_owned() });
            }
            Ok(found) => {
                let is_new = |one: &Suggestion| {
                    !self
                        .suggestions
                        .iter()
                        .any(|known| known.protocol == one.protocol && known.server == one.server)
                };
                let new: Vec<_> = found.into_iter().filter(is_new).collect();
                self.suggestions.extend(new);
                self.suggestions.truncate(SUGGESTION_LIMIT);
            }
            Err(why) => self.misses.push(Miss { source, why }),
        }
    }

    /// Returns whether both protocols have an authenticated suggestion.
    fn is_complete(&self) -> bool {
        let has = |protocol| self.of(protocol).any(|one| one.is_authenticated);
        has(Protocol::Imap) && has(Protocol::Smtp)
    }
}

/// Finds the servers of an address: first in the table, then by autoconfig, then in SRV records. Stops when both protocols
/// have a server. Blocks.
pub fn discover(address: &str, network: &dyn Network) -> Discovery {
    let mut discovery = Discovery::default();
    let Some((local, domain)) = address.rsplit_once('@') else { return discovery };
    let domain = domain.to_ascii_lowercase();
    let is_name = super::address::check_host(&domain).is_ok() && domain.parse::<std::net::IpAddr>().is_err();
    if local.is_empty() || !is_name {
        return discovery;
    }
    if let Some(found) = provider(address) {
        discovery.suggestions = found;
        return discovery;
    }
    for (url, shown) in autoconfig_urls(address) {
        let found =
            network.get(&url, AUTOCONFIG_LIMIT).and_then(|body| parse_autoconfig(&body, address, &shown));
        discovery.add(Source::Autoconfig(shown), found);
        if discovery.is_complete() {
            return discovery;
        }
    }
    for service in SrvService::ALL {
        let name = service.name(&domain);
        let found = network.srv(&name).map(|records| srv::suggest(service, &domain, address, records));
        discovery.add(Source::Srv(name), found);
    }
    discovery
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::AuthMode;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// A network of fixed answers.
    #[derive(Default)]
    struct Fixed {
        pages: BTreeMap<&'static str, &'static str>,
        records: BTreeMap<&'static str, Vec<SrvRecord>>,
        asked: RefCell<Vec<String>>,
    }

    impl Network for Fixed {
        fn get(&self, url: &str, _: usize) -> Result<Vec<u8>, String> {
            self.asked.borrow_mut().push(url.to_owned());
            let page = self.pages.get(url.split('?').next().unwrap_or_default());
            page.map(|page| page.as_bytes().to_vec()).ok_or_else(|| "404".to_owned())
        }

        fn srv(&self, name: &str) -> Result<Vec<SrvRecord>, String> {
            self.asked.borrow_mut().push(name.to_owned());
            Ok(self.records.get(name).cloned().unwrap_or_default())
        }
    }

    fn record(target: &str, port: u16) -> SrvRecord {
        SrvRecord { priority: 0, weight: 0, port, target: target.to_owned() }
    }

    fn urls(discovery: &Discovery) -> Vec<String> {
        discovery.suggestions.iter().map(|one| one.server.url(one.protocol).to_string()).collect()
    }

    const WELL_KNOWN: &str = "https://x.example/.well-known/autoconfig/mail/config-v1.1.xml";
    const IMAP_ONLY: &str =
        "<clientConfig><emailProvider><incomingServer type='imap'><hostname>in.y.example</hostname>
        <port>993</port><socketType>SSL</socketType></incomingServer></emailProvider></clientConfig>";

    #[test]
    fn a_known_provider_is_not_looked_up() {
        let network = Fixed::default();
        let found = discover("ann@GMAIL.com", &network);
        assert_eq!(urls(&found), ["imaps://imap.gmail.com:993", "smtps://smtp.gmail.com:465"]);
        assert_eq!(found.suggestions[0].auth_modes[0], AuthMode::OauthGoogle);
        assert_eq!(found.suggestions[0].source.to_string(), "the settings of Gmail");
        assert!(network.asked.borrow().is_empty());
    }

    #[test]
    fn srv_records_complete_what_autoconfig_lacks() {
        let network = Fixed {
            pages: BTreeMap::from([(WELL_KNOWN, IMAP_ONLY)]),
            records: BTreeMap::from([
                ("_submissions._tcp.x.example", vec![record("out.x.example.", 465)]),
                ("_imaps._tcp.x.example", vec![record("elsewhere.example.", 993)]),
                ("_submission._tcp.x.example", vec![record(".", 0)]),
            ]),
            ..Fixed::default()
        };
        let found = discover("ann@X.example", &network);
        let expected =
            ["imaps://in.y.example:993", "imaps://elsewhere.example:993", "smtps://out.x.example:465"];
        assert_eq!(urls(&found), expected);
        assert_eq!(
            found.suggestions.iter().map(|one| one.is_authenticated).collect::<Vec<_>>(),
            [true, false, true]
        );
        assert!(found.misses.iter().any(|miss| miss.why == "404"));
        let asked = network.asked.borrow();
        assert_eq!(
            asked[0],
            "https://autoconfig.x.example/mail/config-v1.1.xml?emailaddress=ann%40X.example"
        );
        assert!(
            asked.iter().filter(|asked| asked.contains("://")).all(|asked| asked.starts_with("https://"))
        );
        for shown in found.misses.iter().map(|miss| miss.source.to_string()) {
            assert!(!shown.contains("ann"), "{shown}");
        }
    }

    #[test]
    fn an_address_without_a_usable_domain_is_not_looked_up() {
        let network = Fixed::default();
        for address in
            ["ann", "@x.example", "ann@", "ann@x.example/evil?", "ann@bücher.example", "ann@[127.0.0.1]"]
        {
            assert_eq!(discover(address, &network), Discovery::default(), "{address}");
        }
        assert!(network.asked.borrow().is_empty());
    }
}
