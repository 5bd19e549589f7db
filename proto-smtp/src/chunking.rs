//! CHUNKING: the BDAT command (RFC 3030 §2).

use proto_mail::SendBuffer;

use crate::ascii;
use crate::encode;
use crate::syntax::{SyntaxError, SyntaxFault, trim_spaces};

/// Whether a chunk of BDAT, or a part of BURL, is the last of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChunkEnd {
    /// More chunks follow.
    More,
    /// `LAST`: the message ends with this chunk.
    Last,
}

impl ChunkEnd {
    /// Parses `[ SP "LAST" ]`.
    pub(crate) fn parse(line: &[u8], word: Option<&[u8]>) -> Result<Self, SyntaxError> {
        match word {
            None => Ok(Self::More),
            Some(last) if last.eq_ignore_ascii_case(b"LAST") => Ok(Self::Last),
            Some(surplus) => Err(SyntaxError::at(line, surplus, SyntaxFault::SurplusArgument)),
        }
    }

    /// Writes `LAST` and the end of the line.
    pub(crate) fn encode(self, tx: &mut SendBuffer) {
        tx.put(match self {
            Self::More => b"\r\n",
            Self::Last => b" LAST\r\n",
        });
    }
}

/// Parses the arguments of BDAT: `SP chunk-size [ SP "LAST" ]`.
pub(crate) fn parse_bdat(line: &[u8], rest: &[u8]) -> Result<(u64, ChunkEnd), SyntaxError> {
    let mut words = trim_spaces(rest).splitn(2, |&byte| byte == b' ');
    let size = words
        .next()
        .and_then(ascii::number)
        .ok_or_else(|| SyntaxError::at(line, rest, SyntaxFault::Number))?;
    Ok((size, ChunkEnd::parse(line, words.next())?))
}

/// Writes BDAT.
pub(crate) fn encode_bdat(size: u64, end: ChunkEnd, tx: &mut SendBuffer) {
    tx.put(b"BDAT ");
    encode::number(size, tx);
    end.encode(tx);
}
