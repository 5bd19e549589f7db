// The conversations. `wait!` awaits where the client is async.

use io_common::{ErrorKind, Security};
use proto_imap::resync::{KnownMailbox, Resync, ResyncEvent};
use proto_imap::types::{
    Command, FetchAttribute, Flag, FlagList, MailboxName, SearchKey, Section, SequenceSet, StatusAttribute, StoreAction,
};
use proto_mail::Credentials;

use super::{MESSAGE, Results, Scene, target};

fn connector(scene: &Scene) -> Connector {
    Connector::new(scene.server.tls().unwrap())
}

fn password(text: &str) -> Credentials {
    Credentials::password("alice", text.as_bytes().to_vec())
}

/// An error as a program sees it.
fn seen(error: &ClientError) -> String {
    let codes = (error.code(), error.enhanced_code(), error.server_text());
    format!("{error} {codes:?} {:?} {} {:?}", error.kind(), error.is_retryable(), error.hint())
}

conversations! {
    fn imap_mailboxes(scene, results) {
        for (address, security) in
            [(scene.server.imap(), Security::StartTls), (scene.server.imaps(), Security::ImplicitTls)]
        {
            let mut imap = wait!(ImapClient::connect(&connector(scene), &target(address, security)))?;
            results.add("tls", imap.tls_info().map(|info| info.version));
            let error = wait!(imap.login(&password("wrong"))).unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Authentication, false), "{error}");
            results.add("login", seen(&error));
            wait!(imap.login(&password("secret")))?;
            let mut names: Vec<_> = wait!(imap.list("*"))?.into_iter().map(|one| one.name).collect();
            names.sort();
            results.add("list", names);
            results.add("create", wait!(imap.create("New")).is_ok());
            results.add("create again", wait!(imap.create("New")).map_err(|error| seen(&error)));
            let status = [StatusAttribute::Messages, StatusAttribute::UidNext];
            results.add("status", wait!(imap.status("Archive/2026", &status))?.map(|one| format!("{:?}", one.view())));
            results.add("examine", wait!(imap.examine("INBOX"))?.is_read_only);
            results.add("delete", wait!(imap.delete("New")));
            results.add("none", wait!(imap.select("None")).map_err(|error| seen(&error)));
            wait!(imap.logout())?;
        }
        Ok(())
    }

    fn imap_messages(scene, results) {
        let target = target(scene.server.imaps(), Security::ImplicitTls);
        let mut imap = wait!(ImapClient::connect(&connector(scene), &target))?;
        wait!(imap.login(&password("secret")))?;
        let selected = wait!(imap.select("INBOX"))?;
        results.add("exists", (selected.exists, selected.is_read_only, selected.uid_next));
        let appended = wait!(imap.append("INBOX", MESSAGE))?;
        results.add("append", appended.map(|one| one.uid));
        let mut writer = wait!(imap.append_stream("INBOX", MESSAGE.len() as u64))?;
        wait!(writer.write_all(MESSAGE.as_bytes()))?;
        results.add("append", wait!(writer.finish())?.map(|one| one.uid));
        wait!(imap.noop())?;
        results.add("updates", imap.take_updates().map(|one| format!("{:?}", one.view())).collect::<Vec<_>>());
        results.add("search", wait!(imap.uid_search(&[SearchKey::All]))?);
        let seen_flag = [Flag::Seen];
        wait!(imap.uid_store(1..=2, StoreAction::Add, FlagList::new(&seen_flag)))?;
        results.add("seen", wait!(imap.uid_search(&[SearchKey::Seen]))?);
        results.add("copy", format!("{:?}", wait!(imap.uid_copy(1, "Archive/2026"))?.view().condition));
        results.add("move", format!("{:?}", wait!(imap.uid_move(3, "Archive/2026"))?.view().condition));
        let deleted = [Flag::Deleted];
        wait!(imap.uid_store(4, StoreAction::Add, FlagList::new(&deleted)))?;
        wait!(imap.expunge())?;
        results.add("left", wait!(imap.uid_search(&[SearchKey::All]))?);
        results.add("run", wait!(imap.run(&Command::Check)).map(|answer| answer.data.len()).map_err(|error| seen(&error)));
        wait!(imap.logout())?;
        Ok(())
    }

    fn imap_compressed(scene, results) {
        let target = target(scene.server.imaps(), Security::ImplicitTls);
        let mut imap = wait!(ImapClient::connect(&connector(scene), &target))?;
        results.add("before the login", wait!(imap.compress()).map_err(|error| seen(&error)));
        wait!(imap.login(&password("secret")))?;
        wait!(imap.compress())?;
        results.add("again", wait!(imap.compress()).map_err(|error| seen(&error)));
        results.add("select", wait!(imap.select("INBOX"))?.exists);
        // Noise that compresses badly, and a long run that compresses well.
        let noise: String = (0..200_000_u32).map(|at| char::from(b'!' + (at.wrapping_mul(2_654_435_761) >> 25) as u8 % 90)).collect();
        for body in [noise, "x".repeat(2_000_000)] {
            let message = format!("Subject: large\r\n\r\n{body}\r\n");
            let uid = wait!(imap.append("INBOX", message.clone()))?.unwrap().uid;
            results.add("uid", uid);
            let mut fetch = wait!(imap.uid_fetch(uid, &[FetchAttribute::peek(Section::FULL)]))?;
            let mut text = String::new();
            let Some(mut fetched) = wait!(fetch.next_body())? else { panic!("the message is gone") };
            wait!(fetched.read_to_string(&mut text))?;
            assert!(text == message, "{} bytes", text.len());
        }
        wait!(imap.logout())?;
        Ok(())
    }

    fn imap_fetch(scene, results) {
        let target = target(scene.server.imaps(), Security::ImplicitTls);
        let mut imap = wait!(ImapClient::connect(&connector(scene), &target))?;
        wait!(imap.login(&password("secret")))?;
        wait!(imap.select("INBOX"))?;
        let attributes = [FetchAttribute::Uid, FetchAttribute::Flags, FetchAttribute::peek(Section::FULL)];
        let mut fetch = wait!(imap.fetch(SequenceSet::ALL, &attributes))?;
        while let Some(part) = wait!(fetch.next())? {
            match part {
                FetchPart::Message(number) => results.add("message", number),
                FetchPart::Item(item) => results.add("item", format!("{:?}", item.view())),
                FetchPart::Body(mut body) => {
                    let mut text = String::new();
                    wait!(body.read_to_string(&mut text))?;
                    results.add("body", (body.size(), text));
                }
                FetchPart::End => results.add("end of the message", ()),
                _ => results.add("another part", ()),
            }
        }
        // The rest of each body is skipped.
        for skipped in 0..3 {
            let mut fetch = wait!(imap.uid_fetch(1..=2, &attributes))?;
            for _ in 0..skipped {
                let mut first = [0; 9];
                let Some(mut body) = wait!(fetch.next_body())? else { break };
                wait!(body.read_exact(&mut first))?;
                results.add("first bytes", first);
            }
            results.add("search", wait!(imap.uid_search(&[SearchKey::All]))?);
        }
        let none = wait!(imap.uid_fetch(99, &attributes));
        let mut fetch = none?;
        results.add("no message", wait!(fetch.next())?.is_none());
        wait!(imap.logout())?;
        Ok(())
    }

    fn imap_idle(scene, results) {
        let target = target(scene.server.imaps(), Security::ImplicitTls);
        let mut imap = wait!(ImapClient::connect(&connector(scene), &target))?;
        wait!(imap.login(&password("secret")))?;
        wait!(imap.select("INBOX"))?;
        let mut idle = wait!(imap.idle())?;
        scene.server.append("INBOX", MESSAGE.as_bytes()).unwrap();
        results.add("change", format!("{:?}", wait!(idle.next())?.view()));
        wait!(idle.done())?;
        let _ = wait!(imap.idle())?;
        // A dropped IDLE ends before the next command.
        results.add("search", wait!(imap.uid_search(&[SearchKey::All]))?);
        let writer = wait!(imap.append_stream("INBOX", 10))?;
        results.add("left", writer.left());
        results.add("interrupted", wait!(imap.noop()).map_err(|error| seen(&error)));
        results.add("it stays so", wait!(imap.noop()).map_err(|error| seen(&error)));
        Ok(())
    }

    fn imap_refusals(scene, results) {
        let mut imap = wait!(ImapClient::connect(&connector(scene), &scene.fake()))?;
        results.add("refused", wait!(imap.login(&password("wrong"))).map_err(|error| seen(&error)));
        wait!(imap.login(&password("secret")))?;
        let selected = wait!(imap.select("INBOX"))?;
        results.add("select", selected);
        results.add("later", wait!(imap.noop()).map_err(|error| seen(&error)));
        results.add("list", wait!(imap.list("*"))?.len());
        results.add("updates", imap.take_updates().map(|one| format!("{:?}", one.view())).collect::<Vec<_>>());
        results.add("bye", wait!(imap.noop()).map_err(|error| seen(&error)));
        results.add("over", wait!(imap.noop()).is_err());
        Ok(())
    }

    fn imap_initial_response(scene, results) {
        let mut imap = wait!(ImapClient::connect(&connector(scene), &scene.fake()))?;
        results.add("login", wait!(imap.login(&password("secret"))).map_err(|error| seen(&error)));
        results.add("capabilities", imap.capabilities().is_some());
        wait!(imap.logout())?;
        Ok(())
    }

    fn smtp_messages(scene, results) {
        for (address, security) in
            [(scene.server.smtp(), Security::StartTls), (scene.server.smtps(), Security::ImplicitTls)]
        {
            let mut smtp = wait!(SmtpClient::connect(&connector(scene), &target(address, security)))?;
            let error = wait!(smtp.login(&password("wrong"))).unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Authentication, false), "{error}");
            results.add("login", seen(&error));
            results.add("no mechanism", wait!(smtp.login_by(&[], &password("secret"))).map_err(|error| seen(&error)));
            wait!(smtp.login(&password("secret")))?;
            for to in [&["b@example.org"][..], &["bad@example.org"], &["late@example.org"], &["b@example.org", "bad@example.org"]] {
                let envelope = Envelope::new("a@example.com", to.iter().copied())?;
                let report = wait!(smtp.send(envelope, MESSAGE))?;
                let outcomes: Vec<_> = report.recipients().iter().map(ToString::to_string).collect();
                results.add("report", (outcomes, report.is_delivered(), report.error().is_some()));
            }
            let envelope = Envelope::new("", ["c@example.org"])?;
            match wait!(smtp.send_stream(envelope))? {
                EnvelopeOutcome::Accepted(mut writer) => {
                    for piece in MESSAGE.as_bytes().chunks(7) {
                        wait!(writer.write_all(piece))?;
                    }
                    results.add("written", wait!(writer.finish()).is_delivered());
                }
                EnvelopeOutcome::Rejected(report) => results.add("rejected", report.is_delivered()),
            }
            wait!(smtp.noop())?;
            wait!(smtp.quit())?;
        }
        Ok(())
    }

    fn smtp_invalid_message(scene, results) {
        let target = target(scene.server.smtps(), Security::ImplicitTls);
        let mut smtp = wait!(SmtpClient::connect(&connector(scene), &target))?;
        wait!(smtp.login(&password("secret")))?;
        let envelope = || Envelope::new("a@example.com", ["b@example.org"]);
        let messages = scene.server.messages().len();
        // Nothing of it is sent, a later attempt cannot help, and the session goes on.
        for message in ["Subject: x\n\nhello\n", "Subject: x\r\n\r\na\0b\r\n", "Subject: x\r\n\r\na\rb\r\n"] {
            let error = wait!(smtp.send(envelope()?, message)).unwrap_err();
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Config, false), "{error}");
            assert!(error.to_string().contains("CRLF"), "{error}");
            results.add("invalid", seen(&error));
        }
        let error = wait!(smtp.send(Envelope::new("a@example.com", ["bad@example.org", "b@example.org"])?, MESSAGE))?;
        let error = error.into_result().unwrap_err();
        assert!(!error.is_retryable() && error.to_string().contains("1 of 2"), "{error}");
        results.add("in part", seen(&error));
        let error = wait!(smtp.send(Envelope::new("a@example.com", ["late@example.org"])?, MESSAGE))?;
        assert!(error.into_result().unwrap_err().is_retryable());
        wait!(smtp.send(envelope()?, MESSAGE))?.into_result()?;
        assert_eq!(scene.server.messages().len(), messages + 2);
        // A stream finds it on the way: the message is not complete, and the session is over.
        let EnvelopeOutcome::Accepted(mut writer) = wait!(smtp.send_stream(envelope()?))? else { panic!() };
        let written = wait!(writer.write_all(b"Subject: x\n\nhello\n"));
        let report = wait!(writer.finish());
        assert!(written.is_err() && !report.is_delivered() && !report.is_retryable(), "{report:?}");
        results.add("streamed", report.recipients()[0].to_string());
        results.add("over", wait!(smtp.noop()).is_err());
        assert_eq!(scene.server.messages().len(), messages + 2);
        Ok(())
    }

    fn imap_resync(scene, results) {
        let target = target(scene.server.imaps(), Security::ImplicitTls);
        let mut imap = wait!(ImapClient::connect(&connector(scene), &target))?;
        wait!(imap.login(&password("secret")))?;
        let mut seen_events = Vec::new();
        let resync = |known| Resync::select(MailboxName::INBOX, known);
        let done = wait!(imap.resync(resync(KnownMailbox::default()), |event| seen_events.push(event)))?;
        results.add("first", (seen_events.len(), &done.mailbox.uids, done.method));
        let uid = done.mailbox.uids.first().unwrap();
        wait!(imap.uid_store(uid, StoreAction::Add, FlagList::new(&[Flag::Flagged, Flag::Deleted])))?;
        let mut changed = Vec::new();
        let done = wait!(imap.resync(resync(done.mailbox), |event| changed.push(event)))?;
        let is_changed = matches!(&changed[..], [ResyncEvent::Changed(message)] if message.uid == uid);
        results.add("changed", (is_changed, done.method));
        wait!(imap.expunge())?;
        let mut vanished = Vec::new();
        let done = wait!(imap.resync(resync(done.mailbox), |event| vanished.push(event)))?;
        assert_eq!(vanished, [ResyncEvent::Vanished([uid].into_iter().collect())]);
        results.add("vanished", (done.mailbox.uids.len(), done.method));
        // Limits and rejections leave the session usable.
        let limited = resync(KnownMailbox::default()).with_message_limit(0);
        results.add("limit", wait!(imap.resync(limited, drop)).map(drop).map_err(|error| seen(&error)));
        let missing = Resync::examine(MailboxName::new("missing"), KnownMailbox::default());
        results.add("missing", wait!(imap.resync(missing, drop)).map(drop).map_err(|error| seen(&error)));
        wait!(imap.noop())?;
        wait!(imap.logout())?;
        Ok(())
    }

    fn smtp_refused(scene, results) {
        let refused = wait!(SmtpClient::connect(&connector(scene), &scene.fake()));
        results.add("refused", refused.map(drop).map_err(|error| seen(&error)));
        let error = Envelope::new("a", ["b@example.org"]).map(drop);
        results.add("envelope", error.map_err(|error| seen(&error)));
        let closed = target("127.0.0.1:1".parse().unwrap(), Security::ImplicitTls);
        let refused = wait!(SmtpClient::connect(&connector(scene), &closed));
        results.add("unreachable", refused.map(drop).map_err(|error| seen(&error)));
        Ok(())
    }

    fn smtp_initial_response(scene, results) {
        let mut smtp = wait!(SmtpClient::connect(&connector(scene), &scene.fake()))?;
        results.add("login", wait!(smtp.login(&password("secret"))).map_err(|error| seen(&error)));
        results.add("capabilities", smtp.capabilities().is_some());
        wait!(smtp.quit())?;
        Ok(())
    }

    fn smtp_lost(scene, results) {
        let mut smtp = wait!(SmtpClient::connect(&connector(scene), &scene.fake()))?;
        let envelope = Envelope::new("a@example.com", ["b@example.org"])?;
        let report = wait!(smtp.send(envelope, MESSAGE.repeat(100_000)))?;
        results.add("outcome", report.recipients()[0].outcome().is_retryable());
        results.add("error", report.error().is_some());
        results.add("over", wait!(smtp.noop()).is_err());
        Ok(())
    }
}
