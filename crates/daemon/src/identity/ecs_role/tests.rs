//! The addresses that are accepted over plain HTTP.

use super::MetadataEndpoint;

#[test]
fn metadata_address_is_this_machine_or_its_host() {
    let check = |text: &str, fits: bool| {
        assert_eq!(MetadataEndpoint::new(text).is_ok(), fits, "{text}");
    };
    check(MetadataEndpoint::DEFAULT, true);
    check("http://100.100.100.200:80/", true);
    check("http://127.0.0.1:1234", true);
    check("http://[::1]:1234", true);
    check("http://169.254.169.254", true);
    check("http://[fe80::1]", true);
    for bad in [
        "",
        "100.100.100.200",
        "http://100.100.100.201",
        "http://localhost:1234",
        "http://metadata.example.com",
        "http://10.0.0.1",
        "http://[::ffff:127.0.0.1]",
        "https://100.100.100.200",
        "ftp://127.0.0.1",
        "http://127.0.0.1/latest",
        "http://127.0.0.1?a",
        "http://127.0.0.1#a",
        "http://user@127.0.0.1",
        "http://:word@127.0.0.1",
    ] {
        check(bad, false);
    }
}
