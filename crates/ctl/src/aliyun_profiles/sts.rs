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
        let name = name.trim();
        if !is_name(name) {
            return Err("its sts_region is none: they are such as cn-hangzhou".to_owned());
        }
        Ok(Some(Self {
            name: name.to_owned(),
            vpc: profile.is_set("enable_vpc"),
        }))
    }
}

fn from_endpoint(endpoint: &str) -> Result<Option<Region>, SkipReason> {
    // As aliyun-cli does (`normalizeSTSEndpointHost`), which always uses TLS.
    let host = endpoint.strip_prefix("https://").unwrap_or(endpoint);
    let host = host.strip_prefix("http://").unwrap_or(host);
    let host = host.strip_suffix('/').unwrap_or(host);
    if host == "sts.aliyuncs.com" {
        return Ok(None);
    }
    let inner = host.strip_suffix(".aliyuncs.com");
    let parts = inner.and_then(|it| it.split_once('.'));
    match parts {
        Some(("sts", name)) if is_name(name) => Ok(Some(Region {
            name: name.to_owned(),
            vpc: false,
        })),
        Some(("sts-vpc", name)) if is_name(name) => Ok(Some(Region {
            name: name.to_owned(),
            vpc: true,
        })),
        _ => Err(
            "its sts_endpoint is none of Alibaba Cloud's; stsd asks one STS for all profiles, \
             which `endpoint` at the top of its configuration names"
                .to_owned(),
        ),
    }
}

fn is_name(name: &str) -> bool {
    let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    (2..=64).contains(&name.len())
        && name.bytes().all(plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
}
