//! Text from a peer, made safe for a terminal or a log.

use alloc::string::String;

/// Returns the text as one line that is safe to show: it cannot control a terminal, forge a line, or reverse the order of
/// what is shown.
///
/// Line ends and tabs become spaces. Other control characters, and those that control the writing direction (Unicode's
/// `Bidi_Control`), become U+FFFD. The length is not limited, and the text remains untrusted: it is no safe file name.
///
/// ```
/// assert_eq!(proto_mail::printable("Sent\u{1b}[2J\r\n* OK"), "Sent\u{fffd}[2J\u{fffd} * OK");
/// ```
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(printable_char).collect()
}

/// Returns the character that [`printable`] shows instead of this one, which may be the same.
#[must_use]
pub const fn printable_char(char: char) -> char {
    match char {
        '\n' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        // C0, DEL and C1: the characters of `char::is_control`.
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => char::REPLACEMENT_CHARACTER,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            char::REPLACEMENT_CHARACTER
        }
        _ => char,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_every_control_character_and_nothing_else() {
        for char in (0..=0x10_ffff).filter_map(char::from_u32) {
            let shown = printable_char(char);
            assert!(!shown.is_control(), "{char:?}");
            assert!(shown == char || char.is_control() || u32::from(char) >= 0x61c, "{char:?}");
        }
        assert_eq!(printable("Grüße, 世界 🎉"), "Grüße, 世界 🎉");
        assert_eq!(printable("a\u{202e}b\u{2028}c"), "a\u{fffd}b c");
    }
}
