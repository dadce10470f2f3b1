//! The daemon's memory: its protection from other processes, and the pages of the secrets.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::chown, net::UnixStream, process::CommandExt as _},
    process::{Command, Output},
    thread,
    time::Duration,
};

use e2e::{
    Action, Fault, Found, KEY_SECRET, MARKERS, MEMORY_SCANS, Process, TestEnv, UPLOAD, program,
};
use nix::{sys::signal::Signal, unistd::geteuid};
use stsd_emulator::{OIDC_TOKEN_MARKER, SAML_ASSERTION_MARKER};

/// A user without a name on this machine, and without privileges.
const ORDINARY_USER: u32 = 61_234;

/// A Python script that attaches to a process as a debugger does, and detaches.
const ATTACH: &str = "import ctypes, os, sys
libc, pid = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
if libc.ptrace(16, pid, None, None) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(pid, 0)
libc.ptrace(17, pid, None, None)
";

/// An ordinary user with a daemon.
struct OrdinaryUser {
    env: TestEnv,
}

impl OrdinaryUser {
    /// Starts the daemon, by the command `through` if that is not empty. Returns `None`, and reports it,
    /// where the test is not run by root.
    fn start(through: &[&str]) -> Option<Self> {
        if !geteuid().is_root() {
            e2e::not_run("only root can become another user");
            return None;
        }
        let mut env = TestEnv::without_daemon(&[]);
        env.write_config(UPLOAD);
        for path in ["", "run", "config.toml", "uploader.key"] {
            chown(env.path(path), Some(ORDINARY_USER), Some(ORDINARY_USER)).unwrap();
        }
        let stsd = program("stsd");
        let mut line = through.iter().map(AsRef::as_ref).chain([stsd.as_os_str()]);
        let mut command = Command::new(line.next().unwrap());
        command
            .args(line)
            .env("STSD_CONFIG", env.path("config.toml"))
            .env("STSD_SOCKET", env.socket())
            .env("XDG_STATE_HOME", env.path("state"))
            .current_dir(env.path(""));
        env.spawn_daemon(owned(command));
        env.wait_until("the socket", || e2e::has_listener(&env.socket()));
        Some(Self { env })
    }

    fn daemon(&self) -> &Process {
        self.env.daemon()
    }

    /// Runs a program as the user.
    fn runs(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.env.path(""));
        owned(command).output().unwrap()
    }

    /// Runs a program of the project as the user.
    fn asks(&self, name: &str, arguments: &[&str]) -> Output {
        let (program, socket) = (program(name), self.env.socket());
        let socket = ["--socket", socket.to_str().unwrap()];
        self.runs(program.to_str().unwrap(), &[&socket, arguments].concat())
    }

    #[track_caller]
    fn is_served(&self) {
        let served = self.asks("sts-shim", &["oss-upload"]);
        assert!(served.status.success(), "{served:?}");
    }

    /// Starts another program of the user, without any protection.
    fn another_program(&self) -> Process {
        let mut command = Command::new("prlimit");
        command.args(["--core=unlimited:unlimited", "sleep", "600"]);
        command.current_dir(self.env.path(""));
        let sleeper = Process::start(owned(command), &self.env.path("sleep.log"));
        let name = format!("/proc/{}/comm", sleeper.id());
        self.env.wait_until("the other program", || {
            fs::read_to_string(&name).is_ok_and(|it| it == "sleep\n")
        });
        sleeper
    }

    /// Returns the doctor's line about the pages with secrets.
    fn pages(&self) -> String {
        let output = self.asks("stsctl", &["doctor"]);
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said.lines().find(|line| line.contains("secret pages"));
        line.unwrap_or_else(|| panic!("{said}")).to_owned()
    }

    /// Returns the number of warnings about the pages with secrets.
    fn warnings(&self) -> usize {
        let log = self.env.daemon_log();
        let warned = |it: &&str| it.contains("WARN") && it.contains("secret pages");
        let warned: Vec<_> = log.lines().filter(warned).collect();
        assert!(warned.iter().all(|it| it.contains("LimitMEMLOCK=")));
        warned.len()
    }

    /// Returns the number of core dumps in the working directory.
    fn cores(&self) -> usize {
        let left = fs::read_dir(self.env.path("")).unwrap().flatten();
        let cores = left.filter(|it| it.file_name().to_string_lossy().starts_with("core"));
        cores.count()
    }
}

