//! `cargo xtask live` against the emulator: the program `stsd-live`, which it builds and runs.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use e2e::{Action, Fault, HttpsUrls, KEY_SECRET, TestEnv, assert_no_secrets, program};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The steps of a report.
const STEPS: [&str; 10] = [
    "configuration",
    "daemon",
    "assume-role",
    "put",
    "get",
    "refusal",
    "renewal",
    "wrong-role",
    "delete",
    "clean-up",
];

/// Names and numbers of the account that no report may contain.
const PRIVATE: [&str; 4] = [
    "100000000000001",
    "oss-upload",
    "examplebucket",
    "LTAIEXAMPLEUPLOADER01",
];

const PLACE: &str = "region = \"cn-hongkong\"\nbucket = \"examplebucket\"\n\
    role_arn = \"acs:ram::100000000000001:role/oss-upload\"\n";

/// An emulator with HTTPS, and an empty directory for temporary files.
struct Cloud {
    env: TestEnv,
    https: HttpsUrls,
    _authority: tempfile::TempDir,
}

impl Cloud {
    fn start() -> Self {
        let authority = tempfile::tempdir().unwrap();
        let env = TestEnv::without_daemon(&["--tls", authority.path().to_str().unwrap()]);
        let https = env.emulator().https().unwrap();
        fs::create_dir(env.path("tmp")).unwrap();
        fs::set_permissions(env.path("tmp"), fs::Permissions::from_mode(0o700)).unwrap();
        Self {
            env,
            https,
            _authority: authority,
        }
    }

