//! MAIL: the sender of a message and what the client requests for it (RFC 5321 §4.1.1.2).

use proto_mail::SendBuffer;

use crate::ascii;
use crate::body_type::BodyType;
use crate::date_time::DateTime;
use crate::deliver_by::DeliverBy;
use crate::dsn::{EnvelopeId, Return};
use crate::encode;
use crate::extension::{Extension, ExtensionSet};
use crate::future_release::{Hold, Interval};
use crate::parameter::{
    ParameterTable, ParameterUse, Parameters, defer, encode_flag, encode_value, parse_parameters,
    parse_value, store, store_flag,
};
use crate::path::{ReversePath, after_colon, reverse_path};
use crate::priority::Priority;
use crate::solicitation::Solicitation;
use crate::submitter::Submitter;
use crate::syntax::{SyntaxError, SyntaxFault, finish};

/// `MAIL FROM:<reverse-path> [parameters]`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mail<'i> {
    /// The address that reports are sent to.
    pub from: ReversePath<'i>,
    /// `SIZE=`: the size of the message in bytes, as the client estimates it (RFC 1870 §6).
    pub size: Option<u64>,
    /// `BODY=`: which bytes the message is made of (RFC 6152, RFC 3030).
    pub body: Option<BodyType>,
    /// `SMTPUTF8`: the envelope or the header holds UTF-8 (RFC 6531 §3.4).
    pub utf8: bool,
    /// `RET=`: how much of the message a failure report includes (RFC 3461 §4.3).
    pub ret: Option<Return>,
    /// `BY=`: the time within which the message is to be delivered (RFC 2852).
    pub by: Option<DeliverBy>,
    /// `MT-PRIORITY=`: the priority of the message (RFC 6710).
    pub priority: Option<Priority>,
    /// `REQUIRETLS`: the message may be sent under verified TLS only, here and by every relay (RFC 8689).
    pub require_tls: bool,
    /// `CONPERM`: relays may convert the content (RFC 4141).
    pub conperm: bool,
    /// `PRDR`: the client requests a reply for each recipient after the message (draft-hall-prdr).
    pub prdr: bool,
    /// The parameters that have no field here. The methods [`auth`](Self::auth), [`envid`](Self::envid),
    /// [`hold`](Self::hold) and [`solicit`](Self::solicit) parse those that are known.
    pub parameters: Parameters<'i>,
}

impl<'i> Mail<'i> {
    /// A MAIL command without parameters.
    #[must_use]
    pub fn new(from: impl Into<ReversePath<'i>>) -> Self {
        Self {
            from: from.into(),
            size: None,
            body: None,
            utf8: false,
            ret: None,
            by: None,
            priority: None,
            require_tls: false,
            conperm: false,
            prdr: false,
            parameters: Parameters::none(ParameterTable::Mail),
        }
    }

    /// Parses `"MAIL FROM:" Reverse-path [SP Mail-parameters]`; `rest` is the part of the line after the verb.
    pub(crate) fn parse(line: &'i [u8], rest: &'i [u8]) -> Result<Self, SyntaxError> {
        let rest = after_colon(line, rest, b"FROM:")?;
        let (rest, from) = finish(line, reverse_path(rest))?;
        let mut mail = Self::new(from);
        if !rest.is_empty() {
            let parameters = parse_parameters(rest, ParameterTable::Mail, |keyword, value| {
                mail.parse_parameter(keyword, value)
            });
            (_, mail.parameters) = finish(line, parameters)?;
        }
        if !mail.utf8 && mail.from.address().is_some_and(|address| !address.is_ascii()) {
            return Err(SyntaxError::at(line, rest, SyntaxFault::NotAscii));
        }
        Ok(mail)
    }

