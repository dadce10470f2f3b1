//! The proxy of the environment. A variable that is set is used, or a request that it concerns fails
//! and names the variable: a request never goes another way than the variables say.

use std::{ffi::OsString, fmt, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::no_proxy::NoProxy;

/// The variables of a proxy for HTTPS, by precedence: the order of Go, which has no
/// `ALL_PROXY`; curl takes the lower-case name first. stsd uses plain HTTP only for this machine and its metadata service, which no proxy
/// can reach, so that `HTTP_PROXY` has no effect.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The schemes of a proxy. `socks5h` and `socks4a` resolve the host at the proxy.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// Timeout of the request for the status of a refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum length of the first line of a proxy's answer.
const MAX_STATUS_LINE_BYTES: usize = 256;

/// The proxy of the environment, and the hosts that are reached without the proxy.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    proxy: Option<Result<Proxy, UnusableProxy>>,
    no_proxy: NoProxy,
}

/// The address of a proxy, which may hold a password.
#[derive(Clone)]
pub struct Proxy {
    variable: &'static str,
    url: Url,
}

/// A variable that names no usable proxy. The value may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the variable {variable} names no usable proxy: {problem}")]
pub struct UnusableProxy {
    variable: &'static str,
    problem: String,
}

impl Proxies {
    /// Reads the variables `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in both cases. As in Go, an empty
    /// variable counts as unset.
    #[must_use]
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|it| !it.as_encoded_bytes().trim_ascii().is_empty());
        let found = VARIABLES
            .into_iter()
            .find_map(|name| Some((name, set(name)?)));
        let no_proxy = ["NO_PROXY", "no_proxy"].into_iter().find_map(set);
        Self {
            proxy: found.map(|(name, value)| Proxy::new(name, &value)),
            no_proxy: NoProxy::new(&no_proxy.unwrap_or_default().to_string_lossy()),
        }
    }

    /// Returns the proxy for a URL; `None` for a direct connection.
    ///
    /// # Errors
    /// [`UnusableProxy`], if a proxy is set that cannot be used, and `NO_PROXY` does not name the host.
    pub fn route(&self, url: &Url) -> Result<Option<&Proxy>, UnusableProxy> {
        if url.scheme() != "https" || self.no_proxy.contains(url) {
            return Ok(None);
        }
        match &self.proxy {
            None => Ok(None),
            Some(Ok(proxy)) => Ok(Some(proxy)),
            Some(Err(error)) => Err(error.clone()),
        }
    }

    /// Returns the error of a proxy that cannot be used, for whatever host.
    #[must_use]
    pub fn problem(&self) -> Option<&UnusableProxy> {
        self.proxy.as_ref()?.as_ref().err()
    }
}

impl Proxy {
    fn new(variable: &'static str, value: &OsString) -> Result<Self, UnusableProxy> {
        let unusable = |problem: String| UnusableProxy { variable, problem };
        let value = value.to_str().map(str::trim);
        let value = value.ok_or_else(|| unusable("it is not UTF-8".to_owned()))?;
        let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
        let scheme = scheme.to_ascii_lowercase();
        if !SCHEMES.contains(&scheme.as_str()) {
            // No part of the value: a scheme with a mistake may be the beginning of a password.
            let known = SCHEMES.join(", ");
            return Err(unusable(format!("its scheme is none of {known}")));
        }
        let url = Url::parse(&format!("{scheme}://{rest}"));
        let url = url.map_err(|error| unusable(error.to_string()))?;
        // An unescaped character of a password has ended the address before its host.
        let after_host = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
        if after_host.contains('@') {
            let problem = "a user or a password has one of / ? # unescaped".to_owned();
            return Err(unusable(problem));
        }
        if url.host().is_none() {
            return Err(unusable("it has no host".to_owned()));
        }
        let proxy = Self { variable, url };
        proxy.for_reqwest()?;
        Ok(proxy)
    }

