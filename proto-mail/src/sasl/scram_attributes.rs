//! The attributes of a SCRAM message (RFC 5802 §5.1 and §7).

use super::SaslError;

/// The longest message that is accepted from the peer, in bytes.
pub(super) const MAX_MESSAGE: usize = 4096;

/// `attr-val *("," attr-val)`
pub(super) struct Attributes<'m> {
    rest: Option<&'m str>,
}

impl<'m> Attributes<'m> {
    pub(super) fn of(message: &'m [u8]) -> Result<Self, SaslError> {
        if message.len() > MAX_MESSAGE {
            return Err(SaslError::TooLong);
        }
        let message = core::str::from_utf8(message).map_err(|_| SaslError::Malformed)?;
        if message.contains('\0') {
            return Err(SaslError::Malformed);
        }
        Ok(Self { rest: Some(message) })
    }

    pub(super) fn next(&mut self) -> Result<(u8, &'m str), SaslError> {
        let rest = self.rest.ok_or(SaslError::Malformed)?;
        let attribute = match rest.split_once(',') {
            Some((attribute, rest)) => {
                self.rest = Some(rest);
                attribute
            }
            None => {
                self.rest = None;
                rest
            }
        };
        match attribute.split_once('=') {
            Some((name, value)) if !value.is_empty() => match name.as_bytes() {
                [b'm'] => Err(SaslError::UnsupportedExtension),
                [name] if name.is_ascii_alphabetic() => Ok((*name, value)),
                _ => Err(SaslError::Malformed),
            },
            _ => Err(SaslError::Malformed),
        }
    }

    pub(super) fn named(&mut self, expected: u8) -> Result<&'m str, SaslError> {
        match self.next()? {
            (name, value) if name == expected => Ok(value),
            _ => Err(SaslError::Malformed),
        }
    }

    /// `r=` and printable characters.
    pub(super) fn nonce(&mut self) -> Result<&'m str, SaslError> {
        let nonce = self.named(b'r')?;
        if nonce.bytes().all(|byte| byte.is_ascii_graphic()) { Ok(nonce) } else { Err(SaslError::Malformed) }
    }

    /// Only unknown extensions may follow.
    pub(super) fn only_extensions(mut self) -> Result<(), SaslError> {
        while self.rest.is_some() {
            if b"acenimprsv".contains(&self.next()?.0) {
                return Err(SaslError::Malformed);
            }
        }
        Ok(())
    }
}
