//! Writes NAMESPACE responses.

use crate::grammar::delimiter::write_delimiter;
use crate::grammar::lazy_list::LazyList;
use crate::grammar::sink::{Sink, separated};
use crate::grammar::string::IString;
use crate::grammar::string::encode::string;
use crate::namespace::{Namespace, Namespaces};

/// `namespace SP namespace SP namespace`
pub(crate) fn namespaces(namespaces: &Namespaces<'_>, out: &mut (impl Sink + ?Sized)) {
    let Namespaces { personal, other_users, shared } = *namespaces;
    separated([personal, other_users, shared], out, namespace);
}

fn namespace<S: Sink + ?Sized>(list: LazyList<'_, Namespace<'_>>, out: &mut S) {
    if list.is_empty() {
        out.put(b"NIL");
        return;
    }
    out.put(b"(");
    for one in list {
        out.put(b"(");
        string(one.prefix, out);
        out.put(b" ");
        write_delimiter(one.delimiter, out);
        extensions(one.extensions, out);
        out.put(b")");
    }
    out.put(b")");
}

/// `*(SP value)`: written only if all of it follows the grammar.
fn extensions(raw: IString<'_>, out: &mut (impl Sink + ?Sized)) {
    if !raw.is_empty() && crate::grammar::value::are_values(raw.raw()) {
        out.put(b" ");
        out.put(raw.raw());
    }
}
