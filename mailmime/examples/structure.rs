//! Prints the parts of a message from standard input: `cargo run -p mailmime --example structure < message.eml`.

use std::io::{self, Read, Write};

use mailmime::{Part, Scanner};

fn main() -> io::Result<()> {
    describe(io::stdin().lock(), &mut io::stdout().lock())
}

/// Writes the subject and a line for each part of the message.
pub(crate) fn describe(mut input: impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut scanner = Scanner::default();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let length = input.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        scanner.push(&chunk[..length]);
    }
    let structure = scanner.finish();
    writeln!(output, "subject: {}", structure.envelope.subject.as_deref().unwrap_or_default())?;
    describe_part(&structure.root, "", output)
}

fn describe_part(part: &Part, number: &str, output: &mut impl Write) -> io::Result<()> {
    let Part { media_type, media_subtype, .. } = part;
    let (length, start) = (part.body.len(), part.body.start);
    writeln!(output, "{number:8} {media_type}/{media_subtype}, {length} bytes from {start}")?;
    for (index, child) in part.children.iter().enumerate() {
        let number = if number.is_empty() { String::new() } else { format!("{number}.") };
        describe_part(child, &format!("{number}{}", index + 1), output)?;
    }
    Ok(())
}
