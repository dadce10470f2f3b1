//! The environment of the documents' commands: a private home, the programs of the project and
//! stand-ins for other programs in `PATH`, the emulator, and a daemon with the profiles of the
//! documents. The commands write below a private directory only.

use std::{
    env, fs,
    os::unix::fs::{DirBuilderExt as _, symlink},
    path::PathBuf,
    process::{Command, Stdio},
};

use e2e::{TestEnv, clients, program};
use nix::sys::signal::Signal;
use stsd_client::Client;

use super::{
    emulator,
    page::{Page, root},
};

/// Absolute paths of the documents, which are moved into the private directory.
const OUTSIDE: [&str; 6] = ["/etc/", "/home/", "/opt/", "/run/", "/usr/", "/var/"];

/// Stand-ins for programs of other projects. Each checks the input that the documents give it, and
/// fails for any other.
const STAND_INS: [(&str, &str); 15] = [
    // An enabled unit must be in a directory of systemd.
    (
        "systemctl",
        "unit=stsd.socket\ncase \"$*\" in\n\
         *--user*enable*) test -e \"$HOME/.config/systemd/user/$unit\" || test -e \"systemd/user/$unit\";;\n\
         *enable*) test -e \"systemd/system/$unit\";;\n\
         *daemon-reload*|*restart*|*status*|*disable*) ;;\n*) exit 1;; esac",
    ),
    ("loginctl", "test \"$1\" = enable-linger"),
    (
        "systemd-creds",
        "if test \"$1\" = --version; then echo 'systemd 258 (258.1)'; exit; fi\n\
         for last; do :; done\n\
         if test \"$last\" = -; then tr a-z n-za-m; else echo sealed > \"$last\"; fi",
    ),
    // Runs the programs that exist already; an endless program ends after its first line.
    (
        "cargo",
        "case \"$*\" in\n'xtask demo') exec stsctl demo;;\n\
         'run -p stsd-client --features tokio --example watch -- '*)\n\
         for last; do :; done\nmkfifo said\nclient-watch \"$last\" > said & read -r line < said\n\
         kill $!; rm said; case \"$line\" in STS.*) ;; *) exit 1;; esac;;\n\
         *) exit 1;; esac",
    ),
    ("backup", "test -n \"$ALIBABA_CLOUD_CREDENTIALS_URI\""),
    ("terraform", "test -n \"$ALIBABA_CLOUD_CREDENTIALS_URI\""),
    ("ossutil", "test -n \"$OSS_SESSION_TOKEN\""),
    (
        "ossfs",
        "for word; do case \"$word\" in\n-ocredential_process=*) exec sh -c \"${word#*=} > /dev/null\";;\n\
         esac; done; exit 1",
    ),
    // Checks that the packages to install are installed.
    (
        "pip",
        "test \"$1\" = install && shift && exec python -c 'import importlib.metadata as m, sys\n\
         for name in sys.argv[1:]: m.version(name)' \"$@\"",
    ),
    // Checks the attributes by which the daemon finds the item.
    (
        "secret-tool",
        "case \"$*\" in 'store --label=stsd application stsd key '*) \
         grep -q ^access_key_secret;; *) exit 1;; esac",
    ),
    ("sudo", "exec \"$@\""),
    // Commands that change the machine are reported as NOT RUN.
    ("apt", "exit 1"),
    ("apt-get", "exit 1"),
    ("dpkg", "exit 1"),
    ("aliyun", "test -n \"$1\""),
];

/// Files with a secret by the instructions of the documents. They are removed before the search for
/// secrets.
const ASKED_FOR: [&str; 10] = [
    "work/.env",
    "work/saml.json",
    "work/sts_info.py",
    "work/token.json",
    "work/world.toml",
    "home/.aliyun",
    "home/.alibabacloud",
    "home/.ossutilconfig",
    "outside/home/jo/app",
    "outside/home/jo/sts",
];

pub(crate) struct World {
    pub(crate) env: TestEnv,
    /// Texts of the documents, and their replacements.
    replaced: Vec<(String, String)>,
    /// The directory for the emulator's authority.
    _tls: tempfile::TempDir,
}

impl World {
    /// Creates a world without a daemon.
    pub(crate) fn without_daemon(emulator: &[&str]) -> Self {
        Self::with_tls(tempfile::tempdir().unwrap(), emulator)
    }

    /// Creates a world without a daemon, whose emulator is started as a page starts it.
    fn of_a_page(page: &Page) -> Self {
        let tls = tempfile::tempdir().unwrap();
        let arguments = emulator::arguments(page, tls.path().to_str().unwrap());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Self::with_tls(tls, &arguments)
    }

