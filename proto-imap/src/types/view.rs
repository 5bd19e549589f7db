//! Lists and single values that are walked when asked to.
//!
//! A [`LazyList`] is either a piece of a message, whose grammar was checked when the message was read, or a slice that the
//! application gives in order to have it written. The two look alike. A list holds no memory; walking it reads the
//! piece again, which is cheaper than storing what most readers never ask for.

use core::fmt;
use core::marker::PhantomData;

use crate::parse::{Attempt, Context};

/// What a [`LazyList`] is made of. Only this crate's types are.
pub trait Element<'i>: Copy + sealed::Sealed {
    /// Reads the next element of a checked piece of a message: the rest and the element, or that there is none.
    #[doc(hidden)]
    fn walk(i: &'i [u8], cx: &Context) -> Option<(&'i [u8], Self)>;
}

pub(crate) mod sealed {
    /// Keeps [`Element`](super::Element) ours.
    #[expect(unnameable_types, reason = "that is how a trait is sealed")]
    pub trait Sealed {}
}

/// A list of `T`, walked with [`iter`](Self::iter).
#[derive(Clone, Copy)]
pub struct LazyList<'i, T>(Source<'i, T>);

#[derive(Clone, Copy)]
enum Source<'i, T> {
    Wire(&'i [u8], Attempt),
    Given(&'i [T]),
}

impl<'i, T: Element<'i> + 'i> LazyList<'i, T> {
    /// The empty list.
    pub const EMPTY: Self = Self(Source::Given(&[]));

    /// A list of these.
    #[must_use]
    pub const fn new(elements: &'i [T]) -> Self {
        Self(Source::Given(elements))
    }

    /// `inner` was checked by the grammar.
    pub(crate) const fn wire(inner: &'i [u8], attempt: Attempt) -> Self {
        Self(Source::Wire(inner, attempt))
    }

    /// The elements in their order.
    #[must_use]
    pub const fn iter(&self) -> LazyListIter<'i, T> {
        LazyListIter(self.0)
    }

    /// Whether there are no elements.
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

/// The elements of a [`LazyList`].
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
                let begin = rest.iter().position(|octet| *octet != b' ')?;
                let (behind, element) = T::walk(rest.get(begin..)?, &Context::again(*attempt))?;
                *rest = behind;
                Some(element)
            }
        }
    }
}

impl<'i, T: Element<'i> + fmt::Debug + 'i> fmt::Debug for LazyListIter<'i, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// A single `T` that is read when asked for: what is inside of an attached message.
#[derive(Clone, Copy)]
pub struct LazyValue<'i, T>(LazyList<'i, T>, PhantomData<&'i T>);

impl<'i, T: Element<'i> + 'i> LazyValue<'i, T> {
    /// Nothing.
    pub const NONE: Self = Self(LazyList::EMPTY, PhantomData);

    /// This one.
    #[must_use]
    pub const fn new(value: &'i T) -> Self {
        Self(LazyList::new(core::slice::from_ref(value)), PhantomData)
    }

    pub(crate) const fn wire(inner: &'i [u8], attempt: Attempt) -> Self {
        Self(LazyList::wire(inner, attempt), PhantomData)
    }

    /// The value; `None` only if there is none.
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
