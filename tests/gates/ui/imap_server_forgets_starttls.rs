//! On cleartext a match that forgets the request for STARTTLS is not complete; one that forgets AUTHENTICATE is.

use proto_mail::Cleartext;
use proto_imap::server::Event;

fn handle(event: Event<'_, Cleartext>) {
    match event {
        Event::Command(..) | Event::Append { .. } | Event::AppendChunk(_) | Event::AppendEnd(_) => {}
        Event::AppendAborted | Event::Idle(_) | Event::Done | Event::Unparsed(_) | Event::Closed => {}
    }
}

fn main() {}
