//! `stsctl setup --check`: the faults of a tool and their place.

use std::fs;

use e2e::{Home, RunOutput, TestEnv, UPLOAD, program, run};
use nix::sys::signal::Signal;

#[test]
fn setup_check_names_the_fault_and_its_place() {
    let mut env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    for tool in ["aliyun-cli", "aws", "rclone", "ossutil1"] {
        home.setup_write(tool);
    }
    let check = |tool: &str, variable: (&str, &str), code: i32, says: &str| {
        let mut command = home.command(&["setup", tool, "oss-upload", "--check"]);
        // An aws-cli elsewhere would be asked for its version each time.
        command.env("PATH", "/usr/bin:/bin");
        command.env(variable.0, variable.1);
        let RunOutput {
            code: found,
            stdout: said,
            ..
        } = run(command);
        assert_eq!(found, Some(code), "{tool} {variable:?}: {said}");
        assert!(said.contains(says), "{tool} {variable:?}: {said}");
    };
    let none = ("NOTHING", "");
    for tool in [
        "duckdb",
        "oss2",
        "polars",
        "terraform",
        "ossfs",
        "ossfs2",
        "ossutil2",
    ] {
        check(tool, none, 0, "ok ");
    }
    check(
        "aliyun-cli",
        ("ALIBABA_CLOUD_IGNORE_PROFILE", "TRUE"),
        1,
        "fault    environment",
    );
    check(
        "aliyun-cli",
        ("ALIBABA_CLOUD_IGNORE_PROFILE", "true"),
        0,
        "ok ",
    );
    check(
        "aliyun-cli",
        ("ALIBABA_CLOUD_DISABLE_EXTERNAL_PROCESS", "1"),
        1,
        "DISABLE_EXTERNAL",
    );
    check(
        "aws",
        ("AWS_ACCESS_KEY_ID", "AKIAMINE"),
        0,
        "warning  environment",
    );
    check(
        "credentials-python",
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        1,
        "NO_PROXY",
    );
    home.put(
        ".aws/credentials",
        "[oss-upload]\naws_access_key_id = AKIAMINE\n",
        0o600,
    );
    check("aws", none, 1, "which win");
    fs::remove_file(home.file(".aws/credentials")).unwrap();

    let text = home.text(".aws/config");
    let style = "    addressing_style = virtual\n";
    assert!(text.contains(style));
    for to in ["    a = b\n", "    addressing_style = path\n"] {
        home.put(".aws/config", text.replace(style, to), 0o600);
        check("aws", none, 1, "addressing_style");
    }
    home.put(".aws/config", text.replace(style, "    a = b\n"), 0o600);
    home.setup_write("aws");
    check("aws", none, 0, "ok       command");
    home.put(".aws/config", &text, 0o600);
    let text = home.text(".config/rclone/rclone.conf");
    for (from, to) in [
        ("Alibaba", "Minio"),
        (
            "endpoint = oss-cn-hongkong.aliyuncs.com",
            "endpoint = minio.example",
        ),
    ] {
        assert!(text.contains(from));
        home.put(".config/rclone/rclone.conf", text.replace(from, to), 0o600);
        check("rclone", none, 1, "another provider or endpoint");
    }
    let line = "no_check_bucket = true\n";
    assert!(text.contains(line));
    for to in ["", "no_check_bucket = false\n"] {
        home.put(".config/rclone/rclone.conf", text.replace(line, to), 0o600);
        check("rclone", none, 1, "no_check_bucket = true");
        home.setup_write("rclone");
        check("rclone", none, 0, "ok       command");
    }
    home.put(".config/rclone/rclone.conf", &text, 0o600);

    // The command in the file is run unchanged.
    let text = home.text(".aws/config");
    let mine = env.path("mine");
    for (script, says) in [
        ("echo oops >&2; exit 3", "oops"),
        ("echo '{}'", "no \"AccessKeyId\""),
        ("echo not JSON", "not JSON"),
        ("exit 0", "not JSON"),
    ] {
        env.write("mine", &format!("#!/bin/sh\n{script}\n"), 0o700);
        let shim = program("sts-shim");
        let mine = text.replace(shim.to_str().unwrap(), mine.to_str().unwrap());
        home.put(".aws/config", &mine, 0o600);
        check("aws", none, 1, says);
        check("rclone", none, 1, says);
    }
    let noisy = format!(
        "#!/bin/sh\necho note >&2\nexec {}\n",
        env.shim_line("oss-upload")
    );
    env.write("mine", &noisy, 0o700);
    check("aws", none, 0, "ok       command");
    check("duckdb", none, 1, "besides");
    home.put(
        ".aws/config",
        text.replace(" oss-upload\n", " other\n"),
        0o600,
    );
    check("aws", none, 1, "not of the profile");
    assert!(!home.setup_check("aws").1.contains("has oss-upload"));
    home.put(".aws/config", &text, 0o600);

    assert!(env.ctl(&["url", "--rotate"]).status.success());
    check("ossutil1", none, 1, "not the profile's current URL");
    home.setup_write("ossutil1");
    check("ossutil1", none, 0, "ok       URL");

    env.daemon().signal(Signal::SIGTERM);
    env.wait_for_daemon_exit();
    for (tool, says) in [
        ("aws", "no daemon"),
        ("aliyun-cli", "no daemon"),
        ("ossutil1", "no daemon"),
        ("oss2", "no daemon"),
    ] {
        let (code, said) = home.setup_check(tool);
        assert_eq!(code, Some(1), "{tool}");
        assert!(
            said.contains("fault") && said.contains(says),
            "{tool}: {said}"
        );
    }
}

