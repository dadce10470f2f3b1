//! The filter of HTTP requests: requests of browsers, through proxies and for other hosts are
//! rejected before their path is read.

use hyper::{HeaderMap, Uri, header};

use super::header_marks;

/// The reason for which a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    /// Another user owns the socket of the client.
    OtherUser,
    /// The kernel does not report the owner of the client's socket.
    UnknownUser,
    /// The limit of connections is reached, and none is idle.
    Full,
    /// A browser has sent the request, for a web page.
    Browser,
    /// The request came through a proxy, or is meant for one.
    Proxy,
    /// The request asks for another protocol.
    Upgrade,
    /// The URL has a query, which no URL of stsd has.
    Query,
    /// The `Host` is another one: DNS rebinding sends such requests.
    Host,
    /// The secret is missing or wrong.
    Secret,
    /// The path does not support the method.
    Method,
    /// No such path.
    Path,
    /// The request has a body.
    Body,
    /// The headers are too many or too long.
    Head,
}

/// The transport of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// Loopback TCP, which any process and any web page can reach.
    Tcp,
    /// The Unix socket.
    Unix,
}

impl Rejection {
    /// Returns the name of the reason in metrics and logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OtherUser => "other_user",
            Self::UnknownUser => "unknown_user",
            Self::Full => "full",
            Self::Browser => "browser",
            Self::Proxy => "proxy",
            Self::Upgrade => "upgrade",
            Self::Query => "query",
            Self::Host => "host",
            Self::Secret => "secret",
            Self::Method => "method",
            Self::Path => "path",
            Self::Body => "body",
            Self::Head => "head",
        }
    }
}

/// Checks the form of the URI and the headers. On loopback TCP the `Host` must be loopback.
///
/// # Errors
/// The reason for which the request is rejected.
pub(super) fn check(uri: &Uri, headers: &HeaderMap, transport: Transport) -> Result<(), Rejection> {
    if uri.scheme().is_some() || uri.authority().is_some() {
        return Err(Rejection::Proxy);
    }
    if uri.query().is_some() {
        return Err(Rejection::Query);
    }
    for name in headers.keys() {
        if let Some(rejection) = header_marks::rejection(name.as_str()) {
            return Err(rejection);
        }
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        _ if transport == Transport::Unix => Ok(()),
        (Some(host), None) if host.to_str().is_ok_and(is_loopback) => Ok(()),
        _ => Err(Rejection::Host),
    }
}

/// Returns `true` if `HOST` or `HOST:PORT` is loopback, with any port: Python omits the port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|it| it.is_ascii_digit()) => name,
        _ => host,
    };
    name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use hyper::{
        HeaderMap, Uri,
        header::{HeaderName, HeaderValue},
    };

    use super::{Rejection, Transport, check};

    #[track_caller]
    fn case(
        uri: &'static str,
        headers: &[(&str, &str)],
        transport: Transport,
        expected: Result<(), Rejection>,
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let outcome = check(&Uri::from_static(uri), &map, transport);
        assert_eq!(outcome, expected, "{uri} {headers:?}");
    }

    #[test]
    fn tcp_request_for_another_host_is_rejected() {
        let tcp = |host: &str, expected| case("/a", &[("host", host)], Transport::Tcp, expected);
        for host in ["127.0.0.1", "127.0.0.1:7787", "localhost:7787", "LOCALHOST"] {
            tcp(host, Ok(()));
        }
        for host in [
            "",
            "evil.example",
            "evil.example:7787",
            "127.0.0.1.evil.example",
            "localhost.",
            "[::1]",
            "127.0.0.2",
            "0.0.0.0",
            "127.0.0.1@evil.example",
            "127.0.0.1:x",
            "127.0.0.1:80:80",
        ] {
            tcp(host, Err(Rejection::Host));
        }
        case("/a", &[], Transport::Tcp, Err(Rejection::Host));
        let two = [("host", "127.0.0.1"), ("host", "127.0.0.1")];
        case("/a", &two, Transport::Tcp, Err(Rejection::Host));
        // A Unix socket accepts any host.
        case("/a", &[("host", "http.sock")], Transport::Unix, Ok(()));
        case("/a", &[], Transport::Unix, Ok(()));
    }

    #[test]
    fn request_with_a_mark_a_query_or_a_whole_url_is_rejected() {
        for transport in [Transport::Tcp, Transport::Unix] {
            let with = |name: &str, expected| {
                let headers = [("host", "127.0.0.1"), (name, "x")];
                case("/a", &headers, transport, expected);
            };
            with("Origin", Err(Rejection::Browser));
            with("X-Forwarded-For", Err(Rejection::Proxy));
            with("Upgrade", Err(Rejection::Upgrade));
            with("Authorization", Ok(()));
            let host = [("host", "127.0.0.1")];
            let url = "http://127.0.0.1/a";
            case(url, &host, transport, Err(Rejection::Proxy));
            for query in ["/a?", "/a?x=y"] {
                case(query, &host, transport, Err(Rejection::Query));
            }
        }
    }
}
