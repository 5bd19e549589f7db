//! EHLO parameters that a server announces with its extensions.
//!
//! Those of SIZE and AUTH follow from other settings. How each is written is in `server/hello.rs`.

use alloc::vec::Vec;

use crate::burl::BurlSource;
use crate::deliver_by::MAX_SECONDS;
use crate::future_release::FutureRelease;
use crate::priority::PriorityProfile;
use crate::server_limits::ServerLimits;
use crate::solicitation::Solicitation;

/// The parameters that a server announces with its extensions, and enforces. By default there are none.
///
/// ```
/// use proto_smtp::types::{Extension, ExtensionParameters, Solicitation};
/// let unwanted = Solicitation::parse("org.example:ADV")?.into_owned();
/// let parameters = ExtensionParameters::default().min_by_time(60).no_soliciting(unwanted);
/// let config = proto_smtp::Config::default();
/// let extensions = config.extensions.with(Extension::DeliverBy).with(Extension::NoSoliciting);
/// let config = config.extensions(extensions).extension_parameters(parameters);
/// # Ok::<(), proto_smtp::types::SyntaxError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ExtensionParameters {
    /// LIMITS: enforced in any case, and announced where the extension is offered. `RCPTMAX` is at most
    /// [`recipients`](proto_mail::Limits::recipients).
    pub limits: ServerLimits,
    /// DELIVERBY: the shortest time that a client can request with return, in seconds.
    pub min_by_time: Option<u32>,
    /// MT-PRIORITY: the priority assignment policy.
    pub priority_profile: Option<PriorityProfile<'static>>,
    /// FUTURERELEASE: the longest time for which messages are held. Without it the extension is not offered.
    pub future_release: Option<FutureRelease>,
    /// BURL: the sources that the server fetches from. An empty list means [`Any`](BurlSource::Any).
    pub burl: Vec<BurlSource<'static>>,
    /// NO-SOLICITING: the keywords of unwanted messages. A message with one of them is rejected.
    pub no_soliciting: Option<Solicitation<'static>>,
}

impl ExtensionParameters {
    /// Sets the limits of LIMITS.
    #[must_use]
    pub const fn limits(mut self, limits: ServerLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the shortest time that a client can request with return, in seconds. At most 999 999 999.
    #[must_use]
    pub const fn min_by_time(mut self, seconds: u32) -> Self {
        self.min_by_time = Some(if seconds > MAX_SECONDS { MAX_SECONDS } else { seconds });
        self
    }

    /// Sets the priority assignment policy.
    #[must_use]
    pub fn priority_profile(mut self, profile: PriorityProfile<'static>) -> Self {
        self.priority_profile = Some(profile);
        self
    }

    /// Sets the longest time for which messages are held.
    #[must_use]
    pub const fn future_release(mut self, most: FutureRelease) -> Self {
        self.future_release = Some(most);
        self
    }

    /// Adds a source that the server fetches from.
    #[must_use]
    pub fn burl(mut self, source: BurlSource<'static>) -> Self {
        self.burl.push(source);
        self
    }

    /// Sets the keywords of unwanted messages.
    #[must_use]
    pub fn no_soliciting(mut self, unwanted: Solicitation<'static>) -> Self {
        self.no_soliciting = Some(unwanted);
        self
    }
}
