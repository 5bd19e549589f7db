"""Several sessions send random commands to the same mailboxes; every response is checked against the others.

`imap_model` has the rules. The sessions work for a while, then pause: then all have to agree, and with an independent
session, about messages, flags and contents. The seed of a run is printed with its case, and `INTEROP_SEED` sets it.
"""

import os
import random
import threading
import time

from authority import Authority
from harness import Failure, check
from imap_model import Shared, View, demand
from imap_responses import expand
from imap_session import Account, Session
from servers import Dovecot, Served

MAILBOXES = ("shared-1", "shared-2", "shared-3")
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "\\Deleted", "keyword1", "$Forwarded")
# Commands with message numbers, during which no EXPUNGE may arrive (RFC 9051 section 7.5.1, RFC 5256).
NUMBERED = ("FETCH", "STORE", "SEARCH", "SORT", "THREAD")
WORDS = "alpha beta gamma delta epsilon zeta eta theta iota kappa".split()


def letter(number, generator):
    """A message whose header has its number; the text has random words."""
    words = " ".join(generator.choices(WORDS, k=generator.randint(3, 40)))
    return (f"From: {generator.choice(WORDS)}@example.org\r\nTo: all@example.org\r\nSubject: number {number}\r\n"
            f"Date: {number % 28 + 1} Jun 2022 12:00:00 +0000\r\nMessage-ID: <{number}@concurrent.example>\r\n"
            f"X-Number: {number}\r\n\r\n{words}\r\n").encode()


