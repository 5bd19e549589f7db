//! Opening a tunnel through a proxy on a connected socket.

use std::{
    io,
    task::{Context, Poll, Waker},
    time::Duration,
};

use io_common::{
    Proxy, ProxyError, TimeoutStage,
    proxy::{MAX_REPLY_LEN, ProxyHandshake},
};
use tokio::{io::ReadBuf, net::TcpStream};

use crate::{dial::within, error::Error};

/// Asks the proxy at the other end of `stream` for a connection to this host, within `limit`.
///
/// Exactly the proxy's replies are read. What follows the last one belongs to the server and stays in the socket.
pub(crate) async fn open(
    proxy: &Proxy,
    stream: &TcpStream,
    host: &str,
    port: u16,
    limit: Duration,
) -> Result<(), Error> {
    let mut handshake = proxy.handshake(host, port)?;
    within(limit, TimeoutStage::Proxy, run(stream, &mut *handshake)).await
}

async fn run(stream: &TcpStream, handshake: &mut dyn ProxyHandshake) -> Result<(), Error> {
    let mut buffer = vec![0; MAX_REPLY_LEN];
    while let Some(request) = handshake.request() {
        if has_input(stream) {
            return Err(refused(ProxyError::InvalidReply("it came before the request")));
        }
        write(stream, request.expose()).await?;
        read_reply(stream, handshake, &mut buffer).await?;
    }
    Ok(())
}

/// Returns whether bytes, or the end, have arrived. Does not wait.
fn has_input(stream: &TcpStream) -> bool {
    let mut byte = [0; 1];
    let cx = &mut Context::from_waker(Waker::noop());
    matches!(stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)), Poll::Ready(_))
}

/// Looks at what has arrived, and takes it out of the socket only once it is a reply.
async fn read_reply(
    stream: &TcpStream,
    handshake: &mut dyn ProxyHandshake,
    buffer: &mut [u8],
) -> Result<(), Error> {
    let mut seen = 0;
    loop {
        let count = stream.peek(buffer).await.map_err(io_common::Error::io("receiving"))?;
        if count == 0 {
            return Err(refused(ProxyError::Closed));
        }
        let received = buffer.get(..count).unwrap_or_default();
        if let Some(length) = handshake.reply(received).map_err(refused)? {
            return take(stream, buffer.get_mut(..length).unwrap_or_default()).await;
        }
        if count >= MAX_REPLY_LEN {
            return Err(refused(ProxyError::InvalidReply("it is too long")));
        }
        if count == seen {
            // The socket stays readable while a part of a reply is in it.
            tokio::time::sleep(PART_DELAY).await;
        }
        seen = count;
    }
}

/// How long to wait for the rest of a reply before looking again.
const PART_DELAY: Duration = Duration::from_millis(5);

/// Reads these bytes, which have arrived.
async fn take(stream: &TcpStream, mut bytes: &mut [u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        match stream.try_read(bytes) {
            Ok(0) => return Err(refused(ProxyError::Closed)),
            Ok(count) => bytes = bytes.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.readable().await.map_err(io_common::Error::io("receiving"))?;
            }
            Err(error) => return Err(io_common::Error::io("receiving")(error).into()),
        }
    }
    Ok(())
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        stream.writable().await.map_err(io_common::Error::io("sending"))?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(io_common::Error::io("sending")(error).into()),
        }
    }
    Ok(())
}

fn refused(error: ProxyError) -> Error {
    io_common::Error::from(error).into()
}
