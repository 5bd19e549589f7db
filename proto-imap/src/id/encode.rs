//! Writes the fields of ID.

use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::sink::{Sink, parenthesised};
use crate::grammar::string::IString;
use crate::grammar::string::encode::{nstring, string};
use crate::id::IdFields;

/// `"ID" SP id-params-list`
pub(crate) fn id<S: Sink + ?Sized>(fields: IdFields<'_>, out: &mut S) {
    out.put(b"ID ");
    if fields.is_empty() {
        out.put(b"NIL");
        return;
    }
    parenthesised(fields, out, |field, out| {
        string(field.name, out);
        out.put(b" ");
        nstring(field.value, out);
    });
}

impl<S: CommandSink> Writer<'_, S> {
    /// `id-params-list`: at most 30 fields, names of 30 bytes, values of 1024 bytes (RFC 2971 §3.3). An empty list is
    /// written as `NIL`, because some servers do not accept `()`.
    pub(crate) fn id(&mut self, fields: IdFields<'_>) -> Written {
        if fields.is_empty() {
            self.put(b"NIL");
            return Ok(());
        }
        if fields.iter().count() > 30 {
            return fault("list of ID fields", ArgumentFault::OutOfRange);
        }
        self.parenthesised(fields, |writer, field| {
            let long = |string: IString<'_>, limit| string.iter().count() > limit;
            if long(field.name, 30) || field.value.is_some_and(|value| long(value, 1024)) {
                return fault("ID field", ArgumentFault::OutOfRange);
            }
            writer.string("ID field", field.name)?;
            writer.put(b" ");
            match field.value {
                Some(value) => writer.string("ID field", value),
                None => {
                    writer.put(b"NIL");
                    Ok(())
                }
            }
        })
    }
}
