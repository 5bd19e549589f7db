"""An IMAP session over TLS whose responses are all parsed strictly (`imap_responses`)."""

import socket
import ssl
import time

from harness import Failure
from imap_responses import Response, SyntaxFault, parse


class Account:
    """Where and as whom to log in."""

    def __init__(self, port, user, password):
        self.port, self.user, self.password, self.renames = port, user, password, True
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2


class Unparsable(Failure):
    """A response that the grammar does not allow."""


class Closed(Failure):
    """The server closed the connection."""


class Session:
    """A connection, logged in unless `login` is false. `seen` collects the responses since the last command."""

    def __init__(self, account, login=True, name="", seconds=10):
        self.account, self.name, self.count, self.utf8 = account, name, 0, False
        plain = socket.create_connection(("127.0.0.1", account.port), timeout=seconds)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = account.context.wrap_socket(plain)
        self.buffer, self.log = bytearray(), []
        self.greeting = self.response()
        if login:
            done, _ = self.command(f'LOGIN {account.user} "{account.password}"')
            if done.kind != "OK":
                raise Failure(f"LOGIN: {done}")

    # -- bytes -----------------------------------------------------------------------------------------------------

    def note(self, line):
        self.log.append(line[:600])
        del self.log[:-60]

    def send(self, data):
        self.note(b"C%s: %s" % (self.name.encode(), data))
        self.socket.sendall(data)

    def _more(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise Closed("the server closed the connection")
        self.buffer += piece

    def _line(self, start):
        """The end of the line from `start`, without its CRLF."""
        at = start
        while True:
            end = self.buffer.find(b"\r\n", at)
            if end >= 0:
                return end
            at = max(start, len(self.buffer) - 1)
            self._more()

    def raw_response(self):
        """The bytes of the next response, with its literals and without its last CRLF."""
        end = self._line(0)
        start = 0
        while self.buffer[end - 1 : end] == b"}":
            opened = self.buffer.rfind(b"{", start, end)
            size = bytes(self.buffer[opened + 1 : end - 1])
            if opened < 0 or not size.isdigit():
                break
            start = end + 2 + int(size)
            while len(self.buffer) < start:
                self._more()
            end = self._line(start)
        raw = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        self.note(b"S%s: %s" % (self.name.encode(), raw))
        return raw

    def response(self):
        raw = self.raw_response()
        try:
            return parse(raw, self.utf8)
        except SyntaxFault as fault:
            raise Unparsable(f"response against the grammar: {fault}") from None

    def waiting(self, seconds):
        """Whether a response can be read, or begins within this time."""
        if self.buffer or self.socket.pending():
            return True
        self.socket.settimeout(seconds)
        try:
            self._more()
            return True
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        finally:
            self.socket.settimeout(20)

    # -- commands --------------------------------------------------------------------------------------------------

    def tag(self):
        self.count += 1
        return f"{self.name or 't'}{self.count}"

    def start(self, command):
        """Sends a command, without waiting for its end. Its literals are in `parts`, between the pieces of text.

        `command` is text, or a list of pieces: bytes to send, and `(literal, kind)` with kind "", "+" or "~".
        Returns the tag and the responses that arrived during it; the last one is tagged if a literal was rejected.
        """
        pieces = [command.encode()] if isinstance(command, str) else command
        tag = self.tag()
        out, seen = bytearray(tag.encode() + b" "), []
        for piece in pieces:
            if isinstance(piece, bytes):
                out += piece
                continue
            data, kind = piece
            head = b"~" if "~" in kind else b""
            out += head + b"{%d%s}\r\n" % (len(data), b"+" if "+" in kind else b"")
            if "+" not in kind:
                self.send(bytes(out))
                out = bytearray()
                while True:
                    seen.append(self.response())
                    if seen[-1].tag == "+":
                        seen.pop()
                        break
                    if seen[-1].tag == tag:
                        return tag, seen
            out += data
        self.send(bytes(out) + b"\r\n")
        return tag, seen

    def finish(self, tag, seen):
        """Reads until the tagged response: returns it and the untagged ones."""
        if seen and seen[-1].tag == tag:
            return seen.pop(), seen
        fault = None
        while True:
            try:
                response = self.response()
            except Unparsable as one:  # the session stays usable: the command's end is still read
                fault = fault or one
                continue
            if response.tag == tag:
                if fault:
                    raise fault
                return response, seen
            if response.tag != "*":
                raise Failure(f"unexpected tag: {response}")
            seen.append(response)

    def command(self, command):
        tag, seen = self.start(command)
        done, seen = self.finish(tag, seen)
        if "ENABLED" in [one.kind for one in seen]:
            enabled = [name.upper() for one in seen if one.kind == "ENABLED" for name in one.tree[1:]]
            self.utf8 = self.utf8 or "UTF8=ACCEPT" in enabled or "IMAP4REV2" in enabled
        return done, seen

    def ok(self, command):
        """Runs a command that has to succeed; returns its responses, the tagged one last."""
        done, seen = self.command(command)
        if done.kind != "OK":
            raise Failure(f"{command!r:.200}: {done}")
        return seen + [done]

    def capabilities(self):
        return {name.upper() for one in self.ok("CAPABILITY") if one.kind == "CAPABILITY" for name in one.tree[1:]}

    def append(self, mailbox, message, flags="", date=""):
        """Appends and returns the UID."""
        head = f"APPEND {mailbox} " + (f"({flags}) " if flags else "") + (f'"{date}" ' if date else "")
        done = self.ok([head.encode(), (message, "+" if len(message) <= 4096 else "")])[-1]
        return int(done.code[2]) if done.code and done.code[0] == "APPENDUID" else None

    def until(self, wanted, seconds=5):
        """Reads responses until one for which `wanted` is true; returns all."""
        seen, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            if self.waiting(end - time.monotonic()):
                seen.append(self.response())
                if wanted(seen[-1]):
                    return seen
        raise Failure(f"the response did not arrive within {seconds} s: {seen}")

    def close(self):
        try:
            self.socket.close()
        except OSError:
            pass


__all__ = ["Account", "Closed", "Response", "Session"]
