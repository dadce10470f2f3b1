//! Fragments: the files in `config.d` beside the configuration file.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{KEY_SECRET, TestEnv, UPLOAD, program};
use serde_json::Value;

/// Writes a fragment beside a configuration file.
fn put(env: &TestEnv, name: &str, text: &str) {
    let directory = env.path("config.d");
    if !directory.exists() {
        fs::create_dir(&directory).unwrap();
        mode(&directory, 0o700);
    }
    env.write(&format!("config.d/{name}"), text, 0o600);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns the profile of [`UPLOAD`] with another name.
fn named(name: &str) -> String {
    UPLOAD.replace("oss-upload]", &format!("{name}]"))
}

/// Returns the exit code and the JSON document of `stsd --check --json`.
fn checked(env: &TestEnv, config: PathBuf) -> (Option<i32>, Value) {
    let mut command = env.daemon_command();
    command.env("STSD_CONFIG", config);
    let output = command.args(["--check", "--json"]).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), report)
}

#[test]
fn fragments_and_the_main_file_are_one_configuration() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    // A source of its own, whose key file is beside the fragment.
    let key = format!(
        "access_key_id = \"LTAIEXAMPLEUPLOADER01\"\naccess_key_secret = \"{KEY_SECRET}\"\n"
    );
    let source = "[source.team]\ntype = \"access-key\"\naccess_key_file = \"team.key\"\n";
    let profile = named("team").replace("\"uploader\"", "\"team\"");
    put(&env, "10-team.toml", &format!("{source}{profile}"));
    env.write("config.d/team.key", &key, 0o600);
    put(&env, "20-app.toml", &named("app"));
    for ignored in [".hidden.toml", "README", "30-old.toml.bak"] {
        put(&env, ignored, "this is not TOML");
    }
    env.start_daemon();
    for profile in ["oss-upload", "team", "app"] {
        assert!(env.document(&[profile])["access_key_id"].is_string());
    }
    assert!(env.daemon_log().contains("fragments=2"));
    let status = env.ctl(&["status"]);
    let status = String::from_utf8_lossy(&status.stdout).replace("\n  ", " ");
    assert!(status.contains("config.toml and 2 fragments"), "{status}");

    // A reload reads the directory again.
    fs::remove_file(env.path("config.d/20-app.toml")).unwrap();
    put(&env, "05-late.toml", &named("late"));
    assert!(env.ctl(&["reload"]).status.success());
    assert!(env.document(&["late"])["access_key_id"].is_string());
    assert!(!env.shim(&["app"]).status.success());
}

#[test]
fn name_in_two_files_is_an_error_that_names_both() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let check = |text: &str, key: &str, line: usize, first: &str| {
        put(&env, "10-team.toml", text);
        let said = env.check_error();
        let place = format!("config.d/10-team.toml:{line}: {key}: it is there twice: in ");
        assert!(said.contains(&place), "{place}: {said}");
        assert!(said.contains(first), "{first}: {said}");
        assert!(said.contains("config-duplicate-key"), "{said}");
    };
    let endpoint = env.endpoint();
    check(&format!("\n{endpoint}"), "endpoint", 2, "config.toml:1 ");
    check(UPLOAD, "profile.oss-upload", 1, "config.toml:5 ");
    let source = "[source.uploader]\ntype = \"ecs-role\"\n";
    check(source, "source.uploader", 1, "config.toml:2 ");
    // A table is in one file as a whole.
    let file = "[profile.oss-upload.file]\npath = \"out.json\"\n";
    check(file, "profile.oss-upload", 1, "config.toml:5 ");
    put(&env, "05-first.toml", "# a comment\n[http]\n");
    check("[http]\n", "http", 1, "config.d/05-first.toml:2 ");
}

#[test]
fn mistake_in_a_fragment_has_its_file_line_and_key() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config(&format!("{UPLOAD}colour = 1\n"));
    put(
        &env,
        "10-a.toml",
        &format!("# a\n{}duration = 7\n", named("a")),
    );
    let b = named("b").replace("\"uploader\"", "\"uplaoder\"");
    put(&env, "20-b.toml", &format!("{b}keep_warm = tru\n"));
    let c = format!("{}policy_file = \"none.json\"\n", named("c"));
    put(&env, "30-c.toml", &c);
    let (code, report) = checked(&env, env.path("config.toml"));
    assert_eq!((code, &report["valid"]), (Some(1), &Value::from(false)));
    let errors = report["errors"].as_array().unwrap();
    let place = |it: &Value| {
        let file = Path::new(it["file"].as_str().unwrap()).file_name();
        let file = file.unwrap().to_str().unwrap().to_owned();
        (file, it["line"].as_u64().unwrap(), it["key"].clone())
    };
    let found: Vec<_> = errors.iter().map(place).collect();
    let expected = [
        ("config.toml", 8, "profile.oss-upload.colour"),
        ("10-a.toml", 5, "profile.a.duration"),
        ("20-b.toml", 4, "profile.b.keep_warm"),
        ("30-c.toml", 4, "profile.c.policy_file"),
    ];
    let expected = expected.map(|(file, line, key)| (file.to_owned(), line, key.into()));
    assert_eq!(found, expected, "{report:#}");
    let problem = errors[3]["problem"].as_str().unwrap();
    assert!(problem.contains("config.d/none.json"), "{problem}");
}

