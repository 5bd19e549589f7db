// A session by imapflow. Prints one line of JSON for each thing that it did: its name and what the server said.
const { ImapFlow } = require("imapflow");
const { execFileSync } = require("child_process");
const [port, user, pass, folder] = process.argv.slice(2);
const messages = JSON.parse(execFileSync("/usr/bin/python3", ["-c", "import json,messages;print(json.dumps(messages.MESSAGES))"], { cwd: folder }));
const say = (name, value) => console.log(JSON.stringify([name, value]));
const connect = async () => {
  const client = new ImapFlow({ host: "localhost", port: +port, secure: true, auth: { user, pass }, logger: false });
  await client.connect();
  return client;
};
(async () => {
  const client = await connect();
  await client.mailboxCreate("flow");
  await client.mailboxCreate("flow-2");
  for (const [index, message] of messages.entries())
    await client.append("flow", message, index === 1 ? ["\\Seen"] : [], new Date(Date.UTC(2022, 2, index + 1)));
  const lock = await client.getMailboxLock("flow");
  say("exists", client.mailbox.exists);
  const uids = [];
  for await (const one of client.fetch("1:*", { uid: true, envelope: true, bodyStructure: true, source: true, flags: true, size: true })) {
    uids.push(one.uid);
    say("message", [one.seq, one.envelope.subject, one.envelope.from[0].address, one.bodyStructure.type, one.source.length === one.size,
      [...one.flags].filter((flag) => flag !== "\\Recent").sort()]);
  }
  for (const query of [{ seen: false }, { subject: "alpha" }, { from: "will" }, { body: "answer" }, { or: [{ larger: 400 }, { seen: true }] }, { since: new Date("2022-03-03") }])
    say("search", await client.search(query));
  const { content } = await client.download("4", "2");
  let text = "";
  for await (const chunk of content) text += chunk;
  say("download", text);
  await client.messageFlagsAdd("1:2", ["\\Flagged", "keyword"]);
  await client.messageFlagsRemove("1", ["keyword"]);
  say("flags", await client.search({ keyword: "keyword" }));
  const copied = await client.messageCopy("1", "flow-2");
  say("copy", copied.uidMap.size);
  const moved = await client.messageMove("2:3", "flow-2");
  say("move", [moved.uidMap.size, client.mailbox.exists]);
  say("status", (({ messages, unseen }) => [messages, unseen])(await client.status("flow-2", { messages: true, unseen: true })));
  const quota = await client.getQuota("flow");
  say("quota", Boolean(quota));
  const news = new Promise((resolve) => client.once("exists", resolve));
  const idling = client.idle();
  const other = await connect();
  await other.append("flow", messages[0]);
  const { count } = await news;
  say("idle", count);
  await client.noop();
  await idling;
  await client.messageDelete("1");
  say("deleted", client.mailbox.exists);
  lock.release();
  await client.mailboxRename("flow-2", "flow-3");
  say("list", (await client.list()).map((one) => one.path).filter((path) => path.startsWith("flow")).sort());
  await client.mailboxDelete("flow");
  await client.mailboxDelete("flow-3");
  await other.logout();
  await client.logout();
})().catch((error) => { console.error(error); process.exit(1); });
