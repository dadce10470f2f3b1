//! `NO_PROXY`: the hosts that are reached without a proxy, as curl and Go read the variable.

use std::net::IpAddr;

use reqwest::Url;
use url::Host;

/// The hosts of `NO_PROXY`.
#[derive(Debug, Clone, Default)]
pub(crate) struct NoProxy(Vec<Entry>);

#[derive(Debug, Clone)]
struct Entry {
    pattern: Pattern,
    /// `None` for each port.
    port: Option<u16>,
}

#[derive(Debug, Clone)]
enum Pattern {
    /// `*`
    All,
    /// An address, or the addresses of a network, by the length of the prefix in bits.
    Network(IpAddr, u32),
    /// A domain and its subdomains, in lower case and without a dot at its ends.
    Domain(String),
}

impl NoProxy {
    /// Parses a list with commas, or with spaces as in curl: names, addresses, networks
    /// (`10.0.0.0/8`) and `*`. A name stands for its subdomains too, with and without a dot or `*.`
    /// before it. A port restricts an entry, as in Go.
    pub(crate) fn new(list: &str) -> Self {
        let entries = list.split([',', ' ', '\t']).map(str::trim);
        Self(entries.filter_map(Entry::new).collect())
    }

    /// Returns `true` if the host of a URL is reached without a proxy. This machine always is.
    pub(crate) fn contains(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        let is_listed = |matches: &dyn Fn(&Pattern) -> bool| {
            let for_port = |it: &&Entry| it.port.is_none() || it.port == port;
            let mut entries = self.0.iter().filter(for_port);
            entries.any(|it| matches!(it.pattern, Pattern::All) || matches(&it.pattern))
        };
        let address: IpAddr = match url.host() {
            None => return false,
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                return name == "localhost" || is_listed(&|it| it.has_name(&name));
            }
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
        };
        address.is_loopback() || is_listed(&|it| it.has_address(address))
    }
}

impl Entry {
    fn new(text: &str) -> Option<Self> {
        let pattern = Pattern::new(text);
        if !matches!(pattern, Some(Pattern::Domain(_)) | None) || !text.contains(':') {
            return pattern.map(|pattern| Self {
                pattern,
                port: None,
            });
        }
        // A port after a name or an address.
        let (host, port) = text.rsplit_once(':')?;
        Some(Self {
            pattern: Pattern::new(host)?,
            port: Some(port.parse().ok()?),
        })
    }
}

impl Pattern {
    fn new(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        let plain = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = plain.parse::<IpAddr>() {
            return Some(Self::Network(address, bits(address)));
        }
        if let Some((address, length)) = text.split_once('/') {
            let address = address.parse::<IpAddr>().ok()?;
            let length = length.parse().ok()?;
            return (length <= bits(address)).then_some(Self::Network(address, length));
        }
        let name = text.trim_start_matches('*').trim_matches('.');
        (!name.is_empty()).then(|| Self::Domain(name.to_ascii_lowercase()))
    }

    fn has_name(&self, name: &str) -> bool {
        let Self::Domain(domain) = self else {
            return false;
        };
        let before = name.strip_suffix(domain.as_str());
        before.is_some_and(|it| it.is_empty() || it.ends_with('.'))
    }

    fn has_address(&self, address: IpAddr) -> bool {
        let Self::Network(network, length) = self else {
            return false;
        };
        let shift = bits(*network) - length;
        bits(*network) == bits(address)
            && number(*network).checked_shr(shift) == number(address).checked_shr(shift)
    }
}

fn bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(it) => it.to_bits().into(),
        IpAddr::V6(it) => it.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::NoProxy;

    #[test]
    fn no_proxy_is_read_as_by_curl_and_go() {
        let check = |list: &str, host: &str, expected: bool| {
            let url = Url::parse(&format!("https://{host}/")).unwrap();
            assert_eq!(
                NoProxy::new(list).contains(&url),
                expected,
                "{list}: {host}"
            );
        };
        for list in [
            "sts.aliyuncs.com",
            "aliyuncs.com",
            ".aliyuncs.com",
            "*.aliyuncs.com",
            "ALIYUNCS.com.",
            "a.example, aliyuncs.com",
            "a.example aliyuncs.com",
            "*",
            "aliyuncs.com:443",
        ] {
            check(list, "sts.aliyuncs.com", true);
        }
        for list in [
            "",
            ",",
            "yuncs.com",
            "com.",
            "x.sts.aliyuncs.com",
            "aliyuncs.com:80",
            ".",
        ] {
            check(list, "sts.aliyuncs.com", list == "com.");
        }
        for list in ["10.1.2.3", "10.0.0.0/8", "0.0.0.0/0", "*", "10.1.2.3:443"] {
            check(list, "10.1.2.3", true);
        }
        for list in [
            "10.1.2.4",
            "11.0.0.0/8",
            "::/0",
            "10.0.0.0/33",
            "3",
            "10.1.2.3:8",
        ] {
            check(list, "10.1.2.3", false);
        }
        check("fd00::/8", "[fd00::1]", true);
        check("[fd00::1]", "[fd00::1]", true);
        check("[fd00::1]:443", "[fd00::1]", true);
        check("fd00::/8", "[fe00::1]", false);
        for host in ["127.0.0.1", "localhost", "[::1]", "LOCALHOST."] {
            check("", host, true);
        }
    }
}
