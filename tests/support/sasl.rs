//! Both roles of every mechanism, joined through an attacker who changes messages.
//!
//! The first line chooses the mechanism, the client's password, the channel binding, what was offered and what the
//! server's application decides. Each following line says what happens to the next message: `0` nothing, `1` the rest
//! of the line replaces it, `2` one byte is changed, `3` it is truncated, `4` the rest of the line is appended. If
//! every message of a role is replaced, the other role is alone.
//!
//! Whatever happens, nothing panics, the exchange ends, and `Debug` shows no secret. If nothing is changed, the right
//! credentials are accepted and wrong ones are rejected. In SCRAM a server accepts only a client that has the
//! password and whose messages arrived unchanged; a client accepts only a server that has its keys and received the
//! same messages.

use proto_mail::sasl::{self, ClientExchange, SaslContext, ServerExchange, ServerStep};
use proto_mail::token::AuthQuestion;
use proto_mail::{AuthVerdict, ChannelBinding, Credentials, Mechanism, Mechanisms, Secure};

use crate::invariants::{PASSWORD, TOKEN, is_known};
use crate::play::Choices;
use crate::test_user::keys;

/// Plays an exchange.
///
/// # Panics
/// If a guarantee is broken.
pub fn exchange(data: &[u8]) {
    let end = data.iter().position(|&byte| byte == b'\n').unwrap_or(data.len());
    let (choices, changes) = (data.get(..end).unwrap_or_default(), data.get(end + 1..).unwrap_or_default());
    if is_known(changes) {
        return;
    }
    let mut terms = Terms::new(&mut Choices::new(choices));
    let mut wire = Wire { changes: changes.split(|&byte| byte == b'\n').collect(), at: 0, changed: false };
    let Some((mut client, mut server)) = terms.start() else { return };
    let outcome = run(&mut *client, &mut *server, &terms, &mut wire);
    let accepted = outcome == Some(Verdict::Accepted);
    let scram = terms.mechanism.hash().is_some();
    if !wire.changed && !terms.stubborn {
        assert_eq!(accepted, terms.right, "{terms:?} came to {outcome:?}");
        assert!(!accepted || client.is_done(), "{client:?} rejects it");
    }
    if accepted && scram {
        assert!(terms.right && !wire.changed, "{terms:?} was accepted although its messages were changed");
    }
    for shown in [format!("{client:?}"), format!("{server:?}"), format!("{:?}", client.failure())] {
        assert!(!shown.contains(PASSWORD) && !shown.contains(TOKEN), "{shown}");
    }
}

/// What was chosen before the exchange.
#[derive(Debug)]
struct Terms {
    mechanism: Mechanism,
    /// The client's credentials are those that the server's application knows.
    knows: bool,
    /// The channel is that of the server, if the exchange is bound to one.
    right: bool,
    /// The application always rejects or reports a failure.
    stubborn: bool,
    bound: [ChannelBinding; 2],
    offered: Mechanisms,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Refused,
}

impl Terms {
    fn new(choices: &mut Choices) -> Self {
        let mechanism = Mechanism::ALL[usize::from(choices.pick(Mechanism::ALL.len() as u8))];
        let public = matches!(mechanism, Mechanism::External | Mechanism::Anonymous);
        let knows = choices.pick(2) == 0 || public;
        let exporter = ChannelBinding::TlsExporter([b'c'; 32]);
        let bound = match choices.pick(4) {
            0 => [exporter.clone(), exporter],
            1 => [ChannelBinding::None, ChannelBinding::None],
            // An attacker relays between two channels.
            2 => [exporter, ChannelBinding::TlsExporter([b'd'; 32])],
            _ => [ChannelBinding::None, exporter],
        };
        let offered = match choices.pick(2) {
            0 => Mechanisms::all(),
            _ => [mechanism].into_iter().collect(),
        };
        let right = knows && (bound[0] == bound[1] || !mechanism.uses_channel_binding());
        Self { mechanism, knows, right, stubborn: choices.pick(3) == 1, bound, offered }
    }

