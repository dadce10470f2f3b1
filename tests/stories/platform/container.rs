//! The daemon in a container of runc, as a pod runs it: no root, no capability, a read-only root, volumes
//! of the kubelet, probes, and a successor at a restart.

use std::{
    fs,
    fs::File,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};

use e2e::{
    Action, Fault, KEY_SECRET, Process, TestEnv, UPLOAD, assert_no_secrets, not_run, program,
    upload_profile,
};
use nix::{
    mount::{MsFlags, mount},
    sys::signal::Signal,
};
use serde_json::{Value, json};

/// The user of the image.
const USER: u32 = 65_532;

/// Directories of this machine with the libraries of the programs.
const LIBRARIES: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

/// The capability sets of a process.
const CAPABILITY_SETS: [&str; 5] = [
    "bounding",
    "effective",
    "inheritable",
    "permitted",
    "ambient",
];

/// The volumes of a pod, and a container of the daemon.
struct Pod {
    env: TestEnv,
    port: u16,
    swaps: u32,
    daemon: Option<Process>,
}

impl Pod {
    /// Creates the volumes; returns `None`, and reports it, where runc starts no container.
    fn new() -> Option<Self> {
        let pod = Self {
            env: TestEnv::without_daemon(&[]),
            port: e2e::free_port(),
            swaps: 0,
            daemon: None,
        };
        for name in ["rootfs", "configuration", "secret", "socket", "state"] {
            fs::create_dir_all(pod.path(name)).unwrap();
        }
        // An emptyDir with medium: Memory.
        let tmpfs = Some("tmpfs");
        let options = Some("mode=0777,size=16m");
        mount(tmpfs, &pod.path("socket"), tmpfs, MsFlags::empty(), options).unwrap();
        // A Secret with fsGroup and defaultMode 0400.
        let key = pod.path("secret").join("uploader.key");
        let text = format!(
            "access_key_id = \"LTAIEXAMPLEUPLOADER01\"\naccess_key_secret = \"{KEY_SECRET}\"\n"
        );
        fs::write(&key, text).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o440)).unwrap();
        chown(&key, Some(0), Some(USER)).unwrap();
        let link = pod.path("configuration").join("config.toml");
        symlink("..data/config.toml", link).unwrap();
        match pod
            .container("version", &["/bin/stsd", "--version"])
            .output()
        {
            Err(error) => not_run(&format!(
                "runc does not start ({error}); its package is runc"
            )),
            Ok(output) if !output.status.success() => {
                let reason = String::from_utf8_lossy(&output.stderr);
                not_run(&format!("runc starts no container here: {}", reason.trim()));
            }
            Ok(_) => return Some(pod),
        }
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.env.path("pod").join(name)
    }

    /// Replaces the configuration, as the kubelet does with a ConfigMap.
    fn swap(&mut self, profiles: &str) {
        self.swaps += 1;
        let name = format!("..{}", self.swaps);
        let volume = self.path("configuration");
        fs::create_dir(volume.join(&name)).unwrap();
        let text = format!(
            "{}reload = \"on-change\"\nkeep_sessions = true\n[audit]\nfile = \"-\"\n\
             [metrics]\nlisten = \"127.0.0.1:{}\"\n\
             [source.uploader]\ntype = \"access-key\"\naccess_key_file = \"/etc/secret/uploader.key\"\n\
             {profiles}",
            self.env.endpoint(),
            self.port,
        );
        let file = volume.join(&name).join("config.toml");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&name, volume.join("..data_tmp")).unwrap();
        fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    }

    /// Returns a container, not yet started, of the pod's volumes. Its name is that of its bundle.
    fn container(&self, name: &str, arguments: &[&str]) -> Command {
        let bundle = self.path(name);
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("config.json"), self.specification(arguments)).unwrap();
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.path("state"));
        command.args(["run", "--bundle"]).arg(bundle).arg(name);
        command.stdin(Stdio::null());
        command
    }

    fn specification(&self, arguments: &[&str]) -> String {
        let bind = |from: PathBuf, to: &str, mode: &str| json!({"destination": to, "type": "bind", "source": from, "options": ["rbind", mode]});
        let programs = program("stsd").parent().unwrap().to_owned();
        let libraries = LIBRARIES.into_iter().filter(|it| fs::metadata(it).is_ok());
        let mut mounts = vec![
            json!({"destination": "/proc", "type": "proc", "source": "proc"}),
            json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                   "options": ["nosuid", "mode=755"]}),
            bind(programs, "/bin", "ro"),
            bind(self.path("configuration"), "/etc/stsd", "ro"),
            bind(self.path("secret"), "/etc/secret", "ro"),
            bind(self.path("socket"), "/run/stsd", "rw"),
        ];
        mounts.extend(libraries.map(|it| bind(it.into(), it, "ro")));
        let capabilities = CAPABILITY_SETS.map(|it| (it.to_owned(), json!([])));
        let namespaces = ["pid", "ipc", "uts", "mount"].map(|it| json!({"type": it}));
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": USER, "gid": USER},
                "args": arguments,
                "env": ["STSD_CONFIG=/etc/stsd/config.toml",
                        "STSD_SOCKET=/run/stsd/s/stsd.sock"],
                "cwd": "/",
                "capabilities": Value::Object(capabilities.into_iter().collect()),
                "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
                "noNewPrivileges": true,
            },
            "root": {"path": self.path("rootfs"), "readonly": true},
            "hostname": "pod",
            "mounts": mounts,
            // The network of this machine, whose loopback has the emulator.
            "linux": {"namespaces": namespaces},
        })
        .to_string()
    }

    /// Starts the daemon, and waits until the readiness probe succeeds.
    fn start_daemon(&mut self, name: &str) {
        let mut command = self.container(name, &["/bin/stsd"]);
        let mut options = File::options();
        let audit = options.create(true).append(true);
        command.stdout(audit.open(self.path("audit")).unwrap());
        let log = self.env.path("daemon.log");
        self.daemon = Some(Process::start(command, &log));
        self.env
            .wait_until("the daemon is ready", || self.probe("/readyz").0 == 200);
    }

    /// Ends the daemon, as the kubelet does.
    fn stop_daemon(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.wait(), Some(0));
    }

    /// Runs a program in another container, to its end.
    fn run(&self, name: &str, arguments: &[&str]) -> Output {
        let output = self.container(name, arguments).output().unwrap();
        assert_no_secrets(name, &output.stderr);
        output
    }

    fn document(&self, profile: &str) -> Value {
        let output = self.run("client", &["/bin/sts-shim", profile]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Returns the status and the body of an answer; the status is 0 without one.
    fn probe(&self, path: &str) -> (u16, String) {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else {
            return (0, String::new());
        };
        let limit = Some(Duration::from_secs(20));
        stream.set_read_timeout(limit).unwrap();
        let mut answer = String::new();
        let request = format!("GET {path} HTTP/1.1\r\nHost: probe\r\n\r\n");
        let exchange = stream.write_all(request.as_bytes());
        if exchange
            .and_then(|()| stream.read_to_string(&mut answer))
            .is_err()
        {
            return (0, answer);
        }
        let status = answer.split(' ').nth(1).and_then(|it| it.parse().ok());
        (status.unwrap_or(0), answer)
    }

    fn has_metric(&self, line: &str) -> bool {
        self.probe("/metrics").1.contains(line)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // A container outlives its runc.
        let running = fs::read_dir(self.path("state")).into_iter().flatten();
        for container in running.flatten() {
            let mut command = Command::new("runc");
            command.arg("--root").arg(self.path("state"));
            command.args(["delete", "--force"]);
            let _ = command.arg(container.file_name()).output();
        }
    }
}

/// Runs a story with a pod, in a mount namespace.
fn with_pod(story: impl FnOnce(Pod) + Send) {
    e2e::in_own_mounts(|| {
        if let Some(pod) = Pod::new() {
            story(pod);
        }
    });
}

#[test]
fn swapped_config_map_is_applied_refused_and_applied_in_a_pod() {
    with_pod(|mut pod| {
        pod.swap(UPLOAD);
        pod.start_daemon("stsd");
        assert_eq!(pod.probe("/healthz").0, 200);
        let first = pod.document("oss-upload");
        let health = ["/bin/stsctl", "status", "--health", "oss-upload"];
        assert_eq!(pod.run("probe", &health).status.code(), Some(0));

        pod.swap(&(UPLOAD.to_owned() + &upload_profile("second", &[])));
        pod.env.wait_until("the second profile", || {
            pod.has_metric("profile=\"second\"")
        });
        pod.swap(&format!("{UPLOAD}colour = 1\n"));
        pod.env.wait_until("the refusal", || {
            pod.has_metric("stsd_config_last_reload_successful 0\n")
        });
        // A refused configuration ends no pod.
        assert_eq!(pod.probe("/readyz").0, 200);
        assert_eq!(pod.run("probe", &health).status.code(), Some(9));
        assert_eq!(pod.document("oss-upload"), first);
        pod.swap(UPLOAD);
        pod.env.wait_until("the end of the refusal", || {
            pod.has_metric("stsd_config_last_reload_successful 1\n")
        });
        assert!(!pod.has_metric("profile=\"second\""));
        assert_eq!(pod.document("oss-upload"), first);
        pod.stop_daemon();

        let audit = fs::read_to_string(pod.path("audit")).unwrap();
        let served = audit.lines().map(|line| -> Value {
            serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))
        });
        let served: Vec<_> = served.filter(|it| it["decision"] == "ready").collect();
        assert!(served.iter().any(|it| it["uid"] == USER), "{audit}");
    });
}

