"""Malicious servers against `mailwire check`, `folders`, `sync` and `send`.

The cases observe exit statuses, output and time from outside, and know nothing of the implementation.
"""

import base64
import os
import re
import resource
import socket
import ssl
import subprocess
import threading
import time

from authority import Authority
from cases.attacker import at_once
from harness import Failure, check

SECRET = "tR5-oo9w-Kepler"


class Impostor:
    """A scripted server under TLS with a valid certificate."""

    def __init__(self, pair, script, tls=True):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.script, self.rest = script, b""
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*pair)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        try:
            self.socket, _ = self.listener.accept()
            self.socket.settimeout(30)
            if self.context:
                self.socket = self.context.wrap_socket(self.socket, server_side=True)
            self.script(self)
        except (OSError, EOFError):
            pass
        finally:
            self.listener.close()
            self.socket.close()

    def say(self, bytes):
        self.socket.sendall(bytes)

    def line(self):
        while b"\n" not in self.rest:
            bytes = self.socket.recv(65536)
            if not bytes:
                raise EOFError
            self.rest += bytes
        line, _, self.rest = self.rest.partition(b"\n")
        return line.rstrip()

    def hang(self):
        time.sleep(25)

    def flood(self, bytes, most=400_000_000):
        block = bytes * max(1, 65536 // len(bytes))
        for _ in range(most // len(block)):
            self.say(block)


def imap(lies, greeting=b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n"):
    """The script of an IMAP server with one message, which lies about some commands."""
    honest = {
        b"CAPABILITY": b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n",
        b"LIST": b'* LIST () "/" INBOX\r\n',
        b"EXAMINE": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n",
        b"UID FETCH 1:*": b"* 1 FETCH (UID 1)\r\n",
        b"UID FETCH 1 ": b"* 1 FETCH (UID 1 FLAGS () BODY[] {5}\r\nhello)\r\n",
    }

    def script(server):
        greeting(server) if callable(greeting) else server.say(greeting)
        while True:
            tag, _, command = server.line().partition(b" ")
            lie = next((lies[begin] for begin in lies if command.startswith(begin)), None)
            if callable(lie):
                lie(server, tag, command)
            else:
                said = next((honest[begin] for begin in honest if command.startswith(begin)), b"")
                server.say((lie if lie is not None else said) + tag + b" OK done\r\n")

    return script


def smtp(lies, greeting=b"220 x\r\n"):
    """The script of an SMTP server that lies about some verbs; `.` stands for the end of a message."""

    def script(server):
        greeting(server) if callable(greeting) else server.say(greeting)
        while True:
            said = server.line()
            verb = said[:4].upper()
            answer = {b"EHLO": b"250-x\r\n250 AUTH PLAIN\r\n", b"AUTH": b"235 ok\r\n", b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}
            lie = lies.get(verb, answer.get(verb, b"250 ok\r\n"))
            lie(server) if callable(lie) else server.say(lie)
            if verb == b"DATA":
                while server.line() != b".":
                    pass
                lie = lies.get(b".", b"250 ok\r\n")
                lie(server) if callable(lie) else server.say(lie)

    return script


class Impostors:
    """Attacks on `check`, `folders`, `sync` and `send`."""

    def __init__(self, bench, program):
        self.bench, self.program = bench, program
        self.authority = Authority(bench.folder("impostors"))
        self.pair = self.authority.issue("impostor")
        self.env = {**os.environ, "HOME": "/nonexistent", "XDG_DATA_HOME": bench.folder("data"), "MAILWIRE_PASSWORD": SECRET}
        self.count = 0
        self.lock = threading.Lock()

    def all(self):
        case = self.bench.case
        for name, body in [
            ("clients.every_stage_times_out", self.silent),
            ("clients.limit_endless_input", self.endless),
            ("clients.discard_truncated_messages", self.cut),
            ("clients.reject_servers_that_do_not_prove_themselves", self.unproved),
            ("clients.show_no_terminal_control_sequences", self.terminal),
        ]:
            case(name, body)

    def run(self, command, script, more=(), tls=True, timeout=2):
        """Exit status, output, seconds and the peak memory in KiB."""
        server = Impostor(self.pair, script, tls)
        with self.lock:
            self.count += 1
            store = os.path.join(self.bench.directory, f"impostor-{self.count}")
        scheme = {("send", True): "smtps", ("send", False): "smtp", ("check", False): "imap"}.get((command, tls), "imaps")
        line = [self.program, command, f"{scheme}://alice@localhost:{server.port}", "--ca", self.authority.ca, "--timeout", str(timeout)]
        line += {"sync": ["--into", store], "send": ["--from", "a@b.example", "--to", "c@d.example", "--attempts", "1"]}.get(command, [])
        began = time.monotonic()
        child = subprocess.Popen([*line, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.env)
        try:
            shown, _ = child.communicate(b"Subject: x\r\n\r\nbody\r\n", timeout=40)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise Failure(f"{command} did not end within 40 s") from None
        shown = shown.decode("utf-8", "replace")
        check("panicked" not in shown, shown)
        check(not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown), repr(shown[-400:]))
        check(len(shown) < 20_000, f"{command} showed {len(shown)} characters: {shown[:2000]!r}")
        return child.returncode, shown, time.monotonic() - began

    def fails(self, command, script, **how):
        status, shown, took = self.run(command, script, **how)
        check(status in (65, 69, 70, 75, 76, 77), f"status {status}: {shown[-300:]}")
        check(took < 30, f"{took:.1f} s")
        check(not re.search(r"^(success|ok   c@d)", shown, re.M), shown)
        return shown

    def silent(self):
        hang = lambda server, *_: server.hang()
        cases = [("check", imap({}, greeting=hang)), ("check", lambda server: server.hang())]
        cases += [("sync", imap({stage: hang})) for stage in (b"AUTHENTICATE", b"LIST", b"EXAMINE", b"UID FETCH 1:*", b"UID FETCH 1 ")]
        cases += [("send", smtp({stage: hang})) for stage in (b"EHLO", b"AUTH", b"MAIL", b"RCPT", b"DATA")]
        drip = lambda server, *_: [(server.say(b"2"), time.sleep(0.5)) for _ in range(40)]
        lines = lambda server, *_: [(server.say(b"250-x\r\n"), time.sleep(0.5)) for _ in range(40)]
        cases += [("send", smtp({b"MAIL": drip})), ("send", smtp({b"MAIL": lines})), ("check", imap({}, greeting=drip))]
        at_once(lambda one: self.fails(*one), cases)
        never = lambda server: server.hang()
        at_once(lambda one: self.fails(one, never, tls=False), ["check", "send"])

    def endless(self):
        def flood(bytes, before=b""):
            return lambda server, *_: (server.say(before), server.flood(bytes))

        many = b"* CAPABILITY " + b" ".join(b"A%d" % number for number in range(900)) + b"\r\n"
        cases = [
            ("check", imap({}, greeting=flood(b"x", b"* OK "))),
            ("check", imap({b"CAPABILITY": flood(many)}, greeting=b"* OK hi\r\n")),
            ("check", imap({b"AUTHENTICATE": flood(b"QUFB", b"+ ")})),
            ("check", imap({b"AUTHENTICATE": flood(b"+ \r\n")})),
            ("folders", imap({b"LIST": flood(b"x", b'* LIST () "/" "')})),
            ("sync", imap({b"UID FETCH 1:*": flood(b"(", b"* 1 FETCH ")})),
            ("sync", imap({b"UID FETCH 1:*": flood(b"* 1 FETCH (UID 7)\r\n")})),
            ("sync", imap({b"UID FETCH 1 ": flood(b"* 9 FETCH (UID 9 BODY[] {1}\r\nx)\r\n")})),
            ("send", smtp({}, greeting=flood(b"220-x\r\n"))),
            ("send", smtp({b"EHLO": flood(b"250-x\r\n")})),
            ("send", smtp({b"MAIL": flood(b"x", b"250 ")})),
            ("send", smtp({b"AUTH": flood(b"334 \r\n")})),
        ]
        at_once(lambda one: self.fails(*one, timeout=1), cases)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        self.bench.note(f"{peak} KiB at most, of any program so far")

    def cut(self):
        def literal(way):
            def lie(server, *_):
                server.say(b"* 1 FETCH (UID 1 BODY[] {5}\r\nhe")
                way(server)

            return lie

        reset = lambda server: server.socket.shutdown(socket.SHUT_RDWR)
        notify = lambda server: server.socket.unwrap()
        for way in (reset, notify):
            shown = self.fails("sync", imap({b"UID FETCH 1 ": literal(way)}))
            check("1 new" not in shown, shown)
            for said in (b"", b"250 o", b"250-ok\r\n"):
                shown = self.fails("send", smtp({b".": lambda server, said=said, way=way: (server.say(said), way(server))}))
                check("uncertain" in shown, shown)

    def unproved(self):
        def scram(first, final=b"v=AAAA", then=b" OK in\r\n"):
            def lie(server, tag, command):
                nonce = base64.b64decode(command.split()[2]).split(b"r=")[1]
                server.say(b"+ " + base64.b64encode(first.replace(b"%", nonce + b"srv")) + b"\r\n")
                if server.line() != b"*" and final:
                    server.say(b"+ " + base64.b64encode(final) + b"\r\n")
                    server.line()
                server.say(tag + then)

            return imap({b"AUTHENTICATE": lie}, greeting=b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=SCRAM-SHA-256] hi\r\n")

        lies = [b"r=%,s=c2FsdA==,i=" + count for count in (b"1", b"4095", b"2147483647", b"99999999999999999999", b"-1")]
        lies += [b"r=short,s=c2FsdA==,i=4096", b"m=x,r=%,s=c2FsdA==,i=4096", b"r=%,s=,i=4096", b"e=other-error", b"", b"r=%,s=c2FsdA==,i=4096"]
        cases = [("check", scram(lie)) for lie in lies] + [("check", scram(lies[-1], final=b""))]
        cases += [("check", imap({}, greeting=greeting)) for greeting in (b"* PREAUTH hi\r\n", b"* NO hi\r\n", b"220 hi\r\n", b"+ hi\r\n")]
        cases += [("send", smtp({b"AUTH": answer})) for answer in (b"334 QUJD\r\n235 ok\r\n", b"250 ok\r\n", b"235 ok\r\n235 ok\r\n250 ok\r\n")]
        at_once(lambda one: self.fails(*one), cases)

    def terminal(self):
        evil = b"no\x1b[2J\x1b]0;x\x07\xc2\x9b31m\xe2\x80\xae"
        bearer = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=OAUTHBEARER] hi\r\n"

        def oauth(server, tag, _):
            server.say(b"+ " + base64.b64encode(b'{"status":"' + evil * 500 + b'"}') + b"\r\n")
            server.line()
            server.say(tag + b" NO " + evil + b"\r\n")

        no = lambda server, tag, _: server.say(tag + b" NO [ALERT] " + evil + b"\r\n")
        for json in ((), ("--json",)):
            self.fails("check", imap({b"AUTHENTICATE": no}), more=json)
            self.fails("sync", imap({b"EXAMINE": no}), more=json)
            self.fails("check", imap({b"AUTHENTICATE": oauth}, greeting=bearer), more=(*json, "--token-command", "echo token"))
            self.fails("send", smtp({b"MAIL": b"550-" + b"\r\n550-".join([evil * 10] * 50) + b"\r\n550 x\r\n"}), more=json)
            status, shown, _ = self.run("folders", imap({b"LIST": b'* LIST () "/" {%d}\r\n%s\r\n' % (len(evil), evil)}), more=json)
            check(status == 0 and "31m" in shown, shown)


def run(bench, program):
    """All cases."""
    Impostors(bench, program).all()
