//! `stsctl setup`: what a tool is told works, and nothing of its owner's is lost for it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use e2e::{Kit, UPLOAD, clients, program};
use nix::{sys::signal::Signal, unistd::geteuid};
use serde_json::Value;

use crate::http;

/// A user at home, with the daemon's kit.
struct Home<'a> {
    kit: &'a Kit,
    path: PathBuf,
}

impl<'a> Home<'a> {
    fn of(kit: &'a Kit) -> Self {
        let path = kit.path("home");
        fs::create_dir_all(&path).unwrap();
        Self { kit, path }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn put(&self, name: &str, text: &str, mode: u32) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("stsctl"));
        command.env_clear().env("HOME", &self.path);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.arg("--socket").arg(self.kit.socket());
        command.arg("setup").args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, mut command: Command) -> Output {
        let output = command.output().unwrap();
        self.kit.must_be_clean("stsctl's stderr", &output.stderr);
        self.kit.must_be_clean("stsctl's stdout", &output.stdout);
        output
    }

    fn setup(&self, arguments: &[&str]) -> Output {
        self.run(self.command(arguments))
    }

    /// Writes a tool's file, which has to go well; returns what was said.
    #[track_caller]
    fn write(&self, tool: &str) -> String {
        let output = self.setup(&[tool, "oss-upload", "--region", "cn-hongkong", "--write"]);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{tool}: {complaint}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Looks whether a tool works; returns the exit code and what was said.
    fn check(&self, tool: &str) -> (Option<i32>, String) {
        told(&self.setup(&[tool, "oss-upload", "--check"]))
    }

    /// Everything below, with what it holds.
    fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut pending = vec![self.path.clone()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap().flatten() {
                match entry.file_type().unwrap().is_dir() {
                    true => pending.push(entry.path()),
                    false => found.push((entry.path(), fs::read(entry.path()).unwrap_or_default())),
                }
            }
        }
        found.sort();
        found
    }
}

fn told(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code(), said)
}

/// A tool with a file, where that is, and one that its owner has filled.
const FILES: [(&str, &str, &str); 4] = [
    (
        "aliyun-cli",
        ".aliyun/config.json",
        "{\r\n  \"current\": \"mine\",\r\n  \"profiles\": [\r\n    {\r\n      \"name\": \"mine\",\r\n      \
         \"mode\": \"AK\",\r\n      \"access_key_id\": \"LTAIMINE\",\r\n      \"future\": [1.50, \
         99999999999999999999]\r\n    }\r\n  ],\r\n  \"meta_path\": \"\",\r\n  \"unknown\": {\"a\": 1, \"a\": \
         2}\r\n}\r\n",
    ),
    (
        "aws",
        ".aws/config",
        "\u{feff}# mine\r\n[default]\r\nregion=x\r\n; more\r\n[profile other]\r\ns3 =\r\n  a = b\r\n\r\n\
         # the end\r\n",
    ),
    (
        "rclone",
        ".config/rclone/rclone.conf",
        "[mine]\ntype = drive\ntoken = {\"a\":\"b\"}\n# no end of a line",
    ),
    (
        "ossutil1",
        ".ossutilconfig",
        "[Credentials]\nlanguage=EN\nendpoint=mine\n\n[Bucket-Endpoint]\nb = c\n",
    ),
];

#[test]
fn the_list_of_tools_is_one_for_programs_too() {
    let kit = Kit::without_daemon(&[]);
    let (_, lines) = told(&kit.ctl(&["setup"]));
    let output = kit.ctl(&["setup", "--json"]);
    let list: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(lines.lines().count(), list.len());
    for (line, tool) in lines.lines().zip(list) {
        assert_eq!(line.split(' ').next(), tool["tool"].as_str(), "{line}");
        assert!(line.contains(tool["about"].as_str().unwrap()), "{line}");
        assert_eq!(line.ends_with(" (--write)"), tool["writes"], "{line}");
    }
}

