//! `stsctl init`: the setup of a user by a dialog or by options. The secret is not shown, and a failure
//! leaves no partial setup.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use e2e::{
    Action, Fault, KEY_SECRET, Keyring, OutputLog, Terminal, TestEnv, assert_output, program,
};
use nix::unistd::geteuid;

const ID: &str = "LTAIEXAMPLEUPLOADER01";
const ROLE: &str = "acs:ram::100000000000001:role/oss-upload";
const SIZE: (u16, u16) = (40, 120);

/// A systemctl that records its arguments and has no unit of stsd yet.
const SYSTEMCTL: &str = "#!/bin/sh\necho \"$@\" >> \"$HOME/told\"\n\
    case \"$*\" in *cat*) test -e \"$HOME/packaged\";; esac\n";

/// The same for systemd 239, whose units have a drop-in without user namespaces where `$HOME/fits` exists.
const SYSTEMCTL_239: &str = "#!/bin/sh\necho \"$@\" >> \"$HOME/told\"\n\
    case \"$*\" in *cat*) test -e \"$HOME/packaged\";; *Version*) echo 239;;\n\
    *PrivateUsers*) test -e \"$HOME/fits\" && echo no || echo yes;; esac\n";

/// The home of a new user, with an emulator.
struct Home {
    env: TestEnv,
}

impl Home {
    fn new() -> Self {
        let env = TestEnv::without_daemon(&[]);
        for name in ["home", "bin"] {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(env.path(name))
                .unwrap();
        }
        env.write("bin/systemctl", SYSTEMCTL, 0o700);
        env.write("bin/rclone", "#!/bin/sh\n", 0o700);
        Self { env }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.env.path(name)
    }

    fn told(&self) -> Vec<String> {
        let told = fs::read_to_string(self.file("home/told")).unwrap_or_default();
        told.lines().map(str::to_owned).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("stsctl"));
        command.arg("--socket").arg(self.env.socket());
        self.prepared(command, arguments)
    }

    fn command_without_socket(&self, arguments: &[&str]) -> Command {
        self.prepared(Command::new(program("stsctl")), arguments)
    }

    fn prepared(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.arg("init").args(arguments);
        command.env("HOME", self.file("home"));
        command.env("STSD_CONFIG", self.file("config.toml"));
        command.env("XDG_CONFIG_HOME", self.file("home/.config"));
        let path = format!("{}:/usr/bin:/bin", self.file("bin").display());
        command.env("PATH", path).stdin(Stdio::null());
        command
    }

    /// Returns the options with which no question is asked.
    fn options<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut options = vec![
            "--endpoint",
            self.env.emulator().sts_url(),
            "--access-key-id",
            ID,
        ];
        options.extend(["--role-arn", ROLE, "--secret-stdin"]);
        options.extend(more);
        options
    }

    /// Starts the program with a secret on its stdin.
    fn starts(&self, mut command: Command, secret: &str) -> Child {
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let _ = writeln!(stdin, "{secret}");
        child
    }

    /// Waits for the exit; returns the code and the whole output.
    fn ends(&self, child: Child) -> (Option<i32>, String) {
        self.said(&child.wait_with_output().unwrap())
    }

    fn said(&self, output: &Output) -> (Option<i32>, String) {
        let all = [&output.stdout[..], &output.stderr].concat();
        e2e::assert_no_secrets("stsctl", &all);
        let text = String::from_utf8(all).unwrap();
        (output.status.code(), text)
    }

    /// Starts the daemon in place of systemd.
    fn systemd(&mut self) {
        let config = self.file("config.toml");
        let told = self.file("home/told");
        self.env.wait_until("systemd is told to start", || {
            let told = fs::read_to_string(&told).unwrap_or_default();
            config.exists() && told.contains("enable --now stsd.socket")
        });
        self.env.start_daemon();
    }

    /// Returns the names of new files beside the configuration.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.file("")).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let ours =
            |it: &String| it.contains("config") || it.contains("-user") || it.starts_with('.');
        names.filter(ours).collect()
    }
}

