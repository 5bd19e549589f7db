//! Client certificates, SNI, certificate resolvers, renewal, and the caller's own rustls configurations.

#![allow(clippy::unwrap_used, clippy::panic)]

mod toy;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use io_mio::{
    ClientCertificates, ClientProtocol, Connection, ConnectionEvent, ConnectionLimits, Connector, Context,
    Deadlines, Error, Handler, ImapClientProtocol, ImapServer, ListenerSettings, ListenerTls, Next, Peer,
    Reactor, Security, ServerProtocol, SmtpClientProtocol, SmtpServer, Target, TlsClientConfig,
    TlsServerConfig, TlsVersions,
};
use proto_mail::{
    AuthRequest, AuthVerdict, Cleartext, Credentials, Machine, Mechanism, Mechanisms, Secure, SendBuffer,
    token::AuthQuestion,
};
use rustls::{server::ClientHello, sign::CertifiedKey};
use toy::{Authority, Config, Identity, Toy, ask, line, localhost, target};

/// Accepts EXTERNAL from a client whose certificate is for alice@example.
fn verdict(request: &AuthRequest, cx: &Context<'_>) -> AuthVerdict {
    let certificate = cx.peer().tls.as_ref().and_then(|tls| tls.certificate.as_ref());
    let is_alice = certificate.is_some_and(|certificate| certificate.names == ["alice.example"]);
    match request.question() {
        AuthQuestion::Verify(Credentials::External { .. }) if is_alice => AuthVerdict::Accept,
        _ => AuthVerdict::Reject,
    }
}

struct App;

impl Handler<ImapServer> for App {
    fn cleartext(
        &mut self,
        event: proto_imap::server::Event<'_, Cleartext>,
        _: &mut proto_imap::server::Server<Cleartext>,
        _: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        match event {
            proto_imap::server::Event::StartTls(request) => Next::StartTls(request),
            _ => Next::Continue,
        }
    }

    fn secure(
        &mut self,
        event: proto_imap::server::Event<'_, Secure>,
        machine: &mut proto_imap::server::Server<Secure>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        if let proto_imap::server::Event::Auth(request) = event {
            let verdict = verdict(&request, cx);
            machine.answer_auth(request, verdict, tx).unwrap();
        }
        Next::Continue
    }
}

impl Handler<SmtpServer> for App {
    fn cleartext(
        &mut self,
        event: proto_smtp::server::Event<'_, Cleartext>,
        _: &mut proto_smtp::server::Server<Cleartext>,
        _: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        match event {
            proto_smtp::server::Event::StartTls(request) => Next::StartTls(request),
            _ => Next::Continue,
        }
    }

    fn secure(
        &mut self,
        event: proto_smtp::server::Event<'_, Secure>,
        machine: &mut proto_smtp::server::Server<Secure>,
        tx: &mut SendBuffer,
        cx: &mut Context<'_>,
    ) -> Next {
        if let proto_smtp::server::Event::Auth(request) = event {
            let verdict = verdict(&request, cx);
            machine.answer_auth(request, verdict, tx).unwrap();
        }
        Next::Continue
    }
}

fn serve<P: ServerProtocol>(tls: ListenerTls, config: P::Config) -> SocketAddr
where
    App: Handler<P>,
{
    let mut reactor = Reactor::new(ConnectionLimits::default()).unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    let address = reactor.listen::<P, App>(any, tls, config, Deadlines::default(), |_: &Peer| App).unwrap();
    std::thread::spawn(move || reactor.run());
    address
}

fn connect<P: ClientProtocol>(
    address: SocketAddr,
    tls: &TlsClientConfig,
    config: &P::Config,
) -> Result<Connection<P::Secure>, Error> {
    Connector::new(tls.clone())
        .deadlines(Deadlines::uniform(Duration::from_secs(5)))
        .connect::<P>(&target(address, Security::StartTls), config)
}

