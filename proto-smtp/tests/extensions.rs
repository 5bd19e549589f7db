//! Service extensions: announced parameters are enforced; what is not offered is neither used nor accepted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::num::NonZeroU32;

use proto_mail::{Channel, Cleartext, Error, Misuse, RecvBuffer, Secure, SendBuffer};
use proto_smtp::client::{Client, NotSent, Outcome, Progress, Transaction};
use proto_smtp::server::{Event, Server};
use proto_smtp::types::{
    Address, BurlSource, Command, DateTime, Extension, ExtensionParameters, ExtensionSet, FutureRelease,
    Interval, Mail, PriorityProfile, Rcpt, ServerLimits, Solicitation,
};
use proto_smtp::{Config, UnknownParameters};
use support::{config, serve_cleartext, serve_secure};

/// Each parameter of MAIL, and the extension that it belongs to.
const OF_MAIL: &[(&str, Extension)] = &[
    ("SIZE=5", Extension::Size),
    ("BODY=7BIT", Extension::EightBitMime),
    ("BODY=8BITMIME", Extension::EightBitMime),
    ("BODY=BINARYMIME", Extension::BinaryMime),
    ("SMTPUTF8", Extension::SmtpUtf8),
    ("AUTH=<>", Extension::Auth),
    ("RET=HDRS", Extension::Dsn),
    ("ENVID=QQ314159", Extension::Dsn),
    ("BY=120;R", Extension::DeliverBy),
    ("MT-PRIORITY=3", Extension::MtPriority),
    ("HOLDFOR=60", Extension::FutureRelease),
    ("HOLDUNTIL=2029-01-01T00:00:00Z", Extension::FutureRelease),
    ("REQUIRETLS", Extension::RequireTls),
    ("SOLICIT=com.example:NEWS", Extension::NoSoliciting),
    ("CONPERM", Extension::ConPerm),
    ("PRDR", Extension::Prdr),
];

/// Each parameter of RCPT, and the extension that it belongs to.
const OF_RCPT: &[(&str, Extension)] = &[
    ("NOTIFY=NEVER", Extension::Dsn),
    ("ORCPT=rfc822;x@y", Extension::Dsn),
    ("RRVS=2014-04-03T23:01:00Z", Extension::Rrvs),
    ("CONNEG", Extension::Conneg),
];

fn offers() -> ExtensionParameters {
    ExtensionParameters::default()
        .min_by_time(60)
        .priority_profile(PriorityProfile::parse("MIXER").unwrap())
        .future_release(FutureRelease {
            interval: Interval::new(86_400).unwrap(),
            until: DateTime::parse("2030-01-01T00:00:00Z").unwrap(),
        })
        .no_soliciting(Solicitation::parse("org.example:ADV").unwrap())
        .limits(limits(10, 20, 5))
        .burl(BurlSource::Any)
        .burl(BurlSource::parse("imap://imap.example").unwrap())
}

/// 0 is no limit.
fn limits(mails: u32, recipients: u32, domains: u32) -> ServerLimits {
    let mut limits = ServerLimits::NONE;
    limits.mails = NonZeroU32::new(mails);
    limits.recipients = NonZeroU32::new(recipients);
    limits.recipient_domains = NonZeroU32::new(domains);
    limits
}

/// A server that offers everything.
fn everything() -> Config {
    config().extensions(Extension::ALL.into_iter().collect()).extension_parameters(offers())
}

/// Returns the reply code of the last line.
fn code(config: &Config, lines: &[&str]) -> u16 {
    let input = lines.iter().fold(String::from("EHLO c.example\r\n"), |all, line| all + line + "\r\n");
    *serve_secure(config, &[input.as_bytes()]).codes().last().unwrap()
}

fn read_mail(parameter: &str) -> Mail<'static> {
    match Command::parse(format!("MAIL FROM:<a@b.example> {parameter}").as_bytes()) {
        Ok(Command::Mail(mail)) => mail.into_owned(),
        other => panic!("{parameter}: {other:?}"),
    }
}

