//! The endpoints: check every parameter, and answer.

use std::time::{Duration, Instant};

use super::answer::Answer;
use super::form::{Form, encode};
use super::grants::Issued;
use super::misbehaviour::Misbehaviour;
use super::request::Request;
use super::shared::{CLIENT_ID, CLIENT_SECRET, SCOPE, Shared};

/// Answers a request.
pub(super) fn answer(request: &Request, shared: &Shared) -> Answer {
    if shared.grants().is_full() {
        return Answer::text(503, "full");
    }
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/authorize") => authorize(request, shared),
        ("POST", "/token") => counted_token(request, shared),
        ("POST", "/device") => device(request, shared),
        _ => Answer::text(404, "not found"),
    }
}

/// The authorization endpoint (RFC 6749 §4.1.1, RFC 7636 §4.3).
fn authorize(request: &Request, shared: &Shared) -> Answer {
    let Some(form) = Form::parse(&request.query) else { return Answer::text(400, "the query is not valid") };
    let (redirect_uri, state) = (form.value("redirect_uri"), form.value("state"));
    // Without a known client and redirect address there is no redirect (RFC 6749 §4.1.2.1).
    if form.value("client_id") != CLIENT_ID {
        return Answer::text(400, "client_id: unknown");
    }
    if !is_registered(shared, redirect_uri) {
        return Answer::text(400, "redirect_uri: not registered");
    }
    let challenge = form.value("code_challenge");
    let wrong = [
        (form.value("response_type") != "code", "unsupported_response_type"),
        (form.value("scope") != SCOPE, "invalid_scope"),
        (state.len() < 16, "invalid_request"),
        (form.value("code_challenge_method") != "S256", "invalid_request"),
        (challenge.len() != 43, "invalid_request"),
    ];
    let mut grants = shared.grants();
    let misbehaviour = grants.take_misbehaviour(true);
    let error = wrong.iter().find(|(is_wrong, _)| *is_wrong).map(|(_, error)| *error);
    let error = match &misbehaviour {
        Some(Misbehaviour::ErrorRedirect(error)) => Some(*error),
        _ => error,
    };
    let result = match error {
        Some(error) => format!("error={}", encode(error)),
        None => format!("code={}", encode(&grants.issue_code(redirect_uri, challenge, Instant::now()))),
    };
    let state = match misbehaviour {
        Some(Misbehaviour::WrongState) => "another-state-than-the-one-asked-for",
        _ => state,
    };
    Answer::redirect(format!("{redirect_uri}?{result}&state={}", encode(state)))
}

fn is_registered(shared: &Shared, uri: &str) -> bool {
    let registered = &shared.settings.redirect_uris;
    if !registered.is_empty() {
        return registered.iter().any(|known| known == uri);
    }
    let port = ["http://127.0.0.1:", "http://localhost:"].iter().find_map(|start| uri.strip_prefix(start));
    port.is_some_and(|port| port.strip_suffix('/').unwrap_or(port).parse::<u16>().is_ok())
}

/// Counts the requests to the token endpoint that run at the same time.
fn counted_token(request: &Request, shared: &Shared) -> Answer {
    let misbehaviour = {
        let mut grants = shared.grants();
        grants.counts.token_requests += 1;
        grants.in_progress += 1;
        grants.counts.concurrent = grants.counts.concurrent.max(grants.in_progress);
        grants.take_misbehaviour(false)
    };
    // A refresh takes a moment, so that two at a time would be seen.
    std::thread::sleep(Duration::from_millis(10));
    let answer = token(request, shared, misbehaviour);
    shared.grants().in_progress -= 1;
    answer
}

