//! The examples of the libraries above and beside the drivers.

use std::sync::Arc;

use mailclient::delivery::DeliveryStatus;
use mailclient::diagnosis::Stage;
use mailstore::{MemoryStore, SyncStore};

use crate::example::{check, deliver, deliver_tokio, structure, sync_tokio};
use crate::{Result, SOON, server, starttls};

#[test]
fn delivers_on_one_session_and_reports_each_recipient() -> Result {
    let server = mailtest::Server::builder().account("alice", "secret").fault("rcpt=550,bad*").start()?;
    let to = ["bob@example.org", "bad@example.org", "eve@example.org"];
    let statuses = deliver::deliver(server.tls()?, &starttls(server.smtp()), "secret", &to)?;
    assert_eq!(statuses, [DeliveryStatus::Success, DeliveryStatus::Rejected, DeliveryStatus::Success]);
    let mail = server.wait_for(2, SOON)?;
    assert_eq!(mail[1].recipients(), ["eve@example.org"]);
    Ok(())
}

#[tokio::test]
async fn delivers_on_tokio_and_reports_each_recipient() -> Result {
    let server = mailtest::Server::builder().account("alice", "secret").fault("rcpt=550,bad*").start()?;
    let to = ["bob@example.org", "bad@example.org", "eve@example.org"];
    let statuses = deliver_tokio::deliver(server.tls()?, &starttls(server.smtp()), "secret", &to).await;
    assert_eq!(
        statuses,
        [DeliveryStatus::Success, DeliveryStatus::Rejected, DeliveryStatus::Success].map(Some)
    );
    let mail = server.wait_for(2, SOON)?;
    let recipients: std::collections::BTreeSet<_> =
        mail.iter().flat_map(|mail| mail.recipients().iter().map(ToString::to_string)).collect();
    assert_eq!(recipients.into_iter().collect::<Vec<_>>(), ["bob@example.org", "eve@example.org"]);
    Ok(())
}

#[test]
fn checks_a_server_up_to_the_stage_that_fails() -> Result {
    let server = server()?;
    let url = format!("imaps://alice@localhost:{}", server.imaps().port());
    let sound = check::check(&url, server.tls()?, "secret")?;
    assert!(sound.error().is_none(), "{:?}", sound.error());
    let refused = check::check(&url, server.tls()?, "wrong")?;
    assert!(refused.error().is_some());
    assert!(refused.results().iter().any(|stage| stage.stage == Stage::Login && !stage.ok));
    Ok(())
}

#[tokio::test]
async fn syncs_an_account_and_continues_after_a_stop() -> Result {
    let server = server()?;
    for number in 0..3 {
        server.append("INBOX", format!("Subject: {number}\r\n\r\nHello\r\n").as_bytes())?;
    }
    let url = format!("imaps://alice@localhost:{}", server.imaps().port());
    let store: Arc<dyn SyncStore> = Arc::new(MemoryStore::new()?);
    let stopped =
        sync_tokio::sync(&url, server.tls()?, "secret", store.clone(), std::future::ready(())).await;
    assert!(stopped.is_err());
    for new in [3, 0] {
        let imported = sync_tokio::sync(&url, server.tls()?, "secret", store.clone(), std::future::pending());
        assert_eq!(imported.await?, new);
    }
    Ok(())
}

#[test]
fn describes_the_parts_of_a_message() -> Result {
    let message = b"Subject: two parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\n\r\nhello\r\n--b\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--b--\r\n";
    let mut described = Vec::new();
    structure::describe(&message[..], &mut described)?;
    let described = String::from_utf8(described)?;
    let lines: Vec<_> = described.lines().collect();
    assert_eq!(lines[0], "subject: two parts");
    assert!(lines[1].contains("multipart/mixed"), "{described}");
    assert!(lines[2].starts_with("1 ") && lines[2].contains("text/plain, 5 bytes"), "{described}");
    assert!(lines[3].starts_with("2 ") && lines[3].contains("image/png, 4 bytes"), "{described}");
    Ok(())
}
