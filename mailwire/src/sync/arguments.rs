//! The command line of `sync`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::account_access::KeyOptions;
use crate::options::{ConnectionOptions, OutputOptions, UrlParser};
use mailclient::endpoint::Url;
use mailclient::sync::RemovalPolicy;

/// The default of `--max-message`: the largest message to fetch, in bytes.
const MAX_MESSAGE_BYTES: u64 = 512 << 20;

/// The default of `--max-messages`: the most messages in one folder.
const MAX_FOLDER_MESSAGES: u64 = 2_000_000;

/// The default of `--keep-free`: the disk space to leave free, in bytes.
const KEEP_FREE_BYTES: u64 = 64 << 20;

const LIMITS: &str = "Limits";

/// The arguments of `mailwire sync`.
#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// The account, for example imaps://user@host. Without a URL and without --account, all accounts of the store.
    #[arg(value_parser = UrlParser, conflicts_with = "account")]
    pub(crate) url: Option<Url>,
    /// Fetch into the store in this directory. Default: mailwire/mail in the user's data directory.
    #[arg(long, value_name = "DIR", visible_alias = "store")]
    pub(crate) into: Option<PathBuf>,
    /// Sync this account of the store. See mailwire account.
    #[arg(long, value_name = "NAME", help_heading = "Account")]
    pub(crate) account: Option<String>,
    #[command(flatten)]
    pub(crate) key: KeyOptions,
    /// Fetch only this folder. May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) folder: Vec<String>,
    /// What to do here with messages and folders that the server has removed.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub(crate) delete: Delete,
    /// Report what would be done, and change nothing here.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Stay, and follow the account until Ctrl-C or SIGTERM: INBOX at once, other folders within two minutes.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) watch: bool,
    /// Compress the session, if the server can. An eavesdropper who can also send you mail may then learn parts of other
    /// mail from the lengths of what he sees.
    #[arg(long)]
    pub(crate) compress: bool,
    /// Skip messages larger than this. K, M and G stand for powers of 1024.
    #[arg(long, value_name = "BYTES", help_heading = LIMITS, default_value_t = MAX_MESSAGE_BYTES, value_parser = parse_bytes)]
    pub(crate) max_message: u64,
    /// Skip folders with more messages than this.
    #[arg(long, value_name = "N", help_heading = LIMITS, default_value_t = MAX_FOLDER_MESSAGES)]
    pub(crate) max_messages: u64,
    /// Stop after fetching this many bytes. The next run continues there.
    #[arg(long, value_name = "BYTES", help_heading = LIMITS, value_parser = parse_bytes)]
    pub(crate) max_total: Option<u64>,
    /// Stop before the disk has less free space than this.
    #[arg(long, value_name = "BYTES", help_heading = LIMITS, default_value_t = KEEP_FREE_BYTES, value_parser = parse_bytes)]
    pub(crate) keep_free: u64,
    #[command(flatten)]
    pub(crate) connection: ConnectionOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// The values of `--delete`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Delete {
    /// Keep them. Messages get the keyword $RemovedFromServer.
    #[default]
    Never,
    /// Move messages to the local folder "Removed from server", and delete folders that are empty then.
    Trash,
    /// Delete them.
    Mirror,
}

impl From<Delete> for RemovalPolicy {
    fn from(delete: Delete) -> Self {
        match delete {
            Delete::Never => Self::Never,
            Delete::Trash => Self::Trash,
            Delete::Mirror => Self::Mirror,
        }
    }
}

/// Parses a number of bytes: `1000`, `64K`, `512M`, `2G`.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (text.get(..at), 10),
        Some((at, 'm' | 'M')) => (text.get(..at), 20),
        Some((at, 'g' | 'G')) => (text.get(..at), 30),
        _ => (Some(text), 0),
    };
    digits
        .and_then(|digits| digits.parse::<u64>().ok())
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "expected a number of bytes, such as 1000, 64K, 512M or 2G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_bytes_with_and_without_a_unit() {
        for (text, number) in
            [("1000", Some(1000)), ("64K", Some(65_536)), ("2g", Some(2 << 30)), ("", None), ("x", None)]
        {
            assert_eq!(parse_bytes(text).ok(), number, "{text}");
        }
        assert!(parse_bytes("99999999999G").is_err() && parse_bytes("1é").is_err());
    }
}
