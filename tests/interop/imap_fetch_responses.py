"""The grammar of FETCH responses: flags, envelopes, body structures and sections, in terms of `imap_responses.Cursor`."""

from imap_responses import OBJECT_ID, SECTION_PART


def spaced(cursor, element):
    """Elements with a space before each."""
    found = []
    while cursor.take(b" "):
        found.append(element())
    return found


def object_id(cursor):
    return cursor.match(OBJECT_ID, "objectid").decode()


def address(cursor):
    cursor.need(b"(")
    found = []
    for index in range(4):
        if index:
            cursor.space()
        found.append(cursor.nstring())
    cursor.need(b")")
    return found


def addresses(cursor):
    if cursor.take(b"NIL"):
        return None
    cursor.need(b"(")
    found = [address(cursor)]
    while not cursor.take(b")"):
        cursor.take(b" ")  # RFC 3501 has no space between addresses; RFC 9051 neither
        found.append(address(cursor))
    return found


def envelope(cursor):
    cursor.need(b"(")
    found = [cursor.nstring()]
    for field in "subject from sender reply-to to cc bcc in-reply-to message-id".split():
        cursor.space()
        found.append(cursor.nstring() if field in ("subject", "in-reply-to", "message-id") else addresses(cursor))
    cursor.need(b")")
    return found


def parameters(cursor):
    if cursor.take(b"NIL"):
        return None
    found = cursor.list(cursor.string, 2)
    if len(found) % 2:
        cursor.fault("parameter without a value")
    return found


def disposition(cursor):
    if cursor.take(b"NIL"):
        return None
    cursor.need(b"(")
    found = [cursor.string()]
    cursor.space()
    found.append(parameters(cursor))
    cursor.need(b")")
    return found


def language(cursor):
    return cursor.list(cursor.string, 1) if cursor.peek(b"(") else cursor.nstring()


def extension(cursor):
    if cursor.peek(b"("):
        return cursor.list(lambda: extension(cursor), 1)
    return cursor.number() if cursor.data[cursor.at : cursor.at + 1].isdigit() else cursor.nstring()


def body_extension(cursor, first, extensible):
    """`first` is the parameters of a multipart, or the MD5 of a part."""
    found = []
    for element in (first, disposition, language, lambda cursor: cursor.nstring()):
        if not cursor.take(b" "):
            return found
        if not extensible:
            cursor.fault("extension data in BODY")
        found.append(element(cursor))
    return found + spaced(cursor, lambda: extension(cursor))


def body(cursor, extensible):
    cursor.need(b"(")
    found = []
    if cursor.peek(b"("):
        while cursor.peek(b"("):
            found.append(body(cursor, extensible))
        cursor.space()
        found.append(cursor.string())
        found += body_extension(cursor, parameters, extensible)
        cursor.need(b")")
        return found
    found = [cursor.string()]
    cursor.space()
    found.append(cursor.string())
    for element in (parameters, lambda cursor: cursor.nstring(), lambda cursor: cursor.nstring(),
                    lambda cursor: cursor.string(), lambda cursor: cursor.number()):
        cursor.space()
        found.append(element(cursor))
    kind = found[0].lower(), found[1].lower()
    if kind[0] == b"text":
        cursor.space()
        found.append(cursor.number(0, 2**63 - 1))
    elif kind in ((b"message", b"rfc822"), (b"message", b"global")) and cursor.peek(b" ("):
        cursor.space()
        found.append(envelope(cursor))
        cursor.space()
        found.append(body(cursor, extensible))
        cursor.space()
        found.append(cursor.number(0, 2**63 - 1))
    elif kind == (b"message", b"rfc822"):
        cursor.fault("message/rfc822 without an envelope")
    found += body_extension(cursor, lambda cursor: cursor.nstring(), extensible)
    cursor.need(b")")
    return found


def section(cursor):
    """The section of BODY, from its bracket to its closing one, as text."""
    began = cursor.at
    cursor.need(b"[")
    part = SECTION_PART.match(cursor.data, cursor.at)
    if part:
        cursor.at = part.end()
    if not cursor.peek(b"]"):
        if part:
            cursor.need(b".")
        if cursor.take(b"HEADER.FIELDS.NOT ") or cursor.take(b"HEADER.FIELDS "):
            cursor.list(cursor.astring, 1)
        elif not (cursor.take(b"HEADER") or cursor.take(b"TEXT") or (part and cursor.take(b"MIME"))):
            cursor.fault("section expected")
    cursor.need(b"]")
    origin(cursor)
    return cursor.data[began : cursor.at].decode()


def origin(cursor):
    if cursor.take(b"<"):
        cursor.number()
        cursor.need(b">")


def binary_section(cursor, partial):
    began = cursor.at
    cursor.need(b"[")
    part = SECTION_PART.match(cursor.data, cursor.at)
    cursor.at = part.end() if part else cursor.at
    cursor.need(b"]")
    if partial:
        origin(cursor)
    return cursor.data[began : cursor.at].decode()


def fetch_name(cursor):
    for name in (b"BINARY.SIZE", b"BINARY"):
        if cursor.take(name):
            return name.decode() + binary_section(cursor, name == b"BINARY")
    if cursor.peek(b"BODY["):
        cursor.take(b"BODY")
        return "BODY" + section(cursor)
    return cursor.atom().upper()


def nullable(element):
    return lambda cursor: None if cursor.take(b"NIL") else element(cursor)


FETCH_ITEMS = {
    "FLAGS": lambda cursor: cursor.list(lambda: cursor.flag(("\\recent",))),
    "UID": lambda cursor: cursor.nonzero(),
    "INTERNALDATE": lambda cursor: cursor.date_time(),
    "RFC822.SIZE": lambda cursor: cursor.number(0, 2**63 - 1),
    "RFC822": lambda cursor: cursor.nstring(),
    "RFC822.HEADER": lambda cursor: cursor.nstring(),
    "RFC822.TEXT": lambda cursor: cursor.nstring(),
    "ENVELOPE": envelope,
    "BODY": lambda cursor: body(cursor, False),
    "BODYSTRUCTURE": lambda cursor: body(cursor, True),
    "MODSEQ": lambda cursor: cursor.list(cursor.mod_sequence, 1),
    "EMAILID": lambda cursor: cursor.list(lambda: object_id(cursor), 1),
    "THREADID": nullable(lambda cursor: cursor.list(lambda: object_id(cursor), 1)),
    "SAVEDATE": nullable(lambda cursor: cursor.date_time()),
    "PREVIEW": lambda cursor: cursor.nstring(),
}


def fetch_value(cursor, name):
    if name.startswith("BODY["):
        return cursor.nstring()
    if name.startswith("BINARY.SIZE["):
        return cursor.number()
    if name.startswith("BINARY["):
        return cursor.literal(binary=True) if cursor.peek(b"~") else cursor.nstring()
    if name not in FETCH_ITEMS:
        cursor.fault(f"unknown item {name}")
    return FETCH_ITEMS[name](cursor)


def fetch(cursor, number):
    if number == "0":
        cursor.fault("message number 0")
    cursor.space()
    found = cursor.pairs(lambda: fetch_name(cursor), lambda name: fetch_value(cursor, name))
    if not found:
        cursor.fault("FETCH without items")
    if len(set(found[::2])) != len(found) // 2:
        cursor.fault("FETCH with an item twice")
    return [found]
