//! Both machines joined: several sessions at once, a wire that splits at random and may break, and an application
//! that answers late and in any order. The outcome that a client reports for a recipient is what the application
//! decided.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use proto_mail::{Limits, RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::{Client, Event, NotSent, Outcome, Progress, Step, Transaction};
use proto_smtp::server::{Event as ServerEvent, Reply, Server};
use proto_smtp::types::{Address, Code, Extension, Mail, Rcpt, Response};
use proto_smtp::{Config, Dialect, Pipelining};

/// The application's replies in one transaction: codes, 250 for acceptance.
#[derive(Debug, Clone)]
struct Verdicts {
    mail: u16,
    recipients: Vec<u16>,
    data: u16,
    /// For each recipient; outside LMTP and without PRDR the first applies to all.
    end: Vec<u16>,
    message: String,
}

#[derive(Debug, Clone)]
struct Plan {
    dialect: Dialect,
    pipelining: Pipelining,
    chunked: bool,
    /// The client requests PRDR, which is offered.
    prdr: bool,
    sessions: Vec<Vec<Verdicts>>,
    seed: u64,
    /// The number of steps after which the wire of the first session breaks.
    cut: Option<u32>,
}

fn code() -> impl Strategy<Value = u16> {
    prop_oneof![12 => Just(250_u16), 2 => Just(550), 2 => Just(451), 1 => Just(421)]
}

fn verdicts() -> impl Strategy<Value = Verdicts> {
    let line = prop::sample::select(vec!["", ".", "..", "x", ".x", "QUIT", "RSET", "BDAT 9", "250 ok"]);
    let message = prop::collection::vec(line, 0..6)
        .prop_map(|lines| lines.iter().map(|line| format!("{line}\r\n")).collect::<String>());
    (code(), prop::collection::vec((code(), code()), 1..6), code(), message).prop_map(
        |(mail, recipients, data, message)| {
            let (recipients, end) = recipients.into_iter().unzip();
            Verdicts { mail, recipients, data, end, message }
        },
    )
}

fn plan() -> impl Strategy<Value = Plan> {
    let dialect = prop::sample::select(vec![Dialect::Smtp, Dialect::Lmtp]);
    let pipelining = prop::sample::select(vec![Pipelining::WithData, Pipelining::Envelope, Pipelining::Off]);
    let sessions = prop::collection::vec(prop::collection::vec(verdicts(), 1..4), 1..4);
    let cut = prop::option::weighted(0.5, 0_u32..1500);
    let ways = (any::<bool>(), any::<bool>());
    (dialect, pipelining, ways, sessions, any::<u64>(), cut).prop_map(
        |(dialect, pipelining, (chunked, prdr), sessions, seed, cut)| Plan {
            dialect,
            pipelining,
            chunked,
            prdr,
            sessions,
            seed,
            cut,
        },
    )
}

impl Plan {
    /// Whether each recipient has a reply of its own after the message.
    fn answers_each(&self) -> bool {
        self.prdr || self.dialect == Dialect::Lmtp
    }
}

/// A pseudorandom number.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most
    }
}

/// A question that the application has not answered yet.
enum Asked {
    Mail,
    Rcpt(usize),
    Data,
    End,
}

struct Session<'p> {
    number: usize,
    plan: &'p [Verdicts],
    client: Client<Secure>,
    client_rx: RecvBuffer,
    client_tx: SendBuffer,
    server: Server<Secure>,
    server_rx: RecvBuffer,
    server_tx: SendBuffer,
    transactions: Vec<Transaction>,
    current: usize,
    gone: bool,
    /// The application's state: the transaction, the accepted recipients, the received message.
    at: usize,
    accepted: Vec<usize>,
    message: Vec<u8>,
}

fn wire(tx: &mut SendBuffer, rx: &mut RecvBuffer, most: usize) {
    let Some(chunk) = tx.chunks().find(|chunk| !chunk.bytes.is_empty()) else { return };
    let len = chunk.bytes.len().min(most);
    rx.extend(&chunk.bytes[..len]);
    tx.sent(len);
}

