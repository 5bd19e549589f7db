"""Programs that read and keep mail, with `mailwire serve` and with Dovecot: both have to give the same results.

imaplib, IMAPClient and imapflow run a script of `programs/`, which prints what the server said. curl, mbsync, offlineimap,
getmail, fetchmail, neomutt and interimap run as people run them; afterwards the mailboxes of both servers are compared.
"""

import glob
import imaplib
import json
import os
import re
import shutil
import ssl
import sys

from authority import Authority
from harness import check
from servers import Dovecot, Served
from transfer_agents import NODE_MODULES, installed

PROGRAMS = os.path.join(os.path.dirname(__file__), "..", "programs")
sys.path.insert(0, PROGRAMS)

from messages import MESSAGES  # noqa: E402


class Server:
    """One server's address, account and authority."""

    def __init__(self, name, port, user, password, ca):
        self.name, self.port, self.user, self.password, self.ca = name, port, user, password, ca

    def client(self):
        client = imaplib.IMAP4_SSL("localhost", self.port, ssl_context=ssl.create_default_context(cafile=self.ca), timeout=20)
        client.login(self.user, self.password)
        return client

    def fill(self, mailbox, messages):
        """A new mailbox with these messages."""
        client = self.client()
        client.create(mailbox)
        for message in messages:
            check(client.append(mailbox, None, '" 5-Mar-2022 10:00:00 +0000"', message.encode())[0] == "OK", "APPEND")
        client.logout()

    def contents(self, mailbox):
        """Each message's subject with its flags, sorted."""
        client = self.client()
        check(client.select(mailbox, readonly=True)[0] == "OK", f"SELECT {mailbox} at {self.name}")
        found = []
        if client.search(None, "ALL")[1] == [b""]:
            client.logout()
            return found
        for part in client.fetch("1:*", "(FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
            if isinstance(part, tuple):
                flags = re.search(rb"FLAGS \(([^)]*)\)", part[0])[1].decode().split()
                found.append((part[1].decode().strip(), sorted(set(flags) - {"\\Recent"})))
        client.logout()
        return sorted(found)


class Cases:
    """The cases, over one server of each kind."""

    def __init__(self, bench, program):
        self.bench = bench
        authority = Authority(bench.folder("authority"))
        dovecot = Dovecot(bench, authority.issue("right"), features=True)
        served = Served(bench, program)
        self.ours = Server("mailwire", served.ports["imaps"], served.user, served.password, served.ca)
        self.theirs = Server("dovecot", dovecot.imaps, "alice", "password", authority.ca)

    def all(self):
        for name, body in [
            ("imaplib_has_the_same_session", lambda: self.same(self.imaplib)),
            ("imapclient_has_the_same_session", lambda: self.same(self.imapclient)),
            ("imapflow_has_the_same_session", lambda: self.same(self.imapflow)),
            ("curl_has_the_same_results", lambda: self.same(self.curl)),
            ("mbsync_follows_flags_and_removals_both_ways", lambda: self.same(self.mbsync)),
            ("offlineimap_follows_flags_and_removals_both_ways", lambda: self.same(self.offlineimap)),
            ("getmail_collects_and_deletes", lambda: self.same(self.getmail)),
            ("fetchmail_collects_from_a_mailbox_and_keeps", lambda: self.same(self.fetchmail)),
            ("neomutt_reads_flags_moves_and_deletes", lambda: self.same(self.neomutt)),
            ("interimap_keeps_both_servers_in_step", self.interimap),
        ]:
            self.bench.case("readers." + name, body, seconds=120)

    def same(self, session):
        """Runs the same with both servers, and compares."""
        theirs, ours = session(self.theirs), session(self.ours)
        for name in sorted(set(theirs) | set(ours)):
            if theirs.get(name) != ours.get(name):
                self.bench.say(f"{name}: ours {ours.get(name)!r:.600}")
                self.bench.say(f"{name}: Dovecot's {theirs.get(name)!r:.600}")
        different = [name for name in sorted(set(theirs) | set(ours)) if theirs.get(name) != ours.get(name)]
        check(ours and not different, f"not the same: {different}")
        self.bench.note(f"{len(ours)} results")

    def script(self, command, **environment):
        done = self.bench.run(command, env=dict(os.environ, **environment), cwd=PROGRAMS, seconds=60).expect(0)
        found = {}
        for line in done.out.decode().splitlines():
            name, value = json.loads(line)
            found.setdefault(name, []).append(value)
        return found

    # -- libraries -------------------------------------------------------------------------------------------------

    def imaplib(self, server):
        return self.script([sys.executable, "with_imaplib.py", server.port, server.ca, server.user, server.password])

    def imapclient(self, server):
        python = installed("python/bin/python")
        return self.script([python, "with_imapclient.py", server.port, server.ca, server.user, server.password])

    def imapflow(self, server):
        installed("node/node_modules/imapflow")
        return self.script(["node", "with_imapflow.js", server.port, server.user, server.password, PROGRAMS],
                           NODE_PATH=NODE_MODULES, NODE_EXTRA_CA_CERTS=server.ca)

    # -- programs --------------------------------------------------------------------------------------------------

    def curl(self, server):
        server.fill("curl", MESSAGES)
        server.fill("curl-2", [])

        def curl(path, *arguments):
            url = f"imaps://localhost:{server.port}/{path}"
            return self.bench.run(["curl", "-sS", "--cacert", server.ca, "-u", f"{server.user}:{server.password}", url, *arguments]).expect(0).out.decode()

        path = self.bench.file("m.eml", MESSAGES[0])
        curl("curl", "-T", path)
        results = {"search": curl("curl?SUBJECT%20alpha"), "fetch": curl("curl;MAILINDEX=3;SECTION=TEXT"),
                   "all": curl("curl;UID=1"), "part": curl("curl;MAILINDEX=4;SECTION=2")}
        for name, command in [("store", "STORE 1 +FLAGS (\\Answered)"), ("flagged", "SEARCH ANSWERED"), ("sort", "SORT (REVERSE DATE) UTF-8 ALL"),
                              ("thread", "THREAD REFERENCES UTF-8 ALL"), ("esearch", "UID SEARCH RETURN (COUNT MIN MAX) ALL"),
                              ("status", "STATUS curl-2 (MESSAGES UNSEEN)"), ("move", "UID MOVE 2 curl-2")]:
            results[name] = re.sub(r'\(TAG "[^"]*"\)|\[COPYUID \d+|\].*|\\Recent ?|\* OK |\d+ (RECENT|EXPUNGE)', "", curl("curl", "-X", command))
        results["moved"] = curl("curl-2;MAILINDEX=1;SECTION=TEXT")
        results["list"] = sorted(line.split(") ")[1] for line in curl("", "-X", 'LIST "" curl*').splitlines())
        results["quota"] = "* QUOTA " in curl("", "-X", "GETQUOTAROOT INBOX")
        results["left"] = server.contents("curl")
        return results

    def local(self, folder, mailbox):
        """The Maildir's messages: subjects with the letters of their flags."""
        found = []
        for path in glob.glob(f"{folder}/{mailbox}/cur/*") + glob.glob(f"{folder}/{mailbox}/new/*"):
            with open(path, "rb") as file:
                subject = re.search(rb"^Subject: (.*?)\r?$", file.read(), re.M)[1].decode()
            found.append((subject, path.rpartition(":2,")[2] if ":2," in path else "", path))
        return sorted(found)

    def change(self, server, mailbox, subject, command, flags):
        """Another client changes the flags of a message; with \\Deleted it expunges."""
        client = server.client()
        client.select(mailbox)
        number = client.search(None, "SUBJECT", f'"{subject}"')[1][0].split()[0]
        client.store(number, command, flags)
        if "Deleted" in flags:
            client.expunge()
        client.logout()

    def follow(self, server, mailbox, folder, synchronise):
        """Changes on both sides, each followed by the program."""
        results = {}
        synchronise()
        results["pulled"] = [one[:2] for one in self.local(folder, mailbox)]
        self.change(server, mailbox, "zulu", "+FLAGS", "(\\Flagged)")
        self.change(server, mailbox, "caf", "+FLAGS", "(\\Deleted)")
        path = next(path for subject, _, path in self.local(folder, mailbox) if subject == "Re: alpha")
        base = os.path.basename(path).partition(":2,")[0]
        os.rename(path, f"{folder}/{mailbox}/cur/{base}:2,RS")
        with open(f"{folder}/{mailbox}/new/1.1.here", "wb") as file:
            file.write(b"Subject: pushed\n\nhi\n")
        synchronise()
        results["changed here"] = [one[:2] for one in self.local(folder, mailbox)]
        results["changed there"] = server.contents(mailbox)
        path = next(path for subject, _, path in self.local(folder, mailbox) if subject == "alpha")
        base = os.path.basename(path).partition(":2,")[0]
        os.rename(path, f"{folder}/{mailbox}/cur/{base}:2,T")
        synchronise()
        results["removed there"] = server.contents(mailbox)
        synchronise()
        results["unchanged"] = server.contents(mailbox)
        return results

    def mbsync(self, server):
        server.fill("mbsync", MESSAGES)
        folder = self.bench.folder("maildir")
        path = self.bench.file("mbsyncrc", f"""
IMAPAccount a
Host localhost
Port {server.port}
User {server.user}
Pass {server.password}
SSLType IMAPS
CertificateFile {server.ca}

IMAPStore far
Account a

MaildirStore near
Path {folder}/
Inbox {folder}/INBOX
SubFolders Verbatim

Channel c
Far :far:mbsync
Near :near:mbsync
Create Near
Sync All
Expunge Both
SyncState *
""")
        return self.follow(server, "mbsync", folder, lambda: self.bench.run(["mbsync", "-c", path, "-a"]).expect(0))

    def offlineimap(self, server):
        server.fill("offline", MESSAGES)
        folder = self.bench.folder("offline")
        path = self.bench.file("offlineimaprc", f"""
[general]
accounts = here
metadata = {folder}/meta
ui = quiet
[Account here]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = {folder}
[Repository far]
type = IMAP
remotehost = localhost
remoteport = {server.port}
remoteuser = {server.user}
remotepass = {server.password}
ssl = yes
sslcacertfile = {server.ca}
folderfilter = lambda name: name == 'offline'
""")
        return self.follow(server, "offline", folder, lambda: self.bench.run(["offlineimap", "-c", path, "-o"], seconds=60).expect(0))

    def getmail(self, server):
        server.fill("getmail", MESSAGES)
        folder = self.bench.folder("getmail")
        for name in ("", "/settings", "/mail", "/mail/cur", "/mail/new", "/mail/tmp"):
            os.makedirs(folder + name, exist_ok=True)
            shutil.chown(folder + name, "mail")
        with open(f"{folder}/settings/rc", "w") as file:
            file.write(f"""[retriever]
type = SimpleIMAPSSLRetriever
server = localhost
port = {server.port}
username = {server.user}
password = {server.password}
ca_certs = {server.ca}
mailboxes = ("getmail",)
[destination]
type = Maildir
path = {folder}/mail/
user = mail
[options]
read_all = true
delete = true
""")
        self.bench.run(["getmail", "-g", f"{folder}/settings", "-r", "rc"], env=dict(os.environ, HOME=folder)).expect(0)
        return {"collected": [one[0] for one in self.local(folder, "mail")], "left": server.contents("getmail")}

    def fetchmail(self, server):
        server.fill("fetchmail", MESSAGES)
        folder = self.bench.folder("fetchmail")
        path = self.bench.file("fetchmailrc", f"""
poll localhost protocol IMAP service {server.port} user "{server.user}" password "{server.password}"
  folder fetchmail ssl sslcertck sslcertfile {server.ca} keep mda "/bin/cat >>{folder}/mail"
""")
        os.chmod(path, 0o600)
        command = ["fetchmail", "-f", path, "--pidfile", f"{folder}/pid", "--nosyslog"]
        self.bench.run(command, env=dict(os.environ, HOME=folder)).expect(0)
        self.change(server, "fetchmail", "zulu", "-FLAGS", "(\\Seen)")
        self.bench.run(command, env=dict(os.environ, HOME=folder)).expect(0)
        with open(f"{folder}/mail", "rb") as file:
            subjects = re.findall(rb"^Subject: (.*?)\r?$", file.read(), re.M)
        return {"collected": [one.decode() for one in subjects], "left": server.contents("fetchmail")}

    def neomutt(self, server):
        server.fill("neomutt", MESSAGES)
        server.fill("neomutt-2", [])
        folder = self.bench.folder("neomutt")
        path = self.bench.file("neomuttrc", f"""
set imap_user="{server.user}" imap_pass="{server.password}" ssl_force_tls=yes ssl_ca_certificates_file="{server.ca}"
set certificate_file="{folder}/certificates" folder="imaps://localhost:{server.port}/" mail_check=0 wait_key=no
set confirmappend=no confirmcreate=no quit=yes delete=yes move=no sort=mailbox-order header_cache="" mark_old=no
""")
        keys = ("<first-entry><pipe-message>cat >" + folder + "/out<enter><flag-message><next-entry>"
                "<jump>3<enter><save-message>=neomutt-2<enter><jump>4<enter><delete-message><jump>2<enter><set-flag>r<sync-mailbox>"
                "<limit>~s alpha<enter><first-entry><pipe-message>cat >" + folder + "/found<enter><quit>")
        command = f"neomutt -n -F {path} -f imaps://localhost:{server.port}/neomutt -e 'push \"{keys}\"'"
        self.bench.run(["script", "-qec", command, "/dev/null"], env=dict(os.environ, TERM="vt100", HOME=folder, LINES="24", COLUMNS="80"))
        results = {"left": server.contents("neomutt"), "saved": server.contents("neomutt-2")}
        for name in ("out", "found"):
            with open(f"{folder}/{name}") as file:
                results[name] = re.search("^Subject: (.*)$", file.read(), re.M)[1]
        return results

    def interimap(self):
        """Synchronises the two servers with each other, by QRESYNC."""
        for server, messages in ((self.ours, MESSAGES[:2]), (self.theirs, MESSAGES[2:])):
            server.fill("interimap", messages)
        home = self.bench.folder("interimap")
        os.makedirs(f"{home}/.config/interimap")
        os.makedirs(f"{home}/.local/share/interimap")
        text = "database = state.db\nlist-mailbox = interimap\n"
        for name, server in (("local", self.ours), ("remote", self.theirs)):
            text += (f"[{name}]\ntype = imaps\nhost = localhost\nport = {server.port}\nusername = {server.user}\n"
                     f"password = {server.password}\nSSL_CAfile = {server.ca}\n")
        with open(f"{home}/.config/interimap/config", "w") as file:
            file.write(text)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}

        def synchronise():
            self.bench.run(["interimap"], env=dict(environment, HOME=home)).expect(0)
            ours, theirs = self.ours.contents("interimap"), self.theirs.contents("interimap")
            check(ours == theirs, f"ours {ours}, and Dovecot's {theirs}")
            return ours

        check(len(synchronise()) == len(MESSAGES), "not every message is there")
        self.change(self.ours, "interimap", "zulu", "+FLAGS", "(\\Flagged)")
        self.change(self.theirs, "interimap", "Re: alpha", "+FLAGS", "(\\Answered)")
        self.change(self.ours, "interimap", "caf", "+FLAGS", "(\\Deleted)")
        found = dict(synchronise())
        check(found["Subject: zulu"] == ["\\Flagged"] and found["Subject: Re: alpha"] == ["\\Answered"] and len(found) == 3, f"{found}")
        self.change(self.theirs, "interimap", "zulu", "+FLAGS", "(\\Deleted)")
        check(len(synchronise()) == 2, "the removal was not followed")


def run(bench, program):
    Cases(bench, program).all()
