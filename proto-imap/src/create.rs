//! `CREATE`, with the special use of RFC 6154 (RFC 9051 §6.3.4).

use crate::flags::parse::flag;
use crate::grammar::command_writer::{CommandSink, Writer, Written};
use crate::grammar::lazy_list::LazyList;
use crate::grammar::lazy_list::list_of;
use crate::grammar::owned::owned_struct;
use crate::grammar::primitive::{close, open, sp, word};
use crate::grammar::{Context, Parsed, expected};
use crate::list::MailboxAttribute;
use crate::mailbox_name::MailboxName;
use crate::mailbox_name::parse::mailbox;

/// `CREATE` (RFC 9051 §6.3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateCommand<'i> {
    /// The mailbox.
    pub mailbox: MailboxName<'i>,
    /// Its special use (`USE`, RFC 6154 §3).
    pub special_use: LazyList<'i, MailboxAttribute<'i>>,
}

impl<'i> CreateCommand<'i> {
    /// Creates a CREATE without a special use.
    #[must_use]
    pub const fn new(mailbox: MailboxName<'i>) -> Self {
        Self { mailbox, special_use: LazyList::EMPTY }
    }
}

/// `create = "CREATE" SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]`
pub(crate) fn create<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, CreateCommand<'i>> {
    let (rest, mailbox) = mailbox(i, cx)?;
    if !rest.starts_with(b" (") {
        return Ok((rest, CreateCommand::new(mailbox)));
    }
    let (rest, ()) = open(sp(rest, cx)?.0, cx)?;
    let (rest, ()) = word(rest, b"USE", "USE")?;
    let (rest, special_use) = list_of(sp(rest, cx)?.0, cx, use_attr)?;
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, CreateCommand { mailbox, special_use }))
}

/// `use-attr = "\" atom`
fn use_attr<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, MailboxAttribute<'i>> {
    let (rest, flag) = flag(i, cx)?;
    if !flag.has_backslash() {
        return expected(i, "an attribute, which begins with a backslash");
    }
    Ok((rest, MailboxAttribute::from_wire(flag.name())))
}

impl<S: CommandSink> Writer<'_, S> {
    pub(crate) fn create(&mut self, create: &CreateCommand<'_>) -> Written {
        self.mailbox(create.mailbox)?;
        if create.special_use.is_empty() {
            return Ok(());
        }
        self.put(b" (USE ");
        self.parenthesised(create.special_use, |writer, attribute| {
            writer.put(b"\\");
            writer.atom("special use", attribute.name())
        })?;
        self.put(b")");
        Ok(())
    }
}

owned_struct!(CreateCommand { mailbox, special_use });
