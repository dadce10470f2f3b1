//! `stsctl doctor` and TLS to the endpoint: each failure is found before the daemon has called, and
//! has its own fix.

use e2e::{TestEnv, TlsFront, UPLOAD};

use super::visit;

fn trusted(front: &TlsFront) -> [(&str, &str); 1] {
    [("SSL_CERT_FILE", front.authority.to_str().unwrap())]
}

#[test]
fn doctor_reports_ok_for_a_valid_certificate() {
    let env = TestEnv::without_daemon(&[]);
    let front = TlsFront::start(&env, "front", &[]);
    env.write_config_with(&front.endpoint(), UPLOAD);
    let found = visit(&env, &trusted(&front));
    let tls = found.findings.iter().find(|it| it["check"] == "tls");
    assert_eq!(tls.unwrap()["verdict"], "ok", "{}", found.said);
}

#[test]
fn doctor_names_the_fix_for_each_tls_failure() {
    let env = TestEnv::without_daemon(&[]);
    let front = TlsFront::start(&env, "front", &[]);
    env.write_config_with(&front.endpoint(), UPLOAD);
    let untrusted = TlsFront::start(&env, "untrusted", &[]);
    for stranger in [&[][..], &trusted(&untrusted)] {
        let fix = "ca-certificates & update-ca-certificates & SSL_CERT_FILE";
        visit(&env, stranger).finds("fault", "invalid peer certificate", fix);
    }
    // A machine without certificate authorities.
    let none = [
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    visit(&env, &none).finds(
        "fault",
        "no certificate authority was loaded & SSL_CERT_FILE=/dev/null",
        "set SSL_CERT_FILE to a file of certificates & SSL_CERT_DIR",
    );

    let other = TlsFront::start(&env, "other", &["--address", "127.0.0.2"]);
    env.write_config_with(&other.endpoint(), UPLOAD);
    visit(&env, &trusted(&other)).finds(
        "fault",
        "not valid for name",
        "correct endpoint or region",
    );

    let ended = TlsFront::start(&env, "ended", &["--until", "-60"]);
    env.write_config_with(&ended.endpoint(), UPLOAD);
    visit(&env, &trusted(&ended)).finds("fault", "certificate expired", "timedatectl & renew");

    let old = TlsFront::start(&env, "old", &["--x509-version-1"]);
    env.write_config_with(&old.endpoint(), UPLOAD);
    visit(&env, &trusted(&old)).finds(
        "fault",
        "invalid peer certificate: X.509 of another version than 3",
        "a certificate that is valid for the endpoint",
    );

    let plain = env.emulator().sts_url().replace("http://", "https://");
    env.write_config_with(&format!("endpoint = \"{plain}\"\n"), UPLOAD);
    visit(&env, &[]).finds("fault", "InvalidContentType", "speaks no TLS & HTTPS_PROXY");
}

#[test]
fn doctor_reports_the_tls_failure_of_the_daemon() {
    let mut env = TestEnv::without_daemon(&[]);
    let front = TlsFront::start(&env, "front", &[]);
    env.write_config_with(&front.endpoint(), UPLOAD);
    env.start_daemon();
    let _ = env.ctl(&["refresh", "oss-upload"]);
    let found = visit(&env, &[]);
    found.finds("fault", "not reachable & UnknownIssuer", "SSL_CERT_FILE");
}
