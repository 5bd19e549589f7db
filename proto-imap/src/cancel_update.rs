//! `CANCELUPDATE`: no further changes of search results (RFC 5267 §4.3.5).

use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::lazy_list::LazyList;
use crate::grammar::owned::owned_struct;
use crate::grammar::primitive::{sp, taken};
use crate::grammar::string::IString;
use crate::grammar::string::parse::quoted;
use crate::grammar::{Context, Parsed};

/// `CANCELUPDATE`: the server stops reporting changes of these searches' results (RFC 5267 §4.3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelUpdateCommand<'i> {
    /// The tags of the commands that asked for the changes with UPDATE; at least one is required.
    pub tags: LazyList<'i, IString<'i>>,
}

impl<'i> CancelUpdateCommand<'i> {
    /// Creates a command for these tags. A client's [`CommandId`](crate::client::CommandId) is displayed as its tag.
    #[must_use]
    pub const fn new(tags: &'i [IString<'i>]) -> Self {
        Self { tags: LazyList::new(tags) }
    }
}

/// `"CANCELUPDATE" 1*(SP quoted)`, after the word and the first space
pub(crate) fn cancel_update<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, CancelUpdateCommand<'i>> {
    let (mut rest, _) = quoted(i, cx)?;
    while rest.first() == Some(&b' ') {
        (rest, _) = quoted(sp(rest, cx)?.0, cx)?;
    }
    Ok((rest, CancelUpdateCommand { tags: LazyList::wire(taken(i, rest), cx.attempt()) }))
}

impl<S: CommandSink> Writer<'_, S> {
    /// `quoted *(SP quoted)`
    pub(crate) fn cancel_update(&mut self, command: &CancelUpdateCommand<'_>) -> Written {
        let count = self.separated(command.tags, |writer, tag| {
            if !crate::tag::Tag::is_valid(&tag.as_bytes()) {
                return fault("tag", ArgumentFault::ForbiddenByte);
            }
            writer.quoted(&tag.as_bytes());
            Ok(())
        })?;
        if count == 0 { fault("list of tags", ArgumentFault::Empty) } else { Ok(()) }
    }
}

owned_struct!(CancelUpdateCommand { tags });
