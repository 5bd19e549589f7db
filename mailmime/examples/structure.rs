//! Prints the parts of a message from standard input: `cargo run -p mailmime --example structure < message.eml`.

use std::io::{self, Read};

use mailmime::{Part, Scanner};

fn main() -> io::Result<()> {
    let mut scanner = Scanner::default();
    let mut chunk = vec![0; 16 * 1024];
    let mut input = io::stdin().lock();
    loop {
        let length = input.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        scanner.push(&chunk[..length]);
    }
    let structure = scanner.finish();
    println!("subject: {}", structure.envelope.subject.as_deref().unwrap_or_default());
    print(&structure.root, String::new());
    Ok(())
}

fn print(part: &Part, number: String) {
    let Part { media_type, media_subtype, .. } = part;
    println!("{number:8} {media_type}/{media_subtype}, {} bytes from {}", part.body.len(), part.body.start);
    for (index, child) in part.children.iter().enumerate() {
        let number = if number.is_empty() { String::new() } else { format!("{number}.") };
        print(child, format!("{number}{}", index + 1));
    }
}
