//! XCLIENT and XFORWARD: what a proxy says about the client that it acts for, as Postfix documents them.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proto_mail::SendBuffer;

use crate::ascii;
use crate::extension::Extension;
use crate::syntax::{SyntaxError, SyntaxFault};
use crate::xtext::{self, Xtext, is_xtext};

/// The longest decoded value in bytes.
const MAX_VALUE: usize = 255;
const UNAVAILABLE: &str = "[UNAVAILABLE]";
const TEMPORARILY_UNAVAILABLE: &str = "[TEMPUNAVAIL]";

/// An attribute of XCLIENT or XFORWARD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Attribute {
    /// `NAME`: the client's host name.
    Name,
    /// `ADDR`: the client's IPv4 address, or `IPV6:` and its IPv6 address. In XFORWARD any word.
    Addr,
    /// `PORT`: the client's port.
    Port,
    /// `PROTO`: `SMTP` or `ESMTP`. In XFORWARD any word of at most 64 bytes.
    Proto,
    /// `HELO`: the client's name in EHLO or HELO.
    Helo,
    /// `LOGIN`: the user name that the client has authenticated with. XCLIENT only.
    Login,
    /// `DESTADDR`: the address that the client has connected to. XCLIENT only.
    DestAddr,
    /// `DESTPORT`: the port that the client has connected to. XCLIENT only.
    DestPort,
    /// `IDENT`: the identifier of the message at the proxy. XFORWARD only.
    Ident,
    /// `SOURCE`: `LOCAL` or `REMOTE`. XFORWARD only.
    Source,
}

/// The value of an [`Attribute`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AttributeValue<'i> {
    /// The decoded value, at most 255 bytes without control characters. Only [`Login`](Attribute::Login) may hold spaces
    /// and characters outside US-ASCII.
    Known(Cow<'i, str>),
    /// `[UNAVAILABLE]`: the proxy does not know the value.
    Unavailable,
    /// `[TEMPUNAVAIL]`: a lookup failed for now. [`Name`](Attribute::Name) only.
    TemporarilyUnavailable,
}

/// The attributes of one XCLIENT or XFORWARD command.
#[derive(Clone, PartialEq, Eq)]
pub struct Attributes<'i> {
    command: ProxyCommand,
    values: Option<Box<Values<'i>>>,
}

/// A value for each attribute, by its number.
type Values<'i> = [Option<AttributeValue<'i>>; Attribute::ALL.len()];

/// Which command the attributes belong to: each allows its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyCommand {
    XClient,
    XForward,
}

impl Attribute {
    /// The attributes of XCLIENT.
    pub const XCLIENT: [Self; 8] = [
        Self::Name,
        Self::Addr,
        Self::Port,
        Self::Proto,
        Self::Helo,
        Self::Login,
        Self::DestAddr,
        Self::DestPort,
    ];
    /// The attributes of XFORWARD.
    pub const XFORWARD: [Self; 7] =
        [Self::Name, Self::Addr, Self::Port, Self::Proto, Self::Helo, Self::Ident, Self::Source];

    /// All attributes, in the order of the enum.
    const ALL: [Self; 10] = [
        Self::Name,
        Self::Addr,
        Self::Port,
        Self::Proto,
        Self::Helo,
        Self::Login,
        Self::DestAddr,
        Self::DestPort,
        Self::Ident,
        Self::Source,
    ];

    /// Returns the name as it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Addr => "ADDR",
            Self::Port => "PORT",
            Self::Proto => "PROTO",
            Self::Helo => "HELO",
            Self::Login => "LOGIN",
            Self::DestAddr => "DESTADDR",
            Self::DestPort => "DESTPORT",
            Self::Ident => "IDENT",
            Self::Source => "SOURCE",
        }
    }
}

