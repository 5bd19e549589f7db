//! Owned forms: copies of views that outlive the message, for a channel, another thread or an async stream.
//!
//! A view holds slices of the message. Its owned form ([`Owned`]) copies them one after another into one allocation,
//! and keeps the view with empty slices in their places. [`Owned::view`] traverses that view again and inserts the
//! copies in the same order. Nothing is encoded or parsed, so an owned value is equal to its original view, even if
//! the message did not follow the grammar.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

/// An owned copy of a view: `Owned<Envelope<'static>>` is the owned form of [`Envelope`](crate::types::Envelope).
///
/// The view's `into_owned` creates it. Clones share the memory.
#[derive(Clone)]
pub struct Owned<S> {
    /// The view, with empty slices.
    template: S,
    memory: Arc<Memory>,
}

struct Memory {
    bytes: Box<[u8]>,
    /// The length of each slice, in the order of the traversal.
    lengths: Box<[usize]>,
    /// The lists that the application provided as slices, in the order of the traversal. Each is a `Vec<Owned<_>>`.
    lists: Box<[AnyList]>,
}

/// A list of owned elements of one type.
pub(crate) type AnyList = Box<dyn Any + Send + Sync>;

/// A type that has an owned form. Only this crate's types do.
pub trait View<'i>: Copy {
    /// The type with the lifetime `'static`.
    type Static: Copy + Send + Sync + 'static;

    /// Copies the slices to `keeper`; returns the view with empty slices.
    #[doc(hidden)]
    fn keep(self, keeper: &mut Keeper) -> Self::Static;

    /// Puts the copies into a view with empty slices.
    #[doc(hidden)]
    fn show(kept: Self::Static, shower: &mut Shower<'i>) -> Self;
}

/// A view with the lifetime `'static`, as an [`Owned`] holds it.
pub trait Stored: Copy + Send + Sync + 'static {
    /// The type with the lifetime `'i`.
    type At<'i>: View<'i, Static = Self>;
}

/// Collects the copies of a view's slices.
#[derive(Default)]
#[expect(unnameable_types, reason = "only this crate implements the trait")]
#[doc(hidden)]
pub struct Keeper {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
    lists: Vec<AnyList>,
}

/// Returns the copies in their order.
#[expect(unnameable_types, reason = "only this crate implements the trait")]
#[doc(hidden)]
pub struct Shower<'i> {
    bytes: &'i [u8],
    lengths: &'i [usize],
    lists: &'i [AnyList],
}

impl Keeper {
    /// Copies a slice.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &'static [u8] {
        self.bytes.extend_from_slice(bytes);
        self.lengths.push(bytes.len());
        b""
    }

    /// Stores any list.
    pub(crate) fn any<T: Send + Sync + 'static>(&mut self, list: Vec<T>) {
        self.lists.push(Box::new(list));
    }

    /// Stores the elements of a list.
    pub(crate) fn list<'i, T: View<'i>>(&mut self, elements: impl Iterator<Item = T>) {
        let owned: Vec<Owned<T::Static>> = elements.map(Owned::keep).collect();
        self.any(owned);
    }
}

impl<'i> Shower<'i> {
    /// Returns the next slice.
    pub(crate) fn bytes(&mut self) -> &'i [u8] {
        let Some((length, lengths)) = self.lengths.split_first() else { return b"" };
        let Some((bytes, rest)) = self.bytes.split_at_checked(*length) else { return b"" };
        (self.lengths, self.bytes) = (lengths, rest);
        bytes
    }

    /// Returns the next slice, which was text.
    pub(crate) fn text(&mut self) -> &'i str {
        core::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// Returns the next list.
    pub(crate) fn list(&mut self) -> Option<&'i AnyList> {
        let (list, lists) = self.lists.split_first()?;
        self.lists = lists;
        Some(list)
    }
}

impl<S: Copy> Owned<S> {
    /// Copies a view.
    pub(crate) fn keep<'i, T: View<'i, Static = S>>(view: T) -> Self {
        let mut keeper = Keeper::default();
        let template = view.keep(&mut keeper);
        let memory =
            Memory { bytes: keeper.bytes.into(), lengths: keeper.lengths.into(), lists: keeper.lists.into() };
        Self { template, memory: Arc::new(memory) }
    }

    /// Returns the view, as the type with this lifetime.
    pub(crate) fn show<'i, T: View<'i, Static = S>>(&'i self) -> T {
        let Memory { bytes, lengths, lists } = &*self.memory;
        T::show(self.template, &mut Shower { bytes, lengths, lists })
    }
}

impl<S: Stored> Owned<S> {
    /// Returns the view. It borrows from this value.
    #[must_use]
    pub fn view(&self) -> S::At<'_> {
        self.show()
    }
}

impl<S: Stored> fmt::Debug for Owned<S>
where
    for<'i> S::At<'i>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl<S: Stored> PartialEq for Owned<S>
where
    for<'i> S::At<'i>: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        // Both views need the same lifetime.
        fn equal<'i, S: Stored>(one: &'i Owned<S>, other: &'i Owned<S>) -> bool
        where
            S::At<'i>: PartialEq,
        {
            one.view() == other.view()
        }
        equal(self, other)
    }
}

impl<S: Stored> Eq for Owned<S> where for<'i> S::At<'i>: Eq {}

impl<'i, T: View<'i>> View<'i> for Option<T> {
    type Static = Option<T::Static>;

    fn keep(self, keeper: &mut Keeper) -> Self::Static {
        self.map(|value| value.keep(keeper))
    }

    fn show(kept: Self::Static, shower: &mut Shower<'i>) -> Self {
        kept.map(|value| T::show(value, shower))
    }
}

