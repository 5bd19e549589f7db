"""`mailwire serve` and the clients that people use: curl, swaks, msmtp, mbsync, Python's imaplib and smtplib.

Messages are compared byte for byte.
"""

import glob
import imaplib
import signal
import smtplib
import ssl
import time

from harness import check
from servers import Served

from cases.serve_hardening import HardeningCases
from cases.serve_tools import ServeTools, fetch_all, letter, send_pipelined


# What a store in memory cannot do, or does not promise.
ON_DISK = {
    "serve.acknowledged_mail_survives_kill_9",
    "serve.sigterm_drains_and_a_restart_keeps_everything",
    "serve.a_large_message_does_not_grow_the_server",
}


class Cases(ServeTools):
    """The cases, over one server."""

    def __init__(self, bench, program):
        super().__init__(bench, program)
        other = Served(bench, program)
        self.wrong_ca = other.ca
        other.stop()

    def all(self):
        case = self.bench.case
        for name, body in [
            ("serve.curl_sends_by_starttls_and_reads_by_implicit_tls", self.curl_both_ways),
            ("serve.curl_every_message_comes_back_byte_for_byte", self.curl_byte_for_byte),
            ("serve.curl_appends_searches_and_reads_a_section", self.curl_append),
            ("serve.curl_refuses_the_wrong_ca", self.curl_wrong_ca),
            ("serve.swaks_plain_login_pipelined_and_implicit_tls", self.swaks),
            ("serve.swaks_receives_the_requested_faults", self.faults),
            ("serve.msmtp_starttls_and_implicit_tls", self.msmtp),
            ("serve.msmtp_logs_in_by_scram", self.msmtp_scram),
            ("serve.msmtp_refuses_the_wrong_ca", self.msmtp_wrong_ca),
            ("serve.mbsync_pulls_and_pushes_byte_for_byte", self.mbsync),
            ("serve.imaplib_whole_session_by_starttls", lambda: self.imaplib_session(self.imap_starttls())),
            ("serve.imaplib_whole_session_by_implicit_tls", lambda: self.imaplib_session(self.imap_implicit())),
            ("serve.imaplib_refuses_the_wrong_ca", self.imaplib_wrong_ca),
            ("serve.imaplib_idle_sees_a_delivery_at_once", self.idle),
            ("serve.smtplib_both_ways_and_per_recipient", self.smtplib_session),
            ("serve.acknowledged_mail_survives_kill_9", self.kill),
            ("serve.sigterm_drains_and_a_restart_keeps_everything", self.restart),
            ("serve.user_takes_its_password_from_a_command", self.own_user),
            ("serve.imaplib_shares_a_mailbox_with_another_account", self.sharing),
            ("serve.many_pipelined_messages_and_one_fetch", self.many),
            ("serve.a_large_message_does_not_grow_the_server", self.large),
        ]:
            if name not in ON_DISK or not self.bench.serve_options:
                case(name, body, seconds=120)

    def curl_both_ways(self):
        self.emptied().logout()
        path = self.bench.file("m.eml", self.messages["plain"])
        self.curl_send(path, self.url("smtp", "c"), "--ssl-reqd").expect(0)
        self.curl_send(path, self.url("smtps", "c")).expect(0)
        for service, more in (("imaps", []), ("imap", ["--ssl-reqd"])):
            for index in (1, 2):
                got = self.curl(*more, self.url(service, f"INBOX;MAILINDEX={index}")).expect(0)
                check(got.out == self.messages["plain"], f"message {index} came back changed over {service}")

    def curl_byte_for_byte(self):
        self.emptied().logout()
        for index, (name, message) in enumerate(self.messages.items(), 1):
            self.curl_send(self.bench.file(name, message), self.url("smtps", "c")).expect(0)
            got = self.curl(self.url("imaps", f"INBOX;MAILINDEX={index}")).expect(0)
            check(got.out == message, f"{name} came back changed: {len(got.out)} of {len(message)} bytes")

    def curl_append(self):
        self.emptied().logout()
        path = self.bench.file("m.eml", self.messages["dots"])
        self.curl(self.url("imaps", "INBOX"), "-T", path).expect(0)
        found = self.curl(self.url("imaps", "INBOX?SUBJECT%20dots")).expect(0)
        check(found.out.startswith(b"* SEARCH 1"), f"SEARCH said {found.out!r}")
        text = self.curl(self.url("imaps", "INBOX;MAILINDEX=1;SECTION=TEXT")).expect(0)
        check(text.out == self.messages["dots"].split(b"\r\n\r\n", 1)[1], "the section is another one")

    def curl_wrong_ca(self):
        path = self.bench.file("m.eml", self.messages["plain"])
        self.curl_send(path, self.url("smtps", "c"), ca=self.wrong_ca).expect(60)
        self.curl_send(path, self.url("smtp", "c"), "--ssl-reqd", ca=self.wrong_ca).expect(60)
        self.curl(self.url("imaps"), ca=self.wrong_ca).expect(60)
        self.curl("--ssl-reqd", self.url("imap"), ca=self.wrong_ca).expect(60)

    def swaks(self):
        served = self.served
        common = ["swaks", "-4", "--from", "s@example.test", "--to", served.address, "-au", served.user, "-ap", served.password,
                  "--tls-verify", "--tls-ca-path", served.ca]
        starttls = ["--server", f"localhost:{served.ports['smtp']}", "-tls"]
        implicit = ["--server", f"localhost:{served.ports['smtps']}", "-tlsc"]
        for more in (starttls + ["--auth", "PLAIN"], starttls + ["--auth", "LOGIN"], implicit + ["--auth", "PLAIN", "--pipeline"]):
            self.bench.run(common + more).expect(0)
        wrong = [word if word != served.password else "wrong" for word in common]
        self.bench.run(wrong + starttls + ["--auth", "PLAIN"]).expect(28)

    def faults(self):
        served = Served(self.bench, self.program, arguments=[
            "--fail", "rcpt=450,busy*", "--fail", "data=451,*@data.test", "--fail", "dot=552,*@full.test", "--delay", "mail=1s"])
        try:
            for to, status, answer in (
                ("busy@localhost", 24, "450 4.0.0"),
                (f"{served.user}@data.test", 25, "451 4.0.0"),
                (f"{served.user}@full.test", 26, "552 5.0.0"),
                (f"{served.user}@else.test", 0, "250 2.0.0"),
            ):
                began = time.monotonic()
                done = self.bench.run(["swaks", "-4", "--from", "s@example.test", "--to", to, "--server",
                                       f"localhost:{served.ports['smtps']}", "-tlsc", "--auth", "PLAIN", "-au", served.user,
                                       "-ap", served.password, "--tls-verify", "--tls-ca-path", served.ca]).expect(status)
                check(time.monotonic() - began >= 1, "the answer to MAIL was not late")
                check(answer in done.text, f"{to}: {done.text}")
        finally:
            served.stop()

    def msmtp_command(self, port, starttls, ca, method="plain"):
        served = self.served
        return ["msmtp", "-C", "/dev/null", "--host=localhost", f"--port={port}", "--tls=on", f"--tls-starttls={starttls}",
                f"--tls-trust-file={ca}", f"--auth={method}", f"--user={served.user}", f"--passwordeval=echo {served.password}",
                "--from=s@example.test", served.address]

    def msmtp(self):
        for port, starttls in ((self.served.ports["smtp"], "on"), (self.served.ports["smtps"], "off")):
            self.bench.run(self.msmtp_command(port, starttls, self.served.ca), stdin=b"Subject: x\n\nhi\n").expect(0)

    def msmtp_scram(self):
        for method in ("scram-sha-256", "scram-sha-1"):
            for port, starttls in ((self.served.ports["smtp"], "on"), (self.served.ports["smtps"], "off")):
                command = self.msmtp_command(port, starttls, self.served.ca, method)
                self.bench.run(command, stdin=b"Subject: x\n\nhi\n").expect(0)
                wrong = [word.replace(self.served.password, "wrong") for word in command]
                self.bench.run(wrong, stdin=b"Subject: x\n\nhi\n").expect(77)

    def msmtp_wrong_ca(self):
        for port, starttls in ((self.served.ports["smtp"], "on"), (self.served.ports["smtps"], "off")):
            done = self.bench.run(self.msmtp_command(port, starttls, self.wrong_ca), stdin=b"Subject: x\n\nhi\n")
            check(done.status not in (0, None), "msmtp took a certificate of a stranger")

    def mbsync(self):
        client = self.emptied()
        for message in self.messages.values():
            client.append("INBOX", None, None, message)
        client.logout()
        for service, kind in (("imaps", "IMAPS"), ("imap", "STARTTLS")):
            folder = self.bench.folder("maildir")
            configuration = f"""
IMAPAccount a
Host localhost
Port {self.served.ports[service]}
User {self.served.user}
Pass {self.served.password}
SSLType {kind}
CertificateFile {self.served.ca}

IMAPStore far
Account a

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns *
Create Near
Sync All
SyncState *
"""
            path = self.bench.file("mbsyncrc", configuration)
            self.bench.run(["mbsync", "-c", path, "-a"]).expect(0)
            names = glob.glob(f"{folder}/INBOX/cur/*") + glob.glob(f"{folder}/INBOX/new/*")
            got = sorted(self.unix(open(name, "rb").read()) for name in names)
            sent = sorted(self.unix(message) for message in self.messages.values())
            check(all(message in got for message in sent), f"{len(got)} messages, not each as it was sent, over {service}")
            pushed = b"Subject: pushed by " + service.encode() + b"\n\nhi\n"
            with open(f"{folder}/INBOX/new/1.1.here", "wb") as file:
                file.write(pushed)
            self.bench.run(["mbsync", "-c", path, "-a"]).expect(0)
            check(f"pushed by {service}".encode() in self.subjects(), "the pushed message is not there")

    @staticmethod
    def unix(message):
        """A message with local line ends; mbsync adds a header field."""
        lines = message.replace(b"\r\n", b"\n").split(b"\n")
        return b"\n".join(line for line in lines if not line.startswith(b"X-TUID:"))

    def subjects(self):
        client = self.imap_implicit()
        client.select(readonly=True)
        got = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
        client.logout()
        return b"".join(part[1] for part in got if isinstance(part, tuple))

    def imaplib_session(self, client):
        self.emptied().logout()
        for name in ("w", "w/deep er", "other"):
            client.delete(f'"{name}"')
        check(client.create('"w/deep er"')[0] == "OK", "CREATE")
        names = b"\n".join(client.list()[1])
        check(b'"w/deep er"' in names and b"\\Sent" in names, f"LIST: {names!r}")
        message = self.messages["eight"]
        check(b"APPENDUID" in client.append('"w/deep er"', "(\\Flagged)", '" 5-Nov-2026 10:00:00 +0100"', message)[1][0], "APPEND")
        client.append('"w/deep er"', None, None, self.messages["dots"])
        check(client.select('"w/deep er"')[1] == [b"2"], "SELECT")
        check(client.search(None, "FLAGGED")[1] == [b"1"], "SEARCH FLAGGED")
        check(client.search(None, "SUBJECT", '"dots"', "BODY", '"two"')[1] == [b"2"], "SEARCH SUBJECT BODY")
        check(client.uid("SEARCH", None, "SINCE 1-Nov-2026 NOT DELETED")[1][0].split() != [], "UID SEARCH")
        data = client.fetch("1", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])")[1]
        head, body = data[0][0], data[0][1]
        check(body == message, "the message came back changed")
        check(b'"05-Nov-2026 10:00:00 +0100"' in head or b'" 5-Nov-2026 10:00:00 +0100"' in head + data[1], f"INTERNALDATE: {head!r}")
        everything = head + data[-1] if isinstance(data[-1], bytes) else head
        check(str(len(message)).encode() in everything, "RFC822.SIZE")
        check(client.fetch("1", "(BODY.PEEK[]<5.7>)")[1][0][1] == message[5:12], "partial fetch")
        check(client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1] == b"Subject: eight\r\n\r\n", "header fields")
        check(b"\\Answered" in client.store("1", "+FLAGS", "(\\Answered kw)")[1][0], "STORE")
        check(client.copy("1:2", "INBOX")[0] == "OK", "COPY")
        client.store("1", "+FLAGS.SILENT", "(\\Deleted)")
        check(client.expunge()[1] == [b"1"], "EXPUNGE")
        check(client.rename('"w/deep er"', "other")[0] == "OK", "RENAME")
        check(b"MESSAGES 1" in client.status("other", "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")[1][0], "STATUS")
        client.close()
        check(client.delete("other")[0] == "OK", "DELETE")
        client.select()
        check(client.fetch("1", "(BODY[])")[1][0][1] == message, "the copy came back changed")
        client.logout()

    def imaplib_wrong_ca(self):
        context = self.context(self.wrong_ca)
        for connect in (
            lambda: imaplib.IMAP4_SSL("localhost", self.served.ports["imaps"], ssl_context=context),
            lambda: imaplib.IMAP4("localhost", self.served.ports["imap"]).starttls(context),
        ):
            try:
                connect()
            except ssl.SSLCertVerificationError:
                continue
            check(False, "a certificate of a stranger was taken")

    def idle(self):
        client = self.emptied()
        client.select()
        client.send(b"i1 IDLE\r\n")
        check(client.readline().startswith(b"+"), "IDLE was refused")
        sender = self.smtp()
        began = time.monotonic()
        sender.sendmail("a@example.test", [self.served.address], "Subject: idle\r\n\r\nhi\r\n")
        sender.quit()
        client.sock.settimeout(5)
        line = client.readline()
        while b"EXISTS" not in line:
            line = client.readline()
        check(time.monotonic() - began < 3, "the news came late")
        client.send(b"DONE\r\n")
        while not client.readline().startswith(b"i1 OK"):
            pass
        client.logout()

    def smtplib_session(self):
        client = self.smtp()
        check(client.has_extn("pipelining") and client.has_extn("8bitmime"), "extensions are missing")
        refused = client.sendmail("a@example.test", [self.served.address, "missing@localhost"], self.messages["dots"])
        check(list(refused) == ["missing@localhost"] and refused["missing@localhost"][0] == 550, f"refused: {refused}")
        check(client.vrfy("x")[0] in (252, 502, 550), "VRFY")
        check(client.rset()[0] == 250 and client.noop()[0] == 250, "RSET, NOOP")
        client.quit()
        with smtplib.SMTP_SSL("localhost", self.served.ports["smtps"], context=self.context(), timeout=20) as client:
            try:
                client.sendmail("a@example.test", [self.served.address], "x")
                check(False, "mail was taken without authentication")
            except smtplib.SMTPSenderRefused as error:
                check(error.smtp_code == 530, f"{error.smtp_code} and not 530")
            client.login(self.served.user, self.served.password)
            client.sendmail("a@example.test", [self.served.address], self.messages["large"])
        try:
            with smtplib.SMTP("localhost", self.served.ports["smtp"]) as client:
                client.starttls(context=self.context(self.wrong_ca))
            check(False, "a certificate of a stranger was taken")
        except ssl.SSLCertVerificationError:
            pass

    def kill(self):
        client = self.smtp()
        before = self.count()
        for number in range(20):
            client.sendmail("a@example.test", [self.served.address], f"Subject: kept {number}\r\n\r\nhi\r\n")
        self.served.stop(number=signal.SIGKILL)
        self.served.start()
        check(self.count() == before + 20, f"{self.count()} messages, and {before + 20} were acknowledged")

    def restart(self):
        with open(self.served.ca) as file:
            authority = file.read()
        before, idle = self.count(), self.imap_implicit()
        check(self.served.stop(seconds=15) == 0, "SIGTERM did not end it with status 0")
        try:
            said = idle.readline()
        except OSError:
            said = b""
        check(said == b"" or b"BYE" in said, f"an idle session was told {said!r}")
        self.served.start()
        with open(self.served.ca) as file:
            check(file.read() == authority, "the authority is another one")
        check(not any(line.startswith("account ") for line in self.served.lines()), "a second account was made")
        check(self.count() == before, "mail is missing")

    def own_user(self):
        served = Served(self.bench, self.program, arguments=["--user", "carla", "--password-command", "echo s3cret-of-carla"])
        check(not any(line.startswith("account ") for line in served.lines()), "a given password is printed")
        check("s3cret-of-carla" not in "\n".join(served.lines() + served.process.tail(1000)), "the password is shown")
        client = imaplib.IMAP4_SSL("localhost", served.ports["imaps"], ssl_context=ssl.create_default_context(cafile=served.ca))
        check(client.login("carla", "s3cret-of-carla")[0] == "OK", "LOGIN")
        client.logout()
        second = self.bench.run([self.program, "serve", "--dir", served.folder, "--smtp", "off", "--smtps", "off",
                                 "--imap", "off", "--imaps", "127.0.0.1:0"], seconds=20)
        check(second.status not in (0, None), "two servers in one directory")
        served.stop()

    def sharing(self):
        """Ann lets bob read a mailbox, then write to it, then takes the rights away."""
        served = Served(self.bench, self.program,
                        arguments=["--user", "ann", "--user", "bob", "--password-command", "echo s3cret-of-both"])
        context = ssl.create_default_context(cafile=served.ca)
        ann, bob = (imaplib.IMAP4_SSL("localhost", served.ports["imaps"], ssl_context=context) for _ in range(2))
        ann.login("ann", "s3cret-of-both")
        bob.login("bob", "s3cret-of-both")
        message, work = self.messages["plain"], '"Other Users/ann/Work"'
        check(b'"Other Users/"' in bob.namespace()[1][0], "NAMESPACE")
        ann.create("Work")
        ann.append("Work", None, None, message)
        before = bob.select(work), bob.select('"Other Users/ann/None"'), bob.select('"Other Users/missing/Work"')
        check(before[0][0] == "NO" and before[0] == before[1] == before[2], f"not shared: {before}")
        check(b"Other Users" not in b"\n".join(bob.list()[1]), "LIST shows what is not shared")
        check(ann.setacl("Work", "bob", "lr")[0] == "OK", "SETACL")
        check(b"Other Users/ann/Work" in b"\n".join(bob.list()[1]), "LIST")
        check(bob.myrights(work)[1] == [b'"Other Users/ann/Work" lr'], f"MYRIGHTS: {bob.myrights(work)}")
        check(bob.select(work, readonly=True) == ("OK", [b"1"]), "SELECT")
        check(bob.fetch("1", "(BODY.PEEK[])")[1][0][1] == message, "the message came back changed")
        check(bob.append(work, None, None, message)[0] == "NO", "APPEND without the right")
        check(bob.getacl(work)[0] == "NO" and bob.delete(work)[0] == "NO", "GETACL and DELETE without the rights")
        ann.setacl("Work", "bob", "+iws")
        ann.select("Work")
        check(bob.append(work, "(\\Flagged \\Deleted)", None, message)[0] == "OK", "APPEND")
        ann.noop()
        got = ann.fetch("2", "(FLAGS)")[1][0]
        check(b"\\Flagged" in got and b"\\Deleted" not in got, f"flags without the right: {got!r}")
        check(bob.select(work)[0] == "OK" and bob.store("1", "+FLAGS", "(\\Seen)")[0] == "OK", "STORE")
        ann.noop()
        check(b"\\Seen" in ann.fetch("1", "(FLAGS)")[1][0], "the owner sees the flag")
        ann.deleteacl("Work", "bob")
        try:
            got = bob.fetch("1", "(BODY.PEEK[])")
        except imaplib.IMAP4.error as error:
            check("BAD" in str(error), f"FETCH after DELETEACL: {error}")
        else:
            check(False, f"FETCH after DELETEACL: {got}")
        check(bob.select(work) == before[0], "SELECT after DELETEACL")
        ann.logout()
        bob.logout()
        served.stop()

    def many(self, number=500):
        """Many messages over one pipelined connection, then all of them with one FETCH."""
        self.emptied().logout()
        client = self.smtp()
        took = send_pipelined(client, self.served.address, number)
        client.quit()
        box = self.imap_implicit()
        box.select()
        got, fetched = fetch_all(box)
        box.logout()
        check(got == [letter(n) for n in range(number)], "a message is missing or came back changed")
        self.bench.note(f"{number} messages in {took:.2f} s, fetched in {fetched:.2f} s")

    def large(self, mebibytes=64):
        """A large message in and out; the server's memory does not grow."""
        self.emptied().logout()
        piece = b"0123456789abcdef" * 4 + b"\r\n"
        block = piece * 16000
        blocks = mebibytes * 1024 * 1024 // len(block)
        before = self.served.process.peak_kib()
        client = self.smtp()
        client.mail("a@b.example")
        client.rcpt(self.served.address)
        client.docmd("DATA")
        client.sock.sendall(b"Subject: large\r\n\r\n")
        began = time.monotonic()
        for _ in range(blocks):
            client.sock.sendall(block)
        client.sock.sendall(b".\r\n")
        check(client.getreply()[0] == 250, "the message was refused")
        took = time.monotonic() - began
        client.quit()
        box = self.imap_implicit()
        box.select()
        box.send(b"l1 FETCH 1 (BODY.PEEK[])\r\n")
        head = box.readline()
        size = int(head[head.index(b"{") + 1:head.index(b"}")])
        check(size == len(b"Subject: large\r\n\r\n") + blocks * len(block), "the size is another one")
        left, began = size, time.monotonic()
        while left:
            left -= len(box.file.read(min(left, 1 << 20)))
        read = time.monotonic() - began
        box.shutdown()
        grown = (self.served.process.peak_kib() - before) // 1024
        check(grown < 64, f"the server grew by {grown} MiB")
        self.bench.note(f"{mebibytes} MiB in {took:.1f} s, out {read:.1f} s, {grown} MiB more memory")


def run(bench, program):
    """Every case of this file."""
    cases = Cases(bench, program)
    cases.all()
    HardeningCases(cases).all()
    return cases
