//! The secret store of an imported key: a file, a systemd credential or the keyring. Another key
//! there is never replaced.

use std::{fs, path::Path};

use e2e::{Keyring, run};
use serde_json::json;

use super::{
    OURS, assert_tidy, home_with,
    profiles::{key, profile, role},
};

#[test]
fn import_replaces_no_foreign_key_file() {
    let two = json!([
        profile("a", "RamRoleArn", &[key("LTAIA"), role()]),
        profile("b", "RamRoleArn", &[key("LTAIB"), role()]),
    ]);
    let check = |text: &str, mode: u32, taken: bool| {
        let home = home_with(&two);
        home.put(".config/stsd/b-user.key", text, mode);
        let before = home.files();
        let said = home.import(&["--write"]);
        if taken {
            said.assert_success();
            return;
        }
        said.assert_failure("b-user.key is there already and holds something else");
        assert_eq!(home.files(), before);
    };
    check("another's", 0o600, false);
    let ours = "access_key_id = \"LTAIB\"\naccess_key_secret = \"ExampleSecretOfLTAIB\"\n";
    check(ours, 0o644, false);
    // An interrupted import leaves this state.
    check(ours, 0o600, true);
}

/// A stand-in for systemd's program, which would create a key of the machine.
const SYSTEMD_CREDS: &str = "#!/bin/sh
[ \"$1\" = --version ] && { echo 'systemd 258 (258.1)'; exit 0; }
echo \"$@\" > \"$HOME/arguments\"
tr 'a-z' 'n-za-m'
";

#[test]
fn import_stores_the_key_as_an_encrypted_systemd_credential() {
    let home = home_with(&json!([profile(
        "a",
        "RamRoleArn",
        &[key("LTAIA"), role()]
    )]));
    home.put("bin/systemd-creds", SYSTEMD_CREDS, 0o755);
    let run = || {
        let mut command = home.command(&["import", "--keeper", "credential", "--write"]);
        let path = format!("{}:/usr/bin:/bin", home.file("bin").display());
        run({
            command.env("PATH", path);
            command
        })
    };
    let said = run().assert_success();
    let path = home.file(".config/stsd/a-user.cred");
    let line = format!(
        "[Service]\nLoadCredentialEncrypted=a-user:{}\n",
        path.display()
    );
    assert!(said.contains(&line), "{said}");
    assert!(home.text("arguments").contains("--name=a-user - -"));
    assert!(
        home.text(".config/stsd/a-user.cred")
            .contains("npprff_xrl_vq")
    );
    assert!(
        home.text(OURS)
            .contains("access_key_credential = \"a-user\"\n")
    );
    assert_tidy(&home);
    // An encrypted file cannot be compared, so it is never replaced.
    fs::remove_file(home.file(OURS)).unwrap();
    run().assert_failure("a-user.cred is there already; move it away first");
}

#[test]
fn failed_systemd_encryption_leaves_no_file() {
    let home = home_with(&json!([profile(
        "a",
        "RamRoleArn",
        &[key("LTAIA"), role()]
    )]));
    let failing = "#!/bin/sh\necho 'no key of this machine' >&2\nexit 1\n";
    home.put("bin/systemd-creds", failing, 0o755);
    let before = home.files();
    let mut command = home.command(&["import", "--keeper", "credential", "--write"]);
    let path = format!("{}:/usr/bin:/bin", home.file("bin").display());
    command.env("PATH", path);
    run(command).assert_failure("systemd");
    assert_eq!(home.files(), before);
    assert!(!Path::new(&home.file(OURS)).exists());
}

#[test]
fn import_stores_the_key_in_the_keyring_and_replaces_no_other() {
    let Some(keyring) = Keyring::start() else {
        return;
    };
    let home = home_with(&json!([profile(
        "a",
        "RamRoleArn",
        &[key("LTAIA"), role()]
    )]));
    let run = || {
        let mut command = home.command(&["import", "--keeper", "keyring", "--write"]);
        command.env("DBUS_SESSION_BUS_ADDRESS", keyring.address());
        run(command)
    };
    let theirs = home.files();
    keyring.store("a-user", "another's");
    run().assert_failure("the keyring has something else under the key a-user of stsd already");
    assert_eq!(keyring.text("a-user").as_deref(), Some("another's"));
    assert_eq!(home.files(), theirs);

    // An interrupted import leaves this state.
    let ours = "access_key_id = \"LTAIA\"\naccess_key_secret = \"ExampleSecretOfLTAIA\"\n";
    keyring.store("a-user", ours);
    run().assert_success();
    fs::remove_file(home.file(OURS)).unwrap();
    run().assert_success();
    assert_eq!(keyring.text("a-user").as_deref(), Some(ours));
    assert!(
        home.text(OURS)
            .contains("access_key_keyring = \"a-user\"\n")
    );
    assert_tidy(&home);
}

#[test]
fn import_without_a_keyring_fails_and_writes_nothing() {
    let home = home_with(&json!([profile(
        "a",
        "RamRoleArn",
        &[key("LTAIA"), role()]
    )]));
    let before = home.files();
    home.import(&["--keeper", "keyring", "--write"])
        .assert_failure("the keyring has not taken the key a-user (run it in a user's session");
    assert_eq!(home.files(), before);
}
