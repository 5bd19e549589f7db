//! The SMTP client: a server, or somebody on the way, that says anything, and an application that gives any command.

use std::collections::VecDeque;

use proto_core::machine::Negotiation;
use proto_core::{
    Channel, Cleartext, Credentials, Error, Mechanism, Misuse, RecvBuffer, Secure, SendBuffer, WaitFor,
};
use proto_smtp::Config;
use proto_smtp::client::{AuthOutcome, Client, Event, StartTls, Step};
use proto_smtp::types::{Address, ChunkEnd, Mail, Rcpt, ReversePath};

use mailwire_tests::laws::{self, PASSWORD, Side};
use mailwire_tests::play::{Entry, Record, channel};

use crate::explore::{Secured, World, described};

/// The client, its application and everything that was said.
pub(crate) struct Asking {
    session: Session,
    rx: RecvBuffer,
    tx: SendBuffer,
    record: Record,
    danger: bool,
    secured: Secured,
    /// What was given and has no answer, and how much had been put out behind it.
    given: VecDeque<(Step, u64)>,
    /// What was said since AUTH: an exchange does not tell in its description how far it is.
    exchange: Vec<Move>,
    /// What an event did not agree with.
    broken: Option<String>,
}

enum Session {
    Cleartext(Client<Cleartext>),
    Negotiating(StartTls),
    Secure(Client<Secure>),
    Gone(Error),
}

/// What the server or the application does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// The server says this, in one read.
    Hear(&'static str),
    /// What was put out leaves.
    Send,
    /// The server says no more.
    Close,
    /// What is awaited does not come.
    Tick,
    StartTls,
    Authenticate(Mechanism),
    Mail,
    Rcpt,
    Data,
    /// The whole message.
    Message,
    Chunk,
    Reset,
    Noop,
    Quit,
}

/// What a server offers.
pub(crate) const OFFER: &str =
    "250-x\r\n250-STARTTLS\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 AUTH PLAIN LOGIN\r\n";

const SAYINGS: &[&str] = &[
    "220 x\r\n",
    "250 x\r\n",
    OFFER,
    "250-x\r\n250 AUTH PLAIN\r\n",
    "250-x\r\n250 STARTTLS\r\n",
    // Glued: an answer that was prepared for what is not yet asked.
    "220 x\r\n250 x\r\n",
    "220 x\r\n2",
    "250 x\r\n250 x\r\n",
    "250-x\r\n220 x\r\n",
    "221 x\r\n",
    "235 x\r\n",
    "334 \r\n",
    "334 ?\r\n",
    "354 x\r\n",
    "421 x\r\n",
    "450 x\r\n",
    "500 x\r\n",
    "550 x\r\n",
    "25",
    "250 x\n",
    "* OK x\r\n",
    "\u{16}\u{3}\u{1}",
];

/// How a reply that was begun goes on.
const ENDINGS: &[&str] = &["0 x\r\n", "\n"];

const COMMANDS: [Move; 11] = [
    Move::StartTls,
    Move::Authenticate(Mechanism::Plain),
    Move::Authenticate(Mechanism::Login),
    Move::Mail,
    Move::Rcpt,
    Move::Data,
    Move::Message,
    Move::Chunk,
    Move::Reset,
    Move::Noop,
    Move::Quit,
];

/// What is outside of a machine for all to see.
struct Outside {
    wait: WaitFor,
    closed: bool,
}

impl Asking {
    /// Before the greeting. `danger`: the program has said that cleartext is no danger.
    pub(crate) fn new(danger: bool) -> Self {
        let config = if danger { Config::default().danger_cleartext() } else { Config::default() };
        Self {
            session: Session::Cleartext(Client::<Cleartext>::new(config)),
            rx: RecvBuffer::new(),
            tx: SendBuffer::new(),
            record: Record::default(),
            danger,
            secured: Secured::No,
            given: VecDeque::from([(Step::Greeting, 0), (Step::Hello, 0)]),
            exchange: Vec::new(),
            broken: None,
        }
    }

