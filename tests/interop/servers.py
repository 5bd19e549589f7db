"""The servers of the run: Dovecot, Postfix, and `mailwire serve` itself.

This module configures them and waits until they are ready. It knows none of the cases.
"""

import os
import shutil
import socket
import subprocess

from harness import Failure, check, free_port, wait_for


def greets(port, word=b""):
    """Whether a server on this port sends a greeting, or (if it sends none) accepts a connection."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return not word or connection.recv(200).startswith(word)
    except OSError:
        return False


FEATURES = """
mail_plugins = $mail_plugins acl quota notify
mail_attribute_dict = file:%h/attributes
imap_metadata = yes
mailbox_idle_check_interval = 1s
imap_urlauth_host = localhost
protocol imap {{
  mail_plugins = $mail_plugins acl imap_acl quota imap_quota imap_zlib notify
}}
plugin {{
  acl = vfile
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=1G
}}
service imap-urlauth-login {{
  unix_listener login/login-urlauth {{
    mode = 0666
  }}
}}
service imap-urlauth {{
  unix_listener token-login/imap-urlauth {{
    mode = 0666
  }}
}}
"""


class Dovecot:
    """IMAP with STARTTLS and implicit TLS, LMTP, and SASL for Postfix. Users alice and bob, "password".

    With `features` it also offers what Debian's build has as plugins: ACL, COMPRESS, METADATA, NOTIFY, QUOTA, URLAUTH.
    """

    def __init__(self, bench, pair, users=("alice", "bob"), ssl="required", features=False):
        self.imap, self.imaps, self.lmtp = free_port(), free_port(), free_port()
        folder = self.folder = bench.folder("dovecot")
        for name in ("run", "state", "home"):
            os.mkdir(f"{folder}/{name}", 0o755)
        shutil.chown(f"{folder}/home", "mail", "mail")
        with open(f"{folder}/users", "w") as file:
            file.writelines(f"{user}:{{PLAIN}}password::::::\n" for user in users)
        configuration = f"""
