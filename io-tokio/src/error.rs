//! Why a connection, a session or a command failed.

pub use io_common::client::ClientError as Error;
