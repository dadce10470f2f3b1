//! The demonstration: the real programs against an emulated cloud, in a temporary directory.

use std::{
    env,
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use stsd_client::Client;

use crate::{commands::status, term::stdout::print_line};

const PROFILE: &str = "oss-upload";
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(20);
const CLIENTS: usize = 100;

/// A child process, killed when it is dropped.
struct ChildGuard(Child);

/// The programs and the temporary directory.
struct Sandbox {
    programs: PathBuf,
    directory: tempfile::TempDir,
}

pub(crate) fn run() -> Result<()> {
    let sandbox = Sandbox::new()?;
    print_line(
        "1. An emulated cloud, and a daemon that holds a RAM user's key (all of it made up)",
    )?;
    let (_emulator, sts, oss) = sandbox.emulator()?;
    sandbox.configure(&sts)?;
    let _daemon = sandbox.daemon()?;
    let client = Client::at(sandbox.socket());
    sandbox.wait_until_ready(&client)?;
    print_line(&format!("   STS at {sts}, OSS at {oss}"))?;

    print_line(&format!(
        "\n2. {CLIENTS} programs ask for credentials at the same moment: sts-shim {PROFILE}"
    ))?;
    let document = sandbox.run_clients()?;
    let calls = client
        .status()?
        .profiles
        .first()
        .map_or(0, |profile| profile.sts_calls);
    print_line(&format!("   {CLIENTS} answers, {calls} AssumeRole call"))?;
    ensure!(
        calls == 1,
        "{CLIENTS} cold callers cost {calls} calls instead of 1"
    );

    print_line("\n3. What each of them got: one document for every SDK (secrets shortened here)")?;
    print_line(&format!("   {}", shortened(&document)?))?;

    print_line("\n4. A program that holds no key uploads an object to OSS, and reads it back")?;
    let text = "written with credentials that no program had to store\n";
    sandbox.oss(&oss, &["put", "examplebucket", "demo/hello.txt"], text)?;
    let read = sandbox.oss(&oss, &["get", "examplebucket", "demo/hello.txt"], "")?;
    ensure!(read == text, "the object came back changed");
    print_line(&format!(
        "   oss://examplebucket/demo/hello.txt: {}",
        read.trim()
    ))?;

    print_line("\n5. A renewal: the next caller gets new credentials without waiting")?;
    let before = client
        .credentials(PROFILE, Duration::ZERO, CREDENTIALS_TIMEOUT)?
        .credentials;
    client.refresh(PROFILE, CREDENTIALS_TIMEOUT)?;
    let after = client
        .credentials(PROFILE, Duration::ZERO, CREDENTIALS_TIMEOUT)?
        .credentials;
    ensure!(
        before.access_key_id != after.access_key_id,
        "the credentials did not rotate"
    );
    print_line(&format!(
        "   {} → {}",
        before.access_key_id, after.access_key_id
    ))?;

    print_line("\n6. What the daemon says of itself: stsctl status\n")?;
    status::show(&status::fetch(&client, &[])?, false)?;
    print_line("\nEverything is stopped and removed again. stsctl init sets up a daemon of yours.")
}

impl Sandbox {
    fn new() -> Result<Self> {
        let own = env::current_exe().context("this program cannot find itself")?;
        let programs = own.parent().context("this program is nowhere")?.to_owned();
        for name in ["stsd", "sts-shim", "stsd-emulator", "stsd-oss-client"] {
            ensure!(
                programs.join(name).exists(),
                "{name} is not beside stsctl in {}; build or install it there",
                programs.display()
            );
        }
        // Mode 0700: clients require a socket directory that only its owner can write.
        let directory = tempfile::Builder::new()
            .prefix("stsd-demo-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()?;
        Ok(Self {
            programs,
            directory,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("stsd.sock")
    }

    fn emulator(&self) -> Result<(ChildGuard, String, String)> {
        let mut child = Command::new(self.programs.join("stsd-emulator"))
            .arg("--exit-with-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("stsd-emulator does not start")?;
        let stdout = child.stdout.take().context("stsd-emulator has no output")?;
        let running = ChildGuard(child);
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addresses: serde_json::Value = serde_json::from_str(&line)?;
        let address = |name: &str| addresses[name].as_str().map(str::to_owned);
        match (address("sts"), address("oss")) {
            (Some(sts), Some(oss)) => Ok((running, sts, oss)),
            _ => bail!("stsd-emulator did not say where it listens"),
        }
    }

    fn configure(&self, sts: &str) -> Result<()> {
        let key = "access_key_id = \"LTAIEXAMPLEUPLOADER01\"\n\
                   access_key_secret = \"ExampleSecretOfUploader000001\"\n";
        let config = format!(
            "endpoint = \"{sts}\"\n\n\
             [source.uploader]\ntype = \"access-key\"\naccess_key_file = \"uploader.key\"\n\n\
             [profile.{PROFILE}]\nsource = \"uploader\"\n\
             role_arn = \"acs:ram::100000000000001:role/oss-upload\"\n"
        );
        write_private(&self.path("uploader.key"), key)?;
        write_private(&self.path("config.toml"), &config)
    }

    fn daemon(&self) -> Result<ChildGuard> {
        let log = fs::File::create(self.path("stsd.log"))?;
        let child = Command::new(self.programs.join("stsd"))
            .env("STSD_CONFIG", self.path("config.toml"))
            .env("STSD_SOCKET", self.socket())
            .env("XDG_STATE_HOME", self.directory.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .context("stsd does not start")?;
        Ok(ChildGuard(child))
    }

    /// Waits until the daemon answers; the error has the daemon's log.
    fn wait_until_ready(&self, client: &Client) -> Result<()> {
        for _ in 0..250 {
            if client.clone().without_retries().status().is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(self.path("stsd.log")).unwrap_or_default();
        bail!("the daemon does not answer; its log: {log}")
    }

    /// Runs many shims at once; returns the output of the last one.
    fn run_clients(&self) -> Result<String> {
        let start = || {
            Command::new(self.programs.join("sts-shim"))
                .arg("--socket")
                .arg(self.socket())
                .arg(PROFILE)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        };
        let shims: Vec<_> = (0..CLIENTS).map(|_| start()).collect::<Result<_, _>>()?;
        let mut document = String::new();
        for shim in shims {
            document = checked_stdout("sts-shim", shim.wait_with_output()?)?;
        }
        Ok(document)
    }

    fn oss(&self, endpoint: &str, operation: &[&str], input: &str) -> Result<String> {
        let shim = self.programs.join("sts-shim");
        let socket = self.socket();
        let process = format!("{} --socket {} {PROFILE}", shim.display(), socket.display());
        let mut child = Command::new(self.programs.join("stsd-oss-client"))
            .args(["--endpoint", endpoint, "--region", "cn-hongkong"])
            .args(["--credential-process", &process])
            .args(operation)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("stsd-oss-client does not start")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        checked_stdout("stsd-oss-client", child.wait_with_output()?)
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

fn checked_stdout(program: &str, output: Output) -> Result<String> {
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} failed: {}",
        complaint.trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Keeps the shape of the document and hides what would be secret if it were not made up.
fn shortened(document: &str) -> Result<String> {
    let mut value: serde_json::Value = serde_json::from_str(document)?;
    let fields = value
        .as_object_mut()
        .context("the shim printed no object")?;
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        let secret = name.contains("secret") || name.contains("token");
        if let Some(text) = value.as_str().filter(|_| secret) {
            let head: String = text.chars().take(8).collect();
            *value = format!("{head}…").into();
        }
    }
    Ok(value.to_string())
}
