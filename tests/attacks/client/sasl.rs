//! The server's side of an authentication, as a row specifies it: it accepts every client, or misbehaves.
//!
//! This module knows the messages; the protocols' servers know their framing (`+ `, `334 `).

use proto_mail::sasl;

use crate::script::{Sasl, Scram};

/// An exchange in progress.
#[derive(Debug)]
pub(crate) struct Exchange {
    mechanism: String,
    /// The number of messages from the client so far.
    heard: usize,
    /// The client has sent its proof to a misbehaving SCRAM server.
    pub(crate) proved: bool,
}

/// The next step.
#[derive(Debug)]
pub(crate) enum Turn {
    /// This challenge, in base64 or in what should be.
    Challenge(String),
    /// The row's own result, or success.
    End(Option<String>),
    Refused,
}

impl Exchange {
    pub(crate) fn new(mechanism: &str) -> Self {
        Self { mechanism: mechanism.to_ascii_uppercase(), heard: 0, proved: false }
    }

    /// The first step, before the client's first message.
    pub(crate) fn begin(&mut self, sasl: Option<&Sasl>) -> Turn {
        if let Some(script) = sasl.and_then(|sasl| sasl.script.as_ref()) {
            return scripted(sasl, script.first());
        }
        match self.mechanism.as_str() {
            "LOGIN" => Turn::Challenge("VXNlcm5hbWU6".into()),
            _ => Turn::Challenge(String::new()),
        }
    }

    /// The answer to the client's message.
    pub(crate) fn hear(&mut self, message: &str, sasl: Option<&Sasl>) -> Turn {
        if message == "*" {
            return Turn::Refused;
        }
        self.heard += 1;
        if let Some(script) = sasl.and_then(|sasl| sasl.script.as_ref()) {
            // The first challenge of the script answers the client's first message.
            return scripted(sasl, script.get(self.heard));
        }
        if let Some(scram) = sasl.and_then(|sasl| sasl.scram.as_ref()) {
            return self.scram(message, scram);
        }
        match (self.mechanism.as_str(), self.heard) {
            ("LOGIN", 1) => Turn::Challenge("UGFzc3dvcmQ6".into()),
            ("PLAIN" | "LOGIN" | "XOAUTH2" | "OAUTHBEARER" | "EXTERNAL" | "ANONYMOUS", _) => Turn::End(None),
            _ => Turn::Refused,
        }
    }

    fn scram(&mut self, message: &str, scram: &Scram) -> Turn {
        if self.heard > 1 {
            self.proved = true;
            return match scram.signature.as_deref() {
                Some("wrong") if self.heard == 2 => {
                    Turn::Challenge(base64("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="))
                }
                _ => Turn::End(None),
            };
        }
        let first = sasl::decode_base64(message.as_bytes()).unwrap();
        let first = String::from_utf8(first.expose().clone()).unwrap();
        let (_, nonce) = first.rsplit_once("r=").unwrap();
        let nonce = match scram.nonce.as_deref() {
            Some("bad") => "0123456789abcdefghijklmn".to_owned(),
            Some("same") => nonce.to_owned(),
            None => format!("{nonce}fromtheserver"),
            Some(other) => panic!("unknown kind of nonce: {other}"),
        };
        let (extension, iterations) = (&scram.extension, scram.iterations);
        Turn::Challenge(base64(&format!("{extension}r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i={iterations}")))
    }
}

fn scripted(sasl: Option<&Sasl>, challenge: Option<&Option<String>>) -> Turn {
    match challenge {
        Some(challenge) => Turn::Challenge(challenge.clone().unwrap_or_default()),
        None => Turn::End(sasl.and_then(|sasl| sasl.end.clone())),
    }
}

fn base64(text: &str) -> String {
    String::from_utf8(sasl::encode_base64(text.as_bytes()).expose().clone()).unwrap()
}