#[test]
fn setup_check_warns_about_a_short_session() {
    let env = TestEnv::with_http(&["--session-life", "300s"], UPLOAD);
    let home = Home::in_env(&env);
    home.setup_write("aws");
    for (tool, says) in [("aws", "less than 900 s"), ("ossfs", "less than 1200 s")] {
        let (code, said) = home.setup_check(tool);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("warning") && said.contains(says), "{said}");
    }
}

/// SDKs write the session into the profile that they find, and several at once break the file.
#[test]
fn setup_check_warns_about_a_session_in_the_file_of_aliyun_cli() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    home.setup_write("aliyun-cli");
    let text = home.text(".aliyun/config.json");
    let (code, said) = home.setup_check("aliyun-cli");
    assert!(code == Some(0) && !said.contains("warning"), "{said}");
    let keys =
        "\"access_key_id\": \"STS.a\", \"access_key_secret\": \"SECRET\", \"sts_token\": \"T\",";
    let written = text.replace("\"mode\"", &format!("{keys}\"mode\""));
    home.put(".aliyun/config.json", written, 0o600);
    let (code, said) = home.setup_check("aliyun-cli");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning  keys"), "{said}");
    assert!(
        said.contains("oss-upload") && said.contains("stsctl exec"),
        "{said}"
    );
}

/// Debian 12 has aws-cli 2.9.19.
#[test]
fn setup_check_warns_about_an_aws_cli_without_endpoint_url() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    home.setup_write("aws");
    let check = |version: &str| {
        let script = format!("#!/bin/sh\necho aws-cli/{version} Python/3.11.2 Linux/6.1\n");
        home.put("bin/aws", script, 0o700);
        let mut command = home.command(&["setup", "aws", "oss-upload", "--check"]);
        let directories = format!("{}:/usr/bin:/bin", home.file("bin").display());
        command.env("PATH", directories);
        let RunOutput { code, stdout, .. } = run(command);
        assert_eq!(code, Some(0), "{stdout}");
        stdout
    };
    let said = check("2.9.19");
    let option = "--endpoint-url https://s3.oss-cn-hongkong.aliyuncs.com";
    assert!(said.contains("warning") && said.contains(option), "{said}");
    assert!(!check("2.13.0").contains("warning"));
}