impl ProxyCommand {
    pub(crate) const fn attributes(self) -> &'static [Attribute] {
        match self {
            Self::XClient => &Attribute::XCLIENT,
            Self::XForward => &Attribute::XFORWARD,
        }
    }

    /// The extension that offers the command.
    pub(crate) const fn extension(self) -> Extension {
        match self {
            Self::XClient => Extension::XClient,
            Self::XForward => Extension::XForward,
        }
    }

    /// Whether the attribute may have this value.
    fn allows(self, attribute: Attribute, value: &str) -> bool {
        let word = value.bytes().all(|byte| byte.is_ascii_graphic());
        let special =
            value.eq_ignore_ascii_case(UNAVAILABLE) || value.eq_ignore_ascii_case(TEMPORARILY_UNAVAILABLE);
        if value.is_empty() || value.len() > MAX_VALUE || special {
            return false;
        }
        match (attribute, self) {
            (Attribute::Login, _) => ascii::printable(value.as_bytes()).is_some(),
            (Attribute::Addr | Attribute::DestAddr, Self::XClient) => address(value).is_some(),
            (Attribute::Port | Attribute::DestPort, _) => port(value).is_some(),
            (Attribute::Proto, Self::XClient) => one_of(value, ["SMTP", "ESMTP"]),
            (Attribute::Proto, Self::XForward) => word && value.len() <= 64,
            (Attribute::Source, _) => one_of(value, ["LOCAL", "REMOTE"]),
            _ => word,
        }
    }
}

impl<'i> Attributes<'i> {
    /// An empty list for XCLIENT.
    #[must_use]
    pub const fn xclient() -> Self {
        Self::none(ProxyCommand::XClient)
    }

    /// An empty list for XFORWARD.
    #[must_use]
    pub const fn xforward() -> Self {
        Self::none(ProxyCommand::XForward)
    }

    const fn none(command: ProxyCommand) -> Self {
        Self { command, values: None }
    }

    /// Returns the list with one more attribute. It replaces an earlier value of the same attribute.
    ///
    /// # Errors
    /// The command does not allow the attribute, or the attribute does not allow the value.
    pub fn with(
        mut self,
        attribute: Attribute,
        value: impl Into<AttributeValue<'i>>,
    ) -> Result<Self, SyntaxError> {
        let value = value.into();
        let good = match &value {
            AttributeValue::Known(text) => self.command.allows(attribute, text),
            AttributeValue::Unavailable => true,
            AttributeValue::TemporarilyUnavailable => attribute == Attribute::Name,
        };
        if !self.command.attributes().contains(&attribute) {
            return Err(SyntaxError::new(0, SyntaxFault::Parameter));
        }
        match self.values.get_or_insert_default().get_mut(attribute as usize) {
            Some(place) if good => *place = Some(value),
            _ => return Err(SyntaxError::new(0, SyntaxFault::Value)),
        }
        Ok(self)
    }

    /// Parses `1*( SP attribute-name "=" xtext )`. The text is printable.
    fn parse(command: ProxyCommand, text: &'i str) -> Result<Self, SyntaxFault> {
        let mut attributes = Self::none(command);
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').ok_or(SyntaxFault::Parameter)?;
            let attribute = command.attributes().iter().find(|one| one.name().eq_ignore_ascii_case(name));
            let attribute = *attribute.ok_or(SyntaxFault::Parameter)?;
            if attributes.value(attribute).is_some() {
                return Err(SyntaxFault::ParameterTwice);
            }
            attributes =
                attributes.with(attribute, AttributeValue::parse(value)?).map_err(|error| error.fault())?;
        }
        if attributes.is_empty() { Err(SyntaxFault::MissingArgument) } else { Ok(attributes) }
    }

    /// Returns the value of an attribute; `None` if it is not given.
    #[must_use]
    pub fn value(&self, attribute: Attribute) -> Option<&AttributeValue<'i>> {
        self.values.as_ref()?.get(attribute as usize)?.as_ref()
    }

    /// Returns the value of an attribute as text; `None` if it is not given or not known.
    #[must_use]
    pub fn text(&self, attribute: Attribute) -> Option<&str> {
        match self.value(attribute)? {
            AttributeValue::Known(text) => Some(text),
            AttributeValue::Unavailable | AttributeValue::TemporarilyUnavailable => None,
        }
    }

    /// Returns the IP address that [`Addr`](Attribute::Addr) or [`DestAddr`](Attribute::DestAddr) names.
    #[must_use]
    pub fn address(&self, attribute: Attribute) -> Option<IpAddr> {
        self.text(attribute).and_then(address)
    }

    /// Returns the port that [`Port`](Attribute::Port) or [`DestPort`](Attribute::DestPort) names.
    #[must_use]
    pub fn port(&self, attribute: Attribute) -> Option<u16> {
        self.text(attribute).and_then(port)
    }

    /// Iterates over the attributes that are given.
    pub fn iter(&self) -> impl Iterator<Item = (Attribute, &AttributeValue<'i>)> {
        let values = self.values.iter().flat_map(|values| values.iter());
        Attribute::ALL
            .into_iter()
            .zip(values)
            .filter_map(|(attribute, value)| Some((attribute, value.as_ref()?)))
    }

    /// Whether no attribute is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Adds the attributes of a later command, which replace earlier values.
    pub(crate) fn overwrite(&mut self, later: Self) {
        let Some(later) = later.values else { return };
        let values = self.values.get_or_insert_default();
        for (place, value) in values.iter_mut().zip(*later) {
            if value.is_some() {
                *place = value;
            }
        }
    }

    pub(crate) const fn command(&self) -> ProxyCommand {
        self.command
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> Attributes<'static> {
        Attributes {
            command: self.command,
            values: self
                .values
                .map(|values| Box::new(values.map(|value| value.map(AttributeValue::into_owned)))),
        }
    }
}

