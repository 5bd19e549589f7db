//! Diagnosis: tests a connection stage by stage, and gives the result of each as data.
//!
//! [`Diagnosis`] is the state machine: it turns what a driver reports of a connection, and what happens in the session,
//! into [`StageResult`]s. [`ImapSteps`] and [`SmtpSteps`] are the [tasks](crate::Task) of the session. None of them does
//! I/O or has a clock. `diagnose` runs them on a blocking connection,
//! `tokio::diagnose` on tokio.

#[cfg(feature = "mio")]
mod blocking;
#[cfg(any(feature = "mio", feature = "tokio"))]
mod progress;
mod results;
mod session;
mod stage;
#[cfg(feature = "tokio")]
pub mod tokio;

#[cfg(feature = "mio")]
pub use blocking::diagnose;
#[cfg(any(feature = "mio", feature = "tokio"))]
pub use progress::DiagnosisEvent;
pub use results::{Diagnosis, StageResult};
pub use session::{GreetingState, ImapSteps, SessionOutcome, SessionStage, SmtpSteps};
pub use stage::Stage;
