//! `stsctl exec` and `stsctl env`: a program finds the profile's credentials and no others, and is
//! unaffected in every other way.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Command, Output, Stdio},
};

use e2e::{Action, Fault, TestEnv, UPLOAD, clients, program};
use nix::{
    sys::{
        signal::{Signal, kill, killpg},
        statfs::{TMPFS_MAGIC, statfs},
    },
    unistd::{Pid, geteuid},
};

/// Variables that override the profile in some program. The list is written a second time here, from
/// the documentation of those programs.
const SHADOWS: &[&str] = &[
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_ROLE_SESSION_NAME",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    "ALIBABA_CLOUD_ECS_METADATA",
    "ALIBABA_CLOUD_PROFILE",
    "ALIBABACLOUD_ACCESS_KEY_ID",
    "ALIBABACLOUD_ACCESS_KEY_SECRET",
    "ALIBABACLOUD_SECURITY_TOKEN",
    "ALIBABACLOUD_PROFILE",
    "ALICLOUD_ACCESS_KEY",
    "ALICLOUD_SECRET_KEY",
    "ALICLOUD_SECURITY_TOKEN",
    "ALICLOUD_PROFILE",
    "OSS_ACCESS_KEY_ID",
    "OSS_ACCESS_KEY_SECRET",
    "OSS_SESSION_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];

/// The three variables of each family.
const KEYS: &[[&str; 3]] = &[
    [
        "ALIBABA_CLOUD_ACCESS_KEY_ID",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        "ALIBABA_CLOUD_SECURITY_TOKEN",
    ],
    [
        "ALIBABACLOUD_ACCESS_KEY_ID",
        "ALIBABACLOUD_ACCESS_KEY_SECRET",
        "ALIBABACLOUD_SECURITY_TOKEN",
    ],
    [
        "ALICLOUD_ACCESS_KEY",
        "ALICLOUD_SECRET_KEY",
        "ALICLOUD_SECURITY_TOKEN",
    ],
    [
        "OSS_ACCESS_KEY_ID",
        "OSS_ACCESS_KEY_SECRET",
        "OSS_SESSION_TOKEN",
    ],
    [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ],
];

type Variables = BTreeMap<String, String>;

/// Returns the command of stsctl without stdin, not yet started.
fn ctl(env: &TestEnv, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("stsctl"));
    command.arg("--socket").arg(env.socket()).args(arguments);
    command.stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    e2e::assert_no_secrets("a program's stderr", &output.stderr);
    output
}

/// Runs `env -0` with all of [`SHADOWS`] in its parent; returns the variables that it finds.
fn variables(command: &mut Command) -> Variables {
    let shadows = SHADOWS.iter().map(|name| (*name, "of-the-parent"));
    command.env_clear().envs(shadows);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    command.env("KEPT", "as it was\n'\"$(id)");
    let output = output(command);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    assert_eq!(complaint, "", "on success there is nothing to say");
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.split_terminator('\0');
    let pair = |it: &str| {
        it.split_once('=')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
    };
    pairs.map(|it| pair(it).unwrap()).collect()
}

#[track_caller]
fn is(found: &Variables, name: &str, expected: Option<&str>) {
    let found = found.get(name).map(String::as_str);
    assert_eq!(found, expected, "{name}");
}

/// Returns the path of the file with the secret of a URL.
fn token_file_in(directory: &Path, url: &stsd_client::Url) -> std::path::PathBuf {
    let port = url.url.expose().split([':', '/']).nth(4).unwrap();
    directory.join(format!("stsd-exec-oss-upload-{port}.token"))
}

