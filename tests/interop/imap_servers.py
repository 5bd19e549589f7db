"""IMAP servers that cannot be installed beside Dovecot: Cyrus and Courier. Users alice and bob, "password".

This module configures them and waits until they are ready. It knows none of the cases. Both need root: Cyrus runs as its own
user, and Courier's paths are compiled into it, so it runs in a mount namespace of its own.
"""

import grp
import os
import pwd
import shutil
import subprocess

from harness import Failure, free_port, wait_for
from servers import greets
from transfer_agents import installed

USERS = ("alice", "bob")


class Cyrus:
    """Implicit TLS; CONDSTORE, QRESYNC, LIST-STATUS, OBJECTID and COMPRESS."""

    name = "cyrus"
    prefix, delimiter = "", "/"

    def __init__(self, bench, pair):
        self.imap, self.imaps = free_port(), free_port()
        folder = self.folder = bench.folder("cyrus")
        for name in ("conf", "spool", "run"):
            os.mkdir(f"{folder}/{name}", 0o755)
        shutil.copy(pair[0], f"{folder}/server.pem")
        shutil.copy(pair[1], f"{folder}/server.key")
        # The programs run as another user, who may not read the target directory.
        programs = f"{folder}/bin"
        shutil.copytree(installed("cyrus-imapd/files/usr/lib/cyrus/bin"), programs)
        with open(f"{folder}/imapd.conf", "w") as file:
            file.write(f"""
configdirectory: {folder}/conf
defaultpartition: default
partition-default: {folder}/spool
admins: cyrus
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/sasldb2
sasl_mech_list: PLAIN
sasl_minimum_layer: 0
servername: cyrus.example.test
virtdomains: off
unixhierarchysep: yes
altnamespace: yes
autocreate_quota: 0
autocreate_inbox_folders: Sent
expunge_mode: delayed
delete_mode: immediate
conversations: yes
idlesocket: {folder}/run/idle
notifysocket: {folder}/run/notify
lmtpsocket: {folder}/run/lmtp
proc_path: {folder}/run/proc
mboxname_lockpath: {folder}/run/lock
tls_server_cert: {folder}/server.pem
tls_server_key: {folder}/server.key
tls_sessions_db_path: {folder}/run/tls_sessions.db
imapidlepoll: 1
maxlogins_per_host: 0
""")
        with open(f"{folder}/cyrus.conf", "w") as file:
            file.write(f"""
START {{
  recover cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -C {folder}/imapd.conf -r"
}}
SERVICES {{
  imap  cmd="{programs}/imapd -C {folder}/imapd.conf -U 30" listen="127.0.0.1:{self.imap}" prefork=1 maxchild=50 proto="tcp4"
  imaps cmd="{programs}/imapd -s -C {folder}/imapd.conf -U 30" listen="127.0.0.1:{self.imaps}" prefork=0 maxchild=50 proto="tcp4"
}}
EVENTS {{
  checkpoint cmd="/usr/lib/cyrus/bin/ctl_cyrusdb -C {folder}/imapd.conf -c" period=60
}}
DAEMON {{
  idled cmd="{programs}/idled -C {folder}/imapd.conf"
}}
""")
        for user in (*USERS, "cyrus"):
            arguments = ["saslpasswd2", "-p", "-c", "-f", f"{folder}/sasldb2", "-u", "cyrus.example.test", user]
            subprocess.run(arguments, input=b"password", check=True, capture_output=True)
        subprocess.run(["chown", "-R", "cyrus:mail", folder], check=True)
        master = ["/usr/lib/cyrus/bin/master", "-C", f"{folder}/imapd.conf", "-M", f"{folder}/cyrus.conf"]
        self.process = bench.start("cyrus", [*master, "-p", f"{folder}/run/master.pid"])
        wait_for("cyrus", lambda: greets(self.imap, b"* OK"), 30)


