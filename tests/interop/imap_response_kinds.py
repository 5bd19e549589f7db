"""The grammar of each kind of IMAP response, in terms of `imap_responses.Cursor`.

Each function reads what follows the name of the response and returns it as the rest of the response's tree.
"""

import re

from imap_responses import LIST_FLAGS, OBJECT_ID, SECTION_PART, Code, Response

RIGHTS = re.compile(rb"[a-z0-9]+")
URL_TEXT = re.compile(rb"[^\]\r\n\x00\x80-\xff]+")
URL_AUTH = re.compile(rb"[\x21-\x7e]+")


def spaced(cursor, element):
    """Elements with a space before each, until the end of the response."""
    found = []
    while cursor.take(b" "):
        found.append(element())
    return found


# -- status responses ----------------------------------------------------------------------------------------------

def status(cursor, tag, kind):
    code = None
    if cursor.take(b"["):
        code = Code(response_code(cursor))
        cursor.need(b"]")
        cursor.space()
    text = cursor.text()
    cursor.end()
    return Response(tag, kind, [kind] + ([code] if code else []) + [text], cursor.data, code=code)


def response_code(cursor):
    name = cursor.atom().upper()
    if name in CODES:
        return [name] + CODES[name](cursor)
    if name not in PLAIN_CODES:
        cursor.fault(f"unknown response code {name}")
    return [name]


PLAIN_CODES = set("""ALERT PARSE READ-ONLY READ-WRITE TRYCREATE UIDNOTSTICKY CLOSED NOMODSEQ COMPRESSIONACTIVE NOUPDATE
UNAVAILABLE AUTHENTICATIONFAILED AUTHORIZATIONFAILED EXPIRED PRIVACYREQUIRED CONTACTADMIN NOPERM INUSE EXPUNGEISSUED CORRUPTION
SERVERBUG CLIENTBUG CANNOT LIMIT OVERQUOTA ALREADYEXISTS NONEXISTENT NOTSAVED HASCHILDREN UNKNOWN-CTE TOOBIG USEATTR
NOTIFICATIONOVERFLOW UIDREQUIRED URLMECH""".split())


def one(element):
    """A space and one element."""
    def read(cursor):
        cursor.space()
        return [element(cursor)]
    return read


def append_uid(cursor):
    cursor.space()
    validity = cursor.nonzero()
    cursor.space()
    return [validity, cursor.set()]


def copy_uid(cursor):
    found = append_uid(cursor)
    cursor.space()
    return found + [cursor.set()]


def badcharset(cursor):
    return [cursor.list(cursor.astring, 1)] if cursor.take(b" ") else []


def metadata_code(cursor):
    cursor.space()
    if cursor.take(b"LONGENTRIES "):
        return ["LONGENTRIES", cursor.number()]
    if cursor.take(b"MAXSIZE "):
        return ["MAXSIZE", cursor.number()]
    return [next((word.decode() for word in (b"TOOMANY", b"NOPRIVATE") if cursor.take(word)), None) or cursor.fault("code")]


def url_mechanism(cursor):
    found = ["INTERNAL"]
    cursor.need(b" INTERNAL")
    while cursor.take(b" "):
        found.append(cursor.atom())
        if cursor.take(b"="):
            cursor.match(URL_AUTH, "mechanism data")
    return found


def in_progress(cursor):
    if not cursor.take(b" ("):
        return []
    found = [cursor.nstring()]
    for _ in range(2):
        cursor.space()
        found.append(None if cursor.take(b"NIL") else cursor.number())
    cursor.need(b")")
    return [found]


CODES = {
    "CAPABILITY": lambda cursor: capability(cursor),
    "BADCHARSET": badcharset,
    "PERMANENTFLAGS": one(lambda cursor: cursor.list(lambda: "\\*" if cursor.take(b"\\*") else cursor.flag())),
    "UIDNEXT": one(lambda cursor: cursor.nonzero()),
    "UIDVALIDITY": one(lambda cursor: cursor.nonzero()),
    "UNSEEN": one(lambda cursor: cursor.nonzero()),
    "HIGHESTMODSEQ": one(lambda cursor: cursor.mod_sequence()),
    "MODIFIED": one(lambda cursor: cursor.set()),
    "APPENDUID": append_uid,
    "COPYUID": copy_uid,
    "BADURL": one(lambda cursor: cursor.match(URL_TEXT, "URL").decode()),  # not a string: RFC 4469 section 5
    "METADATA": metadata_code,
    "MAILBOXID": one(lambda cursor: cursor.list(lambda: object_id(cursor), 1)),
    "BADCOMPARATOR": lambda cursor: [],
    "BADEVENT": one(lambda cursor: cursor.list(cursor.atom, 1)),
    "URLMECH": url_mechanism,
    "INPROGRESS": in_progress,
    "UNDEFINED-FILTER": one(lambda cursor: cursor.atom()),
    "REFERRAL": one(lambda cursor: cursor.match(re.compile(rb"[^\]\s]+"), "URL")),
    "MESSAGELIMIT": lambda cursor: spaced(cursor, cursor.nonzero),
}