    fn parse_parameter(
        &mut self,
        keyword: &[u8],
        value: Option<&'i [u8]>,
    ) -> Result<ParameterUse, SyntaxFault> {
        const SIZE: u64 = ascii::word(b"SIZE");
        const BODY: u64 = ascii::word(b"BODY");
        const SMTPUTF8: u64 = ascii::word(b"SMTPUTF8");
        const AUTH: u64 = ascii::word(b"AUTH");
        const ENVID: u64 = ascii::word(b"ENVID");
        const RET: u64 = ascii::word(b"RET");
        const BY: u64 = ascii::word(b"BY");
        const HOLDFOR: u64 = ascii::word(b"HOLDFOR");
        const SOLICIT: u64 = ascii::word(b"SOLICIT");
        const CONPERM: u64 = ascii::word(b"CONPERM");
        const PRDR: u64 = ascii::word(b"PRDR");
        let given = value.ok_or(SyntaxFault::Value);
        match ascii::word(keyword) {
            SIZE => store(&mut self.size, ascii::number(given?).ok_or(SyntaxFault::Number)?),
            BODY => store(&mut self.body, BodyType::parse(given?)?),
            SMTPUTF8 => store_flag(&mut self.utf8, value),
            AUTH => defer(value, Submitter::parse),
            ENVID => defer(value, EnvelopeId::parse),
            RET => store(&mut self.ret, Return::parse(given?).ok_or(SyntaxFault::Value)?),
            BY => store(&mut self.by, parse_value(value, DeliverBy::parse)?),
            HOLDFOR => defer(value, Interval::parse),
            SOLICIT => defer(value, Solicitation::parse),
            CONPERM => store_flag(&mut self.conperm, value),
            PRDR => store_flag(&mut self.prdr, value),
            // Words of more than eight letters have no number.
            _ if keyword.eq_ignore_ascii_case(b"MT-PRIORITY") => {
                store(&mut self.priority, parse_value(value, Priority::parse)?)
            }
            _ if keyword.eq_ignore_ascii_case(b"HOLDUNTIL") => defer(value, DateTime::parse),
            _ if keyword.eq_ignore_ascii_case(b"REQUIRETLS") => store_flag(&mut self.require_tls, value),
            _ => Ok(ParameterUse::Unknown),
        }
    }

    /// Writes the command.
    pub(crate) fn encode(&self, tx: &mut SendBuffer) {
        tx.put(b"MAIL FROM:<");
        tx.put(self.from.as_str().as_bytes());
        tx.put(b">");
        if let Some(size) = self.size {
            tx.put(b" SIZE=");
            encode::number(size, tx);
        }
        if let Some(body) = self.body {
            tx.put(b" BODY=");
            tx.put(body.as_str().as_bytes());
        }
        if self.utf8 {
            encode_flag("SMTPUTF8", tx);
        }
        encode_value("AUTH", self.auth().as_ref(), tx);
        if let Some(ret) = self.ret {
            tx.put(b" RET=");
            tx.put(ret.as_str().as_bytes());
        }
        encode_value("ENVID", self.envid().as_ref(), tx);
        encode_value("BY", self.by.as_ref(), tx);
        encode_value("MT-PRIORITY", self.priority.as_ref(), tx);
        let hold = self.hold();
        encode_value(hold.as_ref().map_or("", Hold::keyword), hold.as_ref(), tx);
        if self.require_tls {
            encode_flag("REQUIRETLS", tx);
        }
        encode_value("SOLICIT", self.solicit().as_ref(), tx);
        if self.conperm {
            encode_flag("CONPERM", tx);
        }
        if self.prdr {
            encode_flag("PRDR", tx);
        }
        self.parameters.encode_unknown(tx);
        tx.put(b"\r\n");
    }

    /// Sets the size of the message in bytes (`SIZE=`).
    #[must_use]
    pub const fn with_size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Sets which bytes the message is made of (`BODY=`).
    #[must_use]
    pub const fn with_body(mut self, body: BodyType) -> Self {
        self.body = Some(body);
        self
    }

    /// Requests SMTPUTF8.
    #[must_use]
    pub const fn with_utf8(mut self) -> Self {
        self.utf8 = true;
        self
    }

    /// Names who submitted the message first (`AUTH=`).
    #[must_use]
    pub fn with_auth(mut self, submitter: Submitter<'_>) -> Self {
        self.set_auth(Some(&submitter));
        self
    }

    /// Sets how much of the message a failure report includes (`RET=`).
    #[must_use]
    pub const fn with_ret(mut self, ret: Return) -> Self {
        self.ret = Some(ret);
        self
    }

    /// Sets an identifier that reports repeat (`ENVID=`).
    #[must_use]
    pub fn with_envid(mut self, envid: EnvelopeId<'_>) -> Self {
        self.set_envid(Some(&envid));
        self
    }

    /// Sets the time within which the message is to be delivered (`BY=`).
    #[must_use]
    pub const fn with_by(mut self, by: DeliverBy) -> Self {
        self.by = Some(by);
        self
    }

    /// Sets the priority of the message (`MT-PRIORITY=`).
    #[must_use]
    pub const fn with_priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Sets how long the server holds the message (`HOLDFOR=` or `HOLDUNTIL=`).
    #[must_use]
    pub fn with_hold(mut self, hold: Hold) -> Self {
        self.set_hold(Some(hold));
        self
    }

    /// Requires verified TLS, here and by every relay (`REQUIRETLS`).
    #[must_use]
    pub const fn with_require_tls(mut self) -> Self {
        self.require_tls = true;
        self
    }

    /// Names what the message advertises (`SOLICIT=`).
    #[must_use]
    pub fn with_solicit(mut self, solicit: Solicitation<'_>) -> Self {
        self.set_solicit(Some(&solicit));
        self
    }

