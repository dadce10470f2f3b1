//! The kit of the end-to-end stories: real programs, real sockets, an emulated cloud, a
//! private directory, and a watch over secrets.
//!
//! The built-in world of the emulator marks every secret: the RAM user's key and all that
//! STS issues can be told from anything else. When a [`Kit`] goes, it ends its programs
//! and fails the test if a marker shows up in a log, an error, an argument list or a file
//! that nobody asked for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod apart;
mod clocks;
mod keyring;
mod memory;
mod port;
mod process;
mod pty;

use std::{
    env, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Mutex,
    thread,
    time::Duration,
};

pub use apart::{in_own_mounts, in_own_network, mount_small};
pub use clocks::Clocks;
pub use keyring::Keyring;
pub use memory::{Found, Mapping};
use minreq::Method;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
pub use port::{Unheard, port_of_ones_own};
pub use process::{Process, descriptor, exit};
pub use pty::Terminal;
use serde_json::{Value, json};
use stsd_client::Client;

/// What only secrets hold: the long-lived key's, a session's, its token or one for metadata,
/// and what identity providers sign.
pub const MARKERS: [&str; 5] = [
    "ExampleSecretOf",
    "EmulatedSecret",
    "EmulatedToken",
    stsd_emulator::OIDC_TOKEN_MARKER,
    stsd_emulator::SAML_ASSERTION_MARKER,
];

/// The long-lived secret of the RAM user.
pub const KEY_SECRET: &str = "ExampleSecretOfUploader000001";

/// A profile that may do everything in `examplebucket`.
pub const UPLOAD: &str = "[profile.oss-upload]\nsource = \"uploader\"\n\
    role_arn = \"acs:ram::100000000000001:role/oss-upload\"\n";

/// Lines of the daemon's log that a failed story prints.
const LOG_LINES_SHOWN: usize = 60;

/// The pause between two looks at what is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// The looks at what is waited for in a task, before it is given up: 20 s of pauses.
const LOOKS_OF_A_TASK: u32 = 1000;

/// One private world.
pub struct Kit {
    directory: tempfile::TempDir,
    emulator: Process,
    sts: String,
    oss: String,
    imds: String,
    daemon: Option<Process>,
    /// What programs said that should be free of secrets, with who said it.
    said: Mutex<Vec<(String, Vec<u8>)>>,
}

impl Kit {
    /// Starts an emulator and a daemon with one profile, `oss-upload`.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[], UPLOAD)
    }

    /// Starts an emulator with arguments and a daemon with profiles.
    #[must_use]
    pub fn with(emulator: &[&str], profiles: &str) -> Self {
        let mut kit = Self::without_daemon(emulator);
        kit.write_config(profiles);
        kit.start_daemon();
        kit
    }

    /// Starts an emulator alone.
    #[must_use]
    pub fn without_daemon(emulator: &[&str]) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("stsd-e2e-")
            .tempdir()
            .unwrap();
        let log = directory.path().join("emulator.log");
        let mut command = Command::new(program("stsd-emulator"));
        command.args(emulator).arg("--exit-with-stdin");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut emulator = Process::start(command, &log);
        let line = emulator.first_line();
        let addresses: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| addresses[name].as_str().unwrap().to_owned();
        let kit = Self {
            sts: address("sts"),
            oss: address("oss"),
            imds: address("imds"),
            directory,
            emulator,
            daemon: None,
            said: Mutex::default(),
        };
        let key = format!(
            "access_key_id = \"LTAIEXAMPLEUPLOADER01\"\naccess_key_secret = \"{KEY_SECRET}\"\n"
        );
        kit.write("uploader.key", &key, 0o600);
        // The socket's directory has to be the user's alone.
        fs::DirBuilder::new()
            .mode(0o700)
            .create(kit.path("run"))
            .unwrap();
        kit
    }

    /// Writes the configuration: the emulator's address, the user's key, and `profiles`.
    pub fn write_config(&self, profiles: &str) {
        self.write_config_with(&self.endpoint(), profiles);
    }

    /// Returns the line of a configuration that names the emulator.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!(
            "endpoint = \"{}\"
