//! The services of a server: one for each kind of port.

/// The protocol of a listening port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Smtp,
    Smtps,
    /// LMTP, for programs on this machine.
    Lmtp,
    Imap,
    Imaps,
}

impl Service {
    pub(super) const ALL: [Self; 5] = [Self::Smtp, Self::Smtps, Self::Lmtp, Self::Imap, Self::Imaps];

    /// Returns the service's name, which is also its option and the scheme of its URLs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Smtps => "smtps",
            Self::Lmtp => "lmtp",
            Self::Imap => "imap",
            Self::Imaps => "imaps",
        }
    }
}
