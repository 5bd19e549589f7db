//! Writes the contents of a URL piece by piece (URLFETCH, RFC 4467).

use alloc::vec::Vec;

use proto_mail::trace::TraceKind;
use proto_mail::{Error, Misuse, SendBuffer};

use super::session::Session;
use super::unfinished::Unfinished;
use crate::grammar::string::encode::{astring, literal_header};
use crate::types::IString;

impl Session {
    /// Starts a URLFETCH response whose contents are `size` bytes.
    pub(super) fn begin_url_data(
        &mut self,
        url: IString<'_>,
        size: u64,
        tx: &mut SendBuffer,
    ) -> Result<(), Error> {
        self.may_write()?;
        if !self.state.is_authenticated() {
            return Err(Misuse::WrongState.into());
        }
        tx.put(b"* URLFETCH ");
        let mut shown = Vec::new();
        astring(url, &mut shown);
        tx.put_as(&shown, TraceKind::Secret);
        tx.put(b" ");
        literal_header(size, tx);
        self.unfinished = Unfinished::UrlData(size);
        Ok(())
    }

    /// Ends the response, once all of its bytes are written.
    pub(super) fn finish_url_data(&mut self, tx: &mut SendBuffer) -> Result<(), Error> {
        match self.unfinished {
            Unfinished::UrlData(0) => {
                self.unfinished = Unfinished::Nothing;
                tx.put(b"\r\n");
                Ok(())
            }
            Unfinished::UrlData(_) => Err(Misuse::WrongLength.into()),
            _ => Err(Misuse::WrongState.into()),
        }
    }
}