#[test]
fn fragments_belong_to_the_file_of_their_name() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    put(&env, "10-team.toml", &named("team"));
    fs::rename(env.path("config.toml"), env.path("other.toml")).unwrap();
    let (code, report) = checked(&env, env.path("other.toml"));
    assert_eq!(
        (code, report["fragments"].as_array().unwrap().len()),
        (Some(0), 0)
    );
    // Fragments alone are a configuration; a mistake is that of the whole.
    let (code, report) = checked(&env, env.path("config.toml"));
    assert_eq!(code, Some(1));
    let problem = &report["errors"][0];
    assert!(
        problem["problem"]
            .as_str()
            .unwrap()
            .contains("no source or profile"),
        "{report}"
    );
    let source = "[source.uploader]\ntype = \"ecs-role\"\n";
    put(&env, "00-base.toml", &format!("{}{source}", env.endpoint()));
    let (code, report) = checked(&env, env.path("config.toml"));
    assert_eq!(
        (code, report["fragments"].as_array().unwrap().len()),
        (Some(0), 2)
    );
    fs::remove_dir_all(env.path("config.d")).unwrap();
    let (code, report) = checked(&env, env.path("config.toml"));
    assert_eq!(
        (code, &report["errors"][0]["code"]),
        (Some(1), &"config-unreadable".into())
    );
}

#[test]
fn directory_and_fragments_follow_the_rule_of_trust() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    put(&env, "10-team.toml", &named("team"));
    let refused = |path: &str, loose: u32, good: u32| {
        mode(&env.path(path), loose);
        let said = env.check_error();
        assert!(
            said.contains(path) && said.contains("untrusted-file"),
            "{said}"
        );
        mode(&env.path(path), good);
    };
    refused("config.d", 0o777, 0o700);
    refused("config.d/10-team.toml", 0o666, 0o600);
    // No other user can add a file, also while there is none.
    fs::remove_file(env.path("config.d/10-team.toml")).unwrap();
    refused("config.d", 0o777, 0o700);
    let (code, _) = checked(&env, env.path("config.toml"));
    assert_eq!(code, Some(0));
}

#[test]
fn doctor_reads_the_keys_of_fragments() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let source = "[source.team]\ntype = \"access-key\"\naccess_key_file = \"team.key\"\n";
    put(&env, "10-team.toml", source);
    env.write("config.d/team.key", "", 0o644);
    let mut doctor = env.ctl_command(&["doctor"]);
    doctor.env("STSD_CONFIG", env.path("config.toml"));
    let output = doctor.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
    assert!(said.contains("config.d/team.key"), "{said}");
}

#[test]
fn import_refuses_a_name_of_a_fragment() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    put(&env, "10-team.toml", &named("work"));
    // Outside of the directory whose files the kit searches for secrets.
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".aliyun")).unwrap();
    let key = "\"access_key_id\": \"LTAIWORK\", \"access_key_secret\": \"ExampleSecretOfWork\"";
    let role = "\"ram_role_arn\": \"acs:ram::100000000000001:role/r\"";
    let profile = format!("{{\"name\": \"work\", \"mode\": \"RamRoleArn\", {key}, {role}}}");
    let text = format!("{{\"current\": \"work\", \"profiles\": [{profile}]}}");
    fs::write(home.path().join(".aliyun/config.json"), text).unwrap();
    let before = fs::read_to_string(env.path("config.toml")).unwrap();
    let mut import = Command::new(program("stsctl"));
    import.args(["import", "--write"]).env("HOME", home.path());
    let output = import.env("STSD_CONFIG", env.path("config.toml")).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stdout);
    let place = format!("{}:1", env.path("config.d/10-team.toml").display());
    assert!(
        said.contains("work (RamRoleArn): not taken: it is there twice: in "),
        "{said}"
    );
    assert!(said.contains(&place), "{place}: {said}");
    assert!(!said.contains(".tried-"), "{said}");
    let after = fs::read_to_string(env.path("config.toml")).unwrap();
    assert_eq!(before, after);
}
