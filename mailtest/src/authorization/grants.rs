//! What the server has issued: codes, tokens and consents.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::device::{Device, DeviceDecision};
use super::misbehaviour::{Misbehaviour, Rotation};

/// How long a code is valid (RFC 6749 §4.1.2).
const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// The most codes, tokens and consents that are kept.
const MAX_ENTRIES: usize = 100_000;

/// A consent. Its tokens belong together.
type Consent = u64;

struct Code {
    redirect_uri: String,
    challenge: String,
    expires: Instant,
    /// The consent that the code was exchanged for.
    used_for: Option<Consent>,
}

struct Refresh {
    consent: Consent,
    /// Whether a later refresh token of the consent was issued, and whether that one was used.
    is_replaced: bool,
    replacement: Option<String>,
}

/// Tokens to answer with.
pub(super) struct Issued {
    pub(super) access: String,
    pub(super) refresh: String,
}

/// How often the endpoints were used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AuthorizationCounts {
    /// Requests to the token endpoint.
    pub token_requests: usize,
    /// Codes that were exchanged.
    pub exchanged: usize,
    /// Refresh tokens that were accepted.
    pub refreshed: usize,
    /// The most requests to the token endpoint at one time.
    pub concurrent: usize,
}

/// Everything that the server has issued.
#[derive(Default)]
pub(super) struct Grants {
    codes: HashMap<String, Code>,
    refresh: HashMap<String, Refresh>,
    access: HashMap<String, (Consent, Instant)>,
    valid: HashSet<Consent>,
    devices: Vec<Device>,
    pub(super) misbehaviours: VecDeque<Misbehaviour>,
    pub(super) counts: AuthorizationCounts,
    pub(super) secrets: Vec<String>,
    /// Requests to the token endpoint that are not answered.
    pub(super) in_progress: usize,
    consents: Consent,
}

impl Grants {
    pub(super) fn is_full(&self) -> bool {
        self.secrets.len() >= MAX_ENTRIES || self.devices.len() >= MAX_ENTRIES
    }

    pub(super) fn accepts(&self, access: &str, now: Instant) -> bool {
        self.access
            .get(access)
            .is_some_and(|(consent, expires)| self.valid.contains(consent) && now < *expires)
    }

    /// Ends the validity of all access tokens.
    pub(super) fn expire_access_tokens(&mut self) {
        self.access.clear();
    }

    pub(super) fn revoke_all(&mut self) {
        self.valid.clear();
    }

    /// Takes the next misbehaviour of the authorization endpoint, or of the others.
    pub(super) fn take_misbehaviour(&mut self, of_redirect: bool) -> Option<Misbehaviour> {
        let at = self.misbehaviours.iter().position(|next| next.is_of_redirect() == of_redirect)?;
        self.misbehaviours.remove(at)
    }

    pub(super) fn issue_code(&mut self, redirect_uri: &str, challenge: &str, now: Instant) -> String {
        let code = self.secret("code");
        let (redirect_uri, challenge) = (redirect_uri.to_owned(), challenge.to_owned());
        let new = Code { redirect_uri, challenge, expires: now + CODE_LIFETIME, used_for: None };
        self.codes.insert(code.clone(), new);
        code
    }

    /// Exchanges a code. A second use revokes what the first one got (RFC 6749 §4.1.2).
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn exchange(
        &mut self,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
        lifetime: Duration,
        now: Instant,
    ) -> Result<Issued, &'static str> {
        self.secrets.push(verifier.to_owned());
        let known = self.codes.get(code).ok_or("the code is unknown")?;
        if let Some(consent) = known.used_for {
            self.valid.remove(&consent);
            return Err("the code was used before");
        }
        if now >= known.expires {
            return Err("the code has expired");
        }
        if known.redirect_uri != redirect_uri {
            return Err("redirect_uri is another one");
        }
        if !(43..=128).contains(&verifier.len())
            || URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())) != known.challenge
        {
            return Err("code_verifier does not match");
        }
        let consent = self.consent();
        if let Some(known) = self.codes.get_mut(code) {
            known.used_for = Some(consent);
        }
        self.counts.exchanged += 1;
        Ok(self.issue(consent, lifetime, now))
    }

    /// Uses a refresh token.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn refresh(
        &mut self,
        token: &str,
        rotation: Rotation,
        lifetime: Duration,
        now: Instant,
    ) -> Result<Issued, &'static str> {
        let known = self.refresh.get(token).ok_or("the refresh token is unknown")?;
        let consent = known.consent;
        if !self.valid.contains(&consent) {
            return Err("the consent was withdrawn");
        }
        let was_used = |next: &String| self.refresh.get(next).is_some_and(|next| next.is_replaced);
        let is_reused = known.is_replaced
            && (rotation == Rotation::Strict || known.replacement.as_ref().is_some_and(was_used));
        if is_reused {
            self.valid.remove(&consent);
            return Err("the refresh token was used before");
        }
        self.counts.refreshed += 1;
        let mut issued = self.issue(consent, lifetime, now);
        if rotation == Rotation::None {
            self.refresh.remove(&issued.refresh);
            token.clone_into(&mut issued.refresh);
        } else if let Some(known) = self.refresh.get_mut(token) {
            known.is_replaced = true;
            known.replacement = Some(issued.refresh.clone());
        }
        Ok(issued)
    }

    /// Starts a consent on another device. Returns the code for the program and the one for the user.
    pub(super) fn begin_device(
        &mut self,
        interval: Duration,
        lifetime: Duration,
        now: Instant,
    ) -> (String, String) {
        let device_code = self.secret("device");
        let user_code = format!("TEST-{:04}", self.devices.len());
        self.devices.push(Device::new(device_code.clone(), user_code.clone(), interval, now + lifetime));
        (device_code, user_code)
    }

    pub(super) fn decide(&mut self, user_code: &str, decision: DeviceDecision) -> bool {
        let found = self.devices.iter_mut().find(|device| device.has_user_code(user_code));
        found.is_some_and(|device| device.decide(decision))
    }

    /// Answers a poll.
    ///
    /// # Errors
    /// The error code of RFC 8628 §3.5.
    pub(super) fn poll_device(
        &mut self,
        device_code: &str,
        lifetime: Duration,
        now: Instant,
    ) -> Result<Issued, &'static str> {
        let found = self.devices.iter().position(|device| device.has_device_code(device_code));
        let index = found.ok_or("invalid_grant")?;
        self.devices.get_mut(index).ok_or("invalid_grant")?.poll(now)?;
        self.devices.remove(index);
        let consent = self.consent();
        Ok(self.issue(consent, lifetime, now))
    }

    fn consent(&mut self) -> Consent {
        self.consents += 1;
        self.valid.insert(self.consents);
        self.consents
    }

    fn issue(&mut self, consent: Consent, lifetime: Duration, now: Instant) -> Issued {
        let (access, refresh) = (self.secret("access"), self.secret("refresh"));
        self.access.insert(access.clone(), (consent, now + lifetime));
        let new = Refresh { consent, is_replaced: false, replacement: None };
        self.refresh.insert(refresh.clone(), new);
        Issued { access, refresh }
    }

    /// Makes a random token. It is unique, and good enough for tests.
    fn secret(&mut self, kind: &str) -> String {
        let random = |part: u8| RandomState::new().hash_one(part);
        let secret = format!("{kind}-{:016x}{:016x}", random(0), random(1));
        self.secrets.push(secret.clone());
        secret
    }
}