impl<'i> AttributeValue<'i> {
    fn parse(xtext: &'i str) -> Result<Self, SyntaxFault> {
        if !is_xtext(xtext.as_bytes()) {
            return Err(SyntaxFault::Value);
        }
        let text = if xtext.contains('+') {
            let bytes = xtext::decoded(xtext.as_bytes()).collect();
            Cow::Owned(String::from_utf8(bytes).map_err(|_| SyntaxFault::Encoding)?)
        } else {
            Cow::Borrowed(xtext)
        };
        Ok(if text.eq_ignore_ascii_case(UNAVAILABLE) {
            Self::Unavailable
        } else if text.eq_ignore_ascii_case(TEMPORARILY_UNAVAILABLE) {
            Self::TemporarilyUnavailable
        } else {
            Self::Known(text)
        })
    }

    /// Returns the value as sent on the wire.
    pub(crate) fn wire(&self) -> Cow<'_, str> {
        match self {
            // A known value was checked: it can be encoded.
            Self::Known(text) => Xtext::encode(text)
                .map_or(Cow::Borrowed(UNAVAILABLE), |xtext| Cow::Owned(xtext.as_str().to_string())),
            Self::Unavailable => Cow::Borrowed(UNAVAILABLE),
            Self::TemporarilyUnavailable => Cow::Borrowed(TEMPORARILY_UNAVAILABLE),
        }
    }

    /// Converts to an owned value.
    #[must_use]
    pub fn into_owned(self) -> AttributeValue<'static> {
        match self {
            Self::Known(text) => AttributeValue::Known(Cow::Owned(text.into_owned())),
            Self::Unavailable => AttributeValue::Unavailable,
            Self::TemporarilyUnavailable => AttributeValue::TemporarilyUnavailable,
        }
    }
}

impl<'i> From<&'i str> for AttributeValue<'i> {
    fn from(text: &'i str) -> Self {
        Self::Known(Cow::Borrowed(text))
    }
}

impl From<IpAddr> for AttributeValue<'_> {
    fn from(address: IpAddr) -> Self {
        Self::Known(Cow::Owned(match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => alloc::format!("IPV6:{address}"),
        }))
    }
}

impl From<u16> for AttributeValue<'_> {
    fn from(port: u16) -> Self {
        Self::Known(Cow::Owned(port.to_string()))
    }
}

impl fmt::Debug for Attributes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(attribute, value)| (attribute.name(), value))).finish()
    }
}

fn one_of<const N: usize>(value: &str, words: [&str; N]) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(value))
}

fn address(text: &str) -> Option<IpAddr> {
    match text.split_at_checked("IPV6:".len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPV6:") => {
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn port(text: &str) -> Option<u16> {
    ascii::number(text.as_bytes()).and_then(|number| u16::try_from(number).ok())
}

/// Parses the arguments of XCLIENT or XFORWARD; `rest` is the part of the line after the verb.
pub(crate) fn parse_attributes<'i>(
    command: ProxyCommand,
    line: &'i [u8],
    rest: &'i [u8],
) -> Result<Attributes<'i>, SyntaxError> {
    let text = ascii::printable(rest).ok_or_else(|| SyntaxError::at(line, rest, SyntaxFault::Control))?;
    Attributes::parse(command, text).map_err(|fault| SyntaxError::at(line, rest, fault))
}