#[test]
fn a_tool_s_file_is_changed_by_one_entry_and_kept_as_it_was() {
    let kit = http::kit();
    let home = Home::of(&kit);
    for (tool, name, before) in FILES {
        home.put(name, before, 0o640);
        let said = home.write(tool);
        let after = home.text(name);
        assert!(said.contains("changed"), "{said}");
        // Without what is new, it is what it was.
        let lines: Vec<_> = after.split_inclusive('\n').collect();
        let old: Vec<_> = before.split_inclusive('\n').collect();
        let mut kept = lines.iter();
        for line in &old {
            let bare = |it: &str| it.trim_end_matches(['\r', '\n', ',']).to_owned();
            let found = kept.any(|it| bare(it) == bare(line));
            assert!(found, "{tool} has lost {line:?}:\n{after}");
        }
        if before.contains("\r\n") && tool == "aws" {
            assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
        }
        let private = tool == "ossutil1";
        let mode = |name: &str| fs::metadata(home.file(name)).unwrap().mode() & 0o777;
        assert_eq!(mode(name), if private { 0o600 } else { 0o640 }, "{tool}");

        // What there was is kept, once: a second change does not take its place.
        let backup = format!("{name}.stsd-backup");
        assert_eq!(home.text(&backup), before);
        assert_eq!(mode(&backup), 0o600);
        let everything = home.all();
        assert!(home.write(tool).contains("is as it should be"));
        assert_eq!(
            home.all(),
            everything,
            "{tool}: a second time nothing happens"
        );
        let broken = after.replace("oss-upload", "oss-uplaod");
        fs::write(home.file(name), broken).unwrap();
        assert!(home.write(tool).contains("before the first change"));
        assert_eq!(home.text(&backup), before);
        let (code, said) = home.check(tool);
        match tool {
            // What botocore would not read is said, and is not ours to take away.
            "aws" | "rclone" => assert!(said.contains("byte order mark"), "{said}"),
            _ => assert_eq!(code, Some(0), "{tool}: {said}"),
        }
    }
    assert_eq!(
        home.all().len(),
        2 * FILES.len(),
        "nothing is left beside them"
    );
}

#[test]
fn a_file_that_is_not_there_is_made_for_its_owner_alone_and_works() {
    let kit = http::kit();
    let home = Home::of(&kit);
    for (tool, name, _) in FILES {
        assert_eq!(home.check(tool).0, Some(1), "{tool} is not set up yet");
        assert!(home.write(tool).contains("written"));
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&home.file(name)), 0o600);
        if tool != "ossutil1" {
            assert_eq!(mode(home.file(name).parent().unwrap()), 0o700);
        }
        assert!(!home.file(&format!("{name}.stsd-backup")).exists());
        let (code, said) = home.check(tool);
        assert_eq!(code, Some(0), "{tool}: {said}");
        assert_eq!(
            said.lines().filter(|it| it.starts_with("ok")).count(),
            2,
            "{said}"
        );
    }
    let config: Value = serde_json::from_str(&home.text(".aliyun/config.json")).unwrap();
    assert_eq!(config["current"], "oss-upload");
    assert_eq!(config["profiles"][0]["mode"], "External");
    let secret = kit.client().url("oss-upload").unwrap().token;
    let holds = |it: &&(PathBuf, Vec<u8>)| String::from_utf8_lossy(&it.1).contains(secret.expose());
    assert_eq!(
        home.all().iter().filter(holds).count(),
        1,
        "ossutil's alone"
    );
}

