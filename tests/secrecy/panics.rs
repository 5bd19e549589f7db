//! Applications that panic during an authentication, on the driver, in both roles of both protocols. The panic shows
//! everything that the application holds; none of that is secret, and no secret is in the trace, in what the peer
//! receives, or in the next session.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once};
use std::thread::JoinHandle;
use std::time::Duration;

use io_mio::{
    Connection, ConnectionEvent, ConnectionLimits, Connector, Context, Deadlines, Error, Handler,
    ImapClientProtocol, ImapServer, ListenerTls, Next, Peer, Reactor, ReactorHandle, Security,
    ServerProtocol, SmtpClientProtocol, SmtpServer, Target, TlsClientConfig, TlsServerConfig, TlsVersions,
};
use proto_mail::{AuthRequest, Cleartext, Machine, Mechanism, Mechanisms, Secure, SendBuffer};

use crate::session::Written;
use crate::{Answer, How, PASSWORDS, careless_mechanism, how, mechanisms, search};

/// The prefix of these applications' panic messages.
const LAST_WORDS: &str = "last words: ";

/// The panic messages of this file, as printed.
fn said() -> &'static Mutex<Vec<String>> {
    static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = format!("{info} {info:?}");
            if text.contains(LAST_WORDS) {
                SAID.lock().unwrap().push(text);
            } else {
                before(info);
            }
        }));
    });
    &SAID
}

/// When a server's application panics: at which question, and whether it has answered it.
#[derive(Debug, Clone, Copy)]
enum Falls {
    Never,
    Asked(usize),
    Behind(usize),
}

/// A server's application.
struct App {
    falls: Falls,
    questions: usize,
}

impl App {
    fn question<M: Machine + std::fmt::Debug>(
        &mut self,
        request: AuthRequest,
        (machine, tx, cx): (&mut M, &mut SendBuffer, &mut Context<'_>),
        verdict: impl FnOnce(&mut M, AuthRequest, &mut SendBuffer),
    ) -> Next {
        let number = self.questions;
        self.questions += 1;
        if matches!(self.falls, Falls::Asked(at) if at == number) {
            panic!("{LAST_WORDS}{request:?} {:?} {machine:?} {tx:?} {cx:?}", request.question());
        }
        verdict(machine, request, tx);
        if matches!(self.falls, Falls::Behind(at) if at == number) {
            panic!("{LAST_WORDS}{machine:?} {tx:?} {cx:?}");
        }
        Next::Continue
    }
}

macro_rules! serving {
    ($protocol:ty, $module:ident) => {
        impl Handler<$protocol> for App {
            fn cleartext(
                &mut self,
                _: $module::server::Event<'_, Cleartext>,
                _: &mut $module::server::Server<Cleartext>,
                _: &mut SendBuffer,
                _: &mut Context<'_>,
            ) -> Next {
                Next::Close
            }

            fn secure(
                &mut self,
                event: $module::server::Event<'_, Secure>,
                machine: &mut $module::server::Server<Secure>,
                tx: &mut SendBuffer,
                cx: &mut Context<'_>,
            ) -> Next {
                let $module::server::Event::Auth(request) = event else { return Next::Continue };
                self.question(request, (machine, tx, cx), |machine, request, tx| {
                    let verdict = Answer::Accept.verdict(&request);
                    machine.answer_auth(request, verdict, tx).unwrap();
                })
            }
        }
    };
}

serving!(SmtpServer, proto_smtp);
serving!(ImapServer, proto_imap);

struct Running {
    address: SocketAddr,
    handle: ReactorHandle,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start<P: ServerProtocol>(config: P::Config, falls: Falls, written: &Written) -> Self
    where
        App: Handler<P>,
        P::Config: Send,
    {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let tls = TlsServerConfig::from_pem(chain.as_bytes(), key.as_bytes(), TlsVersions::Both).unwrap();
        let mut reactor = Reactor::new(ConnectionLimits::default()).unwrap();
        let written = written.clone();
        reactor.trace(move || written.trace());
        let any = "127.0.0.1:0".parse().unwrap();
        let factory = move |_: &Peer| App { falls, questions: 0 };
        let tls = ListenerTls::Implicit(tls);
        let deadlines = Deadlines::default();
        let address = reactor.listen::<P, App>(any, tls, config, deadlines, factory).unwrap();
        let handle = reactor.handle();
        let thread = Some(std::thread::spawn(move || reactor.run().unwrap()));
        Self { address, handle, thread }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shut_down(Duration::ZERO);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// When a client's application panics: before it sends anything, or at the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    Nothing,
    UpAtOnce,
    UpAtTheEnd,
}

/// A client, how it authenticates, and when it panics.
struct TestClient<'w> {
    written: &'w Written,
    mechanism: Mechanism,
    gives: Gives,
}

/// The result of a client's session: everything that it showed, and whether it was accepted.
struct Told {
    text: String,
    accepted: bool,
}

impl TestClient<'_> {
    fn connector(&self, server: &Running) -> (Connector, Target) {
        let written = self.written.clone();
        let connector = Connector::new(TlsClientConfig::danger_accept_any_certificate().unwrap())
            .deadlines(Deadlines::uniform(Duration::from_secs(10)))
            .trace(move || written.trace());
        let port = server.address.port();
        let target = Target::new("localhost", port, Security::ImplicitTls).dial_to("127.0.0.1", port);
        (connector, target)
    }

