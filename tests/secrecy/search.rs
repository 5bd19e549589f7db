//! Searches for every piece of six bytes of every secret: as is, in base64 at each of the three offsets, escaped, in
//! hexadecimal and as the list of numbers that `Debug` makes of bytes.
//!
//! This module knows forms of bytes and no protocol.

use std::collections::HashMap;

/// The shortest piece that counts as found.
const PIECE: usize = 6;

/// The forms to search for, by their first bytes.
#[derive(Default)]
pub(crate) struct SecretSearch {
    forms: HashMap<[u8; PIECE], Vec<Vec<u8>>>,
}

impl SecretSearch {
    pub(crate) fn new(secrets: &[&[u8]]) -> Self {
        let mut search = Self::default();
        for secret in secrets {
            assert!(secret.len() >= PIECE, "too short to distinguish from chance");
            for offset in 0..3 {
                base64(secret, offset).windows(PIECE).for_each(|piece| search.add(piece));
            }
            for piece in secret.windows(PIECE) {
                search.add(piece);
                let numbers: Vec<String> = piece.iter().map(u8::to_string).collect();
                let hexadecimal: String = piece.iter().map(|byte| format!("{byte:02x}")).collect();
                for form in [
                    numbers.join(", "),
                    hexadecimal.to_uppercase(),
                    hexadecimal,
                    piece.escape_ascii().to_string(),
                ] {
                    search.add(form.as_bytes());
                }
                if let Ok(text) = std::str::from_utf8(piece) {
                    search.add(text.escape_debug().to_string().as_bytes());
                    search.add(text.escape_default().to_string().as_bytes());
                }
            }
        }
        search
    }

    fn add(&mut self, form: &[u8]) {
        let forms = self.forms.entry(form[..PIECE].try_into().unwrap()).or_default();
        if !forms.iter().any(|known| known == form) {
            forms.push(form.to_vec());
        }
    }

    /// Fails if `text` holds a piece of a secret.
    pub(crate) fn finds_nothing(&self, name: &str, text: &str) {
        if let Some(piece) = self.find(text.as_bytes()) {
            panic!("{name}: {piece:?} of a secret is in\n{text}");
        }
    }

    /// The first piece of a secret in `text`.
    pub(crate) fn find(&self, text: &[u8]) -> Option<String> {
        (0..text.len()).find_map(|at| {
            let forms = self.forms.get(text[at..].first_chunk::<PIECE>()?)?;
            let form = forms.iter().find(|form| text[at..].starts_with(form))?;
            Some(form.escape_ascii().to_string())
        })
    }
}

/// The part of a secret's base64 that does not depend on neighbouring bytes, after `offset` other bytes.
fn base64(secret: &[u8], offset: usize) -> Vec<u8> {
    let around = [&vec![0; offset], secret].concat();
    let encoded = proto_mail::sasl::encode_base64(&around);
    let first = (offset * 8).div_ceil(6);
    let last = around.len() * 8 / 6;
    encoded.expose()[first..last].to_vec()
}

#[test]
fn finds_every_form_of_a_secret() {
    let secret = b"Xq7-zTvK2~mW9p";
    let search = SecretSearch::new(&[secret]);
    for offset in 0..7 {
        let around = [&b"AHUAbcdefgh"[..offset], secret, b"\0behind"].concat();
        let encoded = proto_mail::sasl::encode_base64(&around);
        assert!(search.find(encoded.expose()).is_some(), "in base64 at {offset}");
        assert!(search.find(&around).is_some());
        assert!(search.find(format!("{around:?}").as_bytes()).is_some(), "as a list");
        assert!(search.find(format!("{}", around.escape_ascii()).as_bytes()).is_some(), "escaped");
        let hexadecimal: String = around.iter().map(|byte| format!("{byte:02X}")).collect();
        assert!(search.find(hexadecimal.as_bytes()).is_some(), "hexadecimal");
    }
    for piece in secret.windows(PIECE) {
        assert!(search.find(piece).is_some(), "any piece of it");
    }
    for piece in secret.windows(PIECE - 1) {
        assert_eq!(search.find(piece), None);
    }
    let escaped = SecretSearch::new(&["Xq7\"zT\\vK2".as_bytes(), "zT\u{e4}vK2\u{df}".as_bytes()]);
    assert!(escaped.find(format!("{:?}", "Xq7\"zT\\vK2").as_bytes()).is_some());
    assert!(escaped.find("zT\u{e4}vK2\u{df}".escape_default().to_string().as_bytes()).is_some());
    assert_eq!(search.find(b"a6 OK [CAPABILITY IMAP4rev2] welcome; [18 bytes redacted]"), None);
}