    fn with_tls(tls: tempfile::TempDir, emulator: &[&str]) -> Self {
        let env = TestEnv::without_daemon(emulator);
        for name in ["home", "home/.config", "bin", "runtime", "outside", "work"] {
            let mut directory = fs::DirBuilder::new();
            directory.mode(0o700).create(env.path(name)).unwrap();
        }
        for (name, script) in STAND_INS {
            let script = format!("#!/bin/sh\n{script}\n");
            env.write(&format!("bin/{name}"), &script, 0o755);
        }
        for name in ["systemd", "examples", "docs"] {
            symlink(root().join(name), env.path("work").join(name)).unwrap();
        }
        let programs = program("stsd").parent().unwrap().display().to_string();
        let address = |url: &str| url.strip_prefix("http://").unwrap().to_owned();
        let mut replaced = vec![
            (emulator::STS.to_owned(), address(env.emulator().sts_url())),
            (emulator::OSS.to_owned(), address(env.emulator().oss_url())),
            (
                format!("{}/", emulator::TLS),
                format!("{}/", tls.path().display()),
            ),
            ("region = \"cn-hongkong\"\n".to_owned(), env.endpoint()),
            (
                "https://oss-cn-hongkong.aliyuncs.com".to_owned(),
                env.emulator().oss_url().to_owned(),
            ),
            // In a call of an SDK, whose default is HTTPS.
            (
                "endpoint=\"sts.cn-hongkong.aliyuncs.com\"".to_owned(),
                format!(
                    "endpoint=\"{}\", protocol=\"http\"",
                    address(env.emulator().sts_url())
                ),
            ),
            ("\"BUCKET\"".to_owned(), "\"examplebucket\"".to_owned()),
            (
                "OSS_BUCKET=mine".to_owned(),
                "OSS_BUCKET=examplebucket".to_owned(),
            ),
            (
                "\"LTAI…\"".to_owned(),
                "\"LTAIEXAMPLEUPLOADER01\"".to_owned(),
            ),
            (
                "access_key_secret = \"…\"".to_owned(),
                format!("access_key_secret = \"{}\"", e2e::KEY_SECRET),
            ),
            // The default port may be in use on this machine.
            (
                "[http]\n".to_owned(),
                "[http]\nlisten = \"127.0.0.1:0\"\n".to_owned(),
            ),
            ("/usr/bin/sts".to_owned(), format!("{programs}/sts")),
            ("/usr/local/bin/sts".to_owned(), format!("{programs}/sts")),
            (
                "/run/user/1000/".to_owned(),
                format!("{}/", env.path("runtime").display()),
            ),
        ];
        for path in OUTSIDE {
            let inside = format!("{}{path}", env.path("outside").display());
            fs::create_dir(env.path("outside").join(&path[1..])).unwrap();
            for before in [" ", "\"", "=", "'", ":"] {
                replaced.push((format!("{before}{path}"), format!("{before}{inside}")));
            }
        }
        Self {
            env,
            replaced,
            _tls: tls,
        }
    }

    /// Creates a world with everything that the commands need.
    pub(crate) fn whole() -> Self {
        let mut world = Self::of_a_reader(None);
        fs::create_dir(world.env.path("home/.config/stsd")).unwrap();
        let key = fs::read_to_string(world.env.path("uploader.key")).unwrap();
        world
            .env
            .write("home/.config/stsd/uploader.key", &key, 0o600);
        world.env.write("work/uploader.key", &key, 0o600);
        world
            .env
            .write("home/.config/stsd/config.toml", &world.config(), 0o600);
        world.tools();
        world.start();
        world
    }

    /// Creates a world without stsd for the reader of a page: no configuration, no key, no daemon.
    pub(crate) fn of_a_beginner(page: &Page) -> Self {
        Self::of_a_reader(Some(page))
    }

    fn of_a_reader(page: Option<&Page>) -> Self {
        let mut world = match page {
            Some(page) => Self::of_a_page(page),
            None => Self::without_daemon(&[]),
        };
        for name in [
            "etc/systemd/system",
            "etc/stsd",
            "var/lib/node_exporter",
            "home/jo/app",
            "home/jo/sts",
        ] {
            // Not writable for other users, whatever the umask.
            let mut directory = fs::DirBuilder::new();
            directory.recursive(true).mode(0o700);
            directory
                .create(world.env.path("outside").join(name))
                .unwrap();
        }
        // The default account model has another account id than the documents.
        let account = "acs:ram::123456789012:".to_owned();
        let its = "acs:ram::100000000000001:".to_owned();
        world.replaced.push((account, its));
        let endpoint = format!("stsctl init --endpoint {} ", world.env.emulator().sts_url());
        let region = "stsctl init --region cn-hongkong ".to_owned();
        world.replaced.push((region, endpoint));
        // `stsctl doctor` may warn of a property of this machine.
        let doctor = "stsctl doctor\n".to_owned();
        let healthy = "stsctl doctor || test $? = 1\n".to_owned();
        world.replaced.push((doctor, healthy));
        world.programs();
        world
    }