",
            self.sts
        )
    }

    /// Writes the configuration with lines of one's own for the top level.
    pub fn write_config_with(&self, top: &str, profiles: &str) {
        let config = format!(
            "{top}[source.uploader]
type = \"access-key\"
\
             access_key_file = \"uploader.key\"
{profiles}"
        );
        self.write("config.toml", &config, 0o600);
    }

    /// Starts the daemon and waits until it answers.
    pub fn start_daemon(&mut self) {
        let command = self.daemon_command();
        self.adopt_daemon(command);
    }

    /// Starts the daemon by a command of one's own, for those whom it would not answer.
    pub fn start_unasked(&mut self, mut command: Command) {
        let log = self.path("daemon.log");
        command.env("RUST_LOG", "trace").stdin(Stdio::null());
        self.daemon = Some(Process::start(command, &log));
    }

    /// Starts the daemon by a command of one's own and waits until it answers.
    pub fn adopt_daemon(&mut self, command: Command) {
        self.start_unasked(command);
        let client = self.client();
        self.wait_until("the daemon answers", || client.status().is_ok());
    }

    /// Returns the daemon's command, not yet started.
    #[must_use]
    pub fn daemon_command(&self) -> Command {
        let mut command = Command::new(program("stsd"));
        command.env("STSD_CONFIG", self.path("config.toml"));
        command.env("STSD_SOCKET", self.socket());
        command
    }

    /// Returns the daemon.
    #[must_use]
    pub fn daemon(&self) -> &Process {
        self.daemon.as_ref().expect("the daemon was started")
    }

    /// Waits until the daemon has ended; returns its exit code.
    pub fn daemon_ends(&mut self) -> Option<i32> {
        self.daemon.take().expect("the daemon was started").wait()
    }

    /// Returns a path in the private directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the daemon's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("run/stsd.sock")
    }

    /// Returns the address of the emulated STS.
    #[must_use]
    pub fn sts(&self) -> &str {
        &self.sts
    }

    /// Returns the address of the emulated OSS.
    #[must_use]
    pub fn oss(&self) -> &str {
        &self.oss
    }

    /// Returns the address of the emulated instance's metadata.
    #[must_use]
    pub fn imds(&self) -> &str {
        &self.imds
    }

    /// Returns a client of the daemon.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::at(self.socket())
    }

    /// Writes a file in the private directory with a mode.
    pub fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        let _ = fs::remove_file(&path);
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// Returns the shim's command, not yet started.
    #[must_use]
    pub fn shim_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("sts-shim"));
        command.arg("--socket").arg(self.socket()).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Returns the shim with its socket as one command line, as SDKs are configured.
    #[must_use]
    pub fn shim_line(&self, profile: &str) -> String {
        let (shim, socket) = (program("sts-shim"), self.socket());
        format!("{} --socket {} {profile}", shim.display(), socket.display())
    }

    /// Runs the shim to its end.
    #[must_use]
    pub fn shim(&self, arguments: &[&str]) -> Output {
        let output = self.shim_command(arguments).output().unwrap();
        self.must_be_clean("sts-shim's stderr", &output.stderr);
        output
    }

    /// Runs the shim, which must succeed silently, and reads its document.
    #[must_use]
    pub fn document(&self, arguments: &[&str]) -> Value {
        let output = self.shim(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "sts-shim failed: {complaint}");
        assert_eq!(complaint, "", "on success stderr is empty");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs `stsctl` to its end.
    #[must_use]
    pub fn ctl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("stsctl"));
        let output = command
            .arg("--socket")
            .arg(self.socket())
            .args(arguments)
            .output()
            .unwrap();
        self.must_be_clean("stsctl's stderr", &output.stderr);
        output
    }

    /// Runs `stsctl` at a terminal with so many rows and columns.
    #[must_use]
    pub fn ctl_at_terminal(&self, size: (u16, u16), arguments: &[&str]) -> Terminal {
        let mut command = Command::new(program("stsctl"));
        command.arg("--socket").arg(self.socket()).args(arguments);
        Terminal::start(&command, size)
    }

    /// Runs one OSS operation with credentials from a command; returns what the client
    /// said, or the code of OSS's error.
    pub fn oss_as(&self, process: &str, operation: &[&str], input: &str) -> Result<String, String> {
        let mut child = Command::new(program("stsd-oss-client"))
            .args(["--endpoint", &self.oss, "--region", "cn-hongkong"])
            .args(["--credential-process", process])
            .args(operation)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have failed before it read anything.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        self.must_be_clean("stsd-oss-client's stderr", &output.stderr);
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Runs one OSS operation with credentials of a profile.
    pub fn oss_with(
        &self,
        profile: &str,
        operation: &[&str],
        input: &str,
    ) -> Result<String, String> {
        self.oss_as(&self.shim_line(profile), operation, input)
    }

    /// Returns how many calls of an action the emulated cloud has seen, whatever came of them.
    #[must_use]
    pub fn calls(&self, action: &str) -> u64 {
        let stats = self.stats();
        let outcomes = stats["calls"][action].as_object();
        outcomes.map_or(0, |it| it.values().filter_map(Value::as_u64).sum())
    }

    /// Returns how many of the sessions that the emulated cloud has issued still live, by
    /// its own clock.
    #[must_use]
    pub fn live_sessions(&self) -> u64 {
        self.stats()["sessions_live"].as_u64().unwrap()
    }

    /// Scripts a fault of the emulated cloud.
    pub fn fault(&self, fault: &Value) {
        self.steer(Method::Post, "faults", &fault.to_string());
    }

    /// Makes every `AssumeRole` go wrong, until [`heal`](Self::heal).
    pub fn sts_fails(&self, fault: &Value) {
        self.fault(&json!({"action": "AssumeRole", "fault": fault}));
    }

    /// Returns how many faults are still to strike: one that is scripted for a number of calls is
    /// none any more from when the last of these has reached the emulated cloud.
    #[must_use]
    pub fn faults_left(&self) -> usize {
        let left: Value = serde_json::from_str(&self.steer(Method::Get, "faults", "")).unwrap();
        left["faults"].as_array().unwrap().len()
    }

    /// Makes the emulated cloud whole again: what hangs ends without an answer, and what is
    /// delayed with one.
    pub fn heal(&self) {
        self.steer(Method::Delete, "faults", "");
    }

    /// Makes the emulated instance's metadata have other credentials at once.
    pub fn rotate_instance(&self) {
        self.steer(Method::Post, "imds/rotate", "");
    }

    /// Gives an order on the control address of the emulated cloud; returns its answer.
    #[must_use]
    pub fn order(&self, what: &str, order: &Value) -> Value {
        serde_json::from_str(&self.steer(Method::Post, what, &order.to_string())).unwrap()
    }

    /// Returns a token of the emulated OIDC provider; `order` says what is special about it.
    #[must_use]
    pub fn token(&self, order: &Value) -> String {
        let mut whole =
            json!({"provider": "demo", "subject": "system:serviceaccount:jobs:uploader"});
        merge(&mut whole, order);
        self.order("oidc/token", &whole)["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Returns an assertion of the emulated SAML provider; `order` says what is special about it.
    #[must_use]
    pub fn assertion(&self, order: &Value) -> String {
        let mut whole = json!({"provider": "demo", "subject": "operator", "roles": ["oss-upload"]});
        merge(&mut whole, order);
        let answer = self.order("saml/assertion", &whole);
        answer["assertion"].as_str().unwrap().to_owned()
    }

    /// Puts a file of the private directory in place of another, as a whole.
    pub fn replace(&self, name: &str, text: &str, mode: u32) {
        // Named as one that may hold a secret.
        let new = format!("{name}.new.secret");
        self.write(&new, text, mode);
        fs::rename(self.path(&new), self.path(name)).unwrap();
    }

    /// Returns how many calls of an action the emulated cloud has answered with an outcome.
    #[must_use]
    pub fn outcomes(&self, action: &str, outcome: &str) -> u64 {
        let stats = self.stats();
        stats["calls"][action][outcome].as_u64().unwrap_or(0)
    }

    /// Remembers what a program said, to be searched for secrets at the end.
    pub fn must_be_clean(&self, who: &str, said: &[u8]) {
        self.said
            .lock()
            .unwrap()
            .push((who.to_owned(), said.to_vec()));
    }

    /// Waits for something that has to become true, and fails when it does not.
    #[track_caller]
    pub fn wait_until(&self, what: &str, ready: impl FnMut() -> bool) {
        self.wait_within(Duration::from_secs(20), what, ready);
    }

    /// Waits for something that has to become true. The bound counts the pauses between the
    /// looks, and not the looks: they take longer on a busy machine.
    #[track_caller]
    pub fn wait_within(&self, bound: Duration, what: &str, ready: impl FnMut() -> bool) {
        assert!(
            self.comes_true(bound, ready),
            "it never came to this: {what}"
        );
    }

    fn comes_true(&self, bound: Duration, mut ready: impl FnMut() -> bool) -> bool {
        let looks = bound.as_millis() / PAUSE.as_millis();
        (0..looks).any(|_| {
            let is_ready = ready();
            if !is_ready {
                thread::sleep(PAUSE);
            }
            is_ready
        })
    }

    /// Asks for a profile that is not to be had, until the shim ends with an exit code and has
    /// these words to say. No attempt before that may have printed anything: each has little
    /// patience, and on a busy machine that ends before there is a reason.
    #[track_caller]
    pub fn refuses(&self, profile: &str, code: i32, words: &[&str]) {
        let mut last = String::new();
        let refused = self.comes_true(Duration::from_secs(60), || {
            let output = self.shim(&["--patience", "1s", profile]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.stdout.is_empty(), "{profile} was handed out: {said}");
            let ended = output.status.code();
            last = format!("{ended:?}: {said}");
            ended == Some(code) && words.iter().all(|word| said.contains(word))
        });
        assert!(
            refused,
            "{profile} was never refused with {code} and {words:?}; at last with {last}"
        );
    }

    /// Returns how many connections at the daemon's socket a program has accepted and not
    /// closed. One of them may be the daemon's own for a moment, when it looks whether it is
    /// there, so this is a number to be waited for.
    #[must_use]
    pub fn connections(&self) -> usize {
        // What was accepted has the path of the socket that listens, and the state of a
        // connection.
        unix_sockets(&self.socket(), |_, state| state == "03")
    }

    fn stats(&self) -> Value {
        serde_json::from_str(&self.steer(Method::Get, "stats", "")).unwrap()
    }

    /// Makes a request at the control address of the emulated cloud; returns the answer's body.
    fn steer(&self, method: Method, what: &str, body: &str) -> String {
        let request = minreq::Request::new(method, format!("{}/_emulator/{what}", self.sts))
            .with_header("content-type", "application/json")
            .with_body(body);
        let answer = request.send().unwrap();
        let text = answer.as_str().unwrap();
        let is_good = (200..300).contains(&answer.status_code);
        assert!(is_good, "{what}: {} {text}", answer.status_code);
        text.to_owned()
    }

    /// Keeps the directory of a story that failed, and prints where it is and the end of the
    /// daemon's log.
    fn keep_files(&mut self) {
        self.directory.disable_cleanup(true);
        let log = fs::read_to_string(self.path("daemon.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
        let directory = self.directory.path().display();
        let _ = writeln!(
            io::stderr(),
            "the files of this story are kept in {directory}; the end of daemon.log there:\n{end}"
        );
    }

    /// Searches everything that should be free of secrets.
    fn leaks(&self) -> Vec<String> {
        let mut places = self.said.lock().unwrap().clone();
        let processes = self.daemon.iter().chain([&self.emulator]);
        for process in processes {
            let command_line = fs::read(format!("/proc/{}/cmdline", process.id()));
            places.push(("an argument list".into(), command_line.unwrap_or_default()));
        }
        let mut pending = vec![self.directory.path().to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    pending.push(path);
                } else if path.is_file() && !asked_for(&path) {
                    // Nothing else is read: a FIFO has no end.
                    places.push((
                        path.display().to_string(),
                        fs::read(&path).unwrap_or_default(),
                    ));
                }
            }
        }
        let holds = |text: &[u8], marker: &str| {
            text.windows(marker.len())
                .any(|window| window == marker.as_bytes())
        };
        let leak = |(who, said): &(String, Vec<u8>)| {
            let marker = MARKERS.iter().find(|marker| holds(said, marker))?;
            Some(format!("{who} holds {marker}"))
        };
        places.iter().filter_map(leak).collect()
    }
}

impl Drop for Kit {
    fn drop(&mut self) {
        let leaks = self.leaks();
        drop(self.daemon.take());
        // What a program says when it is told to stop counts as well.
        let leaks: Vec<_> = leaks.into_iter().chain(self.leaks()).collect();
        if thread::panicking() {
            self.keep_files();
        } else if !leaks.is_empty() {
            panic!("secrets got out: {leaks:?}");
        }
    }
}

/// Tells whether a program listens at a socket that it has made. It is there before that, for a
/// moment in which connections are refused. One that was taken away is listened at as before.
#[must_use]
pub fn is_listened_at(path: &Path) -> bool {
    unix_sockets(path, |flags, _| flags == "00010000") > 0
}

/// Returns how many sockets with a path, in the network of this thread, have flags and a state.
fn unix_sockets(path: &Path, have: impl Fn(&str, &str) -> bool) -> usize {
    let sockets = fs::read_to_string("/proc/thread-self/net/unix").unwrap();
    let is_one = |line: &str| {
        // Num RefCount Protocol Flags Type St Inode Path
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, _, _, flags, _, state, _, its] = fields[..] else {
            return false;
        };
        Path::new(its) == path && have(flags, state)
    };
    sockets.lines().filter(|it| is_one(it)).count()
}

/// Waits in a task for something that has to become true.
///
/// # Panics
/// When it does not.
pub async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..LOOKS_OF_A_TASK {
        if ready() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("it never came to this: {what}");
}

/// Lets this test hold all the files the system allows; returns how many.
#[must_use]
pub fn many_files() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    hard
}

