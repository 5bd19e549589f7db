"""SMTP's extensions and LMTP: `mailwire send` against Postfix, Exim and Dovecot, and swaks, Python and msmtp against
`mailwire serve` with faults, behind a proxy, and with LMTP.
"""

import json
import os
import re
import smtplib
import ssl

from authority import Authority
from harness import Failure, check, wait_for
from servers import Dovecot, Postfix, Served
from transfer_agents import Exim

PASSWORD = "password"
HEAD = (b"From: bob@example.test\r\nTo: alice@example.test\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
        b"Message-ID: <1@interop.test>\r\nSubject: %s\r\n\r\n")


class Cases:
    """The cases, over one of each server."""

    def __init__(self, bench, program):
        self.bench, self.program = bench, program
        self.authority = Authority(bench.folder("authority"))
        self.pair = self.authority.issue("right")
        bench.secrets.append(PASSWORD)

    def all(self):
        started = {}

        def start():
            started["dovecot"] = Dovecot(self.bench, self.pair)
            started["postfix"] = Postfix(self.bench, self.pair, started["dovecot"])
            started["exim"] = Exim(self.bench, self.pair)

        # A server that does not start is a failed case, and the cases that need it do not run.
        if self.bench.case("extensions.servers_start", start):
            dovecot, postfix, exim = started["dovecot"], started["postfix"], started["exim"]
            for name, body in [
                ("postfix_accepts_pipelined_mail_rcpt_and_data", lambda: self.pipelined(postfix.smtps)),
                ("exim_accepts_pipelined_mail_rcpt_and_data", lambda: self.pipelined(exim.smtps)),
                ("exim_accepts_chunks_and_data", lambda: self.chunks(exim.smtps, exim.messages)),
                ("postfix_accepts_chunks_and_data", lambda: self.chunks(postfix.smtps, lambda: self.inbox(dovecot, "alice"))),
                ("postfix_reports_what_was_delivered", lambda: self.reported(postfix, dovecot)),
                ("exim_accepts_dsn_parameters", lambda: self.dsn(exim.smtps)),
                ("postfix_accepts_non_ascii_addresses", lambda: self.beyond_ascii(postfix)),
                ("dovecot_answers_lmtp_for_each_recipient", lambda: self.lmtp(dovecot)),
                ("sends_no_extension_that_is_not_offered", lambda: self.not_offered(postfix)),
                ("shows_steps_and_stops_at_them", lambda: self.steps(exim)),
            ]:
                self.bench.case("extensions." + name, body)
            postfix.stop()
        for name, body in [
            ("swaks_receives_the_requested_faults", self.faults),
            ("only_the_proxy_may_announce_addresses", self.proxied),
            ("python_speaks_lmtp", self.python_lmtp),
            ("python_sends_non_ascii_addresses", self.python_smtputf8),
            ("postfix_delivers_by_lmtp", self.postfix_lmtp),
        ]:
            self.bench.case("extensions." + name, body)

    # -- tools ---------------------------------------------------------------------------------------------------

    def send(self, url, *arguments, stdin, ca=True, to=("alice@example.test",)):
        """Sends; returns the outcome and the trace."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("MAILWIRE")}
        env.update(HOME=self.bench.directory, MAILWIRE_PASSWORD=PASSWORD)
        path = self.bench.path("trace")
        more = ["--ca", self.authority.ca] if ca else []
        for address in to:
            more += ["--to", address]
        done = self.bench.run([self.program, "send", url, "--from", "bob@example.test", "--trace", path, *arguments, *more],
                              stdin=stdin, env=env)
        if not os.path.exists(path):
            return done, ""
        with open(path, errors="replace") as file:
            return done, file.read()

    @staticmethod
    def said(trace):
        """All lines with their side, in order: ("C" or "S", line)."""
        found = re.findall(r"^ *[0-9.]+ #[0-9]+ ([CS])[:=] (.*)$", trace, re.M)
        check(found, f"nothing is recognised in the trace: {trace[:500]}")
        return found

    def inbox(self, dovecot, user):
        found = []
        for folder, _, names in os.walk(f"{dovecot.folder}/home/{user}/Maildir/new"):
            for name in names:
                with open(f"{folder}/{name}", "rb") as file:
                    found.append(file.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        return found

    # -- cases: the client ---------------------------------------------------------------------------------------

    def pipelined(self, port):
        message = HEAD % b"pipelined" + b"x\r\n"
        done, trace = self.send(f"smtps://alice@localhost:{port}", "--chunking", "never", stdin=message,
                                to=("alice@example.test", "bob@example.test"))
        done.expect(0)
        said = self.said(trace)
        at = next(index for index, (who, line) in enumerate(said) if who == "C" and line.startswith("MAIL FROM"))
        flight = [(who, line.split(":")[0]) for who, line in said[at:at + 4]]
        check(flight == [("C", "MAIL FROM"), ("C", "RCPT TO"), ("C", "RCPT TO"), ("C", "DATA")], f"{said[at:at + 8]}")

    def chunks(self, port, messages):
        body = b".\r\n..\r\n" + b"y" * 900 + b"\r\n"
        for way, word in (("always", "BDAT"), ("never", "DATA")):
            message = HEAD % f"chunking {way} {port}".encode() + body
            done, trace = self.send(f"smtps://alice@localhost:{port}", "--chunking", way, stdin=message)
            done.expect(0)
            check(any(who == "C" and line.startswith(word) for who, line in self.said(trace)), f"no {word}: {trace}")
            wait_for("the message", lambda: any(one.endswith(message) for one in messages()))

    def reported(self, postfix, dovecot):
        message = HEAD % b"report wanted" + b"x\r\n"
        done, trace = self.send(f"smtps://alice@localhost:{postfix.smtps}", "--notify", "success,failure", "--ret", "hdrs",
                                "--envid", "QQ314159", "--orcpt", "own", stdin=message)
        done.expect(0)
        check("RET=HDRS" in trace and "ENVID=QQ314159" in trace and "NOTIFY=SUCCESS,FAILURE" in trace
              and "ORCPT=rfc822;alice@example.test" in trace, f"{trace}")

        def report():
            return [one for one in self.inbox(dovecot, "bob") if b"QQ314159" in one]

        wait_for("Postfix's report", report, 20)
        text = report()[0].lower()
        check(b"original-envelope-id: qq314159" in text, "the report names another sending")
        check(b"original-recipient: rfc822;alice@example.test" in text.replace(b"; ", b";"), f"{text}")
        check(b"action: delivered" in text or b"action: relayed" in text, "it does not say what became of it")
        check(b"message/delivery-status" in text and b"text/rfc822-headers" in text, "it holds more than the header")

    def dsn(self, port):
        done, trace = self.send(f"smtps://alice@localhost:{port}", "--notify", "never", "--ret", "full", "--envid", "a+b=c",
                                stdin=HEAD % b"never" + b"x\r\n")
        done.expect(0)
        check("ENVID=a+2Bb+3Dc" in trace and "NOTIFY=NEVER" in trace, f"{trace}")

    def beyond_ascii(self, postfix):
        message = "From: bob@example.test\r\nTo: jürgen@example.test\r\nSubject: grüße\r\n\r\nhi\r\n".encode()
        done, trace = self.send(f"smtps://alice@localhost:{postfix.smtps}", "--json", stdin=message, to=("jürgen@example.test",))
        mail = next(line for who, line in self.said(trace) if who == "C" and line.startswith("MAIL"))
        check(" SMTPUTF8" in mail, mail)
        # The server parses the address, but has no such user.
        report = json.loads(done.out.splitlines()[0])
        fate = report["recipients"][0]
        check(fate["address"] == "jürgen@example.test" and fate["status"] == "rejected" and fate["code"] == 550, f"{fate}")

    def lmtp(self, dovecot):
        message = HEAD % b"by lmtp" + b".\r\nx\r\n"
        done, trace = self.send(f"smtp://localhost:{dovecot.lmtp}", "--lmtp", "--danger-cleartext", "--json", stdin=message,
                                ca=False, to=("alice@example.test", "missing@example.test", "bob@example.test"))
        report = json.loads(done.out.splitlines()[0])
        fates = {one["address"].split("@")[0]: (one["status"], one["code"]) for one in report["recipients"]}
        check(fates["alice"] == ("success", 250) and fates["bob"] == ("success", 250), f"{fates}")
        check(fates["missing"] == ("rejected", 550), f"{fates}")
        check("LHLO" in trace, f"{trace}")
        for user in ("alice", "bob"):
            wait_for(f"{user}'s mail", lambda: any(one.endswith(message) for one in self.inbox(dovecot, user)))

    def not_offered(self, postfix):
        message = HEAD % b"not offered" + b"x\r\n"
        for option, value, word in (("--hold-for", "60", "FUTURERELEASE"), ("--require-tls", None, "REQUIRETLS")):
            arguments = [option] + ([value] if value else [])
            done, trace = self.send(f"smtps://alice@localhost:{postfix.smtps}", *arguments, stdin=message)
            check(done.status != 0 and word in done.text, f"{option}: {done.status} {done.text}")
            check("MAIL FROM" not in trace, f"{option}: {trace}")

    def steps(self, exim):
        url = f"smtps://alice@localhost:{exim.smtps}"
        done, trace = self.send(url, "--stop-after", "rcpt", stdin=HEAD % b"stopped" + b"x\r\n")
        done.expect(0)
        check("rcpt" in done.text and "ms" in done.text, f"{done.text}")
        check("RCPT TO" in trace and "DATA" not in trace and "BDAT" not in trace, f"{trace}")
        check(not any(b"Subject: stopped" in one for one in exim.messages()), "it was sent")

    # -- cases: the server ---------------------------------------------------------------------------------------

    def swaks(self, served, port, *arguments, to=None):
        return self.bench.run(["swaks", "--server", "127.0.0.1", "--port", port, "--from", "a@x.example", "--to",
                               to or served.address, "--timeout", "10", *arguments])

    def faults(self):
        served = Served(self.bench, self.program, folder=self.bench.path("faulty"), arguments=[
            "--fail", "rcpt=450,busy*", "--fail", "dot=452,full*", "--delay", "mail=200ms", "--seed", "1"])
        auth = ["--tlsc", "--auth", "PLAIN", "--auth-user", served.user, "--auth-password", served.password]
        done = self.swaks(served, served.ports["smtps"], *auth, to=f"busy@localhost,{served.address}").expect(0)
        check("450 4.0.0" in done.text, f"{done.text}")
        self.swaks(served, served.ports["smtps"], *auth, to="busy@localhost").expect(24)
        done = self.swaks(served, served.ports["smtps"], *auth, "--show-time-lapse")
        check(done.status == 0 and done.seconds >= 0.2, f"{done.text}")
        served.stop()
        dropping = Served(self.bench, self.program, folder=self.bench.path("dropping"), arguments=["--drop", "dot"])
        auth = ["--tlsc", "--auth", "PLAIN", "--auth-user", dropping.user, "--auth-password", dropping.password]
        check(self.swaks(dropping, dropping.ports["smtps"], *auth).status not in (0, 24), "it was answered")
        dropping.stop()

    def proxied(self):
        served = Served(self.bench, self.program, folder=self.bench.path("proxied"),
                        arguments=["--proxy-from", "127.0.0.0/8", "--trace-fields"])
        for version in ("1", "2"):
            done = self.swaks(
                served, served.ports["smtp"], "--proxy-version", version, "--proxy-family", "TCP4" if version == "1" else "AF_INET",
                "--proxy-source", "192.0.2.77", "--proxy-source-port", "4000", "--proxy-dest", "198.51.100.1",
                "--proxy-dest-port", "587", "--tls", "--auth", "LOGIN", "--auth-user", served.user,
                "--auth-password", served.password, *(["--proxy-protocol", "STREAM"] if version == "2" else []))
            done.expect(0)
        check(self.swaks(served, served.ports["smtp"], "--timeout", "2").status != 0, "a connection without a header was taken")
        served.stop()

    def python_lmtp(self):
        served = Served(self.bench, self.program, folder=self.bench.path("lmtp"), arguments=["--lmtp", "127.0.0.1:0"])
        with smtplib.LMTP("127.0.0.1", served.ports["lmtp"], timeout=20) as client:
            refused = client.sendmail("a@x.example", [served.address, "missing@localhost"], "Subject: by lmtp\r\n\r\nhi\r\n")
        check(list(refused) == ["missing@localhost"] and refused["missing@localhost"][0] == 550, f"{refused}")
        served.stop()

    def python_smtputf8(self):
        served = Served(self.bench, self.program, folder=self.bench.path("utf8"))
        context = ssl.create_default_context(cafile=served.ca)
        with smtplib.SMTP_SSL("localhost", served.ports["smtps"], context=context, timeout=20) as client:
            client.login(served.user, served.password)
            message = f"Subject: grüße\r\nTo: {served.user}+grüße@localhost\r\n\r\nhi\r\n".encode()
            client.sendmail("jürgen@x.example", [f"{served.user}+grüße@localhost"], message,
                            mail_options=["SMTPUTF8", "BODY=8BITMIME"])
            try:
                client.sendmail("jürgen@x.example", [served.address], message)
                raise Failure("an address beyond ASCII was taken without SMTPUTF8")
            except (UnicodeEncodeError, smtplib.SMTPException):
                pass
        served.stop()

    def postfix_lmtp(self):
        served = Served(self.bench, self.program, folder=self.bench.path("delivered"), arguments=["--lmtp", "127.0.0.1:0"])
        names = f"inline:{{ {{{served.user}@example.test=x}} {{gone@example.test=x}} }}"
        postfix = Postfix(self.bench, self.pair, Dovecot(self.bench, self.pair), f"""
virtual_transport = lmtp:inet:[127.0.0.1]:{served.ports["lmtp"]}
virtual_mailbox_maps = {names}
""")
        try:
            with smtplib.SMTP("127.0.0.1", postfix.unguarded, timeout=20) as client:
                client.sendmail("a@example.test", [f"{served.user}@example.test"], "Subject: delivered\r\n\r\n.\r\nhi\r\n")

            def sent():
                with open(f"{postfix.folder}/log") as log:
                    return [line for line in log if "/lmtp[" in line and "status=sent" in line]

            wait_for("Postfix's delivery", sent, 20)
        finally:
            postfix.stop()
            served.stop()


def run(bench, program):
    """Every case of this file."""
    Cases(bench, program).all()
