//! Types with words of the protocol as values.

macro_rules! words {
    ($type:ty { $($name:ident = $text:literal,)* }) => {
        impl $type {
            /// Returns the word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns the value with this word. Case is ignored.
            pub(crate) fn from_wire(word: &[u8]) -> Option<Self> {
                $(if word.eq_ignore_ascii_case($text.as_bytes()) {
                    return Some(Self::$name);
                })*
                None
            }
        }
    };
}

pub(crate) use words;
