//! Certificate authorities: only an HTTPS request needs them, and its failure names the variables.

use std::{fs, process::Command};

use e2e::{Action, Fault, TestEnv, TlsFront, UPLOAD};

/// Returns the daemon's command on a machine without authorities.
fn without_authorities(env: &TestEnv) -> Command {
    let empty = env.path("empty");
    fs::create_dir_all(&empty).unwrap();
    let mut command = env.daemon_command();
    command.env_remove("SSL_CERT_FILE");
    command.env("SSL_CERT_DIR", empty);
    command
}

#[test]
fn daemon_without_authorities_serves_requests_that_need_none() {
    let mut env = TestEnv::without_daemon(&[]);
    // The session of an instance, with the default endpoint, which no call needs.
    let imds = env.emulator().imds_url().to_owned();
    let instance = format!(
        "[source.instance]\ntype = \"ecs-role\"\nmetadata_endpoint = \"{imds}\"\n\
         [profile.instance]\nsource = \"instance\"\n"
    );
    env.write_config_with("", &instance);
    let checked = without_authorities(&env).arg("--check").output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let command = without_authorities(&env);
    env.start_daemon_with(command);
    let _ = env.document(&["instance"]);
    // An endpoint on this machine.
    env.write_config(&format!("{instance}{UPLOAD}"));
    let reload = env.ctl(&["reload"]);
    assert!(reload.status.success(), "{reload:?}");
    let _ = env.document(&["oss-upload"]);
}

#[test]
fn https_request_without_authorities_names_the_variables() {
    let mut env = TestEnv::without_daemon(&[]);
    let front = TlsFront::start(&env, "front", &[]);
    env.write_config_with(&front.endpoint(), UPLOAD);
    env.write("none.pem", "", 0o644);
    let pem = fs::read_to_string(&front.authority).unwrap();
    let trusted = pem.replace(" CERTIFICATE", " TRUSTED CERTIFICATE");
    env.write("trusted.pem", &trusted, 0o644);
    for (name, words) in [
        ("missing.pem", "No such file"),
        ("none.pem", "no certificate in PEM form"),
        ("trusted.pem", "no certificate in PEM form"),
    ] {
        let file = env.path(name);
        let variable = format!("SSL_CERT_FILE={}", file.display());
        let mut command = without_authorities(&env);
        command
            .env_remove("SSL_CERT_DIR")
            .env("SSL_CERT_FILE", &file);
        let checked = command.arg("--check").output().unwrap();
        let complaint = String::from_utf8(checked.stderr).unwrap();
        // The next request finds authorities that are installed later, so that a start goes on.
        assert!(checked.status.success(), "{complaint}");
        assert!(complaint.starts_with("warning: "), "{complaint}");
        assert!(complaint.contains(&variable), "{complaint}");
        let mut command = without_authorities(&env);
        command
            .env_remove("SSL_CERT_DIR")
            .env("SSL_CERT_FILE", &file);
        env.start_daemon_with(command);
        let hint = "set SSL_CERT_FILE to a file of certificates";
        let told = [&*variable, words, hint, "SSL_CERT_DIR"];
        env.assert_refused("oss-upload", 6, &told);
        assert!(env.daemon_log().contains("is ready config="));
        // Authorities that are installed later are found without a restart.
        env.replace(name, &pem, 0o644);
        env.wait_until("the session is there", || {
            let _ = env.ctl(&["refresh", "oss-upload"]);
            env.shim(&["oss-upload"]).status.success()
        });
    }
}

#[test]
fn empty_variable_of_the_authorities_is_none() {
    let mut env = TestEnv::without_daemon(&[]);
    let front = TlsFront::start(&env, "front", &[]);
    env.write_config_with(&front.endpoint(), UPLOAD);
    let mut command = env.daemon_command();
    command.env("SSL_CERT_FILE", "").env_remove("SSL_CERT_DIR");
    env.start_daemon_with(command);
    // The authorities of the system do not have the front's.
    env.assert_refused("oss-upload", 6, &["UnknownIssuer"]);
}

#[test]
fn start_that_fails_is_not_logged_as_ready() {
    let mut env = TestEnv::without_daemon(&[]);
    let top = format!("{}[audit]\nfile = \"missing/audit.log\"\n", env.endpoint());
    env.write_config_with(&top, UPLOAD);
    let command = env.daemon_command();
    env.spawn_daemon(command);
    assert_eq!(env.wait_for_daemon_exit(), Some(1));
    let log = env.daemon_log();
    assert!(log.contains("audit.log"), "{log}");
    assert!(!log.contains("is ready config="), "{log}");
}

/// A fault that the emulator keeps does not need TLS either.
#[test]
fn failed_plain_request_has_no_hint_about_certificates() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::Reset);
    let command = without_authorities(&env);
    env.start_daemon_with(command);
    let output = env.shim(&["--patience", "1s", "oss-upload"]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("not reachable"), "{complaint}");
    assert!(!complaint.contains("ca-certificates"), "{complaint}");
}
