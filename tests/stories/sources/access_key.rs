//! The secret stores of a RAM user's AccessKey, and a change of the key while the daemon runs.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use e2e::{Action, KEY_SECRET, OutputLog, TestEnv, UPLOAD, assert_output, unix_time};
use nix::{sys::stat::Mode, unistd::mkfifo};

const FIRST: &str = "LTAIEXAMPLEUPLOADER01";

/// The user's second key, made for a key rotation.
const SECOND: (&str, &str) = ("LTAIEXAMPLEUPLOADER02", "ExampleSecretOfUploader000002");

fn key(id: &str, secret: &str) -> String {
    format!("access_key_id = \"{id}\"\naccess_key_secret = \"{secret}\"\n")
}

/// Starts an emulator whose account model has two keys of the user.
fn two_keys(more: &[&str]) -> TestEnv {
    let scratch = TestEnv::without_daemon(&[]);
    let first = "[[user.key]]\nid = \"LTAIEXAMPLEUPLOADER01\"";
    let model = stsd_emulator::account::DEFAULT_MODEL;
    assert!(model.contains(first));
    let second = format!(
        "[[user.key]]\nid = \"{}\"\nsecret = \"{}\"\n\n{first}",
        SECOND.0, SECOND.1
    );
    scratch.write("world.key", &model.replace(first, &second), 0o600);
    let path = scratch.path("world.key");
    let arguments = [&["--world", path.to_str().unwrap()], more].concat();
    TestEnv::without_daemon(&arguments)
}

#[test]
fn key_rotation_under_load_causes_no_failure() {
    let mut env = two_keys(&["--session-life", "6s"]);
    env.write_config(UPLOAD);
    env.start_daemon();
    let over = AtomicBool::new(false);
    let renewals = || env.client().status().unwrap().profiles[0].renewals;
    let more = |what: &str| {
        let before = renewals();
        env.wait_within(Duration::from_secs(40), what, || renewals() >= before + 2);
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            let (client, over) = (env.client(), &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let asked = unix_time();
                    let answer =
                        client.credentials("oss-upload", Duration::ZERO, Duration::from_secs(60));
                    let ends = answer.unwrap().credentials.expiration_unix_seconds;
                    assert!(ends.cast_unsigned() > asked, "it had ended");
                    thread::sleep(Duration::from_millis(5));
                }
            });
        }
        more("with the first key");
        // The usual order: the new key is written, then the old one is disabled.
        env.replace("uploader.key", &key(SECOND.0, SECOND.1), 0o600);
        more("with the second key");
        env.emulator().disable_key(FIRST);
        more("with the second key alone");
        over.store(true, Ordering::Relaxed);
    });
    let calls = env.emulator().calls(Action::AssumeRole);
    assert_eq!(
        env.emulator().outcomes(Action::AssumeRole, "ok"),
        calls,
        "nothing was refused"
    );
}

