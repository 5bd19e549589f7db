//! What a server says it can do: computed anew from state, channel and configuration each time (RFC 9051 §7.2.2).
//!
//! This file knows which capabilities the machine itself stands for. On cleartext they never include a way to
//! authenticate.

use proto_mail::{Mechanisms, SendBuffer};

use crate::client::Trust;
use crate::config::Config;
use crate::state::State;

/// Writes `CAPABILITY …`, without the brackets or the asterisk around it.
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
    // RFC 7888 §7: a client that has not authenticated must not make the server read much.
    put(&[if state.is_authenticated() { "LITERAL+" } else { "LITERAL-" }]);
    put(&["ENABLE IDLE"]);
    for extension in &config.extensions {
        if is_name(extension) {
            put(&[extension.as_str()]);
        }
    }
}

/// Whether it can stand in the list: an atom, and neither a way to authenticate nor what the machine says itself.
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
