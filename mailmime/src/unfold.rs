//! Unfolds the values of header fields (RFC 5322 §2.2.3).

/// Returns the text of a field value without folding, surrounding blanks, CR, LF and NUL. A value that is not UTF-8 is
/// read as ISO 8859-1.
pub(crate) fn unfold(value: &[u8]) -> String {
    let clean: Vec<u8> = value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
    let clean = clean.trim_ascii();
    match std::str::from_utf8(clean) {
        Ok(text) => text.to_owned(),
        Err(_) => clean.iter().map(|&byte| char::from(byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfolding_removes_cr_lf_and_nul() {
        assert_eq!(unfold(b" a\r\n b\0c\r\n"), "a bc");
        assert_eq!(unfold(b"caf\xe9"), "café");
    }
}
