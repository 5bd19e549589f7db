"""Groups of commands with the responses that the RFCs require, from the scripts in `conformance/`.

The scripts' language is explained in README.md there. The same groups run against Dovecot, so that they are not only this
project's reading of the RFCs; a step where Dovecot is known to differ says why.
"""

import glob
import os
import re

from authority import Authority
from harness import Failure, check
from imap_patterns import matches, pattern_kind, read_pattern
from imap_session import Account, Closed, Session
from servers import Dovecot, Served

# Capabilities that `serve` does not offer.
NOT_OFFERED = set()
SCRIPTS = os.path.join(os.path.dirname(__file__), "..", "conformance")
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[rnt\\])")
VARIABLE = re.compile(r"\{([a-z]\w*(?:[+-]\d+)?)\}")
LITERAL = re.compile(r"<<([+~]*)(?:\"([^\"]*)\"|([\w-]+))>>")
NOT_ATOM = re.compile(r"[\s\"()\[\]]|^$")
BOX = re.compile(r"([\w-]+)(?:\(([^)]*)\))?(?:@(\d{1,2}-\w{3}-\d{4}))?")


class Step:
    """A command of one session with what it has to yield."""

    def __init__(self, kind, session, text, place):
        self.kind, self.session, self.text, self.place = kind, session, text, place
        self.expected, self.never, self.result, self.known = [], [], "OK", None


class Group:
    """A group of steps, from one heading to the next one."""

    def __init__(self, name, place):
        self.name, self.place, self.needs, self.messages, self.steps = name, place, [], {}, []
        self.known = None


def unescape(text):
    return ESCAPE.sub(lambda one: {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}.get(one[1]) or chr(int(one[1][1:], 16)), text)


def read_scripts():
    """All groups of all scripts."""
    groups = []
    for path in sorted(glob.glob(f"{SCRIPTS}/*.txt")):
        shared = messages = {}
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        message = None
        for number, line in enumerate(lines, 1):
            place = f"{os.path.basename(path)}:{number}"
            if message is not None and line.startswith("|"):
                messages[message] += unescape(line[1:]).encode("latin-1") + b"\r\n"
                continue
            message = None
            word, _, rest = line.partition(" ")
            if not line.strip() or word == "#":
                continue
            if word == "##":
                name, _, _ = rest.partition(":")
                groups.append(Group(f"{os.path.basename(path)[:-4]}.{name.strip()}", place))
                messages = groups[-1].messages = dict(shared)
            elif word == "message":
                message = rest
                messages[rest] = b""
            else:
                read_line(groups[-1], word, rest, place)
    return groups


def read_line(group, word, rest, place):
    step = group.steps[-1] if group.steps else None
    if word == "needs":
        group.needs += rest.split()
    elif word == "dovecot":
        if step is None:
            group.known = rest
        else:
            step.known = rest
    elif re.fullmatch(r"[0-9a-z]?\+?>", word):
        kind = "pipelined" if "+" in word else "command"
        group.steps.append(Step(kind, word.rstrip("+>") or "1", rest, place))
    elif word in ("box", "push", "raw", "set"):
        group.steps.append(Step(word, "1", rest, place))
    elif word == "<":
        step.expected.append(rest)
    elif word == "!":
        step.never += rest.split()
    elif word in ("OK", "NO", "BAD", "BYE"):
        step.result = (word + " " + rest).strip()
    else:
        raise ValueError(f"{place}: {word}")