fn read_rcpt(parameter: &str) -> Rcpt<'static> {
    match Command::parse(format!("RCPT TO:<c@d.example> {parameter}").as_bytes()) {
        Ok(Command::Rcpt(rcpt)) => rcpt.into_owned(),
        other => panic!("{parameter}: {other:?}"),
    }
}

/// A client that knows the server's capabilities.
struct Session<C: Channel> {
    client: Client<C>,
    rx: RecvBuffer,
    tx: SendBuffer,
}

impl<C: Channel> Session<C> {
    fn heard(client: Client<C>, offered: &[&str]) -> Self {
        let mut session = Self { client, rx: RecvBuffer::new(), tx: SendBuffer::new() };
        session.rx.extend(b"220 mx\r\n");
        while session.client.next_event(&mut session.rx, &mut session.tx).unwrap().is_some() {}
        let _ = session.tx.take();
        let lines: String = offered.iter().map(|line| format!("250-{line}\r\n")).collect();
        session.rx.extend(format!("250-mx\r\n{lines}250 HELP\r\n").as_bytes());
        while session.client.next_event(&mut session.rx, &mut session.tx).unwrap().is_some() {}
        session
    }

    /// Returns the outcome of a message and the given commands, which are all accepted.
    fn send(&mut self, transaction: &mut Transaction) -> (Vec<Option<NotSent>>, String) {
        let mut sent = String::new();
        let mut progress = transaction.start(&mut self.client, &mut self.tx).unwrap();
        while progress != Progress::Done {
            let commands = String::from_utf8(self.tx.take()).unwrap();
            for line in commands.lines() {
                self.rx.extend(if line == "DATA" { b"354 go\r\n" } else { b"250 ok\r\n" });
            }
            sent += &commands;
            if progress == Progress::SendData {
                self.client.data_writer().unwrap().finish(&mut self.tx).unwrap();
            }
            progress = match self.client.next_event(&mut self.rx, &mut self.tx).unwrap() {
                Some(event) => transaction.event(&event, &mut self.client, &mut self.tx).unwrap(),
                None => Progress::Continue,
            };
        }
        let short = |outcome: &Outcome| match outcome {
            Outcome::Delivered(_) => None,
            Outcome::NotSent(why) => Some(*why),
            other => panic!("{other:?}"),
        };
        (transaction.recipients().iter().map(|recipient| short(recipient.outcome())).collect(), sent)
    }
}

fn secure(offered: &[&str]) -> Session<Secure> {
    Session::heard(Client::<Secure>::new(Config::default(), Secure::trusted_local()), offered)
}

#[test]
fn announces_extensions_with_parameters() {
    let said = |config: &Config| serve_secure(config, &[b"EHLO c.example\r\n"]).output;
    let output = said(&everything());
    for line in [
        "DELIVERBY 60",
        "MT-PRIORITY MIXER",
        "FUTURERELEASE 86400 2030-01-01T00:00:00Z",
        "NO-SOLICITING org.example:ADV",
        "LIMITS MAILMAX=10 RCPTMAX=20 RCPTDOMAINMAX=5",
        "BURL imap imap://imap.example",
        "REQUIRETLS",
        "RRVS",
        "CONNEG",
        "CONPERM",
    ] {
        assert!(output.lines().any(|said| said.get(4..) == Some(line)), "{line}: {output}");
    }
    // Without parameters an extension is a bare keyword, and is not offered if it needs parameters.
    let bare = said(&everything().extension_parameters(ExtensionParameters::default()));
    for (word, line) in [
        ("DELIVERBY", Some("DELIVERBY")),
        ("MT-PRIORITY", Some("MT-PRIORITY")),
        ("NO-SOLICITING", Some("NO-SOLICITING")),
        ("LIMITS", Some("LIMITS RCPTMAX=1000")),
        ("BURL", Some("BURL imap")),
        ("FUTURERELEASE", None),
    ] {
        assert_eq!(bare.lines().filter_map(|said| said.get(4..)).find(|said| said.starts_with(word)), line);
    }
}

