//! Modified UTF-7: the encoding of mailbox names in IMAP4rev1 (RFC 3501 §5.1.3).
//!
//! Printable ASCII represents itself and `&` is `&-`. Every run of other characters is UTF-16 in base64 between `&`
//! and `-`, with `,` for `/` and without padding. A name has exactly one valid encoding, and the strict decoder
//! accepts only that one: otherwise one mailbox could appear under two names. Control characters are rejected (RFC
//! 9051 §5.1), so that base64 cannot hide a line end.

use alloc::borrow::Cow;
use alloc::string::String;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/// An iterator over the bytes of `text` in modified UTF-7. All of them are printable ASCII.
#[derive(Debug, Clone)]
pub(crate) struct Encoder<'i> {
    text: core::str::Chars<'i>,
    /// Bytes to return next, in reverse order.
    due: [u8; 8],
    count: usize,
    /// Bits that do not make six yet, and their number.
    bits: u32,
    held: u32,
    shifted: bool,
}

impl<'i> Encoder<'i> {
    pub(crate) fn new(text: &'i str) -> Self {
        Self { text: text.chars(), due: [0; 8], count: 0, bits: 0, held: 0, shifted: false }
    }

    /// Queues a byte. The first queued byte is returned last.
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.due.get_mut(self.count) {
            *place = byte;
            self.count += 1;
        }
    }

    /// Ends a run: queues the remaining bits and `-`.
    fn unshift(&mut self) {
        self.push(b'-');
        if self.held > 0 {
            self.push(digit(self.bits << (6 - self.held)));
        }
        (self.bits, self.held, self.shifted) = (0, 0, false);
    }

    fn step(&mut self) -> Option<()> {
        let mut ahead = self.text.clone();
        let Some(next) = ahead.next() else {
            return self.shifted.then(|| self.unshift());
        };
        match next {
            ' '..='~' if self.shifted => {
                self.unshift();
                return Some(());
            }
            '&' => {
                self.push(b'-');
                self.push(b'&');
            }
            // The pattern matches ASCII only.
            ' '..='~' => self.push(next as u8),
            _ => self.encode(next),
        }
        self.text = ahead;
        Some(())
    }

    fn encode(&mut self, next: char) {
        let mut out = [0; 8];
        let mut len = 0;
        let mut put = |byte| {
            if let Some(place) = out.get_mut(len) {
                *place = byte;
                len += 1;
            }
        };
        if !self.shifted {
            put(b'&');
            self.shifted = true;
        }
        for unit in next.encode_utf16(&mut [0; 2]) {
            // At most 4 bits are held, and 16 are added.
            self.bits = (self.bits << 16) | u32::from(*unit);
            self.held += 16;
            while self.held >= 6 {
                self.held -= 6;
                put(digit(self.bits >> self.held));
            }
            self.bits &= (1 << self.held) - 1;
        }
        for byte in out.iter().take(len).rev() {
            self.push(*byte);
        }
    }
}

impl Iterator for Encoder<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        while self.count == 0 {
            self.step()?;
        }
        self.count -= 1;
        self.due.get(self.count).copied()
    }
}

fn digit(bits: u32) -> u8 {
    BASE64.get(bits as usize & 63).copied().unwrap_or_default()
}

/// Returns the text that `bytes` encode in modified UTF-7; `None` if they are not its only valid encoding.
pub(crate) fn decode(bytes: &[u8]) -> Option<Cow<'_, str>> {
    match decode_pieces(bytes, |_| None)? {
        // Two adjacent runs are invalid: the valid encoding is a single run.
        Cow::Owned(text) if !Encoder::new(&text).eq(bytes.iter().copied()) => None,
        text => Some(text),
    }
}

/// Like [`decode`], but keeps a run that cannot be decoded, and replaces bytes that are neither ASCII nor UTF-8 by
/// U+FFFD.
pub(crate) fn decode_lossy(bytes: &[u8]) -> Cow<'_, str> {
    decode_pieces(bytes, |piece| Some(String::from_utf8_lossy(piece))).unwrap_or_default()
}

/// Decodes run by run; `other` returns the text of a run that cannot be decoded.
fn decode_pieces<'o>(
    bytes: &'o [u8],
    other: impl Fn(&'o [u8]) -> Option<Cow<'o, str>>,
) -> Option<Cow<'o, str>> {
    let direct = |piece: &'o [u8]| {
        if piece.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            core::str::from_utf8(piece).ok().map(Cow::Borrowed)
        } else {
            other(piece)
        }
    };
    let Some(mut at) = memchr::memchr(b'&', bytes) else { return direct(bytes) };
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        let (before, run) = rest.split_at_checked(at)?;
        if !before.is_empty() {
            text.push_str(&direct(before)?);
        }
        // The run includes its `&` and its `-`. Without a `-` it extends to the next `&`.
        let end = run.iter().skip(1).position(|byte| matches!(byte, b'-' | b'&')).map(|end| end + 1);
        let end = match end {
            Some(end) if run.get(end) == Some(&b'-') => end + 1,
            Some(end) => end,
            None => run.len(),
        };
        let (run, behind) = run.split_at_checked(end)?;
        let before = text.len();
        if decode_run(run, &mut text).is_none() {
            text.truncate(before);
            text.push_str(&other(run)?);
        }
        rest = behind;
        match memchr::memchr(b'&', rest) {
            Some(next) => at = next,
            None if rest.is_empty() => return Some(Cow::Owned(text)),
            None => {
                text.push_str(&direct(rest)?);
                return Some(Cow::Owned(text));
            }
        }
    }
}