    fn smtp(&self, server: &Running) -> Told {
        use proto_smtp::client::{AuthOutcome, Event};
        let (connector, target) = self.connector(server);
        let config = Arc::new(proto_smtp::Config::default());
        let mut connection = connector.connect::<SmtpClientProtocol>(&target, &config).unwrap();
        connection
            .drive(|turn, _, _| {
                Ok::<_, Error>(matches!(turn, ConnectionEvent::Machine(Event::Capabilities(_))).then_some(()))
            })
            .unwrap();
        let how = how(self.mechanism, PASSWORDS[2]);
        connection.with(|client, tx| match how {
            How::Known(credentials) => client.authenticate(self.mechanism, credentials, tx).unwrap(),
            How::Custom => client.authenticate_with(Box::new(careless_mechanism::Client::new()), tx).unwrap(),
        });
        self.drive(connection, |turn| match turn {
            ConnectionEvent::Machine(Event::Auth(outcome)) => {
                Some(matches!(outcome, AuthOutcome::Accepted(_)))
            }
            ConnectionEvent::Machine(Event::Closed(_)) => Some(false),
            _ => None,
        })
    }

    fn imap(&self, server: &Running) -> Told {
        use proto_imap::client::{AuthOutcome, Event, LoginMethod};
        let (connector, target) = self.connector(server);
        let config = Arc::new(proto_imap::Config::default());
        let mut connection = connector.connect::<ImapClientProtocol>(&target, &config).unwrap();
        connection
            .drive(|turn, _, _| {
                Ok::<_, Error>(matches!(turn, ConnectionEvent::Machine(Event::Capabilities)).then_some(()))
            })
            .unwrap();
        let how = how(self.mechanism, PASSWORDS[2]);
        let method = LoginMethod::Mechanism(self.mechanism);
        connection.with(|client, tx| match how {
            How::Known(credentials) => client.authenticate(method, &credentials, tx).map(drop).unwrap(),
            How::Custom => {
                client.authenticate_with(Box::new(careless_mechanism::Client::new()), tx).map(drop).unwrap()
            }
        });
        self.drive(connection, |turn| match turn {
            ConnectionEvent::Machine(Event::Auth(AuthOutcome::Accepted { .. })) => Some(true),
            ConnectionEvent::Machine(Event::Auth(_) | Event::Closed) => Some(false),
            _ => None,
        })
    }

    /// Waits for the end, or causes it.
    fn drive<M: Machine + std::fmt::Debug>(
        &self,
        mut connection: Connection<M>,
        ended: impl Fn(&ConnectionEvent<'_, M>) -> Option<bool>,
    ) -> Told {
        let driven = catch_unwind(AssertUnwindSafe(|| {
            connection.drive(|turn, client, tx| {
                let end = ended(&turn);
                if self.gives == Gives::UpAtOnce || (self.gives == Gives::UpAtTheEnd && end.is_some()) {
                    panic!("{LAST_WORDS}{turn:?} {client:?} {tx:?}");
                }
                Ok::<_, Error>(end)
            })
        }));
        match driven {
            Ok(Ok(accepted)) => Told { text: String::new(), accepted },
            Ok(Err(error)) => Told { text: format!("{error:?} {error}"), accepted: false },
            Err(payload) => {
                let text = payload.downcast::<String>().unwrap();
                assert!(text.starts_with(LAST_WORDS));
                Told { text: *text, accepted: false }
            }
        }
    }
}

/// A protocol: its server, and its client against that.
type Session = fn(Falls, &TestClient<'_>) -> Told;

const BOTH: [(&str, Session); 2] = [
    ("smtp", |falls, asking| {
        let config = proto_smtp::Config::default().offered_mechanisms(Mechanisms::all());
        let config = Arc::new(config.with_mechanism(Arc::new(careless_mechanism::Careless)));
        asking.smtp(&Running::start::<SmtpServer>(config, falls, asking.written))
    }),
    ("imap", |falls, asking| {
        let config = proto_imap::Config::default().offered_mechanisms(Mechanisms::all());
        let config = Arc::new(config.with_mechanism(Arc::new(careless_mechanism::Careless)));
        asking.imap(&Running::start::<ImapServer>(config, falls, asking.written))
    }),
];

/// Lets one side panic, and checks everything that was shown.
fn goes_down(name: &str, session: Session, mechanism: Mechanism, end: (Falls, Gives)) {
    let name = format!("{name} {mechanism} {end:?}");
    let written = Written::default();
    let before = said().lock().unwrap().len();
    let told = session(end.0, &TestClient { written: &written, mechanism, gives: end.1 });
    assert!(!told.accepted, "{name}: no application panicked");
    let last_words = said().lock().unwrap().get(before..).unwrap().concat();
    assert!(last_words.contains(LAST_WORDS) && last_words.len() > 200, "{name}: {last_words}");
    let trace = written.text();
    let left = end.1 != Gives::UpAtOnce;
    assert_eq!(trace.contains("bytes redacted"), left, "{name}: {trace}");
    for text in [told.text, last_words, trace] {
        search().finds_nothing(&name, &text);
    }
}

#[test]
fn a_panicking_application_reveals_no_secret() {
    for (name, session) in BOTH {
        for mechanism in mechanisms() {
            let questions = if mechanism.hash().is_some() { 2 } else { 1 };
            for question in 0..questions {
                goes_down(name, session, mechanism, (Falls::Asked(question), Gives::Nothing));
                // A server that panics after its last answer may have accepted the client.
                if question + 1 < questions {
                    goes_down(name, session, mechanism, (Falls::Behind(question), Gives::Nothing));
                }
            }
            for gives in [Gives::UpAtOnce, Gives::UpAtTheEnd] {
                goes_down(name, session, mechanism, (Falls::Never, gives));
            }
        }
    }
}
