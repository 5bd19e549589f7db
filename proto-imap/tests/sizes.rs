//! Limits on the size of events: an event is moved several times on its way to the application.

use std::mem::size_of;

use proto_imap::types::{Command, FetchItem, Response, StatusResponse, Untagged};
use proto_imap::{client, server};

#[test]
fn events_are_at_most_128_bytes() {
    for (name, size) in [
        ("client::Event", size_of::<client::Event<'_>>()),
        ("server::Event", size_of::<server::Event<'_, proto_mail::Secure>>()),
        ("Command", size_of::<Command<'_>>()),
        ("FetchItem", size_of::<FetchItem<'_>>()),
        ("Response", size_of::<Response<'_>>()),
        ("StatusResponse", size_of::<StatusResponse<'_>>()),
        ("Untagged", size_of::<Untagged<'_>>()),
    ] {
        assert!(size <= 128, "{name} has {size} bytes");
    }
}
