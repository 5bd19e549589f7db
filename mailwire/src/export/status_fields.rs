//! Header fields with a message's flags, as mbox files have them: Status, X-Status and X-Keywords. mutt, Dovecot and other
//! programs read them.

use mailstore::Flags;

/// Returns the fields of all flags but `\Seen` and `\Recent`, each with this line end.
pub(super) fn status_fields(flags: &Flags, line_end: &str) -> String {
    let letters = [(Flags::ANSWERED, 'A'), (Flags::FLAGGED, 'F'), (Flags::DRAFT, 'T'), (Flags::DELETED, 'D')];
    let letters: String =
        letters.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, letter)| letter).collect();
    let mut fields = String::new();
    if !letters.is_empty() {
        fields.push_str(&format!("X-Status: {letters}{line_end}"));
    }
    if !flags.keywords().is_empty() {
        fields.push_str(&format!("X-Keywords: {}{line_end}", flags.keywords().join(" ")));
    }
    fields
}
