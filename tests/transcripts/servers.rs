//! Servers on drivers. `io-mio` and `io-tokio` run the same handler, whose application takes orders.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use io_mio::{
    ConnectionLimits, Context, Deadlines, Handler, ListenerTls, MachineMut, Next, Reactor, ServerProtocol,
    SessionHandle,
};
use proto_mail::{Machine, Secure, SendBuffer, Upgrade};

use crate::clients::blocking_turn;
use crate::peer::{Peer, identity};
use crate::role::{Asked, Notes, Role, Seen, ServerMachine};
use crate::{Cut, Driver};

/// How long a turn of the test's thread takes.
const TURN: Duration = Duration::from_millis(1);
/// How long a result may take.
const RESULT_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) trait Protocol:
    ServerProtocol<Cleartext: ServerMachine + 'static, Secure: ServerMachine + 'static, Config: 'static>
{
}

impl<P> Protocol for P where
    P: ServerProtocol<Cleartext: ServerMachine + 'static, Secure: ServerMachine + 'static, Config: 'static>
{
}

/// What the test and the session share.
#[derive(Default)]
struct Shared {
    seen: Vec<Seen>,
    orders: VecDeque<(String, Vec<String>)>,
    result: Option<Result<(), String>>,
    handle: Option<SessionHandle>,
    /// The server is to end.
    is_over: bool,
}

type SharedState = Arc<Mutex<Shared>>;

pub(crate) fn start<P: Protocol>(driver: Driver, config: P::Config, cleartext: bool) -> Box<dyn Role> {
    let state = SharedState::default();
    let tls = if cleartext { ListenerTls::StartTls(identity()) } else { ListenerTls::Implicit(identity()) };
    let shared = state.clone();
    let factory = move |_: &io_mio::Peer| Application::<P>::new(&shared);
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut runtime = None;
    let address = match driver {
        Driver::Mio => {
            let mut reactor = Reactor::new(ConnectionLimits::default()).unwrap();
            let listening = reactor.listen::<P, _>(any_port, tls, config, Deadlines::default(), factory);
            let state = state.clone();
            thread::spawn(move || {
                while !state.lock().unwrap().is_over {
                    reactor.turn(Some(5 * TURN)).unwrap();
                }
            });
            listening.unwrap()
        }
        Driver::Tokio => {
            let mut server = io_tokio::Server::new(ConnectionLimits::default());
            let running = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            let running = runtime.insert(running.unwrap());
            let listening =
                running.block_on(server.listen::<P, _>(any_port, tls, config, Deadlines::default(), factory));
            running.spawn(async move {
                let _server = server;
                std::future::pending::<()>().await;
            });
            listening.unwrap()
        }
        Driver::Thread => {
            let listener = TcpListener::bind(any_port).unwrap();
            let address = listener.local_addr().unwrap();
            let state = state.clone();
            thread::spawn(move || {
                let (socket, _) = listener.accept().unwrap();
                serve::<P>(socket, &config, cleartext, &state);
            });
            address
        }
    };
    let peer = Peer::new(TcpStream::connect(address).unwrap());
    let has_tls = driver != Driver::Thread;
    Box::new(DrivenServer { peer, state, notes: Notes::default(), cleartext, has_tls, runtime })
}

/// The application of a session on one side of the gate.
struct Application<P: Protocol> {
    state: SharedState,
    cleartext_token: Option<Asked<<P::Cleartext as ServerMachine>::Token>>,
    token: Option<<P::Secure as ServerMachine>::Token>,
}

impl<P: Protocol> Application<P> {
    fn new(state: &SharedState) -> Self {
        Self { state: state.clone(), cleartext_token: None, token: None }
    }

    fn note(&self, seen: Seen) {
        self.state.lock().unwrap().seen.push(seen);
    }

    fn see_cleartext(&mut self, event: <P::Cleartext as Machine>::Event<'_>) {
        let (seen, asked) = P::Cleartext::look(event);
        self.note(seen);
        self.cleartext_token = asked.or(self.cleartext_token.take());
    }

    fn see_secure(&mut self, event: <P::Secure as Machine>::Event<'_>) {
        let (seen, asked) = P::Secure::look(event);
        self.note(seen);
        if let Some(Asked::Other(token)) = asked {
            self.token = Some(token);
        }
    }

    /// Follows the next order.
    fn follow(&mut self, machine: MachineMut<'_, P>, tx: &mut SendBuffer) -> Next {
        let Some((action, more)) = self.state.lock().unwrap().orders.pop_front() else {
            return Next::Continue;
        };
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let (mut next, mut result) = (Next::Continue, Ok(()));
        match machine {
            MachineMut::Cleartext(machine) => match (self.cleartext_token.take(), action.as_str()) {
                (Some(Asked::StartTls(request)), "accept") => next = Next::StartTls(request),
                (Some(Asked::StartTls(request)), _) => result = machine.refuse(request, tx),
                (token, action) => {
                    let token = match token {
                        Some(Asked::Other(token)) => Some(token),
                        _ => None,
                    };
                    let answered = machine.answer(token, action, &more, tx);
                    result = answered.map(|left| self.cleartext_token = left.map(Asked::Other));
                }
            },
            MachineMut::Secure(machine) => {
                let answered = machine.answer(self.token.take(), &action, &more, tx);
                result = answered.map(|left| self.token = left);
            }
        }
        self.state.lock().unwrap().result = Some(result);
        next
    }
}

