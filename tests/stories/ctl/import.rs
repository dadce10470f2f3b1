//! `stsctl import`: each profile of aliyun-cli and the SDKs is imported or named with a reason, no
//! secret is shown, and the source file is unchanged.

mod file;
mod profiles;
mod secret_store;
mod verdict;

use std::{fs, path::PathBuf};

use e2e::{FileState, Home, KEY_SECRET, MARKERS, TestEnv, assert_output, run};
use serde_json::{Value, json};

use self::profiles::{every_mode, key, profile, role};

/// aliyun-cli's file, below the home.
const CLI: &str = ".aliyun/config.json";

/// The configuration of stsd, below the home.
const OURS: &str = ".config/stsd/config.toml";

/// Returns a home with a file of aliyun-cli.
fn home_with(profiles: &Value) -> Home {
    let home = Home::new();
    let text = json!({"current": "default", "profiles": profiles, "meta_path": ""});
    home.put(CLI, format!("{text:#}\n"), 0o600);
    home
}

/// Asserts that secrets are in aliyun-cli's file and in the files for keys only.
fn assert_tidy(home: &Home) {
    for (path, FileState { bytes, .. }) in home.files() {
        let is_key_file = path
            .extension()
            .is_some_and(|it| it == "key" || it == "uri");
        let text = String::from_utf8_lossy(&bytes);
        // stsctl cannot tell which arguments of a command are secrets; the configuration needs them.
        let text: String = text
            .lines()
            .filter(|it| !it.starts_with("command = "))
            .collect();
        let has_secret = MARKERS.iter().any(|it| text.contains(it));
        let is_theirs = path == home.file(CLI);
        assert!(
            !has_secret || is_key_file || is_theirs,
            "{} has a secret",
            path.display()
        );
    }
}

fn home_of_all_modes() -> Home {
    let home = Home::new();
    let text = json!({"current": "ak", "profiles": every_mode(&home)});
    home.put(CLI, text.to_string(), 0o600);
    home
}

#[test]
fn import_without_write_shows_the_plan_and_changes_nothing() {
    let home = home_of_all_modes();
    let before = home.files();
    let said = home.import(&[]).assert_success();
    assert_eq!(home.files(), before);
    assert!(!home.file(".config").exists());
    let home_path = home.path().display().to_string();
    assert_output!("import_plan", said.replace(&home_path, "[HOME]"));
}

#[test]
fn import_names_the_units_of_a_running_systemd_as_the_next_step() {
    let home = home_of_all_modes();
    let told = home.file("told");
    let script = |exit_code: u8| {
        let text = format!(
            "#!/bin/sh\necho \"$@\" >>{}\nexit {exit_code}\n",
            told.display()
        );
        home.put("bin/systemctl", text, 0o755);
    };
    let path = format!("{}:/usr/bin:/bin", home.file("bin").display());
    let import = || {
        let mut command = home.command(&["import", "--write"]);
        command.env("PATH", &path);
        run(command).assert_success()
    };
    script(0);
    let said = import();
    let start = "\nStart the daemon:    systemctl --user enable --now stsd.socket\n";
    assert!(said.contains(start), "{said}");
    assert_eq!(home.text("told"), "--user cat stsd.socket\n");
    // Without units, or without a manager of the user.
    fs::remove_file(home.file(OURS)).unwrap();
    script(1);
    let said = import();
    assert!(!said.contains("systemctl"), "{said}");
    assert!(said.contains("\nStart the daemon:    "), "{said}");
}

#[test]
fn import_write_is_idempotent_and_keeps_the_source_file() {
    let home = home_of_all_modes();
    let theirs = home.files();
    let said = home.import(&["--write"]).assert_success();
    assert!(said.contains("config.toml: written\n"), "{said}");
    for next in [
        "\nStart the daemon:    ",
        "\nRun a program:       stsctl exec role -- COMMAND\n",
        "\nLook at the daemon:  stsctl status\n",
    ] {
        assert!(said.contains(next), "{next}: {said}");
    }
    assert!(home.text(OURS).starts_with("[http]\n"));
    let after = home.files();
    for (path, state) in &theirs {
        assert_eq!(after.get(path), Some(state), "{}", path.display());
    }
    assert_tidy(&home);
    let names = |it: &PathBuf| {
        let name = it.strip_prefix(home.file(".config/stsd")).ok()?;
        Some(name.to_str()?.to_owned())
    };
    let new: Vec<_> = after.keys().filter_map(names).collect();
    assert_eq!(
        new,
        ["ak.key", "config.toml", "role-user.key", "uri-uri.uri"]
    );
    for name in &new {
        assert_eq!(home.mode(&format!(".config/stsd/{name}")), 0o600, "{name}");
    }
    assert_eq!(home.mode(".config/stsd"), 0o700);
    assert_eq!(
        home.text(".config/stsd/role-user.key"),
        "access_key_id = \"LTAIROLE\"\naccess_key_secret = \"ExampleSecretOfLTAIROLE\"\n"
    );
    let uri = home.text(".config/stsd/uri-uri.uri");
    assert_eq!(uri, "https://issuer.example/ExampleSecretOfUri\n");

    let said = home.import(&["--write"]).assert_success();
    assert!(
        said.contains("has it all already; nothing is changed"),
        "{said}"
    );
    assert_eq!(home.files(), after);
}

