//! What a proxy says of the client whom it speaks for: the attributes of XCLIENT and XFORWARD, as Postfix documents
//! them.
//!
//! This file knows names, values and their xtext. Whether a proxy is to be believed it does not know.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Xtext;
use crate::ascii;
use crate::parse::{SyntaxError, Why, parameter};

/// The longest value in octets, without its xtext.
const LONGEST: usize = 255;
const UNAVAILABLE: &str = "[UNAVAILABLE]";
const TEMPORARILY: &str = "[TEMPUNAVAIL]";

/// An attribute of XCLIENT or XFORWARD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Attribute {
    /// `NAME`: the client's host name.
    Name,
    /// `ADDR`: its address: IPv4, or IPv6 behind `IPV6:`. In XFORWARD it may be any word.
    Addr,
    /// `PORT`: its port.
    Port,
    /// `PROTO`: `SMTP` or `ESMTP`; in XFORWARD any word of at most 64 octets.
    Proto,
    /// `HELO`: what it calls itself.
    Helo,
    /// `LOGIN`: as whom it has authenticated. XCLIENT only.
    Login,
    /// `DESTADDR`: the address that it has connected to. XCLIENT only.
    DestAddr,
    /// `DESTPORT`: the port that it has connected to. XCLIENT only.
    DestPort,
    /// `IDENT`: what the message is called there. XFORWARD only.
    Ident,
    /// `SOURCE`: `LOCAL` or `REMOTE`. XFORWARD only.
    Source,
}

/// The value of an [`Attribute`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AttributeValue<'i> {
    /// It is this, at most 255 octets, with the xtext taken off. There is no control character in it, and but for
    /// [`Login`](Attribute::Login) no space and nothing outside US-ASCII.
    Known(Cow<'i, str>),
    /// `[UNAVAILABLE]`: nobody knows it.
    Unavailable,
    /// `[TEMPUNAVAIL]`: it could not be looked up now. [`Name`](Attribute::Name) only.
    TemporarilyUnavailable,
}

/// The attributes of one XCLIENT or XFORWARD.
#[derive(Clone, PartialEq, Eq)]
pub struct Attributes<'i> {
    command: Proxied,
    values: [Option<AttributeValue<'i>>; Attribute::ALL.len()],
}

/// Which of the two commands: they allow different attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proxied {
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

    /// In the order of the enum: an attribute's number is its place.
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

    /// The name as it is written.
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

impl Proxied {
    pub(crate) const fn attributes(self) -> &'static [Attribute] {
        match self {
            Self::XClient => &Attribute::XCLIENT,
            Self::XForward => &Attribute::XFORWARD,
        }
    }

    /// Whether an attribute may have that value.
    fn allows(self, attribute: Attribute, value: &str) -> bool {
        let word = value.bytes().all(|octet| octet.is_ascii_graphic());
        let special = value.eq_ignore_ascii_case(UNAVAILABLE) || value.eq_ignore_ascii_case(TEMPORARILY);
        if value.is_empty() || value.len() > LONGEST || special {
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
    /// No attribute of XCLIENT yet.
    #[must_use]
    pub const fn xclient() -> Self {
        Self::none(Proxied::XClient)
    }

    /// No attribute of XFORWARD yet.
    #[must_use]
    pub const fn xforward() -> Self {
        Self::none(Proxied::XForward)
    }

    const fn none(command: Proxied) -> Self {
        Self { command, values: [const { None }; Attribute::ALL.len()] }
    }

    /// These and one more; an earlier value of the same attribute is replaced.
    ///
    /// # Errors
    /// The command has no such attribute, or that cannot be its value.
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
            return Err(SyntaxError { at: 0, why: Why::Parameter });
        }
        match self.values.get_mut(attribute as usize) {
            Some(place) if good => *place = Some(value),
            _ => return Err(SyntaxError { at: 0, why: Why::Value }),
        }
        Ok(self)
    }

    /// Reads `1*( SP attribute-name "=" xtext )`, in printable octets.
    pub(crate) fn read(command: Proxied, text: &'i str) -> Result<Self, Why> {
        let mut attributes = Self::none(command);
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let (name, value) = word.split_once('=').ok_or(Why::Parameter)?;
            let attribute = command.attributes().iter().find(|one| one.name().eq_ignore_ascii_case(name));
            let attribute = *attribute.ok_or(Why::Parameter)?;
            if attributes.value(attribute).is_some() {
                return Err(Why::ParameterTwice);
            }
            attributes =
                attributes.with(attribute, AttributeValue::read(value)?).map_err(|error| error.why)?;
        }
        if attributes.is_empty() { Err(Why::MissingArgument) } else { Ok(attributes) }
    }

    /// What is said of one; `None` if nothing is.
    #[must_use]
    pub fn value(&self, attribute: Attribute) -> Option<&AttributeValue<'i>> {
        self.values.get(attribute as usize)?.as_ref()
    }

    /// The text of one; `None` if nothing is said or nobody knows.
    #[must_use]
    pub fn text(&self, attribute: Attribute) -> Option<&str> {
        match self.value(attribute)? {
            AttributeValue::Known(text) => Some(text),
            AttributeValue::Unavailable | AttributeValue::TemporarilyUnavailable => None,
        }
    }

    /// The IP address that [`Addr`](Attribute::Addr) or [`DestAddr`](Attribute::DestAddr) names.
    #[must_use]
    pub fn address(&self, attribute: Attribute) -> Option<IpAddr> {
        self.text(attribute).and_then(address)
    }

    /// The port that [`Port`](Attribute::Port) or [`DestPort`](Attribute::DestPort) names.
    #[must_use]
    pub fn port(&self, attribute: Attribute) -> Option<u16> {
        self.text(attribute).and_then(port)
    }

    /// Every attribute that something is said of.
    pub fn iter(&self) -> impl Iterator<Item = (Attribute, &AttributeValue<'i>)> {
        let said = Attribute::ALL.into_iter().zip(&self.values);
        said.filter_map(|(attribute, value)| Some((attribute, value.as_ref()?)))
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    /// What a later command says takes the place of what was said before.
    pub(crate) fn overwrite(&mut self, later: Self) {
        for (place, value) in self.values.iter_mut().zip(later.values) {
            if value.is_some() {
                *place = value;
            }
        }
    }

    pub(crate) const fn command(&self) -> Proxied {
        self.command
    }

    /// The same, kept.
    #[must_use]
    pub fn into_owned(self) -> Attributes<'static> {
        Attributes {
            command: self.command,
            values: self.values.map(|value| value.map(AttributeValue::into_owned)),
        }
    }
}

