//! Opens the server's mail store.

use std::path::Path;
use std::sync::Arc;

use mailstore::SqliteStore;

use super::scram_keys;

/// Opens the store in a data directory. It derives SCRAM keys from each new password.
pub(super) fn open_store(path: &Path) -> mailstore::Result<SqliteStore> {
    Ok(SqliteStore::open(path)?.with_key_maker(Arc::new(scram_keys::derive)))
}