class Runner:
    """Runs one group against one server."""

    def __init__(self, account, group, number):
        self.account, self.group, self.sessions, self.waiting = account, group, {}, []
        self.bound = {"box": f"g{number}", "user": account.user, "password": account.password}
        self.commands = 0

    def session(self, name):
        """A session by its name; one with a letter isn't logged in."""
        if name not in self.sessions:
            self.sessions[name] = Session(self.account, login=name.isdigit(), name=name if name != "1" else "")
        return self.sessions[name]

    def fill(self, text, pattern=False):
        """Puts the values of variables into a command or pattern; in a pattern, those stay that are no single atom."""
        def value(found):
            name, sign, offset = re.fullmatch(r"(\w+?)(?:([+-])(\d+))?", found[1]).groups()
            if name not in self.bound or (pattern and NOT_ATOM.search(self.bound[name])):
                return found[0]
            return str(int(self.bound[name]) + int(sign + offset)) if sign else self.bound[name]
        return VARIABLE.sub(value, text)

    def pieces(self, text):
        """A command's pieces for `Session.start`."""
        found, at = [], 0
        text = self.fill(text)
        for literal in LITERAL.finditer(text):
            found.append(unescape(text[at : literal.start()]).encode())
            data = unescape(literal[2]).encode() if literal[2] is not None else self.group.messages[literal[3]]
            found.append((data, literal[1]))
            at = literal.end()
        return found + [unescape(text[at:]).encode()]

    def pattern(self, text):
        return read_pattern(self.fill(text, pattern=True), self.group.messages)

    def judge(self, steps, done, seen):
        """Checks the results of commands, and the responses to all of them."""
        for step, result in zip(steps, done):
            check(result is None or matches(self.pattern(step.result), result, self.bound), f"{step.result} expected, and not {result}")
        texts = [text for step in steps for text in step.expected]
        exact = {pattern_kind(self.pattern(text)) for text in texts} - {"OK", "NO", "BAD"}
        left = [one for one in seen if one.kind in exact]
        for text in texts:
            pattern = self.pattern(text)
            if pattern[0] == "EXPUNGED":
                removed = expunged(seen)
                check(removed == sorted(map(int, pattern[1:])), f"{text}, and not {removed}")
                continue
            found = next((one for one in (left if pattern_kind(pattern) in exact else seen) if matches(pattern, one, self.bound)), None)
            check(found is not None, f"{text} is missing in {seen}")
            if found in left:
                left.remove(found)
        check(not left, f"not expected: {left}")
        bad = [one for one in seen for step in steps if one.kind in step.never]
        check(not bad, f"must not be there: {bad}")

    def run(self):
        """Runs all steps; returns the known steps that failed."""
        known = []
        try:
            for step in self.group.steps:
                try:
                    self.step(step)
                except (Failure, OSError) as failure:
                    if not step.known:
                        session = self.sessions.get(step.session)
                        raise Failure(f"{step.place}: {step.kind} {step.text}: {failure}\n" + "\n".join(
                            repr(line)[1:400] for line in (session.log[-12:] if session else []))) from None
                    known.append(step)
        finally:
            for session in self.sessions.values():
                session.close()
        return known

    def step(self, step):
        if step.kind == "box":
            return self.box(step.text.split())
        if step.kind == "push":
            session = self.session("1")
            pattern = self.pattern(step.text)
            session.until(lambda one: matches(pattern, one, self.bound))
            return None
        if step.kind == "raw":
            return self.session("1").send(unescape(self.fill(step.text)).encode("latin-1"))
        session = self.session(step.session)
        if step.kind == "pipelined":
            self.waiting.append(step)
            return None
        self.commands += 1 + len(self.waiting)
        if self.waiting:
            return self.pipeline(session, step)
        if step.text == "IDLE":
            session.idle = session.tag()
            session.send(session.idle.encode() + b" IDLE\r\n")
            session.pushed = session.until(lambda one: one.tag == "+")[:-1]
            return None
        if step.text == "DONE":
            session.send(b"DONE\r\n")
            done, seen = session.finish(session.idle, session.pushed)
            return self.judge([step], [done], seen)
        try:
            done, seen = session.command(self.pieces(step.text))
        except Closed:
            check(step.result == "BYE", "the server closed the connection")
            return None
        return self.judge([step], [done], seen)

    def pipeline(self, session, last):
        steps, self.waiting = self.waiting + [last], []
        tags, out = [], b""
        for step in steps:
            tags.append(session.tag())
            out += tags[-1].encode() + b" "
            for piece in self.pieces(step.text):
                out += piece if isinstance(piece, bytes) else b"{%d+}\r\n%s" % (len(piece[0]), piece[0])
            out += b"\r\n"
        session.send(out)
        seen, done = [], {}
        while len(done) < len(tags):
            try:
                response = session.response()
            except Closed:
                break
            if response.tag == "*":
                seen.append(response)
            else:
                check(response.tag in tags and response.tag not in done, f"unexpected tag: {response}")
                done[response.tag] = response
        for step, tag in zip(steps, tags):
            check(tag in done or step.result == "BYE", f"{step.text} has no result")
        self.judge(steps, [done.get(tag) for tag in tags], seen)

    def box(self, words):
        """Creates the group's mailbox, fills it, and selects it."""
        session, name = self.session("1"), self.bound["box"]
        session.ok(f"CREATE {name}")
        if words and words[0].isdigit():
            contents = [(numbered(number), "", "") for number in range(1, int(words[0]) + 1)]
        else:
            parts = [BOX.fullmatch(word.replace("+", " ")) for word in words]
            contents = [(self.group.messages[part[1]], part[2] or "", part[3] or "") for part in parts]
        for message, flags, date in contents:
            session.append(name, message, flags, date and f"{date:>11} 12:00:00 +0000")
        for response in session.ok(f"SELECT {name}"):
            if response.code and response.code[0] in ("UIDVALIDITY", "UIDNEXT", "HIGHESTMODSEQ"):
                self.bound[response.code[0].lower()] = response.code[1]
        if contents:
            for response in session.ok("FETCH 1:* UID"):
                if response.kind == "FETCH" and "UID" in response.items():
                    self.bound[f"u{response.number}"] = response.items()["UID"]
        self.commands += 3 + len(contents)


