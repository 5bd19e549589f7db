//! Parses the commands and responses of URLAUTH.

use crate::body_structure::parse::body;
use crate::grammar::lazy_list::{Element, LazyList, LazyValue, known_word};
use crate::grammar::primitive::{atom, byte, sp, taken, word};
use crate::grammar::string::IString;
use crate::grammar::string::parse::{astring, nstring, nstring8};
use crate::grammar::{Context, Parsed, expected};
use crate::mailbox_name::parse::mailbox;
use crate::url_auth::{
    ResetKeyCommand, UrlContents, UrlData, UrlFetchItem, UrlMetadata, UrlParameter, UrlRequest,
};

/// `item *(SP item)`, up to the line end
fn items<'i, T: Element<'i> + 'i>(
    i: &'i [u8],
    cx: &Context,
    item: impl Fn(&'i [u8], &Context) -> Parsed<'i, T>,
) -> Parsed<'i, LazyList<'i, T>> {
    let (mut rest, _) = item(i, cx)?;
    while let [b' ', behind @ ..] = rest
        && !matches!(behind, [b' ' | b'\r' | b'\n', ..] | [])
    {
        (rest, _) = item(behind, cx)?;
    }
    Ok((rest, LazyList::wire(taken(i, rest), cx.attempt())))
}

/// `genurlauth = "GENURLAUTH" 1*(SP url-rump SP mechanism)`, after the word and the first space
pub(crate) fn gen_url_auth<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, UrlRequest<'i>>> {
    items(i, cx, url_request)
}

fn url_request<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, UrlRequest<'i>> {
    let (rest, url) = astring(i, cx)?;
    let (rest, mechanism) = atom(sp(rest, cx)?.0)?;
    Ok((rest, UrlRequest { url, mechanism: IString::atom(mechanism) }))
}

/// `resetkey = "RESETKEY" [SP mailbox *(SP mechanism)]`, after the word
pub(crate) fn reset_key<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, ResetKeyCommand<'i>> {
    if i.first() != Some(&b' ') {
        return Ok((i, ResetKeyCommand { mailbox: None, mechanisms: LazyList::EMPTY }));
    }
    let (rest, mailbox) = mailbox(sp(i, cx)?.0, cx)?;
    let command = |mechanisms| ResetKeyCommand { mailbox: Some(mailbox), mechanisms };
    match rest {
        [b' ', behind @ ..] => {
            items(behind, cx, mechanism).map(|(rest, mechanisms)| (rest, command(mechanisms)))
        }
        _ => Ok((rest, command(LazyList::EMPTY))),
    }
}

fn mechanism<'i>(i: &'i [u8], _: &Context) -> Parsed<'i, IString<'i>> {
    atom(i).map(|(rest, name)| (rest, IString::atom(name)))
}

/// `urlfetch = "URLFETCH" 1*(SP url-fetch-arg)` (RFC 5524), after the word and the first space
pub(crate) fn url_fetch<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, UrlFetchItem<'i>>> {
    items(i, cx, url_fetch_item)
}

/// `url-full / "(" url-full *(SP url-fetch-param) ")"`
fn url_fetch_item<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, UrlFetchItem<'i>> {
    let [b'(', inside @ ..] = i else {
        return astring(i, cx).map(|(rest, url)| (rest, UrlFetchItem::contents(url)));
    };
    let (start, url) = astring(inside, cx)?;
    let mut rest = start;
    while let [b' ', behind @ ..] = rest {
        (rest, _) = parameter(behind)?;
    }
    let parameters = LazyList::wire(taken(start, rest), cx.attempt());
    let (rest, ()) = byte(rest, b')', "a closing parenthesis")?;
    Ok((rest, UrlFetchItem { url, parameters: Some(parameters) }))
}

fn parameter(i: &[u8]) -> Parsed<'_, UrlParameter> {
    known_word(i, UrlParameter::find, "BODY, BINARY or BODYPARTSTRUCTURE")
}

impl UrlParameter {
    const ALL: [Self; 3] = [Self::Body, Self::Binary, Self::BodyPartStructure];

    pub(crate) const fn name(self) -> &'static [u8] {
        match self {
            Self::Body => b"BODY",
            Self::Binary => b"BINARY",
            Self::BodyPartStructure => b"BODYPARTSTRUCTURE",
        }
    }

    fn find(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(name))
    }
}

/// `genurlauth-data = "GENURLAUTH" 1*(SP url-full)`, after the word and the first space
pub(crate) fn gen_url_auth_data<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, IString<'i>>> {
    items(i, cx, astring)
}

/// `urlfetch-data = "URLFETCH" 1*(SP url-full SP (nstring / url-metadata))` (RFC 5524), after the word and the first space
pub(crate) fn url_fetch_data<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, LazyList<'i, UrlData<'i>>> {
    items(i, cx, url_data)
}

fn url_data<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, UrlData<'i>> {
    let (rest, url) = astring(i, cx)?;
    let (start, ()) = sp(rest, cx)?;
    if start.first() != Some(&b'(') {
        let (rest, contents) = nstring(start, cx)?;
        return Ok((rest, UrlData { url, contents: UrlContents::Simple(contents) }));
    }
    let (mut rest, _) = url_metadata(start, cx)?;
    while let [b' ', behind @ ..] = rest
        && behind.first() == Some(&b'(')
    {
        (rest, _) = url_metadata(behind, cx)?;
    }
    let items = LazyList::wire(taken(start, rest), cx.attempt());
    Ok((rest, UrlData { url, contents: UrlContents::Extended(items) }))
}

/// `"(" url-metadata-el ")"`
fn url_metadata<'i>(i: &'i [u8], cx: &Context) -> Parsed<'i, UrlMetadata<'i>> {
    let (inside, ()) = byte(i, b'(', "an opening parenthesis")?;
    let (rest, metadata) = if let Ok((behind, ())) = word(inside, b"BODYPARTSTRUCTURE", "") {
        let (start, ()) = sp(behind, cx)?;
        let (rest, _) = body(start, cx)?;
        (rest, UrlMetadata::BodyPartStructure(LazyValue::wire(taken(start, rest), cx.attempt())))
    } else if let Ok((behind, ())) = word(inside, b"BINARY", "") {
        let (rest, contents) = nstring8(sp(behind, cx)?.0, cx)?;
        (rest, UrlMetadata::Binary(contents))
    } else if let Ok((behind, ())) = word(inside, b"BODY", "") {
        let (rest, contents) = nstring(sp(behind, cx)?.0, cx)?;
        (rest, UrlMetadata::Body(contents))
    } else {
        return expected(inside, "BODY, BINARY or BODYPARTSTRUCTURE");
    };
    byte(rest, b')', "a closing parenthesis").map(|(rest, ())| (rest, metadata))
}

impl<'i> Element<'i> for UrlRequest<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        url_request(i, cx).ok()
    }
}

impl<'i> Element<'i> for UrlFetchItem<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        url_fetch_item(i, cx).ok()
    }
}

impl<'i> Element<'i> for UrlParameter {
    fn walk(i: &'i [u8], _: &Context) -> Option<(&'i [u8], Self)> {
        parameter(i).ok()
    }
}

impl<'i> Element<'i> for UrlData<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        url_data(i, cx).ok()
    }
}

impl<'i> Element<'i> for UrlMetadata<'i> {
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)> {
        url_metadata(i, cx).ok()
    }
}