#[test]
fn init_dialog_asks_sts_before_it_writes_and_shows_no_secret() {
    let mut home = Home::new();
    let command = home.command(&["--endpoint", home.env.emulator().sts_url()]);
    let mut terminal = Terminal::start(&command, SIZE);
    terminal.wait_for("Name of the profile [default]: ");
    terminal.type_keys("a b\n");
    terminal.wait_for("a profile's name is 1 to 64");
    terminal.type_keys("\n");
    terminal.wait_for("AccessKey id of the RAM user: ");
    terminal.type_keys("STS.session\n");
    terminal.wait_for("is that of a session");
    terminal.type_keys(&format!("{ID}\n"));
    terminal.wait_for("(it is not shown): ");
    terminal.type_keys("wrong\n");
    terminal.wait_for("SignatureDoesNotMatch");
    terminal.type_keys(&format!("{ID}\n"));
    terminal.wait_until("the second question for the secret", |screen| {
        screen.contents().matches("(it is not shown): ").count() == 2
    });
    terminal.type_keys(&format!("wrong\u{15}{KEY_SECRET}x\u{7f}\n"));
    terminal.wait_for("it is the key of acs:ram::100000000000001:user/");
    terminal.type_keys("acs:ram::100000000000001:user/oss-upload\n");
    terminal.wait_for("is not valid: a role is acs:ram::<account");
    terminal.type_keys("absent\n");
    terminal.wait_for("EntityNotExist.Role");
    terminal.type_keys("oss-upload\n");
    terminal.wait_for("[file]: ");
    assert_eq!(home.left(), Vec::<String>::new(), "nothing is written yet");
    terminal.type_keys("\n");
    home.systemd();
    assert_eq!(
        terminal.wait_for_exit(),
        0,
        "{}",
        terminal.screen().contents()
    );
    assert!(terminal.is_restored());
    terminal.wait_for("default: the first credentials, STS.");
    let screen = terminal.screen().contents();
    assert!(screen.contains("exec default -- COMMAND"), "{screen}");
    assert!(screen.contains("setup rclone default"), "{screen}");
    e2e::assert_no_secrets("a terminal", &terminal.bytes());

    let mode = |name: &str| home.file(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("default-user.key"), 0o600);
    let told = home.told();
    assert_eq!(
        told,
        [
            "--user daemon-reload",
            "--user show --property=Version --value",
            "--version",
            "--user cat stsd.service stsd.socket",
            "--user daemon-reload",
            "--user enable --now stsd.socket",
        ]
    );
    let unit = home.file("home/.config/systemd/user/stsd.service");
    let unit = fs::read_to_string(unit).unwrap();
    let line = format!("\nExecStart={}\n", program("stsd").display());
    assert!(
        unit.contains(&line) || unit.contains(line.trim_end()),
        "{unit}"
    );
}

#[test]
fn init_without_a_terminal_names_the_missing_options() {
    let home = Home::new();
    let mut errors = OutputLog::new(&home.env);
    for arguments in [
        &[][..],
        &["--region", "cn-hangzhou", "--secret-stdin"],
        &["--source", "ecs-role"],
    ] {
        let (code, said) = home.said(&home.command(arguments).output().unwrap());
        assert_eq!(code, Some(2), "{said}");
        errors.add(&format!("stsctl init {}", arguments.join(" ")), &said);
    }
    for (option, wrong) in [
        ("--role-arn", "acs:ram::1:user/me"),
        ("--profile", "a b"),
        ("--endpoint", "nowhere"),
    ] {
        let mut command = home.command(&["--access-key-id", ID, "--secret-stdin"]);
        for (name, good) in [
            ("--role-arn", ROLE),
            ("--endpoint", home.env.emulator().sts_url()),
        ] {
            if name != option {
                command.args([name, good]);
            }
        }
        command.args([option, wrong]);
        let (code, said) = home.ends(home.starts(command, KEY_SECRET));
        assert_eq!(code, Some(2), "{said}");
        errors.add(&format!("{option} {wrong}"), &said);
    }
    assert_output!("init_errors", errors.text());
    assert_eq!(home.left(), Vec::<String>::new());
}

#[test]
fn init_warns_of_an_unknown_region() {
    let home = Home::new();
    let options = ["--access-key-id", ID, "--role-arn", ROLE, "--secret-stdin"];
    let mut command = home.command(&options);
    command.args(["--region", "cn-hongkon", "--no-start"]);
    let (code, said) = home.ends(home.starts(command, KEY_SECRET));
    assert_eq!(code, Some(0), "{said}");
    let words = "the region cn-hongkon is not known";
    assert!(said.contains("warning: "), "{said}");
    assert!(said.contains(words), "{said}");
}

