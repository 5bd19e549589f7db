//! AUTH: the command (RFC 4954 §4). The SASL exchange is in the client and server modules.

use alloc::borrow::Cow;

use proto_mail::SendBuffer;

use crate::ascii;
use crate::encode;
use crate::secret_bytes::SecretBytes;
use crate::syntax::{SyntaxError, SyntaxFault, trim_spaces};

/// Parses the arguments of AUTH: `SP sasl-mech [SP initial-response]` (RFC 4954 §8).
pub(crate) fn parse_auth<'i>(
    line: &'i [u8],
    rest: &'i [u8],
) -> Result<(Cow<'i, str>, Option<SecretBytes<'i>>), SyntaxError> {
    let mut words = trim_spaces(rest).splitn(2, |&byte| byte == b' ');
    let name = words.next().unwrap_or_default();
    if name.is_empty() {
        return Err(SyntaxError::at(line, b"", SyntaxFault::MissingArgument));
    }
    // sasl-mech: 1*20( ALPHA / DIGIT / "-" / "_" ) (RFC 4422 §3.1)
    let is_name =
        name.len() <= 20 && name.iter().all(|&byte| ascii::is(byte, ascii::ALNUM) || b"-_".contains(&byte));
    match core::str::from_utf8(name) {
        Ok(mechanism) if is_name => Ok((Cow::Borrowed(mechanism), words.next().map(SecretBytes::new))),
        _ => Err(SyntaxError::at(line, rest, SyntaxFault::Mechanism)),
    }
}

/// Writes AUTH. The initial response is queued as a secret.
pub(crate) fn encode_auth(mechanism: &str, initial: Option<&SecretBytes<'_>>, tx: &mut SendBuffer) {
    tx.put(b"AUTH ");
    encode::clean(mechanism.as_bytes(), tx);
    if let Some(initial) = initial {
        tx.put(b" ");
        // Base64 is printable. Anything else is replaced by `*`, which cancels the exchange.
        let is_clean = initial.expose().iter().all(u8::is_ascii_graphic);
        tx.put_secret(if is_clean { initial.expose() } else { b"*" });
    }
    tx.put(b"\r\n");
}
