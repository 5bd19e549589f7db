//! Tests a server stage by stage: name, TCP, TLS, certificate, greeting, capabilities, login, folders. Run it with
//! `PASSWORD=… cargo run -p mailclient --example check imaps://USER@HOST`.

use io_common::TlsClientConfig;
use mailclient::diagnosis::{Diagnosis, DiagnosisEvent, Stage, diagnose};
use mailclient::endpoint::{CredentialSource, Endpoint, Trust, Url};
use proto_mail::Credentials;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Prints the result of each stage.
pub(crate) fn check(url: &str, tls: TlsClientConfig, password: &str) -> Result<Diagnosis> {
    let url: Url = url.parse()?;
    let credentials = Credentials::password(url.user.clone().ok_or("the URL names no user")?, password);
    let endpoint = Endpoint::new(url, tls);
    let source: &dyn CredentialSource = &credentials;
    Ok(diagnose(&endpoint, Some(source), Stage::Folders, |event| {
        if let DiagnosisEvent::Stage(result, _) = event {
            println!("{:?} {} {}", result.stage, result.ok, result.detail);
        }
    }))
}

fn main() -> Result<()> {
    let url = std::env::args().nth(1).ok_or("name a server: imaps://USER@HOST")?;
    let diagnosis = check(&url, Trust::System.tls_config()?, &std::env::var("PASSWORD")?)?;
    if let Some(error) = diagnosis.error() {
        println!("{error}, retryable: {}", error.is_retryable());
    }
    Ok(())
}
