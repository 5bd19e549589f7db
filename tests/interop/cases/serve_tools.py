"""What the cases of `mailwire serve` share: one server, its messages, and short ways to reach it."""

import base64
import imaplib
import smtplib
import socket
import ssl
import time

from harness import check
from servers import Served


def messages():
    """Messages that programs often corrupt, with CRLF line ends."""
    head = b"From: a@example.test\r\nTo: b@example.test\r\nSubject: %s\r\n"
    attachment = base64.encodebytes(bytes(range(256)) * 9000).replace(b"\n", b"\r\n")
    return {
        "plain": head % b"plain" + b"\r\nhello\r\n",
        "dots": head % b"dots" + b"\r\n.\r\n..\r\n.two\r\nend.\r\n.\r\n",
        "empty": head % b"empty" + b"\r\n",
        "long": head % b"long" + b"\r\n" + b"x" * 998 + b"\r\n",
        "eight": head % b"eight" + b"Content-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe \xff\r\n",
        "spaces": head % b"spaces" + b"\r\n \t trailing \t \r\n\r\n\r\n",
        "large": head % b"large" + b"\r\n" + attachment,
    }


def letter(number):
    """A short message, different in each call."""
    return b"Subject: %d\r\n\r\n" % number + b"x" * 70 + b"\r\n"


def send_pipelined(client, address, number):
    """Sends that many messages over an open session, some ahead of the replies, and returns the seconds it took.

    It is never so far ahead that both sides block in writing.
    """
    head = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<%s>\r\nDATA\r\n" % address.encode()
    reader = client.sock.makefile("rb")
    began = time.monotonic()
    sent = replies = 0
    while replies < number * 4:
        while sent < number and sent * 4 - replies < 400:
            client.sock.sendall(head + letter(sent) + b".\r\n")
            sent += 1
        code = reader.readline()[:3]
        check(code in (b"250", b"354"), f"reply {replies}: {code!r}")
        replies += 1
    return time.monotonic() - began


def fetch_all(box):
    """Every message of the open mailbox with one FETCH, and the seconds it took."""
    began = time.monotonic()
    got = [part[1] for part in box.fetch("1:*", "(UID BODY.PEEK[])")[1] if isinstance(part, tuple)]
    return got, time.monotonic() - began


class ServeTools:
    """A server, and short ways to reach it."""

    def __init__(self, bench, program):
        self.bench, self.program = bench, program
        self.served = Served(bench, program)
        self.messages = messages()

    def context(self, ca=None):
        return ssl.create_default_context(cafile=ca or self.served.ca)

    def imap_starttls(self):
        client = imaplib.IMAP4("localhost", self.served.ports["imap"])
        client.starttls(self.context())
        client.login(self.served.user, self.served.password)
        return client

    def imap_implicit(self):
        client = imaplib.IMAP4_SSL("localhost", self.served.ports["imaps"], ssl_context=self.context())
        client.login(self.served.user, self.served.password)
        return client

    def smtp(self):
        client = smtplib.SMTP("localhost", self.served.ports["smtp"], timeout=20)
        client.starttls(context=self.context())
        client.login(self.served.user, self.served.password)
        return client

    def curl(self, *arguments, ca=None):
        served = self.served
        return self.bench.run(["curl", "-sS", "--cacert", ca or served.ca, "-u", f"{served.user}:{served.password}", *arguments])

    def curl_send(self, path, url, *more, ca=None):
        return self.curl(
            "--mail-from", "sender@example.test", "--mail-rcpt", self.served.address, "-T", path, *more, url, ca=ca
        )

    def url(self, service, path=""):
        scheme = {"smtp": "smtp", "smtps": "smtps", "imap": "imap", "imaps": "imaps"}[service]
        return f"{scheme}://localhost:{self.served.ports[service]}/{path}"

    def emptied(self):
        """A session whose INBOX is empty."""
        client = self.imap_implicit()
        client.select()
        client.store("1:*", "+FLAGS.SILENT", "(\\Deleted)") if client.search(None, "ALL")[1][0] else None
        client.expunge()
        return client

    def plain(self, service, lines, wait=3):
        """Sends raw bytes in cleartext and returns all that comes back within `wait` seconds or until it closes."""
        with socket.create_connection(("127.0.0.1", self.served.ports[service]), timeout=wait) as connection:
            received = connection.recv(4096)
            for line in lines:
                connection.sendall(line)
                time.sleep(0.15)
                connection.settimeout(0.3)
                try:
                    while True:
                        part = connection.recv(65536)
                        if not part:
                            return received
                        received += part
                except TimeoutError:
                    pass
            return received

    def alive(self):
        client = self.imap_implicit()
        check(client.noop()[0] == "OK", "the server answers no more")
        client.logout()
        check(self.smtp().quit()[0] == 221, "submission answers no more")

    def count(self):
        client = self.imap_implicit()
        count = int(client.select(readonly=True)[1][0])
        client.logout()
        return count
