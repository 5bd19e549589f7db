//! Parses the fields of ID.

use crate::grammar::lazy_list::{Element, pairs};
use crate::grammar::primitive::{sp, spaces_before_close};
use crate::grammar::repair::Repair;
use crate::grammar::string::parse::{nstring, string};
use crate::grammar::{Context, Parsed};
use crate::id::{IdField, IdFields};

/// `id-params-list = "(" [string SP nstring *(SP string SP nstring)] ")" / nil` (RFC 2971)
pub(crate) fn id_params_list<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IdFields<'i>> {
    pairs(i, cx, id_field)
}

/// `string SP nstring`. *Tolerant*: a missing last value.
fn id_field<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, IdField<'i>> {
    let (rest, name) = string(i, cx)?;
    if cx.is_tolerant() && spaces_before_close(rest, cx).first() == Some(&b')') {
        cx.repairs.note(Repair::BodyShape);
        return Ok((rest, IdField { name, value: None }));
    }
    let (rest, ()) = sp(rest, cx)?;
    let (rest, value) = nstring(rest, cx)?;
    Ok((rest, IdField { name, value }))
}

impl<'i> Element<'i> for IdField<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        id_field(i, cx).ok()
    }
}
