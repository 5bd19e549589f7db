//! The services of a server: one for each kind of port.

/// The protocol of a listening port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Submission with STARTTLS.
    Smtp,
    /// Submission with implicit TLS.
    Smtps,
    /// LMTP, for programs on this machine.
    Lmtp,
    /// IMAP with STARTTLS.
    Imap,
    /// IMAP with implicit TLS.
    Imaps,
}

impl Service {
    /// All services.
    pub const ALL: [Self; 5] = [Self::Smtp, Self::Smtps, Self::Lmtp, Self::Imap, Self::Imaps];

    /// Returns the service's name, which is also the scheme of its URLs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Smtps => "smtps",
            Self::Lmtp => "lmtp",
            Self::Imap => "imap",
            Self::Imaps => "imaps",
        }
    }
}
