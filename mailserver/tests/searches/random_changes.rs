//! Several sessions change a mailbox at random, and every response is checked against the others: counts, ALL against
//! MIN, MAX and PARTIAL, `$`, threads, and results that are kept up to date against new searches.

use std::collections::BTreeMap;

use mailstore::Flags;

use crate::mailbox::{Client, Mail, TestServer, over_every_store};

/// A source of numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A result that a client keeps up to date by ADDTO and REMOVEFROM.
struct Kept {
    command: &'static str,
    keys: &'static str,
    result: Vec<u32>,
}

/// A client with the results that it keeps.
struct Watcher {
    client: Client,
    kept: BTreeMap<String, Kept>,
}

const SEARCHES: [(&str, &str); 5] = [
    ("UID SEARCH", "FLAGGED"),
    ("SEARCH", "UNSEEN"),
    ("UID SORT", "(REVERSE SIZE) UTF-8 NOT FLAGGED"),
    ("SORT", "(SUBJECT) UTF-8 ALL"),
    ("UID SEARCH", "OR BODY x SEEN"),
];

fn expand(set: &str) -> Vec<u32> {
    if set == "NIL" || set.is_empty() {
        return Vec::new();
    }
    set.split(',')
        .flat_map(|range| {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            first.parse::<u32>().unwrap()..=last.parse::<u32>().unwrap()
        })
        .collect()
}

/// Returns the word after this one.
fn after<'l>(line: &'l str, word: &str) -> Option<&'l str> {
    let rest = line.split_once(&format!(" {word} "))?.1;
    Some(rest.split([' ', ')']).next().unwrap())
}

impl Watcher {
    fn new(server: &TestServer) -> Self {
        let mut client = server.select();
        let mut kept = BTreeMap::new();
        for (number, (command, keys)) in SEARCHES.into_iter().enumerate() {
            let tag = format!("K{number}");
            let (lines, last) = client.tagged(&tag, &format!("{command} RETURN (UPDATE ALL) {keys}"));
            assert!(last.starts_with("OK"), "{lines:?} {last}");
            let result = expand(after(&lines[0], "ALL").unwrap_or_default());
            kept.insert(tag, Kept { command, keys, result });
        }
        Self { client, kept }
    }

    fn run(&mut self, command: &str) -> Vec<String> {
        let lines = self.client.ok(command);
        lines.iter().for_each(|line| self.follow(line));
        lines
    }

    /// Applies a response to the kept results, as a client does.
    fn follow(&mut self, line: &str) {
        if let Some(number) = line.strip_prefix("* ").and_then(|line| line.strip_suffix(" EXPUNGE")) {
            let gone: u32 = number.parse().unwrap();
            for kept in self.kept.values_mut().filter(|kept| !kept.command.starts_with("UID")) {
                assert!(!kept.result.contains(&gone), "REMOVEFROM comes before EXPUNGE");
                kept.result.iter_mut().filter(|number| **number > gone).for_each(|number| *number -= 1);
            }
        }
        let Some((tag, rest)) =
            line.strip_prefix("* ESEARCH (TAG \"").and_then(|rest| rest.split_once("\")"))
        else {
            return;
        };
        let Some(kept) = self.kept.get_mut(tag) else { return };
        for (word, adds) in [("ADDTO", true), ("REMOVEFROM", false)] {
            let Some((_, changes)) = rest.split_once(&format!("{word} (")) else { continue };
            let changes: Vec<&str> = changes.trim_end_matches(')').split(' ').collect();
            for change in changes.chunks(2) {
                let (position, numbers) = (change[0].parse::<usize>().unwrap(), expand(change[1]));
                match (adds, position) {
                    (true, 0) => {
                        kept.result.extend(numbers);
                        kept.result.sort_unstable();
                    }
                    (false, 0) => {
                        numbers.iter().for_each(|number| assert!(kept.result.contains(number), "{line}"));
                        kept.result.retain(|number| !numbers.contains(number));
                    }
                    (true, position) => {
                        kept.result.splice(position - 1..position - 1, numbers);
                    }
                    (false, position) => {
                        let end = position - 1 + numbers.len();
                        let removed: Vec<u32> = kept.result.splice(position - 1..end, []).collect();
                        assert_eq!(removed, numbers, "{line}");
                    }
                }
            }
        }
    }

    /// Compares each kept result with a new search.
    fn check_kept(&mut self) {
        self.run("NOOP");
        for (tag, kept) in &self.kept {
            let line = self.client.one(&format!("{} RETURN () {}", kept.command, kept.keys));
            assert_eq!(kept.result, expand(after(&line, "ALL").unwrap_or_default()), "{tag} {}", kept.keys);
        }
    }

