//! Lists and single values that are parsed when they are iterated.
//!
//! A [`LazyList`] is either a slice of a message, which the parser has checked, or a slice of values that the
//! application wants to write. Both are iterated in the same way. A list allocates nothing. Iterating parses the
//! bytes again, which is cheaper than storing values that most callers never use.

use crate::grammar::owned::{AnyList, Keeper, Owned, Shower, View};
use crate::grammar::primitive::{byte, close, nil, open, sp, spaces_before_close, taken};
use crate::grammar::repair::Repair;
use crate::grammar::{Attempt, Context, Expected, Parsed, expected};
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

/// An element type of [`LazyList`]. Only types of this crate implement it.
pub trait Element<'i>: View<'i> + sealed::Sealed {
    /// Parses the next element of a checked slice of a message. Returns the rest and the element; `None` at the end.
    #[doc(hidden)]
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)>;
}

pub(crate) mod sealed {
    /// Prevents other crates from implementing [`Element`](super::Element).
    #[expect(unnameable_types, reason = "that is how a trait is sealed")]
    pub trait Sealed {}
}

/// A list of `T`. Iterate it with [`iter`](Self::iter).
#[derive(Clone, Copy)]
pub struct LazyList<'i, T>(Source<'i, T>);

#[derive(Clone, Copy)]
enum Source<'i, T> {
    Wire(&'i [u8], Attempt),
    Given(&'i [T]),
    /// The elements of an owned value, starting at this index.
    Kept(&'i AnyList, usize),
}

impl<'i, T: Element<'i> + 'i> LazyList<'i, T> {
    /// The empty list.
    pub const EMPTY: Self = Self(Source::Given(&[]));

    /// Creates a list of these elements.
    #[must_use]
    pub const fn new(elements: &'i [T]) -> Self {
        Self(Source::Given(elements))
    }

    /// Creates a list from bytes that the grammar has checked.
    pub(crate) const fn wire(inner: &'i [u8], attempt: Attempt) -> Self {
        Self(Source::Wire(inner, attempt))
    }

    /// Returns an iterator over the elements, in order.
    #[must_use]
    pub const fn iter(&self) -> LazyListIter<'i, T> {
        LazyListIter(self.0)
    }

    /// Returns whether the list has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<'i, T: Element<'i> + 'i> Default for LazyList<'i, T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<'i, T: Element<'i> + 'i> IntoIterator for LazyList<'i, T> {
    type Item = T;
    type IntoIter = LazyListIter<'i, T>;

    fn into_iter(self) -> LazyListIter<'i, T> {
        self.iter()
    }
}

impl<'i, T: Element<'i> + PartialEq + 'i> PartialEq for LazyList<'i, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'i, T: Element<'i> + Eq + 'i> Eq for LazyList<'i, T> {}

impl<'i, T: Element<'i> + fmt::Debug + 'i> fmt::Debug for LazyList<'i, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// An iterator over the elements of a [`LazyList`].
#[derive(Clone)]
pub struct LazyListIter<'i, T>(Source<'i, T>);

impl<'i, T: Element<'i> + 'i> Iterator for LazyListIter<'i, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.0 {
            Source::Given(elements) => {
                let (first, rest) = elements.split_first()?;
                *elements = rest;
                Some(*first)
            }
            Source::Wire(rest, attempt) => {
                let begin = rest.iter().position(|byte| *byte != b' ')?;
                let (behind, element) = T::walk(rest.get(begin..)?, &Context::again(*attempt))?;
                *rest = behind;
                Some(element)
            }
            Source::Kept(list, index) => {
                let element = list.downcast_ref::<Vec<Owned<T::Static>>>()?.get(*index)?;
                *index += 1;
                Some(element.show())
            }
        }
    }
}

impl<'i, T: Element<'i> + 'i> View<'i> for LazyList<'i, T> {
    type Static = LazyList<'static, T::Static>;

    fn keep(self, keeper: &mut Keeper) -> Self::Static {
        LazyList(match self.0 {
            Source::Wire(piece, attempt) => Source::Wire(keeper.bytes(piece), attempt),
            Source::Given(_) | Source::Kept(..) => {
                keeper.list(self.iter());
                Source::Given(&[])
            }
        })
    }

    fn show(kept: Self::Static, shower: &mut Shower<'i>) -> Self {
        Self(match kept.0 {
            Source::Wire(_, attempt) => Source::Wire(shower.bytes(), attempt),
            Source::Given(_) | Source::Kept(..) => {
                shower.list().map_or(Source::Given(&[]), |list| Source::Kept(list, 0))
            }
        })
    }
}

impl<'i, T: Element<'i> + 'i> View<'i> for LazyValue<'i, T> {
    type Static = LazyValue<'static, T::Static>;

    fn keep(self, keeper: &mut Keeper) -> Self::Static {
        LazyValue(self.0.keep(keeper), PhantomData)
    }

    fn show(kept: Self::Static, shower: &mut Shower<'i>) -> Self {
        Self(View::show(kept.0, shower), PhantomData)
    }
}

impl<'i, T: Element<'i> + fmt::Debug + 'i> fmt::Debug for LazyListIter<'i, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// A single `T` that is parsed when it is viewed, such as the envelope of an attached message.
#[derive(Clone, Copy)]
pub struct LazyValue<'i, T>(LazyList<'i, T>, PhantomData<&'i T>);

