//! A private session bus with a gnome-keyring, apart from the desktop of the machine.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{Process, not_run};

/// The password of the keyring, which is new for each story.
const PASSWORD: &str = "a made-up password";

/// The programs of other packages.
const PROGRAMS: [&str; 4] = [
    "dbus-daemon",
    "dbus-send",
    "gnome-keyring-daemon",
    "secret-tool",
];

/// A session bus and a keyring with private directories.
pub struct Keyring {
    directory: tempfile::TempDir,
    // Dropped before the bus.
    keyring: Option<Process>,
    _bus: Process,
}

impl Keyring {
    /// Starts both; the keyring is empty and unlocked. Returns `None`, and reports it, where a program
    /// is not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        let mut keyring = Self::without_keyring()?;
        keyring.start_keyring();
        Some(keyring)
    }

    /// Starts the bus alone. A request to start a keyring creates the file `activated` in the
    /// directory instead.
    ///
    /// # Panics
    /// When the bus does not start.
    #[must_use]
    pub fn without_keyring() -> Option<Self> {
        let is_installed = |name: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("command -v {name}")]);
            command.output().is_ok_and(|it| it.status.success())
        };
        if let Some(name) = PROGRAMS.into_iter().find(|name| !is_installed(name)) {
            not_run(&format!("{name} is not installed"));
            return None;
        }
        let directory = tempfile::Builder::new().prefix("stsd-keyring-").tempdir();
        let directory = directory.unwrap();
        let at = directory.path().display();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write(
            "bus.conf",
            &format!(
                "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
                 \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n\
                 <busconfig><type>session</type><listen>unix:path={at}/bus</listen>\
                 <servicedir>{at}</servicedir><policy context=\"default\">\
                 <allow send_destination=\"*\" eavesdrop=\"true\"/>\
                 <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>\n"
            ),
        );
        write(
            "org.freedesktop.secrets.service",
            &format!(
                "[D-BUS Service]\nName=org.freedesktop.secrets\n\
                 Exec=/bin/sh -c 'touch {at}/activated; exit 1'\n"
            ),
        );
        let mut command = Command::new("dbus-daemon");
        let config = format!("--config-file={at}/bus.conf");
        command.args([&config, "--nofork", "--nopidfile", "--print-address=1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut bus = Process::start(command, &directory.path().join("bus.log"));
        assert!(
            bus.first_line().starts_with("unix:"),
            "the bus printed no address"
        );
        Some(Self {
            directory,
            keyring: None,
            _bus: bus,
        })
    }

    /// Starts the keyring, unlocked.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn start_keyring(&mut self) {
        let mut command = self.command("gnome-keyring-daemon");
        command.args(["--foreground", "--unlock", "--components=secrets"]);
        command.arg("--control-directory").arg(self.path("control"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut keyring = Process::start(command, &self.path("keyring.log"));
        let (mut stdin, _) = keyring.take_stdio();
        stdin.write_all(PASSWORD.as_bytes()).unwrap();
        drop(stdin);
        self.keyring = Some(keyring);
        for _ in 0..500 {
            // The bus name exists before the unlocked collection.
            let answer = self.call("ReadAlias", &["string:default"]);
            if answer.contains("/org/freedesktop/secrets/collection/login") {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let log = fs::read_to_string(self.path("keyring.log")).unwrap_or_default();
        panic!("the keyring did not start\n{log}");
    }

    /// Returns the address of the bus, for `DBUS_SESSION_BUS_ADDRESS`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:path={}", self.path("bus").display())
    }

    /// Returns a path in the private directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Locks the keyring, as a desktop does at logout.
    ///
    /// # Panics
    /// When the keyring refuses.
    pub fn lock(&self) {
        let collection = "array:objpath:/org/freedesktop/secrets/collection/login";
        assert!(
            self.call("Lock", &[collection])
                .contains("collection/login")
        );
    }

    /// Stores a text for a key of stsd with `secret-tool`, as a user does.
    pub fn store(&self, key: &str, text: &str) {
        self.store_with(&["application", "stsd", "key", key], text.as_bytes());
    }

    /// Stores bytes in an item with attributes.
    ///
    /// # Panics
    /// When `secret-tool` fails.
    pub fn store_with(&self, attributes: &[&str], bytes: &[u8]) {
        let mut command = self.command("secret-tool");
        command.args(["store", "--label=an item"]).args(attributes);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        assert!(child.wait().unwrap().success(), "secret-tool failed");
    }

    /// Returns the text for a key of stsd, read with `secret-tool`.
    ///
    /// # Panics
    /// When `secret-tool` does not start.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        let mut command = self.command("secret-tool");
        command.args(["lookup", "application", "stsd", "key", key]);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        output.status.success().then_some(text)
    }

    /// Calls a method of the secret service; returns the printed answer.
    fn call(&self, method: &str, arguments: &[&str]) -> String {
        let mut command = self.command("dbus-send");
        command.args([
            "--session",
            "--print-reply",
            "--dest=org.freedesktop.secrets",
        ]);
        command.arg("/org/freedesktop/secrets");
        command.arg(format!("org.freedesktop.Secret.Service.{method}"));
        let output = command.args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns a command with the private home and bus.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DBUS_SESSION_BUS_ADDRESS", self.address());
        for name in [
            "HOME",
            "XDG_RUNTIME_DIR",
            "XDG_DATA_HOME",
            "XDG_CONFIG_HOME",
            "XDG_CACHE_HOME",
        ] {
            command.env(name, self.directory.path());
        }
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "GNOME_KEYRING_CONTROL"] {
            command.env_remove(name);
        }
        command
    }
}
