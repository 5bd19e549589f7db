//! Values that are written on a line are validated on construction, without exception.

fn smtp() {
    let _ = proto_smtp::types::Address("a@example.com>\r\nRSET");
    let _ = proto_smtp::types::Domain("example.com\r\nRSET".into());
}

fn imap() {
    let _ = proto_imap::types::Tag(b"a\r\nb");
    let _ = proto_imap::types::Text(b"done\r\na OK");
}

fn main() {}
