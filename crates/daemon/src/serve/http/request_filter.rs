//! Decides which requests are refused whatever they ask for, and how a refusal is called.

use hyper::{HeaderMap, Uri, header};

/// Why a request gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The socket at the other end is of a user whom we do not serve.
    OtherUser,
    /// The kernel does not say whose it is.
    UnknownUser,
    /// Too many are waiting for an answer.
    Full,
    /// A browser sent it, whatever page made it do so.
    Browser,
    /// It came through a proxy, or believes that we are one.
    Proxy,
    /// It was meant for another host: a name that leads here for an attack.
    Host,
    /// The secret is missing, or is another.
    Secret,
    /// Nothing is changed by HTTP.
    Method,
    /// Nothing is there.
    Path,
    /// A body, where there is none to be.
    Body,
    /// Too many headers, or too long ones.
    Head,
}

impl Rejection {
    /// Its name in metrics and logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OtherUser => "other_user",
            Self::UnknownUser => "unknown_user",
            Self::Full => "full",
            Self::Browser => "browser",
            Self::Proxy => "proxy",
            Self::Host => "host",
            Self::Secret => "secret",
            Self::Method => "method",
            Self::Path => "path",
            Self::Body => "body",
            Self::Head => "head",
        }
    }
}

/// Looks at all of a request but what it asks for. `is_tcp` when it came by loopback, where
/// the host has to be loopback, too.
pub(super) fn check(uri: &Uri, headers: &HeaderMap, is_tcp: bool) -> Result<(), Rejection> {
    if uri.scheme().is_some() || uri.authority().is_some() {
        return Err(Rejection::Proxy);
    }
    for name in headers.keys() {
        match name.as_str() {
            "origin" | "referer" => return Err(Rejection::Browser),
            "forwarded" | "via" | "x-real-ip" => return Err(Rejection::Proxy),
            // Node's fetch sends it, too, and of a browser's it is never the only one.
            "sec-fetch-mode" => {}
            name if name.starts_with("sec-") => return Err(Rejection::Browser),
            name if name.starts_with("x-forwarded-") => return Err(Rejection::Proxy),
            _ => {}
        }
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        _ if !is_tcp => Ok(()),
        (Some(host), None) if host.to_str().is_ok_and(is_loopback) => Ok(()),
        _ => Err(Rejection::Host),
    }
}

/// Tells whether `HOST` or `HOST:PORT` is this machine for itself. Any port: Python leaves
/// it out.
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

    use super::{Rejection, check};

    #[track_caller]
    fn case(
        uri: &'static str,
        headers: &[(&str, &str)],
        is_tcp: bool,
        expected: Result<(), Rejection>,
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let outcome = check(&Uri::from_static(uri), &map, is_tcp);
        assert_eq!(outcome, expected, "{uri} {headers:?}");
    }

    #[test]
    fn only_who_means_this_machine_gets_through() {
        let tcp = |host: &str, expected| case("/a", &[("host", host)], true, expected);
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
        case("/a", &[], true, Err(Rejection::Host));
        let two = [("host", "127.0.0.1"), ("host", "127.0.0.1")];
        case("/a", &two, true, Err(Rejection::Host));
        // On a Unix socket a host means nothing.
        case("/a", &[("host", "http.sock")], false, Ok(()));
        case("/a", &[], false, Ok(()));
    }

    #[test]
    fn browsers_and_proxies_are_turned_away() {
        for is_tcp in [true, false] {
            let with = |name: &str, expected| {
                case(
                    "/a",
                    &[("host", "127.0.0.1"), (name, "x")],
                    is_tcp,
                    expected,
                );
            };
            for name in ["Origin", "Referer", "Sec-Fetch-Site", "Sec-WebSocket-Key"] {
                with(name, Err(Rejection::Browser));
            }
            for name in [
                "Via",
                "Forwarded",
                "X-Forwarded-For",
                "X-Forwarded-Host",
                "X-Real-IP",
            ] {
                with(name, Err(Rejection::Proxy));
            }
            for name in [
                "Authorization",
                "User-Agent",
                "X-aliyun-ecs-metadata-token",
                "Sec-Fetch-Mode",
            ] {
                with(name, Ok(()));
            }
            let host = [("host", "127.0.0.1")];
            case("http://127.0.0.1/a", &host, is_tcp, Err(Rejection::Proxy));
        }
    }
}
