//! The output of `stsctl get`.

use anyhow::Result;
use stsd_client::Credentials;

use crate::term::stdout::print_line;

/// Prints credentials as JSON, secrets included.
pub(super) fn show(credentials: &Credentials) -> Result<()> {
    let expiration = jiff::Timestamp::from_second(credentials.expiration_unix_seconds)?;
    let document = serde_json::json!({
        "access_key_id": credentials.access_key_id,
        "access_key_secret": credentials.access_key_secret.expose(),
        "security_token": credentials.security_token.expose(),
        "expiration": expiration.to_string(),
    });
    print_line(&serde_json::to_string_pretty(&document)?)
}
