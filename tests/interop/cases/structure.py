"""ENVELOPE and BODYSTRUCTURE of the messages in tests/corpus/message: `mailwire serve` against Dovecot.

Each message is appended to both and fetched. The answers are parsed and compared field by field. Types, encodings,
parameter names and languages are compared in lower case, and a field of the extension data that is left out equals
NIL. Every other difference is in `RULES` or `KNOWN`, with its reason; one that no longer occurs fails the case.
"""

import glob
import imaplib
import os
import ssl

from authority import Authority
from harness import check
from servers import Dovecot, Served

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "corpus", "message")
ENVELOPE = "date subject from sender reply-to to cc bcc in-reply-to message-id".split()

# Differences in any message: why, and whether the values of a field differ so.
RULES = [
    ("we count a last line without a line end, as the text before a boundary is",
     lambda field, ours, theirs: field.endswith(" lines") and isinstance(theirs, int) and ours == theirs + 1),
    ("Dovecot adds the default charset, which RFC 9051 allows, to every text part without one",
     lambda field, ours, theirs: field.endswith(" parameters") and theirs == (ours or []) + [b"charset", b"us-ascii"]),
]

# A message: the start of the names of the fields that differ, and why.
KNOWN = {
    "boundary-lookalikes": (["1 ", "3 ", "4 ", "5 ", "root parts"], "Dovecot takes each line that starts with a boundary"),
    "content-types": (["1 ", "3 ", "4 ", "5 "], "Dovecot has empty types for a malformed Content-Type"),
    "deep-messages": (["root//"], "parts beyond our limit of levels are opaque"),
    "deep-multiparts": (["1.1.1.1.1.1.1.1"], "parts beyond our limit of levels are opaque"),
    "duplicate-fields": (["envelope message-id", "envelope subject"], "we show the first of several fields, Dovecot the last"),
    "empty-address-fields": (["envelope cc"], "Dovecot has an address without mailbox and host for a comma"),
    "file-names": (["3 disposition"], "we keep all words of a value that should be quoted"),
    "folded-fields": (["envelope subject"], "unfolding removes line ends and no blanks (RFC 5322 section 2.2.3)"),
    "latin1-header": (["envelope cc"], "we read bytes that are not UTF-8 as ISO 8859-1"),
    "long-header": (["envelope subject"], "we cut a field at its limit"),
    "message-types": (["1 ", "1/ "], "this Dovecot does not know message/global (RFC 6532)"),
    "odd-addresses": (["envelope cc", "envelope from", "envelope reply-to", "envelope sender", "envelope to"],
                      "other texts for what is missing, and other rules for what is no address"),
    "rfc2231-charset": (["root disposition"], "we keep the order of the parameters"),
    "rfc2231-continuations": (["root disposition", "root parameters"], "we keep the parameters as they were sent"),
}


class Reader:
    """Reads the data of a FETCH response as imaplib returns it: lines, and literals between them."""

    def __init__(self, data):
        self.pieces = []
        for piece in data:
            head, literal = piece if isinstance(piece, tuple) else (piece, None)
            if literal is not None:
                head = head[: head.rindex(b"{")]
            self.pieces += [(False, head)] + ([(True, literal)] if literal is not None else [])
        self.at = 0

    def value(self):
        """A list, a text (bytes), an atom (bytes) or a number; NIL is None, and the end of a list is `Reader`."""
        while True:
            is_literal, text = self.pieces[self.at]
            if is_literal:
                self.at += 1
                return text
            text = text.lstrip(b" ")
            if text:
                break
            self.at += 1
        if text[:1] == b"(":
            self.rest(text[1:])
            found = []
            while (one := self.value()) is not Reader:
                found.append(one)
            return found
        if text[:1] == b")":
            self.rest(text[1:])
            return Reader
        if text[:1] == b'"':
            return self.quoted(text)
        end = min((place for place in map(text.find, (b" ", b"(", b")")) if place >= 0), default=len(text))
        self.rest(text[end:])
        atom = text[:end]
        return None if atom.upper() == b"NIL" else int(atom) if atom.isdigit() else atom

    def quoted(self, text):
        found, at = b"", 1
        while text[at : at + 1] != b'"':
            at += text[at : at + 1] == b"\\"
            found += text[at : at + 1]
            at += 1
        self.rest(text[at + 1 :])
        return found

    def rest(self, text):
        self.pieces[self.at] = (False, text)


def lower(value):
    return value.lower() if isinstance(value, bytes) else value


def parameters(value):
    """The parameters, with names in lower case, or None."""
    return value and [one if index % 2 else lower(one) for index, one in enumerate(value)]


def envelope_fields(name, value, into):
    for field, one in zip(ENVELOPE, value):
        into[f"{name}{field}"] = one