# -- FETCH ---------------------------------------------------------------------------------------------------------

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


def expunge(cursor, number):
    if number == "0":
        cursor.fault("message number 0")
    return []


NUMBERED = {"EXISTS": lambda cursor, number: [], "RECENT": lambda cursor, number: [], "EXPUNGE": expunge, "FETCH": fetch}


# -- SEARCH, SORT, THREAD, ESEARCH ---------------------------------------------------------------------------------

def search(cursor):
    found = []
    while cursor.take(b" "):
        if cursor.take(b"(MODSEQ "):
            found.append(["MODSEQ", cursor.mod_sequence()])
            cursor.need(b")")
            break
        found.append(cursor.nonzero())
    return found


def thread(cursor):
    if not cursor.take(b" "):
        return []
    found = [thread_list(cursor)]
    while cursor.peek(b"("):
        found.append(thread_list(cursor))
    return found


def thread_list(cursor):
    cursor.need(b"(")
    found = []
    if not cursor.peek(b"("):
        found.append(cursor.nonzero())
        while cursor.take(b" "):
            if cursor.peek(b"("):
                break
            found.append(cursor.nonzero())
    nested = []
    while cursor.peek(b"("):
        nested.append(thread_list(cursor))
    if len(nested) == 1:
        cursor.fault("one nested thread")
    cursor.need(b")")
    return found + nested


def partial(cursor):
    cursor.need(b"(")
    found = [cursor.match(re.compile(rb"-?[1-9][0-9]*:-?[1-9][0-9]*"), "range").decode()]
    cursor.space()
    found.append(None if cursor.take(b"NIL") else cursor.set())
    cursor.need(b")")
    return found


def context_changes(cursor):
    found = cursor.pairs(lambda: cursor.number(), lambda _: cursor.set())
    return found or cursor.fault("no changes")


RETURN_DATA = {
    "MIN": lambda cursor: cursor.nonzero(),
    "MAX": lambda cursor: cursor.nonzero(),
    "COUNT": lambda cursor: cursor.number(),
    "ALL": lambda cursor: cursor.set(),
    "MODSEQ": lambda cursor: cursor.mod_sequence(),
    "PARTIAL": partial,
    "ADDTO": context_changes,
    "REMOVEFROM": context_changes,
    "RELEVANCY": lambda cursor: cursor.list(lambda: cursor.number(1, 100)),
}


def correlator(cursor):
    cursor.need(b"(")
    found = []
    while True:
        name = cursor.atom().upper()
        cursor.space()
        if name not in ("TAG", "MAILBOX", "UIDVALIDITY"):
            cursor.fault(f"unknown correlator {name}")
        value = cursor.nonzero() if name == "UIDVALIDITY" else cursor.mailbox() if name == "MAILBOX" else cursor.string()
        found += [name, value]
        if not cursor.take(b" "):
            break
    cursor.need(b")")
    return found


def esearch(cursor):
    found = []
    if cursor.peek(b" ("):
        cursor.space()
        found.append(correlator(cursor))
    if cursor.take(b" UID"):
        found.append("UID")
    while cursor.take(b" "):
        name = cursor.atom().upper()
        cursor.space()
        if name not in RETURN_DATA:
            cursor.fault(f"unknown result {name}")
        found += [name, RETURN_DATA[name](cursor)]
    return found


# -- mailboxes and the rest ----------------------------------------------------------------------------------------

def capability(cursor):
    return spaced(cursor, cursor.atom) or cursor.fault("no capabilities")


def list_flag(cursor):
    cursor.need(b"\\")
    flag = "\\" + cursor.atom()
    if flag.lower() not in LIST_FLAGS:
        cursor.fault(f"unknown attribute {flag}")
    return flag


def list_extended(cursor):
    def value(name):
        if name.upper() == b"CHILDINFO":
            return cursor.list(cursor.string, 1)
        if name.upper() == b"OLDNAME":
            return cursor.list(cursor.mailbox, 1)
        cursor.fault(f"unknown extended data {name}")
    return cursor.pairs(cursor.astring, value)


def listing(cursor, extended=True):
    cursor.space()
    found = [cursor.list(lambda: list_flag(cursor))]
    cursor.space()
    delimiter = cursor.nstring()
    if delimiter is not None and len(delimiter) != 1:
        cursor.fault("delimiter of one character expected")
    cursor.space()
    found += [delimiter, cursor.mailbox()]
    if extended and cursor.take(b" "):
        found.append(list_extended(cursor))
    return found


STATUS_ITEMS = {
    "MESSAGES": lambda cursor: cursor.number(), "RECENT": lambda cursor: cursor.number(), "UNSEEN": lambda cursor: cursor.number(),
    "UIDNEXT": lambda cursor: cursor.nonzero(), "UIDVALIDITY": lambda cursor: cursor.nonzero(),
    "DELETED": lambda cursor: cursor.number(), "SIZE": lambda cursor: cursor.number(0, 2**63 - 1),
    "HIGHESTMODSEQ": lambda cursor: cursor.mod_sequence(0), "DELETED-STORAGE": lambda cursor: cursor.number(0, 2**63 - 1),
    "APPENDLIMIT": nullable(lambda cursor: cursor.number()),
    "MAILBOXID": lambda cursor: cursor.list(lambda: object_id(cursor), 1),
}


