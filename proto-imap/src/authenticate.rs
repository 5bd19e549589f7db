//! `LOGIN` and `AUTHENTICATE` as a server parses them (RFC 9051 §6.2.2, §6.2.3). The types for credentials do not
//! print them.

use crate::command_name::{CommandName, UnparsedCommand, command_name, end, tag_sp};
use crate::grammar::primitive::{atom, sp};
use crate::grammar::string::IString;
use crate::grammar::string::parse::astring;
use crate::grammar::{Context, Parsed, expected};
use crate::tag::Tag;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use proto_mail::{Credentials, Secret, sasl};

/// A command that logs in.
pub enum Authentication<'i> {
    /// `LOGIN`, with its name and password.
    Login(Credentials),
    /// `AUTHENTICATE`, with a SASL mechanism.
    Authenticate {
        /// The mechanism's name.
        mechanism: &'i [u8],
        /// The decoded initial response; `None` if there is none.
        initial: Option<Secret<Vec<u8>>>,
    },
}

impl fmt::Debug for Authentication<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login(_) => "Login([redacted])",
            Self::Authenticate { .. } => "Authenticate([redacted])",
        })
    }
}

/// Parses a complete frame that is LOGIN or AUTHENTICATE. The caller must erase the frame.
///
/// # Errors
/// [`UnparsedCommand`] if it is neither, or its arguments are invalid. The error shows none of the arguments.
pub fn authentication<'i>(
    frame: &'i [u8],
    cx: &Context,
) -> Result<(Tag<'i>, Authentication<'i>), UnparsedCommand<'i>> {
    let (tag, name, rest) = command_name(frame)?;
    let read = match name {
        CommandName::Login => login(rest, cx),
        CommandName::Authenticate => authenticate(rest, cx),
        _ => expected(tag_sp(frame).map_or(rest, |(rest, _)| rest), "LOGIN or AUTHENTICATE"),
    };
    match read {
        Ok((_, authentication)) => Ok((tag, authentication)),
        Err(error) => Err(UnparsedCommand::new(frame, Some(tag), error).secret()),
    }
}

/// The element that was expected instead of an invalid initial response.
pub(crate) const INITIAL_RESPONSE: &str = "an initial response in base64";

/// `login = "LOGIN" SP userid SP password`, after the name. The userid is UTF-8.
fn login<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Authentication<'i>> {
    let (begin, ()) = sp(i, cx)?;
    let (rest, userid) = astring(begin, cx)?;
    let (rest, password) = astring(sp(rest, cx)?.0, cx)?;
    let (rest, ()) = end(rest, cx)?;
    let Ok(username) = String::from_utf8(userid.to_vec()) else {
        return expected(begin, "a user name in UTF-8");
    };
    Ok((rest, Authentication::Login(Credentials::password(username, secret(password)))))
}

/// Copies a secret in one allocation, so that growing it leaves no copy in memory.
fn secret(string: IString<'_>) -> Secret<Vec<u8>> {
    let mut bytes = Vec::with_capacity(string.raw().len());
    bytes.extend(string.iter());
    Secret::new(bytes)
}

/// `authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp]`, after the name, where
/// `initial-resp = base64 / "="` and `=` is the empty response
fn authenticate<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Authentication<'i>> {
    let (rest, mechanism) = atom(sp(i, cx)?.0)?;
    if !rest.starts_with(b" ") {
        let (rest, ()) = end(rest, cx)?;
        return Ok((rest, Authentication::Authenticate { mechanism, initial: None }));
    }
    let (begin, ()) = sp(rest, cx)?;
    let end_of_line =
        begin.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n')).unwrap_or(begin.len());
    let (base64, rest) = begin.split_at(end_of_line);
    let (rest, ()) = end(rest, cx)?;
    let decoded = match base64 {
        b"" => None,
        b"=" => Some(Secret::new(Vec::new())),
        base64 => sasl::decode_base64(base64).ok(),
    };
    match decoded {
        Some(initial) => Ok((rest, Authentication::Authenticate { mechanism, initial: Some(initial) })),
        None => expected(begin, INITIAL_RESPONSE),
    }
}