#[test]
fn client_parses_what_the_server_announces() {
    let record = serve_secure(&everything(), &[b"EHLO c.example\r\n"]);
    let lines: Vec<&str> = record.output.lines().skip(2).filter_map(|line| line.get(4..)).collect();
    let session = secure(&lines);
    let (heard, said) = (session.client.capabilities().unwrap(), offers());
    assert_eq!(heard.limits(), said.limits);
    assert_eq!(heard.min_by_time(), said.min_by_time);
    assert_eq!(heard.priority_profile(), said.priority_profile);
    assert_eq!(heard.future_release(), said.future_release);
    assert_eq!(heard.no_soliciting(), said.no_soliciting);
    assert_eq!(heard.burl().collect::<Vec<_>>(), said.burl);
}

#[test]
fn accepts_parameters_of_offered_extensions_only() {
    let all = everything();
    let offered = |extension| {
        let output = serve_secure(&all, &[b"EHLO c.example\r\n"]).output;
        output.lines().any(|line| line.get(4..).is_some_and(|line| line.split(' ').next() == Some(extension)))
    };
    for (parameters, prefix, before) in [
        (OF_MAIL, "MAIL FROM:<a@b.example> ", &[][..]),
        (OF_RCPT, "RCPT TO:<c@d.example> ", &["MAIL FROM:<a@b.example>"]),
    ] {
        for (parameter, extension) in parameters {
            let line = format!("{prefix}{parameter}");
            let lines: Vec<&str> = before.iter().copied().chain([line.as_str()]).collect();
            let expected = if offered(extension.keyword()) { 250 } else { 555 };
            assert_eq!(code(&all, &lines), expected, "{line}");
            let without = all.clone().extensions(all.extensions.without(*extension));
            assert_eq!(code(&without, &lines), 555, "{line}");
            let open = without.unknown_parameters(UnknownParameters::Accept);
            assert_eq!(code(&open, &lines), 250, "{line}");
        }
    }
}

#[test]
fn rejects_requiretls_on_cleartext() {
    for policy in [UnknownParameters::Reject, UnknownParameters::Accept] {
        let config = everything().unknown_parameters(policy);
        let record = serve_cleartext(&config, &[b"EHLO c\r\nMAIL FROM:<a@b> REQUIRETLS\r\n"]);
        assert!(!record.output.contains("250-REQUIRETLS") && !record.output.contains("250 REQUIRETLS"));
        assert_eq!(record.codes(), [220, 250, 555]);
    }
    let mail = read_mail("REQUIRETLS");
    let clear = Client::<Cleartext>::new(Config::default().danger_cleartext());
    let mut session = Session::heard(clear, &["REQUIRETLS"]);
    assert_eq!(session.client.mail(&mail, &mut session.tx), Err(Error::from(Misuse::NotOffered)));
    let mut transaction = Transaction::new(mail.clone()).recipient(read_rcpt(""));
    let outcome = session.send(&mut transaction);
    assert_eq!(outcome, (vec![Some(NotSent::NotOffered(Extension::RequireTls))], String::new()));
    // Nor is it sent to an unverified server.
    let anybody = Client::<Secure>::new(Config::default(), Secure::trusted_local().unverified());
    let mut session = Session::heard(anybody, &["REQUIRETLS"]);
    assert_eq!(session.client.mail(&mail, &mut session.tx), Err(Error::from(Misuse::NotOffered)));
    let sent = secure(&["REQUIRETLS"]).send(&mut Transaction::new(mail).recipient(read_rcpt(""))).1;
    assert!(sent.starts_with("MAIL FROM:<a@b.example> REQUIRETLS\r\n"), "{sent}");
}

