//! Writes mailbox names in the encoding of the session.

use crate::grammar::command_writer::{
    ArgumentFault, CommandSink, InvalidArgument, Writer, Written, is_plain,
};
use crate::mailbox_name::MailboxName;

impl<S: CommandSink> Writer<'_, S> {
    pub(crate) fn mailbox(&mut self, mailbox: MailboxName<'_>) -> Written {
        if mailbox.is_inbox() {
            self.put(b"INBOX");
            return Ok(());
        }
        let bytes = self.name_bytes("mailbox name", mailbox)?;
        if is_plain(&bytes) {
            self.put(&bytes);
            return Ok(());
        }
        self.bytes("mailbox name", &bytes)
    }

    pub(crate) fn name_bytes<'i>(
        &self,
        argument: &'static str,
        name: MailboxName<'i>,
    ) -> Result<alloc::borrow::Cow<'i, [u8]>, InvalidArgument> {
        let refused = InvalidArgument { argument, fault: ArgumentFault::ForbiddenByte };
        if name.given().is_some_and(|text| text.chars().any(char::is_control)) {
            return Err(refused);
        }
        let bytes = name.to_bytes(self.options.names);
        if memchr::memchr3(b'\r', b'\n', 0, &bytes).is_some() { Err(refused) } else { Ok(bytes) }
    }
}