def extension_fields(name, rest, into):
    """Disposition, language and location, as far as they are there."""
    disposition, language, location = (rest + [None] * 3)[:3]
    into[name + "disposition"] = disposition and [lower(disposition[0]), parameters(disposition[1])]
    language = [language] if isinstance(language, bytes) else language
    into[name + "language"] = language and [lower(one) for one in language]
    into[name + "location"] = location


def body_fields(number, body, into):
    """Puts the fields of a body structure into a dictionary, each with the number of its part in its name."""
    name = f"{number or 'root'} "
    if isinstance(body[0], list):
        count = next((index for index, one in enumerate(body) if not isinstance(one, list)), len(body))
        for index, child in enumerate(body[:count], 1):
            body_fields(f"{number}.{index}" if number else str(index), child, into)
        rest = body[count:]
        into[name + "type"] = b"multipart/" + lower(rest[0])
        into[name + "parts"] = count
        into[name + "parameters"] = parameters(rest[1]) if len(rest) > 1 else None
        return extension_fields(name, rest[2:], into)
    kind, subtype = lower(body[0]), lower(body[1])
    into[name + "type"] = kind + b"/" + subtype
    into[name + "parameters"] = parameters(body[2])
    into[name + "id"], into[name + "description"] = body[3], body[4]
    into[name + "encoding"], into[name + "size"] = lower(body[5]), body[6]
    rest = body[7:]
    if kind == b"text":
        into[name + "lines"] = rest.pop(0)
    elif kind == b"message" and subtype in (b"rfc822", b"global") and isinstance(rest[:1] and rest[0], list):
        envelope, inner, lines = rest[:3]
        rest = rest[3:]
        envelope_fields(name + "enclosed ", envelope, into)
        inside = number or "root"
        body_fields(f"{inside}/", inner, into)
        into[name + "lines"] = lines
    into[name + "md5"] = rest[0] if rest else None
    extension_fields(name, rest[1:], into)


def fetched(client):
    """The fields of the message that was appended last."""
    data = client.fetch("*", "(ENVELOPE BODYSTRUCTURE)")[1]
    reader = Reader(data)
    reader.value()  # the sequence number
    items = reader.value()
    found = dict(zip([lower(one) for one in items[::2]], items[1::2]))
    into = {}
    envelope_fields("envelope ", found[b"envelope"], into)
    body_fields("", found[b"bodystructure"], into)
    return into


class Cases:
    """The cases, over one server of each kind."""

    def __init__(self, bench, program):
        self.bench = bench
        self.program = program
        self.pair = Authority(bench.folder("authority")).issue("right")

    def clients(self):
        dovecot = Dovecot(self.bench, self.pair)
        served = Served(self.bench, self.program)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for port, user, password in [
            (served.ports["imaps"], served.user, served.password),
            (dovecot.imaps, "alice", "password"),
        ]:
            client = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=context, timeout=20)
            client.login(user, password)
            client.select()
            yield client

    def same_structure(self):
        differences, unexplained, count, agreed = set(), [], 0, 0
        clients = list(self.clients())
        for path in sorted(glob.glob(f"{CORPUS}/*.eml")):
            name = os.path.basename(path)[:-4]
            with open(path, "rb") as file:
                message = file.read()
            if b"\0" in message:
                continue  # IMAP allows NUL only in a binary literal, and Dovecot changes it
            answers = []
            for client in clients:
                # `append` would change line ends.
                client.literal = message
                check(client._simple_command("APPEND", "INBOX")[0] == "OK", f"{name}: APPEND")
                client.noop()
                answers.append(fetched(client))
            count += 1
            ours, theirs = answers
            for field in sorted(set(ours) | set(theirs)):
                if ours.get(field) == theirs.get(field):
                    agreed += 1
                    continue
                rule = next((why for why, holds in RULES if holds(field, ours.get(field), theirs.get(field))), None)
                if rule:
                    differences.add(rule)
                    continue
                known = [start for start in KNOWN.get(name, ([], ""))[0] if field.startswith(start)]
                differences.update((name, start) for start in known)
                if not known:
                    unexplained.append(f"{name}: {field}: {ours.get(field)!r:.200} and not {theirs.get(field)!r:.200}")
        for client in clients:
            client.logout()
        for line in unexplained:
            self.bench.say(line)
        check(count > 40 and agreed > 1_000, f"{count} messages, {agreed} equal fields")
        check(not unexplained, f"{len(unexplained)} differences")
        gone = [f"{name} {start}" for name, (starts, _) in KNOWN.items() for start in starts if (name, start) not in differences]
        gone += [why for why, _ in RULES if why not in differences]
        check(not gone, f"these are no differences any more: {gone}")
        self.bench.note(f"{count} messages, {agreed} equal fields, {len(differences)} known differences")


def run(bench, program):
    cases = Cases(bench, program)
    bench.case("structure.envelope_and_bodystructure_are_those_of_dovecot", cases.same_structure, seconds=120)