/// Drives a connection until `done` returns a value.
fn until<M: Machine, T>(
    connection: &mut Connection<M>,
    mut done: impl FnMut(M::Event<'_>) -> Option<T>,
) -> T {
    let found = connection.drive(|event, _, _| match event {
        ConnectionEvent::Machine(event) => Ok::<_, Error>(done(event)),
        ConnectionEvent::Writable => Ok(None),
    });
    found.unwrap()
}

#[test]
fn logs_in_with_client_certificates_in_both_protocols() {
    let (authority, identity) = localhost();
    let users = Authority::new("Users");
    let server = || {
        ListenerTls::StartTls(
            identity
                .server()
                .client_certificates(ClientCertificates::Optional, users.pem.as_bytes())
                .unwrap(),
        )
    };
    let imap = serve::<ImapServer>(
        server(),
        Arc::new(proto_imap::Config::default().offered_mechanisms(Mechanisms::all())),
    );
    let smtp = serve::<SmtpServer>(
        server(),
        Arc::new(proto_smtp::Config::default().offered_mechanisms(Mechanisms::all())),
    );
    for (name, expected) in [(Some("alice.example"), true), (Some("bob.example"), false), (None, false)] {
        let tls = match name {
            Some(name) => {
                let user = users.identity(name, |_| {});
                authority.trust().client_certificate_pem(user.chain.as_bytes(), user.key.as_bytes()).unwrap()
            }
            None => authority.trust(),
        };
        let mut connection = connect::<ImapClientProtocol>(imap, &tls, &Arc::default()).unwrap();
        if connection.machine().capabilities().is_none() {
            until(&mut connection, |event| {
                matches!(event, proto_imap::client::Event::Capabilities).then_some(())
            });
        }
        let method = proto_imap::client::LoginMethod::Mechanism(Mechanism::External);
        connection.with(|client, tx| client.authenticate(method, &Credentials::external(), tx)).unwrap();
        let accepted = until(&mut connection, |event| match event {
            proto_imap::client::Event::Auth(outcome) => Some(format!("{outcome:?}").starts_with("Accepted")),
            _ => None,
        });
        assert_eq!(accepted, expected, "{name:?}");
        let mut connection = connect::<SmtpClientProtocol>(smtp, &tls, &Arc::default()).unwrap();
        io_mio_ready(&mut connection);
        connection
            .with(|client, tx| client.authenticate(Mechanism::External, Credentials::external(), tx))
            .unwrap();
        let accepted = until(&mut connection, |event| match event {
            proto_smtp::client::Event::Auth(outcome) => {
                Some(matches!(outcome, proto_smtp::client::AuthOutcome::Accepted(_)))
            }
            _ => None,
        });
        assert_eq!(accepted, expected, "{name:?}");
    }
    let required =
        identity.server().client_certificates(ClientCertificates::Required, users.pem.as_bytes()).unwrap();
    let address = serve::<ImapServer>(ListenerTls::StartTls(required), Arc::default());
    let mut connection = match connect::<ImapClientProtocol>(address, &authority.trust(), &Arc::default()) {
        // With TLS 1.3 the server's refusal follows the client's handshake.
        Ok(connection) => connection,
        Err(error) => return assert!(matches!(error, Error::Tls(_)), "{error}"),
    };
    assert!(connection.drive(|_, _, _| Ok::<Option<()>, Error>(None)).is_err());
}

fn io_mio_ready(connection: &mut Connection<proto_smtp::client::Client<Secure>>) {
    until(connection, |event| matches!(event, proto_smtp::client::Event::Capabilities(_)).then_some(()));
}

/// Presents one certificate, which can be replaced, and records the names that clients send.
#[derive(Debug)]
struct Resolver {
    key: RwLock<Arc<CertifiedKey>>,
    names: Mutex<Vec<Option<String>>>,
}

impl rustls::server::ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.names.lock().unwrap().push(hello.server_name().map(str::to_owned));
        Some(self.key.read().unwrap().clone())
    }
}

fn certified(identity: &Identity) -> Arc<CertifiedKey> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider()).unwrap().into()
}

fn toy_server(tls: ListenerTls) -> (SocketAddr, ListenerSettings<Toy>) {
    let mut reactor = Reactor::new(ConnectionLimits::default()).unwrap();
    let settings = ListenerSettings::<Toy>::new(Config::default(), tls, Deadlines::default());
    let port = io_mio::BoundPort::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = port.address().as_socket_addr().unwrap();
    reactor.listen_on(port, None, &settings, |_| toy::App::new()).unwrap();
    std::thread::spawn(move || reactor.run());
    (address, settings)
}

fn names(connection: &toy::Connection) -> Vec<String> {
    connection.tls_info().unwrap().certificate.as_ref().unwrap().names.clone()
}

