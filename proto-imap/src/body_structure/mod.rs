//! Body structures: the MIME tree of a message as the server has parsed it (RFC 9051 §7.5.2, RFC 2045).
//!
//! This module decodes nothing. Each part is parsed when it is visited.

pub(crate) mod encode;
pub(crate) mod encoded;
pub(crate) mod extension;
pub(crate) mod parse;

use crate::envelope::Envelope;
use crate::grammar::lazy_list::sealed::Sealed;
use crate::grammar::lazy_list::{LazyList, LazyValue};
use crate::grammar::owned::{owned_enum, owned_struct};
use crate::grammar::string::IString;

/// The structure of a message or of one of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyStructure<'i> {
    /// Several parts.
    Multipart(Multipart<'i>),
    /// A single part.
    Part(BodyPart<'i>),
}

/// The structure of a multipart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Multipart<'i> {
    /// The parts. May be empty if the server violates the grammar.
    pub parts: LazyList<'i, BodyStructure<'i>>,
    /// `mixed`, `alternative`, …
    pub subtype: IString<'i>,
    /// The parameters of the Content-Type, including the boundary. In `BODYSTRUCTURE` only.
    pub parameters: Parameters<'i>,
    /// The extension data. In `BODYSTRUCTURE` only.
    pub extension: BodyExtension<'i>,
}

/// The structure of a single part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPart<'i> {
    /// `text`, `image`, …
    pub media_type: IString<'i>,
    /// `plain`, `png`, …
    pub subtype: IString<'i>,
    /// The parameters of the Content-Type.
    pub parameters: Parameters<'i>,
    /// `Content-ID:`
    pub id: Option<IString<'i>>,
    /// `Content-Description:`
    pub description: Option<IString<'i>>,
    /// `Content-Transfer-Encoding:`
    pub encoding: IString<'i>,
    /// The size as transferred, in bytes.
    pub size: u64,
    /// The further fields of texts and messages.
    pub content: PartContent<'i>,
    /// `Content-MD5:`. In `BODYSTRUCTURE` only.
    pub md5: Option<IString<'i>>,
    /// The extension data. In `BODYSTRUCTURE` only.
    pub extension: BodyExtension<'i>,
}

/// The fields of a part that depend on its media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartContent<'i> {
    /// No further fields.
    Basic,
    /// A text.
    Text {
        /// The number of lines.
        lines: u64,
    },
    /// An attached message.
    Message {
        /// Its envelope.
        envelope: LazyValue<'i, Envelope<'i>>,
        /// Its structure.
        body: LazyValue<'i, BodyStructure<'i>>,
        /// The number of lines.
        lines: u64,
    },
}

/// The extension data that a multipart and a single part have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BodyExtension<'i> {
    /// `Content-Disposition:`
    pub disposition: Option<Disposition<'i>>,
    /// `Content-Language:`
    pub language: LazyList<'i, IString<'i>>,
    /// `Content-Location:`
    pub location: Option<IString<'i>>,
    /// Further extension data, exactly as received: values separated by spaces. Empty if there are none.
    pub further: IString<'i>,
}

/// A part's presentation: inline or as an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disposition<'i> {
    /// `inline`, `attachment`, …
    pub kind: IString<'i>,
    /// `filename` and others.
    pub parameters: Parameters<'i>,
}

/// Names with values. Names are compared without regard to case.
pub type Parameters<'i> = LazyList<'i, Parameter<'i>>;

/// A name with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'i> {
    /// The name.
    pub name: IString<'i>,
    /// The value.
    pub value: IString<'i>,
}

impl<'i> LazyList<'i, Parameter<'i>> {
    /// Returns the value of the first parameter with this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<IString<'i>> {
        let found = self.iter().find(|parameter| parameter.name.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(found.value)
    }
}

impl<'i> BodyStructure<'i> {
    /// Returns the parts of a multipart. A single part has none.
    #[must_use]
    pub const fn parts(&self) -> LazyList<'i, Self> {
        match self {
            Self::Multipart(multipart) => multipart.parts,
            Self::Part(_) => LazyList::EMPTY,
        }
    }

    /// Returns the media type: `multipart` for multiparts.
    #[must_use]
    pub const fn media_type(&self) -> IString<'i> {
        match self {
            Self::Multipart(_) => IString::new(b"multipart"),
            Self::Part(part) => part.media_type,
        }
    }

    /// Returns the media subtype.
    #[must_use]
    pub const fn subtype(&self) -> IString<'i> {
        match self {
            Self::Multipart(multipart) => multipart.subtype,
            Self::Part(part) => part.subtype,
        }
    }

    /// Returns the parameters of the Content-Type.
    #[must_use]
    pub const fn parameters(&self) -> Parameters<'i> {
        match self {
            Self::Multipart(multipart) => multipart.parameters,
            Self::Part(part) => part.parameters,
        }
    }

    /// Returns the extension data.
    #[must_use]
    pub const fn extension(&self) -> BodyExtension<'i> {
        match self {
            Self::Multipart(multipart) => multipart.extension,
            Self::Part(part) => part.extension,
        }
    }

    /// Returns the part with these numbers (RFC 9051 §6.4.5.1): `[1, 2]` is `BODY[1.2]`. `[]` is the structure
    /// itself.
    #[must_use]
    pub fn part(&self, numbers: &[u32]) -> Option<Self> {
        let mut here = *self;
        let mut rest = numbers;
        while let Some((number, deeper)) = rest.split_first() {
            let index = usize::try_from(*number).ok()?.checked_sub(1)?;
            here = match here {
                Self::Multipart(multipart) => multipart.parts.iter().nth(index)?,
                // Part 1 of a message that is not a multipart is its body.
                Self::Part(_) if numbers.len() == rest.len() && index == 0 => here,
                Self::Part(BodyPart { content: PartContent::Message { body, .. }, .. }) => {
                    match body.view()? {
                        Self::Multipart(multipart) => multipart.parts.iter().nth(index)?,
                        part if index == 0 => part,
                        Self::Part(_) => return None,
                    }
                }
                Self::Part(_) => return None,
            };
            rest = deeper;
        }
        Some(here)
    }
}

impl Sealed for BodyStructure<'_> {}

impl Sealed for Parameter<'_> {}

owned_enum!(BodyStructure { Multipart(a), Part(a) });

owned_struct!(Multipart { parts, subtype, parameters, extension });

owned_struct!(BodyPart {
    media_type,
    subtype,
    parameters,
    id,
    description,
    encoding,
    size,
    content,
    md5,
    extension
});

owned_enum!(PartContent { Basic, Text { lines }, Message { envelope, body, lines } });

owned_struct!(BodyExtension { disposition, language, location, further });

owned_struct!(Disposition { kind, parameters });

owned_struct!(Parameter { name, value });
