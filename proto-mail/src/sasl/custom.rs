//! Mechanisms that an application brings along: what they are called, what they promise, and how they are kept to it.
//!
//! A client's is an [`Exchange`] that is handed to the machine; a server's is a [`ServerMechanism`] in the
//! configuration. This file knows nothing of what they say. What the machines rely on it makes sure of, whatever the
//! mechanism does: [`guard`] stands between the two.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::{ClientExchange, Mechanism, SaslContext, SaslError, ServerExchange, ServerStep};
use crate::Secret;
use crate::token::{AuthQuestion, AuthVerdict};

/// The longest message that a mechanism brought along may say, in octets: in base64 it fits into the longest line that
/// a server must take (RFC 4954 §4.5).
pub const MAX_MESSAGE_LEN: usize = 9210;

/// The most messages that such a mechanism may be asked for in one exchange.
pub const MAX_MESSAGES: u32 = 64;

/// How much of a mechanism's reason for a failure is kept, in characters.
const REASON: usize = 4096;

/// What an exchange gives to whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CleartextRisk {
    /// The password, token or key itself.
    RevealsCredentials,
    /// Something with which a password can be guessed, or that can be used once more.
    AllowsGuessing,
    /// Nothing: it may be spoken even where everybody reads along, by a call that begins with `danger_`.
    None,
}

/// A mechanism that an application brings along.
///
/// ```
/// use proto_mail::sasl::{CleartextRisk, CustomMechanism};
/// // A name that is none does not compile.
/// const KERBEROS: CustomMechanism = CustomMechanism::new("GS2-KRB5", CleartextRisk::AllowsGuessing).unwrap();
/// assert_eq!(KERBEROS.name(), "GS2-KRB5");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CustomMechanism {
    name: &'static str,
    cleartext_risk: CleartextRisk,
}

