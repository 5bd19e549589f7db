"""The live tests of two client libraries, with `mailwire serve` and with Dovecot: IMAPClient's, which are in its package, and
those of Perl's Mail::IMAPClient, from Debian's source package.

Every test that passes with Dovecot has to pass with `serve`. They take about a minute, so only `--live` runs them.
"""

import glob
import os
import re

from authority import Authority
from harness import check
from servers import Dovecot, Served
from transfer_agents import installed

# These measure how fast the machine is: a connection within a millisecond, a response within ten microseconds.
TIMING = {"test_small_connection_timeout_fail", "test_small_read_timeout_fail"}


class Cases:
    """The cases, over one server of each kind, in cleartext on the loopback interface."""

    def __init__(self, bench, program):
        self.bench = bench
        pair = Authority(bench.folder("authority")).issue("right")
        served = Served(bench, program, arguments=["--danger-cleartext"])
        self.theirs = (Dovecot(bench, pair, ssl="yes", features=True).imap, "alice", "password")
        self.ours = (served.ports["imap"], served.user, served.password)

    def imapclient(self):
        """Returns, for each server, the names of the tests that did not pass."""
        def failures(account):
            settings = self.bench.file("live.ini", "[DEFAULT]\nhost = 127.0.0.1\nport = {}\nusername = {}\npassword = {}\nssl = false\n"
                                       .format(*account))
            done = self.bench.run([installed("python/bin/python"), "-m", "imapclient.livetest", settings], seconds=120)
            ran = re.search(r"^Ran (\d+) tests", done.text, re.M)
            check(ran and int(ran[1]) > 50, "the tests did not run")
            return set(re.findall(r"^(?:FAIL|ERROR): (\w+)", done.text, re.M)) - TIMING

        theirs, ours = failures(self.theirs), failures(self.ours)
        check(ours <= theirs, f"these pass with Dovecot: {sorted(ours - theirs)}")
        self.bench.note(f"{len(ours)} tests fail, and {len(theirs)} with Dovecot")

    def perl(self):
        """Mail::IMAPClient's tests of a session, all of which pass with Dovecot without ACL."""
        folder = self.bench.folder("perl")
        os.makedirs(f"{folder}/lists/partial")
        with open(f"{folder}/source.list", "w") as file:
            file.write(f"deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror()} bookworm main\n")
        options = [f"-oDir::Etc::sourcelist={folder}/source.list", "-oDir::Etc::sourceparts=-", f"-oDir::State::lists={folder}/lists",
                   f"-oDir::Cache={folder}", "-oAPT::Sandbox::User=root"]
        self.bench.run(["apt-get", *options, "-qq", "update"], seconds=60).expect(0)
        # The packaging may be missing on a mirror; the tests are in the original archive.
        self.bench.run(["apt-get", *options, "-qq", "source", "--download-only", "libmail-imapclient-perl"], cwd=folder, seconds=60)
        archive = glob.glob(f"{folder}/*.orig.tar.gz")
        check(archive, "the source package has no original archive")
        self.bench.run(["tar", "xzf", archive[0]], cwd=folder).expect(0)
        source = glob.glob(f"{folder}/Mail-IMAPClient-*")[0]
        with open(f"{source}/test.txt", "w") as file:
            file.write("server=127.0.0.1\nport={}\nuser={}\npassed={}\nauthmechanism=LOGIN\n".format(*self.ours))
        done = self.bench.run(["prove", "-Ilib", "t/basic.t", "t/quota.t"], cwd=source, seconds=60).expect(0)
        check("Result: PASS" in done.text, "not every test passed")
        self.bench.note(re.search(r"Tests=\d+", done.text)[0])


def mirror():
    """The mirror of Debian that apt uses already."""
    for path in [*glob.glob("/etc/apt/sources.list"), *glob.glob("/etc/apt/sources.list.d/*")]:
        with open(path) as file:
            found = re.search(r"^(?:deb\s+(?:\[[^]]*\]\s*)?|URIs:\s*)(http\S+/debian)/?(?:\s|$)", file.read(), re.M)
        if found:
            return found[1]
    return "http://deb.debian.org/debian"


def run(bench, program):
    cases = Cases(bench, program)
    bench.case("live.imapclient_passes_what_it_passes_with_dovecot", cases.imapclient, seconds=300)
    bench.case("live.perl_mail_imapclient_passes_every_test", cases.perl, seconds=200)
