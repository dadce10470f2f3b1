//! A user's daemon and the system's on one machine, with one profile name for two roles. A client of
//! the first never gets the identity of the second, and never asks a server of another user.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use e2e::{
    Process, SystemDaemon, UPLOAD, UnixUser, assert_no_secrets, block_on, in_own_mounts,
    mount_small,
};
use nix::mount::{MsFlags, mount};
use stsd_client::{AsyncClient, Client};

/// The user of the clients and of the first daemon.
const USER: UnixUser = UnixUser::new(64_011);

/// Another user, with a server at the same path.
const OTHER: UnixUser = UnixUser::new(64_012);

/// The commands that deliver credentials or act on them, with a short patience where they have one.
const COMMANDS: &[&str] = &[
    "sts-shim --patience 300ms oss-upload",
    "stsctl get oss-upload --patience 300ms",
    "stsctl exec oss-upload --static --patience 300ms -- env",
    "stsctl env oss-upload --patience 300ms",
    "stsctl refresh oss-upload --patience 300ms",
    "stsctl lease oss-upload --ttl 1m --patience 300ms --socket unused.sock",
    "stsctl url oss-upload",
    "stsctl status",
];

/// The machine: the system daemon at `/run/stsd`, and the directories of the user.
struct Machine {
    system: SystemDaemon,
}

impl Machine {
    /// Runs a story with a machine, where this test may make one.
    fn with(story: impl FnOnce(&Machine) + Send) {
        in_own_mounts(|| {
            let profile = UPLOAD.replace("role/oss-upload", "role/oss-read");
            let rule = format!("allow = [\"user:{}\"]\n", USER.uid);
            let Some(system) = SystemDaemon::start(&format!("{profile}{rule}")) else {
                return;
            };
            let run = Path::new("/run");
            mount_small(run, 1 << 20, 1000);
            set_mode(run, 0o755);
            let directory = run.join("stsd");
            fs::create_dir(&directory).unwrap();
            let none = None::<&str>;
            let source = system.env.path("run");
            mount(Some(&source), &directory, none, MsFlags::MS_BIND, none).unwrap();
            let machine = Self { system };
            for name in ["home", "xdg"] {
                machine.make_directory(&machine.path(name), 0o700);
            }
            story(&machine);
        });
    }

    fn path(&self, name: &str) -> PathBuf {
        self.system.env.path(name)
    }

    /// Returns the directory of the user's daemon.
    fn directory(&self) -> PathBuf {
        self.path("xdg/stsd")
    }

    fn socket(&self) -> PathBuf {
        self.directory().join("stsd.sock")
    }

    /// Makes a directory of the user.
    fn make_directory(&self, path: &Path, mode: u32) {
        fs::create_dir_all(path).unwrap();
        set_mode(path, mode);
        own(path, USER);
    }

    /// Replaces the directory of the user's daemon by an empty one.
    fn renew_directory(&self) {
        let _ = fs::remove_dir_all(self.directory());
        self.make_directory(&self.directory(), 0o700);
    }

    /// Writes the configuration of a user's daemon to a directory of that user.
    fn write_config(&self, home: &Path, user: UnixUser, profiles: &str) {
        let directory = home.join(".config/stsd");
        fs::create_dir_all(&directory).unwrap();
        let key = directory.join("uploader.key");
        fs::copy(self.path("uploader.key"), &key).unwrap();
        let source =
            "[source.uploader]\ntype = \"access-key\"\naccess_key_file = \"uploader.key\"\n";
        let text = format!("{}{source}{profiles}", self.system.env.endpoint());
        let config = directory.join("config.toml");
        fs::write(&config, text).unwrap();
        for path in [&home.join(".config"), &directory, &key, &config] {
            own(path, user);
        }
        set_mode(&config, 0o600);
        set_mode(&key, 0o600);
    }

    /// Returns the command of a program as the user, in the user's environment.
    fn command(&self, line: &str) -> Command {
        self.command_of(USER, line)
    }