impl<'p> Session<'p> {
    fn new(number: usize, plan: &'p Plan) -> Self {
        let mut limits = Limits::default();
        limits.errors = u32::MAX;
        let config = Config::default()
            .optional_authentication()
            .dialect(plan.dialect)
            .pipelining(plan.pipelining)
            .limits(limits);
        let extensions = config.extensions.with(Extension::Prdr);
        let config = if plan.prdr { config.extensions(extensions) } else { config };
        let mut server_tx = SendBuffer::new();
        let server = Server::<Secure>::new(config.clone(), Secure::trusted_local(), &mut server_tx);
        let address = |text: String| text.parse::<Address<'static>>().unwrap();
        let transactions = plan.sessions[number].iter().enumerate().map(|(at, verdicts)| {
            let mail = Mail::new(address(format!("t{at}@s{number}.example")));
            let mail = if plan.prdr { mail.with_prdr() } else { mail };
            let transaction =
                (0..verdicts.recipients.len()).fold(Transaction::new(mail), |transaction, to| {
                    transaction.recipient(Rcpt::new(address(format!("{to}@s{number}.example"))))
                });
            let bytes = verdicts.message.len() as u64;
            if plan.chunked { transaction.in_one_chunk(bytes) } else { transaction }
        });
        Self {
            number,
            plan: &plan.sessions[number],
            client: Client::<Secure>::new(config, Secure::trusted_local()),
            client_rx: RecvBuffer::new(),
            client_tx: SendBuffer::new(),
            server,
            server_rx: RecvBuffer::new(),
            server_tx,
            transactions: transactions.collect(),
            current: 0,
            gone: false,
            at: 0,
            accepted: Vec::new(),
            message: Vec::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.gone || self.current == self.transactions.len()
    }

    /// Bytes in transit are lost; received bytes are kept.
    fn cut(&mut self) {
        self.client_rx.close();
        self.server_rx.close();
    }

    fn client_goes_on(&mut self, dice: &mut Dice) {
        if self.is_over() {
            return;
        }
        let (client, tx) = (&mut self.client, &mut self.client_tx);
        let transaction = &mut self.transactions[self.current];
        let progress = match client.next_event(&mut self.client_rx, tx) {
            Ok(None) => return,
            Ok(Some(Event::Capabilities(_))) => transaction.start(client, tx).unwrap(),
            Ok(Some(event)) => {
                self.gone = matches!(event, Event::Closed(_));
                transaction.event(&event, client, tx).unwrap()
            }
            Err(_) => {
                self.gone = true;
                transaction.lost(client, tx)
            }
        };
        match progress {
            Progress::Continue => {}
            Progress::SendData => {
                let message = self.plan[self.current].message.as_bytes();
                for piece in message.chunks(1 + dice.below(9)) {
                    client.data_writer().unwrap().write(piece, tx).unwrap();
                }
                client.data_writer().unwrap().finish(tx).unwrap();
            }
            Progress::Done => {
                self.current += 1;
                if let Some(next) = self.transactions.get_mut(self.current).filter(|_| !self.gone) {
                    let progress = next.start(client, tx).unwrap();
                    assert_eq!(progress, Progress::Continue);
                }
            }
        }
    }

    /// Returns the next question of the server.
    fn server_goes_on(&mut self) -> Option<(Reply, Asked)> {
        while let Ok(Some(event)) = self.server.next_event(&mut self.server_rx, &mut self.server_tx) {
            match event {
                ServerEvent::Mail(mail, reply) => {
                    let from = mail.from.to_string();
                    self.at = from.trim_start_matches(['<', 't']).split('@').next().unwrap().parse().unwrap();
                    self.accepted.clear();
                    self.message.clear();
                    return Some((reply, Asked::Mail));
                }
                ServerEvent::Rcpt(rcpt, reply) => {
                    let (local, domain) = rcpt.to.as_str().split_once('@').unwrap();
                    assert_eq!(domain, format!("s{}.example", self.number), "no session sees another's mail");
                    return Some((reply, Asked::Rcpt(local.parse().unwrap())));
                }
                ServerEvent::Data(reply) => return Some((reply, Asked::Data)),
                ServerEvent::DataChunk(bytes) => self.message.extend_from_slice(&bytes),
                ServerEvent::DataEnd(reply) => return Some((reply, Asked::End)),
                ServerEvent::Reset | ServerEvent::Closed => self.message.clear(),
                _ => {}
            }
        }
        None
    }

    /// The application answers, and stores what it accepts.
    fn answer(&mut self, reply: Reply, asked: &Asked, plan: &Plan, kept: &mut BTreeSet<Place>) {
        let verdicts = &self.plan[self.at];
        let say = |code: u16| Response::new(Code::new(code).unwrap(), "as planned");
        let (server, tx) = (&mut self.server, &mut self.server_tx);
        let mut keep = |to| assert!(kept.insert((self.number, self.at, to)), "kept twice");
        // The session may have ended: then the answer is rejected and has no effect.
        let _ = match asked {
            Asked::Mail => server.reply(reply, &say(verdicts.mail), tx),
            Asked::Rcpt(to) => {
                if verdicts.recipients[*to] == 250 {
                    self.accepted.push(*to);
                }
                server.reply(reply, &say(verdicts.recipients[*to]), tx)
            }
            Asked::Data => server.reply(reply, &say(verdicts.data), tx),
            Asked::End => {
                assert_eq!(self.message, verdicts.message.as_bytes(), "byte by byte");
                if plan.answers_each() {
                    let codes = self.accepted.iter().map(|to| verdicts.end[*to]);
                    let yes = self.accepted.iter().filter(|to| verdicts.end[**to] == 250);
                    yes.for_each(|to| keep(*to));
                    server.reply_each(reply, &codes.map(say).collect::<Vec<_>>(), tx)
                } else {
                    let yes = verdicts.end[0] == 250;
                    self.accepted.iter().filter(|_| yes).for_each(|to| keep(*to));
                    server.reply(reply, &say(verdicts.end[0]), tx)
                }
            }
        };
    }
}

/// Session, transaction, recipient.
type Place = (usize, usize, usize);

/// The expected outcome of a recipient if the wire does not break and no reply is 421.
fn expected(plan: &Plan, verdicts: &Verdicts, to: usize) -> String {
    let each = plan.answers_each();
    let (step, code) = match (verdicts.mail, verdicts.recipients[to], verdicts.data) {
        (250, 250, 250) => (Step::Message(each.then_some(to)), verdicts.end[if each { to } else { 0 }]),
        // A rejection before the message applies to all, also with PRDR.
        (250, 250, data) if plan.chunked => {
            (Step::Message((plan.dialect == Dialect::Lmtp).then_some(to)), data)
        }
        (250, 250, data) => (Step::Data, data),
        (250, rcpt, _) => (Step::Rcpt(to), rcpt),
        (mail, ..) => (Step::Mail, mail),
    };
    if code == 250 { "yes".into() } else { format!("{step:?} {code}") }
}

fn text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered(_) => "yes".into(),
        Outcome::Refused(step, response) => format!("{step:?} {}", response.code()),
        other => format!("{other:?}"),
    }
}

