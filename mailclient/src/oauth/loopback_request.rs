//! The request that a browser makes after the redirect, as far as it is read: the head of a GET.

/// The longest head, in bytes. A callback has a code of some hundred bytes; the browser adds cookies for the host.
const MAX_HEAD: usize = 32 * 1024;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// The callback, with its query.
    Callback(String),
    /// Something else of this server, such as an icon.
    Other,
    /// What is no request to this server.
    Invalid,
}

/// Collects the head of a request.
#[derive(Default)]
pub(super) struct RequestHead {
    bytes: Vec<u8>,
}

impl RequestHead {
    /// Adds bytes. Returns the request when its head is complete. `authority` is the host and port of the redirect address:
    /// a request to another host comes from a page that made its own name point here.
    pub(super) fn push(&mut self, bytes: &[u8], authority: &str) -> Option<Request> {
        let room = MAX_HEAD - self.bytes.len();
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let end = self.bytes.windows(4).position(|four| four == b"\r\n\r\n");
        match end {
            Some(end) => Some(parse(self.bytes.get(..end).unwrap_or_default(), authority)),
            None if self.bytes.len() >= MAX_HEAD => Some(Request::Invalid),
            None => None,
        }
    }
}

fn parse(head: &[u8], authority: &str) -> Request {
    let Ok(head) = std::str::from_utf8(head) else { return Request::Invalid };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some("GET"), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Request::Invalid;
    };
    let mut hosts = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    if hosts.next().is_none_or(|host| !host.eq_ignore_ascii_case(authority)) || hosts.next().is_some() {
        return Request::Invalid;
    }
    match target.split_once('?') {
        Some(("/", query)) if query.split('&').any(|pair| pair.starts_with("state=")) => {
            Request::Callback(query.to_owned())
        }
        _ => Request::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "127.0.0.1:4000";

    fn whole(head: &str) -> Option<Request> {
        RequestHead::default().push(head.as_bytes(), HOST)
    }

    #[test]
    fn reads_a_callback_in_any_split() {
        let head = "GET /?code=c&state=s HTTP/1.1\r\nHost: 127.0.0.1:4000\r\nAccept: */*\r\n\r\n";
        let expected = Some(Request::Callback("code=c&state=s".to_owned()));
        assert_eq!(whole(head), expected);
        for split in 1..head.len() {
            let (one, two) = head.split_at(split);
            let mut reader = RequestHead::default();
            assert_eq!(reader.push(one.as_bytes(), HOST), None);
            assert_eq!(reader.push(two.as_bytes(), HOST), expected);
        }
    }

    #[test]
    fn other_requests_are_no_callback() {
        for (head, expected) in [
            ("GET /favicon.ico HTTP/1.1\r\nHost: 127.0.0.1:4000\r\n\r\n", Request::Other),
            ("GET / HTTP/1.1\r\nHost: 127.0.0.1:4000\r\n\r\n", Request::Other),
            ("GET /?code=c HTTP/1.1\r\nHost: 127.0.0.1:4000\r\n\r\n", Request::Other),
            ("GET /other?state=s&code=c HTTP/1.1\r\nHost: 127.0.0.1:4000\r\n\r\n", Request::Other),
            ("POST /?state=s&code=c HTTP/1.1\r\nHost: 127.0.0.1:4000\r\n\r\n", Request::Invalid),
            ("GET /?state=s&code=c HTTP/1.1\r\nHost: evil.example:4000\r\n\r\n", Request::Invalid),
            ("GET /?state=s&code=c HTTP/1.1\r\n\r\n", Request::Invalid),
            (
                "GET /?state=s&code=c HTTP/1.1\r\nHost: 127.0.0.1:4000\r\nHost: 127.0.0.1:4000\r\n\r\n",
                Request::Invalid,
            ),
            ("GET /?state=s&code=c HTTP/2\r\nHost: 127.0.0.1:4000\r\n\r\n", Request::Invalid),
            ("GET /?state=s code=c HTTP/1.1\r\nHost: 127.0.0.1:4000\r\n\r\n", Request::Invalid),
            ("\x16\x03\x01\r\n\r\n", Request::Invalid),
        ] {
            assert_eq!(whole(head), Some(expected), "{head}");
        }
    }

    #[test]
    fn a_head_is_limited() {
        let mut reader = RequestHead::default();
        let mut pushed = 0;
        loop {
            pushed += 1000;
            match reader.push(&[b'x'; 1000], HOST) {
                None => assert!(pushed < MAX_HEAD),
                Some(request) => break assert_eq!(request, Request::Invalid),
            }
        }
        assert!(pushed < MAX_HEAD + 1000 && reader.bytes.len() == MAX_HEAD);
    }
}
