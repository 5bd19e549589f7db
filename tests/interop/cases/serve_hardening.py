"""`mailwire serve` against clients that break the rules of TLS, SMTP and IMAP: each affects only its own session."""

import base64
import os
import socket
import ssl
import stat
import time

from harness import check


class HardeningCases:
    """The cases, with the tools of the other ones and over their server."""

    def __init__(self, tools):
        self.tools, self.bench, self.served = tools, tools.bench, tools.served

    def all(self):
        for name, body in [
            ("submission.neither_offers_nor_accepts_auth_before_tls", self.auth_before_tls),
            ("submission.requires_a_new_ehlo_after_tls", self.ehlo_again),
            ("submission.rejects_old_tls", self.old_tls),
            ("submission.keys_are_private_and_the_certificate_names_localhost", self.keys),
            ("submission.rejects_bytes_after_starttls", self.injection),
            ("import.answers_login_before_tls_with_privacyrequired", self.login_before_tls),
            ("serve.bad_smtp_input_affects_only_its_session", self.bad_smtp),
            ("serve.bad_imap_input_affects_only_its_session", self.bad_imap),
            ("serve.unfinished_literals_and_early_commands_affect_no_other_session", self.rude),
        ]:
            self.bench.case(name, body, seconds=120)

    def auth_before_tls(self):
        secret = base64.b64encode(b"\0u\0p")
        said = self.tools.plain("smtp", [b"EHLO c.example\r\n", b"AUTH PLAIN " + secret + b"\r\n", b"AUTH LOGIN\r\n", b"QUIT\r\n"])
        check(b"STARTTLS" in said and b"AUTH " not in said.split(b"HELP")[0], f"offered in cleartext: {said!r}")
        refusals = said.count(b"530 5.7.0")
        check(refusals == 2 and b"334" not in said, f"not refused: {said!r}")

    def ehlo_again(self):
        with socket.create_connection(("127.0.0.1", self.served.ports["smtp"]), timeout=5) as raw:
            raw.recv(1000)
            raw.sendall(b"EHLO c.example\r\n")
            time.sleep(0.2)
            raw.recv(4000)
            raw.sendall(b"STARTTLS\r\n")
            check(raw.recv(1000).startswith(b"220"), "STARTTLS was refused")
            with self.tools.context().wrap_socket(raw, server_hostname="localhost") as secured:
                secured.sendall(b"MAIL FROM:<a@b.example>\r\n")
                check(secured.recv(1000)[:3] in (b"503", b"530"), "MAIL was taken without a new EHLO")
                secured.sendall(b"EHLO c.example\r\n")
                said = secured.recv(4000)
                check(b" PLAIN " in said and b"STARTTLS" not in said, f"after TLS: {said!r}")

    def old_tls(self):
        for service in ("smtps", "imaps"):
            done = self.bench.run(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{self.served.ports[service]}", "-tls1_1",
                 "-cipher", "ALL:@SECLEVEL=0"])
            check(done.status != 0, f"TLS 1.1 was taken on {service}")
            for version in ("-tls1_2", "-tls1_3"):
                self.bench.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.served.ports[service]}", version,
                                "-verify_return_error", "-CAfile", self.served.ca]).expect(0)

    def keys(self):
        found = [os.path.join(root, name) for root, _, names in os.walk(self.served.folder) for name in names if "key" in name]
        check(len(found) >= 2, "there are no keys")
        for path in found:
            check(stat.S_IMODE(os.stat(path).st_mode) == 0o600, f"{path} can be read by others")
        certificate = ssl.get_server_certificate(("127.0.0.1", self.served.ports["imaps"]))
        text = self.bench.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], stdin=certificate.encode())
        check("DNS:localhost" in text.text, f"names: {text.text}")

    def injection(self):
        said = self.tools.plain("smtp", [b"EHLO c.example\r\n", b"STARTTLS\r\nRSET\r\nNOOP\r\n"])
        check(said.count(b"250 2.") == 0, f"a command after STARTTLS was answered: {said!r}")
        said = self.tools.plain("imap", [b"a STARTTLS\r\nb CAPABILITY\r\nc LOGOUT\r\n"])
        check(b"b OK" not in said and b"c OK" not in said, f"a command after STARTTLS was answered: {said!r}")

    def login_before_tls(self):
        said = self.tools.plain("imap", [b"a CAPABILITY\r\n", b"b LOGIN u {1+}\r\np\r\n", b"c LOGIN u {1}\r\n", b"d AUTHENTICATE PLAIN\r\n", b"e NOOP\r\n"])
        check(b"LOGINDISABLED" in said and b" AUTH=" not in said, f"offered in cleartext: {said!r}")
        check(said.count(b"[PRIVACYREQUIRED]") == 3, f"not refused: {said!r}")
        check(b"\n+ " not in said and b"e OK" in said, f"a password was asked for: {said!r}")

    def bad_smtp(self):
        client = self.tools.smtp()
        sock = client.sock

        def ask(bytes):
            sock.sendall(bytes)
            return client.getreply()[0]

        check(ask(b"FROB x\r\n") == 500, "unknown command")
        check(ask(b"MAIL FROM:<a@\xff\xfe>\r\n") in (500, 501, 553, 555), "bytes that are not UTF-8")
        check(ask(b"RCPT TO:<a@b.example>\r\n") == 503, "RCPT before MAIL")
        check(ask(b"DATA\r\n") == 503, "DATA before MAIL")
        check(ask(b"MAIL FROM:<a@b\0.example>\r\n") in (500, 501), "NUL")
        check(ask(b"MAIL FROM:<" + b"a" * 100000 + b"@b.example>\r\n") in (500, 501), "a line of 100,000 bytes")
        check(ask(b"MAIL FROM:<a@b.example> SIZE=99999999999\r\n") == 552, "a declared size above the limit")
        check(ask(b"MAIL FROM:<a@b.example>\r\n") == 250, "the session goes on")
        check(ask(b"RCPT TO:<%s>\r\n" % self.served.address.encode()) == 250, "RCPT")
        check(ask(b"DATA\r\n") == 354, "DATA")
        check(ask(b"x\n.\nMAIL FROM:<evil@b.example>\r\n.\r\n") in (500, 550, 554), "a bare LF in a message")
        check(ask(b"NOOP\r\n") == 250, "exactly one reply to the message")
        client.quit()
        self.tools.alive()

    def bad_imap(self):
        client = self.tools.imap_implicit()

        def ask(bytes, tag):
            client.send(bytes)
            line = client.readline()
            while not line.startswith((tag, b"* BAD", b"* BYE")):
                line = client.readline()
            return line

        check(ask(b"x1 FROB\r\n", b"x1").startswith(b"x1 BAD"), "unknown command")
        check(ask(b"x2 FETCH 1 FLAGS\r\n", b"x2").startswith(b"x2 BAD"), "FETCH before SELECT")
        check(ask(b"x3 SELECT\r\n", b"x3").startswith(b"x3 BAD"), "SELECT of nothing")
        check(ask(b"x4 SELECT \"a\0b\"\r\n", b"x4").startswith((b"x4 BAD", b"* BAD")), "NUL")
        check(not ask(b"x5 SELECT \"\xff\xfe\"\r\n", b"x5").startswith(b"x5 OK"), "bytes that are not UTF-8")
        check(not ask(b"x6 SELECT {99999999}\r\n", b"x6").startswith(b"+"), "a literal of 100 MB for a name")
        check(ask(b"x7 NOOP\r\n", b"x7").startswith(b"x7 OK"), "the session goes on")
        check(not ask(b"x8 APPEND INBOX {9999999999999}\r\n", b"x8").startswith(b"+"), "a literal of 10 TB")
        check(ask(b"x9 NOOP\r\n", b"x9").startswith(b"x9 OK"), "the session goes on after a refused literal")
        client.logout()
        client = self.tools.imap_implicit()
        client.send(b"y1 SELECT " + b"a" * 200_000 + b"\r\n")
        line = client.readline()
        check(b"BAD" in line or b"BYE" in line, f"a line of 200,000 bytes: {line!r}")
        self.tools.alive()

    def rude(self):
        client = self.tools.imap_implicit()
        client.send(b"z1 APPEND INBOX {100}\r\n")
        client.readline()
        client.send(b"half of it")
        client.sock.close()
        before = self.tools.count()
        with socket.create_connection(("127.0.0.1", self.served.ports["smtp"]), timeout=5) as early:
            early.sendall(b"EHLO impatient.example\r\n" * 3)
            early.recv(1000)
        for service in ("smtps", "imaps"):
            with socket.create_connection(("127.0.0.1", self.served.ports[service]), timeout=5) as clear:
                clear.sendall(b"a LOGIN u p\r\n")
                clear.recv(1000)
        check(self.tools.count() == before, "half a message was kept")
        self.tools.alive()
