//! The threads of THREAD against a model that follows RFC 5256 step by step.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

use std::collections::BTreeMap;

use cpu_time::ThreadTime;
use proptest::prelude::*;
use proto_imap::sort_order::{BaseSubject, Collation};
use proto_imap::threading::{ThreadForest, ThreadLimits, ThreadableMessage, Threader, TooManyMessages};
use proto_imap::types::{IString, ThreadAlgorithm, ThreadItem, ThreadMessages, Threads};

#[derive(Debug, Clone)]
struct Mail {
    subject: String,
    date: i64,
    id: String,
    references: String,
    in_reply_to: String,
}

fn forest(algorithm: ThreadAlgorithm<'_>, mails: &[Mail]) -> ThreadForest {
    let mut threader = Threader::new(algorithm, Collation::default(), ThreadLimits::default()).unwrap();
    for (number, mail) in (1..).zip(mails) {
        threader
            .add(&ThreadableMessage {
                number,
                subject: &mail.subject,
                date: mail.date,
                message_id: &mail.id,
                references: &mail.references,
                in_reply_to: &mail.in_reply_to,
            })
            .unwrap();
    }
    threader.finish()
}

fn threads(algorithm: ThreadAlgorithm<'_>, mails: &[Mail]) -> String {
    let items: Vec<ThreadItem> = forest(algorithm, mails).items(usize::MAX).collect();
    format!("{:?}", Threads::new(&items))
}

fn mail(subject: &str, date: i64, id: &str, references: &str) -> Mail {
    Mail {
        subject: subject.to_owned(),
        date,
        id: id.to_owned(),
        references: references.to_owned(),
        in_reply_to: String::new(),
    }
}

#[test]
fn ordered_subject_has_no_grandchildren() {
    let mails = [
        mail("b", 5, "", ""),
        mail("a", 1, "", ""),
        mail("Re: b", 9, "", ""),
        mail("re: B (fwd)", 7, "", ""),
        mail("[list] A", 0, "", ""),
    ];
    assert_eq!(threads(ThreadAlgorithm::OrderedSubject, &mails), "(5 2)(1 (4)(3))");
    assert_eq!(threads(ThreadAlgorithm::OrderedSubject, &[]), "");
    assert!(
        Threader::new(
            ThreadAlgorithm::Other(IString::from("X")),
            Collation::default(),
            ThreadLimits::default()
        )
        .is_none()
    );
}

#[test]
fn references_link_messages_and_merge_subjects() {
    let mut mails = vec![
        mail("Lunch", 1, "<a@x>", ""),
        mail("Re: Lunch", 2, "<b@x>", "<a@x>"),
        mail("Re: Lunch", 3, "<c@x>", "<a@x>"),
        mail("Re: Lunch", 4, "<d@x>", "<a@x> <b@x>"),
        // A reply whose references are lost.
        mail("Re: lunch", 5, "<e@x>", ""),
        mail("Other", 0, "<f@x>", ""),
    ];
    assert_eq!(threads(ThreadAlgorithm::References, &mails), "(6)(1 (2 4)(3)(5))");
    assert_eq!(threads(ThreadAlgorithm::Refs, &mails), "(6)(1 (2 4)(3))(5)");
    // Two messages that answer one that is missing; quotes in an identifier.
    mails = vec![mail("x", 1, "<a@x>", "<\"lost\"@x>"), mail("y", 2, "<b@x>", "<lost@x>")];
    assert_eq!(threads(ThreadAlgorithm::References, &mails), "((1)(2))");
    // Only one: the missing message is left out.
    assert_eq!(threads(ThreadAlgorithm::References, &mails[..1]), "(1)");
    // The same identifier twice, and a loop.
    mails = vec![
        mail("x", 1, "<a@x>", "<b@x>"),
        mail("y", 2, "<b@x>", "<a@x>"),
        mail("z", 3, "<a@x>", ""),
        mail("self", 4, "<s@x>", "<s@x>"),
    ];
    assert_eq!(threads(ThreadAlgorithm::References, &mails), "(2 1)(3)(4)");
    // In-Reply-To counts without References, and only its first identifier.
    mails =
        vec![mail("x", 1, "<a@x>", ""), mail("y", 2, "<b@x>", ""), mail("z", 3, "<c@x>", "nothing valid")];
    mails[2].in_reply_to = String::from("mail of <b@x> and <a@x>");
    assert_eq!(threads(ThreadAlgorithm::References, &mails), "(1)(2 3)");
    // Threads with the same subject that are all no replies get a common dummy.
    mails = vec![mail("x", 1, "<a@x>", ""), mail("x", 2, "<b@x>", ""), mail("x", 3, "<c@x>", "")];
    assert_eq!(threads(ThreadAlgorithm::References, &mails), "((1)(2)(3))");
}

