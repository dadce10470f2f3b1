//! The way to the first upload for two users of one host without systemd: `stsctl init` by options
//! alone, the daemon, and an upload from a job of cron, which has none of the variables of a session.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use e2e::{
    Action, KEY_SECRET, Process, TestEnv, UnixUser, in_own_mounts, mount_small, not_run, program,
};
use nix::unistd::geteuid;

/// The users, whose numbers have no names on this machine.
const USERS: [UnixUser; 2] = [UnixUser::new(64_021), UnixUser::new(64_022)];

const PROGRAMS: [&str; 4] = ["stsd", "stsctl", "sts-shim", "stsd-oss-client"];

/// A host with the programs, the runtime directory of each user, and the emulated cloud.
struct Host {
    env: TestEnv,
    programs: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let env = TestEnv::without_daemon(&[]);
        set_mode(&env.path(""), 0o755);
        let programs = tempfile::tempdir().unwrap();
        set_mode(programs.path(), 0o755);
        for name in PROGRAMS {
            fs::copy(program(name), programs.path().join(name)).unwrap();
        }
        let run = Path::new("/run");
        mount_small(run, 1 << 20, 1000);
        set_mode(run, 0o755);
        fs::create_dir(run.join("user")).unwrap();
        let host = Self { env, programs };
        for user in USERS {
            for directory in [host.home(user), runtime(user)] {
                fs::create_dir(&directory).unwrap();
                set_mode(&directory, 0o700);
                chown(&directory, Some(user.uid), Some(user.gid)).unwrap();
            }
        }
        host
    }

    fn home(&self, user: UnixUser) -> PathBuf {
        self.env.path(&format!("home-{}", user.uid))
    }

    /// Returns a command with the variables that cron sets, and no others. Source: crontab(5).
    fn cron(&self, user: UnixUser, line: &str) -> Command {
        let mut command = user.command("/bin/sh".into());
        let path = format!("{}:/usr/bin:/bin", self.programs.path().display());
        command.args(["-c", line]).env_clear();
        command.env("SHELL", "/bin/sh").env("PATH", path);
        command
            .env("HOME", self.home(user))
            .env("LOGNAME", user.uid.to_string());
        command.current_dir(self.home(user));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Returns a command in a session of a user.
    fn session(&self, user: UnixUser, line: &str) -> Command {
        let mut command = self.cron(user, line);
        command.env("XDG_RUNTIME_DIR", runtime(user));
        command
    }

    /// Sets the user up, with the secret on stdin.
    fn init(&self, user: UnixUser) {
        let endpoint = self.env.emulator().sts_url();
        let line = format!(
            "stsctl init --profile oss-upload --endpoint {endpoint} --access-key-id \
             LTAIEXAMPLEUPLOADER01 --role oss-upload --secret-stdin"
        );
        let mut command = self.session(user, &line);
        command.stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{KEY_SECRET}").unwrap();
        let said = said(&child.wait_with_output().unwrap());
        assert!(said.contains("Start the daemon:    stsd &"), "{said}");
    }

    fn start_daemon(&self, user: UnixUser) -> Process {
        let log = self.env.path(&format!("daemon-{}.log", user.uid));
        let daemon = Process::start(self.session(user, "exec stsd"), &log);
        self.env.wait_until("the daemon answers", || {
            let status = self.session(user, "stsctl status").output().unwrap();
            status.status.success()
        });
        daemon
    }

    /// Uploads an object from a job of cron.
    fn upload(&self, user: UnixUser) -> String {
        let oss = self.env.emulator().oss_url();
        let put = format!(
            "echo text | stsd-oss-client --endpoint {oss} --region cn-hongkong \
             --credential-process 'sts-shim oss-upload' put examplebucket {}",
            user.uid
        );
        said(&self.cron(user, &put).output().unwrap())
    }
}

fn runtime(user: UnixUser) -> PathBuf {
    format!("/run/user/{}", user.uid).into()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns the whole output of a command that succeeds.
#[track_caller]
fn said(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    e2e::assert_no_secrets("a command", &all);
    let text = String::from_utf8(all).unwrap();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn two_users_of_a_host_upload_from_cron_after_init() {
    if !geteuid().is_root() {
        not_run("only root can become other users for this story");
        return;
    }
    in_own_mounts(|| {
        let host = Host::new();
        let daemons: Vec<_> = USERS
            .iter()
            .map(|user| {
                host.init(*user);
                host.start_daemon(*user)
            })
            .collect();
        for user in USERS {
            host.upload(user);
            // The URL of each user has a port of the user's own.
            let line = "stsctl exec oss-upload -- printenv ALIBABA_CLOUD_CREDENTIALS_URI";
            let url = said(&host.cron(user, line).output().unwrap());
            let port = format!("http://127.0.0.1:{}/", 20_000 + user.uid % 10_000);
            assert!(url.starts_with(&port), "{port} is not in the URL");
        }
        assert_eq!(host.env.emulator().calls(Action::OssPutObject), 2);
        drop(daemons);
    });
}
