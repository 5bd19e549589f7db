"""`mailwire serve` and more programs that submit or collect: aiosmtplib, nodemailer, Postfix and Exim as relays, fetchmail,
offlineimap.
"""

import glob
import imaplib
import os
import smtplib
import ssl

from authority import Authority
from harness import check, wait_for
from servers import Dovecot, Postfix, Served
from transfer_agents import NODE_MODULES, Exim, installed

LIMIT = 2_000_000

AIOSMTPLIB = """
import asyncio, ssl, sys
import aiosmtplib

starttls, implicit, ca, user, password, to = sys.argv[1:7]
message = b"From: a@x.example\\r\\nSubject: aiosmtplib\\r\\n\\r\\n.\\r\\n..two\\r\\n"

async def main():
    for port, how in ((starttls, {"start_tls": True}), (implicit, {"use_tls": True})):
        client = aiosmtplib.SMTP(hostname="localhost", port=int(port), tls_context=ssl.create_default_context(cafile=ca), **how)
        async with client:
            try:
                await client.login(user, "wrong")
                sys.exit("a wrong password was taken")
            except aiosmtplib.SMTPAuthenticationError as error:
                assert error.code == 535, error
            await client.login(user, password)
            refused, _ = await client.sendmail("a@x.example", [to, "missing@localhost"], message, mail_options=["BODY=8BITMIME"])
            assert refused["missing@localhost"].code == 550, refused

asyncio.run(main())
"""

NODEMAILER = """
const nodemailer = require("nodemailer");
const [starttls, implicit, user, pass, to] = process.argv.slice(2);
(async () => {
  for (const way of [{ port: +starttls, secure: false, requireTLS: true }, { port: +implicit, secure: true }]) {
    const one = nodemailer.createTransport({ host: "localhost", ...way, auth: { user, pass } });
    await one.verify();
    const sent = await one.sendMail({ from: "a@x.example", to, subject: "nodemailer", text: "hi\\n.\\n" });
    if (sent.accepted.length !== 1) throw Error("not accepted");
    one.close();
    const wrong = nodemailer.createTransport({ host: "localhost", ...way, auth: { user, pass: "wrong" } });
    const error = await wrong.verify().then(() => null, (error) => error);
    if (!error || error.responseCode !== 535) throw Error("a wrong password: " + error);
    wrong.close();
  }
})().catch((error) => { console.error(error); process.exit(1); });
"""


