"""`mailwire sync --delete mirror` follows a server: after random changes by imaplib, `mailwire list` and imaplib tell the same.
"""

import imaplib
import json
import os
import random
import re
import signal
import ssl
import time

from authority import Authority
from harness import check, wait_for
from imap_servers import Courier, Cyrus
from servers import Dovecot, Served

PASSWORD = "password"
# Folders that are not renamed or deleted.
FIXED = ("INBOX", "Sent", "Drafts", "Junk", "Trash", "Archive", "INBOX.Trash")
KEYWORDS = ["$Forwarded", "Work", "later"]


# Folders that an account has at the server or here, and not at the other side.
MAY_BE_ABSENT = ("Archive", "Drafts", "Junk", "Sent", "Trash", "Spam", "INBOX/Trash")


class Cases:
    """The cases, over one server. Its folders other than INBOX begin with `prefix`, and `delimiter` separates levels."""

    def __init__(self, bench, program, name, start):
        self.bench, self.program, self.name = bench, program, name
        self.authority = Authority(bench.folder("mirror-authority"))
        self.server = start(bench, self.authority.issue("right"))
        self.ca = getattr(self.server, "ca", self.authority.ca)
        self.imaps = self.server.ports["imaps"] if name == "serve" else self.server.imaps
        self.prefix, self.delimiter = getattr(self.server, "prefix", ""), getattr(self.server, "delimiter", "/")
        self.store = bench.path("mirrored")
        self.count = 0
        bench.secrets.append(PASSWORD)

    def environment(self):
        env = {key: value for key, value in os.environ.items() if not key.startswith("MAILWIRE")}
        return dict(env, HOME=self.bench.directory, MAILWIRE_PASSWORD=PASSWORD)

    def arguments(self, user, *more):
        url = f"imaps://{user}@localhost:{self.imaps}"
        return [self.program, "sync", url, "--into", self.store, "--ca", self.ca, "--delete", "mirror", *more]

    def sync(self, user, *more):
        arguments = self.arguments(user, "--json", *more)
        return json.loads(self.bench.run(arguments, env=self.environment(), seconds=600).expect(0).out)

    def client(self, user):
        context = ssl.create_default_context(cafile=self.ca)
        client = imaplib.IMAP4_SSL("localhost", self.imaps, ssl_context=context)
        client.login(user, PASSWORD)
        # Some servers tell more after the login.
        self.capabilities = client.capability()[1][0].decode().split()
        return client

    def leave(self, client):
        if "UNSELECT" in self.capabilities:
            client.unselect()
        else:
            client.select("INBOX", readonly=True)

    def folders(self, client):
        """The names of the folders that hold messages."""
        names = []
        for line in client.list()[1]:
            attributes, name = re.fullmatch(rb'\((.*?)\) "[/.]" "?(.*?)"?', line).groups()
            if b"\\noselect" not in attributes.lower():
                names.append(name.decode())
        return sorted(names)

    def append(self, client, folder):
        self.count += 1
        number = self.count
        text = f"Subject: {number}\r\nMessage-ID: <{number}@mirror>\r\n\r\n" + "x" * (number % 50 * 40) + "\r\n"
        client.append(folder, random.choice(["", "(\\Seen)", "(\\Flagged Work)"]) or None, None, text.encode())

    def change(self, client):
        """One random change by another client."""
        folders = self.folders(client)
        folder = random.choice(folders)
        name = self.prefix + random.choice(["A", "B", f"A{self.delimiter}x", f"B{self.delimiter}y"]) + str(random.randrange(3))
        kind = random.randrange(10)
        if kind < 3:
            return self.append(client, folder)
        if kind == 3:
            return client.create(name)
        if kind == 4 and folder not in FIXED:
            return client.rename(folder, name)
        if kind == 5 and folder not in FIXED:
            return client.delete(folder)
        client.select(folder)
        numbers = client.search(None, "ALL")[1][0].split()
        chosen = [number.decode() for number in numbers if random.random() < 0.3]
        if chosen and kind in (6, 7):
            flags = random.choice(["\\Seen", "\\Answered", *KEYWORDS])
            client.store(",".join(chosen), random.choice(["+FLAGS", "-FLAGS"]), f"({flags})")
        elif chosen and kind == 8:
            client.store(",".join(chosen), "+FLAGS", "(\\Deleted)")
            client.expunge()
        elif chosen:
            self.move(client, ",".join(chosen), random.choice(folders))
        self.leave(client)

    def move(self, client, numbers, to):
        if "MOVE" in self.capabilities:
            client._simple_command("MOVE", numbers, f'"{to}"')
        elif client.copy(numbers, f'"{to}"')[0] == "OK":
            client.store(numbers, "+FLAGS", "(\\Deleted)")
            client.expunge()

    def remote(self, client):
        """Each folder with its messages: number, size, flags."""
        remote = {}
        for folder in self.folders(client):
            count = int(client.select(folder, readonly=True)[1][0])
            found = []
            # FETCH 1:* in an empty mailbox is an error.
            items = "(FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])"
            for line in client.fetch("1:*", items)[1] if count else []:
                if not isinstance(line, tuple):
                    continue
                flags = re.search(rb"FLAGS \((.*?)\)", line[0]).group(1).decode().lower().split()
                size = int(re.search(rb"RFC822.SIZE (\d+)", line[0]).group(1))
                subject = re.search(rb"Subject: (\d+)", line[1]).group(1).decode()
                found.append((subject, size, sorted(flag for flag in flags if flag != "\\recent")))
            remote[folder.replace(self.delimiter, "/")] = sorted(found)
            self.leave(client)
        return self.relevant(remote)

    def relevant(self, folders):
        return {name: found for name, found in folders.items() if found or name not in MAY_BE_ABSENT}

    def local(self, user):
        """The same, as `mailwire list` tells it."""
        base = [self.program, "list", "--from", self.store, "--account", f"{user}@localhost", "--json"]
        local = {}
        for line in self.bench.run(base).expect(0).out.splitlines():
            name = json.loads(line)["folder"]
            messages = [json.loads(one) for one in self.bench.run([*base, name]).expect(0).out.splitlines()]
            local[name] = sorted((one["subject"], one["size"], sorted(flag.lower() for flag in one["flags"])) for one in messages)
        return self.relevant(local)

    def compare(self, client, user):
        remote, local = self.remote(client), self.local(user)
        for name in sorted({*remote, *local}):
            check(remote.get(name) == local.get(name), f"{name}: {remote.get(name)} there, {local.get(name)} here")

    def random_changes(self, size):
        seed = int(os.environ.get("INTEROP_SEED", random.randrange(1 << 30)))
        self.bench.note(f"seed {seed}")
        random.seed(seed)
        client = self.client("alice")
        for _ in range(size):
            self.append(client, "INBOX")
        for _ in range(4):
            for _ in range(15):
                self.change(client)
            self.sync("alice")
            self.compare(client, "alice")
        again = self.sync("alice")
        check((again["imported"], again["changed"], again["removed"]) == (0, 0, 0), again)
        client.logout()

    def killed(self):
        """A run that is killed at any time loses and doubles nothing."""
        client = self.client("bob")
        for round in range(8):
            for _ in range(25):
                self.append(client, "INBOX")
            for _ in range(3):
                self.change(client)
            process = self.bench.start("sync", self.arguments("bob", "--quiet"), env=self.environment())
            time.sleep(0.05 + 0.07 * round)
            process.stop(signal.SIGKILL)
        self.sync("bob")
        self.compare(client, "bob")
        client.logout()

    def watched(self):
        client = self.client("alice")
        process = self.bench.start("watch", self.arguments("alice", "--watch", "--quiet"), env=self.environment())
        time.sleep(3)
        for _ in range(2):
            self.append(client, "INBOX")
            expected = self.remote(client)["INBOX"]
            wait_for("the message", lambda: self.local("alice").get("INBOX") == expected, 30)
        check(process.stop(signal.SIGTERM) == 0, "the signal does not end it cleanly")
        client.logout()


def served(bench, _pair, program):
    env = dict(os.environ, MAILWIRE_PASSWORD=PASSWORD)
    return Served(bench, program, arguments=["--user", "alice", "--user", "bob"], env=env)


def run(bench, program, size=150):
    """Runs the cases. The first account of each server begins with `size` messages."""
    starts = {
        "dovecot": Dovecot,
        "cyrus": Cyrus,
        "courier": Courier,
        "serve": lambda bench, pair: served(bench, pair, program),
    }
    for name, start in starts.items():
        cases = []
        # A server that does not start is a failed case.
        bench.case(f"mirror.{name}_starts", lambda: cases.append(Cases(bench, program, name, start)))
        for case in cases:
            changes = f"mirror.local_equals_{name}_after_random_changes"
            bench.case(changes, lambda: case.random_changes(size), seconds=120 + size // 5)
        for case in cases if name == "dovecot" else ():
            bench.case("mirror.a_killed_sync_loses_and_doubles_nothing", case.killed, seconds=120)
            bench.case("mirror.watching_follows_dovecot_until_a_signal", case.watched, seconds=90)
