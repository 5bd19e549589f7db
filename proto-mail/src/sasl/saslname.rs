//! `saslname` (RFC 5802 §7, RFC 5801 §4): a name in which `,` and `=` are written `=2C` and `=3D`.

use alloc::string::String;

use super::SaslError;

/// Writes a name.
pub(super) fn write(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Reads a name: not empty, no `,`, no NUL, and no `=` but in the two forms.
pub(super) fn read(text: &str) -> Result<String, SaslError> {
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
    fn names_come_back_and_other_escapes_do_not() {
        for name in ["user", "a,b=c", "=2C", "jürgen"] {
            assert_eq!(read(&write(name)).unwrap(), name);
        }
        for bad in ["", "=", "=2c", "a=2", "a=00b", "a,b", "a\0b", "=="] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