    fn start(&mut self) -> Option<(Box<dyn ClientExchange>, Box<dyn ServerExchange>)> {
        let session = |binding: &ChannelBinding, seed| {
            SaslContext::secure(&Secure::tls(binding.clone()).with_seed([seed; 32]))
        };
        let client = sasl::client_exchange(
            self.mechanism,
            self.credentials(),
            &mut session(&self.bound[0], 1),
            self.offered,
        )?;
        let server = sasl::server_exchange(self.mechanism, &mut session(&self.bound[1], 2), self.offered)?;
        Some((client, server))
    }

    fn credentials(&self) -> Credentials {
        let password = if self.knows { PASSWORD } else { "another" };
        match self.mechanism {
            Mechanism::XOAuth2 | Mechanism::OAuthBearer => {
                Credentials::bearer("x", if self.knows { TOKEN } else { "another" })
            }
            Mechanism::External => Credentials::External { authorization: "x".to_owned() },
            Mechanism::Anonymous => Credentials::anonymous("x"),
            _ => Credentials::password("x", password.as_bytes()),
        }
    }

    /// The application's answer: it knows one user.
    fn answer(&self, question: &AuthQuestion) -> AuthVerdict {
        let yes = match question {
            AuthQuestion::Keys { hash, .. } => return AuthVerdict::Keys(Box::new(keys(*hash))),
            AuthQuestion::Verify(Credentials::Password { username, password, .. }) => {
                username == "x" && password.expose() == PASSWORD.as_bytes()
            }
            AuthQuestion::Verify(Credentials::Bearer { token, .. }) => token.expose() == TOKEN,
            AuthQuestion::Verify(Credentials::External { .. } | Credentials::Anonymous { .. }) => true,
            AuthQuestion::Authorize { username, .. } => username == "x",
            _ => false,
        };
        match (self.stubborn, yes) {
            (true, _) => AuthVerdict::Unavailable,
            (false, true) => AuthVerdict::Accept,
            (false, false) => AuthVerdict::Reject,
        }
    }
}

/// Carries messages and changes them.
struct Wire<'c> {
    changes: Vec<&'c [u8]>,
    at: usize,
    /// Whether a message was changed.
    changed: bool,
}

impl Wire<'_> {
    fn carry(&mut self, message: &[u8]) -> Vec<u8> {
        let change = self.changes.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        let (how, more) = change.split_first().map_or((b'0', change), |(how, more)| (*how, more));
        let mut carried = message.to_vec();
        let place = more.first().map_or(0, |&byte| usize::from(byte)) % carried.len().max(1);
        match how {
            b'1' => carried = more.to_vec(),
            b'2' => carried.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1),
            b'3' => carried.truncate(place),
            b'4' => carried.extend_from_slice(more),
            _ => {}
        }
        self.changed |= carried != message;
        carried
    }
}

/// Runs the exchange; `None` if a role aborted it.
fn run(
    client: &mut dyn ClientExchange,
    server: &mut dyn ServerExchange,
    terms: &Terms,
    wire: &mut Wire<'_>,
) -> Option<Verdict> {
    let mut message = client.initial_response().ok()?.map(|first| wire.carry(first.expose()));
    for round in 0.. {
        assert!(round < 8, "{client:?} and {server:?} never finish");
        let mut step = server.step(message.as_deref()).ok()?;
        while let ServerStep::Ask(question) = step {
            let shown = format!("{question:?}");
            assert!(!shown.contains(PASSWORD) && !shown.contains(TOKEN), "{shown}");
            step = server.answer(terms.answer(&question));
        }
        match step {
            ServerStep::Challenge(challenge) => {
                let challenge = wire.carry(&challenge);
                let answer = client.step(&challenge).ok()?;
                if client.is_done() && terms.mechanism.hash().is_some() {
                    assert!(
                        terms.right && !wire.changed,
                        "{client:?} believes whom it should not: {terms:?}"
                    );
                }
                message = Some(wire.carry(answer.expose()));
            }
            ServerStep::Accepted => return Some(Verdict::Accepted),
            _ => return Some(Verdict::Refused),
        }
    }
    None
}
