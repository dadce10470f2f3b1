//! Each file that decides anything, and each directory above it: refused where a second user can
//! write or own it, accepted again after the command of the hint.

use std::{os::unix::fs::lchown, process::Command};

use e2e::{OWNER, STRANGER, UPLOAD, UserDaemon};
use serde_json::json;

const OIDC: &str = "provider_arn = \"acs:ram::100000000000001:oidc-provider/demo\"\n";
const SAML: &str = "provider_arn = \"acs:ram::100000000000001:saml-provider/demo\"\n";
const ROLE: &str = "role_arn = \"acs:ram::100000000000001:role/oss-upload\"\n";
const MASTER_SECRET: &str = "8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab9159f51fd0297e236d";
const POLICY: &str = r#"{"Version": "1", "Statement": []}"#;

/// A file that the configuration names.
struct Class {
    /// The key that names the file; empty for the configuration itself.
    key: &'static str,
    /// The file, below two directories of its own.
    file: &'static str,
    is_secret: bool,
}

const CLASSES: [Class; 12] = [
    class("", "conf/in/config.toml"),
    secret("source.uploader.access_key_file", "key/in/uploader.key"),
    secret("source.link.uri_file", "uri/in/link.secret"),
    secret("source.pod.token_file", "token/in/token.key"),
    secret("source.sso.assertion_file", "saml/in/assertion.key"),
    class("source.vault.command", "process/in/issue"),
    class("source.pod2.token_command", "token2/in/issue"),
    class("source.sso2.assertion_command", "saml2/in/issue"),
    class("profile.oss-upload.on_renewal", "hook/in/hook"),
    class("profile.oss-upload.policy_file", "policy/in/policy.json"),
    class("SSL_CERT_FILE", "ca/in/roots.pem"),
    secret("http.secret_file", "urls/in/url.secret"),
];

/// The directories of files that the daemon writes.
const WRITTEN: [(&str, &str); 2] = [
    ("profile.oss-upload.file.path", "export/in"),
    ("audit.file", "audit/in"),
];

const fn class(key: &'static str, file: &'static str) -> Class {
    Class {
        key,
        file,
        is_secret: false,
    }
}

const fn secret(key: &'static str, file: &'static str) -> Class {
    Class {
        key,
        file,
        is_secret: true,
    }
}

/// Writes a configuration that names a file of each class, and the files.
fn prepare() -> Option<UserDaemon> {
    let user = UserDaemon::prepare("")?;
    let at = |name: &str| user.env.path(name).display().to_string();
    let mut config = format!(
        "{}[audit]\nfile = \"{}\"\n[http]\nsecret_file = \"{}\"\n",
        user.env.endpoint(),
        at("audit/in/audit.jsonl"),
        at(CLASSES[11].file)
    );
    for (name, table) in [
        (
            "uploader",
            format!(
                "type = \"access-key\"\naccess_key_file = \"{}\"\n",
                at(CLASSES[1].file)
            ),
        ),
        (
            "link",
            format!("type = \"uri\"\nuri_file = \"{}\"\n", at(CLASSES[2].file)),
        ),
        (
            "pod",
            format!(
                "type = \"oidc\"\n{OIDC}token_file = \"{}\"\n",
                at(CLASSES[3].file)
            ),
        ),
        (
            "sso",
            format!(
                "type = \"saml\"\n{SAML}assertion_file = \"{}\"\n",
                at(CLASSES[4].file)
            ),
        ),
        (
            "vault",
            format!(
                "type = \"process\"\ncommand = [\"{}\"]\n",
                at(CLASSES[5].file)
            ),
        ),
        (
            "pod2",
            format!(
                "type = \"oidc\"\n{OIDC}token_command = [\"{}\"]\n",
                at(CLASSES[6].file)
            ),
        ),
        (
            "sso2",
            format!(
                "type = \"saml\"\n{SAML}assertion_command = [\"{}\"]\n",
                at(CLASSES[7].file)
            ),
        ),
    ] {
        config += &format!("[source.{name}]\n{table}");
    }
    config += &format!(
        "[profile.oss-upload]\nsource = \"uploader\"\n{ROLE}on_renewal = [\"{}\"]\n\
         policy_file = \"{}\"\nfile = {{ path = \"{}\" }}\n",
        at(CLASSES[8].file),
        at(CLASSES[9].file),
        at("export/in/session.key")
    );
    let key = std::fs::read_to_string(user.env.path("uploader.key")).unwrap();
    for it in &CLASSES {
        let (text, mode) = match it.key {
            "" => (config.clone(), 0o600),
            "source.uploader.access_key_file" => (key.clone(), 0o600),
            "source.link.uri_file" => ("https://localhost/x".to_owned(), 0o600),
            "source.pod.token_file" => (user.env.emulator().oidc_token(&json!({})), 0o600),
            "source.sso.assertion_file" => (user.env.emulator().saml_assertion(&json!({})), 0o600),
            "profile.oss-upload.policy_file" => (POLICY.to_owned(), 0o644),
            "SSL_CERT_FILE" => (String::new(), 0o644),
            "http.secret_file" => (MASTER_SECRET.to_owned(), 0o600),
            _ => ("#!/bin/sh\nexit 0\n".to_owned(), 0o755),
        };
        user.put(it.file, &text, mode);
    }
    for (_, directory) in WRITTEN {
        user.put(&format!("{directory}/.keep"), "", 0o600);
    }
    Some(user)
}