class Cases:
    """The cases, over one server."""

    def __init__(self, bench, program):
        self.bench = bench
        self.served = Served(bench, program, arguments=["--max-message", str(LIMIT)])
        self.pair = Authority(bench.folder("authority")).issue("right")
        # A daemon that dropped root privileges cannot read the server's own directory.
        with open(self.served.ca) as file:
            self.ca = bench.file("ca.pem", file.read())

    def all(self):
        for name, body in [
            ("aiosmtplib_both_tls_modes_and_a_wrong_password", self.aiosmtplib),
            ("nodemailer_both_tls_modes_and_a_wrong_password", self.nodemailer),
            ("postfix_relays_many_messages_for_many_recipients", self.postfix),
            ("exim_relays_in_chunks", self.exim),
            ("rejects_only_the_message_above_the_limit", self.too_large),
            ("fetchmail_collects_by_both_tls_modes", self.fetchmail),
            ("offlineimap_pulls_and_pushes", self.offlineimap),
        ]:
            self.bench.case("submitters." + name, body)

    # -- tools ---------------------------------------------------------------------------------------------------

    def box(self):
        context = ssl.create_default_context(cafile=self.served.ca)
        client = imaplib.IMAP4_SSL("localhost", self.served.ports["imaps"], ssl_context=context)
        client.login(self.served.user, self.served.password)
        client.select()
        return client

    def found(self, subject):
        """The bytes of every message of that subject."""
        client = self.box()
        numbers = client.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
        got = [client.fetch(number, "(BODY.PEEK[])")[1][0][1] for number in numbers]
        client.logout()
        return got

    def emptied(self):
        client = self.box()
        if client.search(None, "ALL")[1][0]:
            client.store("1:*", "+FLAGS.SILENT", "(\\Deleted)")
            client.expunge()
        client.logout()

    def ports(self):
        return self.served.ports["smtp"], self.served.ports["smtps"]

    # -- cases ---------------------------------------------------------------------------------------------------

    def aiosmtplib(self):
        served = self.served
        program = self.bench.file("submit.py", AIOSMTPLIB)
        self.bench.run([installed("python/bin/python"), program, *self.ports(), served.ca, served.user, served.password,
                        served.address]).expect(0)
        got = self.found("aiosmtplib")
        check(len(got) == 2 and all(one.endswith(b"\r\n\r\n.\r\n..two\r\n") for one in got), f"{got}")

    def nodemailer(self):
        served = self.served
        installed("node/node_modules/nodemailer")
        env = dict(os.environ, NODE_PATH=NODE_MODULES, NODE_EXTRA_CA_CERTS=served.ca)
        self.bench.run(["node", self.bench.file("submit.js", NODEMAILER), *self.ports(), served.user, served.password,
                        served.address], env=env).expect(0)
        got = self.found("nodemailer")
        check(len(got) == 2 and all(b"\r\n.\r\n" in one for one in got), f"{got}")

    def postfix(self, messages=30, recipients=10):
        """smtp-source supports neither TLS nor AUTH: Postfix accepts its mail and relays it with both."""
        served, port = self.served, self.served.ports["smtp"]
        names = self.bench.file("canonical", f"/^([0-9]+){served.user}@(.*)$/ {served.user}+$1@$2\n")
        postfix = Postfix(self.bench, self.pair, Dovecot(self.bench, self.pair), f"""
relayhost = [localhost]:{port}
smtp_host_lookup = native
smtp_tls_security_level = secure
smtp_tls_CAfile = {self.ca}
smtp_sasl_auth_enable = yes
smtp_sasl_security_options = noanonymous
smtp_sasl_password_maps = inline:{{ {{[localhost]:{port}={served.user}:{served.password}}} }}
recipient_canonical_maps = regexp:{names}
virtual_mailbox_domains =
""")
        try:
            self.bench.run(["smtp-source", "-s", 4, "-m", messages, "-r", recipients, "-l", 4000, "-S", "relayed",
                            "-f", "a@x.example", "-t", served.address, f"127.0.0.1:{postfix.unguarded}"]).expect(0)
            try:
                wait_for("Postfix's mail", lambda: len(self.found("relayed")) >= messages, 20)
            finally:
                with open(f"{postfix.folder}/log") as log:
                    noted = [line for line in log.read().splitlines() if "/smtp[" in line]
                for line in noted[-8:]:
                    self.bench.say(line)
            check(len(self.found("relayed")) == messages, "a message came twice")
            sent = sum("status=sent" in line for line in noted)
            check(sent == messages * recipients, f"{sent} recipients were told of, not {messages * recipients}")
        finally:
            postfix.stop()

    def exim(self):
        served = self.served
        exim = Exim(self.bench, self.pair, (served.ports["smtp"], self.ca, served.user, served.password))
        with smtplib.SMTP("localhost", exim.smtp, timeout=20) as client:
            client.starttls(context=ssl._create_unverified_context())
            client.login("alice", "password")
            body = b"Subject: in chunks\r\n\r\n" + b".\r\n..\r\n" + b"x" * 70 + b"\r\n"
            client.sendmail("bob@example.test", [f"{served.user}@served.test"], body)
        try:
            wait_for("Exim's mail", lambda: self.found("in chunks"), 10)
        finally:
            for line in exim.log().splitlines()[-8:]:
                self.bench.say(line)
        check(self.found("in chunks")[0].endswith(body.split(b"\r\n\r\n")[1]), "it came back changed")
        line = next(line for line in exim.log().splitlines() if " => " in line)
        check(" CV=yes" in line and " A=plain" in line, f"not verified or not authenticated: {line}")
        check(" K " in line, f"not in chunks: {line}")
        self.bench.stop(exim.process)

    def too_large(self):
        context = ssl.create_default_context(cafile=self.served.ca)
        with smtplib.SMTP_SSL("localhost", self.served.ports["smtps"], context=context, timeout=20) as client:
            client.login(self.served.user, self.served.password)
            check(client.esmtp_features["size"] == str(LIMIT), f"{client.esmtp_features}")
            check(client.mail("a@x.example", [f"size={LIMIT + 1}"])[0] == 552, "a declared size above the limit")
            client.mail("a@x.example")
            client.rcpt(self.served.address)
            code, _ = client.data(b"Subject: too large\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 30_000)
            check(code == 552, f"{code} and not 552")
            client.sendmail("a@x.example", [self.served.address], b"Subject: after it\r\n\r\nhi\r\n")
        check(not self.found("too large") and len(self.found("after it")) == 1, "the wrong one was kept")

    def fetchmail(self):
        served = self.served
        for service, way in (("imaps", "ssl"), ("imap", "sslproto 'TLS1.2+'")):
            self.emptied()
            client = self.box()
            client.append("INBOX", None, None, b"From: a@x.example\r\nSubject: collected\r\n\r\nhi\r\n.\r\n")
            client.logout()
            folder = self.bench.folder("fetched")
            settings = self.bench.file("fetchmailrc", f"""
poll localhost protocol IMAP service {served.ports[service]} user "{served.user}" password "{served.password}"
  {way} sslcertck sslcertfile {served.ca} fetchall no keep mda "/bin/cat >>{folder}/mail"
""")
            os.chmod(settings, 0o600)
            self.bench.run(["fetchmail", "-f", settings, "--pidfile", f"{folder}/pid", "--nosyslog"],
                           env=dict(os.environ, HOME=folder)).expect(0)
            with open(f"{folder}/mail", "rb") as file:
                check(b"Subject: collected" in file.read(), f"nothing was collected over {service}")
            check(not self.found("collected"), "it is still on the server")

    def offlineimap(self):
        served = self.served
        self.emptied()
        client = self.box()
        client.append("INBOX", "(\\Flagged)", None, b"Subject: pulled\r\n\r\nhi\r\n")
        client.logout()
        folder = self.bench.folder("offline")
        settings = self.bench.file("offlineimaprc", f"""
[general]
accounts = here
metadata = {folder}/meta
ui = quiet
[Account here]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {folder}/mail
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {served.ports["imaps"]}
remoteuser = {served.user}
remotepass = {served.password}
ssl = yes
sslcacertfile = {served.ca}
folderfilter = lambda name: name == 'INBOX'
""")
        self.bench.run(["offlineimap", "-c", settings, "-o"]).expect(0)
        names = glob.glob(f"{folder}/mail/INBOX/*/*")
        check(len(names) == 1 and names[0].endswith("F"), f"one flagged message was there, here are {names}")
        with open(f"{folder}/mail/INBOX/new/1.1.here", "wb") as file:
            file.write(b"Subject: pushed\n\nhi\n")
        self.bench.run(["offlineimap", "-c", settings, "-o"]).expect(0)
        check(len(self.found("pushed")) == 1, "the pushed message is not there")


def run(bench, program):
    """Every case of this file."""
    Cases(bench, program).all()