#[test]
fn init_with_options_keeps_packaged_units() {
    let mut home = Home::new();
    home.env.write("home/packaged", "", 0o600);
    let child = home.starts(home.command(&home.options(&[])), KEY_SECRET);
    home.systemd();
    let (code, said) = home.ends(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("default: the first credentials, STS."),
        "{said}"
    );
    assert!(!home.file("home/.config/systemd").exists());
    // One call of the trial, one of the daemon.
    assert_eq!(home.env.emulator().calls(Action::AssumeRole), 2);

    // Another profile is appended, and the running daemon reloads.
    let before = fs::read_to_string(home.file("config.toml")).unwrap();
    let key = home.file("csv.secret");
    fs::write(
        &key,
        format!("AccessKey ID,AccessKey Secret\r\n{ID},{KEY_SECRET}\r\n"),
    )
    .unwrap();
    let more = ["--key-file", key.to_str().unwrap(), "--role-arn", ROLE];
    let again = |name: &str| {
        let mut command = home.command(&more);
        home.said(&command.args(["--profile", name]).output().unwrap())
    };
    let (code, said) = again("other");
    assert_eq!(code, Some(0), "{said}");
    let after = fs::read_to_string(home.file("config.toml")).unwrap();
    assert!(after.starts_with(&before), "{after}");
    assert!(said.contains("other: the first credentials"), "{said}");
    // The key is the one of the first profile, and is stored once.
    assert!(
        after.contains("[profile.other]\nsource = \"default-user\""),
        "{after}"
    );
    assert!(!home.file("other-user.key").exists());

    let (code, said) = again("default");
    assert_eq!(code, Some(2), "{said}");
    let place = format!(
        "{}:9 has a profile default",
        home.file("config.toml").display()
    );
    assert!(said.contains(&place) && said.contains("--force"), "{said}");
    assert_eq!(fs::read_to_string(home.file("config.toml")).unwrap(), after);
    let mut command = home.command(&["--force", "--role", "oss-read"]);
    let (code, said) = home.said(&command.output().unwrap());
    assert_eq!(code, Some(0), "{said}");
    let forced = fs::read_to_string(home.file("config.toml")).unwrap();
    assert_eq!(
        forced,
        after.replacen("role/oss-upload", "role/oss-read", 1)
    );
}

