//! The distribution's rclone, with what `stsctl setup` writes, in the environment of a job without a
//! session. The emulated OSS is rclone's proxy, so that the written endpoint and the bucket in its host
//! stay; only the scheme is another one.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use e2e::{Action, Fault, Home, RunOutput, TestEnv, UPLOAD, held_key, run, served};
use nix::sys::signal::Signal;

/// The rights of a program that reads and writes objects. It may not create a bucket.
const OBJECTS: &str = r#"{"Version": "1", "Statement": [{"Effect": "Allow",
    "Action": ["oss:GetObject", "oss:PutObject", "oss:ListObjects"],
    "Resource": ["acs:oss:*:*:examplebucket", "acs:oss:*:*:examplebucket/*"]}]}"#;

/// The policy of the tutorial.
const UPLOADS: &str = r#"{"Version": "1", "Statement": [{"Effect": "Allow",
    "Action": "oss:PutObject", "Resource": "acs:oss:*:*:examplebucket/backups/*"}]}"#;

const CONFIG: &str = ".config/rclone/rclone.conf";
const LINE: &str = "no_check_bucket = true\n";
const TEXT: &str = "a line\n";

/// Renewals after which the first session has ended: each comes after half of a lifetime or more.
const RENEWALS_PAST_THE_END: usize = 3;

/// The parts of a file of 12 MiB, at rclone's smallest size of a part.
const PARTS: u64 = 3;

/// A daemon whose profile has a policy, and a home in which rclone has been set up.
struct Rclone {
    env: TestEnv,
    home: Home,
}

impl Rclone {
    /// Returns `None`, with a report, where rclone is not installed.
    fn set_up(emulator: &[&str], policy: &str) -> Option<Self> {
        if Command::new("rclone").arg("version").output().is_err() {
            e2e::not_run("rclone is not installed; its package is rclone");
            return None;
        }
        let mut env = TestEnv::without_daemon(emulator);
        env.write("policy.json", policy, 0o600);
        env.write_config(&format!("{UPLOAD}policy_file = \"policy.json\"\n"));
        env.start_daemon();
        let home = Home::in_env(&env);
        home.setup_write("aws");
        home.setup_write("rclone");
        home.put("file", TEXT, 0o600);
        Some(Self { env, home })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("rclone");
        command.env_clear().env("HOME", self.home.path());
        command.env("PATH", "/usr/bin:/bin");
        command.env("HTTP_PROXY", self.env.emulator().oss_url());
        command.args(["--s3-endpoint", "http://oss-cn-hongkong.aliyuncs.com"]);
        command.args(["--retries", "1"]).args(arguments);
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> RunOutput {
        run(self.command(arguments))
    }

    fn start(&self, arguments: &[&str]) -> Child {
        let log = fs::File::create(self.env.path("rclone.log")).unwrap();
        let mut command = self.command(arguments);
        command.stderr(log).spawn().unwrap()
    }
}

#[test]
fn rclone_uploads_without_the_right_to_create_a_bucket() {
    let Some(mut rclone) = Rclone::set_up(&[], OBJECTS) else {
        return;
    };
    let upload = ["copyto", "file", "oss-upload:examplebucket/rclone/file"];
    rclone.run(&upload).assert_success();
    let list = rclone.run(&["lsf", "oss-upload:examplebucket/rclone"]);
    assert_eq!(list.assert_success(), "file\n");
    let download = ["cat", "oss-upload:examplebucket/rclone/file"];
    assert_eq!(rclone.run(&download).assert_success(), TEXT);

    let text = rclone.home.text(CONFIG);
    assert!(text.contains(LINE), "{text}");
    rclone.home.put(CONFIG, text.replace(LINE, ""), 0o600);
    let other = ["copyto", "file", "oss-upload:examplebucket/rclone/other"];
    rclone.run(&other).assert_failure("AccessDenied");
    rclone.home.put(CONFIG, text, 0o600);

    rclone.env.daemon().signal(Signal::SIGTERM);
    rclone.env.wait_for_daemon_exit();
    rclone.run(&download).assert_failure("sts-shim: no daemon");
}

#[test]
fn rclone_uploads_with_the_policy_of_the_tutorial() {
    let Some(rclone) = Rclone::set_up(&[], UPLOADS) else {
        return;
    };
    let upload = ["copy", "file", "oss-upload:examplebucket/backups"];
    rclone.run(&upload).assert_failure("403");
    let options = ["--s3-no-head", "--no-check-dest"];
    rclone
        .run(&[&upload[..], &options].concat())
        .assert_success();
    assert_eq!(
        rclone.env.emulator().outcomes(Action::OssPutObject, "ok"),
        1
    );
}

/// The connection of the first part is closed once the session that began the upload has ended.
#[test]
fn rclone_upload_survives_new_keys_between_its_requests() {
    let Some(rclone) = Rclone::set_up(&["--session-life", "8s"], OBJECTS) else {
        return;
    };
    let env = &rclone.env;
    let file = fs::File::create(rclone.home.file("large")).unwrap();
    file.set_len(12 * 1024 * 1024).unwrap();
    env.emulator()
        .inject_fault(Action::OssUploadPart, Fault::Hang);
    let mut upload = rclone.start(&[
        "--s3-upload-cutoff=5Mi",
        "--s3-chunk-size=5Mi",
        "copyto",
        "large",
        "oss-upload:examplebucket/rclone/large",
    ]);
    env.wait_until("a part", || env.emulator().calls(Action::OssUploadPart) > 0);
    let served_before = served(env);
    for _ in 0..RENEWALS_PAST_THE_END {
        let before = held_key(env);
        env.wait_until("a rotation", || held_key(env) != before);
    }
    env.emulator().clear_faults();
    assert!(upload.wait().unwrap().success());
    assert!(served(env) > served_before, "the same keys");
    let count = |action| env.emulator().outcomes(action, "ok");
    assert_eq!(count(Action::OssInitiateMultipartUpload), 1);
    assert_eq!(count(Action::OssUploadPart), PARTS);
    assert_eq!(count(Action::OssCompleteMultipartUpload), 1);
}
