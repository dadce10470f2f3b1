//! `stsctl import`: what aliyun-cli and the SDKs have is taken over or said to be left, no
//! secret is shown on the way, and their file stays as it is.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use e2e::{KEY_SECRET, Keyring, Kit, MARKERS, program};
use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};

/// aliyun-cli's file, below the home.
const CLI: &str = ".aliyun/config.json";

/// Our configuration, below the home.
const OURS: &str = ".config/stsd/config.toml";

/// A user at home who has used other tools before.
struct Home {
    directory: tempfile::TempDir,
}

/// What a run of the program said.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("stsd-e2e-").tempdir();
        Self {
            directory: directory.unwrap(),
        }
    }

    /// A home with a file of aliyun-cli.
    fn with(profiles: &Value) -> Self {
        let home = Self::new();
        let text = json!({"current": "default", "profiles": profiles, "meta_path": ""});
        home.put(CLI, format!("{text:#}\n"), 0o600);
        home
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    fn mode(&self, name: &str) -> u32 {
        self.file(name).metadata().unwrap().mode() & 0o7777
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("stsctl"));
        command.env_clear().env("HOME", self.directory.path());
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command.arg("import").args(arguments).stdin(Stdio::null());
        command
    }

    fn import(&self, arguments: &[&str]) -> Said {
        self.run(self.command(arguments))
    }

    /// Runs the program, which may show no secret whatever comes of it.
    fn run(&self, mut command: Command) -> Said {
        let output: Output = command.output().unwrap();
        let said = Said {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        for marker in MARKERS {
            let shows = said.stdout.contains(marker) || said.stderr.contains(marker);
            assert!(!shows, "{marker} is shown: {}{}", said.stdout, said.stderr);
        }
        said
    }

    /// Everything below, with what it holds, its mode and when it was written.
    fn all(&self) -> BTreeMap<PathBuf, (Vec<u8>, u32, i64, i64)> {
        let mut found = BTreeMap::new();
        let mut pending = vec![self.directory.path().to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap().flatten() {
                let (path, metadata) = (entry.path(), entry.metadata().unwrap());
                if metadata.is_dir() {
                    pending.push(path);
                } else {
                    let bytes = fs::read(&path).unwrap_or_default();
                    let (mode, time) = (metadata.mode(), metadata.mtime());
                    found.insert(path, (bytes, mode, time, metadata.mtime_nsec()));
                }
            }
        }
        found
    }

    /// Secrets are where they were and where they were put, and nowhere else.
    fn is_tidy(&self) {
        for (path, (bytes, ..)) in self.all() {
            let kept = path
                .extension()
                .is_some_and(|it| it == "key" || it == "uri");
            let text = String::from_utf8_lossy(&bytes);
            // What a command is given is known to nobody but who has written it; it is in the
            // configuration because that is where it is run from.
            let text: String = text
                .lines()
                .filter(|it| !it.starts_with("command = "))
                .collect();
            let secret = MARKERS.iter().any(|it| text.contains(it));
            let theirs = path == self.file(CLI);
            assert!(!secret || kept || theirs, "{} has a secret", path.display());
        }
    }
}

impl Said {
    #[track_caller]
    fn worked(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// Looks at what a failure says; returns it.
    #[track_caller]
    fn failed(self, with: &str) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.stdout, self.stderr);
        let all = self.stdout + &self.stderr;
        assert!(all.contains(with), "{with}: {all}");
        all
    }
}

fn key(id: &str) -> Value {
    json!({"access_key_id": id, "access_key_secret": format!("ExampleSecretOf{id}")})
}

fn role() -> Value {
    json!({
        "ram_role_arn": "acs:ram::100000000000001:role/oss-upload",
        "ram_session_name": "me"
    })
}

/// One profile of all these fields.
fn profile(name: &str, mode: &str, fields: &[Value]) -> Value {
    let mut profile = json!({"name": name, "mode": mode, "region_id": "cn-hangzhou"});
    for more in fields {
        let more = more.as_object().unwrap().clone();
        profile.as_object_mut().unwrap().extend(more);
    }
    profile
}