#[test]
fn client_rejects_parameters_that_are_not_offered() {
    for (parameter, extension) in OF_MAIL {
        let mail = read_mail(parameter);
        assert_eq!(mail.extensions(), ExtensionSet::NONE.with(*extension), "{parameter}");
        let mut session = secure(&["CHUNKING"]);
        let refused = session.client.mail(&mail, &mut session.tx);
        assert_eq!(refused, Err(Error::from(Misuse::NotOffered)), "{parameter}");
        assert!(session.tx.is_empty() && session.client.is_idle());
        let mut session = secure(&[extension.keyword()]);
        session.client.mail(&mail, &mut session.tx).unwrap();
        let written = String::from_utf8(session.tx.take()).unwrap();
        assert_eq!(written, format!("MAIL FROM:<a@b.example> {parameter}\r\n"));
    }
    for (parameter, extension) in OF_RCPT {
        let rcpt = read_rcpt(parameter);
        assert_eq!(rcpt.extensions(), ExtensionSet::NONE.with(*extension), "{parameter}");
        for offered in ["PIPELINING", extension.keyword()] {
            let mut session = secure(&["PIPELINING", offered]);
            session.client.mail(&read_mail(""), &mut session.tx).unwrap();
            let _ = session.tx.take();
            let given = session.client.rcpt(&rcpt, &mut session.tx);
            let written = String::from_utf8(session.tx.take()).unwrap();
            if offered == "PIPELINING" {
                assert_eq!(
                    (given, written.as_str()),
                    (Err(Error::from(Misuse::NotOffered)), ""),
                    "{parameter}"
                );
            } else {
                assert_eq!(written, format!("RCPT TO:<c@d.example> {parameter}\r\n"));
            }
        }
    }
}

#[test]
fn withholds_messages_for_needed_and_drops_optional_extensions() {
    let needed = [
        ("SMTPUTF8", Extension::SmtpUtf8),
        ("BODY=8BITMIME", Extension::EightBitMime),
        ("BY=120;R", Extension::DeliverBy),
        ("HOLDFOR=60", Extension::FutureRelease),
        ("HOLDUNTIL=2029-01-01T00:00:00Z", Extension::FutureRelease),
        ("REQUIRETLS", Extension::RequireTls),
    ];
    for (parameter, extension) in needed {
        let mut transaction = Transaction::new(read_mail(parameter)).recipient(read_rcpt(""));
        let outcome = secure(&["PIPELINING"]).send(&mut transaction);
        assert_eq!(outcome, (vec![Some(NotSent::NotOffered(extension))], String::new()), "{parameter}");
    }
    let liked = "SIZE=5 BODY=7BIT AUTH=<> RET=FULL ENVID=x BY=5;N MT-PRIORITY=1 SOLICIT=a CONPERM PRDR";
    let liked_of_rcpt = "NOTIFY=DELAY ORCPT=rfc822;x RRVS=2014-04-03T23:01:00Z;C CONNEG";
    let mut transaction = Transaction::new(read_mail(liked)).recipient(read_rcpt(liked_of_rcpt));
    let (outcomes, sent) = secure(&["PIPELINING"]).send(&mut transaction);
    assert_eq!(outcomes, [None]);
    assert!(sent.starts_with("MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"), "{sent}");
    // A recipient whose mailbox may have a new owner is not named without RRVS; the others are.
    for (relay, outcome) in [("", false), (";R", false), (";C", true)] {
        let moved = read_rcpt(&format!("RRVS=2014-04-03T23:01:00Z{relay}"));
        let mut transaction =
            Transaction::new(read_mail("")).recipient(moved.clone()).recipient(read_rcpt(""));
        let outcomes = secure(&["PIPELINING"]).send(&mut transaction).0;
        let kept_back = Some(NotSent::NotOffered(Extension::Rrvs));
        assert_eq!(outcomes, [if outcome { None } else { kept_back }, None]);
        let mut alone = Transaction::new(read_mail("")).recipient(moved);
        assert_eq!(secure(&[]).send(&mut alone).1.is_empty(), !outcome);
    }
}

