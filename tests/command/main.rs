//! The built command, behaviour by behaviour: each test is named after one. `tests/README.md` lists the behaviours
//! and the tests that show them, here and elsewhere; a test here checks that list.
//!
//! Everything runs on loopback, against `mailwire serve` or against scripted servers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot continue must fail")]

mod abuse_limits;
mod accounts;
mod folders;
mod harness;
mod http;
mod import;
mod local_store;
mod log;
mod malicious_servers;
mod oauth;
mod process;
mod readme_table;
mod send;
mod send_batch;
mod send_compose;
mod send_resume;
mod send_retries;
mod send_steps;
mod sendmail;
mod serve_accounts;
mod server_errors;
mod setup;
mod submission_server;
mod tls_client;
mod tls_proxy;
mod traces;