impl<P: Protocol> Handler<P> for Application<P> {
    fn cleartext(
        &mut self,
        event: <P::Cleartext as Machine>::Event<'_>,
        _: &mut P::Cleartext,
        _: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        self.see_cleartext(event);
        Next::Continue
    }

    fn secure(
        &mut self,
        event: <P::Secure as Machine>::Event<'_>,
        _: &mut P::Secure,
        _: &mut SendBuffer,
        _: &mut Context<'_>,
    ) -> Next {
        self.see_secure(event);
        Next::Continue
    }

    fn opened(&mut self, _: MachineMut<'_, P>, _: &mut SendBuffer, cx: &mut Context<'_>) -> Next {
        self.state.lock().unwrap().handle = Some(cx.session_handle());
        Next::Continue
    }

    fn woken(&mut self, machine: MachineMut<'_, P>, tx: &mut SendBuffer, _: &mut Context<'_>) -> Next {
        self.follow(machine, tx)
    }

    fn closed(&mut self, reason: &io_mio::CloseReason) {
        let seen = match reason {
            io_mio::CloseReason::Failed(io_common::Error::Protocol(error)) => format!("{error:?}"),
            reason => format!("{reason:?}"),
        };
        self.note(Seen::Event(seen));
    }
}

/// Serves a connection with blocking calls, without TLS.
fn serve<P: Protocol>(mut socket: TcpStream, config: &P::Config, cleartext: bool, state: &SharedState) {
    socket.set_read_timeout(Some(TURN)).unwrap();
    let mut tx = SendBuffer::new();
    let mut application = Application::<P>::new(state);
    let outcome = if cleartext {
        let machine = P::open(config, &mut tx);
        let mut driver = proto_mail::Driver::<_, Instant>::with_buffers(machine, Default::default(), tx);
        loop {
            let mut see = |event: <P::Cleartext as Machine>::Event<'_>| application.see_cleartext(event);
            if let Err(error) = blocking_turn(&mut driver, &mut socket, |event, _, _| see(event)) {
                break Err(error);
            }
            let Next::StartTls(request) =
                application.follow(MachineMut::Cleartext(&mut driver.machine), &mut driver.tx)
            else {
                continue;
            };
            let (machine, mut rx, mut tx) = driver.into_parts();
            let upgraded = P::accept(machine, request, &mut tx)
                .and_then(|upgrade| upgrade.complete(Secure::trusted_local(), &mut rx));
            break upgraded
                .map(|machine| proto_mail::Driver::with_buffers(machine, rx, tx))
                .map_err(|error| format!("{error:?}"));
        }
    } else {
        let machine = P::open_secure(config, Secure::trusted_local(), &mut tx);
        Ok(proto_mail::Driver::<_, Instant>::with_buffers(machine, Default::default(), tx))
    };
    let error = match outcome {
        Ok(driver) => serve_secure(driver, socket, state, Application::<P>::new(state)),
        Err(error) => error,
    };
    application.note(Seen::Event(error));
}

/// Returns how the session ended.
fn serve_secure<P: Protocol>(
    mut driver: proto_mail::Driver<P::Secure, Instant>,
    mut socket: TcpStream,
    state: &SharedState,
    mut application: Application<P>,
) -> String {
    while !state.lock().unwrap().is_over {
        let mut see = |event: <P::Secure as Machine>::Event<'_>| application.see_secure(event);
        if let Err(error) = blocking_turn(&mut driver, &mut socket, |event, _, _| see(event)) {
            return error;
        }
        let _ = application.follow(MachineMut::Secure(&mut driver.machine), &mut driver.tx);
    }
    "over".into()
}

struct DrivenServer {
    peer: Peer,
    state: SharedState,
    notes: Notes,
    cleartext: bool,
    has_tls: bool,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Role for DrivenServer {
    fn start(&mut self) {
        if !self.cleartext && self.has_tls {
            self.peer.connect_tls().unwrap();
        }
    }

    fn hear(&mut self, bytes: &[u8], cut: Cut, goes_on: bool) {
        self.peer.send(bytes, cut, goes_on);
    }

    fn act(&mut self, action: &str, more: &[&str]) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            {
                let mut state = self.state.lock().unwrap();
                let more = more.iter().map(ToString::to_string).collect();
                state.orders.push_back((action.into(), more));
                if let Some(handle) = &state.handle {
                    handle.wake();
                }
            }
            let result = loop {
                if let Some(result) = self.state.lock().unwrap().result.take() {
                    break result;
                }
                if begin.elapsed() > RESULT_TIMEOUT {
                    return Err("the session is over".into());
                }
                thread::sleep(TURN / 4);
            };
            match result {
                // What the action answers may not have arrived yet.
                Err(_) if begin.elapsed() < RESULT_TIMEOUT => thread::sleep(TURN),
                result => return result,
            }
        }
    }

    fn upgrade(&mut self) -> Result<(), String> {
        if self.has_tls { self.peer.connect_tls() } else { Ok(()) }
    }

    fn closed(&mut self) {
        self.peer.close();
    }

    fn notes(&mut self) -> &mut Notes {
        self.notes.sent(self.peer.receive());
        self.state.lock().unwrap().seen.drain(..).for_each(|seen| self.notes.note(seen));
        &mut self.notes
    }

    fn may_change(&mut self, since: Duration) -> bool {
        thread::sleep(TURN);
        since < RESULT_TIMEOUT
    }
}

impl Drop for DrivenServer {
    fn drop(&mut self) {
        self.state.lock().unwrap().is_over = true;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
