"""A session by Python's imaplib. Prints one line of JSON for each thing that it did: its name and what the server said."""

import imaplib
import json
import ssl
import sys
import time

from messages import MESSAGES

port, ca, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


def say(name, value):
    if isinstance(value, (list, tuple)):
        value = [one.decode() if isinstance(one, bytes) else one for one in value]
    print(json.dumps([name, value]))


def connect():
    client = imaplib.IMAP4_SSL("localhost", port, ssl_context=ssl.create_default_context(cafile=ca), timeout=20)
    client.login(user, password)
    client._get_capabilities()  # those after the login
    return client


def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]


imaplib.Commands.setdefault("MOVE", ("SELECTED",))
client = connect()
ok(client.create("imaplib"))
ok(client.create("imaplib-2"))
for index, message in enumerate(MESSAGES):
    ok(client.append("imaplib", "(\\Seen)" if index == 1 else None, f'" {index + 1}-Mar-2022 10:00:00 +0000"', message.encode()))
say("select", ok(client.select("imaplib")))
say("search", [ok(client.search(None, key)) [0].decode() for key in ("ALL", "UNSEEN", "SUBJECT alpha", "FROM will", "TEXT answer",
                                                                    "LARGER 400", "SENTSINCE 2-Mar-2021", "SINCE 3-Mar-2022", "BODY two")])
say("store", [sorted(set(one.decode().replace("(", " ").replace(")", " ").split()) - {"\\Recent"})
              for one in ok(client.store("1:2", "+FLAGS", "(\\Flagged keyword)"))])
say("unseen", ok(client.search(None, "UNSEEN FLAGGED")))
say("sizes", ok(client.fetch("1:*", "(RFC822.SIZE INTERNALDATE)")))
say("section", ok(client.fetch("4", "(BODY.PEEK[1])"))[0][1].decode())
say("partial", ok(client.fetch("1", "(BODY.PEEK[TEXT]<4.5>)"))[0][1].decode())
if "SORT" in client.capabilities:
    say("sort", [ok(client.sort(key, "UTF-8", "ALL"))[0].decode() for key in ("(SUBJECT)", "(DATE)", "(REVERSE SIZE)", "(FROM)", "(REVERSE ARRIVAL)")])
if "THREAD=REFERENCES" in client.capabilities:
    say("thread", ok(client.thread("REFERENCES", "UTF-8", "ALL")))
if "QUOTA" in client.capabilities:
    root, quota = ok(client.getquotaroot("INBOX"))
    say("quota", [len(root), len(quota)])
say("copy", ok(client.copy("1:2", "imaplib-2")) is not None)
say("move", ok(client._simple_command("MOVE", "3", "imaplib-2")) is not None)
say("expunged", client.response("EXPUNGE")[1])
say("status", sorted(ok(client.status("imaplib-2", "(MESSAGES UNSEEN)"))))
ok(client.store("1", "+FLAGS.SILENT", "(\\Deleted)"))
client.response("FETCH")
say("expunge", ok(client.expunge()))

# IDLE, which this imaplib does not have: another connection appends meanwhile.
client.send(b"idle1 IDLE\r\n")
while not client.readline().startswith(b"+"):
    pass
other = connect()
ok(other.append("imaplib", None, None, MESSAGES[0].encode()))
began = time.monotonic()
while b"EXISTS" not in (line := client.readline()):
    pass
say("idle", [line.decode().strip(), time.monotonic() - began < 5])
client.send(b"DONE\r\n")
while not client.readline().startswith(b"idle1 OK"):
    pass
other.logout()
say("list", sorted(one.decode().split(') ')[1] for one in ok(client.list('""', "imaplib*"))))
ok(client.subscribe("imaplib"))
say("lsub", [one.decode().split(") ")[1] for one in ok(client.lsub('""', "imaplib*"))])
ok(client.close())
ok(client.rename("imaplib", "imaplib-3"))
ok(client.delete("imaplib-3"))
ok(client.delete("imaplib-2"))
client.logout()
