//! `stsctl doctor` and TLS to the endpoint: each failure is found before the daemon has called, and
//! has its own fix.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use e2e::{Process, TestEnv, UPLOAD, clients};
use serde_json::Value;

use super::visit;

/// TLS in front of the emulated STS, with an authority that no program trusts yet.
struct Front {
    endpoint: String,
    authority: PathBuf,
    _process: Process,
}

impl Front {
    fn start(env: &TestEnv, name: &str, arguments: &[&str]) -> Self {
        let authority = env.path(&format!("{name}.pem"));
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients/python/tls_front.py");
        let mut command = Command::new(clients().join("python/bin/python"));
        command.arg(script).args(arguments);
        command.args([
            "--to",
            env.emulator().sts_url().strip_prefix("http://").unwrap(),
        ]);
        command.arg("--certificate").arg(&authority);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(command, &env.path(&format!("{name}.log")));
        let line: Value = serde_json::from_str(&process.first_line()).unwrap();
        Self {
            endpoint: format!(
                "endpoint = \"https://{}\"\n",
                line["address"].as_str().unwrap()
            ),
            authority,
            _process: process,
        }
    }

    fn trusted(&self) -> [(&str, &str); 1] {
        [("SSL_CERT_FILE", self.authority.to_str().unwrap())]
    }
}

#[test]
fn doctor_reports_ok_for_a_valid_certificate() {
    let env = TestEnv::without_daemon(&[]);
    let front = Front::start(&env, "front", &[]);
    env.write_config_with(&front.endpoint, UPLOAD);
    let found = visit(&env, &front.trusted());
    let tls = found.findings.iter().find(|it| it["check"] == "tls");
    assert_eq!(tls.unwrap()["verdict"], "ok", "{}", found.said);
}

#[test]
fn doctor_names_the_fix_for_each_tls_failure() {
    let env = TestEnv::without_daemon(&[]);
    let front = Front::start(&env, "front", &[]);
    env.write_config_with(&front.endpoint, UPLOAD);
    let untrusted = Front::start(&env, "untrusted", &[]);
    for stranger in [&[][..], &untrusted.trusted()] {
        let fix = "ca-certificates & update-ca-certificates & SSL_CERT_FILE";
        visit(&env, stranger).finds("fault", "invalid peer certificate", fix);
    }
    // A machine without certificate authorities.
    let none = [
        ("SSL_CERT_FILE", "/dev/null"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    visit(&env, &none).finds("fault", "No CA certificates", "install ca-certificates");

    let other = Front::start(&env, "other", &["--address", "127.0.0.2"]);
    env.write_config_with(&other.endpoint, UPLOAD);
    visit(&env, &other.trusted()).finds(
        "fault",
        "not valid for name",
        "correct endpoint or region",
    );

    let ended = Front::start(&env, "ended", &["--until", "-60"]);
    env.write_config_with(&ended.endpoint, UPLOAD);
    visit(&env, &ended.trusted()).finds("fault", "certificate expired", "timedatectl & renew");

    let plain = env.emulator().sts_url().replace("http://", "https://");
    env.write_config_with(&format!("endpoint = \"{plain}\"\n"), UPLOAD);
    visit(&env, &[]).finds("fault", "InvalidContentType", "speaks no TLS & HTTPS_PROXY");
}

#[test]
fn doctor_reports_the_tls_failure_of_the_daemon() {
    let mut env = TestEnv::without_daemon(&[]);
    let front = Front::start(&env, "front", &[]);
    env.write_config_with(&front.endpoint, UPLOAD);
    env.start_daemon();
    let _ = env.ctl(&["refresh", "oss-upload"]);
    let found = visit(&env, &[]);
    found.finds("fault", "not reachable & UnknownIssuer", "SSL_CERT_FILE");
}