class Actor:
    """One session with its random choices and its view."""

    def __init__(self, account, shared, name, seed):
        self.random, self.shared, self.name = random.Random(seed), shared, name
        self.session = Session(account, name=name)
        self.account, self.view, self.commands, self.running = account, None, 0, []
        self.capabilities = self.session.capabilities()
        self.qresync = "QRESYNC" in self.capabilities and self.random.random() < 0.4
        if self.qresync:
            self.session.ok("ENABLE QRESYNC")
        self.seen_modseq = {}

    # -- commands and responses ------------------------------------------------------------------------------------

    def handle(self, response):
        """Checks one untagged response, and applies it to the view."""
        view, kind = self.view, response.kind
        if kind in ("EXISTS", "RECENT", "EXPUNGE", "FETCH", "VANISHED"):
            demand(view is not None or self.selecting is not None, f"{response} without a selected mailbox")
        if self.selecting is not None and kind in ("EXISTS", "FETCH", "VANISHED", "RECENT"):
            view = self.selecting
        if kind == "EXISTS":
            view.exists(response.number)
        elif kind == "RECENT":
            view.recent(response.number)
        elif kind == "EXPUNGE":
            demand(not self.qresync, "EXPUNGE after ENABLE QRESYNC")
            demand(self.running, "EXPUNGE without a command")
            demand(self.running[0].split()[0] not in NUMBERED, f"EXPUNGE during {self.running[0]}")
            view.expunge(response.number)
        elif kind == "VANISHED":
            demand(self.qresync, "VANISHED without ENABLE QRESYNC")
            if response.tree[1] == "EARLIER":
                return
            demand(self.running and self.running[0].split()[0] not in NUMBERED, f"VANISHED during {self.running}")
            view.vanished(response.tree[1])
        elif kind == "FETCH":
            view.fetch(response.number, response.items())

    selecting = None

    def run(self, *commands):
        """Sends commands at once and reads all their responses. Returns for each its result and untagged responses."""
        self.commands += len(commands)
        self.running = [command if isinstance(command, str) else command[0].decode() for command in commands]
        tags, early = [], []
        for command in commands:
            tag, seen = self.session.start(command)
            for response in seen:
                if response.tag == "*":
                    self.handle(response)
            early += seen
            tags.append(tag)
        results, seen = [], [one for one in early if one.tag == "*"]
        finished = {one.tag: one for one in early if one.tag != "*"}
        for tag in tags:
            while tag not in finished:
                response = self.session.response()
                if response.tag == "*":
                    self.handle(response)
                    seen.append(response)
                else:
                    demand(response.tag in tags, f"unknown tag {response}")
                    finished[response.tag] = response
            results.append((finished[tag], seen))
            seen = []
            self.running.pop(0)
        return results

    def one(self, command):
        return self.run(command)[0]

    def ok(self, command):
        done, seen = self.one(command)
        demand(done.kind == "OK", f"{command!r:.200}: {done}")
        return done, seen

    # -- choices ---------------------------------------------------------------------------------------------------

    def some(self):
        """A set of message numbers of the view, and the numbers."""
        count = len(self.view)
        low = self.random.randint(1, count)
        high = min(count, low + self.random.choice((0, 0, 1, 3, 10)))
        if self.random.random() < 0.1:
            return "1:*", list(range(1, count + 1))
        return f"{low}:{high}" if low < high else f"{low}", list(range(low, high + 1))

    def some_uids(self):
        """A set of UIDs, and the known ones of the view among them."""
        uids = [uid for uid in self.view.uids() if uid]
        if not uids:
            return None, []
        low = self.random.randint(0, len(uids) - 1)
        chosen = uids[low : low + self.random.choice((1, 1, 2, 4, 11))]
        return (f"{chosen[0]}:{chosen[-1]}" if len(chosen) > 1 else f"{chosen[0]}"), chosen

    def flags(self):
        return " ".join(self.random.sample(FLAGS, self.random.choice((0, 1, 1, 2, 3))))

    def step(self):
        if self.view is None:
            return self.select()
        if None in self.view.uids():
            self.ok(f"FETCH {self.view.uids().index(None) + 1}:* (UID)")
        crowded = len(self.view) > 50
        choices = [(self.append, 1 if crowded else 5), (self.fetch, 8), (self.store, 8), (self.search, 5), (self.copy, 1 if crowded else 2),
                   (self.expunge, 6 if crowded else 2), (self.noop, 4), (self.status, 2), (self.select, 2), (self.pipeline, 4),
                   (self.idle, 1), (self.move, 2), (self.listing, 1), (self.sort, 2), (self.unselect, 0.3)]
        action = self.random.choices([one for one, _ in choices], [weight for _, weight in choices])[0]
        return action()

    # -- actions ---------------------------------------------------------------------------------------------------

    def select(self):
        mailbox = self.random.choice(MAILBOXES)
        _, removed, uidnext, modseq = self.shared.snapshot(mailbox)
        self.selecting = View(self.shared, mailbox, removed)
        done, seen = self.ok(f"SELECT {mailbox}")
        self.view, self.selecting = self.selecting, None
        codes = {one.code[0]: one.code[1:] for one in seen if one.code}
        demand(self.view.exists_seen and "UIDVALIDITY" in codes and "UIDNEXT" in codes, f"SELECT without {codes}")
        self.shared.validity(mailbox, codes["UIDVALIDITY"][0])
        self.shared.growing(mailbox, "uidnext", int(codes["UIDNEXT"][0]), uidnext)
        if "HIGHESTMODSEQ" in codes:
            self.shared.growing(mailbox, "modseq", int(codes["HIGHESTMODSEQ"][0]), modseq)
        demand(done.code and done.code[0] == "READ-WRITE", f"{done}")
        if len(self.view):
            # Messages that arrive meanwhile have no response.
            self.ok("UID FETCH 1:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (X-NUMBER)])")

    def unselect(self):
        # CLOSE would remove messages without saying which.
        self.ok("UNSELECT")
        self.view = None

    def append(self):
        mailbox = self.random.choice(MAILBOXES)
        count = self.random.choice((1, 1, 2, 3)) if "MULTIAPPEND" in self.capabilities else 1
        before = self.shared.snapshot(mailbox)[0]
        numbers = [self.shared.next_number() for _ in range(count)]
        deleted = []
        command = [f"APPEND {mailbox}".encode()]
        for number in numbers:
            flags = self.flags()
            deleted.append("Deleted" in flags)
            command += [b" " + (f"({flags}) ".encode() if flags else b""), (letter(number, self.random), "+" if self.random.random() < 0.7 else "")]
        done, _ = self.ok(command)
        uids = expand(done.code[2])
        demand(len(uids) == count and uids == sorted(uids), f"{done}")
        self.shared.validity(mailbox, done.code[1])
        for uid, number, is_deleted in zip(uids, numbers, deleted):
            self.shared.new_uid(mailbox, uid, number, before, is_deleted)

    def fetch(self):
        if not len(self.view):
            return self.noop()
        items = self.random.choice(("FLAGS", "(UID FLAGS)", "(UID RFC822.SIZE INTERNALDATE)", "(UID BODY.PEEK[])", "(UID ENVELOPE)",
                                    "(UID BODY.PEEK[HEADER.FIELDS (X-NUMBER)])", "(UID FLAGS BODYSTRUCTURE)", "(UID BODY[TEXT])", "(FLAGS UID MODSEQ)"))
        if self.random.random() < 0.5:
            numbers, wanted = self.some()
            view, uids = self.view, self.view.uids()
            _, seen = self.ok(f"FETCH {numbers} {items}")
            there = {one.number for one in seen if one.kind == "FETCH"}
            for number in wanted:
                if number not in there and uids[number - 1]:
                    self.shared.owe(view.mailbox, uids[number - 1])
        else:
            uid_set, wanted = self.some_uids()
            if not wanted:
                return self.noop()
            mailbox = self.view.mailbox
            _, seen = self.ok(f"UID FETCH {uid_set} {items}")
            there = {int(one.items()["UID"]) for one in seen if one.kind == "FETCH" and "UID" in one.items()}
            for uid in set(wanted) - there:
                self.shared.owe(mailbox, uid)
        return None

    def store(self):
        if not len(self.view):
            return self.noop()
        kind = self.random.choice(("FLAGS", "+FLAGS", "+FLAGS", "-FLAGS", "-FLAGS"))
        silent = self.random.random() < 0.4
        flags = f"{kind}{'.SILENT' if silent else ''} ({self.flags()})"
        if self.random.random() < 0.5:
            numbers, wanted = self.some()
            prefix = f"STORE {numbers} {flags}"
        else:
            uids, chosen = self.some_uids()
            wanted = [self.view.number_of(uid) for uid in chosen]
            prefix = f"UID STORE {uids} {flags}"
            if not wanted:
                return self.noop()
        if silent:
            self.view.forget_flags(wanted)
        done, _ = self.one(prefix)
        # A server may refuse a STORE of messages that another session has removed (RFC 2180 section 4.2).
        demand(done.kind == "OK" or (done.kind == "NO" and "EXPUNGEISSUED" in (done.code or [])), f"{prefix}: {done}")
        if silent:
            self.view.messages and self.noop()
        return None

    def search(self):
        by_uid = self.random.random() < 0.5
        prefix = "UID SEARCH" if by_uid else "SEARCH"
        key = self.random.choice(("ALL", "ALL", "SEEN", "NOT DELETED", "number"))
        if key == "number":
            known = [message.uid for message in self.view.messages if message.uid in self.shared.facts(self.view.mailbox).contents]
            if not known:
                return self.noop()
            uid = self.random.choice(known)
            number = self.shared.facts(self.view.mailbox).contents[uid]
            view = self.view
            before = view.uids()
            _, seen = self.ok(f"{prefix} HEADER X-Number {number}")
            found = [int(value) for one in seen if one.kind == "SEARCH" for value in one.tree[1:]]
            found = found if by_uid else [before[value - 1] for value in found if value <= len(before)]
            contents = self.shared.facts(view.mailbox).contents
            for other in found:
                demand(other is None or f"{contents.get(other, number)}".startswith(f"{number}") or f"{number}" in f"{contents.get(other)}",
                       f"SEARCH of {number} finds UID {other}, which is {contents.get(other)}")
            if uid not in found and None not in found:
                self.shared.owe(view.mailbox, uid)
            return None
        before = self.view.uids()
        _, seen = self.ok(f"{prefix} {key}")
        results = [one for one in seen if one.kind == "SEARCH"]
        demand(len(results) == 1, f"{len(results)} SEARCH responses")
        found = [int(value) for value in results[0].tree[1:]]
        demand(found == sorted(set(found)), f"{found} is not ascending")
        if not by_uid:
            demand(not found or found[-1] <= len(self.view), f"SEARCH finds {found[-1:]} of {len(self.view)}")
            if key == "ALL":
                for number in set(range(1, len(before) + 1)) - set(found):
                    if before[number - 1]:
                        self.shared.owe(self.view.mailbox, before[number - 1])
        elif key == "ALL":
            for uid in set(before) - {None} - set(found):
                self.shared.owe(self.view.mailbox, uid)
        return None

    def sort(self):
        if "SORT" not in self.capabilities:
            return self.noop()
        _, seen = self.ok("SORT (SUBJECT) UTF-8 ALL" if self.random.random() < 0.5 else "UID SORT (REVERSE ARRIVAL) UTF-8 ALL")
        found = [int(value) for one in seen if one.kind == "SORT" for value in one.tree[1:]]
        demand(len(found) == len(set(found)), f"SORT finds a message twice: {found}")
        if not found:
            return None  # Dovecot's empty THREAD response has a space at its end
        _, seen = self.ok("THREAD REFERENCES UTF-8 ALL")
        flat = [number for one in seen if one.kind == "THREAD" for number in flatten(one.tree[1:])]
        demand(len(flat) == len(set(flat)), f"THREAD finds a message twice: {flat}")
        demand(all(number <= len(self.view) for number in flat), f"THREAD finds {max(flat or [0])} of {len(self.view)}")
        return None

    def copy(self, verb="COPY"):
        if not len(self.view):
            return self.noop()
        target, source = self.random.choice(MAILBOXES), self.view.mailbox
        before = self.shared.snapshot(target)[0]
        uid_set, wanted = self.some_uids()
        if not wanted:
            return self.noop()
        if self.random.random() < 0.5:
            uid_set, command = None, f"{verb} {self.some()[0]} {target}"
        else:
            command = f"UID {verb} {uid_set} {target}"
        done, seen = self.one(command)
        if done.kind == "NO":  # another session has removed the messages (RFC 2180 section 4.4)
            return None
        demand(done.kind == "OK", f"{command}: {done}")
        codes = [one.code for one in seen + [done] if one.code and one.code[0] == "COPYUID"]
        for code in codes:
            sources, targets = expand(code[2]), expand(code[3])
            demand(len(sources) == len(targets) and targets == sorted(targets), f"{code}")
            self.shared.validity(target, code[1])
            contents = self.shared.facts(source).contents
            for uid, copied in zip(sources, targets):
                if uid in contents:
                    self.shared.new_uid(target, copied, contents[uid], before, True)
                if verb == "MOVE":
                    self.shared.remove(source, uid)
        return None

    def move(self):
        return self.copy("MOVE")

    def expunge(self):
        if not len(self.view):
            return self.noop()
        if self.random.random() < 0.5:
            numbers, wanted = self.some()
            self.view.forget_flags(wanted)
            self.one(f"STORE {numbers} +FLAGS.SILENT (\\Deleted)")
        if self.random.random() < 0.4:
            uids, _ = self.some_uids()
            if uids:
                return self.ok(f"UID EXPUNGE {uids}")
        return self.ok("EXPUNGE")

    def noop(self):
        self.ok(self.random.choice(("NOOP", "NOOP", "CHECK")))

    def status(self):
        others = [name for name in MAILBOXES if self.view is None or name != self.view.mailbox]
        mailbox = self.random.choice(others)
        _, _, uidnext, modseq = self.shared.snapshot(mailbox)
        _, seen = self.ok(f"STATUS {mailbox} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)")
        items = next(one for one in seen if one.kind == "STATUS").items()
        self.shared.validity(mailbox, items["UIDVALIDITY"])
        self.shared.growing(mailbox, "uidnext", int(items["UIDNEXT"]), uidnext)
        self.shared.growing(mailbox, "modseq", int(items["HIGHESTMODSEQ"]), modseq)
        demand(int(items["UNSEEN"]) <= int(items["MESSAGES"]) < int(items["UIDNEXT"]), f"{items}")

    def listing(self):
        if not self.account.renames:
            return self.ok('LIST "" "*"')
        name = f"own-{self.name}"
        self.one(f"DELETE {name}")
        self.ok(f"CREATE {name}")
        self.ok(f"SUBSCRIBE {name}")
        _, seen = self.ok(f'LIST "" "{name}%"')
        demand([one.tree[3] for one in seen if one.kind == "LIST"] == [name.encode()], f"{seen}")
        self.one(f"DELETE {name}x")
        self.ok(f"RENAME {name} {name}x")
        _, seen = self.ok(f'LIST "" "{name}*"')
        demand([one.tree[3] for one in seen if one.kind == "LIST"] == [f"{name}x".encode()], f"{seen}")
        self.ok(f"DELETE {name}x")
        _, seen = self.ok('LIST "" "*"')
        names = {one.tree[3].decode() for one in seen if one.kind == "LIST"}
        demand(set(MAILBOXES) <= names, f"{names}")
        return None

    def idle(self):
        self.running = ["IDLE"]
        tag = self.session.tag()
        self.session.send(f"{tag} IDLE\r\n".encode())
        end = time.monotonic() + self.random.random() * 0.1
        done = False
        while True:
            if not done and time.monotonic() > end:
                self.session.send(b"DONE\r\n")
                done = True
            if not done and not self.session.waiting(0.02):
                continue
            response = self.session.response()
            if response.tag == tag:
                break
            if response.tag == "*":
                self.handle(response)
        self.running = []

    def pipeline(self):
        """Several commands at once. They use UIDs, because message numbers may change between them."""
        if not len(self.view):
            return self.noop()
        uids, _ = self.some_uids()
        if not uids:
            return self.noop()
        possible = [f"UID FETCH {uids} (FLAGS)", f"UID STORE {uids} +FLAGS ({self.flags()})", "NOOP", "UID SEARCH ALL",
                    f"UID FETCH {uids} (BODY.PEEK[])", "EXPUNGE", f"STATUS {MAILBOXES[0]} (MESSAGES)", f"UID FETCH {uids} (ENVELOPE)"]
        for done, _ in self.run(*self.random.choices(possible, k=self.random.randint(2, 6))):
            demand(done.kind == "OK" or done.code and "EXPUNGEISSUED" in done.code, f"{done}")
        return None


