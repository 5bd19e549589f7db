//! Imitates other IMAP servers, for tests of clients.
//!
//! | file | content |
//! |---|---|
//! | [`profile`] | what each server sends: greeting, ID, capabilities, defects |
//! | [`rewriter`] | finds the responses in what a session sends, and changes them |
//! | [`line_defects`] | the defects of responses other than FETCH |
//! | [`fetch_items`] | the items of a FETCH response |
//! | [`value`], [`value_defects`] | ENVELOPE and BODYSTRUCTURE as trees, and their defects |
//!
//! The state machine writes correct responses only. A [`Dialect`] changes them afterwards; without one, this module does
//! not run.

mod fetch_items;
mod line_defects;
mod profile;
mod rewriter;
mod value;
mod value_defects;

use std::fmt;
use std::str::FromStr;

use io_common::server::OutputFilterFactory;
use profile::{Behaviour, Profile};
use rewriter::Rewriter;

/// A server that is imitated: its greeting, its answer to ID, its capabilities as far as Mailwire has them, and the
/// defects of its responses that are publicly known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Coremail, as used by 163.com and 126.com.
    Coremail,
    /// Courier.
    Courier,
    /// David.fx.
    David,
    /// DavMail.
    DavMail,
    /// HCL Domino.
    Domino,
    /// Dovecot.
    Dovecot,
    /// Microsoft Exchange and Office 365.
    Exchange,
    /// Gmail.
    Gmail,
    /// iCloud.
    ICloud,
    /// mail.ru.
    MailRu,
    /// Migadu's proxy.
    Migadu,
    /// Proton Mail Bridge.
    ProtonBridge,
    /// QQ Mail.
    Qq,
    /// SmarterMail.
    SmarterMail,
    /// SurgeMail.
    SurgeMail,
    /// Yahoo.
    Yahoo,
    /// Yandex.
    Yandex,
    /// Zoho.
    Zoho,
}

impl Dialect {
    /// All dialects, by name.
    pub const ALL: [Self; 18] = [
        Self::Coremail,
        Self::Courier,
        Self::David,
        Self::DavMail,
        Self::Domino,
        Self::Dovecot,
        Self::Exchange,
        Self::Gmail,
        Self::ICloud,
        Self::MailRu,
        Self::Migadu,
        Self::ProtonBridge,
        Self::Qq,
        Self::SmarterMail,
        Self::SurgeMail,
        Self::Yahoo,
        Self::Yandex,
        Self::Zoho,
    ];

    /// Returns the name by which the command selects the dialect.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.profile().name
    }

    /// Returns how the server differs from a correct one: one sentence part for each defect.
    pub fn defects(self) -> impl Iterator<Item = &'static str> {
        let Profile { defects, behaviours, .. } = self.profile();
        defects.iter().map(|defect| defect.description()).chain(behaviours.iter().map(Behaviour::description))
    }

    /// Returns whether the server has this capability. Those that every server has are not asked for.
    pub(crate) fn has_capability(self, name: &str) -> bool {
        self.profile().has_capability(name)
    }

    pub(crate) fn requires_id(self) -> bool {
        self.profile().behaviours.contains(&Behaviour::RequiresId)
    }

    pub(crate) fn rejects_descending_sets(self) -> bool {
        self.profile().behaviours.contains(&Behaviour::RejectsDescendingSets)
    }

    fn profile(self) -> &'static Profile {
        match self {
            Self::Coremail => &profile::COREMAIL,
            Self::Courier => &profile::COURIER,
            Self::David => &profile::DAVID,
            Self::DavMail => &profile::DAVMAIL,
            Self::Domino => &profile::DOMINO,
            Self::Dovecot => &profile::DOVECOT,
            Self::Exchange => &profile::EXCHANGE,
            Self::Gmail => &profile::GMAIL,
            Self::ICloud => &profile::ICLOUD,
            Self::MailRu => &profile::MAIL_RU,
            Self::Migadu => &profile::MIGADU,
            Self::ProtonBridge => &profile::PROTON_BRIDGE,
            Self::Qq => &profile::QQ,
            Self::SmarterMail => &profile::SMARTERMAIL,
            Self::SurgeMail => &profile::SURGEMAIL,
            Self::Yahoo => &profile::YAHOO,
            Self::Yandex => &profile::YANDEX,
            Self::Zoho => &profile::ZOHO,
        }
    }

    /// Returns what changes the output of sessions.
    pub(crate) fn output_filter(self) -> OutputFilterFactory {
        OutputFilterFactory::new(move || Box::new(Rewriter::new(self.profile())))
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // These names are common too.
        let text = match text {
            "163" | "126" => "coremail",
            "office365" | "outlook" => "exchange",
            "proton" => "proton-bridge",
            other => other,
        };
        Self::ALL.into_iter().find(|dialect| dialect.name().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown server {text:?}; expected one of {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table of dialects in docs/command.md: name and defects.
    fn documented() -> Vec<(String, String)> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/command.md");
        let text = std::fs::read_to_string(path).unwrap();
        let rows = text.lines().skip_while(|line| !line.starts_with("| `--behave-like`")).skip(2);
        rows.take_while(|line| line.starts_with('|'))
            .map(|row| {
                let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
                let name = cells.next().unwrap().trim_matches('`').to_owned();
                (name, cells.next().unwrap().to_owned())
            })
            .collect()
    }

    #[test]
    fn every_dialect_is_documented_with_its_defects() {
        let expected: Vec<(String, String)> = Dialect::ALL
            .into_iter()
            .map(|dialect| {
                let defects: Vec<_> = dialect.defects().collect();
                let defects = if defects.is_empty() { "none".to_owned() } else { defects.join("; ") };
                (dialect.name().to_owned(), defects)
            })
            .collect();
        assert_eq!(documented(), expected);
    }

    #[test]
    fn dialects_are_selected_by_name() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.to_string().parse(), Ok(dialect));
        }
        assert_eq!("163".parse(), Ok(Dialect::Coremail));
        assert!("none".parse::<Dialect>().unwrap_err().contains("exchange, gmail"));
        assert!(Dialect::ALL.is_sorted_by_key(|dialect| dialect.name()));
    }
}
