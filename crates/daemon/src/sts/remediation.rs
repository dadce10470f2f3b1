//! The kind and the hint of each error of STS.

mod denial;
mod request;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use stsd_codes::Code;
use stsd_sts::{ConnectFault, Refusal, StsError};

use self::denial::Denial;
use crate::profile::{Cause, Profile};

/// The host of the endpoint without a region.
const GLOBAL_HOST: &str = "sts.aliyuncs.com";

/// Returns the kind of an error, its code and its hint.
pub(crate) fn for_error(error: &StsError, profile: &Profile) -> (Cause, Code, String) {
    let hint = match error {
        StsError::Denied(refusal) => {
            let denial = Denial::new(refusal, profile);
            return (Cause::Denied, denial.error_code(), denial.hint());
        }
        StsError::SourceExpired(refusal) => {
            let hint = Denial::new(refusal, profile).expired_hint();
            return (Cause::Denied, Code::StsSessionEnded, hint);
        }
        StsError::Clock { .. } => {
            let hint = "set this machine's clock: timedatectl set-ntp true";
            return (Cause::Denied, Code::WrongClock, hint.to_owned());
        }
        StsError::Throttled { .. } => {
            let hint = "wait; other programs of this account call STS too often";
            return (Cause::Throttled, Code::StsThrottled, hint.to_owned());
        }
        StsError::Unavailable(refusal) => Cow::Borrowed(for_unavailable(refusal)),
        other => for_network(other),
    };
    (Cause::Unreachable, network_code(error), hint.into_owned())
}

/// Returns the code of a call without a usable answer.
pub(crate) fn network_code(error: &StsError) -> Code {
    match error {
        StsError::Unreachable {
            fault: Some(fault), ..
        } => match fault {
            ConnectFault::NoAuthority | ConnectFault::UnusableAuthorities => Code::NoCertificates,
            ConnectFault::UnusableProxy => Code::UnusableProxy,
            ConnectFault::ProxyRefused | ConnectFault::ProxyAuthentication => Code::ProxyRefused,
            ConnectFault::Untrusted
            | ConnectFault::OtherName
            | ConnectFault::Time
            | ConnectFault::NotTls
            | ConnectFault::OtherTls => Code::TlsFailed,
        },
        StsError::Unreachable { reason, .. } if is_name_error(reason) => Code::StsNameNotFound,
        StsError::Unreachable { .. } => Code::StsUnreachable,
        StsError::Unreadable { .. } => Code::StsUnreadable,
        _ => Code::StsUnavailable,
    }
}

/// Returns the hint for a connection that has failed, or to which another server than STS answers.
pub(crate) fn for_network(error: &StsError) -> Cow<'static, str> {
    match error {
        StsError::Unreachable {
            fault: Some(fault), ..
        } => fault.hint().into(),
        StsError::Unreachable {
            endpoint, reason, ..
        } if is_name_error(reason) => for_name(endpoint).into(),
        StsError::Unreachable { .. } => "check the network, the proxy and the endpoint".into(),
        StsError::Unreadable { .. } => {
            "check that no proxy between this machine and STS answers in its place".into()
        }
        StsError::NonceUsed(_) => {
            "check that no proxy between this machine and STS sends requests twice".into()
        }
        _ => "wait; the next attempt needs no change".into(),
    }
}

fn for_unavailable(refusal: &Refusal) -> &'static str {
    match refusal.code.as_str() {
        "AuthenticationFail.OIDCToken.IssuerConfigurationBroken" => {
            "check that the issuer's /.well-known/openid-configuration and the keys which it names \
             are reachable from the internet"
        }
        _ => "wait; the next attempt needs no change",
    }
}

/// Returns `true` if the reason is that of getaddrinfo(3) for the endpoint, in the words of the standard
/// library. By a proxy the name may be that of the proxy.
fn is_name_error(reason: &str) -> bool {
    // The reasons of other endpoints follow.
    let reason = reason.split("; nor at ").next().unwrap_or(reason);
    reason.contains("failed to lookup address") && !reason.contains("by the proxy")
}

/// Returns the hint for an endpoint without an address: a region is a part of the host's name.
fn for_name(endpoint: &str) -> String {
    let host = endpoint.split(':').next().unwrap_or(endpoint);
    let region_of = |prefix: &str| {
        let region = host.strip_prefix(prefix)?.strip_suffix(".aliyuncs.com")?;
        (!region.is_empty()).then_some(region)
    };
    let dns = format!("check the name servers (getent hosts {host})");
    if host == GLOBAL_HOST {
        return dns;
    }
    if let Some(region) = region_of("sts-vpc.") {
        return format!(
            "correct region: {region} has no STS of this name, or this machine is outside of its \
             VPCs, where vpc = true cannot be used; if both are right, {dns}"
        );
    }
    match region_of("sts.") {
        Some(region) => format!(
            "correct region: {region} has no STS of this name (a region is such as cn-hangzhou); if it \
             is right, {dns}"
        ),
        None => format!("correct endpoint; if it is right, {dns}"),
    }
}
