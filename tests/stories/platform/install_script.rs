//! The install script: what it refuses before it changes anything, and what it installs.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use e2e::not_run;
use nix::unistd::{Uid, chown, geteuid};

/// Returns the text of the script.
fn script_text() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join("install.sh")).unwrap()
}

/// The name of the tarball, without its extension.
fn name() -> String {
    let (version, machine) = (env!("CARGO_PKG_VERSION"), env::consts::ARCH);
    format!("stsd-{version}-linux-{machine}")
}

fn tarball() -> String {
    format!("{}.tar.gz", name())
}

/// A folder of a release, served over HTTP on loopback, and an empty home.
struct Release {
    place: tempfile::TempDir,
    address: String,
}

impl Release {
    /// Serves a release with a small tarball and its right checksum; returns `None`, and reports it,
    /// where a tool is missing.
    fn start() -> Option<Self> {
        for tool in ["curl", "tar", "gzip", "sha256sum"] {
            if Command::new(tool).arg("--version").output().is_err() {
                not_run(&format!("{tool} does not start"));
                return None;
            }
        }
        let place = tempfile::Builder::new().prefix("stsd-e2e-").tempdir();
        let place = place.unwrap();
        for (file, mode) in [
            ("bin/stsd", 0o711),
            ("bin/stsctl", 0o755),
            ("lib/systemd/user/stsd.service", 0o644),
            ("share/man/man8/stsd.8", 0o644),
        ] {
            let path = place.path().join(name()).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("# {file}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(place.path().join("served")).unwrap();
        fs::create_dir(place.path().join("home")).unwrap();
        let mut tar = Command::new("tar");
        tar.arg("-czf")
            .arg(place.path().join("served").join(tarball()));
        let packed = tar.arg("-C").arg(place.path()).arg(name()).status();
        assert!(packed.unwrap().success());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let served = place.path().join("served");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &served);
            }
        });
        let release = Self { place, address };
        release.write_sums();
        Some(release)
    }

    fn served(&self, file: &str) -> PathBuf {
        self.place.path().join("served").join(file)
    }

    fn home(&self) -> PathBuf {
        self.place.path().join("home")
    }

    /// Writes the checksum of the tarball as it is.
    fn write_sums(&self) {
        let mut sums = Command::new("sha256sum");
        let sums = sums.arg(tarball()).current_dir(self.served("")).output();
        fs::write(self.served("SHA256SUMS"), sums.unwrap().stdout).unwrap();
    }

    /// Returns the script as a command, for the served release.
    fn script(&self, arguments: &[&str]) -> Command {
        let mut script = self.script_without_loopback(arguments);
        self.environment(&mut script);
        script
    }

    fn script_without_loopback(&self, arguments: &[&str]) -> Command {
        let mut script = Command::new("sh");
        script
            .args(["-c", &script_text(), "install.sh"])
            .args(arguments);
        self.environment(&mut script)
            .env_remove("STSD_INSTALL_LOOPBACK");
        script
    }

    /// Sets the variables and the directory of the script.
    fn environment<'a>(&self, script: &'a mut Command) -> &'a mut Command {
        for proxy in ["http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"] {
            script.env_remove(proxy);
        }
        script
            .current_dir(self.place.path())
            .env("HOME", self.home())
            .env("STSD_INSTALL_LOOPBACK", "1")
    }

    /// Asserts that the script fails with a message, and leaves no file in the home.
    #[track_caller]
    fn assert_refused(&self, script: &mut Command, message: &str) {
        let output = script.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{message}");
        assert!(stderr.contains(message), "{stderr}");
        assert_eq!(files(&self.home()), BTreeMap::new(), "{message}");
    }
}

/// Answers one request with a file, or with half of it if a file of that name and `.half` exists.
fn serve(mut stream: TcpStream, served: &Path) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let path = served.join(path.trim_start_matches('/'));
    let Ok(content) = fs::read(&path) else {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        return;
    };
    let length = content.len();
    let sent = if path.with_extension("half").exists() {
        length / 2
    } else {
        length
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(&[head.as_bytes(), &content[..sent]].concat());
}

