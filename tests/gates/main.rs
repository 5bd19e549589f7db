//! What Mailwire promises of the two gates, and of the protocol crates: it does not compile, or it is not there.

mod misuse;
mod purity;
