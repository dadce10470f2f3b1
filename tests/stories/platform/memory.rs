//! The daemon's memory, where the secrets are: who can look into it, and where in it they are.

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

/// A user that nobody is, root's privileges least of all.
const SOMEBODY: u32 = 61_234;

/// Attaches to a process as a debugger does, and lets go of it.
const ATTACH: &str = "import ctypes, os, sys
libc, pid = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
if libc.ptrace(16, pid, None, None) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(pid, 0)
libc.ptrace(17, pid, None, None)
";

/// An ordinary user with a daemon.
struct Somebody {
    env: TestEnv,
}

impl Somebody {
    /// Starts the daemon, by way of a program if there is one, unless this is no place for
    /// other users; then it says so.
    fn start(through: &[&str]) -> Option<Self> {
        if !geteuid().is_root() {
            e2e::not_run("only root can become another user");
            return None;
        }
        let mut env = TestEnv::without_daemon(&[]);
        env.write_config(UPLOAD);
        for path in ["", "run", "config.toml", "uploader.key"] {
            chown(env.path(path), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        }
        let stsd = program("stsd");
        let mut line = through.iter().map(AsRef::as_ref).chain([stsd.as_os_str()]);
        let mut command = Command::new(line.next().unwrap());
        command
            .args(line)
            .env("STSD_CONFIG", env.path("config.toml"))
            .env("STSD_SOCKET", env.socket())
            .current_dir(env.path(""));
        env.spawn_daemon(owned(command));
        env.wait_until("the socket", || e2e::has_listener(&env.socket()));
        Some(Self { env })
    }

    fn daemon(&self) -> &Process {
        self.env.daemon()
    }

    /// Runs one of the user's programs.
    fn runs(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.env.path(""));
        owned(command).output().unwrap()
    }

    /// Runs a program of ours.
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

    /// Starts another program of the user, which protects itself from nothing.
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

    /// Returns what the doctor says of the pages with secrets.
    fn pages(&self) -> String {
        let output = self.asks("stsctl", &["doctor"]);
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said.lines().find(|line| line.contains("secret pages"));
        line.unwrap_or_else(|| panic!("{said}")).to_owned()
    }

    /// Returns how often the daemon has warned of the pages with secrets.
    fn warnings(&self) -> usize {
        let log = self.env.daemon_log();
        let warned = |it: &&str| it.contains("WARN") && it.contains("secret pages");
        let warned: Vec<_> = log.lines().filter(warned).collect();
        assert!(warned.iter().all(|it| it.contains("LimitMEMLOCK=")));
        warned.len()
    }

    /// Returns how many core dumps there are where the user's programs run.
    fn cores(&self) -> usize {
        let left = fs::read_dir(self.env.path("")).unwrap().flatten();
        let cores = left.filter(|it| it.file_name().to_string_lossy().starts_with("core"));
        cores.count()
    }
}

fn owned(mut command: Command) -> Command {
    // Root's own programs, which come first in root's path, are not for everybody.
    command
        .uid(SOMEBODY)
        .gid(SOMEBODY)
        .env("PATH", "/usr/bin:/bin");
    command
}

/// The user's own other processes: what they can ask the socket they may have, the memory
/// with the long-lived key they may not.
#[test]
fn other_process_of_the_user_cannot_read_the_daemons_memory() {
    let Some(user) = Somebody::start(&[]) else {
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
    // Without the protection the very same attempt succeeds.
    let other = user.another_program();
    let own = format!("/proc/{}/environ", other.id());
    let control = user.runs("cat", &[&own]);
    assert!(control.status.success(), "{control:?}");
}

#[test]
fn debugger_of_the_same_user_cannot_attach() {
    let Some(user) = Somebody::start(&[]) else {
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
    let Some(mut user) = Somebody::start(&["prlimit", "--core=unlimited:unlimited"]) else {
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
    let Some(user) = Somebody::start(&["prlimit", "--memlock=0:0"]) else {
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
    // What a process might lock by default before Linux 5.16.
    let Some(user) = Somebody::start(&["prlimit", "--memlock=65536:65536"]) else {
        return;
    };
    user.is_served();
    assert!(user.pages().starts_with("ok"), "{}", user.pages());
    assert_eq!(user.warnings(), 0);

    let reload = |config: &str| {
        user.env.write_config(config);
        chown(user.env.path("config.toml"), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        let reloaded = user.asks("stsctl", &["reload"]);
        assert!(reloaded.status.success(), "{reloaded:?}");
    };
    let long = format!(
        "access_key_id = \"LTAIEXAMPLELONG\"\naccess_key_secret = \"{}\"\n",
        "x".repeat(12_000)
    );
    user.env.write("long.key", &long, 0o600);
    chown(user.env.path("long.key"), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let mut config = UPLOAD.to_owned();
    // A key is held from when it is needed: each profile that is renewed has this one copied.
    for number in 0..8 {
        let source = format!("long-{number}");
        config +=
            &format!("[source.{source}]\ntype = \"access-key\"\naccess_key_file = \"long.key\"\n");
        let profile = UPLOAD.replace("oss-upload]", &format!("{source}]"));
        config += &profile.replace("uploader", &source);
        config += "keep_warm = true\n";
    }
    reload(&config);
    // A look is remembered for a second.
    let says = |what: &str| user.pages().starts_with(what);
    user.env.wait_until("doctor warns", || says("warning"));
    user.is_served();
    assert_eq!(user.warnings(), 1);
    reload(UPLOAD);
    user.env.wait_until("doctor is content", || says("ok"));
}

/// Every secret that the daemon has, wherever it went through, after each step.
#[test]
fn secrets_are_in_locked_pages_only() {
    if !geteuid().is_root() {
        e2e::not_run("only root can read the memory of another process");
        return;
    }
    let env = TestEnv::start();
    // Whoever has asked STS holds the long-lived key as well.
    let look_for = |arguments: &[&str], asked_sts: bool| {
        let document = env.document(arguments);
        // The ends of the secrets as well: what was overwritten in part is a leftover, too.
        let ends =
            ["AccessKeySecret", "SecurityToken"].map(|it| end(document[it].as_str().unwrap()));
        let of_the_key = [MARKERS[0], end(KEY_SECRET)];
        let texts = [&MARKERS[..], &ends, &of_the_key].concat();
        let mut elsewhere = Vec::new();
        // The buffer of an answer may not be wiped yet when the answer is there.
        for _ in 0..MEMORY_SCANS {
            let found = env.daemon().search(&texts);
            // This daemon's identity is a key: nothing of an identity provider's is expected.
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
    // More life than a session has: the answer is not the one that is ready.
    look(&["--min-life", "11h", "oss-upload"]);
    for arguments in [&["refresh", "oss-upload"][..], &["reload"], &["status"]] {
        assert!(env.ctl(arguments).status.success(), "{arguments:?}");
        look(&["oss-upload"]);
    }
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("NoPermission"));
    assert_eq!(env.ctl(&["refresh", "oss-upload"]).status.code(), Some(7));
    look(&["oss-upload"]);
    // By HTTP, on a connection that stays open and on one that does not.
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
    // What comes over to the program that takes the place.
    env.daemon().signal(Signal::SIGUSR2);
    env.wait_until("the new program", || {
        let log = env.daemon_log();
        log.contains("restored=1")
    });
    look_for(&["oss-upload"], false);
}

/// Returns the last characters of a secret, enough to know it by.
fn end(secret: &str) -> &str {
    &secret[secret.len() - 12..]
}