#[test]
fn renews_certificates_without_closing_sessions() {
    let authority = Authority::new("Toy Authority");
    let (first, second) = (
        authority.identity("localhost", |_| {}),
        authority.identity("localhost", |params| {
            params.subject_alt_names.push(rcgen::SanType::DnsName("second.example".try_into().unwrap()));
        }),
    );
    // With a resolver.
    let resolver = Arc::new(Resolver { key: RwLock::new(certified(&first)), names: Mutex::default() });
    let tls = TlsServerConfig::with_resolver(resolver.clone(), TlsVersions::Both).unwrap();
    assert!(tls.certificate().is_none() && tls.fingerprint().is_none());
    let (address, _) = toy_server(ListenerTls::StartTls(tls));
    let open = || toy::connect(address, Security::StartTls, authority.trust()).unwrap();
    let mut before = open();
    assert_eq!(names(&before), ["localhost"]);
    *resolver.key.write().unwrap() = certified(&second);
    assert_eq!(names(&open()), ["localhost", "second.example"]);
    assert!(ask(&mut before, "PING").is_ok(), "the old session goes on");
    // With new settings for the listener.
    let (address, settings) = toy_server(ListenerTls::StartTls(first.server()));
    let open = || toy::connect(address, Security::StartTls, authority.trust()).unwrap();
    let mut before = open();
    settings.replace(Config::default(), ListenerTls::StartTls(second.server()), Deadlines::default());
    assert_eq!(names(&open()), ["localhost", "second.example"]);
    assert!(ask(&mut before, "PING").is_ok(), "the old session goes on");
}

#[test]
fn sends_another_name_in_sni_and_still_verifies_the_certificate() {
    let (authority, identity) = localhost();
    let resolver = Arc::new(Resolver { key: RwLock::new(certified(&identity)), names: Mutex::default() });
    let tls = TlsServerConfig::with_resolver(resolver.clone(), TlsVersions::Both).unwrap();
    let (address, _) = toy_server(ListenerTls::Implicit(tls));
    let connect = |tls: TlsClientConfig, target: &Target| {
        Connector::new(tls).connect::<Toy>(target, &Config::default())
    };
    let target = target(address, Security::ImplicitTls);
    connect(authority.trust(), &target).unwrap();
    connect(authority.trust(), &target.clone().sni("tenant.example")).unwrap();
    connect(authority.trust(), &target.clone().without_sni()).unwrap();
    let sent = resolver.names.lock().unwrap().clone();
    assert_eq!(sent, [Some("localhost".to_owned()), Some("tenant.example".to_owned()), None]);
    let other = target.clone().verify_name("other.example").sni("localhost");
    assert!(matches!(connect(authority.trust(), &other), Err(Error::Tls(_))), "SNI is not what is verified");
    let own = TlsClientConfig::from_rustls(toy::rustls_client_config(&authority));
    assert!(matches!(connect(own, &target.sni("tenant.example")), Err(Error::Config(_))));
}

#[test]
fn uses_the_callers_own_rustls_configurations() {
    let (authority, identity) = localhost();
    let (address, _) = toy_server(ListenerTls::Implicit(TlsServerConfig::from_rustls(identity.rustls())));
    let own = || TlsClientConfig::from_rustls(toy::rustls_client_config(&authority));
    let mut connection = toy::connect(address, Security::ImplicitTls, own()).unwrap();
    assert_eq!(line(&mut connection).unwrap(), "220 toy");
    assert_eq!(names(&connection), ["localhost"]);
    let stranger = TlsClientConfig::from_rustls(toy::rustls_client_config(&Authority::new("Stranger")));
    assert!(matches!(toy::connect(address, Security::ImplicitTls, stranger), Err(Error::Tls(_))));
    assert!(own().versions(TlsVersions::Tls12).is_err());
    let users = Authority::new("Users");
    let server = TlsServerConfig::from_rustls(identity.rustls());
    assert!(server.client_certificates(ClientCertificates::Optional, users.pem.as_bytes()).is_err());
}

/// Channel binding uses the certificate that a resolver chose.
#[test]
fn binds_to_the_certificate_that_a_resolver_chose() {
    let (authority, identity) = localhost();
    let resolver = Arc::new(Resolver { key: RwLock::new(certified(&identity)), names: Mutex::default() });
    let tls = TlsServerConfig::with_resolver(resolver, TlsVersions::Tls12).unwrap();
    let address = serve::<ImapServer>(
        ListenerTls::StartTls(tls),
        Arc::new(proto_imap::Config::default().offered_mechanisms(Mechanisms::all())),
    );
    let connection = connect::<ImapClientProtocol>(address, &authority.trust(), &Arc::default()).unwrap();
    let mut connection = connection;
    if connection.machine().capabilities().is_none() {
        until(&mut connection, |event| {
            matches!(event, proto_imap::client::Event::Capabilities).then_some(())
        });
    }
    let offered = format!("{:?}", connection.machine().capabilities());
    assert!(offered.contains("SCRAM-SHA-256-PLUS"), "{offered}");
}