#[test]
fn refs_sorts_threads_by_their_newest_message() {
    let mails = [
        mail("a", 1, "<a@x>", ""),
        mail("b", 2, "<b@x>", ""),
        mail("c", 3, "<c@x>", "<a@x>"),
        mail("d", 9, "<d@x>", "<lost@x>"),
        mail("e", 0, "<e@x>", "<lost@x>"),
    ];
    assert_eq!(threads(ThreadAlgorithm::Refs, &mails), "(2)(1 3)((5)(4))");
    assert_eq!(threads(ThreadAlgorithm::References, &mails), "((5)(4))(1 3)(2)");
}

/// A node of the model. `number` 0 is a dummy.
#[derive(Debug, Clone)]
struct Node {
    number: u32,
    parent: Option<usize>,
    children: Vec<usize>,
}

/// RFC 5256 §3, REFERENCES, in its own words.
struct Model<'a> {
    mails: &'a [Mail],
    nodes: Vec<Node>,
    ids: BTreeMap<String, usize>,
    roots: Vec<usize>,
}

impl Model<'_> {
    fn node(&mut self, number: u32) -> usize {
        self.nodes.push(Node { number, parent: None, children: vec![] });
        self.nodes.len() - 1
    }

    fn is_below(&self, mut node: usize, above: usize) -> bool {
        loop {
            if node == above {
                return true;
            }
            match self.nodes[node].parent {
                Some(parent) => node = parent,
                None => return false,
            }
        }
    }

    fn link(&mut self, parent: usize, child: usize) {
        if !self.is_below(parent, child) {
            self.nodes[child].parent = Some(parent);
            self.nodes[parent].children.push(child);
        }
    }

    fn unlink(&mut self, child: usize) {
        if let Some(parent) = self.nodes[child].parent.take() {
            self.nodes[parent].children.retain(|one| *one != child);
        }
    }

    /// Step 1.
    fn add(&mut self, number: u32) {
        let mail = &self.mails[number as usize - 1];
        let find = |text: &str| proto_imap::threading::message_ids(text).collect::<Vec<_>>();
        let mut references = find(&mail.references);
        if references.is_empty() {
            references = find(&mail.in_reply_to).into_iter().take(1).collect();
        }
        let mut last = None;
        for id in references {
            let index = match self.ids.get(&id) {
                Some(index) => *index,
                None => {
                    let index = self.node(0);
                    self.ids.insert(id, index);
                    index
                }
            };
            if let Some(last) = last.filter(|_| self.nodes[index].parent.is_none()) {
                self.link(last, index);
            }
            last = Some(index);
        }
        let id = find(&mail.id).into_iter().next();
        let current = match id.as_ref().and_then(|id| self.ids.get(id)) {
            Some(index) if self.nodes[*index].number == 0 => {
                self.nodes[*index].number = number;
                *index
            }
            found => {
                let is_new = found.is_none();
                let index = self.node(number);
                if let Some(id) = id.filter(|_| is_new) {
                    self.ids.insert(id, index);
                }
                index
            }
        };
        self.unlink(current);
        if let Some(last) = last {
            self.link(last, current);
        }
    }

    /// Step 3, below one node. Returns what takes its place among its siblings.
    fn prune(&mut self, node: usize, is_root: bool) -> Vec<usize> {
        let children: Vec<usize> = self.nodes[node].children.clone();
        let children: Vec<usize> = children.into_iter().flat_map(|child| self.prune(child, false)).collect();
        for child in &children {
            self.nodes[*child].parent = Some(node);
        }
        self.nodes[node].children = children.clone();
        if self.nodes[node].number > 0 || (is_root && children.len() > 1) { vec![node] } else { children }
    }

    fn date(&self, node: usize) -> (i64, u32) {
        match self.nodes[node].number {
            0 => self.nodes[node].children.iter().map(|child| self.date(*child)).min().unwrap(),
            number => (self.mails[number as usize - 1].date, number),
        }
    }

    fn newest(&self, node: usize) -> (i64, u32) {
        let own = (self.nodes[node].number > 0).then(|| self.date(node));
        self.nodes[node].children.iter().map(|child| self.newest(*child)).chain(own).max().unwrap()
    }

    fn sort(&mut self, node: usize) {
        let mut children = std::mem::take(&mut self.nodes[node].children);
        children.iter().for_each(|child| self.sort(*child));
        children.sort_by_key(|child| self.date(*child));
        self.nodes[node].children = children;
    }

    fn subject(&self, node: usize) -> (String, bool) {
        let speaker = match self.nodes[node].number {
            0 => *self.nodes[node].children.iter().min_by_key(|child| self.date(**child)).unwrap(),
            _ => node,
        };
        let base = BaseSubject::new(&self.mails[self.nodes[speaker].number as usize - 1].subject);
        let is_reply = self.nodes[node].number > 0 && base.is_reply();
        (Collation::default().key(base.text()), is_reply)
    }

    /// Step 5.
    fn merge(&mut self) {
        let mut table: BTreeMap<String, usize> = BTreeMap::new();
        for root in self.roots.clone() {
            let (subject, is_reply) = self.subject(root);
            if subject.is_empty() {
                continue;
            }
            match table.get(&subject).copied() {
                None => {
                    table.insert(subject, root);
                }
                Some(listed) => {
                    let listed_is_reply = self.subject(listed).1;
                    if self.nodes[listed].number > 0
                        && (self.nodes[root].number == 0 || (listed_is_reply && !is_reply))
                    {
                        table.insert(subject, root);
                    }
                }
            }
        }
        for root in self.roots.clone() {
            if !self.roots.contains(&root) {
                continue;
            }
            let (subject, is_reply) = self.subject(root);
            let Some(listed) = table.get(&subject).copied().filter(|listed| *listed != root) else {
                continue;
            };
            self.roots.retain(|one| *one != root);
            if self.nodes[root].number == 0 && self.nodes[listed].number == 0 {
                let children = std::mem::take(&mut self.nodes[root].children);
                self.nodes[listed].children.extend(children);
            } else if self.nodes[listed].number == 0 || (is_reply && !self.subject(listed).1) {
                self.nodes[listed].children.push(root);
            } else {
                let dummy = self.node(0);
                self.nodes[dummy].children = vec![listed, root];
                self.roots.retain(|one| *one != listed);
                self.roots.push(dummy);
                table.insert(subject, dummy);
            }
        }
    }

    fn write(&self, node: usize, out: &mut String) {
        let Node { number, children, .. } = &self.nodes[node];
        if *number > 0 {
            out.push_str(&number.to_string());
        }
        match &children[..] {
            [] => {}
            [child] => {
                out.push(' ');
                self.write(*child, out);
            }
            children => {
                if *number > 0 {
                    out.push(' ');
                }
                for child in children {
                    out.push('(');
                    self.write(*child, out);
                    out.push(')');
                }
            }
        }
    }
}

