//! Receives the redirect on loopback (RFC 8252 §7.3): an HTTP server that answers one callback and ends.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::callback::Callback;
use super::error::{OAuthError, OAuthErrorCode};
use super::loopback_request::{Request, RequestHead};
use super::provider::LoopbackHost;

/// The most connections at a time. A browser opens some that it does not use; the oldest is closed for a new one.
const MAX_CONNECTIONS: usize = 8;
/// The most requests that are no callback, before the server gives up.
const MAX_OTHER_REQUESTS: usize = 100;
/// How long a connection may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the sockets are looked at.
const INTERVAL: Duration = Duration::from_millis(15);

/// Receives the redirect of one authorization, on a free port of loopback. Dropping it closes the port.
pub struct LoopbackReceiver {
    listeners: Vec<TcpListener>,
    authority: String,
    redirect_uri: String,
}

/// A connection whose request is not complete.
struct Connection {
    stream: TcpStream,
    head: RequestHead,
    since: Instant,
}

/// What to answer.
#[derive(Clone, Copy)]
enum Page {
    Done,
    Failed,
    NotFound,
    BadRequest,
}

impl LoopbackReceiver {
    /// Opens a port on 127.0.0.1; for [`LoopbackHost::Localhost`] also on ::1, if there is one.
    ///
    /// # Errors
    /// [`OAuthErrorCode::Unavailable`] if no port can be opened.
    pub fn bind(host: LoopbackHost) -> Result<Self, OAuthError> {
        let failed = |error: std::io::Error| {
            let what = format!("no port can be opened for the answer of the browser: {error}");
            OAuthError::new(OAuthErrorCode::Unavailable, what)
        };
        let open = |address: SocketAddr| -> std::io::Result<TcpListener> {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let first = open((Ipv4Addr::LOCALHOST, 0).into()).map_err(failed)?;
        let port = first.local_addr().map_err(failed)?.port();
        let mut listeners = vec![first];
        let (authority, redirect_uri) = match host {
            LoopbackHost::Address => (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}/")),
            LoopbackHost::Localhost => {
                listeners.extend(open((Ipv6Addr::LOCALHOST, port).into()));
                // Microsoft registers `http://localhost`, and compares the path.
                (format!("localhost:{port}"), format!("http://localhost:{port}"))
            }
        };
        Ok(Self { listeners, authority, redirect_uri })
    }

    /// Returns the redirect address.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Waits for the callback, checks it with `check`, and answers the browser with a page that says whether it worked. The
    /// page repeats nothing of the request. Other requests, such as the browser's for an icon, are answered with 404.
    ///
    /// `is_stopped` is called about 60 times a second.
    ///
    /// # Errors
    /// [`OAuthErrorCode::Expired`]: no callback within `timeout`. [`OAuthErrorCode::Stopped`]: `is_stopped` returned true.
    /// [`OAuthErrorCode::Unavailable`]: too many other requests. Otherwise what `check` returned, or why the callback is not
    /// valid.
    pub fn receive<T>(
        self,
        timeout: Duration,
        is_stopped: impl Fn() -> bool,
        check: impl FnOnce(&Callback) -> Result<T, OAuthError>,
    ) -> Result<T, OAuthError> {
        let start = Instant::now();
        let mut connections = Vec::new();
        let mut others = 0;
        while start.elapsed() < timeout {
            if is_stopped() {
                return Err(OAuthError::new(OAuthErrorCode::Stopped, "the wait for the consent was stopped"));
            }
            self.accept(&mut connections);
            while let Some((mut stream, request)) = self.next_request(&mut connections) {
                match request {
                    Request::Callback(query) => {
                        let checked = Callback::from_query(&query).and_then(|callback| check(&callback));
                        answer(&mut stream, if checked.is_ok() { Page::Done } else { Page::Failed });
                        return checked;
                    }
                    Request::Other => answer(&mut stream, Page::NotFound),
                    Request::Invalid => answer(&mut stream, Page::BadRequest),
                }
                others += 1;
                if others >= MAX_OTHER_REQUESTS {
                    let what = "too many requests came that do not belong to the consent";
                    return Err(OAuthError::new(OAuthErrorCode::Unavailable, what));
                }
            }
            std::thread::sleep(INTERVAL);
        }
        Err(OAuthError::new(OAuthErrorCode::Expired, "the user did not consent in time"))
    }

    fn accept(&self, connections: &mut Vec<Connection>) {
        for listener in &self.listeners {
            // At most so many in a turn, so that a flood does not keep the requests from being read.
            for _ in 0..MAX_CONNECTIONS {
                let Ok((stream, peer)) = listener.accept() else { break };
                if !peer.ip().is_loopback() || stream.set_nonblocking(true).is_err() {
                    continue;
                }
                if connections.len() >= MAX_CONNECTIONS {
                    connections.remove(0);
                }
                connections.push(Connection { stream, head: RequestHead::default(), since: Instant::now() });
            }
        }
    }

    /// Reads what has arrived, closes connections that are over, and returns the first complete request.
    fn next_request(&self, connections: &mut Vec<Connection>) -> Option<(TcpStream, Request)> {
        let mut index = 0;
        while let Some(connection) = connections.get_mut(index) {
            match connection.read(&self.authority) {
                Reading::Complete(request) => return Some((connections.remove(index).stream, request)),
                Reading::Over => drop(connections.remove(index)),
                Reading::Incomplete => index += 1,
            }
        }
        None
    }
}

impl fmt::Debug for LoopbackReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopbackReceiver").field("redirect_uri", &self.redirect_uri).finish_non_exhaustive()
    }
}

enum Reading {
    Incomplete,
    Complete(Request),
    Over,
}

impl Connection {
    fn read(&mut self, authority: &str) -> Reading {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Reading::Over,
                Ok(count) => {
                    if let Some(request) = self.head.push(buffer.get(..count).unwrap_or_default(), authority)
                    {
                        return Reading::Complete(request);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let is_late = self.since.elapsed() > REQUEST_TIMEOUT;
                    return if is_late { Reading::Over } else { Reading::Incomplete };
                }
                Err(_) => return Reading::Over,
            }
        }
    }
}

/// Answers a request. The consent does not depend on the answer, so a failure is ignored.
fn answer(stream: &mut TcpStream, page: Page) {
    let (status, title, text) = match page {
        Page::Done => ("200 OK", "Signed in", "You can close this window. The program continues by itself."),
        Page::Failed => (
            "400 Bad Request",
            "Not signed in",
            "The sign-in failed. You can close this window. The program says what to do.",
        ),
        Page::NotFound => ("404 Not Found", "Not found", "There is nothing here."),
        Page::BadRequest => ("400 Bad Request", "Bad request", "This request is not for this program."),
    };
    let body = format!(
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><h1>{title}</h1><p>{text}</p></html>"
    );
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n\r\n",
        body.len()
    );
    let _ = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_write_timeout(Some(ANSWER_TIMEOUT)))
        .and_then(|()| stream.write_all((head + &body).as_bytes()))
        .and_then(|()| stream.shutdown(std::net::Shutdown::Write));
}