/// aliyun-cli reads the profile of "current" first, whatever profile a command names.
#[test]
fn current_profile_that_is_missing_is_a_fault_that_write_corrects() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    let name = ".aliyun/config.json";
    home.setup_write("aliyun-cli");
    let text = home.text(name);
    let current = "\"current\": \"oss-upload\"";
    assert!(text.contains(current), "{text}");
    let without = text.replace(&format!("\t{current},\n"), "");
    for broken in [text.replace(current, "\"current\": \"sso\""), without] {
        home.put(name, broken, 0o600);
        let (code, said) = home.setup_check("aliyun-cli");
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("which is no profile of it"), "{said}");
        home.setup_write("aliyun-cli");
        assert_eq!(home.setup_check("aliyun-cli").0, Some(0));
        assert!(home.text(name).contains(current), "{}", home.text(name));
    }
    // Another profile that exists stays the current one.
    let other = text.replace(current, "\"current\": \"mine\"");
    let other = other.replace("\"profiles\": [", "\"profiles\": [{\"name\": \"mine\"},");
    home.put(name, &other, 0o600);
    assert_eq!(home.setup_check("aliyun-cli").0, Some(0));
    home.setup_write("aliyun-cli");
    assert_eq!(home.text(name), other);
}

#[test]
fn setup_check_and_write_refuse_a_key_in_the_file_of_ossutil() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    home.put(
        ".ossutilconfig",
        "[Credentials]\naccessKeyID=LTAIMINE\n",
        0o600,
    );
    let (code, said) = home.setup_check("ossutil1");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("it has a key of its own"), "{said}");
    assert!(!said.contains("--write adds it"), "{said}");
}

/// aliyun-cli reads the whole file into texts and numbers, ignores the case of keys, and needs a region.
#[test]
fn setup_check_has_the_verdict_of_aliyun_cli_on_the_file() {
    const FILE: &str = ".aliyun/config.json";
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    home.setup_write("aliyun-cli");
    let text = home.text(FILE);
    let region = "\"region_id\": \"cn-hongkong\"";
    assert!(text.contains(region), "{text}");
    let with = |fields: &str| text.replace(region, &format!("{region}, {fields}"));
    let beside =
        |profile: &str| text.replace("\"profiles\": [", &format!("\"profiles\": [{profile},"));
    for (text, code, says) in [
        (text.clone(), 0, "ok "),
        (with("\"expired_seconds\": 900"), 0, "ok "),
        (
            with("\"expired_seconds\": \"900\""),
            1,
            "expired_seconds is no whole number in its profile oss-upload",
        ),
        (
            beside("{\"name\": 5}"),
            1,
            "name is no text in its profile number 1",
        ),
        (
            beside("{\"name\": \"a\", \"Retry_Count\": \"1\"}"),
            1,
            "Retry_Count is no whole number in its profile a",
        ),
        (with("\"REGION_ID\": \"\""), 1, "no region_id"),
        (
            text.replace("\"process_command\"", "\"Process_Command\""),
            0,
            "ok ",
        ),
    ] {
        home.put(FILE, &text, 0o600);
        let (found, said) = home.setup_check("aliyun-cli");
        assert_eq!(found, Some(code), "{text}: {said}");
        assert!(said.contains(says), "{text}: {said}");
    }
}

/// The keys of the file are read without their case, and keep their spelling.
#[test]
fn setup_write_keeps_a_current_profile_with_keys_in_another_case() {
    const FILE: &str = ".aliyun/config.json";
    let env = TestEnv::with_http(&[], UPLOAD);
    let home = Home::in_env(&env);
    let mine = "{\"Current\":\"d\",\"Profiles\":[{\"Name\":\"d\",\"Mode\":\"AK\"}";
    home.put(FILE, format!("{mine}]}}"), 0o600);
    home.setup_write("aliyun-cli");
    let text = home.text(FILE);
    assert!(text.starts_with(mine), "{text}");
    assert_eq!(home.setup_check("aliyun-cli").0, Some(0));
}
