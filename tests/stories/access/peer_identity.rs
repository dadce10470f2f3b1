//! The identity of a peer: processes that exit or change after they have connected, and control groups
//! that are named like a unit.

use std::{
    env, fs, io,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    time::Duration,
};

use e2e::{
    GROUP, STRANGER, SystemDaemon, TestEnv, UPLOAD, complete_replies, credentials_request,
    hello_request, upload_profile,
};
use nix::{
    sys::statvfs::{FsFlags, statvfs},
    unistd::{Gid, Uid, setgroups, setresgid, setresuid},
};
use stsd_wire::{FailureKind, Reply};

/// The variables of the helper process, which is this test program, started once more.
const PART: &str = "STSD_STORY_PART";
const SOCKET: &str = "STSD_STORY_SOCKET";

const PATIENCE: Duration = Duration::from_secs(60);

/// A control group that is named like a unit. It is removed when it is dropped.
struct Unit(PathBuf);

impl Unit {
    /// Makes the group below the root of cgroup v2; returns `None`, and reports it, without the right.
    fn new(path: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let fields = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut mounts = mounts.lines().map(fields);
        let root = mounts.find(|it| it.get(2).is_some_and(|kind| kind == "cgroup2"));
        let made = root.map(|it| Path::new(&it[1]).join(path));
        match made {
            Some(made) if fs::create_dir_all(&made).is_ok() => Some(Self(made)),
            _ => {
                e2e::not_run("no control group can be made here (cgroup v2, as root)");
                None
            }
        }
    }

    /// Returns the command of a program that runs in the group.
    fn inside(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]);
        command.arg(&self.0).arg(program).args(arguments);
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // Its processes need a moment to exit; the story has made the parent as well if it is empty.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for parent in self.0.ancestors().skip(1) {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
    }
}

/// Returns the name of a unit that no other test uses.
fn name(what: &str) -> String {
    format!("stsd-story-{}-{what}.service", process::id())
}

fn machine_for(rule: String) -> Option<SystemDaemon> {
    SystemDaemon::start(&upload_profile("oss-upload", &[rule]))
}

/// A process that has connected, and passed its connection on to a child.
struct Impostor<'a> {
    env: &'a TestEnv,
    process: Child,
}

impl<'a> Impostor<'a> {
    /// Starts a process that connects as `uid` and passes the connection on to a child, which sends the
    /// request later. The process then sleeps, or executes the program `then`.
    fn connect(env: &'a TestEnv, uid: u32, then: &str) -> Self {
        // Writable for all: the impostor has another user by then.
        let told = env.path("told");
        fs::create_dir(&told).unwrap();
        fs::set_permissions(&told, fs::Permissions::from_mode(0o777)).unwrap();
        let bytes = [hello_request(), credentials_request(60_000)].concat();
        fs::write(told.join("ask"), bytes).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([
            "--exact",
            "access::peer_identity::helper_process_of_other_stories",
        ]);
        command
            .arg("--include-ignored")
            .env(PART, format!("{then} {uid}"));
        command.env(SOCKET, env.socket()).current_dir(&told);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let process = command.spawn().unwrap();
        env.wait_until("it has connected", || told.join("connected").exists());
        Self { env, process }
    }

    /// Moves the process into a unit. The child stays outside.
    fn enter(&self, unit: &Unit) {
        let procs = unit.0.join("cgroup.procs");
        fs::write(procs, self.process.id().to_string()).unwrap();
    }

    fn ends(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Makes the child send the request; returns the last reply.
    fn answer(&self) -> Reply {
        let told = self.env.path("told");
        fs::write(told.join("go"), "").unwrap();
        // Hello comes first, possibly alone.
        let mut said = Vec::new();
        self.env.wait_within(PATIENCE, "an answer comes", || {
            said = complete_replies(&fs::read(told.join("answer.secret")).unwrap_or_default());
            said.len() >= 2
        });
        said.pop().unwrap()
    }

    #[track_caller]
    fn is_refused(&self) {
        match self.answer() {
            Reply::Failure(failure) => assert_eq!(failure.kind, FailureKind::NotAllowed),
            Reply::Credentials(_) => panic!("it got credentials"),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn is_served(&self) {
        assert!(matches!(self.answer(), Reply::Credentials(_)));
    }
}

impl Drop for Impostor<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A process that is killed when it is dropped.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "a helper process of other stories"]
#[expect(
    clippy::zombie_processes,
    reason = "the child has to survive its parent"
)]
fn helper_process_of_other_stories() {
    let Ok(part) = env::var(PART) else { return };
    let (then, uid) = part.rsplit_once(' ').unwrap();
    let uid: u32 = uid.parse().unwrap();
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    setgroups(&[]).unwrap();
    setresgid(group, group, group).unwrap();
    setresuid(user, user, user).unwrap();
    let stream = UnixStream::connect(env::var(SOCKET).unwrap()).unwrap();
    let script = "while [ ! -e go ]; do sleep 0.02; done
        cat ask >&0; exec cat > answer.secret";
    let mut asks = Command::new("sh");
    asks.args(["-c", script]).stdin(OwnedFd::from(stream));
    asks.spawn().unwrap();
    fs::write("connected", "").unwrap();
    if then == "stay" {
        std::thread::sleep(Duration::from_secs(600));
        return;
    }
    panic!("{}", Command::new(then).arg("600").exec());
}

