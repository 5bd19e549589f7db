//! Writes the commands and responses of access control lists.

use crate::acl::{
    AclEntry, AclResponse, ListRightsResponse, MailboxIdentifier, MyRightsResponse, Rights, RightsChange,
    SetAclCommand,
};
use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::sink::Sink;
use crate::grammar::string::encode::astring;

impl<S: CommandSink> Writer<'_, S> {
    /// `mailbox SP identifier SP mod-rights`
    pub(crate) fn set_acl(&mut self, command: &SetAclCommand<'_>) -> Written {
        let SetAclCommand { mailbox, identifier, change, rights } = *command;
        self.mailbox_identifier(&MailboxIdentifier { mailbox, identifier })?;
        self.put(b" ");
        if !rights.is_valid() {
            return fault("rights", ArgumentFault::NotAnAtom);
        }
        match change {
            RightsChange::Replace => return self.astring("rights", rights.as_string()),
            RightsChange::Add => self.put(b"+"),
            RightsChange::Remove => self.put(b"-"),
        }
        self.put(rights.as_string().raw());
        Ok(())
    }

    /// `mailbox SP identifier`
    pub(crate) fn mailbox_identifier(&mut self, arguments: &MailboxIdentifier<'_>) -> Written {
        self.mailbox(arguments.mailbox)?;
        self.put(b" ");
        self.astring("identifier", arguments.identifier)
    }
}

/// `mailbox *(SP identifier SP rights)`
pub(crate) fn acl(acl: &AclResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    astring(acl.mailbox, out);
    let can_be_written = |entry: &AclEntry<'_>| entry.rights.is_valid();
    for entry in acl.entries.iter().filter(can_be_written) {
        out.put(b" ");
        astring(entry.identifier, out);
        put_rights(entry.rights, out);
    }
}

/// `mailbox SP identifier SP rights *(SP rights)`
pub(crate) fn list_rights(response: &ListRightsResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    astring(response.mailbox, out);
    out.put(b" ");
    astring(response.identifier, out);
    put_rights(response.required, out);
    for rights in response.optional.iter().filter(Rights::is_valid) {
        put_rights(rights, out);
    }
}

/// `mailbox SP rights`
pub(crate) fn my_rights(response: &MyRightsResponse<'_>, out: &mut (impl Sink + ?Sized)) {
    astring(response.mailbox, out);
    put_rights(response.rights, out);
}

fn put_rights(rights: Rights<'_>, out: &mut (impl Sink + ?Sized)) {
    out.put(b" ");
    astring(rights.as_string(), out);
}
