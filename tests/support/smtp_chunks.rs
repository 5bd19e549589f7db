//! How an SMTP client's application sends a chunk of a message by BDAT: in its turn, past the machine's buffer, and with
//! mistakes that the machine must refuse.

use bytes::Bytes;
use proto_mail::{Channel, SendBuffer};
use proto_smtp::client::Client;
use proto_smtp::types::ChunkEnd;

use crate::play::{Entry, Record};

/// A chunk that is written at once.
pub fn written<C: Channel>(
    client: &mut Client<C>,
    bytes: &[u8],
    end: ChunkEnd,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Option<()> {
    record.given("BDAT", tx, |tx| client.bdat(bytes.len() as u64, end, tx))?;
    record.tried("chunk", tx, |tx| client.data_writer()?.write(bytes, tx))?;
    record.tried("end", tx, |tx| client.data_writer()?.finish(tx))
}

/// A chunk that the driver writes itself, as from a file.
pub fn written_externally<C: Channel>(
    client: &mut Client<C>,
    bytes: &[u8],
    end: ChunkEnd,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Option<()> {
    record.given("BDAT", tx, |tx| client.bdat(bytes.len() as u64, end, tx))?;
    let early = record.tried("too early", tx, |tx| client.data_writer()?.written_externally(1, tx));
    record.requires(early.is_none(), || "bytes were written past the output before them".to_owned());
    record.send(tx);
    record.tried("past", tx, |tx| client.data_writer()?.written_externally(bytes.len() as u64, tx))?;
    record.entries.push(Entry::Sent(bytes.to_vec(), false));
    record.tried("end", tx, |tx| client.data_writer()?.finish(tx))
}

/// A chunk with a wrong size, which the machine must report.
pub fn written_wrongly<C: Channel>(
    client: &mut Client<C>,
    bytes: &[u8],
    end: ChunkEnd,
    tx: &mut SendBuffer,
    record: &mut Record,
) -> Option<()> {
    record.given("BDAT", tx, |tx| client.bdat(bytes.len() as u64, end, tx))?;
    let refused = [
        record.tried("end too early", tx, |tx| client.data_writer()?.finish(tx)),
        record.tried("too much", tx, |tx| client.data_writer()?.write(&[bytes, b"x"].concat(), tx)),
        record.tried("a command inside", tx, |tx| client.noop(tx)),
    ];
    record.requires(refused == [None; 3], || format!("a chunk of a wrong size was accepted: {refused:?}"));
    let payload = Bytes::copy_from_slice(bytes);
    record.tried("chunk", tx, |tx| client.data_writer()?.write_payload(&payload, tx))?;
    record.tried("end", tx, |tx| client.data_writer()?.finish(tx))
}
