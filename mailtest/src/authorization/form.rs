//! Forms: pairs of name and value as in a query (`application/x-www-form-urlencoded`).

/// The pairs of a form. A name must not be repeated (RFC 6749 §3.1).
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Parses a form. `None`: it is not valid, or repeats a name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name)?;
            if pairs.iter().any(|(known, _)| *known == name) {
                return None;
            }
            pairs.push((name, decode(value)?));
        }
        Some(Self(pairs))
    }

    /// Returns a value, or an empty one if it is not set.
    pub(super) fn value(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Encodes a value.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_it_encodes() {
        for text in ["", "a b+c", "https://mail.test/?a=b&c", "ä%"] {
            let form = Form::parse(&format!("x=1&name={}", encode(text))).unwrap();
            assert_eq!(form.value("name"), text);
        }
        for text in ["a=%4", "a=%zz", "a=%ff", "a=1&a=2"] {
            assert!(Form::parse(text).is_none(), "{text}");
        }
    }
}