    fn command_of(&self, user: UnixUser, line: &str) -> Command {
        let (name, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let mut command = user.command(self.system.program(name));
        command.args(arguments.split_whitespace());
        command.env_clear().env("PATH", "/usr/bin:/bin");
        command.env("HOME", self.path("home"));
        command.env("XDG_RUNTIME_DIR", self.path("xdg"));
        command.current_dir(self.path("home"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, line: &str) -> Output {
        output(self.command(line))
    }

    /// Starts the user's daemon and waits for its answer.
    fn start_user_daemon(&self) -> Process {
        self.write_config(&self.path("home"), USER, UPLOAD);
        let mut command = self.command("stsd");
        command.stdout(Stdio::null());
        let daemon = Process::start(command, &self.path("user-daemon.log"));
        self.system.env.wait_until("the user's daemon answers", || {
            self.run("stsctl status").status.success()
        });
        daemon
    }

    /// Starts a daemon of another user at the path of the user's.
    fn start_other_daemon(&self) -> Process {
        let _ = fs::remove_dir_all(self.directory());
        fs::create_dir(self.directory()).unwrap();
        own(&self.directory(), OTHER);
        let home = self.path("other");
        fs::create_dir_all(&home).unwrap();
        own(&home, OTHER);
        let profile = format!("{UPLOAD}allow = [\"user:{}\"]\n", USER.uid);
        self.write_config(&home, OTHER, &profile);
        let mut command = self.command_of(OTHER, "stsd --system");
        command.env("STSD_CONFIG", home.join(".config/stsd/config.toml"));
        command.env("STSD_SOCKET", self.socket());
        command.stdout(Stdio::null());
        chown(self.path("xdg"), Some(0), Some(0)).unwrap();
        set_mode(&self.path("xdg"), 0o755);
        let daemon = Process::start(command, &self.path("other-daemon.log"));
        let has_listener = || e2e::has_listener(&self.socket());
        self.system.env.wait_until("the other daemon", has_listener);
        daemon
    }

    /// Returns the number of sessions that the system daemon has served.
    fn served_by_the_system(&self) -> u64 {
        let status = self.system.env.client().status().unwrap();
        status.profiles[0].hand_outs
    }
}

fn own(path: &Path, user: UnixUser) {
    chown(path, Some(user.uid), Some(user.gid)).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn output(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert_no_secrets("stderr", &output.stderr);
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs all commands at once and asserts that each ends with code 3, the place and a reason, and
/// that the system daemon was asked by none.
fn assert_refused(machine: &Machine, reason: &str) {
    let start = |line: &&'static str| (*line, machine.command(line).spawn().unwrap());
    let running: Vec<_> = COMMANDS.iter().map(start).collect();
    let mut command = machine.command("client-watch oss-upload");
    command.stderr(Stdio::null());
    let mut watch = Process::start(command, &machine.path("watch.log"));
    let line = watch.first_line();
    assert!(line.starts_with("nothing: "), "{reason}: {line}");
    for (line, child) in running {
        let output = child.wait_with_output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{line}: {reason}: {said}");
        assert!(output.stdout.is_empty(), "{line}: {reason}: {said}");
        let place = machine.socket().display().to_string();
        assert!(said.contains(reason), "{line}: {reason}: {said}");
        assert!(said.contains(&place), "{line}: {reason}: {said}");
    }
    // Root is refused no directory.
    if reason != "Permission denied" {
        assert_client_refused(machine, reason);
    }
    assert_eq!(machine.served_by_the_system(), 0, "{reason}");
}

/// Asserts the same of both flavours of the client library, in this process.
fn assert_client_refused(machine: &Machine, reason: &str) {
    let client = Client::from_variables(|name| match name {
        "XDG_RUNTIME_DIR" => Some(machine.path("xdg").into()),
        "HOME" => Some(machine.path("home").into()),
        _ => None,
    });
    // This process is root's, to which a directory of the user is another user's.
    let directory = machine.directory();
    let is_of_user = fs::metadata(&directory).is_ok_and(|it| it.uid() == USER.uid);
    if is_of_user {
        chown(&directory, Some(0), Some(0)).unwrap();
    }
    let patience = Duration::from_millis(300);
    let blocking = client.credentials("oss-upload", Duration::ZERO, patience);
    let client = AsyncClient::from(client);
    let asking = client.credentials("oss-upload", Duration::ZERO, patience);
    for outcome in [blocking, block_on(asking)] {
        let error = outcome.unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
    if is_of_user {
        own(&directory, USER);
    }
}

#[test]
fn failure_at_the_users_socket_never_leads_to_the_system_daemon() {
    Machine::with(|machine| {
        machine.write_config(&machine.path("home"), USER, UPLOAD);

        let _ = fs::remove_dir_all(machine.directory());
        assert_refused(machine, "No such file or directory");

        machine.renew_directory();
        assert_refused(machine, "No such file or directory");

        drop(UnixListener::bind(machine.socket()).unwrap());
        own(&machine.socket(), USER);
        assert_refused(machine, "Connection refused");

        machine.renew_directory();
        fs::write(machine.socket(), "").unwrap();
        own(&machine.socket(), USER);
        assert_refused(machine, "it is not a socket");

        machine.renew_directory();
        let silent = UnixListener::bind(machine.socket()).unwrap();
        set_mode(&machine.socket(), 0o666);
        assert_refused(machine, "did not answer in time");
        drop(silent);

        machine.renew_directory();
        drop(UnixListener::bind(machine.socket()).unwrap());
        chown(machine.directory(), Some(0), Some(0)).unwrap();
        assert_refused(machine, "Permission denied");

        let _other = machine.start_other_daemon();
        let reason = format!("belongs to uid {}", OTHER.uid);
        assert_refused(machine, &reason);
    });
}

#[test]
fn user_without_a_daemon_of_its_own_is_served_by_the_system_daemon() {
    Machine::with(|machine| {
        let output = machine.run("sts-shim oss-upload");
        assert!(output.status.success(), "{}", stderr(&output));
        // A URL's token file does not make a directory that looks like a daemon's.
        let _ = machine.run("stsctl exec oss-upload -- true");
        assert!(!machine.directory().exists());
        assert_eq!(machine.served_by_the_system(), 2);
        // The directory alone decides as well.
        machine.renew_directory();
        let output = machine.run("sts-shim --patience 300ms oss-upload");
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    });
}

#[test]
fn programs_name_the_daemon_that_answered_where_there_are_two() {
    Machine::with(|machine| {
        let _daemon = machine.start_user_daemon();
        let sentence = format!(
            "the daemon at {} answered; another daemon's socket is /run/stsd/stsd.sock",
            machine.socket().display()
        );
        let says = |line: &str, code: i32| {
            let output = machine.run(line);
            let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
            assert_eq!(output.status.code(), Some(code), "{line}: {said}");
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains(&sentence), "{line}: {said}");
        };
        says("stsctl status", 0);
        says("sts-shim nosuch", 4);
        let output = machine.run("stsctl doctor");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("another daemon's socket"), "{said}");
        assert!(!said.contains("/etc/stsd"), "{said}");
        assert_eq!(machine.served_by_the_system(), 0);
    });
}

#[test]
fn unset_runtime_variable_leads_to_the_usual_directory() {
    Machine::with(|machine| {
        let daemon = machine.start_user_daemon();
        let document = machine.run("sts-shim oss-upload").stdout;
        assert!(!document.is_empty());
        let usual = PathBuf::from(format!("/run/user/{}", USER.uid));
        fs::create_dir(usual.parent().unwrap()).unwrap();
        machine.make_directory(&usual, 0o700);
        let link = usual.join("stsd");
        machine.make_directory(&link, 0o700);
        let none = None::<&str>;
        mount(
            Some(&machine.directory()),
            &link,
            none,
            MsFlags::MS_BIND,
            none,
        )
        .unwrap();
        let bare = |line: &str| {
            let mut command = machine.command(line);
            command.env_remove("XDG_RUNTIME_DIR");
            output(command)
        };
        assert_eq!(bare("sts-shim oss-upload").stdout, document);
        // Another user could have made the socket in such a directory.
        set_mode(&machine.directory(), 0o755);
        let output = bare("sts-shim --patience 300ms oss-upload");
        assert!(
            stderr(&output).contains("with mode 0700"),
            "{}",
            stderr(&output)
        );
        assert_eq!(output.status.code(), Some(3));
        set_mode(&machine.directory(), 0o700);
        drop(daemon);
        for line in ["sts-shim --patience 300ms oss-upload", "stsctl status"] {
            let output = bare(line);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(3), "{line}: {said}");
            let place = link.join("stsd.sock").display().to_string();
            assert!(said.contains(&place), "{line}: {said}");
            assert!(
                said.contains("XDG_RUNTIME_DIR is not set"),
                "{line}: {said}"
            );
        }
        let output = bare("stsctl doctor");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("XDG_RUNTIME_DIR is not set"), "{said}");
        assert!(!said.contains("/etc/stsd"), "{said}");
        assert_eq!(machine.served_by_the_system(), 0);
    });
}

#[test]
fn server_of_another_user_is_asked_only_if_it_is_named() {
    Machine::with(|machine| {
        let _other = machine.start_other_daemon();
        let ask_with = |value: Option<String>| {
            let mut command = machine.command("sts-shim oss-upload");
            command.env("STSD_SOCKET", machine.socket());
            command.envs(value.map(|value| ("STSD_SERVER_UID", value)));
            output(command)
        };
        let ask = |uid: Option<u32>| ask_with(uid.map(|uid| uid.to_string()));
        let unusable = ask_with(Some(format!(" {}", OTHER.uid)));
        assert_eq!(unusable.status.code(), Some(3));
        assert!(
            stderr(&unusable).contains("is no uid"),
            "{}",
            stderr(&unusable)
        );
        for named in [None, Some(USER.uid)] {
            let output = ask(named);
            assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
            assert!(output.stdout.is_empty());
            assert!(stderr(&output).contains("STSD_SERVER_UID"));
        }
        let output = ask(Some(OTHER.uid));
        assert!(output.status.success(), "{}", stderr(&output));
    });
}

#[test]
fn root_uses_a_users_lease_with_the_variables_that_it_prints() {
    Machine::with(|machine| {
        let _daemon = machine.start_user_daemon();
        let policy =
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"*"}]}"#;
        fs::write(machine.path("home/policy.json"), policy).unwrap();
        let line = "stsctl lease oss-upload --policy policy.json --ttl 10m --socket lease.sock";
        let mut command = machine.command(line);
        command.stdin(Stdio::null());
        let mut lease = Process::start(command, &machine.path("lease.log"));
        let lines = lease.first_lines(3);
        assert!(lines[0].contains("leased at"), "{lines:?}");
        let variables: Vec<_> = lines[1..]
            .iter()
            .map(|it| it.split_once('=').unwrap())
            .collect();
        let socket = machine.path("home/lease.sock");
        assert_eq!(variables[0], ("STSD_SOCKET", socket.to_str().unwrap()));
        assert_eq!(variables[1], ("STSD_SERVER_UID", &*USER.uid.to_string()));
        let ask = |variables: &[(&str, &str)]| {
            let mut command = machine.command_of(UnixUser::new(0), "sts-shim oss-upload");
            command.envs(variables.iter().copied());
            output(command)
        };
        let output = ask(&variables[..1]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        let output = ask(&variables);
        assert!(output.status.success(), "{}", stderr(&output));
    });
}