fn owned(mut command: Command) -> Command {
    // Other users cannot run root's own programs, which come first in root's path.
    command
        .uid(ORDINARY_USER)
        .gid(ORDINARY_USER)
        .env("PATH", "/usr/bin:/bin");
    command
}

/// Other processes of the user may request credentials at the socket, but may not read the memory with
/// the long-lived key.
#[test]
fn other_process_of_the_user_cannot_read_the_daemons_memory() {
    let Some(user) = OrdinaryUser::start(&[]) else {
        return;
    };
    user.is_served();
    let pid = user.daemon().id();
    for file in ["mem", "maps", "environ", "fd"] {
        let path = format!("/proc/{pid}/{file}");
        let program = if file == "fd" { "ls" } else { "cat" };
        let attempt = user.runs(program, &[&path]);
        let complaint = String::from_utf8_lossy(&attempt.stderr).into_owned();
        assert!(
            complaint.contains("Permission denied"),
            "{path}: {complaint}"
        );
    }
    // Without the protection the same attempt succeeds.
    let other = user.another_program();
    let own = format!("/proc/{}/environ", other.id());
    let control = user.runs("cat", &[&own]);
    assert!(control.status.success(), "{control:?}");
}

#[test]
fn debugger_of_the_same_user_cannot_attach() {
    let Some(user) = OrdinaryUser::start(&[]) else {
        return;
    };
    let other = user.another_program();
    let [daemon, other] = [user.daemon(), &other].map(|it| it.id().to_string());
    let control = user.runs("python3", &["-c", ATTACH, &other]);
    if !control.status.success() {
        // Yama's ptrace_scope, or a sandbox around this test.
        e2e::not_run("nothing can be traced here at all, so a refusal proves nothing");
        return;
    }
    let attempt = user.runs("python3", &["-c", ATTACH, &daemon]);
    let complaint = String::from_utf8_lossy(&attempt.stderr);
    assert!(complaint.contains("Operation not permitted"), "{attempt:?}");

    if Command::new("gdb").arg("--version").output().is_err() {
        e2e::not_run("gdb is not installed; another program has tried what it does");
        return;
    }
    let gdb = |pid: &str| {
        let output = user.runs(
            "gdb",
            &["-nx", "-batch", "-p", pid, "-ex", "info registers"],
        );
        [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned())
    };
    let [registers, _] = gdb(&other);
    assert!(registers.contains("0x"), "gdb works: {registers}");
    let [registers, complaint] = gdb(&daemon);
    assert!(complaint.contains("Operation not permitted"), "{complaint}");
    assert!(!registers.contains("0x"), "{registers}");
    user.is_served();
}

