//! The output of encoders, and the separators that every encoder needs.
//!
//! Responses append to a [`Sink`] and cannot fail: values that the grammar cannot express are not written, for
//! example a keyword that is not an atom, or a `UIDNEXT` of 0. No value can add a line end, a NUL or a parenthesis
//! where the client would parse it as syntax. Nothing is allocated.

/// The output of an encoder.
pub trait Sink {
    /// Appends a copy of `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for alloc::vec::Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for proto_mail::SendBuffer {
    fn put(&mut self, bytes: &[u8]) {
        Self::put(self, bytes);
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn put(&mut self, bytes: &[u8]) {
        (**self).put(bytes);
    }
}

/// `number`, `number64`: a number above the grammar's maximum, 2⁶³ - 1, is clamped.
pub(crate) fn number(number: u64, out: &mut (impl Sink + ?Sized)) {
    // 2^64 has 20 digits, 2^63 has 19.
    let mut digits = [0_u8; 20];
    let mut begin = digits.len();
    let mut rest = number.min(i64::MAX as u64);
    while let Some(digit) = begin.checked_sub(1).and_then(|at| digits.get_mut(at)) {
        *digit = b'0' + (rest % 10) as u8;
        begin -= 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put(digits.get(begin..).unwrap_or_default());
}

/// `"(" [item *(SP item)] ")"`
pub(crate) fn parenthesised<T, S: Sink + ?Sized>(
    items: impl IntoIterator<Item = T>,
    out: &mut S,
    item: impl Fn(T, &mut S),
) {
    out.put(b"(");
    separated(items, out, item);
    out.put(b")");
}

/// `[item *(SP item)]`
pub(crate) fn separated<T, S: Sink + ?Sized>(
    items: impl IntoIterator<Item = T>,
    out: &mut S,
    item: impl Fn(T, &mut S),
) {
    for (index, one) in items.into_iter().enumerate() {
        if index > 0 {
            out.put(b" ");
        }
        item(one, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn writes_numbers_up_to_63_bits() {
        for value in [0, 7, 10, 99, 4_294_967_295, i64::MAX as u64] {
            let mut out = Vec::new();
            number(value, &mut out);
            assert_eq!(out, alloc::format!("{value}").as_bytes());
        }
        let mut out = Vec::new();
        number(u64::MAX, &mut out);
        assert_eq!(out, b"9223372036854775807");
    }
}
