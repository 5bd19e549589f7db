//! RCPT: a recipient of a message and what the client requests for it (RFC 5321 §4.1.1.3).

use proto_mail::SendBuffer;

use crate::ascii;
use crate::dsn::{Notify, OriginalRecipient};
use crate::extension::{Extension, ExtensionSet};
use crate::parameter::{
    ParameterTable, ParameterUse, Parameters, defer, encode_flag, encode_value, parse_parameters,
    parse_value, store, store_flag,
};
use crate::path::{ForwardPath, after_colon, forward_path};
use crate::syntax::{SyntaxError, SyntaxFault, finish};
use crate::valid_since::ValidSince;

/// `RCPT TO:<forward-path> [parameters]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rcpt<'i> {
    /// The address of the recipient.
    pub to: ForwardPath<'i>,
    /// `NOTIFY=`: the conditions in which a report is wanted (RFC 3461 §4.1).
    pub notify: Option<Notify>,
    /// `RRVS=`: the time since which the mailbox must have had the same owner (RFC 7293).
    pub valid_since: Option<ValidSince>,
    /// `CONNEG`: the client requests the capabilities of the recipient in the reply (RFC 4141).
    pub conneg: bool,
    /// The parameters that have no field here. The method [`original`](Self::original) parses `ORCPT=`.
    pub parameters: Parameters<'i>,
}

impl<'i> Rcpt<'i> {
    /// A RCPT command without parameters.
    #[must_use]
    pub fn new(to: impl Into<ForwardPath<'i>>) -> Self {
        Self {
            to: to.into(),
            notify: None,
            valid_since: None,
            conneg: false,
            parameters: Parameters::none(ParameterTable::Rcpt),
        }
    }

    /// Parses `"RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters]`; `rest` is
    /// the part of the line after the verb.
    pub(crate) fn parse(line: &'i [u8], rest: &'i [u8]) -> Result<Self, SyntaxError> {
        let rest = after_colon(line, rest, b"TO:")?;
        let (rest, to) = finish(line, forward_path(rest))?;
        let mut rcpt = Self::new(to);
        if !rest.is_empty() {
            let parameters = parse_parameters(rest, ParameterTable::Rcpt, |keyword, value| {
                rcpt.parse_parameter(keyword, value)
            });
            (_, rcpt.parameters) = finish(line, parameters)?;
        }
        Ok(rcpt)
    }

    fn parse_parameter(
        &mut self,
        keyword: &[u8],
        value: Option<&'i [u8]>,
    ) -> Result<ParameterUse, SyntaxFault> {
        const NOTIFY: u64 = ascii::word(b"NOTIFY");
        const ORCPT: u64 = ascii::word(b"ORCPT");
        const RRVS: u64 = ascii::word(b"RRVS");
        const CONNEG: u64 = ascii::word(b"CONNEG");
        match ascii::word(keyword) {
            NOTIFY => store(&mut self.notify, value.and_then(Notify::parse_bytes).ok_or(SyntaxFault::Value)?),
            ORCPT => defer(value, OriginalRecipient::parse),
            RRVS => store(&mut self.valid_since, parse_value(value, ValidSince::parse)?),
            CONNEG => store_flag(&mut self.conneg, value),
            _ => Ok(ParameterUse::Unknown),
        }
    }

    /// Writes the command.
    pub(crate) fn encode(&self, tx: &mut SendBuffer) {
        tx.put(b"RCPT TO:<");
        tx.put(self.to.as_str().as_bytes());
        tx.put(b">");
        encode_value("NOTIFY", self.notify.as_ref(), tx);
        encode_value("ORCPT", self.original().as_ref(), tx);
        encode_value("RRVS", self.valid_since.as_ref(), tx);
        if self.conneg {
            encode_flag("CONNEG", tx);
        }
        self.parameters.encode_unknown(tx);
        tx.put(b"\r\n");
    }

    /// Sets the conditions in which a report is wanted (`NOTIFY=`).
    #[must_use]
    pub const fn with_notify(mut self, notify: Notify) -> Self {
        self.notify = Some(notify);
        self
    }