    /// Permits relays to convert the content (`CONPERM`).
    #[must_use]
    pub const fn with_conperm(mut self) -> Self {
        self.conperm = true;
        self
    }

    /// Requests a reply for each recipient after the message (`PRDR`).
    #[must_use]
    pub const fn with_prdr(mut self) -> Self {
        self.prdr = true;
        self
    }

    /// `AUTH=`: who submitted the message first (RFC 4954 §5).
    #[must_use]
    pub fn auth(&self) -> Option<Submitter<'_>> {
        Submitter::parse(self.parameters.deferred("AUTH")?).ok()
    }

    /// `ENVID=`: an identifier that reports repeat (RFC 3461 §4.4).
    #[must_use]
    pub fn envid(&self) -> Option<EnvelopeId<'_>> {
        EnvelopeId::parse(self.parameters.deferred("ENVID")?).ok()
    }

    /// `HOLDFOR=` or `HOLDUNTIL=`: how long the server holds the message (RFC 4865).
    #[must_use]
    pub fn hold(&self) -> Option<Hold> {
        match self.parameters.deferred("HOLDFOR") {
            Some(interval) => Interval::parse(interval).ok().map(Hold::For),
            None => DateTime::parse(self.parameters.deferred("HOLDUNTIL")?).ok().map(Hold::Until),
        }
    }

    /// `SOLICIT=`: what the message advertises (RFC 3865).
    #[must_use]
    pub fn solicit(&self) -> Option<Solicitation<'_>> {
        Solicitation::parse(self.parameters.deferred("SOLICIT")?).ok()
    }

    /// Sets or removes `AUTH=`.
    pub fn set_auth(&mut self, submitter: Option<&Submitter<'_>>) {
        self.parameters.set_deferred("AUTH", submitter.map(|submitter| submitter as _));
    }

    /// Sets or removes `ENVID=`.
    pub fn set_envid(&mut self, envid: Option<&EnvelopeId<'_>>) {
        self.parameters.set_deferred("ENVID", envid.map(|envid| envid as _));
    }

    /// Sets or removes `HOLDFOR=` and `HOLDUNTIL=`.
    pub fn set_hold(&mut self, hold: Option<Hold>) {
        self.parameters.set_deferred("HOLDFOR", None);
        self.parameters.set_deferred("HOLDUNTIL", None);
        if let Some(hold) = hold {
            self.parameters.set_deferred(hold.keyword(), Some(&hold));
        }
    }

    /// Sets or removes `SOLICIT=`.
    pub fn set_solicit(&mut self, solicit: Option<&Solicitation<'_>>) {
        self.parameters.set_deferred("SOLICIT", solicit.map(|solicit| solicit as _));
    }

    /// Returns the extensions that the parameters belong to and that the server must offer. Unknown parameters are not
    /// considered.
    #[must_use]
    pub fn extensions(&self) -> ExtensionSet {
        let with = |set: bool, extension| set.then_some(extension);
        let has = |keyword| self.parameters.contains(keyword);
        [
            with(self.size.is_some(), Extension::Size),
            self.body.map(BodyType::extension),
            with(self.utf8, Extension::SmtpUtf8),
            with(has("AUTH"), Extension::Auth),
            with(self.ret.is_some() || has("ENVID"), Extension::Dsn),
            with(self.by.is_some(), Extension::DeliverBy),
            with(self.priority.is_some(), Extension::MtPriority),
            with(has("HOLDFOR") || has("HOLDUNTIL"), Extension::FutureRelease),
            with(self.require_tls, Extension::RequireTls),
            with(has("SOLICIT"), Extension::NoSoliciting),
            with(self.conperm, Extension::ConPerm),
            with(self.prdr, Extension::Prdr),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Mail<'static> {
        Mail {
            from: self.from.into_owned(),
            size: self.size,
            body: self.body,
            utf8: self.utf8,
            ret: self.ret,
            by: self.by,
            priority: self.priority,
            require_tls: self.require_tls,
            conperm: self.conperm,
            prdr: self.prdr,
            parameters: self.parameters.into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::command::Command;

    fn parse_mail(line: &str) -> Mail<'_> {
        match Command::parse(line.as_bytes()) {
            Ok(Command::Mail(mail)) => mail,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn parses_mail_with_all_parameters() {
        let mail = parse_mail(
            "mail from:<\"a b\"@example.com> size=12345 body=8bitmime smtputf8 AUTH=e+3Dmc2@example.com RET=FULL ENVID=QQ+2B X-A=1 X-B",
        );
        assert_eq!(mail.from.as_str(), "\"a b\"@example.com");
        assert_eq!((mail.size, mail.body, mail.utf8), (Some(12345), Some(BodyType::EightBitMime), true));
        assert_eq!(mail.auth().unwrap().address().unwrap().as_str(), "e=mc2@example.com");
        assert_eq!((mail.ret, mail.envid().unwrap().as_str()), (Some(Return::Full), "QQ+2B"));
        let extra: Vec<_> = mail.parameters.unknown().map(|p| (p.keyword, p.value)).collect();
        assert_eq!(extra, [("X-A", Some("1")), ("X-B", None)]);
        assert_eq!(mail.clone().into_owned(), mail);
    }

    #[test]
    fn tolerates_spaces_that_clients_send() {
        assert_eq!(parse_mail("MAIL FROM: <>  ").from, ReversePath::Null);
        assert_eq!(parse_mail("MAIL  FROM:<a@b>   SIZE=1 ").size, Some(1));
    }

    #[test]
    fn accepts_utf8_addresses_with_smtputf8() {
        assert!(parse_mail("MAIL FROM:<почта@пример.рф> SMTPUTF8").utf8);
    }

    #[test]
    fn reports_the_fault_of_malformed_commands() {
        for (line, expected) in [
            (&b"MAIL FROM:<\"\">"[..], SyntaxFault::MissingDomain),
            (b"MAIL FROM:<a>", SyntaxFault::MissingDomain),
            (b"MAIL FROM:a@b", SyntaxFault::Path),
            (b"MAIL FROM:<a@b>garbage", SyntaxFault::SurplusArgument),
            (b"MAIL FROM:<a@b>,<c@d>", SyntaxFault::SurplusArgument),
            (b"MAIL FROM:<a@b", SyntaxFault::Path),
            (b"MAIL FROM:<a@b\rRSET>", SyntaxFault::Path),
            (b"MAIL FROM:<a\0b@c>", SyntaxFault::LocalPart),
            (b"MAIL FROM:<\xff\xfe@example.test>", SyntaxFault::Encoding),
            (b"MAIL FROM:<\xc3\xa9@example.test>", SyntaxFault::NotAscii),
            (b"MAIL FROM:<a@b> SIZE=-1", SyntaxFault::Number),
            (b"MAIL FROM:<a@b> SIZE=", SyntaxFault::Value),
            (b"MAIL FROM:<a@b> SIZE", SyntaxFault::Value),
            (b"MAIL FROM:<a@b> SIZE=99999999999999999999999", SyntaxFault::Number),
            (b"MAIL FROM:<a@b> SIZE=1 SIZE=1", SyntaxFault::ParameterTwice),
            (b"MAIL FROM:<a@b> BODY=9BIT", SyntaxFault::Value),
            (b"MAIL FROM:<a@b> SMTPUTF8=1", SyntaxFault::Value),
            (b"MAIL FROM:<a@b> AUTH=a+0D+0ARSET", SyntaxFault::Value),
            (b"MAIL FROM:<a@b> AUTH=alice", SyntaxFault::MissingDomain),
            (b"MAIL FROM:<a@b> BY=0;R", SyntaxFault::Number),
            (b"MAIL FROM:<a@b> BY=5", SyntaxFault::Value),
            (b"MAIL FROM:<a@b> MT-PRIORITY=10", SyntaxFault::Number),
            (b"MAIL FROM:<a@b> HOLDFOR=0", SyntaxFault::Number),
            (b"MAIL FROM:<a@b> HOLDUNTIL=tomorrow", SyntaxFault::Value),
            (b"MAIL FROM:<a@b> HOLDFOR=5 HOLDFOR=5", SyntaxFault::ParameterTwice),
            (b"MAIL FROM:<a@b> HOLDFOR=5 HOLDUNTIL=2030-01-01T00:00:00Z", SyntaxFault::ParametersExclude),
            (b"MAIL FROM:<a@b> REQUIRETLS=yes", SyntaxFault::Value),
            (b"MAIL FROM:<a@b> REQUIRETLS REQUIRETLS", SyntaxFault::ParameterTwice),
            (b"MAIL FROM:<a@b> SOLICIT=1", SyntaxFault::Value),
            (b"MAIL FROM:<a@b> CONPERM=1", SyntaxFault::Value),
            (b"MAIL FROM:<a@b> PRDR=1", SyntaxFault::Value),
            (b"MAIL FROM:<a@b> =1", SyntaxFault::Parameter),
            (b"MAIL FROM:<a@b> X=a=b", SyntaxFault::SurplusArgument),
            (b"MAIL TO:<a@b>", SyntaxFault::Colon),
            (b"MAIL", SyntaxFault::Colon),
        ] {
            let error = Command::parse(line).unwrap_err();
            assert_eq!(error.fault(), expected, "{}", line.escape_ascii());
        }
    }
}