#[test]
fn imported_profile_serves_credentials() {
    let mut env = TestEnv::without_daemon(&[]);
    let key = json!({"access_key_id": "LTAIEXAMPLEUPLOADER01", "access_key_secret": KEY_SECRET});
    let home = home_with(&json!([profile("up load", "RamRoleArn", &[key, role()])]));
    env.write("config.toml", &env.endpoint(), 0o600);
    let mut command = home.command(&["import", "--write"]);
    command.env("STSD_CONFIG", env.path("config.toml"));
    let said = run(command).assert_success();
    assert!(said.contains("its name is up-load with us"), "{said}");
    assert!(said.contains("the configuration has no [http]"), "{said}");
    assert!(env.path("up-load-user.key").exists());
    env.start_daemon();
    assert!(env.document(&["up-load"])["access_key_id"].is_string());
}

#[test]
fn import_keeps_the_existing_configuration_byte_for_byte() {
    let home = home_with(&json!([
        profile("prod", "RamRoleArn", &[key("LTAIPROD"), role()]),
        profile("mine", "RamRoleArn", &[key("LTAIMINE"), role()]),
    ]));
    let mine = "# mine\nregion = \"cn-shanghai\"   # so\n\n[source.mine]\ntype = \"access-key\"\n\
        access_key_file = \"mine.key\"\n[profile.mine]\nsource = \"mine\"\n\
        role_arn = \"acs:ram::1:role/r\" # no end of a line";
    home.put(OURS, mine, 0o640);
    home.put(
        ".config/stsd/mine.key",
        "access_key_id = \"LTAIX\"\naccess_key_secret = \"x\"\n",
        0o600,
    );
    let said = home.import(&["--write"]).assert_success();
    let refused = "mine (RamRoleArn): not taken: [profile.mine] exists with other \
        values; it stays as it is";
    assert!(said.contains(refused), "{said}");
    let text = home.text(OURS);
    assert!(
        text.starts_with(&format!("{mine}\n\n# Taken from ")),
        "{text}"
    );
    assert!(text.contains("\n[profile.prod]\n"), "{text}");
    assert_eq!(home.mode(OURS), 0o640);
    assert!(!home.file(".config/stsd/mine-user.key").exists());
}

#[test]
fn import_writes_nothing_that_stsd_would_refuse() {
    let home = home_with(&json!([profile(
        "prod",
        "RamRoleArn",
        &[key("LTAIPROD"), role()]
    )]));
    // The file is valid; but the imported key would have the path of a profile's export.
    let mine = "[source.a]\ntype = \"access-key\"\naccess_key_file = \"a.key\"\n\
        [profile.a]\nsource = \"a\"\nrole_arn = \"acs:ram::1:role/r\"\n\
        file = { path = \"prod-user.key\", format = \"env\" }\n";
    home.put(OURS, mine, 0o600);
    home.put(
        ".config/stsd/a.key",
        "access_key_id = \"LTAIX\"\naccess_key_secret = \"x\"\n",
        0o600,
    );
    let before = home.files();
    let said = home
        .import(&["--write"])
        .assert_failure("stsd would refuse the configuration");
    assert!(said.contains("/config.toml:"), "{said}");
    assert!(!said.contains(".tried-"), "{said}");
    assert_eq!(home.files(), before);
}

#[test]
fn import_into_an_unwritable_place_writes_nothing() {
    let home = home_with(&json!([profile(
        "a",
        "RamRoleArn",
        &[key("LTAIA"), role()]
    )]));
    home.put(".config", "a file where a directory should be", 0o600);
    let before = home.files();
    home.import(&["--write"])
        .assert_failure("config.toml: Not a directory");
    home.import(&[])
        .assert_failure("config.toml: Not a directory");
    let mut command = home.command(&["import", "--write"]);
    command.env("STSD_CONFIG", "/proc/stsd/config.toml");
    run(command).assert_failure("/proc/stsd cannot be made");
    let mut command = home.command(&["import", "--write"]);
    command.env("STSD_CONFIG", home.path());
    run(command).assert_failure("this is no file");
    assert_eq!(home.files(), before);

    let broken = "[source]\n=ExampleSecretOfOurs\n";
    home.put("broken.toml", broken, 0o600);
    let mut command = home.command(&["import", "--write"]);
    command.env("STSD_CONFIG", home.file("broken.toml"));
    run(command).assert_failure("broken.toml:2 is not TOML");
    let inline = "profile = {}\n";
    home.put("inline.toml", inline, 0o600);
    let mut command = home.command(&["import", "--write"]);
    command.env("STSD_CONFIG", home.file("inline.toml"));
    run(command).assert_failure("nothing can be added at its end");
    assert_eq!(home.text("inline.toml"), inline);
}

