"""Patterns of IMAP responses: how the conformance scripts write what they expect.

A pattern is written like a response. `_` is any value, `*` at the end of a list any rest, and `{name}` a variable: the
first use binds it, and later ones compare. The values of FETCH and STATUS, the attributes of LIST, capabilities and flags
may have more than the pattern names, except flags, which are compared as sets without \\Recent. SEARCH, UID sets and
ESEARCH's sets compare as sets of numbers.
"""

import re

from imap_responses import Code, expand

TOKEN = re.compile(
    r'\s*(?:(?P<open>\()|(?P<close>\))|(?P<code>\[(?=[A-Z]))|(?P<end>\])|"(?P<text>(?:[^"\\]|\\.)*)"|<<(?P<name>[\w-]+)>>'
    r"|(?P<atom>(?:BODY|BINARY(?:\.SIZE)?)\[[^\]]*\](?:<\d+>)?|[^\s()\[\]\"]+))", re.I)
ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))")
SET = re.compile(r"[0-9]+([:,][0-9]+)*")


def unescaped(found):
    """What an escape in a text is for."""
    if found[1]:
        return chr(int(found[1], 16))
    return {"r": "\r", "n": "\n", "t": "\t"}.get(found[2], found[2])


class Any:
    def __repr__(self):
        return "_"


class Rest:
    def __repr__(self):
        return "*"


class Bind:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return "{%s}" % self.name


def read_pattern(text, messages):
    """The tree of a pattern. `messages` are the named texts, written <<name>>."""
    stack, position = [[]], 0
    text = text.rstrip()
    while position < len(text):
        found = TOKEN.match(text, position)
        if not found:
            raise ValueError(f"pattern: {text[position:]!r}")
        position = found.end()
        kind = found.lastgroup
        if kind == "open":
            stack.append([])
        elif kind == "code":
            stack.append(Code())
        elif kind in ("close", "end"):
            done = stack.pop()
            stack[-1].append(done)
        elif kind == "text":
            stack[-1].append(ESCAPE.sub(unescaped, found["text"]).encode())
        elif kind == "name":
            stack[-1].append(messages[found["name"]])
        else:
            atom = found["atom"]
            bound = re.fullmatch(r"\{([a-z]\w*)\}", atom)
            stack[-1].append(Any() if atom == "_" else Rest() if atom == "*" else Bind(bound[1]) if bound
                             else None if atom == "NIL" else atom)
    if len(stack) != 1:
        raise ValueError(f"pattern: {text!r}")
    return stack[0]


