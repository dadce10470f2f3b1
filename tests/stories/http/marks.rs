//! The marks of browsers and proxies, against the requests of client libraries.

use e2e::{TestEnv, UPLOAD};

use super::client::{Url, refusals};

#[test]
fn mark_of_a_proxy_or_a_browser_in_any_spelling_is_refused() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let url = Url::of(&env, "oss-upload");
    let refuse = |reason: &str, names: &[&str]| {
        for name in names {
            let before = refusals(&env, reason);
            let answer = url.get(url.path(), &format!("{name}: x\r\n"));
            answer.refused(403, "Refused");
            assert_eq!(refusals(&env, reason), before + 1, "{name}");
        }
    };
    let proxy = [
        "x_forwarded_for",
        "X_Forwarded-For",
        "X-Forward-For",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Original-URL",
        "Proxy-Connection",
        "Proxy-Authorization",
        "CDN-Loop",
    ];
    refuse("proxy", &proxy);
    refuse("browser", &["Cookie", "sec_fetch_site", "X-Requested-With"]);
    refuse("upgrade", &["Upgrade", "HTTP2-Settings"]);
    url.get(&format!("{}?", url.path()), "")
        .refused(403, "Refused");
    assert_eq!(refusals(&env, "query"), 1);
}

#[test]
fn headers_of_client_libraries_are_served() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let url = Url::of(&env, "oss-upload");
    for headers in [
        // requests in Python, undici in Node, Go, Java and the SDKs of AWS.
        "User-Agent: python-requests/2.32\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n",
        "accept: */*\r\naccept-language: *\r\nsec-fetch-mode: cors\r\nuser-agent: node\r\n",
        "User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n",
        "Cache-Control: no-cache\r\nPragma: no-cache\r\nUser-Agent: Java/21\r\n",
        "amz-sdk-invocation-id: x\r\namz-sdk-request: attempt=1\r\nx-amz-user-agent: x\r\n",
        "traceparent: 00-0-0-00\r\nbaggage: x\r\nX-B3-TraceId: 0\r\n",
    ] {
        assert_eq!(url.get(url.path(), headers).status, 200, "{headers}");
    }
}