#[test]
fn exec_sets_the_url_and_clears_other_identities() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let url = env.client().url("oss-upload").unwrap();
    let line = ["exec", "oss-upload", "--", "env", "-0"];
    let mut found = variables(&mut ctl(&env, &line));
    for name in [
        "ALIBABA_CLOUD_CREDENTIALS_URI",
        "ALICLOUD_CREDENTIALS_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ] {
        is(&found, name, Some(url.url.expose()));
    }
    let token_file = token_file_in(&env.path("run"), &url);
    let token = fs::read_to_string(&token_file).unwrap();
    assert_eq!(token, url.token.expose());
    for (name, value) in [
        ("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true"),
        ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
        ("ALIBABA_CLOUD_CREDENTIALS_FILE", "/dev/null"),
        ("ALIBABA_CLOUD_IGNORE_PROFILE", "TRUE"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
        ("STSD_PROFILE", "oss-upload"),
        ("STSD_SOCKET", env.socket().to_str().unwrap()),
        ("KEPT", "as it was\n'\"$(id)"),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            token_file.to_str().unwrap(),
        ),
    ] {
        is(&found, name, Some(value));
    }
    found.remove("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    for name in SHADOWS {
        is(&found, name, None);
    }
    assert!(!found.values().any(|it| it == "of-the-parent"));
}

#[test]
fn exec_static_sets_keys_and_no_url() {
    // The HTTP endpoint is not configured.
    let env = TestEnv::start();
    let document = env.document(&["oss-upload"]);
    let line = ["exec", "oss-upload", "--static", "--", "env", "-0"];
    let mut command = ctl(&env, &line);
    command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "of-the-parent");
    let found = variables(&mut command);
    for [id, secret, token] in KEYS {
        is(&found, id, document["AccessKeyId"].as_str());
        is(&found, secret, document["AccessKeySecret"].as_str());
        is(&found, token, document["SecurityToken"].as_str());
    }
    for name in [
        "ALIBABA_CLOUD_CREDENTIALS_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "ALIBABA_CLOUD_CREDENTIALS_FILE",
        "NO_PROXY",
    ] {
        is(&found, name, None);
    }
    assert!(!found.values().any(|it| it == "of-the-parent"));
}

#[test]
fn exec_and_env_warn_about_a_session_shorter_than_min_life() {
    let env = TestEnv::with_http(&["--session-life", "900s"], UPLOAD);
    for (line, says) in [
        (&["env", "oss-upload", "--static"][..], true),
        (&["exec", "oss-upload", "--static", "--", "true"], true),
        (&["env", "oss-upload", "--min-life", "20m"], true),
        (
            &["env", "oss-upload", "--static", "--min-life", "1m"],
            false,
        ),
        (&["env", "oss-upload"], false),
    ] {
        let output = env.ctl(line);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{line:?}: {complaint}");
        let lines = complaint.matches("the keys live for only").count();
        assert_eq!(lines, usize::from(says), "{line:?}: {complaint}");
        assert_eq!(complaint.lines().count(), lines, "{line:?}: {complaint}");
    }
}

#[test]
fn env_output_sets_the_variables_of_exec() {
    let env = TestEnv::with_http(&[], UPLOAD);
    for flavour in [&[][..], &["--static"][..]] {
        let mut exec = ctl(&env, &["exec", "oss-upload"]);
        exec.args(flavour).args(["--", "sh", "-c", "exec env -0"]);
        let mut shell = Command::new("sh");
        let script = "set -e; script=$(\"$@\"); eval \"$script\"; unset script; exec env -0";
        shell.args(["-c", script, "sh"]).arg(program("stsctl"));
        shell.arg("--socket").arg(env.socket());
        shell.args(["env", "oss-upload"]).args(flavour);
        let by_exec = variables(&mut exec);
        let by_shell = variables(&mut shell);
        assert!(by_exec.contains_key("STSD_PROFILE"));
        assert_eq!(by_exec, by_shell);
    }
    let dotenv = env.ctl(&["env", "oss-upload", "--shell", "dotenv", "--static"]);
    let dotenv = String::from_utf8(dotenv.stdout).unwrap();
    let document = env.document(&["oss-upload"]);
    let token = document["SecurityToken"].as_str().unwrap();
    let line = format!("ALIBABA_CLOUD_SECURITY_TOKEN={token}");
    assert!(dotenv.lines().any(|it| it == line));
    assert!(
        dotenv
            .lines()
            .any(|it| it == "# must not be set: AWS_PROFILE")
    );
}

