"""`mailwire check`, `folders`, `sync` and `send` against Dovecot, Postfix, and servers that misbehave.
"""

import glob
import imaplib
import json
import os
import re
import smtplib
import socket
import sqlite3
import ssl
import subprocess
import threading
import time

from authority import Authority
from cases import serve
from harness import check, free_port
from servers import Dovecot, Postfix

PASSWORD = "password"


class Scripted:
    """A scripted server, for behaviour that real servers cannot be configured to show."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.received = b""
        self.connections = 0
        self._serve = serve
        threading.Thread(target=self._loop, daemon=True).start()

    def _loop(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(10)
            threading.Thread(target=self._one, args=(connection, self.connections), daemon=True).start()

    def _one(self, connection, number):
        try:
            with connection, connection.makefile("rb") as reader:
                def line():
                    got = reader.readline()
                    self.received += got
                    return got

                self._serve(connection.sendall, line, number)
        except (OSError, ValueError):
            pass

    def close(self):
        self.listener.close()


class Cases:
    """The cases, over one Dovecot and one Postfix."""

    def __init__(self, bench, program):
        self.bench, self.program = bench, program
        self.authority = Authority(bench.folder("authority"))
        self.pair = self.authority.issue("right")
        self.dovecot = Dovecot(bench, self.pair)
        self.postfix = Postfix(bench, self.pair, self.dovecot)
        bench.secrets.append(PASSWORD)

    def all(self):
        case = self.bench.case
        for name, body in [
            ("setup.check_tests_every_stage_of_both_servers", self.check_all),
            ("setup.check_stops_after_a_stage", self.check_stops),
            ("setup.folders_lists_and_stores_the_tree", self.folders),
            ("import.sync_fetches_every_message_once_byte_for_byte", self.sync),
            ("import.sync_resumes_after_an_interruption", self.sync_interrupted),
            ("send.builds_text_html_attachments_and_headers", self.send_built),
            ("send.takes_a_whole_message_from_standard_input", self.send_whole),
            ("send.reports_each_recipients_result", self.send_recipients),
            ("send.retries_on_421_450_451_452", self.send_retries),
            ("send.reports_a_lost_reply_as_uncertain", self.send_uncertain),
            ("send.refuses_bad_addresses_and_fields", self.send_invalid),
            ("import.names_the_wrong_tls_mode_in_under_a_second", self.wrong_mode),
            ("import.rejects_invalid_certificates_by_name", self.certificates),
            ("import.a_pin_trusts_one_certificate_and_no_other", self.pins),
            ("import.sends_no_credential_without_starttls", self.no_starttls),
            ("import.reports_a_wrong_password_without_showing_it", self.wrong_password),
            ("import.chooses_scram_and_verifies_both_sides", self.scram),
            ("import.uses_cleartext_only_when_chosen_twice", self.cleartext),
            ("import.reports_unreachable_hosts_and_ports", self.unreachable),
            ("import.times_out_on_a_silent_server", self.silent),
            ("import.a_trace_holds_no_secret", self.trace),
            ("clients.decode_never_fails", self.decode),
        ]:
            case(name, body, seconds=90)

    # -- tools ---------------------------------------------------------------------------------------------------

    def run(self, *arguments, stdin=b"", password=PASSWORD, ca=True, seconds=40):
        env = {key: value for key, value in os.environ.items() if not key.startswith("MAILWIRE")}
        env["HOME"] = self.bench.directory
        if password is not None:
            env["MAILWIRE_PASSWORD"] = password
        more = ["--ca", self.authority.ca] if ca is True else ["--ca", ca] if ca else []
        return self.bench.run([self.program, *arguments, *more], stdin=stdin, env=env, seconds=seconds)

    def imap(self, user="alice", scheme="imaps", port=None):
        return f"{scheme}://{user}@localhost:{port or (self.dovecot.imaps if scheme == 'imaps' else self.dovecot.imap)}"

    def smtp(self, user="alice", scheme="smtps", port=None):
        return f"{scheme}://{user}@localhost:{port or (self.postfix.smtps if scheme == 'smtps' else self.postfix.submission)}"

    def box(self, user="alice", name="INBOX"):
        context = ssl.create_default_context(cafile=self.authority.ca)
        client = imaplib.IMAP4_SSL("localhost", self.dovecot.imaps, ssl_context=context)
        client.login(user, PASSWORD)
        client.select(name)
        return client

    def emptied(self, user="alice"):
        client = self.box(user)
        if client.search(None, "ALL")[1][0]:
            client.store("1:*", "+FLAGS.SILENT", "(\\Deleted)")
            client.expunge()
        return client

    def arrived(self, subject, user="alice", seconds=20):
        """The message of that subject, once Postfix has delivered it."""
        end = time.monotonic() + seconds
        client = self.box(user)
        while time.monotonic() < end:
            client.noop()
            found = client.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
            if found:
                message = client.fetch(found[-1], "(BODY.PEEK[])")[1][0][1]
                client.logout()
                return message
            time.sleep(0.2)
        check(False, f"{subject} has not arrived")

    def stored(self, folder):
        """How many messages the store in this folder holds."""
        with sqlite3.connect(f"file:{folder}/mail.db?mode=ro", uri=True) as database:
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            name = next(name for name in ("message", "messages") if name in tables)
            return database.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0]

    # -- cases ---------------------------------------------------------------------------------------------------

    def check_all(self):
        for url in (self.imap(), self.imap(scheme="imap"), self.smtp(), self.smtp(scheme="smtp")):
            done = self.run("check", url).expect(0)
            stages = ["name", "tcp", "greeting", "tls", "certificate", "capabilities", "login"]
            stages += ["folders"] if url.startswith("imap") else []
            for stage in stages:
                check(re.search(rf"^ok\s+{stage}\s", done.text, re.M), f"{stage} is missing: {done.text}")
            report = json.loads(self.run("check", url, "--json").expect(0).out)
            check(report["ok"] and [line["stage"] for line in report["stages"]][:2] == ["name", "tcp"], f"{report}")

    def check_stops(self):
        for stage in ("name", "tcp", "tls", "capabilities"):
            done = self.run("check", self.imap(), "--stop-after", stage, "--json", password=None).expect(0)
            check(json.loads(done.out)["stages"][-1]["stage"] in (stage, "certificate"), done.text)

    def folders(self):
        client = self.box()
        client.create('"Projects/2026"')
        client.logout()
        folder = self.bench.path("folders")
        done = self.run("folders", self.imap(), "--into", folder, "--json").expect(0)
        found = {one["name"]: one for one in json.loads(done.out)["folders"]}
        check({"INBOX", "Sent", "Projects/2026"} <= set(found), f"{sorted(found)}")
        check(found["Sent"]["special_use"] == "\\Sent", f"{found['Sent']}")
        check(os.path.exists(f"{folder}/mail.db"), "nothing was kept")

    def sync(self):
        client = self.emptied("bob")
        sent = [b"Subject: %d\r\nMessage-ID: <%d@x>\r\n\r\n%s\r\n" % (n, n, b"x" * (n * 37 % 900)) for n in range(300)]
        sent.append(b"Subject: large\r\n\r\n" + b"line of text\r\n" * 200_000)
        for message in sent:
            client.append("INBOX", "(\\Flagged)", None, message)
        client.logout()
        folder = self.bench.path("store")
        first = json.loads(self.run("sync", self.imap("bob"), "--into", folder, "--json").expect(0).out)
        check(first["status"] == "success" and first["imported"] == len(sent), f"{first}")
        again = json.loads(self.run("sync", self.imap("bob", "imap"), "--into", folder, "--json").expect(0).out)
        check(again["imported"] == 0, f"by STARTTLS they are other messages: {again}")
        second = json.loads(self.run("sync", self.imap("bob"), "--into", folder, "--json").expect(0).out)
        check(second["imported"] == 0 and second["known"] >= len(sent), f"{second}")
        with sqlite3.connect(f"file:{folder}/mail.db?mode=ro", uri=True) as database:
            sizes = self.column(database, "size")
        check({len(message) for message in sent} <= sizes, "a message was kept with another size")

    @staticmethod
    def column(database, name):
        """Every value of every column of that name."""
        values = set()
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if name in [row[1] for row in database.execute(f"PRAGMA table_info({table})")]:
                values |= {row[0] for row in database.execute(f"SELECT {name} FROM {table}")}
        return values

    def sync_interrupted(self):
        client = self.emptied("bob")
        number = 1500
        for n in range(number):
            client.append("INBOX", None, None, b"Subject: i%d\r\n\r\n%s\r\n" % (n, b"y" * 4000))
        client.logout()
        folder = self.bench.path("cut")
        env = dict(os.environ, MAILWIRE_PASSWORD=PASSWORD)
        command = [self.program, "sync", self.imap("bob"), "--into", folder, "--ca", self.authority.ca, "--quiet"]
        cuts = 0
        for pause in (0.15, 0.3):
            child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                child.wait(pause)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
                cuts += 1
        check(cuts > 0, "it was never interrupted")
        self.run("sync", self.imap("bob"), "--into", folder, "--json").expect(0)
        final = json.loads(self.run("sync", self.imap("bob"), "--into", folder, "--json").expect(0).out)
        check(final["imported"] == 0 and final["known"] == number, f"{final}")
        check(self.stored(folder) == number, f"{self.stored(folder)} messages are kept, and {number} there are")

    def send_built(self):
        self.emptied().logout()
        page = self.bench.file("page.html", "<p>Grüße</p>")
        thing = self.bench.file("thing.bin", bytes(range(256)) * 100)
        self.run("send", self.smtp(scheme="smtp"), "--from", "Bob <bob@example.test>", "--to", "alice@example.test",
                 "--subject", "built and sent", "--text", "hello", "--html", page, "--attach", thing,
                 "--header", "X-Ticket: 42").expect(0)
        message = self.arrived("built and sent")
        for part in (b"X-Ticket: 42\r\n", b"multipart/mixed", b"text/html", b"text/plain", b"thing.bin", b"Message-ID: <"):
            check(part in message, f"{part!r} is missing")
        check(b"Bcc" not in message, "Bcc is shown")

    def send_whole(self):
        self.emptied().logout()
        body = "Subject: whole one\nFrom: bob@example.test\n\n.\n..\nGrüße\n" + "x" * 998 + "\n"
        for url in (self.smtp(), self.smtp(scheme="smtp")):
            self.run("send", url, "--from", "bob@example.test", "--to", "alice@example.test", stdin=body.encode()).expect(0)
            message = self.arrived("whole one")
            check(message.endswith(body.replace("\n", "\r\n").encode().split(b"\r\n\r\n", 1)[1]), "the text came back changed")
            self.emptied().logout()

    def send_recipients(self):
        done = self.run("send", self.smtp(), "--from", "bob@example.test", "--to", "alice@example.test",
                        "--to", "missing@example.test", "--json", stdin=b"Subject: two\n\nx\n")
        done.expect(69)
        report = json.loads(done.out.splitlines()[0])
        fates = {one["address"]: one for one in report["recipients"]}
        check(fates["alice@example.test"]["status"] == "success", f"{report}")
        refused = fates["missing@example.test"]
        check((refused["status"], refused["code"], refused["enhanced"], refused["stage"]) == ("rejected", 550, "5.1.1", "rcpt"), f"{report}")
        check(report["status"] == "rejected" and not report["is_retryable"], f"{report}")

    def smtp_script(self, replies, greeting=b"220 s.example ESMTP\r\n", after=None):
        """A cleartext server: `replies` maps a verb to a reply, or to a list of replies, one for each time."""
        replies = {key: list(value) if isinstance(value, list) else value for key, value in replies.items()}

        def serve(say, line, number):
            say(greeting)
            while True:
                got = line()
                if not got:
                    return
                verb = got[:4].upper().decode("ascii", "replace").strip()
                reply = replies.get(verb, b"250 2.0.0 ok\r\n")
                if isinstance(reply, list):
                    reply = reply.pop(0) if len(reply) > 1 else reply[0]
                if reply is None:
                    return
                say(reply)
                if verb == "DATA" and reply.startswith(b"354"):
                    while line() not in (b".\r\n", b""):
                        pass
                    if after is None:
                        say(b"250 2.0.0 taken\r\n")
                    else:
                        say(after) if after else None
                        if not after:
                            return
                if verb == "QUIT" or reply.startswith(b"421"):
                    return

        return Scripted(serve)

    def send_clear(self, server, *more):
        return self.run("send", f"smtp://localhost:{server.port}", "--danger-cleartext", "--from", "a@x.example",
                        "--to", "b@x.example", "--json", *more, stdin=b"Subject: s\n\nx\n", ca=None)

    def send_retries(self):
        for code in (b"450", b"451", b"452", b"421"):
            script = {"EHLO": b"250 s.example\r\n", "DATA": b"354 go\r\n",
                      "RCPT": [code + b" 4.3.2 later\r\n", b"250 2.1.5 ok\r\n"]}
            server = self.smtp_script(script)
            done = self.send_clear(server).expect(0)
            report = json.loads(done.out.splitlines()[0])
            check(report["status"] == "success" and report["retry_count"] == 1, f"{code!r}: {report}")
            check(done.seconds >= 1, "it did not wait")
            server.close()
        server = self.smtp_script({"EHLO": b"250 s.example\r\n", "RCPT": b"450 4.2.1 later\r\n"})
        done = self.send_clear(server, "--attempts", "2").expect(75)
        report = json.loads(done.out.splitlines()[0])
        check(report["status"] == "temp_failed" and report["is_retryable"], f"{report}")
        server.close()

    def send_uncertain(self):
        server = self.smtp_script({"EHLO": b"250 s.example\r\n", "DATA": b"354 go\r\n"}, after=b"")
        done = self.send_clear(server).expect(70)
        report = json.loads(done.out.splitlines()[0])
        check(report["status"] == "uncertain" and server.connections == 1, f"{server.connections} connections: {report}")
        server.close()

    def send_invalid(self):
        for more in (["--to", "no-at-sign"], ["--to", "a@@b.example"], ["--to", "a" * 65 + "@b.example"],
                     ["--to", "x@y.example", "--subject", "a\nBcc: z@z.example"],
                     ["--to", "x@y.example", "--header", "X: y\r\nBcc: z@z.example"]):
            self.run("send", self.smtp(), "--from", "a@x.example", *more, stdin=b"Subject: s\n\nx\n").expect(65)

    def wrong_mode(self):
        for url, words in (
            (self.imap(port=self.dovecot.imap), ("STARTTLS", "143")),
            (self.imap(scheme="imap", port=self.dovecot.imaps), ("implicit TLS", "993")),
            (self.smtp(port=self.postfix.submission), ("STARTTLS", "587")),
            (self.smtp(scheme="smtp", port=self.postfix.smtps), ("implicit TLS", "465")),
        ):
            done = self.run("check", url).expect(76)
            check(all(word in done.text for word in words), f"no fix is named: {done.text}")
            check(done.seconds < 1.5, f"it took {done.seconds:.2f} s")

    def certificates(self):
        wrong = {
            "names": self.authority.issue("elsewhere", names="DNS:elsewhere.example"),
            "expired": self.authority.issue("old", days=0),
            "vouches": self.authority.issue("unknown", issuer="stranger"),
            "itself": self.authority.own("self", "basicConstraints=CA:FALSE"),
            "authority": self.authority.own("authority"),
        }
        words = {"names": "localhost", "expired": "until", "vouches": "trusted authority", "itself": "self-signed", "authority": "authority"}
        for kind, pair in wrong.items():
            server = Dovecot(self.bench, pair)
            for url in (self.imap(port=server.imaps), self.imap(scheme="imap", port=server.imap)):
                done = self.run("check", url).expect(77)
                check("FAIL certificate" in done.text, f"{kind}: {done.text}")
                check(words[kind] in done.text, f"{kind}: the cause is not named: {done.text}")
            self.run("check", self.imap(port=server.imaps), "--danger-accept-any-certificate", ca=None).expect(0)
            self.bench.stop(server.process)

    def pins(self):
        pair = self.authority.own("bridge")
        server = Dovecot(self.bench, pair)
        pin = self.authority.fingerprint(pair[0])
        for url in (self.imap(port=server.imaps), self.imap(scheme="imap", port=server.imap)):
            self.run("check", url, "--pin", pin, ca=None).expect(0)
            self.run("check", url, "--pin", "sha256:" + "0" * 64, ca=None).expect(77)
        self.run("check", self.imap(), "--pin", pin, ca=None).expect(77)
        self.bench.stop(server.process)

    def no_starttls(self):
        def imap(say, line, _):
            say(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n")
            while got := line():
                tag = got.split()[0]
                say(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n" + tag + b" OK done\r\n" if b"CAPABILITY" in got.upper() else tag + b" BAD no\r\n")

        fake = Scripted(imap)
        done = self.run("check", f"imap://alice@localhost:{fake.port}").expect(77)
        check(b"LOGIN" not in fake.received.upper() and b"AUTHENTICATE" not in fake.received.upper(), f"{fake.received!r}")
        check("STARTTLS" in done.text and "993" in done.text, f"no fix is named: {done.text}")
        fake.close()
        fake = self.smtp_script({"EHLO": b"250-s.example\r\n250 AUTH PLAIN LOGIN\r\n", "STAR": b"502 5.5.1 no\r\n"})
        done = self.run("check", f"smtp://alice@localhost:{fake.port}").expect(77)
        check(b"AUTH" not in fake.received.upper(), f"{fake.received!r}")
        fake.close()

    def wrong_password(self):
        secret = "quite-another-secret"
        for command in (["check", self.imap()], ["folders", self.imap(scheme="imap")], ["check", self.smtp()],
                        ["sync", self.imap(), "--into", self.bench.path("none")]):
            trace = self.bench.path("trace")
            done = self.run(*command, "--trace", trace, password=secret).expect(77)
            with open(trace) as file:
                shown = done.text + file.read()
            check(secret not in shown, "the password is shown")
            check("alice" not in done.text, f"the user name is shown: {done.text}")

    def scram(self):
        """Dovecot verifies the login: by SCRAM-SHA-256 by default, and no password is sent."""
        for url in (self.imap(scheme="imap"), self.imap(), self.smtp(scheme="smtp"), self.smtp()):
            # The length of the server's proof, "v=" and a signature, shows the hash.
            for arguments, proof in (([], 64), (["--mechanism", "SCRAM-SHA-1"], 40)):
                path = self.bench.path("trace")
                self.run("check", url, "--trace", path, *arguments).expect(0)
                with open(path, errors="replace") as file:
                    trace = file.read()
                check(re.search(rf"S= (\+|334) \[{proof} bytes redacted\]$", trace, re.M), f"no such proof: {trace}")
            done = self.run("check", url, password="quite-another-secret").expect(77)
            check("quite-another-secret" not in done.text, "the password is shown")
        self.run("check", self.imap(user="missing")).expect(77)

    def cleartext(self):
        def serve(say, line, _):
            say(b"* OK [CAPABILITY IMAP4rev1] hi\r\n")
            while got := line():
                tag = got.split()[0]
                say(b"* LIST () \"/\" INBOX\r\n" if b"LIST" in got.upper() else b"")
                say(b"* CAPABILITY IMAP4rev1\r\n" if b"CAPABILITY" in got.upper() else b"")
                say(tag + b" OK done\r\n")

        fake = Scripted(serve)
        url = f"imap://alice@localhost:{fake.port}"
        self.run("check", url).expect(77)
        self.run("check", url, "--danger-cleartext", "--stop-after", "capabilities", ca=None).expect(0)
        self.run("check", url, "--danger-cleartext", ca=None).expect(77)
        check(PASSWORD.encode() not in fake.received, "the password went out")
        self.run("check", url, "--danger-cleartext-login", ca=None).expect(64)
        self.run("check", url, "--danger-cleartext", "--danger-cleartext-login", ca=None).expect(0)
        fake.close()

    def unreachable(self):
        self.run("check", f"imaps://alice@localhost:{free_port()}").expect(69)
        self.run("check", "imaps://alice@no-such-host.invalid").expect(68)
        self.run("check", "imaps://alice:secret@localhost").expect(64)
        self.run("check", "gopher://localhost").expect(64)

    def silent(self):
        def listen(_say, line, _number):
            while line():
                pass

        silent = Scripted(listen)
        for scheme in ("imaps", "imap", "smtp"):
            done = self.run("check", f"{scheme}://alice@localhost:{silent.port}", "--timeout", "2")
            check(done.status in (75, 76) and done.seconds < 8, f"{scheme}: {done.status} after {done.seconds:.1f} s")
        silent.close()

    def trace(self):
        for url in (self.imap(), self.imap(scheme="imap"), self.smtp(), self.smtp(scheme="smtp")):
            for mechanism in ("PLAIN", "LOGIN"):
                if mechanism == "LOGIN" and url.startswith("smtp"):
                    continue
                path = self.bench.path("trace")
                self.run("check", url, "--trace", path, "--mechanism", mechanism).expect(0)
                check(os.stat(path).st_mode & 0o077 == 0, "the trace can be read by others")
                with open(path) as file:
                    text = file.read()
                check("bytes redacted" in text, f"nothing is redacted:\n{text}")
                for piece in (PASSWORD, "cGFzc3dvcmQ", "Bhc3N3b3Jk", "wYXNzd29yZ"):
                    check(piece not in text, f"{piece} is in the trace:\n{text}")

    def decode(self):
        bytes = b"* 1 EXISTS\r\n* LIST (\r\n* SEARCH 7 \r\na1 OK done\r\n"
        for kind, strict, events in (
            ("imap-response", [], ["exists", "unparsed", "search", "ok"]),
            ("imap-response", ["--strict"], ["exists", "unparsed", "unparsed", "ok"]),
        ):
            done = self.run("decode", kind, *strict, stdin=bytes, ca=None).expect(0)
            lines = [json.loads(line) for line in done.out.splitlines()]
            check([line["event"] for line in lines] == events, f"{lines}")
            check(all("repairs" in line for line in lines), "repairs are missing")
        for kind, bytes in (("smtp-reply", b"250-a\r\n250 b\r\n550 5.1.1 no\r\n"), ("imap-command", b"a LOGIN u p\r\nb NOOP\r\n"),
                             ("smtp-command", b"EHLO a\r\nMAIL FROM:<x\r\nQUIT\r\n")):
            done = self.run("decode", kind, stdin=bytes, ca=None).expect(0)
            check(len(done.out.splitlines()) == bytes.count(b"\r\n") - (1 if kind == "smtp-reply" else 0), done.text)


def large(bench, program, served, mebibytes=1024):
    """`mailwire send` and `mailwire sync` transfer a large message; neither grows by more than 64 MiB."""
    path = bench.path("large.eml")
    with open(path, "wb") as file:
        file.write(b"Subject: carried\r\n\r\n")
        line = b"0123456789abcdef" * 4 + b"\r\n"
        for _ in range(mebibytes * 1024 * 1024 // len(line) // 1000):
            file.write(line * 1000)
    env = dict(os.environ, MAILWIRE_PASSWORD=served.password)
    with open(path, "rb") as message:
        sent = bench.run([program, "send", f"smtps://{served.user}@localhost:{served.ports['smtps']}", "--ca", served.ca,
                          "--from", "a@x.example", "--to", served.address], stdin=message, env=env, seconds=600).expect(0)
    folder = bench.path("large-store")
    synced = bench.run([program, "sync", f"imaps://{served.user}@localhost:{served.ports['imaps']}", "--ca", served.ca,
                        "--folder", "INBOX", "--into", folder], env=env, seconds=600).expect(0)
    kept = max(os.path.getsize(name) for name in glob.glob(f"{folder}/messages/*"))
    check(kept >= os.path.getsize(path), "the message was kept shorter than it was sent")
    for done, name in ((sent, "send"), (synced, "sync")):
        check(done.peak_kib < 96 * 1024, f"{name} needed {done.peak_kib // 1024} MiB")
    bench.note(f"send {sent.seconds:.1f} s, {sent.peak_kib // 1024} MiB; sync {synced.seconds:.1f} s, {synced.peak_kib // 1024} MiB")


def compare(bench, program, number=10_000):
    """The same load as `serve.many` on Postfix and Dovecot, for comparison."""
    cases = Cases(bench, program)
    try:
        cases.emptied().logout()
        context = ssl.create_default_context(cafile=cases.authority.ca)
        client = smtplib.SMTP("localhost", cases.postfix.submission, timeout=300)
        client.starttls(context=context)
        client.login("alice", PASSWORD)
        took = serve.send_pipelined(client, "alice@example.test", number)
        client.quit()
        end = time.monotonic() + 600
        box = cases.box()
        while int(box.select()[1][0]) < number and time.monotonic() < end:
            time.sleep(1)
        got, fetched = serve.fetch_all(box)
        check(len(got) == number, f"{len(got)} of {number} messages arrived")
        box.logout()
        bench.note(f"Postfix took {number} messages in {took:.2f} s, Dovecot gave them in {fetched:.2f} s")
    finally:
        cases.postfix.stop()


def run(bench, program):
    """Every case of this file."""
    cases = Cases(bench, program)
    try:
        cases.all()
    finally:
        cases.postfix.stop()
