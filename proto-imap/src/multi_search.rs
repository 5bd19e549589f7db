//! The `ESEARCH` command: a search in several mailboxes (RFC 7377).

use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::lazy_list::{LazyList, more};
use crate::grammar::owned::owned_struct;
use crate::grammar::primitive::{close, open, sp, taken, word};
use crate::grammar::value::{are_values, values};
use crate::grammar::{Context, Parsed, expected};
use crate::mailbox_filter::{MailboxFilter, filter_mailboxes};
use crate::search::parse::search_command;
use crate::search::{SearchCommand, SearchReturnOption};

/// `ESEARCH`: a search in the selected mailbox, in others, or in both (RFC 7377). The numbers of its responses are UIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultiSearchCommand<'i> {
    /// `IN`: the mailboxes to search. An empty list, which is not written, means the selected one.
    pub sources: LazyList<'i, MailboxFilter<'i>>,
    /// The scope options in parentheses after the mailboxes, as text without the parentheses. RFC 7377 defines none.
    pub scope_options: &'i [u8],
    /// The rest of the command.
    pub search: SearchCommand<'i>,
}

impl<'i> MultiSearchCommand<'i> {
    /// Creates a search of these mailboxes.
    #[must_use]
    pub const fn new(sources: &'i [MailboxFilter<'i>], search: SearchCommand<'i>) -> Self {
        Self { sources: LazyList::new(sources), scope_options: b"", search }
    }

    /// Returns whether the command is valid only while a mailbox is selected: it searches the selected mailbox, or the
    /// server is to report changes of the result (RFC 7377 §2.2).
    #[must_use]
    pub fn needs_selected_mailbox(&self) -> bool {
        self.sources.is_empty()
            || self.sources.iter().any(|source| source == MailboxFilter::Selected)
            || self.returns(SearchReturnOption::Update)
    }

    /// Returns whether the result of other mailboxes than the selected one is to be saved, which is not possible (RFC
    /// 7377 §2.2).
    fn saves_other_mailboxes(&self) -> bool {
        let elsewhere = self.sources.iter().any(|source| source != MailboxFilter::Selected);
        elsewhere && self.returns(SearchReturnOption::Save)
    }

    fn returns(&self, wanted: SearchReturnOption) -> bool {
        self.search.returns.is_some_and(|returns| returns.iter().any(|option| option == wanted))
    }
}

/// `esearch = "ESEARCH" [SP esearch-source-opts] [SP search-return-opts] SP search-program`, after the word and the space
pub(crate) fn multi_search<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MultiSearchCommand<'i>> {
    let (mut rest, mut sources, mut scope_options) = (i, LazyList::EMPTY, &b""[..]);
    if let Ok((behind, ())) = word(i, b"IN", "") {
        let (behind, ()) = open(sp(behind, cx)?.0, cx)?;
        (rest, (sources, scope_options)) = source_options(behind, cx)?;
        (rest, ()) = sp(close(rest, cx)?.0, cx)?;
    }
    let (rest, search) = search_command(rest, cx)?;
    let command = MultiSearchCommand { sources, scope_options, search };
    if command.saves_other_mailboxes() {
        return expected(i, "no mailbox but the selected one with SAVE");
    }
    Ok((rest, command))
}

/// `filter-mailboxes *(SP filter-mailboxes) [SP "(" scope-options ")"]`
fn source_options<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, (LazyList<'i, MailboxFilter<'i>>, &'i [u8])> {
    let (mut rest, _) = source(i, cx)?;
    let mut end = rest;
    let mut scope_options = &b""[..];
    while let Some(behind) = more(rest, cx)? {
        if behind.first() == Some(&b'(') {
            let (inner, ()) = open(behind, cx)?;
            let (behind, options) = values_in_list(inner, cx)?;
            (rest, scope_options) = (behind, options);
            break;
        }
        (rest, _) = source(behind, cx)?;
        end = rest;
    }
    Ok((rest, (LazyList::wire(taken(i, end), cx.attempt()), scope_options)))
}

/// `filter-mailboxes` without `selected-delayed`, which belongs to NOTIFY (RFC 7377 §2.2)
fn source<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MailboxFilter<'i>> {
    match filter_mailboxes(i, cx)? {
        (_, MailboxFilter::SelectedDelayed) => expected(i, "a set of mailboxes"),
        found => Ok(found),
    }
}

/// `scope-option *(SP scope-option) ")"`
fn values_in_list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, &'i [u8]> {
    let (first, _) = crate::grammar::value::value(i, cx)?;
    let (rest, _) = values(first, cx)?;
    let options = taken(i, rest);
    Ok((close(rest, cx)?.0, options))
}

impl<S: CommandSink> Writer<'_, S> {
    /// `[esearch-source-opts SP] [search-return-opts SP] search-program`, after the word and the space
    pub(crate) fn multi_search(&mut self, command: &MultiSearchCommand<'_>) -> Written {
        if command.saves_other_mailboxes() {
            return fault("SAVE option", ArgumentFault::Contradiction);
        }
        if command.sources.iter().any(|source| source == MailboxFilter::SelectedDelayed) {
            return fault("mailbox to search", ArgumentFault::Contradiction);
        }
        let options = command.scope_options;
        if !command.sources.is_empty() {
            self.put(b"IN (");
            self.separated(command.sources, Self::mailbox_filter)?;
            if !options.is_empty() {
                if !are_values(options) || memchr::memchr3(b'\r', b'\n', 0, options).is_some() {
                    return fault("scope options", ArgumentFault::ForbiddenByte);
                }
                self.put(b" (");
                self.put(options);
                self.put(b")");
            }
            self.put(b") ");
        } else if !options.is_empty() {
            return fault("scope options", ArgumentFault::Contradiction);
        }
        self.search(&command.search)
    }
}

owned_struct!(MultiSearchCommand { sources, scope_options, search });