fn refusal(user: &UserDaemon) -> Option<String> {
    let mut command = user.daemon_command();
    command.env("STSD_CONFIG", user.env.path(CLASSES[0].file));
    command.env("SSL_CERT_FILE", user.env.path(CLASSES[10].file));
    user.refusal(command)
}

/// Runs the command of the hint: `(hint: … run COMMAND)`.
#[track_caller]
fn apply_hint(said: &str) {
    let (_, hint) = said.split_once("run ").unwrap_or_else(|| panic!("{said}"));
    let end = hint.find([')', '\n']).unwrap();
    let line = hint[..end].split(", and").next().unwrap();
    let output = Command::new("/bin/sh")
        .args(["-ec", line])
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

/// Asserts that one change of a file or a directory is refused with all words, and that the command
/// of the hint is enough.
#[track_caller]
fn assert_refused(user: &UserDaemon, key: &str, name: &str, change: &str, words: &[&str]) {
    let path = user.env.path(name);
    match change {
        "owner" => lchown(&path, Some(STRANGER), None).unwrap(),
        mode => user.mode(name, u32::from_str_radix(mode, 8).unwrap()),
    }
    let said = refusal(user).unwrap_or_else(|| panic!("{key}: {name} {change} is accepted"));
    let path = path.display().to_string();
    for word in [key, &path].iter().chain(words) {
        assert!(said.contains(word), "{key} {name} {change}: {word}: {said}");
    }
    apply_hint(&said);
    assert_eq!(refusal(user), None, "{key}: {name} {change}: after {said}");
}

/// Runs the story of some classes.
fn check_classes(classes: &[Class]) {
    let Some(user) = prepare() else { return };
    assert_eq!(refusal(&user), None);
    let owner = format!("belongs to uid {STRANGER}");
    let ours = format!("belongs to uid {OWNER}");
    for it in classes {
        let refused = |name: &str, change: &str, words: &[&str]| {
            assert_refused(&user, it.key, name, change, words);
        };
        let upper = it.file.split_once('/').unwrap().0;
        let directory = it.file.rsplit_once('/').unwrap().0;
        refused(upper, "0777", &[&ours, "mode 0777", "every user can write"]);
        refused(upper, "owner", &[&owner, "neither root nor uid 64003"]);
        refused(
            directory,
            "0775",
            &[&ours, "mode 0775", "the group 64003 can"],
        );
        refused(directory, "owner", &[&owner, "neither root nor uid 64003"]);
        if it.is_secret {
            refused(it.file, "0604", &[&ours, "mode 0604", "every user"]);
            refused(it.file, "0640", &[&ours, "mode 0640", "a group"]);
        } else {
            refused(
                it.file,
                "0756",
                &[&ours, "mode 0756", "every user can write"],
            );
            refused(
                it.file,
                "0775",
                &[&ours, "mode 0775", "the group 64003 can"],
            );
        }
        refused(it.file, "owner", &[&owner, "neither root nor uid 64003"]);
    }
}

#[test]
fn config_and_secrets_are_refused_when_loose_on_their_way() {
    check_classes(&CLASSES[..3]);
}

#[test]
fn tokens_are_refused_when_loose_on_their_way() {
    check_classes(&CLASSES[3..5]);
}

#[test]
fn programs_are_refused_when_loose_on_their_way() {
    check_classes(&CLASSES[5..9]);
}

#[test]
fn policies_and_authorities_are_refused_when_loose_on_their_way() {
    check_classes(&CLASSES[9..11]);
}

#[test]
fn secret_of_urls_is_refused_when_loose_on_its_way() {
    check_classes(&CLASSES[11..]);
}

#[test]
fn directories_of_written_files_are_refused_when_loose() {
    let Some(user) = prepare() else { return };
    let owner = format!("belongs to uid {STRANGER}");
    let ours = format!("belongs to uid {OWNER}");
    for (key, directory) in WRITTEN {
        for name in [directory.split_once('/').unwrap().0, directory] {
            assert_refused(&user, key, name, "0777", &[&ours, "mode 0777"]);
            assert_refused(&user, key, name, "owner", &[&owner]);
        }
        // A sticky directory protects files that exist, and the daemon creates this one.
        assert_refused(&user, key, directory, "1777", &[&ours, "mode 1777"]);
    }
}

#[test]
fn writable_path_is_refused_where_another_user_can_redirect_it() {
    let Some(user) = prepare() else { return };
    user.put("shared/in/.keep", "", 0o600);
    user.give_away("shared/in");
    user.mode("shared/in", 0o777);
    let config = std::fs::read_to_string(user.env.path(CLASSES[0].file)).unwrap();
    let shared = user.env.path("shared/in").display().to_string();
    let config = config.replace(
        "on_renewal = ",
        &format!("writable = [\"{shared}\"]\non_renewal = "),
    );
    user.put(CLASSES[0].file, &config, 0o600);
    assert_eq!(refusal(&user), None, "the directory itself is shared");
    let key = "profile.oss-upload.writable";
    let owner = format!("belongs to uid {STRANGER}");
    assert_refused(&user, key, "shared", "0777", &["mode 0777"]);
    assert_refused(&user, key, "shared", "owner", &[&owner]);
    user.mode("shared", 0o1777);
    let said = refusal(&user).unwrap();
    for word in [key, &shared, &owner] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn directory_of_the_socket_is_refused_below_a_loose_directory() {
    let Some(user) = prepare() else { return };
    user.put("place/run/.keep", "", 0o600);
    user.mode("place/run", 0o700);
    user.mode("place", 0o777);
    let mut command = user.daemon_command();
    command.env("STSD_CONFIG", user.env.path(CLASSES[0].file));
    command.env("STSD_SOCKET", user.env.path("place/run/stsd.sock"));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let place = user.env.path("place").display().to_string();
    for word in [&place, "mode 0777", "chmod go-w"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn certificates_in_the_directories_of_ssl_cert_dir_are_judged() {
    let Some(user) = UserDaemon::prepare(UPLOAD) else {
        return;
    };
    let certificate = "ca/a1b2c3d4.0";
    user.put(certificate, "", 0o644);
    user.put("ca/README", "", 0o666);
    user.put("first/.keep", "", 0o644);
    let list = ["first", "ca"].map(|it| user.env.path(it).display().to_string());
    let refusal = || {
        let mut command = user.daemon_command();
        command.env("SSL_CERT_DIR", list.join(":"));
        user.refusal(command)
    };
    assert_eq!(refusal(), None);
    user.mode(certificate, 0o666);
    let said = refusal().unwrap();
    assert!(
        said.contains("SSL_CERT_DIR") && said.contains(certificate),
        "{said}"
    );
    apply_hint(&said);
    assert_eq!(refusal(), None);
    user.mode("ca", 0o777);
    let said = refusal().unwrap();
    assert!(said.contains("mode 0777"), "{said}");
}