impl CustomMechanism {
    /// A mechanism of that name: 1 to 20 upper-case letters, digits, `-` and `_` (RFC 4422 §3.1). `None` if it is no such
    /// name, or that of a mechanism of [`Mechanism::ALL`]: those are spoken here.
    #[must_use]
    pub const fn new(name: &'static str, cleartext_risk: CleartextRisk) -> Option<Self> {
        if is_name(name.as_bytes()) && !is_taken(name.as_bytes()) {
            Some(Self { name, cleartext_risk })
        } else {
            None
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// What it gives to whoever reads it.
    #[must_use]
    pub const fn cleartext_risk(self) -> CleartextRisk {
        self.cleartext_risk
    }
}

/// A server's side of a mechanism that an application brings along: makes an exchange for each attempt.
///
/// An exchange speaks by [`ServerStep`]: a challenge, a question to the application, or an end. Nobody is let in by the
/// mechanism alone: [`ServerStep::Accepted`] counts only behind the application's [`AuthVerdict::Accept`] to
/// [`AuthQuestion::Verify`] or [`AuthQuestion::Authorize`], which is how the application learns who it is.
pub trait ServerMechanism: fmt::Debug + Send + Sync {
    /// Which mechanism it is.
    fn mechanism(&self) -> CustomMechanism;

    /// Begins an exchange. `session` knows what it can be bound to, and has nonces.
    fn begin(&self, session: &mut SaslContext) -> Box<dyn ServerExchange>;
}

/// The mechanisms that a server's application has brought along. The first of a name counts.
#[derive(Debug, Clone, Default)]
pub struct CustomMechanisms(Vec<Arc<dyn ServerMechanism>>);

impl CustomMechanisms {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one, unless there is one of that name.
    pub fn add(&mut self, mechanism: Arc<dyn ServerMechanism>) {
        if self.find(mechanism.mechanism().name.as_bytes()).is_none() {
            self.0.push(mechanism);
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mechanisms, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = CustomMechanism> {
        self.0.iter().map(|known| known.mechanism())
    }

    /// The exchange of the mechanism of that name, in any case.
    pub(super) fn begin(&self, name: &[u8], session: &mut SaslContext) -> Option<Box<dyn ServerExchange>> {
        let known = self.find(name)?;
        let mechanism = known.mechanism();
        Some(Box::new(CheckedServerExchange {
            mechanism,
            exchange: Some(known.begin(session)),
            messages: 0,
            asked: Asked::Nothing,
            standing: Standing::Unknown,
        }))
    }

    fn find(&self, name: &[u8]) -> Option<&Arc<dyn ServerMechanism>> {
        self.0.iter().find(|known| known.mechanism().name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// Makes sure of what a machine relies on in a client's exchange that an application brought along: it says what fits
/// into a line, not for ever, nothing behind an error, and has not finished before it said anything. `None` for an
/// exchange that says it is one of [`Mechanism::ALL`].
#[must_use]
pub fn checked_exchange(exchange: Box<dyn ClientExchange>) -> Option<Box<dyn ClientExchange>> {
    let Mechanism::Custom(mechanism) = exchange.mechanism() else { return None };
    Some(Box::new(CheckedExchange { mechanism, exchange: Some(exchange), messages: 0, failure: None }))
}

struct CheckedExchange {
    mechanism: CustomMechanism,
    /// `None` once it has gone wrong: nothing more is said, and it has not finished.
    exchange: Option<Box<dyn ClientExchange>>,
    messages: u32,
    failure: Option<String>,
}

impl CheckedExchange {
    /// Asks for a message.
    fn ask(
        &mut self,
        ask: impl FnOnce(&mut dyn ClientExchange) -> Result<Option<Secret<Vec<u8>>>, SaslError>,
    ) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        let mut exchange = self.exchange.take().ok_or(SaslError::AlreadyFinished)?;
        let answer = ask(&mut *exchange);
        self.failure = exchange.failure().map(readable);
        let answer = answer?;
        if let Some(message) = &answer {
            self.messages = self.messages.saturating_add(1);
            if message.expose().len() > MAX_MESSAGE_LEN || self.messages > MAX_MESSAGES {
                return Err(SaslError::TooLong);
            }
        }
        self.exchange = Some(exchange);
        Ok(answer)
    }
}

impl ClientExchange for CheckedExchange {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(self.mechanism)
    }

    fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
        self.ask(|exchange| exchange.initial_response())
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
        self.ask(|exchange| exchange.step(challenge).map(Some))?.ok_or(SaslError::AlreadyFinished)
    }

    fn is_done(&self) -> bool {
        self.messages > 0 && self.exchange.as_ref().is_some_and(|exchange| exchange.is_done())
    }

    fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

impl fmt::Debug for CheckedExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// What was asked of the application last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// Something that the mechanism needs to know.
    Material,
    /// Whether somebody is let in.
    Identity,
}

/// What the application has said of the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unknown,
    Accepted,
    /// Once is enough.
    Refused,
}

/// Makes sure of what a machine relies on in a server's exchange: who is let in the application has said, once refused
/// is refused for good, challenges fit into a line, and there is an end.
struct CheckedServerExchange {
    mechanism: CustomMechanism,
    /// `None` once it has ended.
    exchange: Option<Box<dyn ServerExchange>>,
    messages: u32,
    asked: Asked,
    standing: Standing,
}

impl CheckedServerExchange {
    fn take(&mut self, exchange: Box<dyn ServerExchange>, step: ServerStep) -> ServerStep {
        match &step {
            ServerStep::Challenge(challenge) if challenge.len() > MAX_MESSAGE_LEN => {
                return ServerStep::Unavailable;
            }
            ServerStep::Challenge(_) => {}
            ServerStep::Ask(_) if self.standing == Standing::Refused => return ServerStep::Rejected,
            ServerStep::Ask(AuthQuestion::Verify(_) | AuthQuestion::Authorize { .. }) => {
                self.asked = Asked::Identity;
            }
            ServerStep::Ask(_) => self.asked = Asked::Material,
            ServerStep::Accepted if self.standing != Standing::Accepted => return ServerStep::Rejected,
            ServerStep::Accepted | ServerStep::Rejected | ServerStep::Unavailable => return step,
        }
        self.exchange = Some(exchange);
        step
    }
}

impl ServerExchange for CheckedServerExchange {
    fn mechanism(&self) -> Mechanism {
        Mechanism::Custom(self.mechanism)
    }

    fn step(&mut self, message: Option<&[u8]>) -> Result<ServerStep, SaslError> {
        let mut exchange = self.exchange.take().ok_or(SaslError::AlreadyFinished)?;
        self.messages = self.messages.saturating_add(1);
        if self.messages > MAX_MESSAGES {
            return Err(SaslError::TooLong);
        }
        let step = exchange.step(message)?;
        Ok(self.take(exchange, step))
    }

    fn answer(&mut self, verdict: AuthVerdict) -> ServerStep {
        let Some(mut exchange) = self.exchange.take() else { return ServerStep::Rejected };
        match (core::mem::replace(&mut self.asked, Asked::Nothing), &verdict) {
            (_, AuthVerdict::Unavailable) => return ServerStep::Unavailable,
            (Asked::Identity, AuthVerdict::Accept) if self.standing != Standing::Refused => {
                self.standing = Standing::Accepted;
            }
            (Asked::Material, AuthVerdict::Keys(_) | AuthVerdict::Stored(_)) => {}
            _ => self.standing = Standing::Refused,
        }
        let step = exchange.answer(verdict);
        self.take(exchange, step)
    }
}

impl fmt::Debug for CheckedServerExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerExchange").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// `sasl-mech` (RFC 4422 §3.1)
const fn is_name(mut name: &[u8]) -> bool {
    if name.len() > 20 || name.is_empty() {
        return false;
    }
    while let [byte, rest @ ..] = name {
        if !matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_') {
            return false;
        }
        name = rest;
    }
    true
}

const fn is_taken(name: &[u8]) -> bool {
    let mut known: &[Mechanism] = &Mechanism::ALL;
    while let [mechanism, rest @ ..] = known {
        if mechanism.name().as_bytes().eq_ignore_ascii_case(name) {
            return true;
        }
        known = rest;
    }
    false
}

/// A peer's words as they may stand in a terminal: nothing there that moves a cursor, and not without end.
pub(super) fn readable(words: &str) -> String {
    words.chars().filter(|char| !char.is_control()).take(REASON).collect()
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::Credentials;
    use crate::sasl::{Mechanisms, client_exchange, server_exchange, server_exchange_named};

    const TOY: CustomMechanism = CustomMechanism::new("X-TOY", CleartextRisk::AllowsGuessing).unwrap();

    #[test]
    fn names_are_those_of_rfc_4422_and_not_taken() {
        let new = |name| CustomMechanism::new(name, CleartextRisk::None);
        for good in ["X", "GS2-KRB5", "A_B-C9", "ABCDEFGHIJKLMNOPQRST"] {
            assert_eq!(new(good).map(CustomMechanism::name), Some(good));
        }
        for bad in [
            "",
            "ABCDEFGHIJKLMNOPQRSTU",
            "x-toy",
            "X TOY",
            "X\r\nY",
            "X\0",
            "X,Y",
            "É",
            "PLAIN",
            "SCRAM-SHA-1",
        ] {
            assert_eq!(new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn it_is_in_no_set() {
        let toy = Mechanism::Custom(TOY);
        assert!(!Mechanisms::all().with(toy).contains(toy) && Mechanisms::NONE.with(toy).is_empty());
        assert!(
            !toy.accepts(&Credentials::external()) && !toy.uses_channel_binding() && toy.hash().is_none()
        );
        let exposed =
            |cleartext_risk| Mechanism::Custom(CustomMechanism::new("X-TOY", cleartext_risk).unwrap());
        assert!(
            exposed(CleartextRisk::RevealsCredentials).reveals_credentials() && !toy.reveals_credentials()
        );
        assert!(
            client_exchange(toy, Credentials::external(), &mut SaslContext::cleartext(), Mechanisms::all())
                .is_none()
        );
        assert!(server_exchange(toy, &mut SaslContext::cleartext(), Mechanisms::all()).is_none());
    }

    /// A client that does as it is told, in turn.
    #[derive(Debug)]
    struct Client {
        first: Option<usize>,
        says: Vec<Result<usize, SaslError>>,
        done: bool,
    }

    impl ClientExchange for Client {
        fn mechanism(&self) -> Mechanism {
            Mechanism::Custom(TOY)
        }

        fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
            Ok(self.first.take().map(|len| Secret::new(vec![b'x'; len])))
        }

        fn step(&mut self, _: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
            let len = if self.says.is_empty() { Ok(1) } else { self.says.remove(0) };
            len.map(|len| Secret::new(vec![b'x'; len]))
        }

        fn is_done(&self) -> bool {
            self.done
        }

        fn failure(&self) -> Option<&str> {
            Some("\x1b[2Jno\r\n")
        }
    }

    fn guarded(first: Option<usize>, says: &[Result<usize, SaslError>]) -> Box<dyn ClientExchange> {
        checked_exchange(Box::new(Client { first, says: says.into(), done: true })).unwrap()
    }

    #[test]
    fn a_client_has_not_finished_before_it_said_anything() {
        let mut silent = guarded(None, &[]);
        assert!(!silent.is_done());
        assert!(silent.initial_response().unwrap().is_none() && !silent.is_done());
        silent.step(b"").unwrap();
        assert!(silent.is_done());
        assert_eq!(silent.failure(), Some("[2Jno"));
        let shown = alloc::format!("{silent:?} {:?}", server_that(&[who], |_| who()));
        assert_eq!(shown.matches("X-TOY").count(), 2, "{shown}");
    }

    #[test]
    fn a_client_says_nothing_behind_an_error_and_has_not_finished() {
        let cases = [
            (None, vec![Ok(1), Err(SaslError::Malformed)]),
            (None, vec![Ok(1), Ok(MAX_MESSAGE_LEN + 1)]),
            (Some(MAX_MESSAGE_LEN + 1), vec![]),
        ];
        for (first, says) in cases {
            let mut client = guarded(first, &says);
            let failed = client.initial_response().is_err() || {
                client.step(b"").unwrap();
                client.step(b"").is_err()
            };
            assert!(failed && !client.is_done(), "{first:?} {says:?}");
            assert_eq!(client.step(b"").unwrap_err(), SaslError::AlreadyFinished);
        }
        assert!(guarded(Some(MAX_MESSAGE_LEN), &[]).initial_response().is_ok());
    }

    #[test]
    fn there_is_an_end() {
        let mut client = guarded(None, &[]);
        let said = (0..1000).take_while(|_| client.step(b"").is_ok()).count();
        assert_eq!(said, MAX_MESSAGES as usize);
        let mut server = server_that(&[], |_| ServerStep::Challenge(Vec::new()));
        let said = (0..1000).take_while(|_| server.step(Some(b"")).is_ok()).count();
        assert_eq!(said, MAX_MESSAGES as usize);
    }

    #[test]
    fn who_says_to_be_known_is_not_guarded() {
        #[derive(Debug)]
        struct Known;
        impl ClientExchange for Known {
            fn mechanism(&self) -> Mechanism {
                Mechanism::Plain
            }
            fn initial_response(&mut self) -> Result<Option<Secret<Vec<u8>>>, SaslError> {
                Ok(None)
            }
            fn step(&mut self, _: &[u8]) -> Result<Secret<Vec<u8>>, SaslError> {
                Err(SaslError::Malformed)
            }
            fn is_done(&self) -> bool {
                true
            }
        }
        assert!(checked_exchange(Box::new(Known)).is_none());
    }

    /// A server that takes these steps in turn, and answers a verdict as it likes.
    #[derive(Debug)]
    struct Steps {
        steps: Vec<fn() -> ServerStep>,
        verdict: fn(AuthVerdict) -> ServerStep,
    }

    impl ServerExchange for Steps {
        fn mechanism(&self) -> Mechanism {
            Mechanism::Plain
        }

        fn step(&mut self, _: Option<&[u8]>) -> Result<ServerStep, SaslError> {
            let next: fn() -> ServerStep = if self.steps.is_empty() {
                || ServerStep::Challenge(Vec::new())
            } else {
                self.steps.remove(0)
            };
            Ok(next())
        }

        fn answer(&mut self, verdict: AuthVerdict) -> ServerStep {
            (self.verdict)(verdict)
        }
    }

    #[derive(Debug)]
    struct Making(Vec<fn() -> ServerStep>, fn(AuthVerdict) -> ServerStep);

    impl ServerMechanism for Making {
        fn mechanism(&self) -> CustomMechanism {
            TOY
        }

        fn begin(&self, _: &mut SaslContext) -> Box<dyn ServerExchange> {
            Box::new(Steps { steps: self.0.clone(), verdict: self.1 })
        }
    }

    fn server_that(
        steps: &[fn() -> ServerStep],
        verdict: fn(AuthVerdict) -> ServerStep,
    ) -> Box<dyn ServerExchange> {
        let mut others = CustomMechanisms::new();
        others.add(Arc::new(Making(steps.into(), verdict)));
        server_exchange_named(b"x-toy", &mut SaslContext::cleartext(), Mechanisms::all(), &others).unwrap()
    }

    fn who() -> ServerStep {
        ServerStep::Ask(AuthQuestion::Authorize { authorization: String::new(), username: "ann".into() })
    }

    fn what() -> ServerStep {
        ServerStep::Ask(AuthQuestion::Stored { username: "ann".into() })
    }

    #[test]
    fn nobody_is_let_in_whom_the_application_did_not_accept() {
        let accepts = |_| ServerStep::Accepted;
        let mut unasked = server_that(&[|| ServerStep::Accepted], accepts);
        assert!(matches!(unasked.step(None), Ok(ServerStep::Rejected)));
        assert!(unasked.step(None).is_err());
        let keys = || Secret::new(vec![1]);
        let verdicts: [(fn() -> ServerStep, AuthVerdict); 4] = [
            (who, AuthVerdict::Reject),
            (who, AuthVerdict::Stored(keys())),
            (what, AuthVerdict::Accept),
            (what, AuthVerdict::Stored(keys())),
        ];
        for (question, verdict) in verdicts {
            let mut server = server_that(&[question], accepts);
            assert!(matches!(server.step(None), Ok(ServerStep::Ask(_))));
            let said = alloc::format!("{verdict:?}");
            assert!(matches!(server.answer(verdict), ServerStep::Rejected), "{said}");
        }
        let mut server = server_that(&[who], accepts);
        let _ = server.step(None);
        assert!(matches!(server.answer(AuthVerdict::Accept), ServerStep::Accepted));
        assert!(matches!(server.answer(AuthVerdict::Accept), ServerStep::Rejected), "once");
    }

    /// A mechanism may ask for what it needs to know first: an answer to that is no refusal.
    #[test]
    fn a_mechanism_may_ask_for_what_it_needs() {
        let mut server = server_that(&[what], |verdict| match verdict {
            AuthVerdict::Stored(_) => who(),
            _ => ServerStep::Accepted,
        });
        let _ = server.step(None);
        assert!(matches!(server.answer(AuthVerdict::Stored(Secret::new(vec![1]))), ServerStep::Ask(_)));
        assert!(matches!(server.answer(AuthVerdict::Accept), ServerStep::Accepted));
    }

    #[test]
    fn who_was_refused_stays_refused() {
        // It says something of its own first, as OAuth does, and then lets the client in all the same.
        let mut server =
            server_that(&[who, || ServerStep::Accepted], |_| ServerStep::Challenge(b"no".to_vec()));
        let _ = server.step(None);
        assert!(matches!(server.answer(AuthVerdict::Reject), ServerStep::Challenge(_)));
        assert!(matches!(server.step(Some(b"")), Ok(ServerStep::Rejected)));
        // Or asks until it hears what it likes.
        let mut server = server_that(&[who], |_| who());
        let _ = server.step(None);
        assert!(matches!(server.answer(AuthVerdict::Reject), ServerStep::Rejected));
        let mut server = server_that(&[who], |_| who());
        let _ = server.step(None);
        assert!(matches!(server.answer(AuthVerdict::Unavailable), ServerStep::Unavailable));
    }

    #[test]
    fn a_challenge_fits_into_a_line() {
        let mut server = server_that(&[|| ServerStep::Challenge(vec![0; MAX_MESSAGE_LEN + 1])], |_| who());
        assert!(matches!(server.step(None), Ok(ServerStep::Unavailable)));
        let mut server = server_that(&[|| ServerStep::Challenge(vec![0; MAX_MESSAGE_LEN])], |_| who());
        assert!(matches!(server.step(None), Ok(ServerStep::Challenge(_))));
        assert!(crate::sasl::encode_base64(&[0; MAX_MESSAGE_LEN]).expose().len() + 2 <= 12_288);
    }

    #[test]
    fn the_first_of_a_name_counts_and_those_that_are_known_cannot_be_replaced() {
        let mut others = CustomMechanisms::new();
        assert!(others.is_empty());
        others.add(Arc::new(Making(vec![what], |_| who())));
        others.add(Arc::new(Making(vec![who], |_| who())));
        assert_eq!((others.is_empty(), others.iter().collect::<Vec<_>>()), (false, vec![TOY]));
        let session = &mut SaslContext::cleartext();
        let mut exchange = server_exchange_named(b"X-TOY", session, Mechanisms::NONE, &others).unwrap();
        assert_eq!(exchange.mechanism(), Mechanism::Custom(TOY), "whatever the exchange says of itself");
        let step = exchange.step(None).unwrap();
        assert!(matches!(step, ServerStep::Ask(AuthQuestion::Stored { .. })), "{step:?}");
        assert!(server_exchange_named(b"X-TO", session, Mechanisms::all(), &others).is_none());
        assert!(server_exchange_named(b"PLAIN", session, Mechanisms::NONE, &others).is_none());
        assert!(server_exchange_named(b"plain", session, Mechanisms::all(), &others).is_some());
    }
}
