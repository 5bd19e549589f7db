//! Writes the answer to an extended URLFETCH whose contents are streamed (RFC 5524).

use alloc::vec::Vec;

use proto_mail::trace::TraceKind;
use proto_mail::{Error, Misuse, SendBuffer};

use super::session::Session;
use super::unfinished::Unfinished;
use crate::grammar::lazy_list::LazyList;
use crate::grammar::string::encode::astring;
use crate::types::{IString, UrlMetadata, UrlParameter};
use crate::url_auth::encode;

impl Session {
    /// Writes the start of a URLFETCH response: the items in `before`, and the announcement of `size` bytes.
    pub(super) fn begin_url_metadata(
        &mut self,
        url: IString<'_>,
        before: LazyList<'_, UrlMetadata<'_>>,
        contents: UrlParameter,
        size: u64,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.may_write()?;
        if !self.state.is_authenticated() {
            return Err(Misuse::WrongState.into());
        }
        if contents == UrlParameter::BodyPartStructure {
            return Err(Misuse::InvalidArgument.into());
        }
        tx.put(b"* URLFETCH ");
        let mut shown = Vec::new();
        astring(url, &mut shown);
        tx.put_as(&shown, TraceKind::Secret);
        encode::begin_contents(before, contents, size, tx);
        self.unfinished = Unfinished::UrlMetadata(size);
        Ok(())
    }

    /// Ends the response, once all of its bytes are written.
    pub(super) fn finish_url_metadata(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match self.unfinished {
            Unfinished::UrlMetadata(0) => {
                self.unfinished = Unfinished::Nothing;
                tx.put(b")\r\n");
                Ok(())
            }
            Unfinished::UrlMetadata(_) => Err(Misuse::WrongLength.into()),
            _ => Err(Misuse::WrongState.into()),
        }
    }
}
