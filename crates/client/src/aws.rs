//! Decides how AWS's SDKs, and all that is built on their types, take a watched profile: for
//! S3-compatible storage, which OSS is one kind of.

use std::time::{Duration, SystemTime};

use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, error::CredentialsError, future},
};
use tokio::time::timeout;

use crate::{Current, Watched};

/// How long an SDK waits for the first credentials. Its own patience is 5 s, after which
/// nobody would hear the reason.
const PATIENCE: Duration = Duration::from_secs(4);

/// Gives AWS's SDKs the current credentials, at once where there are any, with their
/// expiration by the wall clock of this machine, because that is what an SDK compares it
/// with. Waits 4 s for the first ones.
///
/// ```no_run
/// use aws_credential_types::provider::SharedCredentialsProvider;
///
/// # async fn example() {
/// let watched = stsd_client::AsyncClient::from_environment().watch("oss-upload");
/// let provider = SharedCredentialsProvider::new(watched);
/// // aws_sdk_s3::Config::builder().credentials_provider(provider), with an endpoint of OSS.
/// # }
/// ```
impl ProvideCredentials for Watched {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(provide(self))
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.current().map(|it| convert(&it))
    }
}

async fn provide(watched: &Watched) -> provider::Result {
    match timeout(PATIENCE, watched.ready()).await {
        Ok(Ok(current)) => Ok(convert(&current)),
        Ok(Err(failure)) if failure.is_lasting() => {
            Err(CredentialsError::invalid_configuration(failure))
        }
        Ok(Err(failure)) => Err(CredentialsError::provider_error(failure)),
        Err(_) => Err(match watched.failure() {
            Some(failure) => CredentialsError::provider_error(failure),
            None => CredentialsError::provider_timed_out(PATIENCE),
        }),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the SDK subtracts the same clock's time again"
)]
fn convert(current: &Current) -> Credentials {
    Credentials::new(
        current.access_key_id.as_str(),
        current.access_key_secret.expose(),
        Some(current.security_token.expose().to_owned()),
        Some(SystemTime::now() + current.remaining()),
        "stsd",
    )
}
