//! Lists the parts of a message with their numbers (RFC 9051 §6.4.5.1).

use crate::structure::{Part, Structure};

impl Structure {
    /// Returns every part that has a number, with its number, depth first. See [`Part::numbered_parts`].
    ///
    /// ```
    /// let message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n\
    ///     --b\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nx\r\n--b--\r\n";
    /// let structure = mailmime::Structure::parse(message);
    /// let names: Vec<_> = structure.numbered_parts().map(|(number, part)| (number, part.file_name())).collect();
    /// assert_eq!(names, [(vec![1], None), (vec![2], Some("a.txt".to_owned()))]);
    /// ```
    pub fn numbered_parts(&self) -> NumberedParts<'_> {
        self.root.numbered_parts()
    }
}

impl Part {
    /// Returns every part that has a number, with its number, depth first. `self` is the root of a message.
    ///
    /// The parts of enclosed messages are among them. A multipart that is the body of a message has no number.
    pub fn numbered_parts(&self) -> NumberedParts<'_> {
        let mut parts = NumberedParts { stack: Vec::new() };
        parts.push_message(&[], self);
        parts
    }
}

/// An iterator over the numbered parts of a message.
#[derive(Clone, Debug)]
pub struct NumberedParts<'p> {
    /// The parts that follow, the next one last.
    stack: Vec<(Vec<u32>, &'p Part)>,
}

impl<'p> NumberedParts<'p> {
    /// A message that is not a multipart has one part, number 1.
    fn push_message(&mut self, prefix: &[u32], root: &'p Part) {
        match root.is_multipart() {
            true => self.push_children(prefix, &root.children),
            false => self.push_children(prefix, std::slice::from_ref(root)),
        }
    }

    fn push_children(&mut self, prefix: &[u32], children: &'p [Part]) {
        let numbered = (1_u32..).zip(children).map(|(number, part)| {
            let mut path = prefix.to_vec();
            path.push(number);
            (path, part)
        });
        let first = self.stack.len();
        self.stack.extend(numbered);
        if let Some(added) = self.stack.get_mut(first..) {
            added.reverse();
        }
    }
}

impl<'p> Iterator for NumberedParts<'p> {
    type Item = (Vec<u32>, &'p Part);

    fn next(&mut self) -> Option<Self::Item> {
        let (number, part) = self.stack.pop()?;
        match &part.message {
            Some(message) => self.push_message(&number, &message.root),
            None => self.push_children(&number, &part.children),
        }
        Some((number, part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_parts_of_enclosed_messages() {
        let message = "Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n--a\nContent-Type: message/rfc822\n\n\
            Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\n\ny\n--b--\n--a\n\
            Content-Type: message/rfc822\n\nSubject: s\n\nplain\n--a--\n";
        let structure = Structure::parse(message.as_bytes());
        let numbers: Vec<_> = structure.numbered_parts().map(|(number, _)| number).collect();
        assert_eq!(numbers, [&[1][..], &[2], &[2, 1], &[2, 2], &[3], &[3, 1]]);
        for (number, part) in structure.numbered_parts() {
            assert!(std::ptr::eq(structure.root.part(&number).unwrap(), part), "{number:?}");
        }
        let numbers: Vec<_> =
            Structure::parse(b"\nplain").numbered_parts().map(|(number, _)| number).collect();
        assert_eq!(numbers, [[1]]);
    }
}