impl<'i, T: Element<'i> + 'i> LazyValue<'i, T> {
    /// No value.
    pub const NONE: Self = Self(LazyList::EMPTY, PhantomData);

    /// Creates a value.
    #[must_use]
    pub const fn new(value: &'i T) -> Self {
        Self(LazyList::new(core::slice::from_ref(value)), PhantomData)
    }

    pub(crate) const fn wire(inner: &'i [u8], attempt: Attempt) -> Self {
        Self(LazyList::wire(inner, attempt), PhantomData)
    }

    /// Returns whether there is no value.
    #[must_use]
    pub fn is_none(&self) -> bool {
        match self.0.0 {
            Source::Wire(piece, _) => piece.is_empty(),
            Source::Given(_) | Source::Kept(..) => self.0.is_empty(),
        }
    }

    /// Returns the value; `None` only if there is none.
    #[must_use]
    pub fn view(&self) -> Option<T> {
        self.0.iter().next()
    }
}

impl<'i, T: Element<'i> + PartialEq + 'i> PartialEq for LazyValue<'i, T> {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl<'i, T: Element<'i> + Eq + 'i> Eq for LazyValue<'i, T> {}

impl<'i, T: Element<'i> + fmt::Debug + 'i> fmt::Debug for LazyValue<'i, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

/// `"(" [pair *(SP pair)] ")" / nil`. *Tolerant*: spaces at either end; an empty string for no pairs.
pub(crate) fn pairs<'i, T: Element<'i> + 'i, U>(
    i: &'i [u8],
    cx: &Context,
    pair: impl Fn(&'i [u8], &Context) -> Parsed<'i, U>,
) -> Parsed<'i, LazyList<'i, T>> {
    let Ok((inner, ())) = open(i, cx) else {
        return match nil(i) {
            Ok((rest, ())) => Ok((rest, LazyList::EMPTY)),
            Err(_) if i.starts_with(b"\"\"") && cx.repair(Repair::NilForValue) => {
                Ok((i.get(2..).unwrap_or_default(), LazyList::EMPTY))
            }
            Err(_) => expected(i, "a list of parameters"),
        };
    };
    let mut rest = inner;
    if rest.first() == Some(&b')') {
        return Ok((rest.get(1..).unwrap_or_default(), LazyList::EMPTY));
    }
    loop {
        (rest, _) = pair(rest, cx)?;
        let Some(behind) = more(rest, cx)? else { break };
        rest = behind;
    }
    let list = LazyList::wire(taken(inner, rest), cx.attempt());
    let (rest, ()) = close(rest, cx)?;
    Ok((rest, list))
}

/// Returns the input after the space before another field; `None` before a closing parenthesis.
#[inline]
pub(crate) fn more<'i>(i: &'i [u8], cx: &Context) -> Result<Option<&'i [u8]>, nom::Err<Expected<'i>>> {
    let rest = spaces_before_close(i, cx);
    if rest.first() == Some(&b')') {
        return Ok(None);
    }
    sp(rest, cx).map(|(rest, ())| Some(rest))
}

/// `"(" [item *(SP item)] ")"`. *Tolerant*: spaces at either end; `NIL` for an empty list.
pub(crate) fn list_of<'i, T: Element<'i> + 'i, U>(
    i: &'i [u8],
    cx: &Context,
    item: impl Fn(&'i [u8], &Context) -> Parsed<'i, U>,
) -> Parsed<'i, LazyList<'i, T>> {
    let (inner, ()) = match open(i, cx) {
        Err(_) if nil(i).is_ok() && cx.repair(Repair::NilForValue) => {
            return nil(i).map(|(rest, ())| (rest, LazyList::EMPTY));
        }
        opened => opened?,
    };
    let mut rest = inner;
    if rest.first() != Some(&b')') {
        loop {
            (rest, _) = item(rest, cx)?;
            rest = spaces_before_close(rest, cx);
            if rest.first() == Some(&b')') {
                break;
            }
            (rest, ()) = sp(rest, cx)?;
        }
    }
    let list = LazyList::wire(taken(inner, rest), cx.attempt());
    let (rest, ()) = byte(rest, b')', "a closing parenthesis")?;
    Ok((rest, list))
}

/// Parses a list in parentheses that is not empty.
pub(crate) fn one_or_more<'i, T: Element<'i> + 'i>(
    i: &'i [u8],
    cx: &Context,
    item: impl Fn(&'i [u8], &Context) -> Parsed<'i, T>,
) -> Parsed<'i, LazyList<'i, T>> {
    let (inner, ()) = byte(i, b'(', "an opening parenthesis")?;
    if inner.first() == Some(&b')') {
        return expected(inner, "at least one element in the parentheses");
    }
    list_of(i, cx, item)
}

/// Parses one of the words that `find` knows.
pub(crate) fn known_word<'i, T>(
    i: &'i [u8],
    find: impl Fn(&'i [u8]) -> Option<T>,
    what: &'static str,
) -> Parsed<'i, T> {
    let end = i.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'-')).unwrap_or(i.len());
    let (word, rest) = i.split_at(end);
    find(word).map_or_else(|| expected(i, what), |found| Ok((rest, found)))
}