#[test]
fn refused_key_that_is_replaced_in_place_is_noticed() {
    let mut env = two_keys(&[]);
    env.emulator().disable_key(FIRST);
    env.write_config(UPLOAD);
    env.start_daemon();
    let output = env.shim(&["oss-upload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("Inactive"), "{said}");
    assert!(said.contains("uploader.key"), "{said}");
    // The file is overwritten in place, in two steps.
    let path = env.path("uploader.key");
    let new = key(SECOND.0, SECOND.1);
    fs::write(&path, &new[..30]).unwrap();
    thread::sleep(Duration::from_millis(1200));
    fs::write(&path, &new).unwrap();
    let served = || {
        env.shim(&["--patience", "1s", "oss-upload"])
            .status
            .success()
    };
    // The file is checked every 20 seconds, and an invalid one once more.
    env.wait_within(Duration::from_secs(60), "it is noticed", served);
    // The refused key was sent to STS once.
    let refused = env.emulator().calls(Action::AssumeRole)
        - env.emulator().outcomes(Action::AssumeRole, "ok");
    assert_eq!(refused, 1);
}

#[test]
fn unreadable_key_file_keeps_the_last_key_with_one_warning() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    env.start_daemon();
    let _ = env.document(&["oss-upload"]);
    let path = env.path("uploader.key");
    let good = fs::read_to_string(&path).unwrap();
    let warned = || env.daemon_log().matches("using the cached one").count();
    let mut before = 0;
    let mut check = |what: &str, spoil: &dyn Fn()| {
        spoil();
        for _ in 0..3 {
            let output = env.ctl(&["refresh", "oss-upload"]);
            assert!(output.status.success(), "{what}: {output:?}");
        }
        assert_eq!(warned(), before + 1, "{what}: warnings");
        before += 1;
        let line = env.daemon_log();
        let line = line
            .lines()
            .rfind(|it| it.contains("using the cached one"))
            .unwrap();
        assert!(
            line.contains("uploader.key") && line.contains(what),
            "{what}: {line}"
        );
        env.replace("uploader.key", &good, 0o600);
        assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
    };
    let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    check("0644", &|| mode(0o644));
    check("No such file", &|| fs::remove_file(&path).unwrap());
    check("not a key file", &|| fs::write(&path, "").unwrap());
    check("not a key file", &|| fs::write(&path, &good[..40]).unwrap());
    check("valid UTF-8", &|| fs::write(&path, [0xff, 0xfe]).unwrap());
    check("not a regular file", &|| {
        fs::remove_file(&path).unwrap();
        mkfifo(&path, Mode::S_IRUSR).unwrap();
    });
    assert_eq!(
        env.emulator().outcomes(Action::AssumeRole, "ok"),
        env.emulator().calls(Action::AssumeRole)
    );
}

#[test]
fn refused_key_is_not_used_after_its_file_breaks() {
    let mut env = two_keys(&[]);
    env.write_config(UPLOAD);
    env.start_daemon();
    let _ = env.document(&["oss-upload"]);
    env.emulator().disable_key(FIRST);
    assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(7));
    fs::write(env.path("uploader.key"), "").unwrap();
    let output = env.ctl(&["refresh", "oss-upload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("is not a key file"), "{said}");
    // The session stays valid without the key.
    let _ = env.document(&["oss-upload"]);
}

fn with_key(line: &str) -> String {
    format!(
        "[source.other]\ntype = \"access-key\"\n{line}\n{}",
        UPLOAD.replace("\"uploader\"", "\"other\"")
    )
}

#[test]
fn systemd_credential_is_read_as_a_key() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(&with_key("access_key_credential = \"uploader\""));
    let check = |env: &TestEnv, directory: Option<&str>, words: &str| {
        let mut command = env.daemon_command();
        command.env_remove("CREDENTIALS_DIRECTORY");
        if let Some(directory) = directory {
            command.env("CREDENTIALS_DIRECTORY", env.path(directory));
        }
        let output = command.arg("--check").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        e2e::assert_no_secrets("stsd --check", &output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{words}: {said}");
    };
    check(&env, None, "LoadCredential=");
    check(
        &env,
        Some("credentials"),
        "the credential uploader cannot be read",
    );
    fs::create_dir(env.path("credentials")).unwrap();
    let right = key(FIRST, KEY_SECRET);
    fs::write(
        env.path("credentials/uploader"),
        "ExampleSecretOfUploader000001",
    )
    .unwrap();
    fs::set_permissions(
        env.path("credentials/uploader"),
        fs::Permissions::from_mode(0o400),
    )
    .unwrap();
    check(&env, Some("credentials"), "is not a key file");
    fs::remove_file(env.path("credentials/uploader")).unwrap();
    let place = env.path("credentials");
    env.write("there.key", &right, 0o400);
    fs::rename(env.path("there.key"), place.join("uploader")).unwrap();
    for name in ["", "..", "a/b", "../uploader.key"] {
        env.write_config(&with_key(&format!("access_key_credential = \"{name}\"")));
        check(&env, Some("credentials"), "is not the name of a credential");
    }
    env.write_config(&with_key("access_key_credential = \"uploader\""));
    let mut command = env.daemon_command();
    command.env("CREDENTIALS_DIRECTORY", &place);
    env.start_daemon_with(command);
    let put = env.oss_with_profile("oss-upload", &["put", "examplebucket", "a"], "x");
    assert!(put.is_ok(), "{put:?}");
    // The kit would find the secret in this file, whose name it does not expect.
    fs::remove_file(place.join("uploader")).unwrap();
}

#[test]
fn environment_variables_are_read_as_a_key() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(&with_key(
        "access_key_env = { id = \"THE_ID\", secret = \"THE_SECRET\" }",
    ));
    let check = |id: Option<&str>, secret: Option<&str>, words: &str| {
        let mut command = env.daemon_command();
        command.envs(id.map(|it| ("THE_ID", it)));
        command.envs(secret.map(|it| ("THE_SECRET", it)));
        let output = command.arg("--check").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        e2e::assert_no_secrets("stsd --check", &output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(words), "{words}: {said}");
        assert!(said.contains("source.other.access_key_env"), "{said}");
    };
    check(None, Some(KEY_SECRET), "the variable THE_ID is not set");
    check(Some(FIRST), None, "the variable THE_SECRET is not set");
    check(Some(FIRST), Some(""), "the variable THE_SECRET is not set");
    check(Some("EmulatedSecret/+="), Some(FIRST), "exchanged");
    let mut command = env.daemon_command();
    command.env("THE_ID", FIRST).env("THE_SECRET", KEY_SECRET);
    env.start_daemon_with(command);
    let put = env.oss_with_profile("oss-upload", &["put", "examplebucket", "a"], "x");
    assert!(put.is_ok(), "{put:?}");
}

#[test]
fn invalid_key_file_is_refused_at_load() {
    let env = TestEnv::without_daemon(&[]);
    let path = env.path("other.key");
    let mut errors = OutputLog::new(&env);
    let file = with_key("access_key_file = \"other.key\"");
    let mut check = |title: &str, config: &str| {
        env.write_config(config);
        errors.add(title, &env.check_error());
    };
    check("no file", &file);
    let good = key(FIRST, KEY_SECRET);
    for (title, text) in [
        ("an empty file", ""),
        ("half a file", &good[..good.len() / 2]),
        ("a secret alone", KEY_SECRET),
        ("an empty id", &key("", KEY_SECRET)),
        ("an empty secret", &key(FIRST, "")),
        ("an id with a space", &key("a b", KEY_SECRET)),
        ("an unknown key", &format!("{good}more = 1\n")),
        ("a section", &format!("[default]\n{good}")),
        (
            "an id that is a number",
            "access_key_id = 7\naccess_key_secret = \"ExampleSecretOfNobody\"\n",
        ),
    ] {
        env.write("other.key", text, 0o600);
        check(title, &file);
    }
    fs::write(&path, [0xff, 0xfe, 0]).unwrap();
    check("bytes that are no UTF-8", &file);
    env.write("other.key", &"#".repeat(20_000), 0o600);
    check("20,000 bytes", &file);
    for mode in [0o644, 0o640, 0o602, 0o620] {
        env.write("other.key", &good, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        check(&format!("mode {mode:04o}"), &file);
    }
    fs::remove_file(&path).unwrap();
    mkfifo(&path, Mode::S_IRUSR).unwrap();
    check("a FIFO", &file);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    check("a directory", &file);
    fs::remove_dir(&path).unwrap();
    // Lines may end with CRLF.
    env.write("other.key", &good.replace('\n', "\r\n"), 0o400);
    env.write_config(&file);
    let output = env.daemon_command().arg("--check").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let both = "access_key_file = \"other.key\"\naccess_key_env = { id = \"A\", secret = \"B\" }";
    for line in [
        "",
        both,
        "access_key_file = \"other.key\"\ntoken_file = \"t\"",
        "access_key_file = 7",
        "access_key_env = { id = \"A\" }",
        "access_key_env = \"A\"",
    ] {
        let title = if line.is_empty() {
            "no key at all"
        } else {
            line
        };
        check(title, &with_key(line));
    }
    assert_output!("invalid_key_file", errors.text());
}