/// Decodes `&…-`. Returns `None` if it is not the valid encoding of its text; `text` may have grown nevertheless.
fn decode_run(run: &[u8], text: &mut String) -> Option<()> {
    let inside = run.strip_prefix(b"&")?.strip_suffix(b"-")?;
    if inside.is_empty() {
        text.push('&');
        return Some(());
    }
    let (mut bits, mut held) = (0_u32, 0_u32);
    let mut units = inside.iter().filter_map(|byte| {
        let digit = base64_value(*byte)?;
        // At most 15 bits are held, and 6 are added.
        bits = (bits << 6) | digit;
        held += 6;
        if held < 16 {
            return None;
        }
        held -= 16;
        let unit = bits >> held;
        bits &= (1 << held) - 1;
        u16::try_from(unit).ok()
    });
    let begin = text.len();
    for unit in char::decode_utf16(units.by_ref()) {
        let decoded = unit.ok().filter(|decoded| !matches!(decoded, ' '..='~') && !decoded.is_control())?;
        text.push(decoded);
    }
    let digits = inside.iter().all(|byte| base64_value(*byte).is_some());
    // Fewer than six bits may remain, and they must be zero.
    (digits && held < 6 && bits == 0 && text.len() > begin).then_some(())
}

const fn base64_value(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b',' => 63,
        _ => return None,
    };
    Some(value as u32)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::*;

    fn encode(text: &str) -> String {
        String::from_utf8(Encoder::new(text).collect()).unwrap()
    }

    #[test]
    fn round_trips_names() {
        for (text, wire) in [
            ("INBOX", "INBOX"),
            ("Entwürfe", "Entw&APw-rfe"),
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("A & B", "A &- B"),
            ("&", "&-"),
            ("&&ü&", "&-&-&APw-&-"),
            ("☺!", "&Jjo-!"),
            ("😀", "&2D3eAA-"),
            ("", ""),
            ("Gelöschte Elemente", "Gel&APY-schte Elemente"),
        ] {
            assert_eq!(encode(text), wire);
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(text));
            assert_eq!(decode_lossy(wire.as_bytes()), text);
        }
    }

    #[test]
    fn round_trips_every_character() {
        let all: Vec<char> = (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| !c.is_control()).collect();
        for piece in all.chunks(61) {
            let text: String = piece.iter().collect();
            let wire = encode(&text);
            assert!(wire.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            assert_eq!(decode(wire.as_bytes()).as_deref(), Some(&*text));
        }
        for one in all.iter().step_by(97) {
            let text = one.to_string();
            assert_eq!(decode(encode(&text).as_bytes()).as_deref(), Some(&*text));
        }
    }

    #[test]
    fn rejects_or_keeps_invalid_encodings() {
        for bad in [
            "&",
            "&APw",
            "a&APw",
            "&APw-&APY-",
            "&AGE-",
            "&APx-",
            "&A-",
            "&AP-",
            "&APwA-",
            "&2D0-",
            "&3gA-",
            "&2D0AYQ-",
            "&Jjo!",
            "& -",
            "&AA0ACg-",
            "&AAA-",
            "&AIU-",
            "&AP/w-",
            "&U,BTFw-&ZeVnLIqe-",
            "&AAA",
            "&=-",
        ] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(decode(b"caf\xc3\xa9"), None);
        assert_eq!(decode(b"a\tb"), None);
        assert_eq!(decode_lossy(b"&AGE-/&APw-/&Jjo!"), "&AGE-/ü/&Jjo!");
        assert_eq!(decode_lossy("café/&APw-".as_bytes()), "café/ü");
        assert_eq!(decode_lossy(b"a\xff&-"), "a\u{fffd}&");
    }

    proptest::proptest! {
        #[test]
        fn round_trips_any_text(text in "\\PC*") {
            assert_eq!(decode(encode(&text).as_bytes()).as_deref(), Some(&*text));
        }

        #[test]
        fn reencodes_to_the_same_bytes(bytes in proptest::collection::vec(
            proptest::sample::select(&b"&-AGPwYQ,+/= \xc3\xbc2D3e"[..]), 0..24)) {
            if let Some(text) = decode(&bytes) {
                assert_eq!(encode(&text).as_bytes(), bytes);
                assert_eq!(decode_lossy(&bytes), text);
            }
            let _ = decode_lossy(&bytes);
        }
    }
}
