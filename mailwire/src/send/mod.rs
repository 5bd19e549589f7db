//! `send`.
mod report;
mod spool;
use crate::cli::SendArgs;
use crate::failure::{Failure, Kind};
/// Runs the command.
pub(crate) fn run(_: &SendArgs) -> Result<(), Failure> {
    Err(Failure::new(Kind::Unavailable, "being built"))
}
