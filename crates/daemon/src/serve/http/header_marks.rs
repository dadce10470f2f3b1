//! The headers by which a browser, a proxy or a change of the protocol is recognised.
//!
//! Proxies have no common header, so that the words of a name decide: `CF-Connecting-IP`,
//! `True-Client-IP` and `x_forwarded_for` have one of these words. A header without such a word
//! passes, because client libraries send headers of many kinds (`amz-sdk-request`, `traceparent`).

use super::request_filter::Rejection;

/// The usual headers of client libraries, which need no look at their words.
const USUAL_NAMES: [&str; 6] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "host",
    "user-agent",
];

/// Words of headers that a proxy adds, or that a client adds for a proxy.
const PROXY_WORDS: [&str; 31] = [
    "via",
    "ip",
    "ips",
    "ipv4",
    "ipv6",
    "addr",
    "original",
    "originating",
    "rewrite",
    "override",
    "cdn",
    "edge",
    "gateway",
    "hops",
    "loop",
    "cf",
    "cloudfront",
    "cloudflare",
    "fastly",
    "akamai",
    "azure",
    "arr",
    "appengine",
    "vercel",
    "envoy",
    "istio",
    "nginx",
    "haproxy",
    "varnish",
    "squid",
    "surrogate",
];

/// Parts of names of such headers, also without a separator.
const PROXY_PARTS: [&str; 7] = [
    "forward",
    "proxy",
    "proxied",
    "clientip",
    "realip",
    "remoteip",
    "connectingip",
];

/// Headers of browsers, without separators; `sec-…` comes besides.
const BROWSER_NAMES: [&str; 12] = [
    "origin",
    "referer",
    "referrer",
    "cookie",
    "cookie2",
    "dnt",
    "upgradeinsecurerequests",
    "xrequestedwith",
    "serviceworker",
    "serviceworkernavigationpreload",
    "pingfrom",
    "pingto",
];

/// Returns the reason for which a request with this header is rejected; `None` for a header of a
/// client library. `name` is in lower case.
pub(super) fn rejection(name: &str) -> Option<Rejection> {
    // Node's fetch sends `sec-fetch-mode`; browsers send other headers of `sec-` as well.
    if USUAL_NAMES.contains(&name) || name == "sec-fetch-mode" {
        return None;
    }
    if matches!(name, "upgrade" | "http2-settings") {
        return Some(Rejection::Upgrade);
    }
    let squeezed: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let words = || name.split(|it: char| !it.is_ascii_alphanumeric());
    let starts = |word: &str| words().next() == Some(word);
    let is_cors = squeezed.starts_with("accesscontrol");
    if starts("sec") || is_cors || BROWSER_NAMES.contains(&&*squeezed) {
        return Some(Rejection::Browser);
    }
    let has_word = words().any(|it| PROXY_WORDS.contains(&it));
    let has_part = PROXY_PARTS.iter().any(|it| squeezed.contains(it));
    (has_word || has_part).then_some(Rejection::Proxy)
}

#[cfg(test)]
mod tests {
    use super::{Rejection, rejection};

    fn check(names: &[&str], expected: Option<Rejection>) {
        for name in names {
            let found = rejection(&name.to_lowercase());
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn headers_of_browsers_and_of_an_upgrade_are_recognised() {
        let browser = [
            "Origin",
            "Referer",
            "Sec-Fetch-Site",
            "Sec-Fetch-Dest",
            "Sec-WebSocket-Key",
            "Sec-CH-UA",
            "sec_fetch_site",
            "Sec_Fetch_Mode",
            "Cookie",
            "DNT",
            "X-Requested-With",
            "x_requested_with",
            "Upgrade-Insecure-Requests",
            "Access-Control-Request-Private-Network",
            "Service-Worker",
        ];
        check(&browser, Some(Rejection::Browser));
        check(&["Upgrade", "HTTP2-Settings"], Some(Rejection::Upgrade));
    }

    #[test]
    fn headers_of_proxies_are_recognised_in_any_spelling() {
        let proxy = [
            "Via",
            "X-Via",
            "Forwarded",
            "Forwarded-For",
            "X-Forwarded",
            "X-Forwarded-For",
            "x_forwarded_for",
            "X_Forwarded-Proto",
            "X.Forwarded.For",
            "XForwardedFor",
            "X-Forward-For",
            "X-Original-Forwarded-For",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-HTTP-Method-Override",
            "X-Real-IP",
            "x_real_ip",
            "True-Client-IP",
            "Client-IP",
            "X-ClientIP",
            "X-Cluster-Client-IP",
            "X-Remote-Addr",
            "X-Remote-IP",
            "X-Originating-IP",
            "X-Appengine-User-IP",
            "CF-Connecting-IP",
            "CF-Connecting-IPv6",
            "CF-Ray",
            "CDN-Loop",
            "X-Amz-Cf-Id",
            "CloudFront-Viewer-Country",
            "Fastly-Client-IP",
            "X-Azure-ClientIP",
            "X-Envoy-External-Address",
            "Proxy",
            "Proxy-Connection",
            "proxy_connection",
            "Proxy-Authorization",
            "X-Proxy-Id",
            "X-Bluecoat-Via",
            "Max-Forwards",
            "Surrogate-Capability",
        ];
        check(&proxy, Some(Rejection::Proxy));
    }

    #[test]
    fn headers_of_client_libraries_pass() {
        // The SDKs of Alibaba Cloud and AWS, requests, undici, hyper, Go, Java and .NET, and tracing.
        let library = [
            "Host",
            "User-Agent",
            "Accept",
            "Accept-Encoding",
            "Accept-Language",
            "Accept-Charset",
            "Authorization",
            "Cache-Control",
            "Pragma",
            "Connection",
            "Keep-Alive",
            "TE",
            "Content-Length",
            "Content-Type",
            "Date",
            "Expect",
            "If-None-Match",
            "Range",
            "Sec-Fetch-Mode",
            "X-aliyun-ecs-metadata-token",
            "X-aliyun-ecs-metadata-token-ttl-seconds",
            "x-aws-ec2-metadata-token",
            "amz-sdk-invocation-id",
            "amz-sdk-request",
            "x-amz-user-agent",
            "x-amz-security-token",
            "x-acs-action",
            "X-Request-Id",
            "Request-Id",
            "traceparent",
            "tracestate",
            "baggage",
            "b3",
            "X-B3-TraceId",
            "X-Amzn-Trace-Id",
            "x-datadog-trace-id",
            "Metadata",
        ];
        check(&library, None);
    }
}
