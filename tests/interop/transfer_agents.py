"""Servers that cannot be installed beside Postfix: Exim, OpenSMTPD, and aiosmtpd in its own Python environment.

This module configures them, waits until they are ready and knows where they store mail. It knows none of the cases.
"""

import glob
import os
import pwd
import shutil

from harness import Failure, free_port, wait_for
from servers import greets

CACHE = os.path.join(
    os.environ.get("CARGO_TARGET_DIR") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "target"),
    "interop",
)
PYTHON = os.path.join(CACHE, "python/bin/python")
NODE_MODULES = os.path.join(CACHE, "node/node_modules")


def installed(path):
    """The path of a program that tests/interop/install puts under the target directory; fails if it is missing."""
    path = os.path.join(CACHE, path)
    if not os.path.exists(path):
        raise Failure(f"{path} is missing: run tests/interop/install")
    return path


class Maildirs:
    """The messages of a server that delivers to Maildirs below one folder."""

    mail = None

    def messages(self):
        """Every message, with CRLF line ends."""
        found = []
        for path in glob.glob(f"{self.mail}/**/new/*", recursive=True):
            with open(path, "rb") as file:
                found.append(file.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        return found


class Exim(Maildirs):
    """STARTTLS and implicit TLS, AUTH after TLS, CHUNKING, DSN, SMTPUTF8, PIPELINING. Alice and bob, "password".

    With `smarthost` (port, CA, user, password) it is a client, too: mail for "served.test" goes there, under TLS that
    must verify and after AUTH, in chunks.
    """

    def __init__(self, bench, pair, smarthost=None):
        self.smtp, self.smtps = free_port(), free_port()
        folder = self.folder = bench.folder("exim")
        owner = pwd.getpwnam("Debian-exim")
        for name in ("spool", "log", "mail", "run"):
            os.mkdir(f"{folder}/{name}", 0o755)
            os.chown(f"{folder}/{name}", owner.pw_uid, owner.pw_gid)
        self.mail = f"{folder}/mail"
        # Exim runs itself again as another user, who may not read the target directory.
        self.program = shutil.copy(installed("exim4-daemon-light/files/usr/sbin/exim4"), f"{folder}/exim4")
        os.chmod(self.program, 0o4755)
        port, ca, user, password = smarthost or (0, "/dev/null", "", "")
        with open(f"{folder}/exim.conf", "w") as file:
            file.write(f"""
primary_hostname = exim.example.test
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
log_selector = +tls_certificate_verified +smtp_protocol_error
pid_file_path = {folder}/run/pid
exim_path = {self.program}
keep_environment =
daemon_smtp_ports = {self.smtp} : {self.smtps}
tls_on_connect_ports = {self.smtps}
local_interfaces = 127.0.0.1
never_users =
exim_user = Debian-exim
exim_group = Debian-exim
host_lookup =
rfc1413_hosts =
acl_smtp_mail = accept
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
chunking_advertise_hosts = *
pipelining_advertise_hosts = *
tls_advertise_hosts = *
tls_certificate = {pair[0]}
tls_privatekey = {pair[1]}
auth_advertise_hosts = ${{if eq{{$tls_in_cipher}}{{}}{{}}{{*}}}}
message_size_limit = 32M
begin acl
rcpt:
  accept authenticated = *
         local_parts = alice : bob : jürgen
         domains = example.test
  accept authenticated = *
         domains = served.test
  deny   message = no such user here
begin routers
served:
  driver = manualroute
  domains = served.test
  transport = served
  route_list = * localhost::{port} byname
  self = send
local:
  driver = accept
  transport = local
begin transports
local:
  driver = appendfile
  maildir_format
  directory = {self.mail}/all
  create_directory
served:
  driver = smtp
  hosts_require_tls = *
  hosts_require_auth = *
  hosts_try_chunking = *
  tls_verify_certificates = {ca}
  tls_verify_hosts = *
begin retry
* * F,1h,2s
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{inlist{{$auth2}}{{alice:bob}}}}{{eq{{$auth3}}{{password}}}}}}}}
  server_set_id = $auth2
  client_send = ^{user}^{password}
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and{{{{inlist{{$auth1}}{{alice:bob}}}}{{eq{{$auth2}}{{password}}}}}}}}
  server_set_id = $auth1
""")
        os.chmod(f"{folder}/exim.conf", 0o644)
        self.process = bench.start("exim", [self.program, "-bdf", "-q2s", "-C", f"{folder}/exim.conf"])
        wait_for("exim", lambda: greets(self.smtp, b"220 "), 20)

    def log(self):
        """The deliveries in its log."""
        with open(f"{self.folder}/log/mainlog", errors="replace") as file:
            return file.read()


class OpenSmtpd(Maildirs):
    """Cleartext only: the server side of TLS in Debian 12's build fails every handshake, and AUTH needs TLS.

    A private mount namespace replaces its compiled-in paths, so nothing else on the machine sees them.
    """

    def __init__(self, bench):
        self.smtp = free_port()
        folder = bench.folder("opensmtpd")
        for name, mode in (("spool", 0o755), ("mail", 0o755), ("run", 0o755)):
            os.mkdir(f"{folder}/{name}", mode)
        os.mkdir(f"{folder}/spool/smtpd", 0o711)
        os.mkdir(f"{folder}/libexec", 0o755)
        for name in ("lib", "lib/opensmtpd", "lib/opensmtpd/empty"):
            os.mkdir(f"{folder}/{name}", 0o755)
        self.mail = f"{folder}/mail"
        owner = pwd.getpwnam("mail")
        os.chown(self.mail, owner.pw_uid, owner.pw_gid)
        files = installed("opensmtpd/files")
        shutil.copytree(f"{files}/usr/libexec/opensmtpd", f"{folder}/libexec/opensmtpd")
        with open(f"{folder}/addresses", "w") as file:
            file.write("alice@example.test alice\nbob@example.test bob\n")
        with open(f"{folder}/users", "w") as file:
            for user in ("alice", "bob"):
                file.write(f"{user} {owner.pw_uid}:{owner.pw_gid}:{self.mail}\n")
        with open(f"{folder}/smtpd.conf", "w") as file:
            file.write(f"""
table addresses file:{folder}/addresses
table people file:{folder}/users
listen on 127.0.0.1 port {self.smtp} hostname opensmtpd.example.test
action "local" maildir "{self.mail}/%{{user.username}}" userbase <people> virtual <addresses>
match from any for domain "example.test" action "local"
""")
        inside = " && ".join([
            f"mount --bind {folder}/spool /var/spool",
            f"mount --bind {folder}/libexec /usr/libexec",
            f"mount --bind {folder}/lib /var/lib",
            f"mount --bind {folder}/run /run",
            f"exec {os.path.abspath(files)}/usr/sbin/smtpd -d -f {folder}/smtpd.conf",
        ])
        self.process = bench.start("opensmtpd", ["unshare", "-m", "sh", "-c", inside])
        wait_for("opensmtpd", lambda: greets(self.smtp, b"220 "), 20)


AIOSMTPD = """
import asyncio, itertools, ssl, sys
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

folder, certificate, key, smtp, smtps = sys.argv[1:6]
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(certificate, key)
numbers = itertools.count()

class Keep:
    # The library's Mailbox parses and rebuilds a message, which changes its bytes.
    async def handle_DATA(self, server, session, envelope):
        with open(f"{folder}/new/{next(numbers)}", "wb") as file:
            file.write(envelope.original_content)
        return "250 2.0.0 kept"

handler = Keep()

def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"alice", b"password")
    return AuthResult(success=good, handled=good)

def server(**more):
    return lambda: SMTP(handler, hostname="aiosmtpd.example.test", authenticator=authenticate, enable_SMTPUTF8=True, **more)

async def main():
    loop = asyncio.get_running_loop()
    await loop.create_server(server(tls_context=context, require_starttls=True), "127.0.0.1", int(smtp))
    await loop.create_server(server(auth_require_tls=False), "127.0.0.1", int(smtps), ssl=context)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Aiosmtpd(Maildirs):
    """STARTTLS and implicit TLS, AUTH, SMTPUTF8; neither PIPELINING nor CHUNKING. Alice, "password"."""

    def __init__(self, bench, pair):
        self.smtp, self.smtps = free_port(), free_port()
        folder = bench.folder("aiosmtpd")
        self.mail = f"{folder}/mail"
        os.makedirs(f"{self.mail}/new")
        program = bench.file("aiosmtpd.py", AIOSMTPD)
        self.process = bench.start(
            "aiosmtpd", [installed("python/bin/python"), program, self.mail, *pair, self.smtp, self.smtps]
        )
        wait_for("aiosmtpd", lambda: greets(self.smtp, b"220 "), 20)