#[test]
fn a_socket_that_only_the_environment_names_is_written_down() {
    let kit = http::kit();
    let home = Home::of(&kit);
    let directory = kit.path("runtime");
    fs::create_dir_all(directory.join("stsd")).unwrap();
    let elsewhere = directory.join("stsd/stsd.sock");
    symlink(kit.socket(), &elsewhere).unwrap();
    let run = |variable: (&str, &Path), arguments: &[&str]| {
        let mut command = Command::new(program("stsctl"));
        command.env_clear().env("HOME", &home.path);
        command.env(variable.0, variable.1);
        command.args(["setup", "aws", "oss-upload", "--region", "cn-hongkong"]);
        command.args(arguments).stdin(Stdio::null());
        told(&home.run(command))
    };
    for (variable, socket) in [
        (("STSD_SOCKET", &*kit.socket()), &*kit.socket()),
        (("XDG_RUNTIME_DIR", &*directory), &*elsewhere),
    ] {
        assert_eq!(run(variable, &["--write"]).0, Some(0));
        let named = format!("--socket {} ", socket.display());
        let text = home.text(".aws/config");
        assert!(text.contains(&named), "{text}");
        assert_eq!(run(variable, &["--check"]).0, Some(0));
        // It works here alone without.
        if variable.0 == "STSD_SOCKET" {
            home.put(".aws/config", &text.replace(&named, ""), 0o600);
            let (code, said) = run(variable, &["--check"]);
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("fault    command"), "{said}");
        }
    }
}

#[test]
fn a_profile_that_the_daemon_does_not_know_is_not_written() {
    let mut kit = http::kit();
    let line = ["aws", "nosuch", "--region", "cn-hongkong", "--write"];
    {
        let home = Home::of(&kit);
        for tool in ["aliyun-cli", "aws", "rclone", "ossutil1"] {
            let output = home.setup(&[&[tool], &line[1..]].concat());
            let complaint = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(4), "{tool}: {complaint}");
        }
        assert!(home.all().is_empty());
    }
    // Without a daemon nobody knows.
    kit.daemon().signal(Signal::SIGTERM);
    kit.daemon_ends();
    assert!(Home::of(&kit).setup(&line).status.success());
}

#[test]
fn many_at_once_lose_nothing_of_each_other_s() {
    let kit = http::kit();
    let home = Home::of(&kit);
    let names: Vec<_> = (0..12).map(|it| format!("by-stsd-{it}")).collect();
    let start = |name: &String| {
        let line = ["aws", "oss-upload", "--region", "cn-hongkong", "--write"];
        let mut command = home.command(&line);
        command.args(["--name", name]).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    let started: Vec<_> = names.iter().map(start).collect();
    for mut child in started {
        assert!(child.wait().unwrap().success());
    }
    let text = home.text(".aws/config");
    for name in names {
        assert!(text.contains(&format!("[profile {name}]\n")), "{text}");
    }
}

#[test]
fn a_file_that_cannot_be_understood_is_left_as_it_is() {
    let kit = http::kit();
    let home = Home::of(&kit);
    for (tool, name, text, says) in [
        (
            "aliyun-cli",
            ".aliyun/config.json",
            "{\"profiles\": [",
            "line 1",
        ),
        (
            "aliyun-cli",
            ".aliyun/config.json",
            "{\"profiles\": 7}",
            "no list",
        ),
        (
            "aliyun-cli",
            ".aliyun/config.json",
            "{\"profiles\":[{\"name\":\"oss-upload\",\"mode\":\"AK\"}]}",
            "--name",
        ),
        (
            "aliyun-cli",
            ".aliyun/config.json",
            "{\"profiles\":[{\"name\":\"oss-upload\",\"mode\":\"External\",\"process_command\":\"/mine\"}]}",
            "--name",
        ),
        ("aws", ".aws/config", "[default\n", "line 1"),
        (
            "aws",
            ".aws/config",
            "[a]\n[profile oss-upload]\nrole_arn=x\n",
            "--name",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\ncredential_process=/mine\n",
            "--name",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\nSSO_account_id=1\n",
            "--name",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\nsource_profile=x\n",
            "--name",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\nendpoint_url=http://minio.example:9000\n",
            "--name",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\nservices=x\n",
            "--name",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\ns3 =\n  addressing_style = path\n",
            "addressing_style",
        ),
        (
            "aws",
            ".aws/config",
            "[profile oss-upload]\ns3 = x\n",
            "addressing_style",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "RCLONE_ENCRYPT_V0:\nabc\n",
            "encrypted",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "[oss-upload]\ntype=drive\n",
            "--name",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "[oss-upload]\ntype=s3\nprovider=Minio\nendpoint=http://minio.example:9000\n",
            "--name",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "[oss-upload]\ntype=s3\nprovider=AWS\nprofile=prod\n",
            "--name",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "[oss-upload]\ntype=s3\nprofile=prod\n",
            "--name",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "[oss-upload]\ntype=s3\nendpoint=minio.example\n",
            "--name",
        ),
        (
            "rclone",
            ".config/rclone/rclone.conf",
            "[oss-upload]\ntype=s3\nrole_arn=x\n",
            "--name",
        ),
        (
            "ossutil1",
            ".ossutilconfig",
            "[AkService]\necsAk=http://100.100.100.200/x\n",
            "ecsAk",
        ),
        (
            "ossutil1",
            ".ossutilconfig",
            "[Credentials]\naccessKeyID=LTAIMINE\n",
            "accessKeyID",
        ),
    ] {
        home.put(name, text, 0o600);
        let before = home.all();
        let output = home.setup(&[tool, "oss-upload", "--region", "cn-hongkong", "--write"]);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}: {complaint}");
        assert!(
            complaint.contains(says) && complaint.contains(name),
            "{text}: {complaint}"
        );
        assert!(
            !complaint.contains("MINE"),
            "nothing of it is told: {complaint}"
        );
        assert_eq!(home.all(), before, "{text}");
    }
    // With a name of its own it finds its place beside what is there.
    let name = ["--name", "by-stsd", "--write"];
    let line = ["aliyun-cli", "oss-upload", "--region", "cn-hongkong"];
    home.put(".aliyun/config.json", FILES[0].2, 0o600);
    let taken = home.setup(&[&line[..], &["--name", "mine", "--write"]].concat());
    assert_eq!(taken.status.code(), Some(1));
    assert!(home.setup(&[&line[..], &name].concat()).status.success());
    let output = home.setup(&["aliyun-cli", "oss-upload", "--name", "by-stsd", "--check"]);
    assert_eq!(told(&output).0, Some(0));
}