/// Writes XCLIENT or XFORWARD.
pub(crate) fn encode_attributes(attributes: &Attributes<'_>, tx: &mut SendBuffer) {
    tx.put(attributes.command.extension().keyword().as_bytes());
    for (attribute, value) in attributes.iter() {
        tx.put(b" ");
        tx.put(attribute.name().as_bytes());
        tx.put(b"=");
        tx.put(value.wire().as_bytes());
    }
    tx.put(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_attributes_in_the_order_of_the_list() {
        for (number, attribute) in Attribute::ALL.into_iter().enumerate() {
            assert_eq!(attribute as usize, number);
        }
    }

    #[test]
    fn parses_values_in_xtext() {
        let text = "name=spike.example ADDR=IPV6:2001:db8::1 PORT=[unavailable] LOGIN=a+20+C3+A9 HELO=x+2By";
        let attributes = Attributes::parse(ProxyCommand::XClient, text).unwrap();
        assert_eq!(attributes.text(Attribute::Name), Some("spike.example"));
        assert_eq!(attributes.address(Attribute::Addr), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(attributes.value(Attribute::Port), Some(&AttributeValue::Unavailable));
        assert_eq!((attributes.port(Attribute::Port), attributes.value(Attribute::Proto)), (None, None));
        assert_eq!(attributes.text(Attribute::Login), Some("a é"));
        assert_eq!(attributes.text(Attribute::Helo), Some("x+y"));
        let again = Attributes::xclient()
            .with(Attribute::Name, "spike.example")
            .and_then(|one| one.with(Attribute::Addr, "2001:db8::1".parse::<IpAddr>().unwrap()))
            .and_then(|one| one.with(Attribute::Port, AttributeValue::Unavailable))
            .and_then(|one| one.with(Attribute::Login, "a é"))
            .and_then(|one| one.with(Attribute::Helo, "x+y"))
            .unwrap();
        assert_eq!((again.clone().into_owned(), again), (attributes.clone().into_owned(), attributes));
    }

    #[test]
    fn rejects_attributes_that_are_not_allowed() {
        for (command, text, why) in [
            (ProxyCommand::XClient, "", SyntaxFault::MissingArgument),
            (ProxyCommand::XClient, "NAME", SyntaxFault::Parameter),
            (ProxyCommand::XClient, "NAME=", SyntaxFault::Value),
            (ProxyCommand::XClient, "NAME=a b=c d", SyntaxFault::Parameter),
            (ProxyCommand::XClient, "NAME=a NAME=b", SyntaxFault::ParameterTwice),
            (ProxyCommand::XClient, "IDENT=x", SyntaxFault::Parameter),
            (ProxyCommand::XForward, "LOGIN=x", SyntaxFault::Parameter),
            (ProxyCommand::XClient, "NAME=a+0D+0ARSET", SyntaxFault::Value),
            (ProxyCommand::XClient, "NAME=a+20b", SyntaxFault::Value),
            (ProxyCommand::XClient, "NAME=a+C3+A9", SyntaxFault::Value),
            (ProxyCommand::XClient, "LOGIN=a+C3", SyntaxFault::Encoding),
            (ProxyCommand::XClient, "ADDR=2001:db8::1", SyntaxFault::Value),
            (ProxyCommand::XClient, "ADDR=[192.0.2.1]", SyntaxFault::Value),
            (ProxyCommand::XClient, "ADDR=192.0.2.256", SyntaxFault::Value),
            (ProxyCommand::XClient, "ADDR=[TEMPUNAVAIL]", SyntaxFault::Value),
            (ProxyCommand::XClient, "PORT=65536", SyntaxFault::Value),
            (ProxyCommand::XClient, "PORT=-1", SyntaxFault::Value),
            (ProxyCommand::XClient, "PROTO=LMTP", SyntaxFault::Value),
            (ProxyCommand::XForward, "SOURCE=BOTH", SyntaxFault::Value),
        ] {
            assert_eq!(Attributes::parse(command, text).unwrap_err(), why, "{text}");
        }
        let long = alloc::format!("NAME={}", "a".repeat(256));
        assert_eq!(Attributes::parse(ProxyCommand::XClient, &long).unwrap_err(), SyntaxFault::Value);
        assert!(
            Attributes::parse(ProxyCommand::XForward, "ADDR=local PROTO=UUCP SOURCE=LOCAL IDENT=4711")
                .is_ok()
        );
        for bad in ["", "a\r\nRSET", "[UNAVAILABLE]", "[tempunavail]"] {
            assert!(Attributes::xclient().with(Attribute::Login, bad).is_err(), "{bad:?}");
        }
    }
}
