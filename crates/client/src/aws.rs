//! A watched profile as a credentials provider of AWS's SDKs and of libraries that use their types,
//! for S3-compatible storage such as OSS.

use std::time::{Duration, SystemTime};

use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, error::CredentialsError, future},
};
use tokio::time::timeout;

use crate::{Current, Watched};

/// How long the provider waits for the first credentials. An SDK's own timeout is 5 s, and its
/// message would hide the reason.
const PATIENCE: Duration = Duration::from_secs(4);

/// Provides the current credentials, at once if there are any, with their expiration by the wall
/// clock of this machine, because an SDK compares the expiration with that clock. Waits up to 4 s
/// for the first credentials.
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
