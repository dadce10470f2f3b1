//! Converts a credentials URI. The URI may hold a secret, so that no message quotes it.

use std::net::{IpAddr, Ipv4Addr};

use stsd_client::SecretText;
use url::{Host, Url};

use super::{
    mapping::{ConvertedProfile, Identity, Role, with_role},
    parsed_profile::{SkipReason, ThirdPartyProfile},
    valid,
};

/// The address of the metadata service of ECS.
const METADATA_SERVICE: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

/// The path of the roles in the metadata.
const ROLES_PATH: &str = "/latest/meta-data/ram/security-credentials/";

/// Converts a profile of the mode CredentialsURI.
pub(super) fn convert(profile: &ThirdPartyProfile) -> Result<ConvertedProfile, SkipReason> {
    let Some(text) = profile.secret("credentials_uri")? else {
        return refuse(
            "its credentials_uri is not in the file (ALIBABA_CLOUD_CREDENTIALS_URI may have it)",
        );
    };
    let text = text.expose().trim();
    let uri = match Url::parse(text) {
        Ok(uri) if !text.contains(char::is_control) => uri,
        _ => return refuse("its credentials_uri is no URL"),
    };
    if let Some(role_name) = instance_role(&uri) {
        let mut converted = with_role(instance(role_name)?, Role(Vec::new()));
        converted.remarks.push(
            "its credentials_uri is the metadata service of ECS, so that it becomes an instance \
             role"
                .to_owned(),
        );
        return Ok(converted);
    }
    let (text, was_localhost) = literal_loopback(text, &uri);
    check(&text)?;
    let mut converted = with_role(Identity::Uri(text), Role(Vec::new()));
    if was_localhost {
        converted.remarks.push(
            "localhost in its credentials_uri becomes 127.0.0.1: stsd resolves no name for an \
             address without TLS"
                .to_owned(),
        );
    }
    Ok(converted)
}

/// Returns the name of the role, empty for the list of roles, if the URI is that of the metadata
/// service.
fn instance_role(uri: &Url) -> Option<&str> {
    let is_service = uri.scheme() == "http"
        && uri.host() == Some(Host::Ipv4(METADATA_SERVICE))
        && uri.port_or_known_default() == Some(80);
    let name = uri.path().strip_prefix(ROLES_PATH)?;
    is_service.then(|| name.trim_end_matches('/'))
}

fn instance(role_name: &str) -> Result<Identity, SkipReason> {
    let role_name = (!role_name.is_empty()).then(|| role_name.to_owned());
    role_name.as_deref().map_or(Ok(()), valid::role_name)?;
    Ok(Identity::Instance { role_name })
}

/// Returns the URI with 127.0.0.1 for `localhost`, and `true` if it was replaced.
fn literal_loopback(text: &str, uri: &Url) -> (SecretText, bool) {
    let is_localhost = uri.scheme() == "http" && uri.host() == Some(Host::Domain("localhost"));
    let mut literal = uri.clone();
    if is_localhost && literal.set_ip_host(Ipv4Addr::LOCALHOST.into()).is_ok() {
        return (SecretText::from(String::from(literal)), true);
    }
    (SecretText::from(text.to_owned()), false)
}

/// Checks the URI that is stored, by the rules of the daemon.
fn check(text: &SecretText) -> Result<(), SkipReason> {
    let Ok(uri) = Url::parse(text.expose()) else {
        return refuse("its credentials_uri is no URL");
    };
    let loopback = match uri.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Domain(_)) => false,
        None => return refuse("its credentials_uri is no URL"),
    };
    if loopback && uri.path_segments().into_iter().flatten().any(is_ours) {
        return refuse(
            "its credentials_uri is one of stsd's own, which would be asking itself: it is a \
             profile that gets credentials from here, not one that gives them",
        );
    }
    if !uri.username().is_empty() || uri.password().is_some() || uri.fragment().is_some() {
        return refuse(
            "its credentials_uri has a user, a password or a fragment in it, which no request has",
        );
    }
    match uri.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => refuse(
            "its credentials_uri goes over the network without TLS, so that the credentials \
             could be read in transit",
        ),
        _ => refuse("its credentials_uri is neither http nor https"),
    }
}

/// Returns `true` if a path segment has the form of the URL secret: 256 bits in hexadecimal.
fn is_ours(segment: &str) -> bool {
    segment.len() == 64 && segment.bytes().all(|it| it.is_ascii_hexdigit())
}

fn refuse<T>(problem: &str) -> Result<T, SkipReason> {
    Err(problem.to_owned())
}