#[test]
fn a_link_stays_a_link_and_another_user_s_file_is_not_touched() {
    let kit = http::kit();
    let home = Home::of(&kit);
    home.put("dotfiles/aws", "[default]\n", 0o600);
    fs::create_dir(home.file(".aws")).unwrap();
    symlink("../dotfiles/aws", home.file(".aws/config")).unwrap();
    home.write("aws");
    assert!(home.file(".aws/config").is_symlink());
    assert!(home.text("dotfiles/aws").contains("sts-shim"));
    assert_eq!(home.text(".aws/config.stsd-backup"), "[default]\n");

    let refused = |says: &str| {
        let before = home.all();
        let output = home.setup(&["rclone", "oss-upload", "--region", "cn-hongkong", "--write"]);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains(says), "{complaint}");
        assert_eq!(home.all(), before);
    };
    let path = home.file(".config/rclone/rclone.conf");
    // What there was has to be kept somewhere.
    home.put(".config/rclone/rclone.conf", "[a]\n", 0o600);
    let backup = home.file(".config/rclone/rclone.conf.stsd-backup");
    symlink("/dev/null", &backup).unwrap();
    refused("would not be kept");
    fs::remove_file(&backup).unwrap();
    fs::remove_file(&path).unwrap();
    home.put(".config/rclone/x", "", 0o600);
    symlink("nowhere", &path).unwrap();
    refused("is a link");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("no file");
    fs::remove_dir(&path).unwrap();
    if !geteuid().is_root() {
        e2e::not_run("only root can make a file another user's, for the last step");
        return;
    }
    home.put(".config/rclone/rclone.conf", "[a]\n", 0o666);
    chown(&path, Some(64_001), Some(64_001)).unwrap();
    refused("another user");
}