fn run(plan: &Plan) {
    let mut dice = Dice(plan.seed);
    let mut sessions: Vec<Session<'_>> =
        (0..plan.sessions.len()).map(|number| Session::new(number, plan)).collect();
    let (mut questions, mut kept): (Vec<(usize, Reply, Asked)>, _) = (Vec::new(), BTreeSet::new());
    let mut steps = 0_u32;
    while !(sessions.iter().all(Session::is_over) && questions.is_empty()) {
        assert!(steps < 2_000_000, "it never ends");
        if plan.cut == Some(steps) {
            sessions[0].cut();
        }
        steps += 1;
        let number = dice.below(sessions.len());
        let session = &mut sessions[number];
        match dice.below(5) {
            0 if !session.server_rx.is_closed() => {
                wire(&mut session.client_tx, &mut session.server_rx, 1 + dice.below(40));
            }
            1 if !session.client_rx.is_closed() => {
                wire(&mut session.server_tx, &mut session.client_rx, 1 + dice.below(40));
            }
            2 => session.client_goes_on(&mut dice),
            3 => questions.extend(session.server_goes_on().map(|(reply, asked)| (number, reply, asked))),
            4 if !questions.is_empty() => {
                let (number, reply, asked) = questions.swap_remove(dice.below(questions.len()));
                sessions[number].answer(reply, &asked, plan, &mut kept);
            }
            _ => {}
        }
    }
    for session in &sessions {
        check(plan, session, &kept);
    }
}

fn check(plan: &Plan, session: &Session<'_>, kept: &BTreeSet<Place>) {
    let broken = plan.cut.is_some() && session.number == 0;
    let farewell = |one: &Verdicts| {
        one.mail == 421 || one.data == 421 || one.recipients.contains(&421) || one.end.contains(&421)
    };
    let orderly = !broken && !session.plan.iter().any(farewell);
    for (at, (verdicts, transaction)) in session.plan.iter().zip(&session.transactions).enumerate() {
        for (to, recipient) in transaction.recipients().iter().enumerate() {
            let kept = kept.contains(&(session.number, at, to));
            let outcome = recipient.outcome();
            match outcome {
                Outcome::Delivered(_) => assert!(kept, "{at} {to}: delivered and not kept"),
                // In LMTP 421 after the message is the reply for one recipient; the outcome for the others stays
                // open.
                Outcome::Uncertain => {
                    assert!(
                        broken || (!orderly && plan.dialect == Dialect::Lmtp),
                        "{at} {to}: all was whole"
                    );
                }
                Outcome::NotSent(NotSent::Lost) => assert!(broken && !kept, "{at} {to}: {outcome:?}"),
                Outcome::Pending => assert!(!orderly && at >= session.current && !kept, "{at} {to}: pending"),
                _ => assert!(!kept, "{at} {to}: kept, and the client says {outcome:?}"),
            }
            if orderly {
                assert_eq!(text(outcome), expected(plan, verdicts, to), "{at} {to}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reports_the_outcomes_that_the_application_chose(plan in plan()) {
        run(&plan);
    }
}
