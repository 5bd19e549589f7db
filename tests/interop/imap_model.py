"""A model of mailboxes that several IMAP sessions change at the same time.

`Shared` has what all sessions know: which UIDs a mailbox gave out, what each message contains, which were removed. `View`
is one session's view of its selected mailbox. Each response is checked against both.
"""

import threading

from harness import Failure
from imap_responses import expand


class Contradiction(Failure):
    """A response contradicts an earlier one, of this session or of another one."""


def demand(condition, why):
    if not condition:
        raise Contradiction(why)


class MailboxFacts:
    """What is known of a mailbox; facts that never change, or only grow."""

    def __init__(self):
        self.uidvalidity = None
        self.largest_uid = 0  # the largest UID that any session has seen
        self.uidnext = self.modseq = 0
        self.contents = {}  # UID: the number in the message's header
        self.viewed = set()  # UIDs that a view has had
        self.constants = {}  # UID: what FETCH returned for the items that never change
        self.removed = set()  # UIDs that an EXPUNGE, VANISHED or MOVE has removed
        self.unknown_removed = 0  # EXPUNGEs of messages whose UID the session did not know, since the last pause
        # UIDs of messages that were perhaps deleted from the start, and that no session has had in its view: EXPUNGE of a
        # session that has not been told of them removes them unseen.
        self.unseen_deleted = set()
        self.owed = set()  # UIDs for which a FETCH had no response: they have to be removed by the next pause


class Shared:
    """The facts of all mailboxes, and the messages by their numbers. Every method locks."""

    def __init__(self):
        self.lock = threading.RLock()
        self.mailboxes, self.numbers = {}, 0

    def facts(self, mailbox):
        with self.lock:
            return self.mailboxes.setdefault(mailbox, MailboxFacts())

    def next_number(self):
        with self.lock:
            self.numbers += 1
            return self.numbers

    def snapshot(self, mailbox):
        """The largest UID, the removed UIDs, UIDNEXT and HIGHESTMODSEQ of a mailbox now."""
        facts = self.facts(mailbox)
        with self.lock:
            return facts.largest_uid, frozenset(facts.removed), facts.uidnext, facts.modseq

    def validity(self, mailbox, value):
        facts = self.facts(mailbox)
        with self.lock:
            demand(facts.uidvalidity in (None, value), f"{mailbox}: UIDVALIDITY {value} and not {facts.uidvalidity}")
            facts.uidvalidity = value

    def new_uid(self, mailbox, uid, number, before, may_be_deleted):
        """A command that began after `before` gave this UID to a message."""
        facts = self.facts(mailbox)
        with self.lock:
            demand(uid > before, f"{mailbox}: UID {uid} is not above {before}")
            demand(facts.contents.get(uid, number) == number,
                   f"{mailbox}: UID {uid} is message {number} and was {facts.contents.get(uid)}")
            facts.contents[uid] = number
            if may_be_deleted and uid not in facts.viewed:
                facts.unseen_deleted.add(uid)
            facts.largest_uid = max(facts.largest_uid, uid)

    def remove(self, mailbox, uid):
        """An EXPUNGE of a message, whose UID may be unknown."""
        facts = self.facts(mailbox)
        with self.lock:
            if uid is None:
                facts.unknown_removed += 1
            else:
                facts.removed.add(uid)

    def owe(self, mailbox, uid):
        facts = self.facts(mailbox)
        with self.lock:
            facts.owed.add(uid)

    def constant(self, mailbox, uid, item, value):
        """An item that never changes for a UID."""
        facts = self.facts(mailbox)
        with self.lock:
            facts.largest_uid = max(facts.largest_uid, uid)
            known = facts.constants.setdefault(uid, {})
            demand(known.setdefault(item, value) == value, f"{mailbox}: {item} of UID {uid} was {known[item]!r:.200} and is {value!r:.200}")
            if item == "number":
                demand(facts.contents.setdefault(uid, value) == value,
                       f"{mailbox}: UID {uid} contains message {value} and not {facts.contents[uid]}")

    def view(self, mailbox, uid):
        """A session has the UID in its view."""
        facts = self.facts(mailbox)
        with self.lock:
            facts.viewed.add(uid)
            facts.unseen_deleted.discard(uid)

    def growing(self, mailbox, item, value, before):
        """UIDNEXT or HIGHESTMODSEQ, of a command that began after `before` was known."""
        facts = self.facts(mailbox)
        with self.lock:
            demand(value >= before, f"{mailbox}: {item} is {value}, and was {before}")
            setattr(facts, item, max(getattr(facts, item), value))


