//! The grammar in the other direction: always strict, whatever was read tolerantly.
