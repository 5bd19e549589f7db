//! Syncs an IMAP account into a store on tokio, until Ctrl-C. Run it with
//! `PASSWORD=… cargo run -p mailclient --features tokio --example sync_tokio imaps://USER@HOST DIRECTORY`.

use std::future::Future;
use std::sync::Arc;

use io_common::TlsClientConfig;
use mailclient::endpoint::{Endpoint, Trust, Url};
use mailclient::sync::tokio::SyncRunner;
use mailclient::sync::{SyncEnd, SyncEvent, SyncJob, local_account, remote_account_key};
use mailstore::{SqliteStore, SyncStore};
use proto_mail::Credentials;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Fetches what the store does not have, until `stop` is ready. Returns how many messages are new.
pub(crate) async fn sync(
    url: &str,
    tls: TlsClientConfig,
    password: &str,
    store: Arc<dyn SyncStore>,
    stop: impl Future<Output = ()> + Send,
) -> Result<u64> {
    let url: Url = url.parse()?;
    let user = url.user.clone().ok_or("the URL names no user")?;
    let source = Arc::new(Credentials::password(user, password));
    let opening = (store.clone(), url.clone());
    // The store blocks, so its calls do not run on the loop.
    let job = tokio::task::spawn_blocking(move || {
        let (store, url) = opening;
        let account = local_account(&*store, &url)?;
        let remote = store.remote_account(account, &remote_account_key(&url))?;
        Ok::<_, mailclient::Error>(SyncJob::new(account, remote.id))
    });
    let (job, mut imported) = (job.await??, 0);
    let runner = SyncRunner::new(&Endpoint::new(url, tls), source, store);
    let end = runner.run_until(job, stop, |event| match event {
        SyncEvent::FolderStarted { name } => println!("{name}"),
        SyncEvent::Stored { imported: new, .. } => imported += new,
        SyncEvent::MessageFailed { uid, error } => println!("  message {uid}: {error}"),
        SyncEvent::FolderFailed(error) => println!("  {error}"),
        _ => {}
    });
    match end.await {
        SyncEnd::Complete => Ok(imported),
        SyncEnd::Stopped(error) => Err(error.into()),
        _ => Err("not all messages could be fetched".into()),
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("name a server: imaps://USER@HOST")?;
    let directory = arguments.next().ok_or("name a directory for the mail")?;
    let store = Arc::new(SqliteStore::open(std::path::Path::new(&directory))?);
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    let imported = sync(&url, Trust::System.tls_config()?, &std::env::var("PASSWORD")?, store, stop).await?;
    println!("{imported} new messages");
    Ok(())
}