#[test]
fn a_directory_that_cannot_be_written_costs_nothing() {
    let kit = http::kit();
    let home = Home::of(&kit);
    home.put(".aws/config", "[default]\n", 0o600);
    let closed =
        |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o555)).unwrap();
    let arguments = ["aws", "oss-upload", "--region", "cn-hongkong", "--write"];
    let programs = tempfile::tempdir().unwrap();
    let command = if geteuid().is_root() {
        // Root writes where it likes, so somebody else tries.
        for path in [programs.path(), &kit.path("")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for name in ["stsctl", "sts-shim"] {
            fs::copy(program(name), programs.path().join(name)).unwrap();
        }
        for name in ["", ".aws", ".aws/config"] {
            chown(home.file(name), Some(64_001), Some(64_001)).unwrap();
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=64001", "--regid=64001", "--clear-groups", "--"]);
        command
            .arg(programs.path().join("stsctl"))
            .arg("setup")
            .args(arguments);
        command.env("HOME", &home.path).stdin(Stdio::null());
        command
    } else {
        home.command(&arguments)
    };
    closed(&home.file(".aws"));
    let before = home.all();
    let output = home.run(command);
    let complaint = String::from_utf8(output.stderr).unwrap();
    fs::set_permissions(home.file(".aws"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("cannot be written"), "{complaint}");
    assert_eq!(home.all(), before);
}

#[test]
fn a_check_says_what_is_wrong_and_where() {
    let mut kit = http::kit();
    {
        let home = Home::of(&kit);
        for tool in ["aliyun-cli", "aws", "rclone", "ossutil1"] {
            home.write(tool);
        }
        let check = |tool: &str, variable: (&str, &str), code: i32, says: &str| {
            let mut command = home.command(&[tool, "oss-upload", "--check"]);
            command.env(variable.0, variable.1);
            let (found, said) = told(&home.run(command));
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
            home.put(".aws/config", &text.replace(style, to), 0o600);
            check("aws", none, 1, "addressing_style");
        }
        home.put(".aws/config", &text.replace(style, "    a = b\n"), 0o600);
        home.write("aws");
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
            home.put(".config/rclone/rclone.conf", &text.replace(from, to), 0o600);
            check("rclone", none, 1, "another provider or endpoint");
        }
        home.put(".config/rclone/rclone.conf", &text, 0o600);

        // What is named there is run, as it stands there.
        let text = home.text(".aws/config");
        let mine = kit.path("mine");
        for (script, says) in [
            ("echo oops >&2; exit 3", "oops"),
            ("echo '{}'", "no \"AccessKeyId\""),
            ("echo not JSON", "not JSON"),
            ("exit 0", "not JSON"),
        ] {
            kit.write("mine", &format!("#!/bin/sh\n{script}\n"), 0o700);
            let shim = program("sts-shim");
            let mine = text.replace(shim.to_str().unwrap(), mine.to_str().unwrap());
            home.put(".aws/config", &mine, 0o600);
            check("aws", none, 1, says);
            check("rclone", none, 1, says);
        }
        let noisy = format!(
            "#!/bin/sh\necho note >&2\nexec {}\n",
            kit.shim_line("oss-upload")
        );
        kit.write("mine", &noisy, 0o700);
        check("aws", none, 0, "ok       command");
        check("duckdb", none, 1, "besides");
        home.put(
            ".aws/config",
            &text.replace(" oss-upload\n", " other\n"),
            0o600,
        );
        check("aws", none, 1, "not of the profile");
        home.put(".aws/config", &text, 0o600);

        assert!(kit.ctl(&["url", "--rotate"]).status.success());
        check("ossutil1", none, 1, "answers 403");
        home.write("ossutil1");
        check("ossutil1", none, 0, "ok       URL");
    }
    kit.daemon().signal(Signal::SIGTERM);
    kit.daemon_ends();
    let home = Home::of(&kit);
    for (tool, says) in [
        ("aws", "no daemon"),
        ("aliyun-cli", "no daemon"),
        ("ossutil1", "nobody answers"),
        ("oss2", "no daemon"),
    ] {
        let (code, said) = home.check(tool);
        assert_eq!(code, Some(1), "{tool}");
        assert!(
            said.contains("fault") && said.contains(says),
            "{tool}: {said}"
        );
    }
}

#[test]
fn a_session_that_is_too_short_for_a_tool_is_a_warning() {
    let kit = http::kit_with(&["--session-life", "300s"], UPLOAD);
    let home = Home::of(&kit);
    home.write("aws");
    for (tool, says) in [("aws", "less than 900 s"), ("ossfs", "less than 1200 s")] {
        let (code, said) = home.check(tool);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("warning") && said.contains(says), "{said}");
    }
}