    /// Compares the forms of one result.
    fn check_forms(&mut self, random: &mut Random) {
        let keys = ["ALL", "FLAGGED", "NOT SEEN", "LARGER 200", "SUBJECT \"s1\""][random.below(5) as usize];
        let all =
            expand(after(&self.client.one(&format!("UID SEARCH RETURN (ALL) {keys}")), "ALL").unwrap_or(""));
        let plain = self.client.one(&format!("UID SEARCH {keys}"));
        assert_eq!(
            plain.split_ascii_whitespace().skip(2).map(|uid| uid.parse::<u32>().unwrap()).collect::<Vec<_>>(),
            all
        );
        let ends = self.client.one(&format!("UID SEARCH RETURN (MIN MAX COUNT SAVE) {keys}"));
        let number = |line: &str, word| after(line, word).map(|number| number.parse::<u32>().unwrap());
        assert_eq!(number(&ends, "MIN"), all.first().copied());
        assert_eq!(number(&ends, "MAX"), all.last().copied());
        assert_eq!(number(&ends, "COUNT"), Some(u32::try_from(all.len()).unwrap()));
        assert_eq!(self.client.ok("UID FETCH $ (UID)").len(), all.len());
        let (from, to) = (random.below(6) as usize + 1, random.below(12) as usize + 6);
        let page = self.client.one(&format!("UID SEARCH RETURN (PARTIAL -{from}:-{to}) {keys}"));
        let page = expand(page.rsplit_once(' ').unwrap().1.trim_end_matches(')'));
        let (start, end) = (all.len().saturating_sub(to), all.len().saturating_sub(from - 1));
        assert_eq!(page, all[start..end]);

        let sorted = self.client.one(&format!("UID SORT RETURN (ALL) (SIZE) UTF-8 {keys}"));
        let sorted = expand(after(&sorted, "ALL").unwrap_or_default());
        let ends = self.client.one(&format!("UID SORT RETURN (MIN MAX COUNT) (SIZE) UTF-8 {keys}"));
        assert_eq!(number(&ends, "MIN"), sorted.first().copied());
        assert_eq!(number(&ends, "MAX"), sorted.last().copied());
        let page = self.client.one(&format!("UID SORT RETURN (PARTIAL {from}:{to}) (SIZE) UTF-8 {keys}"));
        let page = expand(page.rsplit_once(' ').unwrap().1.trim_end_matches(')'));
        let place = |number: usize| number.min(sorted.len());
        assert_eq!(page, sorted[place(from - 1)..place(to)]);
        let by_set = |mut numbers: Vec<u32>| {
            numbers.sort_unstable();
            numbers
        };
        assert_eq!(by_set(sorted), all);
        for algorithm in ["ORDEREDSUBJECT", "REFERENCES", "REFS"] {
            let threads = self.client.one(&format!("UID THREAD {algorithm} UTF-8 {keys}"));
            let numbers = threads.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
            assert_eq!(by_set(numbers.map(|number| number.parse().unwrap()).collect()), all);
        }
        let elsewhere = self.client.ok(&format!("ESEARCH IN (inboxes) RETURN (ALL) {keys}"));
        let elsewhere = elsewhere.first().and_then(|line| after(line, "ALL")).unwrap_or_default();
        assert_eq!(expand(elsewhere), all);
    }
}

fn change(random: &mut Random, server: &TestServer, watcher: &mut Watcher) {
    let exists = watcher.client.one("SEARCH RETURN (COUNT) ALL");
    let exists: u64 = after(&exists, "COUNT").unwrap().parse().unwrap();
    let message = if exists == 0 { 0 } else { random.below(exists) + 1 };
    match random.below(8) {
        0 | 1 => {
            let subject = format!("Subject: {}s{}", ["", "Re: "][random.below(2) as usize], random.below(4));
            let mail = Mail::new(&subject)
                .body(&"xy".repeat(random.below(200) as usize))
                .flags([0, Flags::FLAGGED, Flags::SEEN][random.below(3) as usize]);
            server.append("INBOX", &[mail]);
        }
        _ if message == 0 => {}
        2 => {
            watcher.run(&format!("STORE {message} +FLAGS.SILENT (\\Deleted)"));
            watcher.run("EXPUNGE");
        }
        3 => {
            watcher.run(&format!("FETCH {message} BODY[TEXT]"));
        }
        4 => {
            watcher.run(&format!("COPY {message} INBOX"));
        }
        choice => {
            let sign = ["+", "-"][random.below(2) as usize];
            let flag = ["\\Flagged", "\\Seen"][(choice % 2) as usize];
            let last = (message + random.below(3)).min(exists);
            watcher.run(&format!("STORE {message}:{last} {sign}FLAGS ({flag})"));
        }
    }
}

#[test]
fn every_response_agrees_with_the_others() {
    over_every_store(|server| {
        let mails: Vec<Mail> = (0..12_usize)
            .map(|number| Mail::new(&format!("Subject: s{}", number % 3)).body(&"x".repeat(number * 30)))
            .collect();
        server.append("INBOX", &mails);
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let mut watchers = [Watcher::new(server), Watcher::new(server), Watcher::new(server)];
        for round in 0..150 {
            let watcher = &mut watchers[random.below(3) as usize];
            watcher.run("NOOP");
            change(&mut random, server, watcher);
            if round % 5 == 0 {
                watchers.iter_mut().for_each(Watcher::check_kept);
                watchers[round % 3].check_forms(&mut random);
            }
        }
    });
}
