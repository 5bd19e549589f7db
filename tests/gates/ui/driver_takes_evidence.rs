// The evidence of a handshake would open a machine on another connection, which may have no TLS.

use io_common::{stream::Stream, transport::Transport};
use proto_imap::{Config, client::Client};
use proto_mail::Secure;

fn open_elsewhere<S: Stream>(
    protected: &mut Transport<S>,
    config: Config,
) -> Option<Client<Secure>> {
    let (secure, _) = protected.finish_handshake().ok()?;
    Some(Client::<Secure>::new(config, secure))
}

fn main() {}
