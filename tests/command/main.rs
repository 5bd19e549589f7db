//! What the mission asks of mail clients and servers, behaviour by behaviour, with the command as it is built: each
//! test is named after one. `tests/README.md` says which test shows what, here and elsewhere, and a test here checks
//! that it says the truth.
//!
//! Everything runs on loopback, against `mailwire serve` or against servers that follow a script.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

mod composed;
mod folders;
mod guarded;
mod hostile_servers;
mod importer;
mod many;
mod program;
mod refusals;
mod resume;
mod retried;
mod running;
mod secure;
mod sender;
mod served;
mod server;
mod set_up;
mod stand_in;
mod steps;
mod table;
mod tls_front;
mod traced;
