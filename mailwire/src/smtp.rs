//! An SMTP session as a linear program has it.

use io_mio::Connector;
use proto_core::Credentials;

use crate::check::{Progress, Stop};
use crate::connect::Way;
use crate::failure::{Failure, Kind};

/// The stages of `check` behind TLS.
pub(crate) fn check(_: &Way, _: &Connector, _: Option<Credentials>, _: &Progress) -> Result<(), Stop> {
    Err(Failure::new(Kind::Unavailable, "being built").into())
}
