//! `saslname` (RFC 5802 §7, RFC 5801 §4): a user name in which `,` and `=` are written `=2C` and `=3D`.

use alloc::string::String;

use super::SaslError;

/// Escapes a name.
pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Unescapes a name. It must not be empty or hold `,`, NUL or any other escape.
pub(super) fn unescape(text: &str) -> Result<String, SaslError> {
    let mut name = String::with_capacity(text.len());
    let mut parts = text.split('=');
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (char, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(SaslError::Malformed),
        };
        name.push(char);
        name.push_str(rest);
    }
    if text.is_empty() || text.contains([',', '\0']) { Err(SaslError::Malformed) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unescapes_what_it_escapes_and_rejects_other_escapes() {
        for name in ["user", "a,b=c", "=2C", "jürgen"] {
            assert_eq!(unescape(&escape(name)).unwrap(), name);
        }
        for bad in ["", "=", "=2c", "a=2", "a=00b", "a,b", "a\0b", "=="] {
            assert!(unescape(bad).is_err(), "{bad:?}");
        }
    }
}