    /// Returns the text of a document with the addresses and paths of this world.
    pub(crate) fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (there, here) in &self.replaced {
            text = text.replace(there, here);
        }
        text
    }

    /// Returns a command with the environment of this world and no other variables.
    pub(crate) fn command(&self, name: impl Into<PathBuf>) -> Command {
        let mut command = Command::new(name.into());
        let programs = program("stsd").parent().unwrap().to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let mut places = vec![self.env.path("bin"), programs];
        places.push(clients().join("python/bin"));
        places.extend(env::split_paths(&path));
        command.env_clear();
        command.env("PATH", env::join_paths(places).unwrap());
        command.env("HOME", self.env.path("home"));
        command.env("OSS_ENDPOINT", self.env.emulator().oss_url());
        command.env("OSS_REGION", "cn-hongkong");
        command.env("OSS_BUCKET", "examplebucket");
        command.env("USER", "jo").env("LANG", "C.UTF-8");
        command.env("XDG_RUNTIME_DIR", self.env.path("runtime"));
        command.current_dir(self.env.path("work"));
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn client(&self) -> Client {
        Client::at(self.env.path("runtime/stsd/stsd.sock"))
    }

    /// Gives the HTTP endpoint of a configuration that `stsctl init` has written a free port: the
    /// stories of one user run at the same time.
    pub(crate) fn use_a_free_port(&self) {
        let path = self.env.path("home/.config/stsd/config.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("[http]\n"), "{text}");
        let text = text.replace("[http]\n", "[http]\nlisten = \"127.0.0.1:0\"\n");
        fs::write(&path, text).unwrap();
    }

    /// Starts the daemon by its name, with the environment of a login.
    pub(crate) fn start(&mut self) {
        let command = self.command(program("stsd"));
        self.env.spawn_daemon(command);
        let client = self.client();
        self.env
            .wait_until("the daemon answers", || client.status().is_ok());
    }

    /// Ends the daemon and starts it again.
    pub(crate) fn restart(&mut self) {
        self.env.daemon().signal(Signal::SIGTERM);
        self.env.wait_for_daemon_exit();
        self.start();
    }

    /// Returns the configuration with the profiles of the documents.
    fn config(&self) -> String {
        let profile = |name: &str, role: &str| {
            format!(
                "[profile.{name}]\nsource = \"uploader\"\n\
                 role_arn = \"acs:ram::100000000000001:role/{role}\"\n"
            )
        };
        let profiles = [
            profile("default", "oss-upload"),
            profile("oss-upload", "oss-upload"),
            profile("oss-read", "oss-read"),
        ];
        format!(
            "{}[http]\nlisten = \"127.0.0.1:0\"\n[source.uploader]\ntype = \"access-key\"\n\
             access_key_file = \"uploader.key\"\n{}",
            self.env.endpoint(),
            profiles.concat()
        )
    }

    /// Writes the files that a reader of the documents has: programs and a policy.
    fn programs(&self) {
        let upload = root().join("examples/python/upload_oss2.py");
        fs::copy(upload, self.env.path("work/backup.py")).unwrap();
        symlink(self.env.path("bin/backup"), self.env.path("work/backup")).unwrap();
        let policy = r#"{"Version": "1", "Statement": [{"Effect": "Allow",
            "Action": "oss:GetObject", "Resource": "*"}]}"#;
        self.env.write("work/read-only.json", policy, 0o600);
    }

    /// Writes the files of other tools, as a new user has them.
    fn tools(&self) {
        fs::create_dir(self.env.path("home/.aliyun")).unwrap();
        fs::create_dir(self.env.path("home/.alibabacloud")).unwrap();
        let key = |id: &str| format!("{id}\",\"access_key_secret\":\"{}", e2e::KEY_SECRET);
        let aliyun = format!(
            "{{\"current\":\"prod\",\"profiles\":[{{\"name\":\"prod\",\"mode\":\"RamRoleArn\",\
             \"access_key_id\":\"{}\",\"ram_role_arn\":\"acs:ram::100000000000001:role/oss-upload\",\
             \"ram_session_name\":\"prod\",\"expired_seconds\":3600}}]}}",
            key("LTAIEXAMPLEUPLOADER01")
        );
        self.env.write("home/.aliyun/config.json", &aliyun, 0o600);
        let alibaba = format!(
            "[nightly]\ntype = ram_role_arn\naccess_key_id = LTAIEXAMPLEUPLOADER02\n\
             access_key_secret = {}\nrole_arn = acs:ram::100000000000001:role/oss-read\n\
             role_session_name = nightly\n",
            e2e::KEY_SECRET
        );
        self.env
            .write("home/.alibabacloud/credentials", &alibaba, 0o600);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for name in ASKED_FOR {
            let path = self.env.path(name);
            let _ = fs::remove_file(&path);
            let _ = fs::remove_dir_all(&path);
        }
    }
}
