//! Writes SETQUOTA commands, and QUOTA and QUOTAROOT responses.

use crate::grammar::command_writer::{CommandSink, Writer, Written};
use crate::grammar::sink::{Sink, number, parenthesised};
use crate::grammar::string::encode::{astring, is_atom};
use crate::quota::{Quota, QuotaResource, QuotaRoot, SetQuotaCommand};

impl<S: CommandSink> Writer<'_, S> {
    /// `quota-root-name SP setquota-list`
    pub(crate) fn set_quota(&mut self, command: &SetQuotaCommand<'_>) -> Written {
        self.astring("quota root", command.root)?;
        self.put(b" ");
        self.parenthesised(command.limits, |writer, limit| {
            writer.atom("resource", &limit.name.as_bytes())?;
            writer.put(b" ");
            writer.number64("limit", limit.limit)
        })
    }
}

/// `astring SP "(" [quota-resource *(SP quota-resource)] ")"`
pub(crate) fn quota(quota: &Quota<'_>, out: &mut (impl Sink + ?Sized)) {
    astring(quota.root, out);
    out.put(b" ");
    let can_be_written = |resource: &QuotaResource<'_>| is_atom(resource.name);
    parenthesised(quota.resources.iter().filter(can_be_written), out, |resource, out| {
        out.put(resource.name.raw());
        out.put(b" ");
        number(resource.usage, out);
        out.put(b" ");
        number(resource.limit, out);
    });
}

/// `astring *(SP astring)`
pub(crate) fn quota_root(root: &QuotaRoot<'_>, out: &mut (impl Sink + ?Sized)) {
    astring(root.mailbox, out);
    for one in root.roots {
        out.put(b" ");
        astring(one, out);
    }
}
