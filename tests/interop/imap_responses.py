"""A strict parser of IMAP responses: the grammars of RFC 9051 and RFC 3501, section 9, and of the extensions.

`parse` takes one response without its last CRLF, with its literals, and returns a `Response` or raises `SyntaxFault`. What a
grammar does not allow is a fault, also where clients usually accept it.

A response's `tree` is a list. Atoms and numbers are `str`, strings and mailbox names are `bytes`, NIL is None, and a
parenthesised list is a list. A response code is a `Code`, which is a list too.
"""

import re


class SyntaxFault(Exception):
    """A response that the grammar does not allow."""


class Code(list):
    """The response code of a status response, without its brackets."""


class Response:
    """`tag` is `*`, `+` or the tag of a command; `kind` is OK, FETCH, SEARCH, ...; `number` precedes EXISTS or FETCH."""

    def __init__(self, tag, kind, tree, raw, number=None, code=None):
        self.tag, self.kind, self.tree, self.raw = tag, kind, tree, raw
        self.number, self.code = number, code

    def items(self):
        """The names (in upper case) and values of FETCH, or of the last list of STATUS."""
        flat = self.tree[-1]
        return {name.upper(): value for name, value in zip(flat[::2], flat[1::2])}

    def __repr__(self):
        return repr(self.raw[:300])


ATOM = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\\]]+")
ASTRING = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\]+")
TAG = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]+")
NUMBER = re.compile(rb"0|[1-9][0-9]*")
DATE_TIME = re.compile(
    rb'"(?: [1-9]|0[1-9]|[12][0-9]|3[01])-(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)-[0-9]{4} '
    rb'[0-2][0-9]:[0-5][0-9]:[0-6][0-9] [+-][0-9]{4}"')
SET = re.compile(rb"[1-9][0-9]*(?::[1-9][0-9]*)?(?:,[1-9][0-9]*(?::[1-9][0-9]*)?)*")
SECTION_PART = re.compile(rb"[1-9][0-9]*(?:\.[1-9][0-9]*)*")
OBJECT_ID = re.compile(rb"[A-Za-z0-9_-]{1,255}")
TEXT = re.compile(rb"[^\x00\r\n]+")
SYSTEM_FLAGS = {"\\answered", "\\flagged", "\\deleted", "\\seen", "\\draft"}
LIST_FLAGS = {"\\noinferiors", "\\noselect", "\\marked", "\\unmarked", "\\haschildren", "\\hasnochildren", "\\nonexistent",
              "\\subscribed", "\\remote", "\\all", "\\archive", "\\drafts", "\\flagged", "\\junk", "\\sent", "\\trash",
              "\\important"}
MAX_32, MAX_63 = 2**32 - 1, 2**63 - 1


