//! The accepted URIs, and the parts of a URI that messages show.

use super::*;

#[test]
fn uri_is_https_or_loopback() {
    let check = |text: &str, expected: Result<&str, InvalidUri>| {
        let read = UriAddress::new(text);
        let authority = read.as_ref().map(|it| it.authority.as_str());
        assert_eq!(authority.map_err(|it| *it), expected, "{text}");
    };
    check("https://vault.example.com/a?b", Ok("vault.example.com"));
    check("https://10.0.0.1:8443/", Ok("10.0.0.1:8443"));
    check("http://127.0.0.1:7787/secret/a", Ok("127.0.0.1:7787"));
    check("http://127.9.9.9/", Ok("127.9.9.9"));
    check("http://[::1]:80/a", Ok("[::1]"));
    check("", Err(InvalidUri::NotAUrl));
    check("/etc/passwd", Err(InvalidUri::NotAUrl));
    check("unix:/run/it", Err(InvalidUri::NotAUrl));
    check("http://localhost/a", Err(InvalidUri::Insecure));
    check("http://vault.example.com/a", Err(InvalidUri::Insecure));
    check("http://100.100.100.200/", Err(InvalidUri::Insecure));
    check("file://127.0.0.1/a", Err(InvalidUri::Insecure));
    check("https://user@vault.example.com/", Err(InvalidUri::TooMuch));
    check("https://:word@vault.example.com/", Err(InvalidUri::TooMuch));
    check("https://vault.example.com/#a", Err(InvalidUri::TooMuch));
}

#[test]
fn message_shows_only_host_and_port_of_a_uri() {
    let address = UriAddress::new("https://vault.example.com:8443/PATHSECRET?QUERYSECRET").unwrap();
    let shown = format!(
        "{address:?} {:?}",
        CredentialsUri::new(address.clone(), Arc::default())
    );
    assert!(!shown.contains("SECRET"), "{shown}");
    assert_eq!(
        CredentialsUri::new(address, Arc::default()).describe(),
        "the credentials URI at vault.example.com:8443"
    );
}

#[test]
fn uri_of_the_own_listener_is_recognized() {
    let check = |text: &str, expected: bool| {
        let address = UriAddress::new(text).unwrap();
        assert_eq!(
            address.leads_to(([127, 0, 0, 1], 7787).into()),
            expected,
            "{text}"
        );
    };
    check("http://127.0.0.1:7787/a", true);
    check("https://127.0.0.1:7787/a", true);
    check("http://127.0.0.1:7788/a", false);
    check("http://127.0.0.2:7787/a", false);
    check("https://vault.example.com:7787/a", false);
}