#[test]
fn what_cannot_be_done_is_a_wrong_command_line() {
    let kit = http::kit();
    let home = Home::of(&kit);
    for (arguments, says) in [
        (&["aws", "oss-upload"][..], "--region"),
        (
            &["aws", "oss-upload", "--region", "oss-cn-hongkong"],
            "cn-hangzhou",
        ),
        (&["duckdb", "oss-upload", "--write"], "no file to write"),
        (&["oss2", "oss-upload", "--write"], "no file to write"),
        (&["aws", "a b"], "begins with"),
        (&["aws", "oss-upload", "--name", "a]b"], "begins with"),
        (
            &["aws", "oss-upload", "--shim", "/with space/sts-shim"],
            "without quotes",
        ),
        (
            &["aws", "oss-upload", "--shim", "sts-shim"],
            "without quotes",
        ),
        (
            &["aws", "oss-upload", "--write", "--check"],
            "cannot be used with",
        ),
        (&["aws"], "PROFILE"),
        (&["nosuch", "oss-upload"], "aliyun-cli"),
    ] {
        let output = home.setup(arguments);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {complaint}");
        assert!(complaint.contains(says), "{arguments:?}: {complaint}");
    }
    assert!(home.all().is_empty());
    let list = String::from_utf8(home.setup(&[]).stdout).unwrap();
    assert!(list.lines().any(|it| it.starts_with("rclone ")), "{list}");
}

/// Runs what `setup` prints for a program, with more lines below, by the command that stands
/// in its first line.
fn snippet(kit: &Kit, tool: &str, interpreter: &Path, flag: &str, more: &str) -> String {
    let home = Home::of(kit);
    let output = home.setup(&[tool, "oss-upload", "--region", "cn-hongkong"]);
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(
        printed
            .lines()
            .next()
            .unwrap()
            .contains("stsctl exec oss-upload -- ")
    );
    let script = printed
        .replace("https://oss-cn-hongkong.aliyuncs.com", kit.oss())
        .replace("BUCKET", "examplebucket");
    let mut command = Command::new(program("stsctl"));
    command.arg("--socket").arg(kit.socket());
    command.args(["exec", "oss-upload", "--"]).arg(interpreter);
    command.arg(flag).arg(script + more).env("HOME", &home.path);
    command.current_dir(clients().join("node"));
    let output = home.run(command);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_printed_programs_run() {
    let kit = http::kit();
    let expected = kit.document(&["oss-upload"])["AccessKeyId"].clone();
    let python = clients().join("python/bin/python");
    let more = "print(credentials.get_credential().access_key_id)";
    let found = snippet(&kit, "credentials-python", &python, "-c", more);
    assert_eq!(expected, *found);
    let more = "credentials.getCredential().then((it) => console.log(it.accessKeyId));";
    let found = snippet(&kit, "credentials-node", Path::new("node"), "--eval", more);
    assert_eq!(expected, *found);
    let more = "bucket.put_object('k', b'v')\nprint(bucket.get_object('k').read().decode())";
    let found = snippet(&kit, "oss2", &python, "-c", more);
    assert_eq!(found, "v");
    assert_eq!(kit.calls("AssumeRole"), 1);
}
