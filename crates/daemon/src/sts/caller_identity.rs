//! The owners of the identities that sign calls to STS, by GetCallerIdentity. The call needs no
//! permission.

use std::{collections::BTreeSet, sync::Arc};

use stsd_codes::Code;
use stsd_sts::{Proof, Proxies, SourceCredentials, Sts, StsError};

use crate::{
    profile::{Endpoints, Freshness, Profile, ResolveContext, Sessions, Signer, SourceError},
    runtime::clock::Clock,
    sts::remediation,
};

/// The reason why an owner is unknown, with its hint.
#[derive(Debug, thiserror::Error)]
pub enum CallerIdentityError {
    /// STS has not named the owner.
    #[error("{error} [{code}] (hint: {hint})")]
    Sts {
        /// The failure of the call.
        error: StsError,
        /// The code.
        code: Code,
        /// The remediation.
        hint: String,
    },
    /// The identity cannot be resolved.
    #[error("{0} [{code}] (hint: {hint})", code = Code::SourceFailed, hint = .0.hint)]
    Source(#[from] SourceError),
}

/// Returns a line for each identity: its origin and the ARN of its owner. The identity of another
/// profile's role is that profile's, and a token of a provider signs nothing.
///
/// # Errors
/// [`CallerIdentityError`] of the first identity that fails.
pub async fn lines(
    profiles: impl Iterator<Item = &Profile>,
    endpoints: &Endpoints,
    proxies: &Arc<Proxies>,
    sessions: &dyn Sessions,
    clock: &dyn Clock,
) -> Result<Vec<String>, CallerIdentityError> {
    let sts = Sts::new(endpoints.first().clone(), Arc::clone(proxies));
    let context = ResolveContext {
        sessions,
        clock,
        freshness: Freshness::Fresh,
    };
    let mut origins = BTreeSet::new();
    let mut lines = Vec::new();
    for profile in profiles {
        let source = &profile.source;
        let signs = !matches!(
            source.signer(),
            Signer::ProfileRole | Signer::IdentityProvider
        );
        if !signs || !origins.insert(source.fingerprint().to_owned()) {
            continue;
        }
        let identity = source.resolve(context).await?;
        let Proof::Credentials(credentials) = &*identity.proof else {
            continue;
        };
        let arn = owner(&sts, credentials, clock).await.map_err(|error| {
            let (_, code, hint) = remediation::for_error(&error, profile);
            CallerIdentityError::Sts { error, code, hint }
        })?;
        lines.push(format!("{}: {arn}", source.describe()));
    }
    Ok(lines)
}

/// Calls STS; once more if the local clock is wrong.
async fn owner(
    sts: &Sts,
    credentials: &SourceCredentials,
    clock: &dyn Clock,
) -> Result<String, StsError> {
    let first = sts.caller_identity(credentials, clock.wall()).await;
    let identity = match first {
        Err(StsError::Clock {
            server_date: Some(date),
            ..
        }) => sts.caller_identity(credentials, date).await?,
        other => other?,
    };
    Ok(identity.arn)
}
