"""The grammar of each kind of IMAP response, in terms of `imap_responses.Cursor`.

Each function reads what follows the name of the response and returns it as the rest of the response's tree.
"""

import re

from imap_fetch_responses import body, fetch, nullable, object_id, spaced
from imap_responses import LIST_FLAGS, Code, Response

RIGHTS = re.compile(rb"[a-z0-9]+")
URL_TEXT = re.compile(rb"[^\]\r\n\x00\x80-\xff]+")
URL_AUTH = re.compile(rb"[\x21-\x7e]+")


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