def flatten(tree):
    for one in tree:
        if isinstance(one, list):
            yield from flatten(one)
        else:
            yield int(one)


class Run:
    """Actors in threads, with pauses in which they have to agree."""

    def __init__(self, account, seed, actors):
        self.account, self.shared, self.failure = account, Shared(), None
        self.witness = Session(account, name="w")
        for mailbox in MAILBOXES:
            self.witness.ok(f"CREATE {mailbox}")
            self.witness.ok(f"SELECT {mailbox}")  # Dovecot chooses UIDVALIDITY at the first use
        self.actors = [Actor(account, self.shared, f"s{index}", f"{seed}-{index}") for index in range(actors)]
        self.checked = 0

    def work(self, actor, end):
        try:
            while time.monotonic() < end and not self.failure:
                actor.step()
        except Exception as failure:  # reported by the case's own thread
            self.failure = self.failure or (actor, failure)

    def round(self, seconds):
        threads = [threading.Thread(target=self.work, args=(actor, time.monotonic() + seconds)) for actor in self.actors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(seconds + 60)
        self.report()
        self.pause()

    def report(self):
        if self.failure:
            actor, failure = self.failure
            log = "\n".join(repr(line)[1:300] for line in actor.session.log[-40:])
            kind = "" if isinstance(failure, Failure) else f"{type(failure).__name__} "
            raise Failure(f"session {actor.name}: {kind}{failure}\n{log}") from failure

    def pause(self):
        """All sessions agree with the witness about each mailbox."""
        for mailbox in MAILBOXES:
            truth = self.truth(mailbox)
            for actor in self.actors:
                if actor.view is None or actor.view.mailbox != mailbox:
                    continue
                self.failure = (actor, "during a pause")
                try:
                    self.agree(actor, truth)
                except Failure as failure:
                    self.failure = (actor, failure)
                    self.report()
                self.failure = None

    def agree(self, actor, truth):
        actor.noop()
        actor.noop()
        view = actor.view
        demand(len(view) == len(truth), f"{view.mailbox}: {len(view)} messages, and {len(truth)} for another session")
        remembered = [message.flags for message in view.messages]
        if truth:
            actor.ok("FETCH 1:* (UID FLAGS)")
        for message, before, (uid, (flags, _)) in zip(view.messages, remembered, truth.items()):
            demand(message.uid == uid, f"{view.mailbox}: UID {message.uid}, and {uid} for another session")
            demand(message.flags == flags, f"{view.mailbox}: UID {uid} has {set(message.flags or ())}, and {set(flags)} for another session")
            demand(before is None or before == flags, f"{view.mailbox}: no response said that UID {uid} has {set(flags)} and not {set(before or ())}")

    def truth(self, mailbox):
        """What a new session sees: flags and contents by UID. Checks it against what the actors were told."""
        facts, session = self.shared.facts(mailbox), self.witness
        status = next(one for one in session.ok(f"STATUS {mailbox} (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)") if one.kind == "STATUS").items()
        seen = session.ok(f"EXAMINE {mailbox}")
        codes = {one.code[0]: one.code[1:] for one in seen if one.code}
        exists = next(one.number for one in seen if one.kind == "EXISTS")
        demand(int(status["MESSAGES"]) == exists, f"{mailbox}: STATUS has {status['MESSAGES']} messages and SELECT {exists}")
        demand(status["UIDNEXT"] == codes["UIDNEXT"][0] and status["UIDVALIDITY"] == codes["UIDVALIDITY"][0] == facts.uidvalidity,
               f"{mailbox}: {status} and {codes}")
        found = {}
        if exists:
            for one in session.ok("FETCH 1:* (UID FLAGS RFC822.SIZE BODY.PEEK[])"):
                if one.kind == "FETCH":
                    items = one.items()
                    uid, body = int(items["UID"]), items["BODY[]"]
                    number = int(body.split(b"X-Number: ")[1].split(b"\r\n")[0])
                    demand(int(items["RFC822.SIZE"]) == len(body), f"{mailbox}: UID {uid} has {len(body)} bytes of {items['RFC822.SIZE']}")
                    self.shared.constant(mailbox, uid, "number", number)
                    self.shared.constant(mailbox, uid, "BODY[]", body)
                    self.shared.constant(mailbox, uid, "RFC822.SIZE", items["RFC822.SIZE"])
                    found[uid] = frozenset(flag.lower() for flag in items["FLAGS"]) - {"\\recent"}, number
                    self.checked += 1
        demand(len(found) == exists and list(found) == sorted(found), f"{mailbox}: UIDs {list(found)} of {exists} messages")
        demand(not found or int(status["UIDNEXT"]) > max(found), f"{mailbox}: UIDNEXT {status['UIDNEXT']}, and UID {max(found or [0])}")
        demand(int(status["UNSEEN"]) == sum("\\seen" not in flags for flags, _ in found.values()), f"{mailbox}: {status} and {found}")
        for what, key in (("removed", facts.removed), ("without a response in FETCH or SEARCH", facts.owed)):
            back = set(found) & set(key)
            demand(not back, f"{mailbox}: UIDs {back} are there and were {what}")
        lost = set(facts.contents) - set(found) - facts.removed - facts.owed - facts.unseen_deleted
        demand(len(lost) <= facts.unknown_removed, f"{mailbox}: UIDs {lost} are not there, and {facts.unknown_removed} were removed")
        facts.removed.update(set(facts.contents) - set(found))
        facts.owed.clear()
        facts.unknown_removed = 0
        for key in ("SEEN", "FLAGGED", "DELETED", "ANSWERED", "DRAFT", "KEYWORD keyword1"):
            flag = key.split()[-1].lower() if " " in key else "\\" + key.lower()
            result = next(one for one in session.ok(f"UID SEARCH {key}") if one.kind == "SEARCH")
            expected = sorted(uid for uid, (flags, _) in found.items() if flag in flags)
            demand(sorted(map(int, result.tree[1:])) == expected, f"{mailbox}: UID SEARCH {key} finds {result.tree[1:]} and not {expected}")
        session.ok("CLOSE")
        return found

    def close(self):
        for actor in self.actors:
            actor.session.close()
        self.witness.close()


def play(bench, account, seconds, actors=4, rounds=4):
    seed = os.environ.get("INTEROP_SEED") or str(random.SystemRandom().randrange(10**6))
    bench.say(f"INTEROP_SEED={seed}")
    run = Run(account, seed, actors)
    try:
        for _ in range(rounds):
            run.round(seconds / rounds)
    finally:
        run.close()
    commands = sum(actor.commands for actor in run.actors)
    check(commands > 20 * actors, f"only {commands} commands")
    bench.note(f"seed {seed}, {commands} commands, {run.shared.numbers} messages, {run.checked} compared")


def run(bench, program, seconds=10):
    def at_dovecot():
        pair = Authority(bench.folder("authority")).issue("right")
        account = Account(Dovecot(bench, pair, features=True).imaps, "alice", "password")
        account.renames = False  # this version waits for its own lock for minutes when sessions rename and delete
        play(bench, account, seconds / 2)

    def at_mailwire():
        served = Served(bench, program)
        play(bench, Account(served.ports["imaps"], served.user, served.password), seconds)

    bench.case("concurrent.sessions_agree_at_dovecot", at_dovecot, seconds=60 + 2 * seconds)
    bench.case("concurrent.sessions_agree", at_mailwire, seconds=60 + 2 * seconds)
