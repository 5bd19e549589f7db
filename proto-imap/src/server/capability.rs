//! The server's capabilities, computed from state, channel and configuration on each request (RFC 9051 §7.2.2).
//!
//! This module adds the capabilities that the machine implements. In cleartext the list never contains a mechanism.

use proto_mail::{Mechanisms, SendBuffer};

use crate::client::Trust;
use crate::config::Config;
use crate::state::State;

/// Writes `CAPABILITY …`, without brackets or an asterisk.
pub(super) fn put(state: State, mechanisms: Mechanisms, trust: Trust, config: &Config, tx: &mut SendBuffer) {
    let mut put = |parts: &[&str]| {
        tx.put(b" ");
        parts.iter().for_each(|part| tx.put(part.as_bytes()));
    };
    put(&["IMAP4rev1"]);
    if config.offers("IMAP4rev2") {
        put(&["IMAP4rev2"]);
    }
    match (state, trust) {
        (State::NotAuthenticated, Trust::Cleartext) => put(&["STARTTLS LOGINDISABLED"]),
        (State::NotAuthenticated, Trust::Secure) => {
            for mechanism in mechanisms.iter() {
                put(&["AUTH=", mechanism.name()]);
            }
            for mechanism in config.custom_mechanisms.iter() {
                put(&["AUTH=", mechanism.name()]);
            }
            put(&["SASL-IR"]);
        }
        _ => {}
    }
    // RFC 7888 §7: a client that has not logged in must not be able to send much data.
    put(&[if state.is_authenticated() { "LITERAL+" } else { "LITERAL-" }]);
    put(&["ENABLE IDLE"]);
    for extension in &config.extensions {
        // Compression is for sessions that are logged in.
        let is_early = !state.is_authenticated() && extension.eq_ignore_ascii_case("COMPRESS=DEFLATE");
        if is_name(extension) && !is_early {
            put(&[extension.as_str()]);
        }
    }
}

/// Returns whether the name may be listed: it is an atom, no mechanism, and no capability that the machine lists
/// itself.
fn is_name(name: &str) -> bool {
    const OWN: [&str; 9] = [
        "IMAP4rev1",
        "IMAP4rev2",
        "STARTTLS",
        "LOGINDISABLED",
        "SASL-IR",
        "LITERAL+",
        "LITERAL-",
        "ENABLE",
        "IDLE",
    ];
    let is_auth = name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("AUTH="));
    !name.is_empty()
        && name.bytes().all(crate::grammar::characters::is_atom_char)
        && !is_auth
        && !OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
}