fn model(mails: &[Mail], refs: bool) -> String {
    let mut model = Model { mails, nodes: vec![], ids: BTreeMap::new(), roots: vec![] };
    (1..=u32::try_from(mails.len()).unwrap()).for_each(|number| model.add(number));
    let first: Vec<usize> =
        (0..model.nodes.len()).filter(|node| model.nodes[*node].parent.is_none()).collect();
    model.roots = first.into_iter().flat_map(|root| model.prune(root, true)).collect();
    let mut roots = model.roots.clone();
    roots.sort_by_key(|root| model.date(*root));
    model.roots = roots;
    if !refs {
        model.merge();
    }
    let mut roots = model.roots.clone();
    roots.iter().for_each(|root| model.sort(*root));
    roots.sort_by_key(|root| if refs { model.newest(*root) } else { model.date(*root) });
    let mut out = String::new();
    for root in roots {
        out.push('(');
        model.write(root, &mut out);
        out.push(')');
    }
    out
}

fn mails() -> impl Strategy<Value = Vec<Mail>> {
    let id = || (0_u8..8).prop_map(|id| format!("<{id}@x>"));
    let subject = prop::sample::select(vec!["", "a", "Re: a", "b", "re: B", "c (fwd)", "Fwd:"]);
    let mail = (
        subject,
        0_i64..6,
        prop_oneof![3 => id(), 1 => Just(String::new())],
        prop::collection::vec(id(), 0..4),
        prop_oneof![2 => Just(String::new()), 1 => id()],
    )
        .prop_map(|(subject, date, id, references, in_reply_to)| Mail {
            subject: subject.to_owned(),
            date,
            id,
            references: references.join(" "),
            in_reply_to,
        });
    prop::collection::vec(mail, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn threads_are_those_of_the_rfc(mails in mails()) {
        prop_assert_eq!(threads(ThreadAlgorithm::References, &mails), model(&mails, false));
        prop_assert_eq!(threads(ThreadAlgorithm::Refs, &mails), model(&mails, true));
    }

    #[test]
    fn every_message_is_in_one_thread_at_any_nesting(mails in mails(), nesting in 1_usize..4) {
        for algorithm in [ThreadAlgorithm::OrderedSubject, ThreadAlgorithm::References, ThreadAlgorithm::Refs] {
            let forest = forest(algorithm, &mails);
            let (mut messages, mut deepest) = (ThreadMessages::default(), 0);
            let mut numbers = Vec::new();
            for item in forest.items(nesting) {
                numbers.extend(messages.next(item).map(|message| message.number));
                deepest = deepest.max(messages.open_lists());
            }
            prop_assert!(deepest <= nesting, "{deepest}");
            prop_assert_eq!(messages.open_lists(), 0);
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (1..=u32::try_from(mails.len()).unwrap()).collect::<Vec<_>>());
        }
    }
}

