//! Writes the commands and responses of URLAUTH.

use crate::body_structure::encode::{Detail, body};
use crate::grammar::command_writer::{ArgumentFault, CommandSink, Writer, Written, fault};
use crate::grammar::lazy_list::LazyList;
use crate::grammar::sink::{Sink, separated};
use crate::grammar::string::IString;
use crate::grammar::string::encode::{astring, literal_header, nstring, nstring8};
use crate::url_auth::{
    ResetKeyCommand, UrlContents, UrlData, UrlFetchItem, UrlMetadata, UrlParameter, UrlRequest,
};

impl<S: CommandSink> Writer<'_, S> {
    /// `url-rump SP mechanism *(SP url-rump SP mechanism)`
    pub(crate) fn gen_url_auth(&mut self, requests: LazyList<'_, UrlRequest<'_>>) -> Written {
        let count = self.separated(requests, |writer, request| {
            writer.astring("URL", request.url)?;
            writer.put(b" ");
            writer.atom("mechanism", &request.mechanism.as_bytes())
        })?;
        if count == 0 { fault("list of URLs", ArgumentFault::Empty) } else { Ok(()) }
    }

    /// `[mailbox *(SP mechanism)]`
    pub(crate) fn reset_key(&mut self, command: &ResetKeyCommand<'_>) -> Written {
        let Some(mailbox) = command.mailbox else {
            let none = command.mechanisms.is_empty();
            return if none { Ok(()) } else { fault("mailbox", ArgumentFault::Empty) };
        };
        self.mailbox(mailbox)?;
        for mechanism in command.mechanisms {
            self.put(b" ");
            self.atom("mechanism", &mechanism.as_bytes())?;
        }
        Ok(())
    }

    /// `url-fetch-arg *(SP url-fetch-arg)`
    pub(crate) fn url_fetch(&mut self, items: LazyList<'_, UrlFetchItem<'_>>) -> Written {
        let count = self.separated(items, |writer, item| {
            let Some(parameters) = item.parameters else { return writer.astring("URL", item.url) };
            writer.put(b"(");
            writer.astring("URL", item.url)?;
            for parameter in parameters {
                writer.put(b" ");
                writer.put(parameter.name());
            }
            writer.put(b")");
            Ok(())
        })?;
        if count == 0 { fault("list of URLs", ArgumentFault::Empty) } else { Ok(()) }
    }
}

/// `url-full *(SP url-full)`
pub(crate) fn gen_url_auth_data(urls: LazyList<'_, IString<'_>>, out: &mut (impl Sink + ?Sized)) {
    separated(urls, out, |url, out| astring(url, out));
}

/// `url-full SP (nstring / url-metadata)`, with spaces between them
pub(crate) fn url_fetch_data(data: LazyList<'_, UrlData<'_>>, out: &mut (impl Sink + ?Sized)) {
    separated(data, out, |one, out| {
        astring(one.url, out);
        out.put(b" ");
        match one.contents {
            UrlContents::Simple(contents) => nstring(contents, out),
            // The grammar has no empty list.
            UrlContents::Extended(items) if items.is_empty() => out.put(b"NIL"),
            UrlContents::Extended(items) => separated(items, out, |item, out| metadata(&item, out)),
        }
    });
}

/// The items in `before`, and an item with `size` bytes that the caller writes. It ends with a closing parenthesis.
pub(crate) fn begin_contents(
    before: LazyList<'_, UrlMetadata<'_>>,
    contents: UrlParameter,
    size: u64,
    out: &mut (impl Sink + ?Sized),
) {
    for item in before {
        out.put(b" ");
        metadata(&item, out);
    }
    out.put(b" (");
    out.put(contents.name());
    out.put(if contents == UrlParameter::Binary { b" ~".as_slice() } else { b" " });
    literal_header(size, out);
}

fn metadata(item: &UrlMetadata<'_>, out: &mut (impl Sink + ?Sized)) {
    match item {
        UrlMetadata::Body(contents) => {
            out.put(b"(BODY ");
            nstring(*contents, out);
        }
        UrlMetadata::Binary(contents) => {
            out.put(b"(BINARY ");
            nstring8(*contents, out);
        }
        UrlMetadata::BodyPartStructure(structure) => {
            out.put(b"(BODYPARTSTRUCTURE ");
            if let Some(structure) = structure.view() {
                body(&structure, Detail::BodyStructure, out);
            }
        }
    }
    out.put(b")");
}