#[test]
fn exec_replaces_its_process_with_the_program() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let script = "echo $$; tr '\\0' ' ' </proc/$$/cmdline; echo; cat; \
                  grep SigIgn /proc/$$/status; exit 7";
    let mut command = ctl(&env, &["exec", "oss-upload", "--", "sh", "-c", script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let id = child.id();
    child.stdin.take().unwrap().write_all(b"typed\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], id.to_string(), "the same process");
    let secret = env.client().url("oss-upload").unwrap().token;
    assert!(lines[1].starts_with("sh -c ") && !lines[1].contains(secret.expose()));
    assert_eq!(lines[2], "typed");
    // SIGPIPE ends the program, as without stsctl.
    let ignored = lines[3].split_whitespace().last().unwrap();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    assert_eq!(ignored & (1 << (Signal::SIGPIPE as u32 - 1)), 0);

    for (script, code, signal) in [
        ("exit 0", Some(0), None),
        ("exit 255", Some(255), None),
        ("kill -9 $$", None, Some(9)),
        ("kill -SEGV $$", None, Some(11)),
    ] {
        let line = ["exec", "oss-upload", "--", "sh", "-c", script];
        let status = output_of(&env, &line).status;
        assert_eq!((status.code(), status.signal()), (code, signal), "{script}");
    }
}

fn output_of(env: &TestEnv, line: &[&str]) -> Output {
    output(&mut ctl(env, line))
}

#[test]
fn signal_to_exec_reaches_the_program() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let script = "trap 'exit 42' USR1 TERM; echo ready; while :; do sleep 0.05; done";
    for whole_group in [true, false] {
        let mut command = ctl(&env, &["exec", "oss-upload", "--", "sh", "-c", script]);
        command.stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let id = Pid::from_raw(child.id().cast_signed());
        match whole_group {
            // Not SIGINT: a test in the background has it ignored, and a shell cannot trap a signal
            // that was ignored at its start.
            true => killpg(id, Signal::SIGUSR1).unwrap(),
            false => kill(id, Signal::SIGTERM).unwrap(),
        }
        assert_eq!(child.wait().unwrap().code(), Some(42));
        // The end of the output shows that no process of the program runs on.
        line.clear();
        assert_eq!(lines.read_line(&mut line).unwrap(), 0);
    }
}

#[test]
fn program_of_exec_needs_no_separator() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let script = "printf '%s|' \"$STSD_PROFILE\" \"$@\"";
    let run = |before: &[&str]| {
        let program = ["sh", "-c", script, "sh", "--static", "--", "-x"];
        let output = output_of(&env, &[&["exec", "oss-upload"], before, &program].concat());
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stdout, b"oss-upload|--static|--|-x|");
    };
    run(&[]);
    run(&["--"]);
    run(&["--patience", "60s"]);
    // An unknown option before the program is a mistake.
    let output = output_of(&env, &["exec", "oss-upload", "--pateince", "60s", "true"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn failure_before_the_program_starts_has_its_own_exit_code() {
    let mut env = TestEnv::with_http(&[], UPLOAD);
    env.emulator().inject_fault(
        Action::AssumeRole,
        Fault::error_with_status("NoPermission", 403),
    );
    let refused: &[&[&str]] = &[&[], &["--static"]];
    env.write("not-executable", "#!/bin/sh\n", 0o644);
    let not_executable = env.path("not-executable");
    let not_executable = not_executable.to_str().unwrap();
    let check = |env: &TestEnv, line: &[&str], code: i32, says: &str| {
        let output = output_of(env, line);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line:?}: {complaint}");
        assert!(complaint.contains(says), "{line:?}: {complaint}");
        assert_eq!(output.stdout, b"", "{line:?}");
    };
    let marker = env.path("touched");
    let marker = marker.to_str().unwrap();
    for flavour in refused {
        let line = [&["exec", "oss-upload"], *flavour, &["--", "touch", marker]].concat();
        check(&env, &line, 7, "NoPermission");
    }
    env.emulator().clear_faults();
    env.client()
        .refresh("oss-upload", std::time::Duration::from_secs(60))
        .unwrap();
    let nosuch = "no-such-program-anywhere";
    let line = ["exec", "oss-upload", "--", nosuch];
    check(&env, &line, 127, nosuch);
    check(&env, &line, 127, "[program-not-started]\nhint: ");
    check(
        &env,
        &["exec", "oss-upload", "--", not_executable],
        126,
        "may execute: chmod +x",
    );
    check(
        &env,
        &["exec", "oss-upload"],
        2,
        "<COMMAND>... [wrong-usage]",
    );
    check(&env, &["env", "oss-upload", "--shell", "csh"], 2, "csh");
    check(&env, &["exec", "nosuch", "--", "touch", marker], 4, "hint");
    check(&env, &["env", "nosuch"], 4, "hint");
    for line in [
        ["status", "oss-uplod"],
        ["get", "oss-uplod"],
        ["url", "ossupload"],
        ["env", "oss-upload1"],
    ] {
        check(&env, &line, 4, "did you mean oss-upload?");
    }
    env.write_config(UPLOAD);
    env.client().reload().unwrap();
    check(
        &env,
        &["exec", "oss-upload", "--", "touch", marker],
        2,
        "[http]",
    );
    env.daemon().signal(Signal::SIGTERM);
    env.wait_for_daemon_exit();
    check(
        &env,
        &["exec", "oss-upload", "--", "touch", marker],
        3,
        "no daemon",
    );
    assert!(!Path::new(marker).exists());
}

#[test]
fn exec_stores_the_url_secret_only_in_private_directories() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let url = env.client().url("oss-upload").unwrap();
    let token = &url.token;
    let file = |runtime: &Path| {
        let script = "printf %s \"$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE\"";
        let mut command = ctl(&env, &["exec", "oss-upload", "--", "sh", "-c", script]);
        let output = output(command.env("XDG_RUNTIME_DIR", runtime));
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let in_memory = |path: &Path| statfs(path).unwrap().filesystem_type() == TMPFS_MAGIC;
    if !Path::new("/dev/shm").exists() || !in_memory(Path::new("/dev/shm")) {
        e2e::not_run("there is no tmpfs at /dev/shm");
        return;
    }
    let runtime = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in("/dev/shm")
        .unwrap();
    let kept = token_file_in(runtime.path(), &url);
    for _ in 0..2 {
        assert_eq!(file(runtime.path()), kept.to_str().unwrap());
        assert_eq!(fs::read_to_string(&kept).unwrap(), token.expose());
        let mode = fs::metadata(&kept).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let beside = fs::read_dir(runtime.path()).unwrap();
        assert_eq!(beside.count(), 1, "nothing is left beside it");
    }
    // An old file is replaced, and so is a link, which is not followed.
    fs::write(&kept, "of another daemon").unwrap();
    assert_eq!(file(runtime.path()), kept.to_str().unwrap());
    assert_eq!(fs::read_to_string(&kept).unwrap(), token.expose());
    let elsewhere = env.path("elsewhere");
    fs::write(&elsewhere, "untouched").unwrap();
    fs::remove_file(&kept).unwrap();
    symlink(&elsewhere, &kept).unwrap();
    assert_eq!(file(runtime.path()), kept.to_str().unwrap());
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "untouched");
    fs::remove_file(&kept).unwrap();
    fs::write(&elsewhere, token.expose()).unwrap();
    symlink(&elsewhere, &kept).unwrap();
    assert_eq!(file(runtime.path()), kept.to_str().unwrap());
    assert!(
        !kept.is_symlink(),
        "the owner of the target could change the file"
    );
    fs::remove_file(&kept).unwrap();

    fs::set_permissions(runtime.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Others can look into it: beside the socket is the next place.
    let beside = token_file_in(&env.path("run"), &url);
    assert_eq!(file(runtime.path()), beside.to_str().unwrap());
    let mode = fs::metadata(&beside).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::remove_file(&beside).unwrap();
    assert!(!kept.exists());
    if Path::new("/run/user").join(geteuid().to_string()).exists() {
        e2e::not_run("the user has a runtime directory here, so the last steps");
        return;
    }
    // Other users may enter the directory of a machine's daemon.
    fs::set_permissions(env.path("run"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(file(runtime.path()), "", "others can look into both");
    let on_disk = env.path("runtime");
    fs::create_dir(&on_disk).unwrap();
    fs::set_permissions(&on_disk, fs::Permissions::from_mode(0o700)).unwrap();
    if in_memory(&on_disk) {
        e2e::not_run("the directory for temporary files is in memory here, so the last step");
        return;
    }
    assert_eq!(file(&on_disk), "", "it is on a disk");
    assert_eq!(fs::read_dir(&on_disk).unwrap().count(), 0);
}

/// Returns a home with a key in each place where SDKs look.
fn home_with_keys(env: &TestEnv) -> std::path::PathBuf {
    let home = env.path("home");
    for (name, text) in [
        (
            ".aliyun/config.json",
            r#"{"current":"default","profiles":[{"name":"default","mode":"AK",
                "access_key_id":"LTAIOWN","access_key_secret":"own","region_id":"cn-hongkong"}]}"#,
        ),
        (
            ".alibabacloud/credentials.ini",
            "[default]\ntype = access_key\naccess_key_id = LTAIOWN\naccess_key_secret = own\n",
        ),
        (
            ".alibabacloud/credentials",
            "[default]\ntype = access_key\naccess_key_id = LTAIOWN\naccess_key_secret = own\n",
        ),
    ] {
        let path = home.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    home
}

/// Runs a program of an SDK in `exec` with all of [`SHADOWS`]; returns its stdout.
fn sdk(env: &TestEnv, flavour: &[&str], interpreter: &Path, arguments: &[&str]) -> String {
    let mut command = ctl(env, &["exec", "oss-upload"]);
    command
        .args(flavour)
        .arg("--")
        .arg(interpreter)
        .args(arguments);
    command.envs(SHADOWS.iter().map(|name| (*name, "LTAIOWN")));
    command.env("HOME", home_with_keys(env));
    command.current_dir(clients().join("node"));
    let output = output(&mut command);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn default_chain_of_the_python_sdk_finds_the_profile() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let script = "from alibabacloud_credentials.client import Client\n\
        print(Client().get_credential().access_key_id)";
    let python = clients().join("python/bin/python");
    let document = env.document(&["oss-upload"]);
    for flavour in [&[][..], &["--static"][..]] {
        let found = sdk(&env, flavour, &python, &["-c", script]);
        assert_eq!(
            found,
            document["AccessKeyId"].as_str().unwrap(),
            "{flavour:?}"
        );
    }
}

#[test]
fn default_chain_of_the_node_sdk_finds_the_profile() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let script = "import credentials from '@alicloud/credentials';\n\
        const found = await new credentials.default().getCredential();\n\
        console.log(found.accessKeyId);";
    let arguments = ["--input-type=module", "--eval", script];
    let document = env.document(&["oss-upload"]);
    for flavour in [&[][..], &["--static"][..]] {
        let found = sdk(&env, flavour, Path::new("node"), &arguments);
        assert_eq!(
            found,
            document["AccessKeyId"].as_str().unwrap(),
            "{flavour:?}"
        );
    }
}