/// A profile of each mode. The command and the token's file are there.
fn every_mode(home: &Home) -> Value {
    home.put("bin/issue", "#!/bin/sh\nexit 1\n", 0o755);
    home.put("token.jwt", "a.b.c", 0o600);
    let at_home = |name: &str| home.file(name).to_str().unwrap().to_owned();
    let session = json!({
        "access_key_id": "STS.Written", "access_key_secret": "EmulatedSecretX",
        "sts_token": "EmulatedTokenX", "sts_expiration": 1_900_000_000
    });
    json!([
        profile("ak", "AK", &[key("LTAIAK")]),
        profile("token", "StsToken", std::slice::from_ref(&session)),
        profile(
            "role",
            "RamRoleArn",
            &[key("LTAIROLE"), role(), json!({"expired_seconds": 3600})]
        ),
        profile("ecs", "EcsRamRole", &[json!({"ram_role_name": "worker"})]),
        profile(
            "ecs-role",
            "RamRoleArnWithRoleName",
            &[json!({"ram_role_name": "worker"}), role()]
        ),
        profile(
            "chain",
            "ChainableRamRoleArn",
            &[json!({"source_profile": "ak"}), role()]
        ),
        profile(
            "pair",
            "RsaKeyPair",
            &[json!({"private_key": "ExampleSecretOfPair", "key_pair_name": "k"})]
        ),
        profile(
            "external",
            "External",
            &[
                json!({"process_command": format!("{} --pass ExampleSecretOfExternal", at_home("bin/issue"))}),
                session,
            ]
        ),
        profile(
            "uri",
            "CredentialsURI",
            &[json!({"credentials_uri": "https://issuer.example/ExampleSecretOfUri"})]
        ),
        profile(
            "oidc",
            "OIDC",
            &[
                json!({
                    "oidc_provider_arn": "acs:ram::100000000000001:oidc-provider/demo",
                    "oidc_token_file": at_home("token.jwt")
                }),
                role(),
            ]
        ),
        profile(
            "sso",
            "CloudSSO",
            &[json!({"access_token": "ExampleSecretOfSso"})]
        ),
        profile(
            "oauth",
            "OAuth",
            &[json!({"oauth_refresh_token": "ExampleSecretOfOauth"})]
        ),
        profile(
            "bearer",
            "BearerToken",
            &[json!({"bearer_token": "ExampleSecretOfBearer"})]
        ),
        profile("nobody", "Anonymous", &[]),
    ])
}

fn home_of_all_modes() -> Home {
    let home = Home::new();
    let text = json!({"current": "ak", "profiles": every_mode(&home)});
    home.put(CLI, text.to_string(), 0o600);
    home
}