impl<'i> AttributeValue<'i> {
    fn read(xtext: &'i str) -> Result<Self, Why> {
        if !parameter::is_xtext(xtext.as_bytes()) {
            return Err(Why::Value);
        }
        let text = if xtext.contains('+') {
            let octets = parameter::xtext_octets(xtext.as_bytes()).collect();
            Cow::Owned(String::from_utf8(octets).map_err(|_| Why::Encoding)?)
        } else {
            Cow::Borrowed(xtext)
        };
        Ok(if text.eq_ignore_ascii_case(UNAVAILABLE) {
            Self::Unavailable
        } else if text.eq_ignore_ascii_case(TEMPORARILY) {
            Self::TemporarilyUnavailable
        } else {
            Self::Known(text)
        })
    }

    /// As it stands on the wire.
    pub(crate) fn wire(&self) -> Cow<'_, str> {
        match self {
            // What is known was looked at: it is neither empty nor does it hold a control character.
            Self::Known(text) => Xtext::encode(text)
                .map_or(Cow::Borrowed(UNAVAILABLE), |xtext| Cow::Owned(xtext.as_str().to_string())),
            Self::Unavailable => Cow::Borrowed(UNAVAILABLE),
            Self::TemporarilyUnavailable => Cow::Borrowed(TEMPORARILY),
        }
    }

    /// The same, kept.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_stands_at_its_number() {
        for (number, attribute) in Attribute::ALL.into_iter().enumerate() {
            assert_eq!(attribute as usize, number);
        }
    }

    #[test]
    fn values_are_read_with_their_xtext() {
        let text = "name=spike.example ADDR=IPV6:2001:db8::1 PORT=[unavailable] LOGIN=a+20+C3+A9 HELO=x+2By";
        let attributes = Attributes::read(Proxied::XClient, text).unwrap();
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
    fn what_no_proxy_may_say_is_refused() {
        for (command, text, why) in [
            (Proxied::XClient, "", Why::MissingArgument),
            (Proxied::XClient, "NAME", Why::Parameter),
            (Proxied::XClient, "NAME=", Why::Value),
            (Proxied::XClient, "NAME=a b=c d", Why::Parameter),
            (Proxied::XClient, "NAME=a NAME=b", Why::ParameterTwice),
            (Proxied::XClient, "IDENT=x", Why::Parameter),
            (Proxied::XForward, "LOGIN=x", Why::Parameter),
            (Proxied::XClient, "NAME=a+0D+0ARSET", Why::Value),
            (Proxied::XClient, "NAME=a+20b", Why::Value),
            (Proxied::XClient, "NAME=a+C3+A9", Why::Value),
            (Proxied::XClient, "LOGIN=a+C3", Why::Encoding),
            (Proxied::XClient, "ADDR=2001:db8::1", Why::Value),
            (Proxied::XClient, "ADDR=[192.0.2.1]", Why::Value),
            (Proxied::XClient, "ADDR=192.0.2.256", Why::Value),
            (Proxied::XClient, "ADDR=[TEMPUNAVAIL]", Why::Value),
            (Proxied::XClient, "PORT=65536", Why::Value),
            (Proxied::XClient, "PORT=-1", Why::Value),
            (Proxied::XClient, "PROTO=LMTP", Why::Value),
            (Proxied::XForward, "SOURCE=BOTH", Why::Value),
        ] {
            assert_eq!(Attributes::read(command, text).unwrap_err(), why, "{text}");
        }
        let long = alloc::format!("NAME={}", "a".repeat(256));
        assert_eq!(Attributes::read(Proxied::XClient, &long).unwrap_err(), Why::Value);
        assert!(Attributes::read(Proxied::XForward, "ADDR=local PROTO=UUCP SOURCE=LOCAL IDENT=4711").is_ok());
        for bad in ["", "a\r\nRSET", "[UNAVAILABLE]", "[tempunavail]"] {
            assert!(Attributes::xclient().with(Attribute::Login, bad).is_err(), "{bad:?}");
        }
    }
}
