"""`mailwire check` and `mailwire send` against Exim, OpenSMTPD and aiosmtpd.
"""

import json
import os

from authority import Authority
from harness import check, wait_for
from transfer_agents import Aiosmtpd, Exim, OpenSmtpd

PASSWORD = "password"
# A message with all these fields, so that a server adds nothing but its trace fields.
HEAD = (b"From: bob@example.test\r\nTo: alice@example.test\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
        b"Message-ID: <1@interop.test>\r\nSubject: %s\r\n\r\n")
BODIES = {
    b"dots": b".\r\n..\r\nx\r\n.\r\n",
    b"long": b"x" * 998 + b"\r\n",
    b"eight": "Grüße, 世界\r\n".encode(),
    b"large": (b"0123456789abcdef" * 4 + b"\r\n") * 30_000,
}


class Cases:
    """The cases, over one of each server."""

    def __init__(self, bench, program):
        self.bench, self.program = bench, program
        self.authority = Authority(bench.folder("authority"))
        self.pair = self.authority.issue("right")
        bench.secrets.append(PASSWORD)

    def all(self):
        for name, make in (("exim", lambda: Exim(self.bench, self.pair)),
                           ("aiosmtpd", lambda: Aiosmtpd(self.bench, self.pair))):
            started = []
            # A server that does not start is a failed case, and the cases that need it do not run.
            if not self.bench.case(f"agents.{name}_starts", lambda: started.append(make())):
                continue
            server = started[0]
            for what, body in [
                ("check_works_with_both_tls_modes_and_mechanisms", self.checked),
                ("accepts_every_message_byte_for_byte", self.byte_for_byte),
                ("reports_each_recipients_result", self.recipients),
                ("accepts_non_ascii_addresses", self.smtputf8),
                ("reports_a_wrong_password_without_showing_it", self.wrong_password),
                ("certificate_fails_with_another_authority", self.stranger),
            ]:
                self.bench.case(f"agents.{name}_{what}", lambda: body(server))
            self.bench.stop(server.process)
        self.bench.case("agents.opensmtpd_takes_every_message_byte_for_byte_in_cleartext", self.opensmtpd)

    # -- tools ---------------------------------------------------------------------------------------------------

    def run(self, *arguments, stdin=b"", password=PASSWORD, ca=True):
        env = {key: value for key, value in os.environ.items() if not key.startswith("MAILWIRE")}
        env["HOME"] = self.bench.directory
        env["MAILWIRE_PASSWORD"] = password
        more = ["--ca", self.authority.ca] if ca is True else ["--ca", ca] if ca else []
        return self.bench.run([self.program, *arguments, *more], stdin=stdin, env=env)

    def urls(self, server):
        return f"smtp://alice@localhost:{server.smtp}", f"smtps://alice@localhost:{server.smtps}"

    def traced(self, *arguments, **how):
        path = self.bench.path("trace")
        done = self.run(*arguments, "--trace", path, **how).expect(0)
        with open(path, errors="replace") as file:
            return done, file.read()

    def envelope(self, to="alice@example.test"):
        return ["--from", "bob@example.test", "--to", to]

    def has(self, server, message, what):
        wait_for(what, lambda: any(one.endswith(message) for one in server.messages()))

    # -- cases ---------------------------------------------------------------------------------------------------

    def checked(self, server):
        for url in self.urls(server):
            for mechanism in ("PLAIN", "LOGIN"):
                done, trace = self.traced("check", url, "--json", "--mechanism", mechanism)
                report = json.loads(done.out)
                check(report["ok"], f"{report}")
                check([one["stage"] for one in report["stages"]][-1] == "login", f"it ended before the login: {report}")
                check(f"AUTH {mechanism}" in trace, f"not by {mechanism}: {trace}")
                check(PASSWORD not in trace, "the password is in the trace")

    def byte_for_byte(self, server):
        for number, url in enumerate(self.urls(server)):
            for name, body in BODIES.items():
                message = HEAD % (b"%s %d" % (name, number)) + body
                self.run("send", url, *self.envelope(), stdin=message).expect(0)
                self.has(server, message, name.decode())

    def recipients(self, server):
        """Exim knows its users; aiosmtpd accepts every recipient."""
        done = self.run("send", self.urls(server)[0], *self.envelope(), "--to", "missing@example.test", "--json",
                        stdin=HEAD % b"two" + b"x\r\n")
        report = json.loads(done.out.splitlines()[0])
        fates = {one["address"]: (one["status"], one["code"]) for one in report["recipients"]}
        check(fates["alice@example.test"] == ("success", 250), f"{report}")
        wanted = ("rejected", 550) if isinstance(server, Exim) else ("success", 250)
        check(fates["missing@example.test"] == wanted, f"{report}")

    def smtputf8(self, server):
        message = "From: bob@example.test\r\nTo: jürgen@example.test\r\nSubject: grüße\r\n\r\nhi\r\n".encode()
        _, trace = self.traced("send", self.urls(server)[1], *self.envelope("jürgen@example.test"), stdin=message)
        check(" SMTPUTF8" in trace.split("MAIL FROM", 1)[-1].splitlines()[0], f"MAIL has no SMTPUTF8: {trace}")
        self.has(server, message, "the message for jürgen")

    def wrong_password(self, server):
        for url in self.urls(server):
            done = self.run("check", url, password="quite-another-secret").expect(77)
            check("quite-another-secret" not in done.text, "the password is shown")

    def stranger(self, server):
        for url in self.urls(server):
            done = self.run("check", url, ca=self.authority.stranger).expect(77)
            check("FAIL certificate" in done.text, f"{done.text}")

    def opensmtpd(self):
        server = OpenSmtpd(self.bench)
        url = f"smtp://localhost:{server.smtp}"
        self.run("check", url).expect(77)
        self.run("check", url, "--danger-cleartext", ca=None).expect(0)
        for name, body in BODIES.items():
            message = HEAD % name + body
            self.run("send", url, "--danger-cleartext", *self.envelope(), stdin=message, ca=None).expect(0)
            self.has(server, message, name.decode())
        done = self.run("send", url, "--danger-cleartext", *self.envelope(), "--to", "missing@example.test", "--json",
                        stdin=HEAD % b"two" + b"x\r\n", ca=None)
        fates = {one["address"]: one["code"] for one in json.loads(done.out.splitlines()[0])["recipients"]}
        # OpenSMTPD answers "524 5.2.4" for an address that its table lacks.
        check(fates == {"alice@example.test": 250, "missing@example.test": 524}, f"{fates}")
        self.bench.stop(server.process)


def run(bench, program):
    """Every case of this file."""
    Cases(bench, program).all()