base_dir = {folder}/run
state_dir = {folder}/state
instance_name = {os.path.basename(folder)}
log_path = {folder}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = {ssl}
ssl_cert = <{pair[0]}
ssl_key = <{pair[1]}
disable_plaintext_auth = yes
auth_mechanisms = plain login scram-sha-1 scram-sha-256
auth_username_format = %Ln
auth_failure_delay = 0
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
mail_fsync = never
mail_max_userip_connections = 1000
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%Ln {folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%Ln {folder}/users
  default_fields = uid=mail gid=mail home={folder}/home/%Ln
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Sent {{
    auto = create
    special_use = \\Sent
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {self.imap}
  }}
  inet_listener imaps {{
    port = {self.imaps}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {self.lmtp}
  }}
}}
service auth {{
  unix_listener auth-sasl {{
    mode = 0666
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""
        path = f"{folder}/dovecot.conf"
        with open(path, "w") as file:
            file.write(configuration + (FEATURES.format(folder=folder) if features else ""))
        self.process = bench.start("dovecot", ["dovecot", "-F", "-c", path])
        # It listens before its login processes answer.
        wait_for("dovecot", lambda: greets(self.imap, b"* OK ["), 20)

    @property
    def sasl(self):
        return f"{self.folder}/run/auth-sasl"


class Postfix:
    """Submission with STARTTLS and implicit TLS; delivers to Dovecot by LMTP.

    On the port `unguarded` it accepts mail from this machine in cleartext. `settings` are lines of main.cf that come last
    and override earlier ones.
    """

    def __init__(self, bench, pair, dovecot, settings=""):
        self.submission, self.smtps, self.unguarded = free_port(), free_port(), free_port()
        folder = bench.folder("postfix")
        for name in ("etc", "spool", "data"):
            os.mkdir(f"{folder}/{name}", 0o755)
        shutil.chown(f"{folder}/data", "postfix")
        with open(f"{folder}/both.pem", "wb") as file:
            for path in (pair[1], pair[0]):
                with open(path, "rb") as part:
                    file.write(part.read())
        with open(f"{folder}/etc/main.cf", "w") as file:
            file.write(f"""
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
multi_instance_enable = no
myhostname = mx.example.test
mydomain = example.test
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = example.test
virtual_mailbox_maps = inline:{{ {{alice@example.test=x}} {{bob@example.test=x}} }}
virtual_transport = lmtp:inet:[127.0.0.1]:{dovecot.lmtp}
disable_dns_lookups = yes
message_size_limit = 104857600
mailbox_size_limit = 0
virtual_mailbox_limit = 0
smtpd_error_sleep_time = 0
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_tls_chain_files = {folder}/both.pem
smtpd_sasl_type = dovecot
smtpd_sasl_path = {dovecot.sasl}
smtpd_sasl_auth_enable = yes
smtpd_client_restrictions = permit_sasl_authenticated, reject
{settings}
""")
        inside = "pickup cleanup qmgr tlsmgr rewrite bounce defer trace verify flush proxymap smtp relay showq error retry discard lmtp anvil scache"
        program = {"rewrite": "trivial-rewrite", "defer": "bounce", "trace": "bounce", "relay": "smtp", "retry": "error"}
        private = {"pickup": "n - n 60 1", "qmgr": "n - n 300 1", "cleanup": "n - n - 0", "flush": "n - n 1000? 0",
                   "tlsmgr": "- - n 1000? 1", "verify": "- - n - 1", "anvil": "- - n - 1", "scache": "- - n - 1",
                   "showq": "n - n - -", "bounce": "- - n - 0", "defer": "- - n - 0", "trace": "- - n - 0"}
        with open(f"{folder}/etc/master.cf", "w") as file:
            file.write(f"127.0.0.1:{self.submission} inet n - n - - smtpd\n")
            file.write("  -o smtpd_tls_security_level=encrypt\n  -o smtpd_tls_auth_only=yes\n")
            file.write(f"127.0.0.1:{self.smtps} inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n")
            file.write(f"127.0.0.1:{self.unguarded} inet n - n - - smtpd\n")
            file.write("  -o smtpd_client_restrictions=permit\n  -o mynetworks=127.0.0.1/32\n")
            file.write("  -o smtpd_relay_restrictions=permit_mynetworks,reject\n")
            for name in inside.split():
                file.write(f"{name} unix {private.get(name, '- - n - -')} {program.get(name, name)}\n")
            file.write("postlog unix-dgram n - n - 1 postlogd\n")
        self.folder = folder
        # `postfix start` creates and checks the directories of the queue; the master then runs alone.
        started = subprocess.run(["postfix", "-c", f"{folder}/etc", "start"], capture_output=True)
        check(started.returncode == 0, f"postfix did not start: {started.stderr.decode(errors='replace')[-300:]}")
        wait_for("postfix", lambda: greets(self.submission, b"220 "), 20)

    def stop(self):
        subprocess.run(["postfix", "-c", f"{self.folder}/etc", "stop"], capture_output=True)


class Served:
    """`mailwire serve` in its own directory, on its own ports."""

    def __init__(self, bench, program, folder=None, arguments=(), env=None):
        self.bench, self.program, self.arguments, self.env = bench, program, list(arguments), env
        self.folder = folder or bench.path("served")
        self.account = None
        self.start()

    def start(self):
        """Starts it, or starts it again in the same directory."""
        self.printed = self.bench.path("serve.out")
        sink = open(self.printed, "wb")
        command = [self.program, "serve", "--dir", self.folder, *self.bench.serve_options]
        for name in ("smtp", "smtps", "imap", "imaps"):
            command += [f"--{name}", "127.0.0.1:0"]
        self.process = self.bench.start("mailwire serve", command + self.arguments, env=self.env, stdout=sink)
        sink.close()
        wait_for("mailwire serve", self._ready, 20)
        self.ports, made = {}, None
        for line in self.lines():
            words = line.split()
            if words[:1] == ["listening"]:
                self.ports[words[1]] = int(words[2].rpartition(":")[2])
            elif words[:1] == ["ca"]:
                self.ca = line[3:]
            elif words[:1] == ["account"]:
                made = words[1], words[2]
        self.account = made or self.account
        if made:
            self.bench.secrets.append(made[1])

    def lines(self):
        with open(self.printed) as file:
            return file.read().splitlines()

    def _ready(self):
        if not self.process.alive():
            raise Failure("mailwire serve ended at once: " + " | ".join(self.process.tail(5)))
        return "ready" in self.lines()

    def stop(self, **how):
        status = self.process.stop(**how)
        self.bench.processes.remove(self.process)
        return status

    @property
    def user(self):
        return self.account[0]

    @property
    def password(self):
        return self.account[1]

    @property
    def address(self):
        return f"{self.user}@localhost"