    /// Takes every event.
    fn pump(&mut self) {
        loop {
            let (rx, tx, record) = (&mut self.rx, &mut self.tx, &mut self.record);
            let seen = match &mut self.session {
                Session::Gone(_) => return,
                Session::Negotiating(_) => return self.negotiate(),
                Session::Cleartext(client) => client.next_event(rx, tx).map(|event| note(event, record)),
                Session::Secure(client) => client.next_event(rx, tx).map(|event| note(event, record)),
            };
            match seen {
                Ok(Some(Answers::Nothing)) => {}
                Ok(Some(Answers::All)) => self.given.clear(),
                // What refuses a message in its middle ends the session.
                Ok(Some(Answers::Step(Step::Data))) if self.outside().closed => self.given.clear(),
                Ok(Some(Answers::Step(step))) => self.answered(step),
                Ok(None) => return,
                Err(error) => return self.fail(error),
            }
        }
    }

    /// An answer came: to the oldest command, and not before that had left.
    fn answered(&mut self, step: Step) {
        let sent = self.tx.sent_total();
        match self.given.pop_front() {
            Some((given, mark)) if given == step && mark <= sent => {}
            other => {
                self.broken = Some(format!("an answer to {step:?}, and outstanding is {other:?} of {sent}"))
            }
        }
    }

    fn negotiate(&mut self) {
        let over = Session::Gone(Misuse::Closed.into());
        let Session::Negotiating(negotiation) = std::mem::replace(&mut self.session, over) else { return };
        match negotiation.advance(&mut self.rx, &mut self.tx) {
            Ok(Negotiation::More(negotiation)) => self.session = Session::Negotiating(negotiation),
            Ok(Negotiation::Refused(client)) => {
                self.record.event(&"refused");
                self.session = Session::Cleartext(client);
                self.answered(Step::StartTls);
                self.pump();
            }
            Ok(Negotiation::Ready(upgrade)) => {
                self.answered(Step::StartTls);
                // Where nobody is there any more, there is no handshake.
                if self.rx.is_closed() {
                    return;
                }
                match upgrade.complete(channel(), &mut self.rx) {
                    Ok(client) => {
                        self.record.secured(&self.rx);
                        self.secured = Secured::JustNow;
                        self.given = VecDeque::from([(Step::Hello, 0)]);
                        self.session = Session::Secure(client);
                        self.pump();
                    }
                    Err(error) => self.fail(error),
                }
            }
            Err(error) => self.fail(error),
        }
    }

    /// It has failed. It is asked again, and again with more to read: what comes of that is in the record.
    fn fail(&mut self, error: Error) {
        self.record.send(&mut self.tx);
        self.record.entries.push(Entry::Failed(error));
        for more in ["", "\r\n", "220 x\r\n250 x\r\n"] {
            self.rx.extend(more.as_bytes());
            let (rx, tx) = (&mut self.rx, &mut self.tx);
            let again = match &mut self.session {
                Session::Cleartext(client) => client.next_event(rx, tx).map(|event| event.is_some()),
                Session::Secure(client) => client.next_event(rx, tx).map(|event| event.is_some()),
                Session::Gone(_) | Session::Negotiating(_) => Err(error),
            };
            if again != Err(error) {
                self.record.event(&again);
            }
            self.record.send(&mut self.tx);
        }
        self.session = Session::Gone(error);
    }

    fn starttls(&mut self) {
        let over = Session::Gone(Misuse::Closed.into());
        match std::mem::replace(&mut self.session, over) {
            Session::Cleartext(client) => match client.starttls(&mut self.tx) {
                Ok(negotiation) => {
                    self.record.entries.push(Entry::Given("STARTTLS", 1));
                    self.given.push_back((Step::StartTls, self.tx.queued_total()));
                    self.session = Session::Negotiating(negotiation);
                }
                Err(error) => self.fail(error),
            },
            other => self.session = other,
        }
    }

    fn time_out(&mut self) {
        let timed_out = match &mut self.session {
            Session::Gone(_) | Session::Negotiating(_) => Ok(()),
            Session::Cleartext(client) => client.timed_out(&mut self.tx),
            Session::Secure(client) => client.timed_out(&mut self.tx),
        };
        if let Err(error) = timed_out {
            self.fail(error);
        }
    }