class Courier:
    """Implicit TLS; no CONDSTORE, and folders below INBOX only."""

    name = "courier"
    prefix, delimiter = "INBOX.", "."

    CAPABILITIES = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=REFERENCES SORT QUOTA AUTH=PLAIN IDLE"

    def __init__(self, bench, pair):
        self.imaps = free_port()
        folder = self.folder = bench.folder("courier")
        for name in ("etc", "run", "run/authdaemon", "home"):
            os.mkdir(f"{folder}/{name}", 0o755)
        courier = pwd.getpwnam("courier")
        for name in ("run", "run/authdaemon"):
            os.chown(f"{folder}/{name}", courier.pw_uid, courier.pw_gid)
        with open(f"{folder}/etc/imapd.pem", "wb") as file:
            for path in (pair[1], pair[0]):
                with open(path, "rb") as part:
                    file.write(part.read())
        os.chown(f"{folder}/etc/imapd.pem", courier.pw_uid, courier.pw_gid)
        os.chmod(f"{folder}/etc/imapd.pem", 0o600)
        # The programs run as another user, who may not read the target directory.
        for name in ("bin/imapd", "lib/courier/courier/imaplogin"):
            os.makedirs(os.path.dirname(f"{folder}/usr/{name}"), exist_ok=True)
            shutil.copy(installed(f"courier-imap/files/usr/{name}"), f"{folder}/usr/{name}")
        with open(f"{folder}/etc/authdaemonrc", "w") as file:
            file.write('authmodulelist="authuserdb"\nauthmodulelistorig="authuserdb"\ndaemons=2\n')
            file.write('authdaemonvar=/run/courier/authdaemon\nDEBUG_LOGIN=0\nDEFAULTOPTIONS=""\nLOGGEROPTS=""\n')
        self._users()
        script = self._script()
        self._namespace(script, "")
        for name, arguments in (("courier-auth", ["/usr/lib/courier/courier-authlib/authdaemond"]), ("courier", self._tls())):
            bench.start(name, ["unshare", "-m", "--propagation", self._propagation(), script, *arguments])
        wait_for("courier", lambda: greets(self.imaps), 20)

    def _users(self):
        mail = pwd.getpwnam("mail")
        with open(f"{self.folder}/etc/userdb", "w") as file:
            for user in USERS:
                home = f"{self.folder}/home/{user}"
                hashed = subprocess.run(["openssl", "passwd", "-6", "password"], check=True, capture_output=True).stdout
                file.write(f"{user}\thome={home}|mail={home}/Maildir|uid={mail.pw_uid}|gid={grp.getgrnam('mail').gr_gid}")
                file.write(f"|systempw={hashed.decode().strip()}\n")
                for name in ("", "/Maildir", "/Maildir/cur", "/Maildir/new", "/Maildir/tmp"):
                    os.mkdir(home + name)
        os.chmod(f"{self.folder}/etc/userdb", 0o600)
        subprocess.run(["chown", "-R", "mail:mail", f"{self.folder}/home"], check=True)

    def _script(self):
        """A script that runs a program with this server's directories at the paths that are compiled into Courier."""
        path = f"{self.folder}/within"
        settings = (f'IMAP_CAPABILITY="{self.CAPABILITIES}" IMAP_CAPABILITY_TLS="{self.CAPABILITIES}" IMAP_KEYWORDS=1 '
                    "IMAP_ACL=1 IMAP_IDLE_TIMEOUT=1 IMAP_USELOCKS=1 IMAP_ENHANCEDIDLE=0 IMAP_UMASK=022 IMAP_EMPTYTRASH=Trash:0 "
                    "SENDMAIL=/bin/false MAILDIRPATH=Maildir TLS_CERTFILE=/etc/courier/imapd.pem TLS_VERIFYPEER=NONE")
        with open(path, "w") as file:
            file.write(f"""#!/bin/sh
set -e
mount --make-rprivate / 2>/dev/null || true
mkdir -p /etc/courier /run/courier
mount --bind {self.folder}/etc /etc/courier
mount --bind {self.folder}/run /run/courier
[ -s /etc/courier/userdb.dat ] || makeuserdb
[ -n "$1" ] || exit 0
exec /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin {settings} "$@"
""")
        os.chmod(path, 0o755)
        return path

    def _propagation(self):
        tried = subprocess.run(["unshare", "-m", "--propagation", "private", "true"], capture_output=True)
        return "private" if tried.returncode == 0 else "unchanged"

    def _namespace(self, script, argument):
        arguments = ["unshare", "-m", "--propagation", self._propagation(), script, argument]
        done = subprocess.run(arguments, capture_output=True)
        if done.returncode != 0:
            raise Failure(f"courier: no mount namespace: {done.stderr.decode(errors='replace')[-300:]}")

    def _tls(self):
        usr = f"{self.folder}/usr"
        listen = ["couriertcpd", "-address=127.0.0.1", "-maxprocs=50", "-maxperip=50", "-nodnslookup", "-noidentlookup"]
        tls = ["/usr/bin/couriertls", "-server", "-tcpd", "-user=courier"]
        return [*listen, str(self.imaps), *tls, f"{usr}/lib/courier/courier/imaplogin", f"{usr}/bin/imapd", "Maildir"]