#[test]
fn aborted_daemon_leaves_no_core_dump() {
    let Some(mut user) = OrdinaryUser::start(&["prlimit", "--core=unlimited:unlimited"]) else {
        return;
    };
    user.is_served();
    let mut other = user.another_program();
    let aborted = user.runs("kill", &["-ABRT", &other.id().to_string()]);
    assert!(aborted.status.success(), "{aborted:?}");
    assert_eq!(other.wait(), None);
    let control = user.cores();
    let limits = fs::read_to_string(format!("/proc/{}/limits", user.daemon().id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let fields: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(fields[4..6], ["0", "0"], "{core:?}");
    let aborted = user.runs("kill", &["-ABRT", &user.daemon().id().to_string()]);
    assert!(aborted.status.success(), "{aborted:?}");
    assert_eq!(user.env.wait_for_daemon_exit(), None);
    assert_eq!(user.cores(), control);
    if control == 0 {
        e2e::not_run("core dumps go elsewhere here: another program has left none either");
    }
}

#[test]
fn unlocked_secrets_are_served_and_named_by_log_and_doctor() {
    let Some(user) = OrdinaryUser::start(&["prlimit", "--memlock=0:0"]) else {
        return;
    };
    user.is_served();
    let said = user.pages();
    assert!(said.starts_with("warning"), "{said}");
    assert!(
        said.contains("not locked") && said.contains("LimitMEMLOCK="),
        "{said}"
    );
    assert_eq!(user.warnings(), 1);
}

#[test]
fn memlock_limit_reached_later_is_reported_until_secrets_go() {
    // The default limit of locked memory before Linux 5.16.
    let Some(user) = OrdinaryUser::start(&["prlimit", "--memlock=65536:65536"]) else {
        return;
    };
    user.is_served();
    assert!(user.pages().starts_with("ok"), "{}", user.pages());
    assert_eq!(user.warnings(), 0);

    let reload = |config: &str| {
        user.env.write_config(config);
        chown(
            user.env.path("config.toml"),
            Some(ORDINARY_USER),
            Some(ORDINARY_USER),
        )
        .unwrap();
        let reloaded = user.asks("stsctl", &["reload"]);
        assert!(reloaded.status.success(), "{reloaded:?}");
    };
    let long = format!(
        "access_key_id = \"LTAIEXAMPLELONG\"\naccess_key_secret = \"{}\"\n",
        "x".repeat(12_000)
    );
    user.env.write("long.key", &long, 0o600);
    chown(
        user.env.path("long.key"),
        Some(ORDINARY_USER),
        Some(ORDINARY_USER),
    )
    .unwrap();
    let mut config = UPLOAD.to_owned();
    // Each renewed profile holds a copy of its key.
    for number in 0..8 {
        let source = format!("long-{number}");
        config +=
            &format!("[source.{source}]\ntype = \"access-key\"\naccess_key_file = \"long.key\"\n");
        let profile = UPLOAD.replace("oss-upload]", &format!("{source}]"));
        config += &profile.replace("uploader", &source);
        config += "keep_warm = true\n";
    }
    reload(&config);
    // The daemon caches the state for a second.
    let says = |what: &str| user.pages().starts_with(what);
    user.env.wait_until("doctor warns", || says("warning"));
    user.is_served();
    assert_eq!(user.warnings(), 1);
    reload(UPLOAD);
    user.env.wait_until("doctor is content", || says("ok"));
}

/// All secrets of the daemon, after each step.
#[test]
fn secrets_are_in_locked_pages_only() {
    if !geteuid().is_root() {
        e2e::not_run("only root can read the memory of another process");
        return;
    }
    let env = TestEnv::start();
    // A daemon that has called STS holds the long-lived key as well.
    let look_for = |arguments: &[&str], asked_sts: bool| {
        let document = env.document(arguments);
        // The ends of the secrets as well, which a partial overwrite would leave.
        let ends =
            ["AccessKeySecret", "SecurityToken"].map(|it| end(document[it].as_str().unwrap()));
        let of_the_key = [MARKERS[0], end(KEY_SECRET)];
        let texts = [&MARKERS[..], &ends, &of_the_key].concat();
        let mut elsewhere = Vec::new();
        // The daemon may wipe the buffer of an answer after the answer has arrived.
        for _ in 0..MEMORY_SCANS {
            let found = env.daemon().search(&texts);
            // The identity of this daemon is a key: markers of identity providers are not expected.
            let signed = [OIDC_TOKEN_MARKER, SAML_ASSERTION_MARKER];
            for text in texts.iter().filter(|text| !signed.contains(text)) {
                let protected = |it: &Found| it.text == *text && it.protected;
                let expected = asked_sts || !of_the_key.contains(text);
                assert_eq!(found.iter().any(protected), expected, "{text}: {found:#?}");
            }
            elsewhere = found.into_iter().filter(|it| !it.protected).collect();
            if elsewhere.is_empty() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        assert!(elsewhere.is_empty(), "{elsewhere:#?}");
    };
    let look = |arguments: &[&str]| look_for(arguments, true);
    look(&["oss-upload"]);
    // A minimum lifetime above the session: the answer is not the prepared one.
    look(&["--min-life", "11h", "oss-upload"]);
    for arguments in [&["refresh", "oss-upload"][..], &["reload"], &["status"]] {
        assert!(env.ctl(arguments).status.success(), "{arguments:?}");
        look(&["oss-upload"]);
    }
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("NoPermission"));
    assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(7));
    look(&["oss-upload"]);
    // By HTTP, on an open connection and on a closed one.
    let mut stream = UnixStream::connect(env.path("run/http.sock")).unwrap();
    let get = b"GET /credentials/oss-upload HTTP/1.1\r\nHost: x\r\n\r\n";
    for _ in 0..3 {
        stream.write_all(get).unwrap();
        let mut answer = [0; 8192];
        let length = stream.read(&mut answer).unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
        look(&["oss-upload"]);
    }
    drop(stream);
    look(&["oss-upload"]);
    // After an upgrade.
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("the new program", || {
        let log = env.daemon_log();
        log.contains("restored=1")
    });
    look_for(&["oss-upload"], false);
}

/// Returns the last 12 characters of a secret.
fn end(secret: &str) -> &str {
    &secret[secret.len() - 12..]
}