    fn outside(&self) -> Outside {
        match &self.session {
            Session::Gone(_) => Outside { wait: WaitFor::Nothing, closed: true },
            Session::Negotiating(negotiation) => Outside { wait: negotiation.wait().for_, closed: false },
            Session::Cleartext(client) => Outside { wait: client.wait().for_, closed: client.is_closed() },
            Session::Secure(client) => Outside { wait: client.wait().for_, closed: client.is_closed() },
        }
    }

    fn gives(&self, command: Move) -> bool {
        match command {
            Move::StartTls => matches!(self.session, Session::Cleartext(_)) && self.given.is_empty(),
            Move::Rcpt => self.given.iter().filter(|(step, _)| matches!(step, Step::Rcpt(_))).count() < 2,
            _ => !matches!(self.session, Session::Negotiating(_)) && self.given.len() < 3,
        }
    }
}

impl World for Asking {
    type Move = Move;

    fn moves(&self) -> Vec<Move> {
        let Outside { wait, closed } = self.outside();
        if closed {
            return Vec::new();
        }
        let mut moves = Vec::new();
        if !self.tx.is_empty() {
            moves.push(Move::Send);
        }
        if wait != WaitFor::Application {
            moves.push(Move::Tick);
        }
        moves.extend(COMMANDS.into_iter().filter(|&command| self.gives(command)));
        if self.rx.is_closed() {
            return moves;
        }
        moves.push(Move::Close);
        let sayings = if self.rx.is_empty() { SAYINGS } else { ENDINGS };
        if self.rx.len() < 8 {
            moves.extend(sayings.iter().map(|octets| Move::Hear(octets)));
        }
        moves
    }

    fn make(&mut self, next: Move) {
        self.secured.pass();
        let (tx, record) = (&mut self.tx, &mut self.record);
        match next {
            Move::Hear(octets) => {
                self.rx.extend(octets.as_bytes());
                record.heard(octets.bytes().filter(|&octet| octet == b'\n').count());
            }
            Move::Send => drop(record.send(tx)),
            Move::Close => {
                record.heard(0);
                self.rx.close();
            }
            Move::Tick => {
                record.heard(0);
                self.time_out();
            }
            Move::StartTls => self.starttls(),
            command => {
                // What follows comes of this, and of nothing that was heard.
                record.heard(0);
                let prove = Client::<Cleartext>::danger_cleartext_authenticate;
                let given = match &mut self.session {
                    Session::Cleartext(client) => give(command, client, prove, tx, record),
                    Session::Secure(client) => {
                        give(command, client, Client::<Secure>::authenticate, tx, record)
                    }
                    Session::Gone(_) | Session::Negotiating(_) => None,
                };
                self.given.extend(given.map(|step| (step, self.tx.queued_total())));
            }
        }
        self.pump();
        if self.given.front().is_some_and(|(step, _)| *step == Step::Auth) {
            self.exchange
                .extend(Some(next).filter(|next| matches!(next, Move::Hear(_) | Move::Authenticate(_))));
        } else {
            self.exchange.clear();
        }
    }

    fn state(&self) -> String {
        const LEFT_OUT: [&str; 8] =
            ["generation", "queued_at", "heard_at", "heard", "head", "mails", "repairs", "count"];
        let machine = match &self.session {
            Session::Gone(error) => return format!("{error:?}"),
            Session::Cleartext(client) => described(client, &LEFT_OUT),
            Session::Negotiating(negotiation) => described(negotiation, &LEFT_OUT),
            Session::Secure(client) => described(client, &LEFT_OUT),
        };
        let sent = self.tx.sent_total();
        let left: Vec<_> = self.given.iter().map(|&(step, mark)| (step, mark <= sent)).collect();
        let (rx, closed, unsent) = (self.rx.bytes().escape_ascii(), self.rx.is_closed(), self.tx.is_empty());
        format!("{machine} {rx} {closed} {unsent} {left:?} {:?}", self.exchange)
    }

