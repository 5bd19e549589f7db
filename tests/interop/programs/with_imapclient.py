"""A session by IMAPClient. Prints one line of JSON for each thing that it did: its name and what the server said."""

import json
import ssl
import sys
import threading
from datetime import datetime, timezone

from imapclient import IMAPClient

from messages import MESSAGES

port, ca, user, password = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]


def say(name, value):
    print(json.dumps([name, value], default=lambda one: one.decode() if isinstance(one, bytes) else str(one)))


def connect():
    client = IMAPClient("localhost", port, ssl_context=ssl.create_default_context(cafile=ca), timeout=20)
    client.login(user, password)
    client.normalise_times = False
    return client


client = connect()
client.create_folder("Entwürfe & mehr")
client.create_folder("other")
for index, message in enumerate(MESSAGES):
    client.append("Entwürfe & mehr", message.encode(), ["\\Seen"] if index == 1 else [], datetime(2022, 3, index + 1, tzinfo=timezone.utc))
say("list", sorted(name for _, _, name in client.list_folders() if name in ("Entwürfe & mehr", "other")))
selected = client.select_folder("Entwürfe & mehr")
say("select", [selected[b"EXISTS"], selected[b"READ-WRITE"]])
uids = client.search()
say("search", [client.search(key) for key in ("UNSEEN", ["SUBJECT", "alpha"], ["NOT", ["FROM", "will"]], ["SINCE", datetime(2022, 3, 3)])])
say("unicode", client.search(["SUBJECT", "café"], "UTF-8"))
for answer in (client.add_flags(uids[:2], ["\\Flagged", "keyword"]), client.remove_flags(uids[:1], ["keyword"])):
    say("flags", sorted([uid, sorted(set(flags) - {b"\\Recent"})] for uid, flags in answer.items()))
envelopes = client.fetch(uids, ["ENVELOPE", "RFC822.SIZE", "BODYSTRUCTURE"])
say("envelope", [[str(envelopes[uid][b"ENVELOPE"].subject), str(envelopes[uid][b"ENVELOPE"].from_[0]), envelopes[uid][b"RFC822.SIZE"]] for uid in uids])
say("multipart", [envelopes[uid][b"BODYSTRUCTURE"].is_multipart for uid in uids])
if client.has_capability("SORT"):
    say("sort", [client.sort(key) for key in ("SUBJECT", "DATE", "REVERSE SIZE", ["FROM"])])
if client.has_capability("THREAD=REFERENCES"):
    say("thread", client.thread("REFERENCES"))
if client.has_capability("QUOTA"):
    say("quota", len(client.get_quota("INBOX")) > 0)
if client.has_capability("CONDSTORE"):
    say("modseq", sorted(client.fetch(uids[:1], ["MODSEQ"])[uids[0]]) == [b"MODSEQ", b"SEQ"])
say("namespace", client.namespace().personal)
client.copy(uids[:1], "other")
client.move(uids[1:3], "other")
say("left", client.search() == [uids[0], uids[3]])
say("status", sorted(client.folder_status("other", ["MESSAGES", "UNSEEN"]).items()))
client.idle()
other = connect()
threading.Thread(target=lambda: other.append("Entwürfe & mehr", MESSAGES[0].encode())).start()
seen = []
while not any(len(one) > 1 and one[1] == b"EXISTS" for one in seen):
    seen += client.idle_check(timeout=5)
client.idle_done()
say("idle", [one for one in seen if one[1] == b"EXISTS"])
client.delete_messages(uids[:1])
client.expunge()
say("expunged", len(client.search()))
client.unselect_folder()
client.rename_folder("other", "renamed")
client.subscribe_folder("renamed")
say("subscribed", [name for _, _, name in client.list_sub_folders() if name == "renamed"])
client.delete_folder("renamed")
client.delete_folder("Entwürfe & mehr")
other.logout()
client.logout()
