use proto_imap::parse::{self, Context};
#[test]
fn show() {
    let wires: Vec<Vec<u8>> = std::fs::read_to_string("/tmp/imapcmd_wires.txt")
        .unwrap()
        .lines()
        .map(|l| {
            let mut v = l.replace("\\r\\n", "\r\n").into_bytes();
            v.extend_from_slice(b"\r\n");
            v
        })
        .collect();
    for w in &wires {
        match parse::command(w, &Context::strict()) {
            Ok((tag, c)) => println!("{}\t{tag:?} {c:?}", String::from_utf8_lossy(w).trim_end()),
            Err(e) => println!("{}\tERR {e}", String::from_utf8_lossy(w).trim_end()),
        }
    }
}