    /// Writes the file of the user, with the key itself and the endpoints of the emulator.
    fn write_file(&self, secret: &str) {
        let text = format!(
            "{PLACE}access_key_id = \"LTAIEXAMPLEUPLOADER01\"\naccess_key_secret = \"{secret}\"\n\
             sts_endpoint = \"{}\"\noss_endpoint = \"{}\"\n",
            self.https.sts, self.https.oss
        );
        self.env.write("live.secret", &text, 0o600);
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program("stsd-live"));
        command.arg(self.env.path("live.secret"));
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        command.env_remove("NO_PROXY").env_remove("no_proxy");
        command.env("SSL_CERT_FILE", &self.https.authority);
        command.env("TMPDIR", self.env.path("tmp"));
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self) -> Report {
        Report::of(&self.command().output().unwrap())
    }

    fn assert_no_files_are_left(&self) {
        let left: Vec<_> = fs::read_dir(self.env.path("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// The output of a run.
struct Report {
    code: Option<i32>,
    text: String,
}

impl Report {
    #[track_caller]
    fn of(output: &Output) -> Self {
        assert_no_secrets("the report", &output.stdout);
        assert_no_secrets("the stderr of stsd-live", &output.stderr);
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        for private in PRIVATE {
            assert!(!text.contains(private), "{private} is in {text}");
        }
        Self {
            code: output.status.code(),
            text,
        }
    }

    /// Returns the result, code and status of a step.
    #[track_caller]
    fn step(&self, name: &str) -> (&str, &str, &str) {
        let mut rows = self.text.lines().filter_map(|it| it.strip_prefix(name));
        let row = rows.find(|it| it.starts_with(' '));
        let row = row.unwrap_or_else(|| panic!("there is no step {name} in {}", self.text));
        let (result, rest) = match row.trim_start().strip_prefix("not run") {
            Some(rest) => ("not run", rest),
            None => row.trim_start().split_once(' ').unwrap(),
        };
        let mut cells = rest.split_whitespace();
        (result, cells.next().unwrap(), cells.next().unwrap())
    }

    #[track_caller]
    fn assert_steps_are_ok(&self) {
        for name in STEPS {
            assert_eq!(self.step(name).0, "ok", "{name}: {}", self.text);
        }
        assert_eq!(self.code, Some(0), "{}", self.text);
        assert!(self.text.contains("\nexit code  0: "), "{}", self.text);
    }
}

#[test]
fn live_run_reports_each_step_and_leaves_nothing() {
    let cloud = Cloud::start();
    cloud.write_file(KEY_SECRET);
    let report = cloud.run();
    report.assert_steps_are_ok();
    assert_eq!(report.step("put"), ("ok", "-", "200"));
    assert_eq!(report.step("refusal"), ("ok", "AccessDenied", "403"));
    assert_eq!(report.step("renewal"), ("ok", "-", "200"));
    assert_eq!(report.step("wrong-role").1, "EntityNotExist.Role");
    assert_eq!(report.step("delete").2, "204");
    for words in [
        "wrong-role: sts refused: EntityNotExist.Role",
        "; hint: ",
        "region     cn-hongkong\n",
        "version    stsd ",
        "clock      this machine is ",
        "masked     <account>",
    ] {
        assert!(report.text.contains(words), "{words}: {}", report.text);
    }
    let outcomes = |action, outcome| cloud.env.emulator().outcomes(action, outcome);
    assert_eq!(outcomes(Action::AssumeRole, "ok"), 3);
    assert_eq!(outcomes(Action::AssumeRole, "EntityNotExist.Role"), 1);
    assert_eq!(outcomes(Action::OssPutObject, "AccessDenied"), 1);
    assert_eq!(outcomes(Action::OssDeleteObject, "ok"), 1);
    cloud.assert_no_files_are_left();
}

#[test]
fn live_run_with_a_wrong_secret_fails_without_a_secret() {
    let cloud = Cloud::start();
    cloud.write_file("ExampleSecretOfAnother0000001");
    let report = cloud.run();
    assert_eq!(report.code, Some(1), "{}", report.text);
    let (result, code, _) = report.step("assume-role");
    assert_eq!((result, code), ("failed", "SignatureDoesNotMatch"));
    for name in ["put", "get", "refusal", "renewal", "wrong-role", "delete"] {
        assert_eq!(report.step(name).0, "not run", "{}", report.text);
    }
    assert_eq!(report.step("clean-up").0, "ok");
    assert!(report.text.contains("\nexit code  1: "), "{}", report.text);
    cloud.assert_no_files_are_left();
}

#[test]
fn live_run_calls_the_endpoints_of_the_region() {
    let cloud = Cloud::start();
    let proxy = Proxy::start(&cloud.https);
    let key = "access_key_file = \"uploader.key\"\n";
    cloud
        .env
        .write("live.secret", &format!("{PLACE}{key}"), 0o600);
    let mut command = cloud.command();
    command.env("HTTPS_PROXY", format!("http://{}", proxy.address));
    let report = Report::of(&command.output().unwrap());
    report.assert_steps_are_ok();
    assert!(
        report
            .text
            .contains("\nSTS        sts.cn-hongkong.aliyuncs.com\n")
    );
    assert!(
        report
            .text
            .contains("\nOSS        oss-cn-hongkong.aliyuncs.com\n")
    );
    let hosts = proxy.hosts.lock().unwrap().clone();
    for host in [
        "sts.cn-hongkong.aliyuncs.com:443",
        "examplebucket.oss-cn-hongkong.aliyuncs.com:443",
    ] {
        assert!(hosts.iter().any(|it| it == host), "{hosts:?}");
    }
    cloud.assert_no_files_are_left();
}

#[test]
fn interrupted_live_run_deletes_its_object() {
    let cloud = Cloud::start();
    cloud.write_file(KEY_SECRET);
    let emulator = cloud.env.emulator();
    emulator.inject_fault_once(Action::OssGetObject, Fault::Hang);
    let child = cloud.command().spawn().unwrap();
    cloud
        .env
        .wait_until("the get has no answer", || emulator.pending_faults() == 0);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    emulator.clear_faults();
    let report = Report::of(&child.wait_with_output().unwrap());
    assert_eq!(report.code, Some(1), "{}", report.text);
    assert_eq!(report.step("get").0, "failed", "{}", report.text);
    assert_eq!(report.step("refusal").0, "not run", "{}", report.text);
    assert!(report.text.contains("a signal has ended the run"));
    assert_eq!(report.step("delete").0, "ok", "{}", report.text);
    assert_eq!(emulator.outcomes(Action::OssDeleteObject, "ok"), 1);
    cloud.assert_no_files_are_left();
}

#[test]
fn file_that_other_users_can_read_is_refused() {
    let cloud = Cloud::start();
    cloud.write_file(KEY_SECRET);
    let file = cloud.env.path("live.secret");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let output = cloud.command().output().unwrap();
    assert_no_secrets("the stderr of stsd-live", &output.stderr);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    assert!(complaint.contains("mode 0640"), "{complaint}");
    let hint = format!("hint: chmod 600 {}", file.display());
    assert!(complaint.contains(&hint), "{complaint}");
    assert_eq!(cloud.env.emulator().calls(Action::AssumeRole), 0);
}

/// A proxy that leads the hosts of STS and OSS to the emulator.
struct Proxy {
    address: String,
    hosts: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(https: &HttpsUrls) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let hosts = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&hosts);
        let [sts, oss] = [&https.sts, &https.oss].map(|it| it.replace("https://", ""));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, sts, oss) = (Arc::clone(&seen), sts.clone(), oss.clone());
                // A client that gives up ends its connection alone.
                thread::spawn(move || drop(connect(stream, &seen, [&sts, &oss])));
            }
        });
        Self { address, hosts }
    }
}

fn connect(mut stream: TcpStream, seen: &Mutex<Vec<String>>, to: [&str; 2]) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let host = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let [sts, oss] = to;
    let mut other = TcpStream::connect(if host.starts_with("sts.") { sts } else { oss })?;
    seen.lock().unwrap().push(host);
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut back, mut forth) = (other.try_clone()?, stream.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut back, &mut forth);
        let _ = forth.shutdown(Shutdown::Write);
    });
    let copied = io::copy(&mut stream, &mut other);
    other.shutdown(Shutdown::Write)?;
    copied.map(drop)
}