/// The token endpoint (RFC 6749 §4.1.3 and §6, RFC 8628 §3.4).
fn token(request: &Request, shared: &Shared, misbehaviour: Option<Misbehaviour>) -> Answer {
    match &misbehaviour {
        Some(Misbehaviour::Html) => return Answer::new(200, "text/html", "<html>Sign in</html>"),
        Some(Misbehaviour::HugeBody(bytes)) => {
            return Answer::new(200, "application/json", format!("{{\"x\":\"{}\"}}", "x".repeat(*bytes)));
        }
        Some(Misbehaviour::RedirectTo(url)) => {
            return Answer { status: Some(307), ..Answer::redirect(url.clone()) };
        }
        Some(Misbehaviour::Status(status)) => return Answer::new(*status, "text/html", ""),
        Some(Misbehaviour::Error(error)) => return Answer::error(error, "a fault of the test"),
        _ => {}
    }
    let issued = match checked_client(request).and_then(|form| issue(&form, shared)) {
        Ok(issued) => issued,
        Err(answer) => return answer,
    };
    let mut answer = Answer::new(200, "application/json", tokens(&issued, shared, misbehaviour.as_ref()));
    match misbehaviour {
        Some(Misbehaviour::Slow(pause)) => answer.pause = pause,
        Some(Misbehaviour::LostAnswer) => answer.status = None,
        _ => {}
    }
    answer
}

fn tokens(issued: &Issued, shared: &Shared, misbehaviour: Option<&Misbehaviour>) -> String {
    let token_type = match misbehaviour {
        Some(Misbehaviour::TokenType(other)) => other,
        _ => "Bearer",
    };
    let scope = match misbehaviour {
        Some(Misbehaviour::Scope(other)) => other,
        _ => SCOPE,
    };
    let refresh = match misbehaviour {
        Some(Misbehaviour::NoRefreshToken) => String::new(),
        _ => format!(",\"refresh_token\":\"{}\"", issued.refresh),
    };
    format!(
        "{{\"access_token\":\"{}\",\"token_type\":\"{token_type}\",\"expires_in\":{},\"scope\":\"{scope}\"{refresh}}}",
        issued.access,
        shared.settings.lifetime.as_secs()
    )
}

/// Checks the form and the client.
fn checked_client(request: &Request) -> Result<Form, Answer> {
    if request.content_type != "application/x-www-form-urlencoded" {
        return Err(Answer::error("invalid_request", "content type"));
    }
    let form = Form::parse(&request.body).ok_or_else(|| Answer::error("invalid_request", "form"))?;
    if form.value("client_id") != CLIENT_ID || form.value("client_secret") != CLIENT_SECRET {
        return Err(Answer::error("invalid_client", "client"));
    }
    Ok(form)
}

fn issue(form: &Form, shared: &Shared) -> Result<Issued, Answer> {
    let (lifetime, now) = (shared.settings.lifetime, Instant::now());
    let mut grants = shared.grants();
    let issued = match form.value("grant_type") {
        "authorization_code" => grants.exchange(
            form.value("code"),
            form.value("redirect_uri"),
            form.value("code_verifier"),
            lifetime,
            now,
        ),
        "refresh_token" => {
            grants.refresh(form.value("refresh_token"), shared.settings.rotation, lifetime, now)
        }
        "urn:ietf:params:oauth:grant-type:device_code" => {
            let polled = grants.poll_device(form.value("device_code"), lifetime, now);
            return polled.map_err(|error| Answer::error(error, "device"));
        }
        _ => return Err(Answer::error("unsupported_grant_type", "grant type")),
    };
    issued.map_err(|why| Answer::error("invalid_grant", why))
}

/// The device authorization endpoint (RFC 8628 §3.1).
fn device(request: &Request, shared: &Shared) -> Answer {
    let form = match checked_client(request) {
        Ok(form) => form,
        Err(answer) => return answer,
    };
    if form.value("scope") != SCOPE {
        return Answer::error("invalid_scope", "scope");
    }
    let (interval, lifetime) = (shared.settings.device_interval, shared.settings.device_lifetime);
    let (device_code, user_code) = shared.grants().begin_device(interval, lifetime, Instant::now());
    let address = shared.address;
    Answer::new(
        200,
        "application/json",
        format!(
            "{{\"device_code\":\"{device_code}\",\"user_code\":\"{user_code}\",\"interval\":{},\"expires_in\":{},\
             \"verification_uri\":\"http://{address}/activate\"}}",
            interval.as_secs(),
            lifetime.as_secs()
        ),
    )
}