#[test]
fn socket_directory_of_another_user_or_a_link_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        e2e::not_run("only root can give a directory away");
        return;
    }
    let env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    std::os::unix::fs::chown(env.path("run"), Some(64_001), None).unwrap();
    let output = env.daemon_command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("belongs to uid 64001"), "{said}");
    assert!(!env.socket().exists());
    // A symbolic link is refused as well.
    std::fs::remove_dir(env.path("run")).unwrap();
    std::os::unix::fs::symlink(env.path("elsewhere"), env.path("run")).unwrap();
    std::fs::create_dir(env.path("elsewhere")).unwrap();
    let output = env.daemon_command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("not a directory"), "{said}");
}

#[test]
fn unit_rule_admits_system_units_and_no_user_units() {
    let name = name("nightly");
    let Some(machine) = machine_for(format!("unit:{name}")) else {
        return;
    };
    let env = &machine.env;
    let paths = [
        (name.clone(), 0),
        (format!("user@{STRANGER}.service/{name}"), 5),
        (format!("stsd-story-{}.scope/{name}", process::id()), 5),
        (format!("stsd-story-{}.slice/{name}", process::id()), 0),
    ];
    for (path, code) in paths {
        let Some(unit) = Unit::new(&path) else { return };
        let (shim, socket) = (machine.program("sts-shim"), env.socket());
        let arguments = ["--socket", socket.to_str().unwrap(), "oss-upload"];
        let output = unit.inside(&shim, &arguments).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{path}: {complaint}");
    }
    assert_eq!(env.shim(&["oss-upload"]).status.code(), Some(5));
}

#[test]
fn pod_rule_admits_the_containers_of_one_pod() {
    // A UID of its own: several stories may run at the same time.
    let uid = format!("3f2b1c4d-0a1b-4c5d-8e9f-{:012x}", process::id());
    let other = uid.replace("3f2b1c4d", "4f2b1c4d");
    let Some(machine) = machine_for(format!("pod:{uid}")) else {
        return;
    };
    let env = &machine.env;
    let escaped = uid.replace('-', "_");
    let burstable = "kubepods.slice/kubepods-burstable.slice";
    let paths = [
        (format!("kubepods/burstable/pod{uid}/0123"), 0),
        (
            format!("{burstable}/kubepods-burstable-pod{escaped}.slice/crio-1.scope"),
            0,
        ),
        (format!("kubepods/burstable/pod{other}/0123"), 5),
        (format!("stsd-story.service/kubepods/pod{uid}/0123"), 5),
    ];
    for (path, code) in paths {
        let Some(pod) = Unit::new(&path) else { return };
        let (shim, socket) = (machine.program("sts-shim"), env.socket());
        let arguments = ["--socket", socket.to_str().unwrap(), "oss-upload"];
        let output = pod.inside(&shim, &arguments).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{path}: {complaint}");
        let log = env.daemon_log();
        assert!(log.contains(&format!("pod=\"{uid}\"")), "{log}");
    }
}

#[test]
fn exited_peer_keeps_its_user_and_loses_its_unit() {
    let name = name("ended");
    let rules = [format!("unit:{name}"), format!("user:{STRANGER}")];
    for (rule, while_it_lives, served) in [
        (&rules[0], true, true),
        (&rules[0], false, false),
        (&rules[1], false, true),
    ] {
        let Some(machine) = machine_for(rule.clone()) else {
            return;
        };
        let Some(unit) = Unit::new(&name) else { return };
        let mut impostor = Impostor::connect(&machine.env, STRANGER, "stay");
        impostor.enter(&unit);
        if !while_it_lives {
            impostor.ends();
        }
        if served {
            impostor.is_served();
        } else {
            impostor.is_refused();
        }
    }
}

#[test]
fn reused_pid_does_not_pass_on_its_unit() {
    let name = name("victim");
    let Some(machine) = machine_for(format!("unit:{name}")) else {
        return;
    };
    let Some(unit) = Unit::new(&name) else { return };
    let mut impostor = Impostor::connect(&machine.env, STRANGER, "stay");
    let number = impostor.process.id();
    impostor.ends();
    let Some(_victim) = with_number(number, || {
        unit.inside(Path::new("/bin/sleep"), &["600"]).spawn()
    }) else {
        e2e::not_run("the kernel does not reuse a process id on request here");
        return;
    };
    let cgroup = || fs::read_to_string(format!("/proc/{number}/cgroup")).unwrap();
    machine
        .env
        .wait_until("the victim is in its unit", || cgroup().contains(&name));
    impostor.is_refused();
}

#[test]
fn setgid_program_does_not_pass_on_its_group() {
    let Some(machine) = machine_for(format!("group:{GROUP}")) else {
        return;
    };
    let program = machine.program("sleep");
    let flags = statvfs(program.parent().unwrap()).unwrap().flags();
    if flags.contains(FsFlags::ST_NOSUID) {
        e2e::not_run("the directory for temporary files does not let programs gain a group");
        return;
    }
    fs::copy("/bin/sleep", &program).unwrap();
    std::os::unix::fs::chown(&program, None, Some(GROUP)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o2755)).unwrap();
    let impostor = Impostor::connect(&machine.env, STRANGER, program.to_str().unwrap());
    let status = || fs::read_to_string(format!("/proc/{}/status", impostor.process.id())).unwrap();
    let line = format!("Gid:\t{STRANGER}\t{GROUP}\t");
    machine
        .env
        .wait_until("it has the group now", || status().contains(&line));
    impostor.is_refused();
}

/// Starts a process that gets a process id, if the kernel reuses it.
fn with_number(number: u32, start: impl Fn() -> io::Result<Child>) -> Option<Victim> {
    for _ in 0..500 {
        fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).ok()?;
        let victim = Victim(start().unwrap());
        if victim.0.id() == number {
            return Some(victim);
        }
    }
    None
}