#[test]
fn refusal_of_sts_leaves_nothing_and_init_can_be_repeated() {
    let mut home = Home::new();
    let refused = Fault::error_with_status("NoPermission", 403);
    home.env
        .emulator()
        .inject_fault(Action::AssumeRole, refused);
    let (code, said) = home.ends(home.starts(home.command(&home.options(&[])), KEY_SECRET));
    assert_eq!(code, Some(7), "{said}");
    assert!(
        said.contains("nothing is written") && said.contains("NoPermission"),
        "{said}"
    );
    assert!(said.contains("hint: "), "{said}");
    let (code, said) = home.ends(home.starts(home.command(&home.options(&[])), "wrong"));
    assert_eq!(code, Some(7), "{said}");
    assert!(said.contains("SignatureDoesNotMatch"), "{said}");
    assert_eq!(home.left(), Vec::<String>::new());
    assert_eq!(home.told(), Vec::<String>::new());

    home.env.emulator().clear_faults();
    let child = home.starts(home.command(&home.options(&[])), KEY_SECRET);
    home.systemd();
    let (code, said) = home.ends(child);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn init_without_an_answer_of_sts_writes_nothing() {
    let home = Home::new();
    let mut options = home.options(&[]);
    options[1] = "http://127.0.0.1:1";
    let (code, said) = home.ends(home.starts(home.command(&options), KEY_SECRET));
    assert_eq!(code, Some(6), "{said}");
    assert!(
        said.contains("sts is not reachable at 127.0.0.1:1"),
        "{said}"
    );
    assert_eq!(home.left(), Vec::<String>::new());
}

#[test]
fn ctrl_c_in_init_leaves_no_file_and_restores_the_terminal() {
    let home = Home::new();
    for at in ["AccessKey id of the RAM user: ", "(it is not shown): "] {
        let command = home.command(&["--endpoint", home.env.emulator().sts_url()]);
        let mut terminal = Terminal::start(&command, SIZE);
        terminal.wait_for("[default]: ");
        terminal.type_keys("\n");
        terminal.wait_for("AccessKey id of the RAM user: ");
        if !at.starts_with("AccessKey") {
            terminal.type_keys(&format!("{ID}\n"));
            terminal.wait_for(at);
            terminal.type_keys("half");
        }
        terminal.type_keys("\u{3}");
        assert_eq!(terminal.wait_for_exit(), -2);
        assert!(terminal.is_restored());
        assert!(!terminal.screen().contents().contains("half"));
        assert_eq!(home.left(), Vec::<String>::new());
    }
}

#[test]
fn init_without_systemd_writes_the_files_and_says_the_rest() {
    let home = Home::new();
    let refuses = "#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n";
    home.env.write("bin/systemctl", refuses, 0o700);
    let (code, said) = home.ends(home.starts(home.command(&home.options(&[])), KEY_SECRET));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Failed to connect to bus"), "{said}");
    let start = format!("STSD_SOCKET={} stsd &\n", home.env.socket().display());
    assert!(
        said.contains(&format!("Start the daemon:    {start}")),
        "{said}"
    );
    assert!(said.contains("setup rclone default "), "{said}");
    assert!(home.file("config.toml").exists());

    let home = Home::new();
    home.env.write("bin/systemctl", refuses, 0o700);
    let mut command = home.command_without_socket(&home.options(&[]));
    command
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("STSD_SOCKET");
    let (code, said) = home.ends(home.starts(command, KEY_SECRET));
    assert_eq!(code, Some(0), "{said}");
    let usual = format!("/run/user/{}", geteuid());
    let start = if Path::new(&usual).is_dir() {
        format!("XDG_RUNTIME_DIR={usual} stsd &")
    } else {
        let socket = home.file("home/.stsd/stsd.sock");
        format!("export STSD_SOCKET={}; stsd &", socket.display())
    };
    assert!(
        said.contains(&format!("Start the daemon:    {start}")),
        "{said}"
    );

    let home = Home::new();
    let mut command = home.command(&["--source", "ecs-role", "--no-start"]);
    command.args(["--region", "cn-hangzhou"]);
    let (code, said) = home.said(&command.output().unwrap());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(home.told(), Vec::<String>::new());
    let config = fs::read_to_string(home.file("config.toml")).unwrap();
    assert!(config.contains("type = \"ecs-role\"\n"), "{config}");
    assert!(!config.contains("role_arn"), "{config}");
    assert!(
        said.contains("setup rclone default --region cn-hangzhou"),
        "{said}"
    );
}

#[test]
fn init_stores_the_key_in_the_chosen_secret_store() {
    let home = Home::new();
    // A stand-in for the encryption of systemd.
    let creds = "#!/bin/sh\ncase \"$*\" in *--version*) echo 'systemd 258';; \
        *) cat > /dev/null; echo encrypted;; esac\n";
    home.env.write("bin/systemd-creds", creds, 0o700);
    let options = home.options(&["--keeper", "credential", "--no-start"]);
    let (code, said) = home.ends(home.starts(home.command(&options), KEY_SECRET));
    assert_eq!(code, Some(0), "{said}");
    let line = format!(
        "LoadCredentialEncrypted=default-user:{}",
        home.file("default-user.cred").display()
    );
    assert!(said.contains(&line), "{said}");

    let Some(keyring) = Keyring::start() else {
        return;
    };
    let home = Home::new();
    let options = home.options(&["--keeper", "keyring", "--no-start"]);
    let mut command = home.command(&options);
    command.env("DBUS_SESSION_BUS_ADDRESS", keyring.address());
    let (code, said) = home.ends(home.starts(command, KEY_SECRET));
    assert_eq!(code, Some(0), "{said}");
    assert!(keyring.text("default-user").unwrap().contains(KEY_SECRET));
    let left = home.left();
    assert_eq!(left, ["config.toml"], "the key is in no file");
}

#[test]
fn init_below_systemd_247_writes_the_drop_in_unless_it_is_there() {
    let drop_in = "home/.config/systemd/user/stsd.service.d/no-user-namespaces.conf";
    for (files, is_written) in [
        (&[][..], true),
        (&["packaged"], true),
        (&["packaged", "fits"], false),
    ] {
        let mut home = Home::new();
        home.env.write("bin/systemctl", SYSTEMCTL_239, 0o700);
        for file in files {
            home.env.write(&format!("home/{file}"), "", 0o600);
        }
        let child = home.starts(home.command(&home.options(&[])), KEY_SECRET);
        home.systemd();
        let (code, said) = home.ends(child);
        assert_eq!(code, Some(0), "{files:?}: {said}");
        assert_eq!(home.file(drop_in).exists(), is_written, "{files:?}: {said}");
        assert_eq!(said.contains("systemd here is 239"), is_written, "{said}");
        let reloads = home
            .told()
            .iter()
            .filter(|it| *it == "--user daemon-reload")
            .count();
        assert_eq!(reloads, 1 + usize::from(is_written), "{files:?}");
        if is_written {
            let text = fs::read_to_string(home.file(drop_in)).unwrap();
            assert!(text.contains("\nPrivateUsers=no\n"), "{text}");
        }
    }
}
