//! Parses NAMESPACE responses.

use crate::grammar::delimiter::delimiter;
use crate::grammar::lazy_list::{Element, LazyList};
use crate::grammar::primitive::{byte, close, nil, open, sp, spaces, taken};
use crate::grammar::repair::Repair;
use crate::grammar::string::IString;
use crate::grammar::string::parse::string;
use crate::grammar::value::values;
use crate::grammar::{Context, Parsed, expected};
use crate::namespace::{Namespace, Namespaces};

/// `namespace-response = "NAMESPACE" SP namespace SP namespace SP namespace`, without the word
///
/// *Tolerant*: namespaces missing at the end; `()` instead of `NIL`.
pub(crate) fn namespaces<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Namespaces<'i>> {
    let mut lists = [LazyList::EMPTY; 3];
    let mut rest = i;
    for list in &mut lists {
        if matches!(rest.trim_ascii_start(), []) && rest.len() != i.len() && cx.repair(Repair::NilForValue) {
            break;
        }
        (rest, ()) = sp(rest, cx)?;
        if let Ok((behind, ())) = nil(rest) {
            rest = behind;
            continue;
        }
        (rest, *list) = namespace(rest, cx)?;
    }
    let [personal, other_users, shared] = lists;
    Ok((rest, Namespaces { personal, other_users, shared }))
}

/// `namespace = nil / "(" 1*namespace-descr ")"`. *Tolerant*: spaces between; `()`.
fn namespace<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, Namespace<'i>>> {
    let (inner, ()) = open(i, cx)?;
    let mut rest = inner;
    while rest.first() == Some(&b'(') {
        (rest, _) = namespace_descr(rest, cx)?;
        rest = spaces(rest, cx);
    }
    if rest.len() == inner.len() && !cx.repair(Repair::NilForValue) {
        return expected(rest, "a namespace");
    }
    let list = LazyList::wire(taken(inner, rest), cx.attempt());
    let (rest, ()) = byte(rest, b')', "a closing parenthesis")?;
    Ok((rest, list))
}

/// `namespace-descr = "(" string SP (DQUOTE QUOTED-CHAR DQUOTE / nil) [namespace-response-extensions] ")"`
fn namespace_descr<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, Namespace<'i>> {
    let (rest, ()) = open(i, cx)?;
    let (rest, prefix) = string(rest, cx)?;
    let (rest, ()) = sp(rest, cx)?;
    let (rest, delimiter) = delimiter(rest, cx)?;
    let (rest, extensions) = values(rest, cx)?;
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, Namespace { prefix, delimiter, extensions: IString::new(extensions.trim_ascii()) }))
}

impl<'i> Element<'i> for Namespace<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        namespace_descr(i, cx).ok()
    }
}