#[test]
fn enforces_announced_parameters() {
    let lines = ["DELIVERBY 60", "FUTURERELEASE 86400 2030-01-01T00:00:00Z", "NO-SOLICITING org.example:ADV"];
    let release = offers().future_release.unwrap();
    for (parameter, server, client) in [
        ("BY=60;R", 250, None),
        ("BY=59;R", 554, Some(NotSent::TimeTooShort(60))),
        ("BY=-5;N", 250, None),
        ("HOLDFOR=86400", 250, None),
        ("HOLDFOR=86401", 501, Some(NotSent::HeldTooLong(release))),
        ("HOLDUNTIL=2030-01-01T00:00:00Z", 250, None),
        ("HOLDUNTIL=2030-01-01T00:00:01Z", 501, Some(NotSent::HeldTooLong(release))),
        ("SOLICIT=a,ORG.example:adv", 550, Some(NotSent::Unwanted)),
        ("SOLICIT=org.example", 250, None),
    ] {
        let line = format!("MAIL FROM:<a@b.example> {parameter}");
        assert_eq!(code(&everything(), &[&line]), server, "{parameter}");
        let mut transaction = Transaction::new(read_mail(parameter)).recipient(read_rcpt(""));
        let (outcomes, sent) = secure(&lines).send(&mut transaction);
        assert_eq!(outcomes, [client], "{parameter}");
        assert_eq!(sent.is_empty(), client.is_some());
    }
}

#[test]
fn server_enforces_announced_limits() {
    let with = |limits| config().extension_parameters(ExtensionParameters::default().limits(limits));
    let run = |limits, lines: &str| {
        let input = format!("EHLO c.example\r\n{}\r\n", lines.replace(' ', "\r\n"));
        let input = input.replace('_', " ");
        serve_secure(&with(limits), &[input.as_bytes()]).codes().split_off(2)
    };
    let (mail, rset) = ("MAIL_FROM:<a@b>", "RSET");
    // Every MAIL counts, also a rejected one; then the session is over.
    assert_eq!(
        run(limits(2, 0, 0), &format!("{mail} {rset} {mail} {rset} {mail} {rset}")),
        [250, 250, 250, 250, 421]
    );
    assert_eq!(run(limits(1, 0, 0), &format!("MAIL_FROM:<a@b>_X=y {mail} NOOP")), [555, 421]);
    let rcpt = |who: &str| format!("RCPT_TO:<{who}>");
    let all = ["1@a", "no@b", "2@B", "3@A", "4@c", "postmaster"].map(&rcpt).join(" ");
    assert_eq!(run(limits(0, 0, 2), &format!("{mail} {all}")), [250, 250, 550, 250, 250, 452, 250]);
    // One more ends the session.
    let again = format!("{mail} {} RSET {mail} {}", rcpt("1@a"), rcpt("1@b"));
    assert_eq!(run(limits(0, 0, 1), &again), [250, 250, 250, 250, 250]);
    assert_eq!(run(limits(0, 2, 0), &format!("{mail} {all}")), [250, 250, 550, 250, 452, 452, 452]);
}