    /// Returns the variable, and the host and port, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let (variable, scheme) = (self.variable, self.url.scheme());
        match self.url.port() {
            Some(port) => format!("the proxy {scheme}://{host}:{port} ({variable})"),
            None => format!("the proxy {scheme}://{host} ({variable})"),
        }
    }

    pub(crate) fn for_reqwest(&self) -> Result<reqwest::Proxy, UnusableProxy> {
        // The error would print the URL with its password.
        reqwest::Proxy::all(self.url.clone()).map_err(|_| UnusableProxy {
            variable: self.variable,
            problem: "it is no address of a host".to_owned(),
        })
    }

    /// Requests a connection to a host once more, and returns the status of the refusal, which the
    /// error of the HTTP library lacks; `None` without one.
    pub(crate) async fn refusal_status(&self, host: &str, port: u16) -> Option<u16> {
        if self.url.scheme() != "http" {
            return None;
        }
        let line = timeout(REFUSAL_TIMEOUT, self.status_line(host, port)).await;
        let status = line.ok()??.split(' ').nth(1)?.parse().ok()?;
        (status != 200).then_some(status)
    }

    async fn status_line(&self, host: &str, port: u16) -> Option<String> {
        // An IPv6 address stands in brackets.
        let own_host = self.url.host_str()?.trim_matches(['[', ']']);
        let address = (own_host, self.url.port_or_known_default()?);
        let mut stream = TcpStream::connect(address).await.ok()?;
        let authorization = self.authorization();
        let request =
            format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n{authorization}\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut line = Vec::new();
        while line.len() < MAX_STATUS_LINE_BYTES {
            match stream.read_u8().await {
                Ok(b'\r' | b'\n') | Err(_) => break,
                Ok(byte) => line.push(byte),
            }
        }
        String::from_utf8(line).ok()
    }

    fn authorization(&self) -> String {
        if self.url.username().is_empty() && self.url.password().is_none() {
            return String::new();
        }
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = decoded(self.url.username());
        let password = decoded(self.url.password().unwrap_or_default());
        let both = BASE64_STANDARD.encode(format!("{user}:{password}"));
        format!("Proxy-Authorization: Basic {both}\r\n")
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.describe()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(set: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            let found = set.iter().find(|it| it.0 == name);
            found.map(|it| it.1.into())
        })
    }

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn proxy_variable_is_used_or_an_error() {
        let check = |value: &str, expected: &str| {
            let proxies = proxies(&[("HTTPS_PROXY", value)]);
            let route = proxies.route(&url("https://sts.aliyuncs.com"));
            let found = match route {
                Ok(proxy) => proxy.unwrap().url.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(found.contains(expected), "{value}: {found}");
            assert!(!found.contains("p#ss") && !found.contains("geheim"));
        };
        check("proxy.example.com:3128", "http://proxy.example.com:3128/");
        check("127.0.0.1:3128", "http://127.0.0.1:3128/");
        check(" http://[::1]:3128/ ", "http://[::1]:3128/");
        check("HTTP://proxy:3128/path", "http://proxy:3128/path");
        check("https://proxy", "https://proxy/");
        check("socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080");
        check(
            "socks5h://us:p%23@proxy:1080",
            "socks5h://us:p%23@proxy:1080",
        );
        // As Go: the last @ ends the password.
        check("http://us:p@ss@proxy:1", "http://us:p%40ss@proxy:1/");
        check("http://us:p#ss@127.0.0.1:3128", "invalid port number");
        check("http://us:1#ss@127.0.0.1:3128", "unescaped");
        check("http://us:1/geheim@127.0.0.1:3128", "unescaped");
        check("socks://127.0.0.1:1080", "none of http, https, socks4");
        check("ftp://proxy", "none of http");
        check("http://", "HTTPS_PROXY names no usable proxy: empty host");
        check("socks5h:///", "no host");
        check("http://proxy:99999", "invalid port number");
    }

    #[test]
    fn https_proxy_precedes_all_proxy_even_if_unusable() {
        let check = |set: &[(&str, &str)], target: &str, expected: Result<Option<&str>, ()>| {
            let proxies = proxies(set);
            let route = proxies.route(&url(target)).map_err(drop);
            let host = |it: Option<&Proxy>| it.map(|it| it.url.host_str().unwrap().to_owned());
            let expected = expected.map(|it| it.map(str::to_owned));
            assert_eq!(route.map(host), expected, "{set:?} {target}");
        };
        let sts = "https://sts.aliyuncs.com";
        check(&[], sts, Ok(None));
        check(&[("all_proxy", "http://a")], sts, Ok(Some("a")));
        check(
            &[("ALL_PROXY", "http://a"), ("https_proxy", "http://b")],
            sts,
            Ok(Some("b")),
        );
        check(
            &[("HTTPS_PROXY", ""), ("https_proxy", "http://b")],
            sts,
            Ok(Some("b")),
        );
        check(
            &[("ALL_PROXY", "http://a"), ("HTTPS_PROXY", "x://b")],
            sts,
            Err(()),
        );
        check(&[("HTTP_PROXY", "http://a")], sts, Ok(None));
        check(&[("HTTPS_PROXY", "x://b")], "http://127.0.0.1:1", Ok(None));
        check(
            &[("HTTPS_PROXY", "x://b"), ("no_proxy", "*")],
            sts,
            Ok(None),
        );
    }

    #[test]
    fn debug_of_a_proxy_shows_no_password() {
        let proxies = proxies(&[("HTTPS_PROXY", "http://us:geheim@proxy:1")]);
        let shown = format!("{proxies:?}");
        assert!(shown.contains("http://proxy:1 (HTTPS_PROXY)"), "{shown}");
        assert!(
            !shown.contains("geheim") && !shown.contains("us:"),
            "{shown}"
        );
    }

    #[test]
    fn authorization_is_of_the_decoded_user_and_password() {
        let of = |value: &str| {
            Proxy::new("HTTPS_PROXY", &value.into())
                .unwrap()
                .authorization()
        };
        assert_eq!(of("http://proxy"), "");
        let expected = "Proxy-Authorization: Basic dXM6cCNz\r\n";
        assert_eq!(of("http://us:p%23s@proxy"), expected);
    }
}
