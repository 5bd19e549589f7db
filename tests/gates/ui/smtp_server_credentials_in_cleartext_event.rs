//! No event on cleartext holds credentials.

use proto_mail::Cleartext;
use proto_smtp::server::Event;

fn spy(event: Event<'_, Cleartext>) {
    if let Event::Auth(request) = event {
        let _ = request.question();
    }
}

fn main() {}
