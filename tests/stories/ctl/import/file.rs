//! The file of an import: which one is read, and the errors of an invalid one.

use std::{fs, os::unix::fs::PermissionsExt as _};

use e2e::Home;
use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::json;

use super::{
    CLI, OURS, home_with,
    profiles::{key, profile, role},
};

#[test]
fn unreadable_import_file_is_named_and_does_not_block() {
    let home = Home::new();
    home.import(&[])
        .assert_failure("there is no file to import; looked for: ");
    home.import(&["nowhere.json"])
        .assert_failure("nowhere.json: cannot be read");
    mkfifo(&home.file("fifo"), Mode::S_IRWXU).unwrap();
    fs::create_dir(home.file("directory")).unwrap();
    home.put("large", vec![b' '; 1024 * 1024 + 1], 0o600);
    home.put("empty", "", 0o600);
    home.put(
        "cut",
        "{\"profiles\":[{\"access_key_secret\":\"ExampleSecretOfCut",
        0o600,
    );
    home.put(
        "bytes",
        b"[a]\naccess_key_secret=ExampleSecretOf\xff",
        0o600,
    );
    home.put("words", "ExampleSecretOfWords and more", 0o600);
    home.put(
        "token",
        "{\"profiles\":[{\"name\":\"t\",\"mode\":\"StsToken\"}]}",
        0o600,
    );
    for (name, problem) in [
        ("fifo", "not a regular file"),
        ("directory", "not a regular file"),
        ("large", "larger than 1 MiB"),
        ("empty", "it is empty"),
        ("cut", "ends in the middle"),
        ("bytes", "not UTF-8, at line 2"),
        ("words", "line 1 is no section"),
        ("token", "there is nothing to take"),
    ] {
        let path = home.file(name);
        let said = home.import(&[path.to_str().unwrap(), "--write"]);
        let all = said.assert_failure(problem);
        assert!(all.contains(path.to_str().unwrap()), "{all}");
    }
}

#[test]
fn import_warns_about_a_file_that_others_may_read() {
    let home = home_with(&json!([profile(
        "a",
        "RamRoleArn",
        &[key("LTAIA"), role()]
    )]));
    let warning = "others on this machine may read the secrets";
    assert!(!home.import(&[]).assert_success().contains(warning));
    for mode in [0o640, 0o604, 0o644] {
        fs::set_permissions(home.file(CLI), fs::Permissions::from_mode(mode)).unwrap();
        let said = home.import(&[]).assert_success();
        assert!(
            said.contains(&format!("has mode {mode:04o}: {warning}")),
            "{said}"
        );
    }
}

#[test]
fn sdk_credentials_file_is_imported_where_no_cli_file_exists() {
    let home = Home::new();
    let ini = "[default]\r\ntype = access_key\r\naccess_key_id = LTAIINI\r\n\
        access_key_secret = ExampleSecretOfIni\r\n";
    home.put(".alibabacloud/credentials", ini, 0o600);
    let said = home.import(&["--write"]).assert_success();
    assert!(
        said.contains("default (AK): taken: [source.default]"),
        "{said}"
    );
    assert!(said.contains("there is no profile in it yet"), "{said}");
    assert!(!said.contains("stsctl reload"), "{said}");
    // A key alone is no profile; the import adds lines for one, to be filled in.
    let text = home.text(OURS);
    assert!(text.contains("# [profile.NAME]\n"), "{text}");
    assert!(home.file(".config/stsd/default.key").exists());
    home.put(CLI, "{}", 0o600);
    home.import(&[])
        .assert_failure("config.json: it has no \"profiles\"");
}
