"""Attacks on `mailwire serve` by unknown clients.

The cases observe sockets, memory and time from outside, and know nothing of the implementation.
"""

import base64
import concurrent.futures
import os
import re
import resource
import socket
import ssl
import subprocess
import time

from harness import Failure, check
from servers import Served

# More than this, in KiB, is a leak.
GROWTH = 40 * 1024


def at_once(work, items):
    """Calls `work` with every item in parallel, since the cases mostly wait."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=40) as pool:
        return list(pool.map(work, items))


class Wire:
    """A raw connection that may break the protocol."""

    def __init__(self, port, tls=False, context=None, seconds=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.context = context or ssl._create_unverified_context()
        self.rest, self.ended = b"", False
        if tls:
            self.tls()

    def tls(self, session=None):
        self.socket = self.context.wrap_socket(self.socket, server_hostname="localhost", session=session)

    def send(self, bytes):
        self.socket.sendall(bytes)

    def _more(self, seconds):
        self.socket.settimeout(max(seconds, 0.01))
        try:
            bytes = self.socket.recv(65536)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except OSError:
            bytes = b""
        self.ended = not bytes
        self.rest += bytes
        return bool(bytes)

    def line(self, seconds=15):
        while b"\n" not in self.rest:
            if not self._more(seconds):
                line, self.rest = self.rest, b""
                return line
        line, _, self.rest = self.rest.partition(b"\n")
        return line + b"\n"

    def reply(self):
        """A whole SMTP reply."""
        said = b""
        while True:
            line = self.line()
            said += line
            if line[3:4] != b"-":
                return said

    def until(self, tag, seconds=20):
        """All IMAP responses up to this tag."""
        said = b""
        while True:
            line = self.line(seconds)
            said += line
            if not line or line.startswith(tag + b" "):
                return said

    def everything(self, seconds=0.4):
        """All further input, until the server is silent for this long or closes."""
        while self._more(seconds):
            pass
        said, self.rest = self.rest, b""
        return said

    def close(self):
        self.socket.close()


class Strangers:
    """Attacks on the server."""

    def __init__(self, bench, program):
        self.bench, self.program = bench, program
        limits = "sessions = 60\nsessions-per-address = 40\ncommand-timeout = 2\nmessage-timeout = 2\ntls-timeout = 2\n"
        self.hurried = Served(bench, program, arguments=["--config", bench.file("hurried.toml", "[serve]\n" + limits)])
        self.served = Served(bench, program)

    def all(self):
        case = self.bench.case
        for name, body in [
            ("serve.rejects_bytes_after_starttls_in_any_packet", self.starttls),
            ("serve.offers_no_authentication_before_tls", self.before_tls),
            ("serve.accepts_only_one_end_of_data", self.smuggling),
            ("serve.does_not_deliver_truncated_messages", self.cut),
            ("serve.disconnects_slow_clients", self.slow),
            ("serve.limits_a_flood_of_connections", self.flood),
            ("serve.malicious_commands_cost_little", self.costs),
            ("serve.clients_that_do_not_read_cost_little", self.unread),
            ("serve.guessing_is_slow_and_reveals_nothing", self.guessing),
            ("serve.guessing_costs_no_memory", self.memory_of_guessing),
            ("serve.mailbox_names_are_never_paths", self.mailboxes),
            ("serve.stored_messages_cannot_split_responses", self.splitting),
            ("serve.a_resumed_tls_session_is_not_logged_in", self.resumption),
            ("serve.recovers_after_running_out_of_files", self.files),
        ]:
            case(name, body)

    def submit(self, served=None, login=True):
        served = served or self.served
        wire = Wire(served.ports["smtps"], tls=True)
        wire.reply()
        wire.send(b"EHLO x.test\r\n")
        wire.reply()
        if login:
            secret = base64.b64encode(f"\0{served.user}\0{served.password}".encode())
            wire.send(b"AUTH PLAIN " + secret + b"\r\n")
            check(wire.reply().startswith(b"235"), "not logged in")
        return wire

    def read(self, served=None):
        served = served or self.served
        wire = Wire(served.ports["imaps"], tls=True)
        wire.line()
        wire.send(f"a LOGIN {served.user} {served.password}\r\n".encode())
        check(b"a OK" in wire.until(b"a"), "not logged in")
        return wire

    def count(self):
        wire = self.read()
        wire.send(b"s STATUS INBOX (MESSAGES)\r\n")
        said = wire.until(b"s")
        wire.close()
        return int(re.search(rb"MESSAGES (\d+)", said)[1])

    def starttls(self):
        smtp, imap = self.served.ports["smtp"], self.served.ports["imap"]
        hello = ssl._create_unverified_context()

        def client_hello():
            bytes = ssl.MemoryBIO()
            try:
                hello.wrap_bio(ssl.MemoryBIO(), bytes, server_hostname="localhost").do_handshake()
            except ssl.SSLWantReadError:
                return bytes.read()

        cases = []
        for port, before, command, injected in [
            (smtp, b"EHLO x\r\n", b"STARTTLS\r\n", [b"NOOP\r\n", b"MAIL FROM:<a@b>\r\n", b"\r\n", b"N", b"\0"]),
            (imap, b"", b"a STARTTLS\r\n", [b"b NOOP\r\n", b"b LOGIN {5+}\r\nab", b"\r\n", b"b"]),
        ]:
            for bytes in injected:
                cases.append((port, before, [command + bytes]))
                cases.append((port, before, [command, bytes]))
                cases.append((port, before, [command + bytes + client_hello()]))
                cases.append((port, before, [command, bytes + client_hello()]))
            cases.append((port, b"", [before + command + injected[0]]))
            # TLS before the reply to STARTTLS counts as an injection.
            cases.append((port, before, [command + client_hello()]))

        def attack(one):
            port, before, writes = one
            wire = Wire(port)
            wire.line()
            if before:
                wire.send(before)
                wire.reply()
            wire.everything(0.1)
            for bytes in writes:
                try:
                    wire.send(bytes)
                except OSError:
                    break
                time.sleep(0.15)
            said = wire.everything(2)
            check(wire.ended, f"still open after {writes[-1][:30]!r}: {said[-200:]!r}")
            told = said.count(b"220 ") + said.count(b"a OK") + said.count(b"250 2") + said.count(b"b ")
            check(told <= 1 and b"\x16\x03" not in said, f"continued after {writes!r}: {said[-200:]!r}")

        at_once(attack, cases)
        self.bench.note(f"{len(cases)} ways")

    def before_tls(self):
        def attack(one):
            port, said = one
            wire = Wire(port)
            wire.line()
            wire.send(said)
            answer = wire.everything(0.5)
            bad = [line for line in answer.splitlines() if line[:1] == b"+" or line[:4] in (b"334 ", b"235 ")]
            check(not bad and b" OK" not in answer.replace(b"2.0.0 OK", b""), f"{said!r}: {answer!r}")

        imap, smtp = self.served.ports["imap"], self.served.ports["smtp"]
        lines = [b"a LOGIN u p", b"a LOGIN {1}", b"a LOGIN {1+}\r\nu {1+}\r\np", b'a login "u" "p"', b"a LOGIN {99999999999999999999}"]
        lines += [b"a AUTHENTICATE PLAIN", b"a AUTHENTICATE PLAIN AHUAcA==", b"a AUTHENTICATE SCRAM-SHA-256", b"a SELECT INBOX"]
        cases = [(imap, line + b"\r\n") for line in lines]
        for line in [b"AUTH PLAIN", b"AUTH PLAIN AHUAcA==", b"AUTH LOGIN", b"AUTH SCRAM-SHA-256", b"auth cram-md5"]:
            cases.append((smtp, b"EHLO x\r\n" + line + b"\r\n"))
        at_once(attack, cases)

    def send_data(self, body):
        wire = self.submit()
        for line in (b"MAIL FROM:<a@b.example>", b"RCPT TO:<%s>" % self.served.address.encode(), b"DATA"):
            wire.send(line + b"\r\n")
            said = wire.reply()
        check(said.startswith(b"354"), f"{said!r}")
        wire.send(body)
        return wire

    def smuggling(self):
        before = self.count()
        smuggled = b"MAIL FROM:<evil@x>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n" % self.served.address.encode()
        ends = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r", b"\r.\n", b"\r\n\0.\r\n", b"\r\n.\0\r\n"]
        ends += [b"\r\n.\r\r\n", b"\r\r\n.\r\r\n", b"\r\n\r.\r\n", b"\r\n.\n\r\n", b"\r\n. \r\n", b"\xc2\x85.\xc2\x85", b"\x0b.\x0c"]

        def attack(end):
            wire = self.send_data(b"Subject: x\r\n\r\nhi" + end + smuggled)
            said = wire.everything(1)
            check(len(said.splitlines()) == 1, f"{end!r}: {said!r}")
            return said.startswith(b"250")

        taken = sum(at_once(attack, ends))
        check(self.count() == before + taken, "more messages than answers")

    def cut(self):
        before = self.count()
        address = self.served.address.encode()

        def half_close(wire):
            # Closes our side of TCP, without a TLS alert.
            with socket.socket(fileno=os.dup(wire.socket.fileno())) as bare:
                bare.shutdown(socket.SHUT_WR)

        def close_notify(wire):
            wire.socket.settimeout(1)
            try:
                wire.socket.unwrap()
            except OSError:
                pass

        def data(end):
            wire = self.send_data(b"Subject: x\r\n\r\nhalf" + end[0])
            end[1](wire)
            check(not wire.everything(0.5).startswith(b"250"), f"{end!r} was taken")
            wire.close()

        ways = [half_close, close_notify, Wire.close]
        at_once(data, [(tail, way) for tail in (b"\r\n", b"\r\n.", b"\r\n.\r") for way in ways[:2]])

        def chunk(way):
            wire = self.submit()
            wire.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<" + address + b">\r\nBDAT 100 LAST\r\nSubject: half")
            wire.everything(0.3)
            way(wire)

        def append(way):
            for bytes in (b"a APPEND INBOX {100+}\r\nSubject: half", b"a APPEND INBOX {4+}\r\nhalf"):
                wire = self.read()
                wire.send(bytes)
                wire.everything(0.2)
                way(wire)

        at_once(chunk, ways)
        at_once(append, ways)
        time.sleep(0.5)
        check(self.count() == before, "half a message was delivered")

    def slow(self):
        hello = iter(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600))
        nothing = lambda: b""
        ports = self.hurried.ports

        def login(wire):
            wire.tls()
            wire.line()
            wire.send(f"a LOGIN {self.hurried.user} {self.hurried.password}\r\n".encode())
            check(b"a OK" in wire.until(b"a"), "not logged in")

        def then(*steps):
            def begin(wire):
                for step in steps:
                    step(wire) if callable(step) else (wire.send(step), wire.everything(0.2))

            return begin

        cases = [(ports[name], then(), nothing) for name in ("smtp", "smtps", "imap", "imaps")]
        cases += [(ports[name], then(), lambda: b"a") for name in ("smtp", "imap")]
        cases += [
            (ports["smtps"], then(), lambda: bytes([next(hello)])),
            (ports["smtp"], then(b"", b"EHLO x\r\n", b"STARTTLS\r\n"), nothing),
            (ports["imap"], then(b"", b"a STARTTLS\r\n"), nothing),
            (ports["imaps"], then(login), nothing),
            (ports["imaps"], then(login, b"b CREATE {1000+}\r\nabc"), lambda: b"x"),
            (ports["imaps"], then(login, b"b APPEND INBOX {1000+}\r\nabc"), nothing),
        ]

        def attack(one):
            port, begin, drop = one
            wire = Wire(port)
            begin(wire)
            began = time.monotonic()
            while not wire.ended and time.monotonic() - began < 12:
                try:
                    if bytes := drop():
                        wire.send(bytes)
                except OSError:
                    return
                wire._more(0.3)
            check(wire.ended, f"case {cases.index(one)} is still open after 12 s")

        at_once(attack, cases)

    def flood(self):
        ports = self.hurried.ports
        for port, refusal in [(ports["smtp"], b"421 "), (ports["imap"], b"* BYE ")]:
            time.sleep(0.3)
            wires = [Wire(port) for _ in range(90)]
            said = [wire.line() for wire in wires]
            welcome = sum(not line.startswith(refusal) for line in said)
            check(welcome <= 40 and sum(line.startswith(refusal) for line in said) >= 50, f"{welcome} were let in")
            for wire in wires:
                wire.close()
        time.sleep(0.3)
        self.read(self.hurried).close()

    def costs(self):
        process = self.served.process
        said = [b"x" * 1_000_000, b"a " + b"x" * 1_000_000, b"a SEARCH " + b"(" * 100_000 + b"\r\n", b"\0" * 100_000, b"\xff\r\n" * 9999]
        said += [b"a SEARCH " + b"(" * 4000 + b"ALL" + b")" * 4000 + b"\r\n", b"a SEARCH " + b"NOT " * 1900 + b"ALL\r\n"]
        said += [b'a LIST "" "' + b"*a" * 3000 + b'b"\r\n', b"a UID FETCH " + b",".join([b"1:4294967295"] * 600) + b" FLAGS\r\n"]
        said += [b"a CREATE {%s}\r\n" % size for size in (b"4294967296", b"99999999999999999999", b"-1", b"5+", b"")]
        said += [b"a APPEND INBOX {%s}\r\n" % size for size in (b"4294967296", b"9223372036854775807", b"-1", b"")]
        said += [b"FOO\r\n" * 3000, b"NOOP\r\n" * 3000, b"a NOOP\r\n" * 3000, b"BDAT 18446744073709551616 LAST\r\nx\r\n"]
        said += [b"MAIL FROM:<" + b"a" * 9000 + b"@b>\r\n", b"MAIL FROM:<a@b>\r\n" + b"RCPT TO:<c@d>\r\n" * 3000]
        before, began = process.peak_kib(), time.monotonic()

        def attack(bytes):
            for wire in (self.submit(login=False), self.submit(), self.read()):
                try:
                    wire.send(bytes)
                    wire.everything(0.3)
                except OSError:
                    pass
                wire.close()

        at_once(attack, said)
        grown = process.peak_kib() - before
        check(process.alive() and grown < GROWTH, f"{grown} KiB more")
        self.bench.note(f"{grown} KiB more, {time.monotonic() - began:.1f} s")
        self.read().close()

    def unread(self):
        process = self.served.process
        before = process.peak_kib()
        wires = [self.read() for _ in range(5)]
        for wire in wires:
            wire.socket.settimeout(0.5)
            try:
                for _ in range(3000):
                    wire.send(b"t CAPABILITY\r\n" * 1000)
                raise Failure("42 MB of commands were read while no answer was")
            except TimeoutError:
                pass
        check(process.peak_kib() - before < GROWTH, f"{process.peak_kib() - before} KiB more")
        for wire in wires:
            wire.close()

    def guessing(self):
        user = self.served.user

        def guess(name):
            wire = Wire(self.served.ports["imaps"], tls=True)
            wire.line()
            said, times = set(), []
            for number in range(4):
                began = time.monotonic()
                wire.send(f"a LOGIN {name} wrong{number}\r\n".encode())
                said.add(wire.until(b"a"))
                times.append(time.monotonic() - began)
                if wire.ended:
                    break
            check(wire.ended, "guessing has no end")
            return said, times

        (told, long), (told_too, long_too) = at_once(guess, [user, "unknown-user"])
        check(told == told_too, f"{told ^ told_too}")
        check(sum(long) > 4 and sum(long_too) > 4, "guesses are not delayed")
        check(abs(sum(long) - sum(long_too)) < 1.5, f"{long} {long_too}")

    def memory_of_guessing(self):
        process = self.served.process
        before = process.peak_kib()

        def guess(number):
            wire = Wire(self.served.ports["imaps"], tls=True, seconds=30)
            wire.line()
            wire.send(f"a LOGIN {self.served.user} guess{number}\r\n".encode())
            check(b"a NO" in wire.until(b"a", 30), "no answer")
            wire.close()

        at_once(guess, range(30))
        grown = process.peak_kib() - before
        check(grown < 100 * 1024, f"{grown} KiB more")
        self.bench.note(f"{grown} KiB more")

    def mailboxes(self):
        files = lambda: sorted(os.listdir(self.served.folder)) + sorted(os.listdir(os.path.dirname(self.served.folder)))
        before = files()
        wire = self.read()

        def create(name):
            wire.send(b"c CREATE {%d+}\r\n" % len(name) + name + b"\r\n")
            said = wire.until(b"c")
            check(len(said.splitlines()) == 1, f"{name!r}: {said!r}")
            return said.startswith(b"c OK")

        for name in [b"../../../x", b"..", b"a/../../b", b"~root"]:
            create(name)
        bad = [b"/etc/x", b"a//b", b"a\r\nb", b"a\0b", b"a\nb", b"\xff\xfe", b"&AAo-", b"&AA0ACg-", b"&AGUDAQ-", b"a%b", b"a*b"]
        bad += [b"inbox", b"x" * 5000, b"/".join([b"d"] * 500)]
        for name in bad:
            check(not create(name), f"{name!r} was created")
        check([name for name in files() if not name.startswith("mail.db")] == [name for name in before if not name.startswith("mail.db")], "there are other files")
        wire.send(b'l LIST "" *\r\n')
        listed = wire.until(b"l")
        check(all(line.startswith((b"* LIST (", b"l OK")) for line in listed.splitlines()), f"{listed!r}")

    def splitting(self):
        evil = b'Subject: =?utf-8?q?a=0D=0A*_BYE_forged?=\r\nFrom: "a\\"b\x01\x7f" <x@y>\r\nTo: a\rb\r\n\t* BYE forged\r\nMessage-ID: <a\nb@c>\r\n'
        evil += b"Content-Type: text/plain; charset=\"x\\\"y\"; name*=utf-8''a%0d%0a*%20BYE%20forged\r\n"
        evil += b'Content-Disposition: attachment; filename="\xff\x1b[2J"\r\nIn-Reply-To: {5}\r\n\r\n* BYE forged\r\n'
        wire = self.read()
        wire.send(b"a APPEND INBOX {%d+}\r\n" % len(evil) + evil + b"\r\ns SELECT INBOX\r\n")
        wire.until(b"s")
        wire.send(b"f FETCH * (ENVELOPE BODYSTRUCTURE FLAGS)\r\n")
        said = wire.until(b"f")
        # Without its literals the response is two lines, and no value in it contains a line end.
        while literal := re.search(rb"\{(\d+)\}\r\n", said):
            said = said[: literal.start()] + said[literal.end() + int(literal[1]) :]
        lines = said.split(b"\r\n")
        check(len(lines) == 3 and lines[1].startswith(b"f OK"), f"{said!r}")
        check(not any(byte in lines[0] for byte in b"\r\n\0"), f"{said!r}")

    def resumption(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl._create_unverified_context()
            context.maximum_version = version
            first = Wire(self.served.ports["imaps"], tls=True, context=context)
            first.line()
            first.send(f"a LOGIN {self.served.user} {self.served.password}\r\n".encode())
            check(b"a OK" in first.until(b"a"), "not logged in")
            session = first.socket.session
            second = Wire(self.served.ports["imaps"], context=context)
            second.tls(session)
            second.line()
            second.send(b"b SELECT INBOX\r\n")
            said = second.until(b"b")
            check(b"b BAD" in said or b"b NO" in said, f"{said!r}")
        asked = f"(echo R; sleep 1) | openssl s_client -tls1_2 -connect 127.0.0.1:{self.served.ports['imaps']}"
        done = subprocess.run(asked, shell=True, capture_output=True, timeout=20)
        check(b"no renegotiation" in done.stdout + done.stderr, "renegotiation")

    def files(self):
        served = Served(self.bench, self.program)
        # The server reserves descriptors by its limit at the start: they run out only if the limit is lowered later.
        pid = served.process.pid
        limit = len(os.listdir(f"/proc/{pid}/fd")) + 20
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        wires = [Wire(served.ports["smtp"]) for _ in range(90)]
        time.sleep(1)
        check(served.process.alive(), "it ended")
        for wire in wires:
            wire.close()
        time.sleep(0.5)
        self.read(served).close()
        said = sum("accepting connections" in line for line in served.process.tail(10_000))
        check(said == 1, f"the log says it {said} times")
        served.stop()


def run(bench, program):
    """All cases."""
    Strangers(bench, program).all()
