//! On cleartext a match without the STARTTLS request does not compile; one without AUTH does.

use proto_mail::Cleartext;
use proto_smtp::server::Event;

fn handle(event: Event<'_, Cleartext>) {
    match event {
        Event::Hello(..) | Event::Mail(..) | Event::Rcpt(..) | Event::Data(_) | Event::Burl(..) | Event::XClient(..) | Event::XForward(..) => {}
        Event::DataChunk(_) | Event::DataEnd(_) | Event::Vrfy(..) | Event::Expn(..) | Event::Help(..) | Event::Etrn(..) => {}
        Event::Reset | Event::Refused(..) | Event::Closed => {}
    }
}

fn main() {}