def expunged(responses):
    """The numbers, before the first of these responses, of the messages that EXPUNGE removes."""
    there, gone = list(range(1, 1000)), []
    for response in responses:
        if response.kind == "EXPUNGE":
            gone.append(there.pop(response.number - 1))
    return sorted(gone)


def numbered(number):
    """A message whose header and text have its number."""
    return (f"From: Sender {number} <sender{number}@example.org>\r\nTo: list@example.org\r\n"
            f"Date: {number % 28 + 1:02} Mar 2021 10:{number % 60:02}:00 +0000\r\nSubject: message {number}\r\n"
            f"Message-ID: <{number}@numbered.example>\r\nX-Number: {number}\r\n\r\nThis is text {number}.\r\nLine two.\r\n").encode()


class Cases:
    """The groups, over one server of each kind."""

    def __init__(self, bench, program):
        self.bench, self.program = bench, program
        self.groups = read_scripts()

    def mailwire(self):
        served = Served(self.bench, self.program)
        return Account(served.ports["imaps"], served.user, served.password)

    def dovecot(self):
        pair = Authority(self.bench.folder("authority")).issue("right")
        return Account(Dovecot(self.bench, pair, features=True).imaps, "alice", "password")

    def all_groups(self, account, is_dovecot):
        capabilities = Session(account).capabilities()
        valued = {name.partition("=")[0] for name in capabilities if name.startswith("APPENDLIMIT=")}
        failed, lacking, known, gone, commands = [], [], 0, [], 0
        for number, group in enumerate(self.groups, 1):
            missing = [name for name in group.needs if name not in capabilities and name not in valued]
            if missing:
                lacking.append(missing)
                self.bench.say(f"lacking: {group.name} ({' '.join(missing)})")
                continue
            if is_dovecot and group.known:
                known += 1
                continue
            if not is_dovecot:
                for step in group.steps:
                    step.known = None
            runner = Runner(account, group, number)
            try:
                differences = runner.run()
                expected = [step for step in group.steps if step.known]
                known += len(differences)
                gone += [step.place for step in expected if step not in differences]
            except Failure as failure:
                failed.append(group.name)
                self.bench.say(f"{group.name}: {failure}")
            commands += runner.commands
        self.bench.note(f"{len(self.groups)} groups, {commands} commands, {known} known differences, {len(lacking)} lacking")
        text = f"{len(failed)} groups failed: {' '.join(failed)}" if failed else ""
        check(not failed and not gone, f"{text} no differences any more: {' '.join(gone)}")
        return lacking


def run(bench, program, only=""):
    cases = Cases(bench, program)
    cases.groups = [group for group in cases.groups if only in group.name]

    def ours():
        lacking = [name for missing in cases.all_groups(cases.mailwire(), False) for name in missing if name not in NOT_OFFERED]
        check(not lacking, f"groups cannot run without {lacking}")

    # Dovecot first: the steps' known differences are forgotten for our server.
    bench.case("conformance.groups_hold_at_dovecot", lambda: cases.all_groups(cases.dovecot(), True), seconds=180)
    bench.case("conformance.groups_hold", ours, seconds=180)