#[test]
fn an_import_is_shown_and_nothing_is_touched_until_it_is_asked_for() {
    let home = home_of_all_modes();
    let before = home.all();
    let said = home.import(&[]).worked();
    assert_eq!(home.all(), before);
    assert!(!home.file(".config").exists());
    for line in [
        "ak (AK): taken: [source.ak]\n",
        "token (StsToken): not taken: ",
        "role (RamRoleArn): taken: [source.role-user] [profile.role]\n",
        "ecs (EcsRamRole): taken: [source.ecs-instance] [profile.ecs]\n",
        "ecs-role (RamRoleArnWithRoleName): taken: [source.ecs-instance] [profile.ecs-role]\n",
        "chain (ChainableRamRoleArn): taken: [source.ak] [profile.chain]\n",
        "pair (RsaKeyPair): not taken: ",
        "external (External): taken: [source.external-process] [profile.external]\n",
        "uri (CredentialsURI): taken: [source.uri-uri] [profile.uri]\n",
        "oidc (OIDC): taken: [source.oidc-oidc] [profile.oidc]\n",
        "sso (CloudSSO): not taken: ",
        "oauth (OAuth): not taken: ",
        "bearer (BearerToken): not taken: ",
        "nobody (Anonymous): not taken: ",
        "a session's secrets of STS.Written stand in it in clear text",
        "secrets that do not end, in clear text, and does so after an import: of ak, role, pair, oauth, bearer.",
        "access_key_id = \"LTAIROLE\"\naccess_key_secret = \"…\"\n",
        "issue\", \"…\", \"…\"]\n",
        "Nothing has been written: --write does it\n",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

#[test]
fn an_import_is_written_once_and_their_file_stays_as_it_is() {
    let home = home_of_all_modes();
    let theirs = home.all();
    let said = home.import(&["--write"]).worked();
    assert!(said.contains("config.toml: written\n"), "{said}");
    let after = home.all();
    for (path, state) in &theirs {
        assert_eq!(after.get(path), Some(state), "{}", path.display());
    }
    home.is_tidy();
    let names = |it: &PathBuf| {
        let name = it.strip_prefix(home.file(".config/stsd")).ok()?;
        Some(name.to_str()?.to_owned())
    };
    let new: Vec<_> = after.keys().filter_map(names).collect();
    assert_eq!(
        new,
        ["ak.key", "config.toml", "role-user.key", "uri-uri.uri"]
    );
    for name in &new {
        assert_eq!(home.mode(&format!(".config/stsd/{name}")), 0o600, "{name}");
    }
    assert_eq!(home.mode(".config/stsd"), 0o700);
    assert_eq!(
        home.text(".config/stsd/role-user.key"),
        "access_key_id = \"LTAIROLE\"\naccess_key_secret = \"ExampleSecretOfLTAIROLE\"\n"
    );
    let uri = home.text(".config/stsd/uri-uri.uri");
    assert_eq!(uri, "https://issuer.example/ExampleSecretOfUri\n");

    let said = home.import(&["--write"]).worked();
    assert!(
        said.contains("has it all already; nothing is changed"),
        "{said}"
    );
    assert_eq!(home.all(), after);
}

#[test]
fn programs_get_credentials_by_an_imported_profile() {
    let mut kit = Kit::without_daemon(&[]);
    let key = json!({"access_key_id": "LTAIEXAMPLEUPLOADER01", "access_key_secret": KEY_SECRET});
    let home = Home::with(&json!([profile("up load", "RamRoleArn", &[key, role()])]));
    kit.write("config.toml", &kit.endpoint(), 0o600);
    let mut command = home.command(&["--write"]);
    command.env("STSD_CONFIG", kit.path("config.toml"));
    let said = home.run(command).worked();
    assert!(said.contains("its name is up-load with us"), "{said}");
    assert!(kit.path("up-load-user.key").exists());
    kit.start_daemon();
    assert!(kit.document(&["up-load"])["access_key_id"].is_string());
}

#[test]
fn what_a_configuration_has_stays_to_the_byte() {
    let home = Home::with(&json!([
        profile("prod", "RamRoleArn", &[key("LTAIPROD"), role()]),
        profile("mine", "RamRoleArn", &[key("LTAIMINE"), role()]),
    ]));
    let mine = "# mine\nregion = \"cn-shanghai\"   # so\n\n[source.mine]\ntype = \"access-key\"\n\
        access_key_file = \"mine.key\"\n[profile.mine]\nsource = \"mine\"\n\
        role_arn = \"acs:ram::1:role/r\" # no end of a line";
    home.put(OURS, mine, 0o640);
    home.put(
        ".config/stsd/mine.key",
        "access_key_id = \"LTAIX\"\naccess_key_secret = \"x\"\n",
        0o600,
    );
    let said = home.import(&["--write"]).worked();
    let refused = "mine (RamRoleArn): not taken: [profile.mine] is there already and says \
        something else; it stays as it is";
    assert!(said.contains(refused), "{said}");
    let text = home.text(OURS);
    assert!(
        text.starts_with(&format!("{mine}\n\n# Taken from ")),
        "{text}"
    );
    assert!(text.contains("\n[profile.prod]\n"), "{text}");
    assert_eq!(home.mode(OURS), 0o640);
    assert!(!home.file(".config/stsd/mine-user.key").exists());
}

#[test]
fn what_stsd_would_refuse_is_not_written_and_nothing_of_it_is_left() {
    let home = Home::with(&json!([profile(
        "prod",
        "RamRoleArn",
        &[key("LTAIPROD"), role()]
    )]));
    // Good by itself; but the key would stand where a profile's credentials go.
    let mine = "[source.a]\ntype = \"access-key\"\naccess_key_file = \"a.key\"\n\
        [profile.a]\nsource = \"a\"\nrole_arn = \"acs:ram::1:role/r\"\n\
        file = { path = \"prod-user.key\", format = \"env\" }\n";
    home.put(OURS, mine, 0o600);
    home.put(
        ".config/stsd/a.key",
        "access_key_id = \"LTAIX\"\naccess_key_secret = \"x\"\n",
        0o600,
    );
    let before = home.all();
    let said = home
        .import(&["--write"])
        .failed("stsd would refuse the configuration");
    assert!(said.contains("/config.toml:"), "{said}");
    assert!(!said.contains(".tried-"), "{said}");
    assert_eq!(home.all(), before);
}

#[test]
fn nobody_elses_key_is_replaced() {
    let two = json!([
        profile("a", "RamRoleArn", &[key("LTAIA"), role()]),
        profile("b", "RamRoleArn", &[key("LTAIB"), role()]),
    ]);
    let check = |text: &str, mode: u32, taken: bool| {
        let home = Home::with(&two);
        home.put(".config/stsd/b-user.key", text, mode);
        let before = home.all();
        let said = home.import(&["--write"]);
        if taken {
            said.worked();
            return;
        }
        said.failed("b-user.key is there already and holds something else");
        assert_eq!(home.all(), before);
    };
    check("another's", 0o600, false);
    let ours = "access_key_id = \"LTAIB\"\naccess_key_secret = \"ExampleSecretOfLTAIB\"\n";
    check(ours, 0o644, false);
    // An import that was ended in the middle had got so far.
    check(ours, 0o600, true);
}

#[test]
fn where_nothing_can_be_written_nothing_is() {
    let home = Home::with(&json!([profile(
        "a",
        "RamRoleArn",
        &[key("LTAIA"), role()]
    )]));
    home.put(".config", "a file where a directory should be", 0o600);
    let before = home.all();
    home.import(&["--write"])
        .failed("config.toml: Not a directory");
    home.import(&[]).failed("config.toml: Not a directory");
    let mut command = home.command(&["--write"]);
    command.env("STSD_CONFIG", "/proc/stsd/config.toml");
    home.run(command).failed("/proc/stsd cannot be made");
    let mut command = home.command(&["--write"]);
    command.env("STSD_CONFIG", home.directory.path());
    home.run(command).failed("this is no file");
    assert_eq!(home.all(), before);

    let broken = "[source]\n=ExampleSecretOfOurs\n";
    home.put("broken.toml", broken, 0o600);
    let mut command = home.command(&["--write"]);
    command.env("STSD_CONFIG", home.file("broken.toml"));
    home.run(command).failed("broken.toml:2 is not TOML");
    let inline = "profile = {}\n";
    home.put("inline.toml", inline, 0o600);
    let mut command = home.command(&["--write"]);
    command.env("STSD_CONFIG", home.file("inline.toml"));
    home.run(command).failed("nothing can be added at its end");
    assert_eq!(home.text("inline.toml"), inline);
}

#[test]
fn a_file_that_is_none_is_named_and_never_waited_for() {
    let home = Home::new();
    home.import(&[])
        .failed("there is no file to import; looked for: ");
    home.import(&["nowhere.json"])
        .failed("nowhere.json: cannot be read");
    mkfifo(&home.file("fifo"), Mode::S_IRWXU).unwrap();
    fs::create_dir(home.file("directory")).unwrap();
    home.put("large", vec![b' '; 1024 * 1024 + 1], 0o600);
    home.put("empty", "", 0o600);
    home.put(
        "cut",
        "{\"profiles\":[{\"access_key_secret\":\"ExampleSecretOfCut",
        0o600,
    );
    home.put(
        "bytes",
        b"[a]\naccess_key_secret=ExampleSecretOf\xff",
        0o600,
    );
    home.put("words", "ExampleSecretOfWords and more", 0o600);
    home.put(
        "token",
        "{\"profiles\":[{\"name\":\"t\",\"mode\":\"StsToken\"}]}",
        0o600,
    );
    for (name, problem) in [
        ("fifo", "not a regular file"),
        ("directory", "not a regular file"),
        ("large", "larger than 1 MiB"),
        ("empty", "it is empty"),
        ("cut", "ends in the middle"),
        ("bytes", "not UTF-8, at line 2"),
        ("words", "line 1 is no section"),
        ("token", "there is nothing to take"),
    ] {
        let path = home.file(name);
        let said = home.import(&[path.to_str().unwrap(), "--write"]);
        let all = said.failed(problem);
        assert!(all.contains(path.to_str().unwrap()), "{all}");
    }
}

#[test]
fn a_file_that_others_may_read_is_pointed_out() {
    let home = Home::with(&json!([profile(
        "a",
        "RamRoleArn",
        &[key("LTAIA"), role()]
    )]));
    let warning = "others on this machine may read the secrets";
    assert!(!home.import(&[]).worked().contains(warning));
    for mode in [0o640, 0o604, 0o644] {
        fs::set_permissions(home.file(CLI), fs::Permissions::from_mode(mode)).unwrap();
        let said = home.import(&[]).worked();
        assert!(
            said.contains(&format!("has mode {mode:04o}: {warning}")),
            "{said}"
        );
    }
}

#[test]
fn the_sdks_file_is_taken_where_there_is_no_other() {
    let home = Home::new();
    let ini = "[default]\r\ntype = access_key\r\naccess_key_id = LTAIINI\r\n\
        access_key_secret = ExampleSecretOfIni\r\n";
    home.put(".alibabacloud/credentials", ini, 0o600);
    let said = home.import(&["--write"]).worked();
    assert!(
        said.contains("default (AK): taken: [source.default]"),
        "{said}"
    );
    assert!(said.contains("there is no profile in it yet"), "{said}");
    assert!(!said.contains("stsctl reload"), "{said}");
    // A key alone is no profile; the lines that make it one are there to be filled in.
    let text = home.text(OURS);
    assert!(text.contains("# [profile.NAME]\n"), "{text}");
    assert!(home.file(".config/stsd/default.key").exists());
    home.put(CLI, "{}", 0o600);
    home.import(&[])
        .failed("config.json: it has no \"profiles\"");
}

/// A program in the place of systemd's, because that would leave a key of the machine behind.
const SYSTEMD_CREDS: &str = "#!/bin/sh
[ \"$1\" = --version ] && { echo 'systemd 256 (256.1)'; exit 0; }
echo \"$@\" > \"$HOME/arguments\"
tr 'a-z' 'n-za-m'
";

#[test]
fn a_key_goes_to_systemd_encrypted_and_the_rest_is_said() {
    let home = Home::with(&json!([profile(
        "a",
        "RamRoleArn",
        &[key("LTAIA"), role()]
    )]));
    home.put("bin/systemd-creds", SYSTEMD_CREDS, 0o755);
    let run = || {
        let mut command = home.command(&["--keeper", "credential", "--write"]);
        let path = format!("{}:/usr/bin:/bin", home.file("bin").display());
        home.run({
            command.env("PATH", path);
            command
        })
    };
    let said = run().worked();
    let path = home.file(".config/stsd/a-user.cred");
    let line = format!(
        "[Service]\nLoadCredentialEncrypted=a-user:{}\n",
        path.display()
    );
    assert!(said.contains(&line), "{said}");
    assert!(home.text("arguments").contains("--name=a-user - -"));
    assert!(
        home.text(".config/stsd/a-user.cred")
            .contains("npprff_xrl_vq")
    );
    assert!(
        home.text(OURS)
            .contains("access_key_credential = \"a-user\"\n")
    );
    home.is_tidy();
    // What is encrypted cannot be compared, so it is never replaced.
    fs::remove_file(home.file(OURS)).unwrap();
    run().failed("a-user.cred is there already; move it away first");
}

#[test]
fn a_systemd_that_encrypts_nothing_leaves_nothing() {
    let home = Home::with(&json!([profile(
        "a",
        "RamRoleArn",
        &[key("LTAIA"), role()]
    )]));
    let failing = "#!/bin/sh\necho 'no key of this machine' >&2\nexit 1\n";
    home.put("bin/systemd-creds", failing, 0o755);
    let before = home.all();
    let mut command = home.command(&["--keeper", "credential", "--write"]);
    let path = format!("{}:/usr/bin:/bin", home.file("bin").display());
    command.env("PATH", path);
    home.run(command).failed("systemd");
    assert_eq!(home.all(), before);
    assert!(!Path::new(&home.file(OURS)).exists());
}

#[test]
fn a_key_goes_to_the_keyring_and_replaces_nobodys() {
    let Some(keyring) = Keyring::start() else {
        return;
    };
    let home = Home::with(&json!([profile(
        "a",
        "RamRoleArn",
        &[key("LTAIA"), role()]
    )]));
    let run = || {
        let mut command = home.command(&["--keeper", "keyring", "--write"]);
        command.env("DBUS_SESSION_BUS_ADDRESS", keyring.address());
        home.run(command)
    };
    let theirs = home.all();
    keyring.store("a-user", "another's");
    run().failed("the keyring has something else under the key a-user of stsd already");
    assert_eq!(keyring.text("a-user").as_deref(), Some("another's"));
    assert_eq!(home.all(), theirs);

    // An import that was ended in the middle had got so far.
    let ours = "access_key_id = \"LTAIA\"\naccess_key_secret = \"ExampleSecretOfLTAIA\"\n";
    keyring.store("a-user", ours);
    run().worked();
    fs::remove_file(home.file(OURS)).unwrap();
    run().worked();
    assert_eq!(keyring.text("a-user").as_deref(), Some(ours));
    assert!(
        home.text(OURS)
            .contains("access_key_keyring = \"a-user\"\n")
    );
    home.is_tidy();
}

#[test]
fn a_keyring_that_is_not_there_is_said_and_nothing_is_written() {
    let home = Home::with(&json!([profile(
        "a",
        "RamRoleArn",
        &[key("LTAIA"), role()]
    )]));
    let before = home.all();
    home.import(&["--keeper", "keyring", "--write"])
        .failed("the keyring has not taken the key a-user (run it in a user's session");
    assert_eq!(home.all(), before);
}

#[test]
fn a_profile_that_stsd_refuses_does_not_keep_the_others_out() {
    let oidc = json!({
        "oidc_provider_arn": "acs:ram::100000000000001:oidc-provider/demo",
        "oidc_token_file": "/nowhere/token.jwt"
    });
    let oidc = profile("pod", "OIDC", &[oidc, role()]);
    let other = profile("prod", "RamRoleArn", &[key("LTAIPROD"), role()]);
    let home = Home::with(&json!([oidc, other]));
    // It is shown as it is done.
    let shown = home.import(&[]).worked();
    assert!(!home.file(".config").exists());
    let said = home.import(&["--write"]).worked();
    for said in [shown, said] {
        assert!(said.contains("pod (OIDC): not taken: "), "{said}");
        assert!(said.contains("/nowhere/token.jwt"), "{said}");
        assert!(!said.contains("[profile.pod]"), "{said}");
    }
    let text = home.text(OURS);
    let (there, left) = (text.contains("[profile.prod]"), !text.contains("pod"));
    assert!(there && left, "{text}");
    assert!(home.file(".config/stsd/prod-user.key").exists());

    let home = Home::with(&json!([oidc]));
    home.import(&["--write"]).failed("there is nothing to take");
    assert!(!home.file(OURS).exists());
}

/// A pod has it; whoever imports there need not.
#[test]
fn what_is_left_to_the_environment_is_left_to_the_daemons() {
    let home = Home::with(&json!([profile("pod", "OIDC", &[])]));
    let said = home.import(&["--write"]).worked();
    assert!(said.contains("pod (OIDC): taken: "), "{said}");
    assert!(home.text(OURS).contains("[profile.pod]"));
}

#[test]
fn an_import_that_fails_leaves_no_directory_behind() {
    let home = Home::with(&json!([profile("a", "ChainableRamRoleArn", &[])]));
    home.import(&["--write"]).failed("nothing to take");
    assert!(!home.file(".config").exists());
    // What was there stays, empty or not.
    fs::create_dir(home.file(".config")).unwrap();
    home.import(&["--write"]).failed("nothing to take");
    assert!(home.file(".config").exists() && !home.file(".config/stsd").exists());
}

#[test]
fn a_command_is_put_where_nobody_else_reads_it_and_a_key_beside_what_all_may_read() {
    let before = "region = \"cn-hangzhou\"\n";
    let keyed = profile("a", "RamRoleArn", &[key("LTAIA"), role()]);
    let home = Home::with(&json!([keyed]));
    home.put(OURS, before, 0o644);
    home.import(&["--write"]).worked();
    assert_eq!(home.mode(OURS), 0o644);

    let command = json!({"process_command": "/usr/bin/env --flag"});
    let home = Home::with(&json!([keyed, profile("b", "External", &[command])]));
    home.put(OURS, before, 0o644);
    let said = home.import(&["--write"]).worked();
    assert_eq!(home.mode(OURS), 0o600);
    assert!(said.contains("mode 0600"), "{said}");
}
