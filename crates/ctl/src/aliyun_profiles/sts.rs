//! The STS endpoint of the imported profiles. aliyun-cli has one for each profile, the daemon one
//! for all. `region_id` is the region of the resources; without `sts_region` and `sts_endpoint`,
//! both aliyun-cli and stsd use the endpoint without a region.

use super::parsed_profile::{SkipReason, ThirdPartyProfile};

/// A regional endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// Such as `cn-hangzhou`.
    pub name: String,
    /// `true` for the endpoint within a VPC.
    pub vpc: bool,
}

impl Region {
    /// Returns the lines of a configuration that select this endpoint.
    #[must_use]
    pub fn lines(&self) -> String {
        let vpc = if self.vpc { "vpc = true\n" } else { "" };
        format!("region = \"{}\"\n{vpc}", self.name)
    }

    /// Returns the endpoint that a profile names.
    pub(super) fn of(profile: &ThirdPartyProfile) -> Result<Option<Self>, SkipReason> {
        if let Some(endpoint) = profile.text("sts_endpoint")? {
            return from_endpoint(endpoint.trim());
        }
        let Some(name) = profile.text("sts_region")? else {
            return Ok(None);
        };
        Ok(Some(Self {
            name: region("sts_region", name.trim())?,
            vpc: profile.is_set("enable_vpc"),
        }))
    }
}

/// Returns the region of an endpoint; `None` for the endpoint without a region.
fn from_endpoint(endpoint: &str) -> Result<Option<Region>, SkipReason> {
    // As aliyun-cli does (`normalizeSTSEndpointHost`), which always uses TLS. The case of a host name
    // makes no difference, nor does the port of https.
    let host = endpoint.to_ascii_lowercase();
    let host = host.strip_prefix("https://").unwrap_or(&host);
    let host = host.strip_prefix("http://").unwrap_or(host);
    let host = host.strip_suffix('/').unwrap_or(host);
    let host = host.strip_suffix(":443").unwrap_or(host);
    if host == "sts.aliyuncs.com" {
        return Ok(None);
    }
    let inner = host.strip_suffix(".aliyuncs.com");
    let parts = inner.and_then(|it| it.split_once('.'));
    let (name, vpc) = match parts {
        Some(("sts", name)) => (name, false),
        Some(("sts-vpc", name)) => (name, true),
        _ => {
            return Err(
                "its sts_endpoint is none of Alibaba Cloud's; stsd asks one STS for all profiles, \
                 which `endpoint` at the top of its configuration names"
                    .to_owned(),
            );
        }
    };
    let name = region("sts_endpoint", name)?;
    Ok(Some(Region { name, vpc }))
}

/// Returns a region in lower case, as the daemon takes it in its configuration.
fn region(key: &str, name: &str) -> Result<String, SkipReason> {
    let name = name.to_ascii_lowercase();
    match stsd_model::region(&name) {
        Ok(()) => Ok(name),
        Err(error) => Err(format!("its {key} is not accepted: {error}")),
    }
}
