//! On cleartext a match without the STARTTLS request does not compile; one without AUTHENTICATE does.

use proto_mail::Cleartext;
use proto_imap::server::Event;

fn handle(event: Event<'_, Cleartext>) {
    match event {
        Event::Command(..) | Event::Append { .. } | Event::AppendNext { .. } | Event::AppendPart { .. } | Event::AppendChunk(_) | Event::AppendEnd(_) | Event::Compress(_) => {}
        Event::AppendAborted | Event::Idle(_) | Event::Done | Event::Unparsed(_) | Event::Closed => {}
    }
}

fn main() {}