def mailbox_status(cursor):
    cursor.space()
    name = cursor.mailbox()
    cursor.space()

    def value(item):
        return STATUS_ITEMS[item](cursor) if item in STATUS_ITEMS else cursor.fault(f"unknown item {item}")

    return [name, cursor.pairs(lambda: cursor.atom().upper(), value)]


def namespace(cursor):
    def one_namespace():
        cursor.need(b"(")
        found = [cursor.string()]
        cursor.space()
        found.append(cursor.nstring())
        while cursor.take(b" "):
            found.append(cursor.string())
            cursor.space()
            found.append(cursor.list(cursor.string, 1))
        cursor.need(b")")
        return found

    found = []
    for _ in range(3):
        cursor.space()
        if cursor.take(b"NIL"):
            found.append(None)
            continue
        cursor.need(b"(")
        group = [one_namespace()]
        while not cursor.take(b")"):
            group.append(one_namespace())
        found.append(group)
    return found


def identification(cursor):
    cursor.space()
    if cursor.take(b"NIL"):
        return [None]
    return [cursor.pairs(cursor.string, lambda _: cursor.nstring())]


def quota(cursor):
    cursor.space()
    root = cursor.astring()
    cursor.space()

    def resource():
        name = cursor.atom()
        cursor.space()
        usage = cursor.number(0, MAX_QUOTA)
        cursor.space()
        return [name, usage, cursor.number(0, MAX_QUOTA)]

    return [root, sum(cursor.list(resource), [])]


MAX_QUOTA = 2**63 - 1


def acl(cursor):
    cursor.space()
    found = [cursor.mailbox()]
    while cursor.take(b" "):
        found.append(cursor.astring())
        cursor.space()
        found.append(rights(cursor))
    return found


def rights(cursor):
    found = cursor.string() if cursor.is_string() else cursor.match(RIGHTS, "rights")
    return found


def list_rights(cursor):
    cursor.space()
    found = [cursor.mailbox()]
    cursor.space()
    found.append(cursor.astring())
    return found + spaced(cursor, lambda: rights(cursor))


def my_rights(cursor):
    cursor.space()
    found = [cursor.mailbox()]
    cursor.space()
    return found + [rights(cursor)]


def metadata(cursor):
    cursor.space()
    found = [cursor.mailbox()]
    cursor.space()
    if cursor.peek(b"("):
        return found + [cursor.pairs(cursor.astring, lambda _: cursor.literal(True) if cursor.peek(b"~") else cursor.nstring())]
    found.append(cursor.astring())
    return found + spaced(cursor, cursor.astring)


def vanished(cursor):
    cursor.space()
    early = ["EARLIER"] if cursor.take(b"(EARLIER) ") else []
    return early + [cursor.set()]


def url_fetch(cursor):
    found = []
    while cursor.take(b" "):
        found.append(cursor.astring())
        cursor.space()
        if cursor.peek(b"("):  # RFC 5524
            while True:
                found.append(cursor.list(lambda: extension_item(cursor), 1))
                if not cursor.peek(b" ("):
                    break
                cursor.space()
        else:
            found.append(cursor.nstring())
    return found


def extension_item(cursor):
    if cursor.peek(b"("):
        return body(cursor, True)
    if cursor.peek(b"~"):
        return cursor.literal(True)
    return cursor.nstring() if cursor.is_string() or cursor.peek(b"NIL") else cursor.atom()


DATA = {
    "CAPABILITY": capability,
    "ENABLED": lambda cursor: spaced(cursor, cursor.atom),
    "FLAGS": one(lambda cursor: cursor.list(cursor.flag)),
    "LIST": listing,
    "LSUB": lambda cursor: listing(cursor, False),
    "STATUS": mailbox_status,
    "SEARCH": search,
    "SORT": search,
    "THREAD": thread,
    "ESEARCH": esearch,
    "NAMESPACE": namespace,
    "ID": identification,
    "QUOTA": quota,
    "QUOTAROOT": lambda cursor: one(lambda cursor: cursor.mailbox())(cursor) + spaced(cursor, cursor.astring),
    "ACL": acl,
    "LISTRIGHTS": list_rights,
    "MYRIGHTS": my_rights,
    "METADATA": metadata,
    "VANISHED": vanished,
    "GENURLAUTH": lambda cursor: spaced(cursor, cursor.astring) or cursor.fault("no URL"),
    "URLFETCH": url_fetch,
    "LANGUAGE": one(lambda cursor: cursor.list(cursor.string, 1)),
    "COMPARATOR": lambda cursor: spaced(cursor, lambda: cursor.list(cursor.astring) if cursor.peek(b"(") else cursor.astring()),
}