class Cursor:
    """A position in one response, and the terminals of the grammar."""

    def __init__(self, data, utf8):
        self.data, self.at, self.utf8 = data, 0, utf8

    def fault(self, what):
        raise SyntaxFault(f"{what} at {self.at} of {self.data[:400]!r}")

    def peek(self, text):
        return self.data[self.at : self.at + len(text)].upper() == text

    def take(self, text):
        """Consumes `text`, in any case, if it is next."""
        if self.peek(text):
            self.at += len(text)
            return True
        return False

    def need(self, text):
        if not self.take(text):
            self.fault(f"{text!r} expected")

    def match(self, pattern, what):
        found = pattern.match(self.data, self.at)
        if not found:
            self.fault(f"{what} expected")
        self.at = found.end()
        return found.group()

    def space(self):
        self.need(b" ")

    def end(self):
        if self.at != len(self.data):
            self.fault("end expected")

    def number(self, low=0, high=MAX_32):
        value = self.match(NUMBER, "number")
        if not low <= int(value) <= high:
            self.fault(f"number out of range: {value!r}")
        return value.decode()

    def nonzero(self):
        return self.number(1)

    def mod_sequence(self, low=1):
        return self.number(low, MAX_63)

    def set(self):
        value = self.match(SET, "set")
        for one in re.split(rb"[:,]", value):
            if int(one) > MAX_32:
                self.fault(f"number out of range: {one!r}")
        return value.decode()

    def atom(self):
        return self.match(ATOM, "atom").decode()

    def is_string(self):
        return self.data[self.at : self.at + 1] in (b'"', b"{")

    def string(self):
        if self.peek(b"{"):
            return self.literal()
        self.need(b'"')
        found = bytearray()
        while True:
            byte = self.data[self.at : self.at + 1]
            self.at += 1
            if byte == b'"':
                break
            if byte == b"\\":
                byte = self.data[self.at : self.at + 1]
                self.at += 1
                if byte not in (b'"', b"\\"):
                    self.fault("quoted string with a wrong escape")
            elif byte in (b"", b"\r", b"\n", b"\0") or (byte >= b"\x80" and not self.utf8):
                self.fault("byte that a quoted string must not have")
            found += byte
        if self.utf8:
            self.check_utf8(found)
        return bytes(found)

    def check_utf8(self, text):
        try:
            text.decode()
        except UnicodeDecodeError:
            self.fault("text that is not UTF-8")

    def literal(self, binary=False):
        if binary:
            self.need(b"~")
        self.need(b"{")
        size = int(self.number(0, MAX_63))
        self.need(b"}\r\n")
        if self.at + size > len(self.data):
            self.fault("literal that is too short")
        value = self.data[self.at : self.at + size]
        self.at += size
        if not binary and b"\0" in value:
            self.fault("NUL in a literal")
        return value

    def nstring(self):
        return None if self.take(b"NIL") else self.string()

    def astring(self):
        return self.string() if self.is_string() else self.match(ASTRING, "astring")

    def mailbox(self):
        name = self.astring()
        if not self.utf8 and any(byte >= 0x80 for byte in name):
            self.fault("mailbox name that is not modified UTF-7")
        return name

    def list(self, element, least=0):
        """A parenthesised list of elements with single spaces."""
        self.need(b"(")
        found = []
        while not self.take(b")"):
            if found:
                self.space()
            found.append(element())
        if len(found) < least:
            self.fault(f"list with {least} or more elements expected")
        return found

    def pairs(self, name, value):
        """A parenthesised list of names and values, as one flat list."""
        found = []

        def pair():
            found.append(name())
            self.space()
            found.append(value(found[-1]))

        self.list(pair)
        return found

    def date_time(self):
        return self.match(DATE_TIME, "date-time")[1:-1]

    def flag(self, also=()):
        if self.take(b"\\"):
            flag = "\\" + self.atom()
            if flag.lower() not in SYSTEM_FLAGS and flag.lower() not in also:
                self.fault(f"unknown system flag {flag}")
            return flag
        return self.atom()

    def text(self):
        text = self.match(TEXT, "text")
        if any(byte >= 0x80 for byte in text):
            if not self.utf8:
                self.fault("text that is not US-ASCII")
            self.check_utf8(text)
        return text.decode()


def parse(raw, utf8=False):
    """Parses one response; `utf8` after ENABLE of UTF8=ACCEPT or IMAP4rev2."""
    from imap_response_kinds import DATA, NUMBERED, status  # the kinds use the terminals of this module

    cursor = Cursor(raw, utf8)
    if cursor.take(b"+"):
        cursor.space()
        text = cursor.match(TEXT, "text").decode() if cursor.at < len(raw) else ""
        cursor.end()
        return Response("+", "+", [text], raw)
    if not cursor.take(b"* "):
        tag = cursor.match(TAG, "tag").decode()
        cursor.space()
        kind = next((kind for kind in ("OK", "NO", "BAD") if cursor.take(kind.encode() + b" ")), None)
        return status(cursor, tag, kind or cursor.fault("OK, NO or BAD expected"))
    for kind in ("OK", "NO", "BAD", "BYE", "PREAUTH"):
        if cursor.take(kind.encode() + b" "):
            return status(cursor, "*", kind)
    if raw[2:3].isdigit():
        number = cursor.number()
        cursor.space()
        kind = cursor.atom().upper()
        if kind not in NUMBERED:
            cursor.fault(f"unknown response {kind}")
        rest = NUMBERED[kind](cursor, number)
        cursor.end()
        return Response("*", kind, [number, kind] + rest, raw, int(number))
    kind = cursor.atom().upper()
    if kind not in DATA:
        cursor.fault(f"unknown response {kind}")
    rest = DATA[kind](cursor)
    cursor.end()
    return Response("*", kind, [kind] + rest, raw)


def expand(uid_set):
    """The numbers of a set, in its order."""
    found = []
    for part in uid_set.split(","):
        low, _, high = part.partition(":")
        low, high = int(low), int(high or low)
        found += range(low, high + 1) if low <= high else range(low, high - 1, -1)
    return found