def plain(value):
    """A value as text, to bind or compare it."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, list):
        return "(" + " ".join(plain(one) for one in value) + ")"
    return "NIL" if value is None else value


def same(pattern, value, bound):
    """Whether a value matches a pattern; binds the variables of the pattern."""
    if isinstance(pattern, Any):
        return True
    if isinstance(pattern, Bind):
        return bound.setdefault(pattern.name, plain(value)) == plain(value)
    if isinstance(pattern, list):
        return isinstance(value, list) and sequence(pattern, value, bound)
    if pattern is None or value is None:
        return pattern is value
    if isinstance(value, bytes):
        return (pattern.encode() if isinstance(pattern, str) else pattern) == value
    if isinstance(value, list):
        return False
    if isinstance(pattern, bytes):
        return pattern == value.encode()
    return pattern.upper() == value.upper() or (
        bool(SET.fullmatch(pattern) and SET.fullmatch(value)) and sorted(expand(pattern)) == sorted(expand(value)))


def sequence(pattern, value, bound):
    if pattern and isinstance(pattern[-1], Rest):
        pattern = pattern[:-1]
        value = value[: len(pattern)]
    return len(pattern) == len(value) and all(same(one, other, bound) for one, other in zip(pattern, value))


def pairs(pattern, value, bound):
    """Whether each pair of the pattern is among those of the value."""
    there = {plain(name).upper(): one for name, one in zip(value[::2], value[1::2])}
    for name, one in zip(pattern[::2], pattern[1::2]):
        name = plain(name).upper()
        if name not in there or not (flags if name == "FLAGS" else same)(one, there[name], bound):
            return False
    return True


def flags(pattern, value, bound):
    if not isinstance(pattern, list):
        return same(pattern, value, bound)
    lower = sorted(one.lower() for one in value if one.lower() != "\\recent")
    return sorted(one.lower() for one in pattern) == lower


def subset(pattern, value, bound):
    there = {one.lower() for one in value}
    return all(one.lower() in there if isinstance(one, str) else True for one in pattern)


def esearch(pattern, value, bound):
    """ESEARCH: the pattern has a correlator only for its mailbox; the order of the results is free."""
    there = value[0] if value and isinstance(value[0], list) else []
    wanted = pattern[0] if pattern and isinstance(pattern[0], list) else []
    if ("MAILBOX" in there) != bool(wanted) or not pairs(wanted, there, bound):
        return False
    value = value[1:] if there else value
    pattern = pattern[1:] if wanted else pattern
    uid = "UID" in pattern
    if uid != ("UID" in [one for one in value if isinstance(one, str)]):
        return False
    pattern = [one for one in pattern if one != "UID"]
    value = [one for one in value if one != "UID"]
    return len(pattern) == len(value) and pairs(pattern, value, bound)


def matches(pattern, response, bound):
    """Whether a response matches; variables are bound only then."""
    tentative = dict(bound)
    if not _matches(pattern, response, tentative):
        return False
    bound.update(tentative)
    return True


def _matches(pattern, response, bound):
    tree = response.tree
    kind = pattern_kind(pattern)
    if kind != response.kind:
        return False
    if kind in ("OK", "NO", "BAD", "BYE", "PREAUTH"):
        codes = [one for one in pattern[1:] if isinstance(one, Code)]
        return not codes or (response.code is not None and code(codes[0], response.code, bound))
    if kind == "FETCH":
        return same(pattern[0], tree[0], bound) and pairs(pattern[2], tree[2], bound)
    if kind == "STATUS":
        return same(pattern[1], tree[1], bound) and pairs(pattern[2], tree[2], bound)
    if kind in ("CAPABILITY", "ENABLED"):
        return subset(pattern[1:], tree[1:], bound)
    if kind == "FLAGS":
        return subset(pattern[1], tree[1], bound)
    if kind in ("LIST", "LSUB"):
        attributes = pattern[1] if isinstance(pattern[1], Any) else None
        known = attributes is not None or subset(pattern[1], tree[1], bound)
        extended = len(pattern) < 5 or (len(tree) > 4 and same(pattern[4], tree[4], bound))
        return known and same(pattern[2], tree[2], bound) and same(pattern[3], tree[3], bound) and extended
    if kind == "ESEARCH":
        return esearch(pattern[1:], tree[1:], bound)
    if kind == "SEARCH":
        return sequence(canonical(pattern[1:]), canonical(tree[1:]), bound)
    if kind == "METADATA" and isinstance(pattern[2], list) and isinstance(tree[2], list):
        return same(pattern[1], tree[1], bound) and len(pattern[2]) == len(tree[2]) and pairs(pattern[2], tree[2], bound)
    return sequence(pattern, tree, bound)


def canonical(numbers):
    """The numbers of SEARCH in order; MODSEQ last."""
    return sorted(numbers, key=lambda one: (isinstance(one, list), int(one) if isinstance(one, str) and one.isdigit() else 0))


def code(pattern, value, bound):
    if pattern[0].upper() == "PERMANENTFLAGS":
        return value[0] == "PERMANENTFLAGS" and subset(pattern[1], value[1], bound)
    if pattern[0].upper() == "CAPABILITY":
        return value[0] == "CAPABILITY" and subset(pattern[1:], value[1:], bound)
    return sequence(pattern, value, bound)


def pattern_kind(pattern):
    """The kind of the responses that a pattern is about."""
    first = pattern[0]
    if first == "EXPUNGED":
        return "OK"
    numbered = isinstance(first, (Any, Bind)) or (isinstance(first, str) and first.isdigit())
    return (pattern[1] if numbered else first).upper()