#[test]
fn import_skips_a_refused_profile_and_takes_the_others() {
    let oidc = json!({
        "oidc_provider_arn": "acs:ram::100000000000001:oidc-provider/demo",
        "oidc_token_file": "/nowhere/token.jwt"
    });
    let oidc = profile("pod", "OIDC", &[oidc, role()]);
    let other = profile("prod", "RamRoleArn", &[key("LTAIPROD"), role()]);
    let home = home_with(&json!([oidc, other]));
    // The plan and the import print the same.
    let shown = home.import(&[]).assert_success();
    assert!(!home.file(".config").exists());
    let said = home.import(&["--write"]).assert_success();
    for said in [shown, said] {
        assert!(said.contains("pod (OIDC): not taken: "), "{said}");
        assert!(said.contains("/nowhere/token.jwt"), "{said}");
        assert!(!said.contains("[profile.pod]"), "{said}");
    }
    let text = home.text(OURS);
    let (there, left) = (text.contains("[profile.prod]"), !text.contains("pod"));
    assert!(there && left, "{text}");
    assert!(home.file(".config/stsd/prod-user.key").exists());

    let home = home_with(&json!([oidc]));
    home.import(&["--write"])
        .assert_failure("there is nothing to take");
    assert!(!home.file(OURS).exists());
}

#[test]
fn failed_import_leaves_no_directory() {
    let home = home_with(&json!([profile("a", "ChainableRamRoleArn", &[])]));
    home.import(&["--write"]).assert_failure("nothing to take");
    assert!(!home.file(".config").exists());
    // A directory that existed before stays.
    fs::create_dir(home.file(".config")).unwrap();
    home.import(&["--write"]).assert_failure("nothing to take");
    assert!(home.file(".config").exists() && !home.file(".config/stsd").exists());
}

#[test]
fn import_keeps_the_mode_and_warns_about_a_readable_command() {
    let before = "region = \"cn-hangzhou\"\n";
    let keyed = profile("a", "RamRoleArn", &[key("LTAIA"), role()]);
    let home = home_with(&json!([keyed]));
    home.put(OURS, before, 0o644);
    let said = home.import(&["--write"]).assert_success();
    assert_eq!(home.mode(OURS), 0o644);
    assert!(!said.contains("Others may read it"), "{said}");

    let command = json!({"process_command": "/usr/bin/env --flag"});
    let home = home_with(&json!([keyed, profile("b", "External", &[command])]));
    home.put(OURS, before, 0o644);
    let said = home.import(&["--write"]).assert_success();
    // A system daemon reads the file as another user.
    assert_eq!(home.mode(OURS), 0o644);
    assert!(said.contains("Others may read it"), "{said}");
}

/// The plan is checked with the URI that `--write` stores, and by the daemon's own check.
#[test]
fn import_plan_and_write_have_one_verdict_on_a_uri() {
    let uri =
        |name: &str, uri: &str| profile(name, "CredentialsURI", &[json!({"credentials_uri": uri})]);
    let metadata = "http://100.100.100.200/latest/meta-data/ram/security-credentials/worker";
    let home = home_with(&json!([
        uri("local", "http://localhost:7002/ExampleSecretOfUri"),
        uri("ecs", metadata),
        uri("user", "http://user:ExampleSecretOfUri@127.0.0.1:7002/x"),
        uri(
            "long",
            &format!("https://issuer.example/{}", "x".repeat(20_000))
        ),
    ]));
    let shown = home.import(&[]).assert_success();
    let written = home.import(&["--write"]).assert_success();
    let verdicts = |said: &str| -> Vec<String> {
        let lines = said.lines().filter(|it| it.contains(" (CredentialsURI): "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(verdicts(&shown), verdicts(&written));
    for (name, verdict) in [
        ("local", "taken: [source.local-uri] [profile.local]"),
        ("ecs", "taken: [source.ecs-instance] [profile.ecs]"),
        ("user", "not taken: its credentials_uri has a user"),
        ("long", "not taken: "),
    ] {
        let line = format!("{name} (CredentialsURI): {verdict}");
        assert!(shown.contains(&line), "{line}: {shown}");
    }
    assert!(!written.contains("stsd --check refuses"), "{written}");
    assert_eq!(
        home.text(".config/stsd/local-uri.uri"),
        "http://127.0.0.1:7002/ExampleSecretOfUri\n"
    );
    assert!(home.text(OURS).contains("role_name = \"worker\""));
    assert_tidy(&home);
}

#[test]
fn profile_without_a_mode_is_imported_as_aliyun_cli_reads_it() {
    let mut plain = profile("default", "", &[key("LTAIPLAIN"), role()]);
    plain.as_object_mut().unwrap().remove("mode");
    let home = home_with(&json!([plain]));
    let said = home.import(&["--write"]).assert_success();
    for words in [
        "default (RamRoleArn): taken: [source.default-user] [profile.default]",
        "it has no mode: by its keys, aliyun-cli reads it as RamRoleArn",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert!(home.text(OURS).contains("[profile.default]"));
}
