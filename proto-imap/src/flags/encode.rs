//! Writes flags and flag lists.

use crate::flags::{Flag, FlagList};
use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::lazy_list::LazyList;
use crate::grammar::sink::{Sink, parenthesised};

/// `flag`. Writes nothing for a keyword that the tolerant parser accepted and that is not an atom.
pub(crate) fn flag(flag: Flag<'_>, out: &mut (impl Sink + ?Sized)) {
    if can_be_written(flag) {
        if flag.has_backslash() {
            out.put(b"\\");
        }
        out.put(flag.name());
    }
}

fn can_be_written(flag: Flag<'_>) -> bool {
    match flag {
        Flag::Keyword(keyword) | Flag::Extension(keyword) => keyword.is_atom(),
        _ => true,
    }
}

/// `flag-list`. `\*` is left out, because it is valid in PERMANENTFLAGS only.
pub(crate) fn flag_list(flags: LazyList<'_, Flag<'_>>, out: &mut (impl Sink + ?Sized)) {
    let is_flag = |flag: &Flag<'_>| can_be_written(*flag) && !matches!(flag, Flag::Any);
    parenthesised(flags.iter().filter(is_flag), out, flag);
}

/// `"(" [flag-perm *(SP flag-perm)] ")"`: a [`flag_list`] that can contain `\*`.
pub(crate) fn flag_perm_list(flags: LazyList<'_, Flag<'_>>, out: &mut (impl Sink + ?Sized)) {
    parenthesised(flags.iter().filter(|flag| can_be_written(*flag)), out, flag);
}

impl<S: CommandSink> Writer<'_, S> {
    /// `flag-list` of flags that a client can set.
    pub(crate) fn flags(&mut self, flags: FlagList<'_>) -> Written {
        self.parenthesised(flags, |writer, flag| match flag {
            Flag::Recent | Flag::Any => fault("flag", ArgumentFault::ServerOnly),
            flag => {
                if flag.has_backslash() {
                    writer.put(b"\\");
                }
                writer.atom("flag", flag.name())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::parse;
    use crate::grammar::Context;
    use alloc::vec::Vec;

    #[test]
    fn skips_keywords_that_are_not_atoms() {
        let flags = parse::flag_list(br"(\Seen a] $b)", &Context::tolerant()).unwrap().1;
        let mut out = Vec::new();
        flag_list(flags, &mut out);
        assert_eq!(out, br"(\Seen $b)");
    }
}