/// The time that this takes.
fn time(count: u32, mail: impl Fn(u32) -> Mail) -> std::time::Duration {
    let mails: Vec<Mail> = (0..count).map(mail).collect();
    let before = ThreadTime::now();
    for algorithm in [ThreadAlgorithm::OrderedSubject, ThreadAlgorithm::References, ThreadAlgorithm::Refs] {
        let forest = forest(algorithm, &mails);
        let items = forest.items(256).filter(|item| matches!(item, ThreadItem::Message(_)));
        assert_eq!(items.count(), count as usize);
    }
    before.elapsed()
}

#[test]
fn hostile_mailboxes_take_linear_time() {
    let id = |number: u32| format!("<{number}@x>");
    let chain = |number: u32| mail("a", 0, &id(number), &id(number.wrapping_sub(1)));
    let reversed = |number: u32| mail("a", 0, &id(u32::MAX - number), &id(u32::MAX - number - 1));
    let one_subject = |number: u32| mail("a", i64::from(number), &id(number), "");
    let star = |number: u32| mail(&number.to_string(), 0, &id(number), "<lost@x>");
    // A long chain, and messages whose first reference is its end and whose last one has answers.
    let climbing = |number: u32| match number % 3 {
        0 => chain(number),
        1 => mail("b", 0, &id(number), &format!("<p{number}@x>")),
        _ => mail("c", 0, &id(number), &format!("{} <p{}@x>", id(number - 2), number - 1)),
    };
    let small = 4_000;
    for (name, case) in [
        ("chain", &chain as &dyn Fn(u32) -> Mail),
        ("reversed", &reversed),
        ("one subject", &one_subject),
        ("star", &star),
        ("climbing", &climbing),
    ] {
        let (one, four) = (time(small, case), time(4 * small, case));
        assert!(four < one * 10 + std::time::Duration::from_millis(50), "{name}: {one:?} {four:?}");
    }
}

#[test]
fn limits_messages_and_references() {
    let mut limits = ThreadLimits::default();
    (limits.messages, limits.references, limits.identifier) = (5, 2, 10);
    let message = |number: u32| ThreadableMessage {
        number,
        subject: "",
        date: 0,
        message_id: "",
        references: "<1@x> <2@x> <3@x> <4@x>",
        in_reply_to: "",
    };
    let mut threader = Threader::new(ThreadAlgorithm::Refs, Collation::default(), limits).unwrap();
    // Two references count, and the message.
    threader.add(&message(1)).unwrap();
    assert_eq!(threader.add(&message(2)), Err(TooManyMessages));
    threader.add(&ThreadableMessage { references: "<far-too-long@x>", ..message(3) }).unwrap();
    let found: Vec<ThreadItem> = threader.finish().items(256).collect();
    assert_eq!(format!("{:?}", Threads::new(&found)), "(1)(3)");
}