class Message:
    """A message in a view; None is not known."""

    __slots__ = ("uid", "flags", "modseq")

    def __init__(self):
        self.uid = self.flags = None
        self.modseq = 0


class View:
    """One session's view of the selected mailbox: message numbers, UIDs and flags."""

    def __init__(self, shared, mailbox, removed=frozenset()):
        self.shared, self.mailbox, self.messages = shared, mailbox, []
        self.removed = removed  # removed before this view was opened
        self.exists_seen = False

    def __len__(self):
        return len(self.messages)

    def uids(self):
        return [message.uid for message in self.messages]

    def exists(self, count):
        demand(count >= len(self.messages), f"{self.mailbox}: EXISTS goes from {len(self.messages)} to {count} without EXPUNGE")
        self.messages += [Message() for _ in range(count - len(self.messages))]
        self.exists_seen = True

    def recent(self, count):
        demand(count <= len(self.messages), f"{self.mailbox}: {count} RECENT of {len(self.messages)}")

    def expunge(self, number):
        demand(1 <= number <= len(self.messages), f"{self.mailbox}: EXPUNGE of {number} of {len(self.messages)}")
        message = self.messages.pop(number - 1)
        self.shared.remove(self.mailbox, message.uid)

    def vanished(self, uid_set):
        gone = set(expand(uid_set))
        for uid in gone:
            self.shared.remove(self.mailbox, uid)
        # The other UIDs belong to messages that were reported by EXISTS only.
        unknown = len(gone - set(self.uids()))
        self.messages = [message for message in self.messages if message.uid not in gone]
        without_uid = [message for message in self.messages if message.uid is None]
        demand(unknown <= len(without_uid), f"{self.mailbox}: VANISHED {uid_set} has {unknown} UIDs that are not there")
        for message in without_uid[:unknown]:
            self.messages.remove(message)

    def fetch(self, number, items):
        """Checks a FETCH response and keeps what it says. Returns the message."""
        demand(1 <= number <= len(self.messages), f"{self.mailbox}: FETCH of {number} of {len(self.messages)}")
        message = self.messages[number - 1]
        if "UID" in items:
            self.identify(number, int(items["UID"]))
        if "FLAGS" in items:
            message.flags = frozenset(flag.lower() for flag in items["FLAGS"]) - {"\\recent"}
        if "MODSEQ" in items:
            modseq = int(items["MODSEQ"][0])
            demand(modseq >= message.modseq, f"{self.mailbox}: MODSEQ of {number} goes from {message.modseq} to {modseq}")
            message.modseq = modseq
        if message.uid:
            for item in ("RFC822.SIZE", "INTERNALDATE", "BODY[]", "EMAILID", "ENVELOPE", "BODYSTRUCTURE"):
                if item in items and items[item] is None:
                    self.shared.owe(self.mailbox, message.uid)  # RFC 2180 section 4.1.2: NIL for what is removed
                elif item in items:
                    self.shared.constant(self.mailbox, message.uid, item, items[item])
            header = items.get("BODY[HEADER.FIELDS (X-NUMBER)]")
            if header:
                self.shared.constant(self.mailbox, message.uid, "number", int(header.split(b":")[1]))
        return message

    def identify(self, number, uid):
        """The message of this number has this UID."""
        message = self.messages[number - 1]
        demand(message.uid in (None, uid), f"{self.mailbox}: message {number} had UID {message.uid} and has {uid}")
        demand(uid not in self.removed, f"{self.mailbox}: UID {uid} was removed before this SELECT")
        if message.uid == uid:
            return
        message.uid = uid
        self.shared.view(self.mailbox, uid)
        before = next((one.uid for one in reversed(self.messages[: number - 1]) if one.uid), 0)
        after = next((one.uid for one in self.messages[number:] if one.uid), uid + 1)
        demand(before < uid < after, f"{self.mailbox}: UID {uid} of message {number} between {before} and {after}")

    def number_of(self, uid):
        return next((index for index, message in enumerate(self.messages, 1) if message.uid == uid), None)

    def forget_flags(self, numbers):
        for number in numbers:
            if number <= len(self.messages):
                self.messages[number - 1].flags = None
