//! The address of an STS endpoint.

use reqwest::Url;
use stsd_model::Invalid;

use crate::{Proxies, Proxy, UnusableProxy, region};

/// The address of one STS endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

/// An address that cannot be an STS endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// The region cannot be a part of the host name.
    #[error(transparent)]
    Region(#[from] Invalid),
    /// The text is not an absolute URL.
    #[error("an endpoint is an absolute URL, such as https://sts.cn-hongkong.aliyuncs.com")]
    NotAUrl,
    /// Plain HTTP to another machine would show the security token to the network.
    #[error("an endpoint is https; http only to a literal loopback address")]
    Insecure,
    /// The URL holds more than a scheme, a host and a port.
    #[error("an endpoint is a scheme, a host and a port, with nothing after them")]
    TooMuch,
}

impl Endpoint {
    /// Returns the global endpoint, `sts.aliyuncs.com`.
    #[must_use]
    pub fn global() -> Self {
        Self::https("sts.aliyuncs.com")
    }

    /// Returns the endpoint of a region, `sts.<region>.aliyuncs.com`. It is the global one for some
    /// special regions.
    ///
    /// # Errors
    /// [`BadEndpoint::Region`].
    pub fn regional(region: &str) -> Result<Self, BadEndpoint> {
        stsd_model::region(region)?;
        if region::is_global(region) {
            return Ok(Self::global());
        }
        Ok(Self::https(&format!("sts.{region}.aliyuncs.com")))
    }

    /// Returns the endpoint of a region inside its private network,
    /// `sts-vpc.<region>.aliyuncs.com`. Not every region has one.
    ///
    /// # Errors
    /// [`BadEndpoint::Region`].
    pub fn vpc(region: &str) -> Result<Self, BadEndpoint> {
        stsd_model::region(region)?;
        Ok(Self::https(&format!("sts-vpc.{region}.aliyuncs.com")))
    }

    /// Parses the endpoint of a variable of the official SDKs: a bare host, or a URL.
    ///
    /// # Errors
    /// [`BadEndpoint`], as of [`custom`](Self::custom).
    pub fn from_variable(text: &str) -> Result<Self, BadEndpoint> {
        match text.contains("://") {
            true => Self::custom(text),
            false => Self::custom(&format!("https://{text}")),
        }
    }

    /// Parses a custom endpoint: `https://host[:port]`, or `http://` with a literal loopback
    /// address, for an emulator.
    ///
    /// # Errors
    /// [`BadEndpoint`], any variant but that of regions.
    pub fn custom(url: &str) -> Result<Self, BadEndpoint> {
        let url = Url::parse(url).map_err(|_| BadEndpoint::NotAUrl)?;
        if url.host().is_none() {
            return Err(BadEndpoint::NotAUrl);
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            _ => return Err(BadEndpoint::Insecure),
        }
        let bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if bare {
            Ok(Self(url))
        } else {
            Err(BadEndpoint::TooMuch)
        }
    }

    /// Returns the host and port for messages; an endpoint holds no secret.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.0.authority()
    }

    /// Returns `true` if the host is a literal loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    /// Returns the whole address; an endpoint holds no secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the proxy for the endpoint; `None` for a direct connection.
    ///
    /// # Errors
    /// [`UnusableProxy`].
    pub fn route<'p>(&self, proxies: &'p Proxies) -> Result<Option<&'p Proxy>, UnusableProxy> {
        proxies.route(&self.0)
    }

    pub(crate) fn url(&self) -> Url {
        self.0.clone()
    }

    fn https(host: &str) -> Self {
        let url = Url::parse(&format!("https://{host}/"));
        Self(url.expect("a host of letters, digits, hyphens and dots makes a URL"))
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{BadEndpoint, Endpoint};

    #[test]
    fn endpoint_of_a_region_has_its_host_name() {
        let name = |endpoint: Endpoint| endpoint.url().to_string();
        assert_eq!(name(Endpoint::global()), "https://sts.aliyuncs.com/");
        assert_eq!(
            name(Endpoint::regional("cn-hongkong").unwrap()),
            "https://sts.cn-hongkong.aliyuncs.com/"
        );
        assert_eq!(
            name(Endpoint::vpc("cn-beijing").unwrap()),
            "https://sts-vpc.cn-beijing.aliyuncs.com/"
        );
        for special in ["cn-beijing-gov-1", "cn-hongkong-finance-pop"] {
            assert_eq!(Endpoint::regional(special), Ok(Endpoint::global()));
        }
        let host = Endpoint::from_variable("sts-vpc.cn-beijing.aliyuncs.com");
        assert_eq!(host, Endpoint::vpc("cn-beijing"));
        for region in [
            "",
            "CN",
            "a.b",
            "evil.com/",
            "-cn",
            "cn hongkong",
            "oss-cn-hangzhou",
        ] {
            for made in [Endpoint::regional(region), Endpoint::vpc(region)] {
                assert!(matches!(made, Err(BadEndpoint::Region(_))), "{region}");
            }
        }
    }

    #[test]
    fn custom_endpoint_without_tls_is_loopback_only() {
        let check = |url: &str, expected: Result<(), BadEndpoint>| {
            assert_eq!(Endpoint::custom(url).map(|_| ()), expected, "{url}");
        };
        check("https://sts.example.com", Ok(()));
        check("https://sts.example.com:8443/", Ok(()));
        check("http://127.0.0.1:4000", Ok(()));
        check("http://[::1]:4000", Ok(()));
        check("http://sts.example.com", Err(BadEndpoint::Insecure));
        check("http://localhost:4000", Err(BadEndpoint::Insecure));
        check("ftp://127.0.0.1", Err(BadEndpoint::Insecure));
        check("sts.example.com", Err(BadEndpoint::NotAUrl));
        check("https://sts.example.com/path", Err(BadEndpoint::TooMuch));
        check("https://user:pw@sts.example.com", Err(BadEndpoint::TooMuch));
    }
}