    /// Sets the original recipient (`ORCPT=`).
    #[must_use]
    pub fn with_original(mut self, original: OriginalRecipient<'_>) -> Self {
        self.set_original(Some(&original));
        self
    }

    /// Sets the time since which the mailbox must have had the same owner (`RRVS=`).
    #[must_use]
    pub const fn with_valid_since(mut self, valid_since: ValidSince) -> Self {
        self.valid_since = Some(valid_since);
        self
    }

    /// Requests the capabilities of the recipient (`CONNEG`).
    #[must_use]
    pub const fn with_conneg(mut self) -> Self {
        self.conneg = true;
        self
    }

    /// `ORCPT=`: the recipient for whom the message was first submitted (RFC 3461 §4.2).
    #[must_use]
    pub fn original(&self) -> Option<OriginalRecipient<'_>> {
        OriginalRecipient::parse(self.parameters.deferred("ORCPT")?).ok()
    }

    /// Sets or removes `ORCPT=`.
    pub fn set_original(&mut self, original: Option<&OriginalRecipient<'_>>) {
        self.parameters.set_deferred("ORCPT", original.map(|original| original as _));
    }

    /// Returns the extensions that the parameters belong to and that the server must offer. Unknown parameters are not
    /// considered.
    #[must_use]
    pub fn extensions(&self) -> ExtensionSet {
        let with = |set: bool, extension| set.then_some(extension);
        [
            with(self.notify.is_some() || self.parameters.contains("ORCPT"), Extension::Dsn),
            with(self.valid_since.is_some(), Extension::Rrvs),
            with(self.conneg, Extension::Conneg),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Rcpt<'static> {
        Rcpt {
            to: self.to.into_owned(),
            notify: self.notify,
            valid_since: self.valid_since,
            conneg: self.conneg,
            parameters: self.parameters.into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    fn parse_rcpt(line: &str) -> Rcpt<'_> {
        match Command::parse(line.as_bytes()) {
            Ok(Command::Rcpt(rcpt)) => rcpt,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn parses_rcpt_with_all_parameters() {
        let rcpt = parse_rcpt(
            "RCPT TO:<b@example.com> NOTIFY=success,Failure ORCPT=rfc822;b+2Bx@example.com RRVS=2014-04-03T23:01:00Z;C X=x",
        );
        assert_eq!(rcpt.to.as_str(), "b@example.com");
        assert_eq!(rcpt.notify, Some(Notify::SUCCESS.with(Notify::FAILURE)));
        assert_eq!(rcpt.original().unwrap().decode(), b"b+x@example.com");
        assert_eq!(rcpt.valid_since.unwrap().since.unix_seconds(), 1_396_566_060);
        assert_eq!((rcpt.parameters.find("x"), rcpt.parameters.find("rrvs")), (Some(Some("x")), None));
        assert_eq!(parse_rcpt("RCPT TO:<postMASTER>").to, ForwardPath::Postmaster);
        assert_eq!(parse_rcpt("RCPT TO:<@a.example,@b.example:c@d.example>").to.as_str(), "c@d.example");
        assert_eq!(parse_rcpt("RCPT TO:<postmaster@example.com>").to.as_str(), "postmaster@example.com");
    }

    #[test]
    fn accepts_utf8_addresses() {
        assert_eq!(parse_rcpt("RCPT TO:<почта@пример.рф>").to.as_str(), "почта@пример.рф");
    }

    #[test]
    fn reports_the_fault_of_malformed_commands() {
        for (line, expected) in [
            (&b"RCPT TO:<a@b> RRVS=x"[..], SyntaxFault::Value),
            (b"RCPT TO:<a@b> CONNEG=1", SyntaxFault::Value),
            (b"RCPT TO:<>", SyntaxFault::NullRecipient),
            (b"RCPT TO:<@a@b>", SyntaxFault::Path),
            (b"RCPT TO:<a@b> NOTIFY=NEVER,SUCCESS", SyntaxFault::Value),
            (b"RCPT TO:<a@b> ORCPT=a@b", SyntaxFault::Value),
        ] {
            let error = Command::parse(line).unwrap_err();
            assert_eq!(error.fault(), expected, "{}", line.escape_ascii());
        }
    }
}
