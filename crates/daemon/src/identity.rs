//! The identity providers: one file for each kind of `[source.*]` table.

pub(crate) mod access_key;
mod access_key_file;
mod chained_profile;
mod command;
mod credentials_document;
mod credentials_uri;
mod ecs_role;
mod environment;
mod http_client;
mod oidc;
mod process;
mod saml;
pub(crate) mod secret_file;
mod token_source;

pub use self::{
    access_key::{AccessKey, KeyFileError},
    chained_profile::ChainedProfile,
    command::IdentityCommand,
    credentials_uri::{CredentialsUri, InvalidUri, UriAddress, UriFileError},
    ecs_role::{EcsRole, InvalidMetadataEndpoint, MetadataEndpoint},
    environment::ProcessEnvironment,
    oidc::Oidc,
    process::Process,
    saml::Saml,
    secret_file::PrivateFileError,
    token_source::TokenSource,
};
#[cfg(fuzzing)]
use crate::{
    profile::{ResolvedIdentity, SourceError},
    runtime::clock::Clock as _,
};

/// Parses a credentials document, for the fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn parse_for_fuzzing(text: &str) -> Result<ResolvedIdentity, SourceError> {
    let clock = &crate::runtime::clock::SystemClock::default();
    let received = credentials_document::ReceivedAt {
        asked: clock.boot(),
        date: None,
        clock,
    };
    credentials_document::read(text, "the subject", received)
}
