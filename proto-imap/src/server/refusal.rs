//! The reason why the machine rejects a command.

/// The reason why the machine rejects a command.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The condition and an optional code: `BAD`, `NO [PRIVACYREQUIRED]`.
    pub(super) condition: &'static str,
    pub(super) text: &'static str,
}

impl Refusal {
    pub(super) const fn bad(text: &'static str) -> Self {
        Self { condition: "BAD", text }
    }

    pub(super) const fn no(condition: &'static str, text: &'static str) -> Self {
        Self { condition, text }
    }
}
