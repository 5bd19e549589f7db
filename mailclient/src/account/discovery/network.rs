//! [`Network`]: what discovery reads from the network. [`SystemNetwork`]: HTTPS by `ureq`, and DNS by `hickory-resolver` with the system's name servers.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, TokioResolver};
use rustls::crypto::ring;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

use super::srv::SrvRecord;

/// Reads from the network for [`discover`](super::discover).
pub trait Network {
    /// Returns the body of a successful response to GET. Must use HTTPS, also after redirects, limit the time, and read at most
    /// `limit` bytes.
    ///
    /// # Errors
    /// Why there is no such response. The text must not hold the URL's query.
    fn get(&self, url: &str, limit: usize) -> Result<Vec<u8>, String>;

    /// Returns the SRV records of a name; empty if it has none.
    ///
    /// # Errors
    /// Why the records cannot be read.
    fn srv(&self, name: &str) -> Result<Vec<SrvRecord>, String>;
}

/// How long one request may take in all.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one attempt of a DNS query may take.
const DNS_TIMEOUT: Duration = Duration::from_secs(3);

/// The most attempts of a DNS query.
const DNS_ATTEMPTS: usize = 2;

/// The most redirects of one request; all of them to HTTPS.
const REDIRECT_LIMIT: u32 = 3;

/// The most bytes of a response's header.
const HEADER_LIMIT: usize = 32 * 1024;

/// The most SRV records of a name that are read.
const RECORD_LIMIT: usize = 50;

/// The network of the system. A request takes at most 10 seconds, a DNS query about 6.
#[derive(Debug)]
pub struct SystemNetwork {
    agent: Agent,
}

impl Default for SystemNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl SystemNetwork {
    /// Makes a client that trusts the authorities of the operating system.
    #[must_use]
    pub fn new() -> Self {
        Self::with(true)
    }

    fn with(https_only: bool) -> Self {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .https_only(https_only)
            .max_redirects(REDIRECT_LIMIT)
            .max_response_header_size(HEADER_LIMIT)
            .timeout_global(Some(HTTP_TIMEOUT))
            .user_agent(concat!("mailclient/", env!("CARGO_PKG_VERSION")))
            .max_idle_connections(0)
            .build()
            .new_agent();
        Self { agent }
    }
}

impl Network for SystemNetwork {
    fn get(&self, url: &str, limit: usize) -> Result<Vec<u8>, String> {
        let response = self.agent.get(url).call().map_err(|error| describe(&error))?;
        let mut body = Vec::new();
        let limit = limit as u64;
        let reader = response.into_body().into_reader();
        reader
            .take(limit.saturating_add(1))
            .read_to_end(&mut body)
            .map_err(|error| describe(&ureq::Error::from(error)))?;
        if body.len() as u64 > limit {
            return Err(format!("the file has more than {limit} bytes"));
        }
        Ok(body)
    }

    fn srv(&self, name: &str) -> Result<Vec<SrvRecord>, String> {
        let failed = |what: &str| format!("the DNS query failed: {what}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|_| failed("no thread could be started"))?;
        let mut builder = TokioResolver::builder_tokio().map_err(|_| failed("there is no name server"))?;
        let options = builder.options_mut();
        (options.timeout, options.attempts, options.cache_size) = (DNS_TIMEOUT, DNS_ATTEMPTS, 0);
        let resolver: Resolver<_> = builder.build().map_err(|_| failed("there is no name server"))?;
        // With a dot at the end, so that no search domain is appended.
        let answer = runtime.block_on(resolver.srv_lookup(format!("{name}.")));
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_no_records_found() => return Ok(Vec::new()),
            Err(_) => return Err(failed("the name server did not answer, or refused")),
        };
        let records = answer.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(SrvRecord {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii(),
            }),
            _ => None,
        });
        Ok(records.take(RECORD_LIMIT).collect())
    }
}

/// Says why a request failed, without its URL.
fn describe(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(code) => format!("the server replied {code}"),
        ureq::Error::HostNotFound => "the host name does not exist".to_owned(),
        ureq::Error::Timeout(_) => format!("no response within {} s", HTTP_TIMEOUT.as_secs()),
        ureq::Error::RequireHttpsOnly(_) => "a redirect leads to an address without TLS".to_owned(),
        ureq::Error::TooManyRedirects => "there are too many redirects".to_owned(),
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => "the TLS connection failed".to_owned(),
        ureq::Error::Io(error) => format!("the connection failed: {}", error.kind()),
        _ => "the request failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// Serves one response to each of `count` requests on loopback. Returns the URL.
    fn serve(count: usize, response: impl Fn(u16) -> Vec<u8> + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(count) {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                for line in lines.map_while(Result::ok) {
                    if line.is_empty() {
                        break;
                    }
                }
                let _ = stream.write_all(&response(port));
            }
        });
        format!("http://127.0.0.1:{port}/config?emailaddress=ann%40x.example")
    }

    fn body(text: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
            .into_bytes()
    }

    fn get(url: &str, limit: usize) -> Result<Vec<u8>, String> {
        SystemNetwork::with(false).get(url, limit)
    }

    #[test]
    fn returns_a_body_within_the_limit() {
        assert_eq!(get(&serve(1, |_| body("hello")), 5).unwrap(), b"hello");
        let error = get(&serve(1, |_| body("hello")), 4).unwrap_err();
        assert_eq!(error, "the file has more than 4 bytes");
        // The length is unknown, and the body ends with the connection.
        let endless = |_| [&b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"[..], &[b'x'; 100_000]].concat();
        assert!(get(&serve(1, endless), 1000).unwrap_err().contains("1000 bytes"));
    }

    #[test]
    fn errors_do_not_name_the_address() {
        let not_found = serve(1, |_| b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
        assert_eq!(get(&not_found, 9).unwrap_err(), "the server replied 404");
        let garbage = get(&serve(1, |_| b"* OK ready\r\n".to_vec()), 9).unwrap_err();
        assert!(!garbage.contains("ann"), "{garbage}");
        let circle = serve(9, |port| {
            format!("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{port}/a?ann\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
        });
        assert_eq!(get(&circle, 9).unwrap_err(), "there are too many redirects");
    }

    #[test]
    fn never_connects_without_tls() {
        let url = serve(1, |_| body("hello"));
        assert!(SystemNetwork::new().get(&url, 9).unwrap_err().contains("without TLS"));
    }
}