#[test]
fn caller_that_waits_at_a_stop_is_served_by_the_successor() {
    with_pod(|mut pod| {
        pod.swap(&(UPLOAD.to_owned() + &upload_profile("late", &[])));
        pod.start_daemon("first");
        let kept = pod.document("oss-upload");
        let calls = || pod.env.emulator().calls(Action::AssumeRole);
        assert_eq!(calls(), 1);
        pod.env
            .emulator()
            .inject_fault(Action::AssumeRole, Fault::Hang);
        let shim = ["/bin/sts-shim", "--patience", "60s", "late"];
        let mut caller = pod.container("caller", &shim);
        let caller = caller.stdout(Stdio::piped()).stderr(Stdio::piped());
        let caller = caller.spawn().unwrap();
        pod.env.wait_until("the caller waits", || calls() > 1);
        pod.stop_daemon();
        let file = pod.path("socket/s/sessions.secret");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);

        pod.env.emulator().clear_faults();
        let before = pod.env.emulator().calls(Action::AssumeRole);
        pod.start_daemon("second");
        let output = caller.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(!file.exists());
        assert_eq!(pod.document("oss-upload"), kept);
        let calls = pod.env.emulator().calls(Action::AssumeRole) - before;
        assert_eq!(calls, 1, "of the waiting caller");
        pod.stop_daemon();
    });
}

#[test]
fn socket_directly_in_an_empty_dir_is_refused_with_a_hint() {
    with_pod(|mut pod| {
        pod.swap(UPLOAD);
        let arguments = ["/bin/stsd"];
        let mut command = pod.container("stsd", &arguments);
        let specification = pod.path("stsd/config.json");
        let text = fs::read_to_string(&specification).unwrap();
        let text = text.replace("/run/stsd/s/stsd.sock", "/run/stsd/stsd.sock");
        fs::write(&specification, text).unwrap();
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("hint: "), "{stderr}");
    });
}