impl<'i, T: View<'i>, U: View<'i>> View<'i> for (T, U) {
    type Static = (T::Static, U::Static);

    fn keep(self, keeper: &mut Keeper) -> Self::Static {
        (self.0.keep(keeper), self.1.keep(keeper))
    }

    fn show(kept: Self::Static, shower: &mut Shower<'i>) -> Self {
        (T::show(kept.0, shower), U::show(kept.1, shower))
    }
}

impl<'i> View<'i> for &'i [u8] {
    type Static = &'static [u8];

    fn keep(self, keeper: &mut Keeper) -> Self::Static {
        keeper.bytes(self)
    }

    fn show(_: Self::Static, shower: &mut Shower<'i>) -> Self {
        shower.bytes()
    }
}

impl<'i> View<'i> for &'i str {
    type Static = &'static str;

    fn keep(self, keeper: &mut Keeper) -> Self::Static {
        keeper.bytes(self.as_bytes());
        ""
    }

    fn show(_: Self::Static, shower: &mut Shower<'i>) -> Self {
        shower.text()
    }
}

/// Implements [`View`] for types without slices.
macro_rules! plain {
    ($($type:ty),* $(,)?) => {
        $(impl<'i> $crate::grammar::owned::View<'i> for $type {
            type Static = Self;

            fn keep(self, _: &mut $crate::grammar::owned::Keeper) -> Self {
                self
            }

            fn show(kept: Self, _: &mut $crate::grammar::owned::Shower<'i>) -> Self {
                kept
            }
        })*
    };
}

/// Implements [`View`] for slices of a type without slices.
macro_rules! plain_slice {
    ($type:ty) => {
        impl<'i> $crate::grammar::owned::View<'i> for &'i [$type] {
            type Static = &'static [$type];

            fn keep(self, keeper: &mut $crate::grammar::owned::Keeper) -> Self::Static {
                keeper.any(self.to_vec());
                &[]
            }

            fn show(_: Self::Static, shower: &mut $crate::grammar::owned::Shower<'i>) -> Self {
                let kept = shower.list().and_then(|list| list.downcast_ref::<alloc::vec::Vec<$type>>());
                kept.map_or(&[], alloc::vec::Vec::as_slice)
            }
        }
    };
}

/// Implements [`View`] and `into_owned` for a struct. The caller lists all of its fields; `{ 0 }` is the field of a
/// tuple struct.
macro_rules! owned_struct {
    ($name:ident { $($field:tt),* $(,)? }) => {
        impl<'i> $crate::grammar::owned::View<'i> for $name<'i> {
            type Static = $name<'static>;

            fn keep(self, keeper: &mut $crate::grammar::owned::Keeper) -> $name<'static> {
                $name { $($field: self.$field.keep(keeper),)* }
            }

            fn show(kept: $name<'static>, shower: &mut $crate::grammar::owned::Shower<'i>) -> Self {
                $name { $($field: $crate::grammar::owned::View::show(kept.$field, shower),)* }
            }
        }

        $crate::grammar::owned::into_owned!($name);
    };
}

/// Implements [`View`] and `into_owned` for an enum. The caller lists all of its variants, with a name for each
/// value.
macro_rules! owned_enum {
    ($name:ident $variants:tt) => {
        $crate::grammar::owned::view_enum!($name $variants);
        $crate::grammar::owned::into_owned!($name);
    };
}

/// Implements [`View`] for an enum that is private to its module.
macro_rules! view_enum {
    ($name:ident { $($variant:ident $(($($value:ident),*))? $({$($field:ident),*})?),* $(,)? }) => {
        impl<'i> $crate::grammar::owned::View<'i> for $name<'i> {
            type Static = $name<'static>;

            #[allow(unused_variables, reason = "an enum need not have a variant with a slice")]
            fn keep(self, keeper: &mut $crate::grammar::owned::Keeper) -> $name<'static> {
                match self {
                    $(Self::$variant $(($($value),*))? $({$($field),*})? => {
                        $name::$variant $(($($value.keep(keeper)),*))? $({$($field: $field.keep(keeper)),*})?
                    })*
                }
            }

            #[allow(unused_variables, reason = "an enum need not have a variant with a slice")]
            fn show(kept: $name<'static>, shower: &mut $crate::grammar::owned::Shower<'i>) -> Self {
                match kept {
                    $($name::$variant $(($($value),*))? $({$($field),*})? => {
                        Self::$variant
                            $(($($crate::grammar::owned::View::show($value, shower)),*))?
                            $({$($field: $crate::grammar::owned::View::show($field, shower)),*})?
                    })*
                }
            }
        }
    };
}

/// Implements `into_owned` for a view.
macro_rules! into_owned {
    ($name:ident) => {
        impl $crate::grammar::owned::Stored for $name<'static> {
            type At<'i> = $name<'i>;
        }

        impl $name<'_> {
            /// Returns an owned copy, which outlives the message.
            #[must_use]
            pub fn into_owned(self) -> $crate::grammar::owned::Owned<$name<'static>> {
                $crate::grammar::owned::Owned::keep(self)
            }
        }
    };
}

pub(crate) use into_owned;
pub(crate) use owned_enum;
pub(crate) use owned_struct;
pub(crate) use plain;
pub(crate) use plain_slice;
pub(crate) use view_enum;

plain!(bool, char, u8, u16, u32, u64, core::num::NonZeroU32);