/// Returns the files below a folder with their modes and contents.
fn files(folder: &Path) -> BTreeMap<String, (u32, String)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            found.insert(name, (mode, fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

fn text(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn install_script_installs_into_the_home_and_again_over_itself() {
    let Some(release) = Release::start() else {
        return;
    };
    let program = release.home().join(".local/bin/stsd");
    for _ in 0..2 {
        let output = release
            .script(&["--from", &release.address])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let stdout = String::from_utf8(output.stdout).unwrap();
        let next = format!(
            "next: {}/.local/bin/stsctl init\n",
            release.home().display()
        );
        assert!(stdout.ends_with(&next), "{stdout}");
        let local = files(&release.home().join(".local"));
        let list =
            "./bin/stsctl\n./bin/stsd\n./share/man/man8/stsd.8\n./share/stsd/installed-files.txt\n";
        let modes: Vec<_> = local
            .iter()
            .map(|(name, it)| (name.as_str(), it.0))
            .collect();
        // Without the units, which name no path.
        let expected = [
            ("bin/stsctl", 0o755),
            ("bin/stsd", 0o711),
            ("share/man/man8/stsd.8", 0o644),
            ("share/stsd/installed-files.txt", 0o644),
        ];
        assert_eq!(modes, expected);
        assert_eq!(local["share/stsd/installed-files.txt"].1, list);
        let entries = fs::read_dir(release.home().join(".local")).unwrap();
        assert_eq!(entries.count(), 2, "a temporary folder is left");
        assert_eq!(local["bin/stsd"].1, "# bin/stsd\n");
        // The program of an older version, for the second run.
        fs::write(&program, "old").unwrap();
    }
}

#[test]
fn install_script_removes_files_that_the_new_version_lacks_and_no_others() {
    let Some(release) = Release::start() else {
        return;
    };
    let local = release.home().join(".local");
    fs::create_dir_all(local.join("share/stsd")).unwrap();
    for name in ["old.md", "own.md"] {
        fs::write(local.join("share/stsd").join(name), "").unwrap();
    }
    let outside = release.home().join("outside");
    fs::write(&outside, "").unwrap();
    fs::write(
        local.join("share/stsd/installed-files.txt"),
        "./share/stsd/old.md\n./share/../../outside\n/etc/hostname\n",
    )
    .unwrap();
    let mut script = Command::new("sh");
    script.args([
        "-c",
        "umask 077; exec \"$@\"",
        "sh",
        "sh",
        "-c",
        &script_text(),
    ]);
    let output = release
        .environment(script.args(["install.sh", "--from", &release.address]))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let left = files(&local);
    assert!(!left.contains_key("share/stsd/old.md"));
    assert!(left.contains_key("share/stsd/own.md") && outside.exists());
    // Other users can read what root installs.
    let mode = |path: &str| fs::metadata(local.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("share/man"), mode("share/stsd/installed-files.txt")),
        (0o755, 0o644)
    );
}

#[test]
fn install_script_refuses_a_foreign_home_and_a_directory_in_place_of_a_file() {
    let Some(release) = Release::start() else {
        return;
    };
    let from = ["--from", &release.address];
    let mut script = release.script(&from);
    let missing = release.place.path().join("missing");
    release.assert_refused(
        script.env("HOME", missing),
        "HOME is not a folder of this user",
    );
    if geteuid().is_root() {
        let foreign = release.place.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        chown(&foreign, Some(Uid::from_raw(65534)), None).unwrap();
        let mut script = release.script(&from);
        release.assert_refused(
            script.env("HOME", &foreign),
            "HOME is not a folder of this user",
        );
    }
    let elsewhere = release.place.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::create_dir_all(release.home().join(".local/bin")).unwrap();
    symlink(&elsewhere, release.home().join(".local/bin/stsd")).unwrap();
    let mut script = release.script(&from);
    release.assert_refused(
        &mut script,
        "bin/stsd is a directory; nothing was installed",
    );
    assert_eq!(files(&elsewhere), BTreeMap::new());
}

#[test]
fn install_script_of_a_release_finds_other_versions_by_their_tags() {
    let Some(release) = Release::start() else {
        return;
    };
    let releases = format!("    releases='{}'\n", release.address.trim_end_matches('/'));
    let published = script_text().replace("    releases=''\n", &releases);
    let mut script = Command::new("sh");
    script.args(["-c", &published, "install.sh", "--version", "v0.9.9"]);
    release.assert_refused(
        release.environment(&mut script),
        "/v0.9.9/SHA256SUMS cannot be downloaded",
    );
}

#[test]
fn install_script_refuses_wrong_missing_and_truncated_downloads() {
    let Some(release) = Release::start() else {
        return;
    };
    let from = ["--from", &release.address];
    let whole = fs::read(release.served(&tarball())).unwrap();

    let zeros = "0".repeat(64);
    fs::write(
        release.served("SHA256SUMS"),
        format!("{zeros}  {}\n", tarball()),
    )
    .unwrap();
    release.assert_refused(&mut release.script(&from), "and SHA256SUMS has 0000");
    // The checksum of another file whose name ends in the same way.
    fs::write(
        release.served("SHA256SUMS"),
        format!("{zeros}  old-{}\n", tarball()),
    )
    .unwrap();
    release.assert_refused(&mut release.script(&from), "has no line for stsd-");
    fs::remove_file(release.served("SHA256SUMS")).unwrap();
    release.assert_refused(
        &mut release.script(&from),
        "SHA256SUMS cannot be downloaded",
    );

    release.write_sums();
    fs::write(release.served(&tarball()).with_extension("half"), "").unwrap();
    release.assert_refused(&mut release.script(&from), ".tar.gz cannot be downloaded");
    fs::remove_file(release.served(&tarball()).with_extension("half")).unwrap();
    // The checksum is right, and the archive was cut before the sum was made.
    fs::write(release.served(&tarball()), &whole[..whole.len() / 2]).unwrap();
    release.write_sums();
    release.assert_refused(&mut release.script(&from), "cannot be unpacked");
}

#[test]
fn install_script_refuses_plain_http_and_a_machine_without_checksums() {
    let Some(release) = Release::start() else {
        return;
    };
    let from = ["--from", &release.address];
    let mut script = release.script_without_loopback(&from);
    release.assert_refused(&mut script, "does not begin with https://");
    release.assert_refused(
        &mut release.script(&["--from", "http://example.invalid"]),
        "https://",
    );
    release.assert_refused(&mut release.script(&[]), "no address is known");
    release.assert_refused(
        &mut release.script(&["--prefix", "here"]),
        "not an absolute path",
    );

    let programs = release.place.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let path = env::var_os("PATH").unwrap();
    for tool in [
        "sh", "uname", "curl", "tar", "gzip", "awk", "find", "grep", "id", "mktemp", "mkdir", "rm",
        "mv", "sort",
    ] {
        let mut paths = env::split_paths(&path).map(|it| it.join(tool));
        symlink(paths.find(|it| it.exists()).unwrap(), programs.join(tool)).unwrap();
    }
    let mut script = release.script(&from);
    release.assert_refused(
        script.env("PATH", &programs),
        "neither sha256sum nor shasum",
    );
    // The same tools with sha256sum are enough.
    symlink("/usr/bin/sha256sum", programs.join("sha256sum")).unwrap();
    let output = release
        .script(&from)
        .env("PATH", &programs)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn install_script_that_arrived_in_part_does_nothing() {
    let Some(release) = Release::start() else {
        return;
    };
    let text = script_text();
    let lines: Vec<_> = text.lines().collect();
    for count in 0..lines.len() {
        let mut script = Command::new("sh");
        script.args([
            "-c",
            &lines[..count].join("\n"),
            "install.sh",
            "--from",
            &release.address,
        ]);
        script
            .env("HOME", release.home())
            .env("STSD_INSTALL_LOOPBACK", "1");
        script.output().unwrap();
        assert_eq!(
            fs::read_dir(release.home()).unwrap().count(),
            0,
            "{count} lines"
        );
    }
}
