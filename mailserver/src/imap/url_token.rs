//! The tokens of URLs (RFC 4467): HMAC-SHA-256 with a key of the mailbox.
//!
//! The key is derived from the store's secret, the mailbox, and the values that RESETKEY has made: one for the mailbox and
//! one for all mailboxes of the account. They are entries of metadata below `/private/vendor/mailwire`.

use getrandom::fill;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use mailstore::{AccountId, Annotated, Error, MailboxId, MetadataChange, Result, Store};
use proto_imap::types::ImapUrl;
use sha2::Sha256;

use super::mailbox_access::MailboxAccess;
use super::message_url::is_this_server;

/// The only mechanism of RFC 4467.
const INTERNAL: &str = "INTERNAL";

/// The entry with the value that RESETKEY makes.
const RESET: &str = "/private/vendor/mailwire/url-reset";

/// The length of that value, in bytes.
const RESET_LENGTH: usize = 16;

/// A URL with a token, or one that shall get it.
pub(super) struct AuthorizedUrl {
    /// The URL. Its server is this one.
    pub(super) url: ImapUrl,
    pub(super) owner: AccountId,
    pub(super) mailbox: MailboxId,
}

impl AuthorizedUrl {
    /// Finds the mailbox of a URL with an access. Returns `None` if it names no message of this server, or has expired.
    pub(super) fn find(text: &str, host: &str, now: i64, store: &dyn Store) -> Result<Option<Self>> {
        let Ok(url) = ImapUrl::parse(text) else { return Ok(None) };
        let user = url.server.as_ref().filter(|server| is_this_server(&server.host, host));
        let Some(user) = user.and_then(|server| server.user.as_deref()) else { return Ok(None) };
        let expires = match url.authorization.as_ref().map(|found| found.expires.as_deref()) {
            None => return Ok(None),
            Some(None) => i64::MAX,
            Some(Some(date)) => match date.parse::<jiff::Timestamp>() {
                Ok(time) => time.as_second(),
                Err(_) => return Ok(None),
            },
        };
        if now >= expires || url.uid.is_none() || url.mailbox.is_empty() {
            return Ok(None);
        }
        let Some(owner) = store.account(user)?.map(|account| account.id) else { return Ok(None) };
        match MailboxAccess::new(owner).find_own(store, &url.mailbox) {
            Ok(mailbox) if !mailbox.no_select => Ok(Some(Self { url, owner, mailbox: mailbox.id })),
            Ok(_) | Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns whether a user may read the URL: every user who has logged in, or only a certain user. `submit+` is for
    /// submission servers, which do not log in here.
    pub(super) fn allows(&self, account: AccountId, store: &dyn Store) -> Result<bool> {
        let Some(authorization) = &self.url.authorization else { return Ok(false) };
        match authorization.access.split_once('+') {
            None => {
                Ok(["anonymous", "authuser"].iter().any(|one| authorization.access.eq_ignore_ascii_case(one)))
            }
            Some((kind, user)) if kind.eq_ignore_ascii_case("user") => {
                Ok(store.account(user)?.is_some_and(|found| found.id == account))
            }
            Some(_) => Ok(false),
        }
    }

    /// Returns whether the access is one of RFC 4467.
    pub(super) fn has_known_access(&self) -> bool {
        let access = self.url.authorization.as_ref().map_or("", |found| &found.access);
        match access.split_once('+') {
            None => ["anonymous", "authuser"].iter().any(|one| access.eq_ignore_ascii_case(one)),
            Some((kind, user)) => {
                !user.is_empty() && ["user", "submit"].iter().any(|one| kind.eq_ignore_ascii_case(one))
            }
        }
    }

    /// Adds the token to the URL's text, which has none.
    pub(super) fn authorize(&self, text: &str, store: &dyn Store) -> Result<String> {
        let token = self.mac(text, store)?.finalize().into_bytes();
        let hex: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("{text}:{INTERNAL}:{hex}"))
    }

    /// Checks the token at the end of the URL's text, in constant time.
    pub(super) fn is_authentic(&self, text: &str, store: &dyn Store) -> Result<bool> {
        let token = self.url.authorization.as_ref().and_then(|found| found.token.as_ref());
        let Some((mechanism, token)) = token else { return Ok(false) };
        let signed =
            text.len().checked_sub(mechanism.len() + token.len() + 2).and_then(|end| text.get(..end));
        let (Some(signed), Some(token)) = (signed, from_hex(token)) else { return Ok(false) };
        if !mechanism.eq_ignore_ascii_case(INTERNAL) {
            return Ok(false);
        }
        Ok(self.mac(signed, store)?.verify_slice(&token).is_ok())
    }

    fn mac(&self, text: &str, store: &dyn Store) -> Result<Hmac<Sha256>> {
        let mut key = new_mac(&store.store_secret()?)?;
        key.update(b"urlauth");
        key.update(&self.mailbox.0.to_be_bytes());
        key.update(&store.status(self.mailbox)?.uid_validity.to_be_bytes());
        for of in [Annotated::Server, Annotated::Mailbox(self.mailbox)] {
            key.update(&reset_value(store, self.owner, of)?);
        }
        let mut mac = new_mac(&key.finalize().into_bytes())?;
        mac.update(text.as_bytes());
        Ok(mac)
    }
}

/// Makes the URLs of a mailbox, or of all mailboxes of an account, invalid.
pub(super) fn reset(store: &dyn Store, account: AccountId, of: Annotated) -> Result<()> {
    let mut value = [0_u8; RESET_LENGTH];
    fill(&mut value).map_err(|_| Error::Crypto)?;
    let change = MetadataChange { name: RESET.to_owned(), value: Some(value.to_vec()) };
    store.set_metadata(account, of, &[change])
}

/// Returns the value that the last RESETKEY made, with its length.
fn reset_value(store: &dyn Store, account: AccountId, of: Annotated) -> Result<Vec<u8>> {
    let end = format!("{RESET}\0");
    let page = store.metadata_page(account, of, RESET..&*end, RESET_LENGTH as u64)?;
    let value = page.entries.into_iter().find_map(|entry| entry.value).unwrap_or_default();
    Ok([&[u8::try_from(value.len()).unwrap_or_default()][..], &value].concat())
}

fn new_mac(key: &[u8]) -> Result<Hmac<Sha256>> {
    Hmac::<Sha256>::new_from_slice(key).map_err(|_| Error::Crypto)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.as_bytes().chunks(2).map(|digits| if digits.len() == 2 { pair(digits) } else { None }).collect()
}
