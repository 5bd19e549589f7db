//! The base subject: a subject without the artifacts of replies and forwards (RFC 5256 §2.1).

use alloc::string::String;

/// A subject without "Re:", "Fwd:", list names in brackets and the like (RFC 5256 §2.1).
///
/// ```
/// use proto_imap::sort_order::BaseSubject;
/// let base = BaseSubject::new("[list] Re: [list] Lunch  at noon? (fwd)");
/// assert_eq!(base.text(), "Lunch at noon?");
/// assert!(base.is_reply());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseSubject {
    text: String,
    is_reply: bool,
}

impl BaseSubject {
    /// Extracts the base subject. The caller decodes encoded-words before (RFC 2047). Takes time linear in the length of
    /// the subject.
    #[must_use]
    pub fn new(subject: &str) -> Self {
        // Step 1. The rest works on a part of this text.
        let text = with_single_spaces(subject);
        let mut rest = text.as_str();
        let mut is_reply = false;
        loop {
            rest = without_trailers(rest, &mut is_reply);
            rest = without_leaders(rest, &mut is_reply);
            // Step 6.
            let Some(inner) = forwarded(rest) else { break };
            is_reply = true;
            rest = inner;
        }
        Self { text: String::from(rest), is_reply }
    }

    /// Returns the base subject. May be empty.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether the message is a reply or a forward, judged by its subject (RFC 5256 §3, REFERENCES).
    #[must_use]
    pub const fn is_reply(&self) -> bool {
        self.is_reply
    }
}

/// Step 1: tabs and line ends become spaces, and several spaces one.
fn with_single_spaces(subject: &str) -> String {
    let mut text = String::with_capacity(subject.len());
    for character in subject.chars() {
        let character = if matches!(character, '\t' | '\r' | '\n') { ' ' } else { character };
        if character != ' ' || !text.ends_with(' ') {
            text.push(character);
        }
    }
    text
}

/// Step 2: `subj-trailer = "(fwd)" / WSP`
fn without_trailers<'t>(text: &'t str, is_reply: &mut bool) -> &'t str {
    let mut rest = text;
    loop {
        rest = rest.trim_end_matches(' ');
        let Some((before, end)) = rest.len().checked_sub(5).and_then(|at| rest.split_at_checked(at)) else {
            return rest;
        };
        if !end.eq_ignore_ascii_case("(fwd)") {
            return rest;
        }
        *is_reply = true;
        rest = before;
    }
}

/// Steps 3 to 5: `subj-leader = (*subj-blob subj-refwd) / WSP`, and `subj-blob` if it leaves something.
fn without_leaders<'t>(text: &'t str, is_reply: &mut bool) -> &'t str {
    let mut rest = text;
    // The blobs before a position are looked at once: what follows them decides about all.
    loop {
        rest = rest.trim_start_matches(' ');
        let behind_blobs = without_blobs(rest);
        if let Some(behind) = without_refwd(behind_blobs) {
            *is_reply = true;
            rest = behind;
        } else if behind_blobs.len() == rest.len() {
            return rest;
        } else if behind_blobs.is_empty() {
            // The last blob is the base subject.
            return last_blob(rest);
        } else {
            rest = behind_blobs;
        }
    }
}

/// `*subj-blob`
fn without_blobs(text: &str) -> &str {
    let mut rest = text;
    while let Some(behind) = without_blob(rest) {
        rest = behind;
    }
    rest
}

/// The last of the blobs that a text consists of.
fn last_blob(text: &str) -> &str {
    let mut rest = text;
    loop {
        match without_blob(rest) {
            Some(behind) if !behind.is_empty() => rest = behind,
            _ => return rest,
        }
    }
}

/// `subj-blob = "[" *BLOBCHAR "]" *WSP`
fn without_blob(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('[')?;
    let end = inner.find(['[', ']'])?;
    let behind = inner.get(end..)?.strip_prefix(']')?;
    Some(behind.trim_start_matches(' '))
}

/// `subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"`
fn without_refwd(text: &str) -> Option<&str> {
    let start = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    let word = ["fwd", "re", "fw"].into_iter().find(|word| start(word))?;
    let rest = text.get(word.len()..)?.trim_start_matches(' ');
    without_blob(rest).unwrap_or(rest).strip_prefix(':')
}

/// `subj-fwd = subj-fwd-hdr subject subj-fwd-trl`: returns what is between them.
fn forwarded(text: &str) -> Option<&str> {
    let (header, rest) = text.split_at_checked(5)?;
    if !header.eq_ignore_ascii_case("[fwd:") {
        return None;
    }
    rest.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_the_artifacts_of_replies_and_forwards() {
        for (subject, base, is_reply) in [
            ("Lunch", "Lunch", false),
            ("", "", false),
            ("  Lunch\r\n\tat  noon ", "Lunch at noon", false),
            ("Re: Lunch", "Lunch", true),
            ("RE : re:Lunch", "Lunch", true),
            ("Fw: FWD: Lunch", "Lunch", true),
            ("Re[2]: Lunch", "Lunch", true),
            ("re [list] : Lunch", "Lunch", true),
            ("[list] Lunch", "Lunch", false),
            ("[list] [other] Re: [list] Lunch", "Lunch", true),
            ("Lunch (fwd) (FWD) ", "Lunch", true),
            ("[fwd: Lunch]", "Lunch", true),
            ("[Fwd: [list] Re: Lunch (fwd)]", "Lunch", true),
            ("Re: [fwd: [fwd: Lunch] (fwd)]", "Lunch", true),
            ("[list]", "[list]", false),
            ("[a] [b]", "[b]", false),
            ("Re: [list]", "[list]", true),
            ("[list] Re:", "", true),
            ("Re:", "", true),
            ("(fwd)", "", true),
            ("Reply: Lunch", "Reply: Lunch", false),
            ("forward: x", "forward: x", false),
            ("[unclosed Lunch", "[unclosed Lunch", false),
            ("[a[b] Lunch", "[a[b] Lunch", false),
            ("[fwd: Lunch", "[fwd: Lunch", false),
            ("Aw: Lunch", "Aw: Lunch", false),
            ("Ré: é", "Ré: é", false),
            ("é(fwd)", "é", true),
        ] {
            let found = BaseSubject::new(subject);
            assert_eq!((found.text(), found.is_reply()), (base, is_reply), "{subject:?}");
        }
    }

    #[test]
    fn a_base_subject_stays_the_same() {
        for subject in ["Re: [x] [fwd: a (fwd)]", "[a] [b] Re[3] : c  d", "[fwd: [fwd: ]]"] {
            let base = BaseSubject::new(subject);
            let again = BaseSubject::new(base.text());
            assert_eq!((again.text(), again.is_reply()), (base.text(), false), "{subject:?}");
        }
    }
}