#[test]
fn client_stays_within_announced_limits() {
    let config = config()
        .extensions([Extension::Limits, Extension::Pipelining].into_iter().collect())
        .extension_parameters(ExtensionParameters::default().limits(limits(3, 3, 2)));
    let said = serve_secure(&config, &[b"EHLO c.example\r\n"]).output;
    let offered: Vec<&str> = said.lines().skip(2).filter_map(|line| line.get(4..)).collect();
    let mut session = secure(&offered);
    let all = ["1@a", "2@b", "3@c", "4@a", "5@a", "6@c", "7@d", "8@e"];
    let all = all.iter().map(|who| Rcpt::new(who.parse::<Address<'static>>().unwrap()));
    let mut next = Some(all.fold(Transaction::new(read_mail("")), Transaction::recipient));
    let mut conversation = String::from("EHLO c.example\r\n");
    while let Some(mut transaction) = next.take() {
        let (outcomes, sent) = session.send(&mut transaction);
        conversation += &sent;
        next = transaction.rest().filter(|_| !outcomes.contains(&Some(NotSent::SessionUsedUp)));
    }
    let record = serve_secure(&config, &[conversation.as_bytes()]);
    assert!(record.codes().iter().all(|code| (200..400).contains(code)), "{conversation}{}", record.output);
    assert_eq!(conversation.matches("MAIL").count(), 3, "{conversation}");
    assert_eq!(conversation.matches("RCPT").count(), 8, "{conversation}");
}

#[test]
fn accepts_utf8_addresses_with_smtputf8_only() {
    let all = everything();
    let utf8 = "RCPT TO:<a@b> ORCPT=utf-8;почта@b";
    assert_eq!(code(&all, &["MAIL FROM:<a@b>", utf8]), 553);
    assert_eq!(code(&all, &["MAIL FROM:<a@b> SMTPUTF8", utf8]), 250);
    assert_eq!(code(&all, &["MAIL FROM:<a@b>", "RCPT TO:<a@b> ORCPT=utf-8;\\x{43F}@b"]), 250);
    // When it is sent, it needs no SMTPUTF8.
    let mut session = secure(&["DSN"]);
    let rcpt = read_rcpt("ORCPT=utf-8;п@b");
    let (_, sent) = session.send(&mut Transaction::new(read_mail("")).recipient(rcpt));
    assert!(sent.contains(" ORCPT=utf-8;\\x{43F}@b\r\n"), "{sent}");
}

#[test]
fn reports_parameters_in_events() {
    let (mut rx, mut tx) = (RecvBuffer::new(), SendBuffer::new());
    let mut server = Server::<Secure>::new(everything(), Secure::trusted_local(), &mut tx);
    let _ = tx.take();
    rx.extend(b"EHLO c\r\nMAIL FROM:<a@b> BY=90;RT MT-PRIORITY=-4 HOLDFOR=5 REQUIRETLS CONPERM\r\n");
    let mail = loop {
        match server.next_event(&mut rx, &mut tx).unwrap().unwrap() {
            Event::Mail(mail, _) => break mail,
            Event::Hello(..) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((mail.by.unwrap().seconds(), mail.by.unwrap().is_traced()), (90, true));
    assert_eq!(mail.priority.unwrap().value(), -4);
    assert_eq!(mail.hold().unwrap().to_string(), "5");
    assert!(mail.require_tls && mail.conperm && !mail.parameters.has_unknown());
}

/// The rows of the table, each as its cells.
fn rows() -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/extensions.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (smtp, _) = text.split_once("# IMAP's extensions").unwrap();
    let rows = smtp.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn matches_the_table_of_extensions() {
    let keywords = |output: &str| -> Vec<String> {
        let lines = output.lines().skip(2).filter_map(|line| line.get(4..)?.split(' ').next());
        lines.map(str::to_owned).collect()
    };
    let under_tls = keywords(&serve_secure(&everything(), &[b"EHLO c.example\r\n"]).output);
    let on_cleartext = keywords(&serve_cleartext(&everything(), &[b"EHLO c.example\r\n"]).output);
    let rows = rows();
    for extension in Extension::ALL {
        let variant = format!("`{extension:?}`");
        let mut of_it = rows.iter().filter(|row| row[0] == variant);
        let row = of_it.next().unwrap_or_else(|| panic!("{variant} has no row"));
        assert!(of_it.next().is_none(), "{variant} has two rows");
        let [_, keyword, document, client, server, announced] = &row[..] else { panic!("{row:?}") };
        assert_eq!(keyword, extension.keyword());
        assert!(!document.is_empty());
        for does in [client, server] {
            let known = ["typed", "kept", "driven by the application", "not"];
            assert!(known.iter().any(|word| does.starts_with(word)), "{variant}: {does}");
        }
        let said = [&under_tls, &on_cleartext].map(|said| said.contains(keyword));
        let expected = match said {
            [true, true] => "yes",
            [true, false] => "under TLS",
            [false, true] => "on cleartext",
            // Proxy commands are offered for a session only, and what is not implemented is not offered.
            [false, false] if server != "not" => "to a session",
            [false, false] => "no",
        };
        assert_eq!(announced, expected, "{variant}");
        assert_eq!(server == "not", expected == "no", "{variant}: {server}");
    }
    assert_eq!(rows.len(), Extension::ALL.len(), "each row names a variant");
}