    fn judge(&self) -> Result<usize, String> {
        let terms = laws::Terms {
            side: Side::SmtpClient,
            secure: false,
            danger: self.danger,
            may_hold: 1024,
            may_put_out: 4096,
        };
        laws::check(&self.record, &terms)?;
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let clear = self.secured == Secured::No && !self.danger;
        let told = |entry: &Entry| matches!(entry, Entry::Given("MAIL" | "RCPT" | "DATA" | "BDAT", _));
        if clear && self.record.entries.iter().any(told) {
            return Err("a part of a message or its envelope leaves in cleartext".to_owned());
        }
        if clear && self.tx.chunks().any(|chunk| chunk.secret) {
            return Err("a secret waits to leave in cleartext".to_owned());
        }
        Ok(laws::LAWS + 4)
    }

    fn behind_the_gate(&self) -> Option<String> {
        (self.secured == Secured::JustNow).then(|| self.state())
    }
}

/// What an event answers.
enum Answers {
    Nothing,
    Step(Step),
    All,
}

fn note(event: Option<Event<'_>>, record: &mut Record) -> Option<Answers> {
    let event = event?;
    record.event(&event);
    Some(Answers::Step(match event {
        Event::Greeting(_) => Step::Greeting,
        Event::Extensions(_) => Step::Hello,
        Event::Accepted(step, _) | Event::Rejected(step, _) => step,
        Event::SendData(_) => {
            record.entries.push(Entry::NeedsTls("a message"));
            Step::Data
        }
        Event::Delivered(recipient, _) => {
            record.entries.push(Entry::NeedsTls("a message"));
            Step::Message(recipient)
        }
        Event::Auth(outcome) => {
            if matches!(outcome, AuthOutcome::Accepted(_)) {
                record.entries.push(Entry::Proved);
            }
            Step::Auth
        }
        Event::Closed(_) => return Some(Answers::All),
        _ => return Some(Answers::Nothing),
    }))
}

type Prove<C> = fn(&mut Client<C>, Mechanism, Credentials, &mut SendBuffer) -> Result<(), Error>;

/// Gives a command. What is to be answered then, if that was allowed.
fn give<C: Channel>(
    command: Move,
    client: &mut Client<C>,
    prove: Prove<C>,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Option<Step> {
    let address = || Address::parse("x@example.com").unwrap();
    let mut step = Step::Noop;
    let (verb, outcome) = match command {
        Move::Authenticate(mechanism) => {
            step = Step::Auth;
            let credentials = Credentials::password("x", PASSWORD.as_bytes());
            ("AUTHENTICATE", prove(client, mechanism, credentials, tx))
        }
        Move::Mail => {
            step = Step::Mail;
            ("MAIL", client.mail(&Mail::new(ReversePath::from(address())), tx))
        }
        Move::Rcpt => {
            let given = client.rcpt(&Rcpt::new(address()), tx);
            step = Step::Rcpt(given.unwrap_or_default());
            ("RCPT", given.map(drop))
        }
        Move::Data => {
            step = Step::Data;
            ("DATA", client.data(tx))
        }
        Move::Message => {
            step = Step::Message(None);
            let written = client.data_writer().and_then(|mut writer| {
                writer.write(b"x\r\n.\r\n", tx)?;
                writer.finish(tx)
            });
            record.tried("message", written)?;
            return Some(step);
        }
        Move::Chunk => {
            step = Step::Message(None);
            let written = client.bdat(3, ChunkEnd::Last, tx).and_then(|()| {
                client.data_writer()?.write(b"x\r\n", tx)?;
                client.data_writer()?.finish(tx)
            });
            ("BDAT", written)
        }
        Move::Reset => {
            step = Step::Reset;
            ("RSET", client.reset(tx))
        }
        Move::Quit => {
            step = Step::Quit;
            ("QUIT", client.quit(tx))
        }
        _ => ("NOOP", client.noop(tx)),
    };
    record.given(verb, outcome).map(|()| step)
}