/// Reports that this machine cannot run a story, or a part of it. The line goes to standard
/// error, and to the file that `cargo xtask` names, because test runners keep to themselves
/// what passing tests print.
pub fn not_run(reason: &str) {
    report("NOT RUN", reason, "STSD_TEST_NOT_RUN");
}

/// Reports what a story has measured; nothing is asserted about it.
pub fn measured(figure: &str) {
    report("MEASURED", figure, "STSD_TEST_MEASURED");
}

fn report(kind: &str, text: &str, file_variable: &str) {
    let story = thread::current().name().unwrap_or("a story").to_owned();
    let _ = writeln!(io::stderr(), "{kind}: {story}: {text}");
    let Some(path) = env::var_os(file_variable) else {
        return;
    };
    let mut options = fs::OpenOptions::new();
    let mut file = options.create(true).append(true).open(path).unwrap();
    // One write for the line: other stories add theirs at the same time.
    file.write_all(format!("{story}: {text}\n").as_bytes())
        .unwrap();
}

/// Puts the keys of one object over those of another.
fn merge(whole: &mut Value, part: &Value) {
    for (key, value) in part.as_object().into_iter().flatten() {
        whole[key] = value.clone();
    }
}

/// A story keeps a secret in a file of its own by naming it so.
fn asked_for(path: &Path) -> bool {
    path.extension()
        .is_some_and(|it| it == "key" || it == "secret")
}

/// Returns a program of the project, built beside this test.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let directory = test.ancestors().nth(2).unwrap();
    let program = directory.join(name);
    assert!(
        program.exists(),
        "{} is missing: run `cargo build --workspace --bins` first, or `cargo xtask test`",
        program.display()
    );
    program
}

/// Returns an example of `examples/rust`, which `cargo xtask test` has built.
///
/// # Panics
/// When it has not.
#[must_use]
pub fn rust_example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let program = target.join("examples-rust/debug").join(name);
    assert!(
        program.exists(),
        "{} is missing: run `cargo xtask test`, which builds it",
        program.display()
    );
    program
}

/// Returns where `cargo xtask test` has put the official SDKs.
///
/// # Panics
/// When it has not.
#[must_use]
pub fn clients() -> PathBuf {
    let test = env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let clients = target.join("clients");
    assert!(
        clients.exists(),
        "the official SDKs are not in {}: run `cargo xtask test`, which installs them",
        clients.display()
    );
    clients
}
