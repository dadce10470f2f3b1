//! The container image, unpacked and run as a container runtime runs it: its files alone, read-only, as
//! its user. Programs of the gate are not static, so that their libraries are added; those of a release
//! need none.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use e2e::{TestEnv, UPLOAD, in_own_mounts, not_run, program};
use nix::{
    mount::{MsFlags, mount},
    unistd::{Gid, Uid, chown, geteuid},
};
use serde_json::Value;

use super::{machine::copy_libraries, pack, release, run, the_one};

/// The user of the image.
const UID: u32 = 65532;

/// An unpacked archive in OCI's layout.
struct Layout(PathBuf);

impl Layout {
    fn unpack(archive: &Path, directory: PathBuf) -> Self {
        fs::create_dir(&directory).unwrap();
        let mut tar = Command::new("tar");
        run(tar.arg("-xf").arg(archive).arg("-C").arg(&directory));
        Self(directory)
    }

    /// Returns the path of the blob that a descriptor names, after a comparison of its size and sum.
    fn blob(&self, descriptor: &Value) -> PathBuf {
        let digest = descriptor["digest"].as_str().unwrap();
        let digest = digest.strip_prefix("sha256:").unwrap();
        let path = self.0.join("blobs/sha256").join(digest);
        assert_eq!(descriptor["size"], fs::metadata(&path).unwrap().len());
        let sum = run(Command::new("sha256sum").arg(&path));
        assert!(sum.starts_with(digest), "{sum}");
        path
    }

    fn json(&self, descriptor: &Value) -> Value {
        serde_json::from_slice(&fs::read(self.blob(descriptor)).unwrap()).unwrap()
    }

    /// Returns the manifests of all architectures.
    fn manifests(&self) -> Vec<(String, Value)> {
        let index = fs::read(self.0.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let images = self.json(&index["manifests"][0]);
        let images = images["manifests"].as_array().unwrap();
        let manifests = images.iter().map(|it| {
            let architecture = it["platform"]["architecture"].as_str().unwrap();
            (architecture.to_owned(), self.json(it))
        });
        manifests.collect()
    }

    /// Unpacks the layers of an image into a directory.
    fn unpack_layers(&self, manifest: &Value, root: &Path) {
        fs::create_dir(root).unwrap();
        for layer in manifest["layers"].as_array().unwrap() {
            let mut tar = Command::new("tar");
            tar.args(["--numeric-owner", "-xpzf"]).arg(self.blob(layer));
            run(tar.arg("-C").arg(root));
        }
    }
}

/// Returns Debian's name of this machine's architecture.
fn own_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        _ => "arm64",
    }
}

#[test]
fn image_issues_from_a_read_only_root_as_its_user() {
    let place = tempfile::tempdir().unwrap();
    let out = release().or_else(|| pack(&place.path().join("out"), "0.1.0", &["image"]));
    let Some(out) = out else {
        return;
    };
    let layout = Layout::unpack(&the_one(&out, "-oci.tar"), place.path().join("layout"));
    let manifests = layout.manifests();
    let names: Vec<_> = manifests.iter().map(|(name, _)| name.as_str()).collect();
    match release() {
        Some(_) => assert_eq!(names, ["amd64", "arm64"]),
        None => assert_eq!(names, [own_architecture()]),
    }
    for (name, manifest) in &manifests {
        check_manifest(&layout, name, manifest);
    }
    if !geteuid().is_root() {
        return not_run("only root can run the image without a container runtime");
    }
    let own = |(name, _): &&(String, Value)| name == own_architecture();
    let (_, manifest) = manifests.iter().find(own).unwrap();
    let root = place.path().join("root");
    layout.unpack_layers(manifest, &root);
    let volume = fs::metadata(root.join("run/stsd")).unwrap();
    assert_eq!((volume.uid(), volume.mode() & 0o7777), (UID, 0o700));
    if release().is_none() {
        copy_libraries(&["stsd", "stsctl", "sts-shim"].map(program), &root);
    }
    let config = layout.json(&manifest["config"]);
    in_own_mounts(|| run_image(&root, &config["config"]));
}

/// Asserts that the manifest of an architecture names its layers by their sums.
fn check_manifest(layout: &Layout, architecture: &str, manifest: &Value) {
    let config = layout.json(&manifest["config"]);
    assert_eq!(config["architecture"], architecture);
    assert_eq!(config["config"]["User"], "65532:65532");
    let layers = manifest["layers"].as_array().unwrap();
    let sums = config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(layers.len(), sums.len());
    for (layer, sum) in layers.iter().zip(sums) {
        let command = "gzip -dc \"$0\" | sha256sum";
        let mut uncompressed = Command::new("sh");
        let found = run(uncompressed.args(["-c", command]).arg(layout.blob(layer)));
        let sum = sum.as_str().unwrap().strip_prefix("sha256:").unwrap();
        assert!(found.starts_with(sum), "{found}");
    }
}

/// Runs the image's entry point with its variables, and asks for credentials in the container.
fn run_image(root: &Path, config: &Value) {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    // The directories of the socket and of the configuration, as volumes of the image's user.
    fs::create_dir(env.path("etc")).unwrap();
    for name in ["config.toml", "uploader.key"] {
        fs::rename(env.path(name), env.path("etc").join(name)).unwrap();
    }
    let user = (Some(Uid::from_raw(UID)), Some(Gid::from_raw(UID)));
    for name in ["run", "etc", "etc/config.toml", "etc/uploader.key"] {
        chown(&env.path(name), user.0, user.1).unwrap();
    }
    let bind = |from: &Path, to: &str, flags| {
        let to = root.join(to);
        fs::create_dir_all(&to).unwrap();
        let none = None::<&str>;
        mount(Some(from), &to, none, MsFlags::MS_BIND | flags, none).unwrap();
    };
    // A mount of its own, which is then read-only.
    bind(root, "", MsFlags::empty());
    for name in ["proc", "dev"] {
        bind(&Path::new("/").join(name), name, MsFlags::MS_REC);
    }
    bind(&env.path("etc"), "etc/stsd", MsFlags::empty());
    bind(&env.path("run"), "run/stsd", MsFlags::empty());
    bind(root, "", MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY);
    assert!(fs::write(root.join("written"), "").is_err());

    let in_container = |program: &str| {
        let mut command = Command::new("/usr/sbin/chroot");
        command.arg(format!("--userspec={UID}:{UID}"));
        command.arg("--groups=").arg(root).arg(program).env_clear();
        for variable in config["Env"].as_array().unwrap() {
            let (name, value) = variable.as_str().unwrap().split_once('=').unwrap();
            command.env(name, value);
        }
        command
    };
    let entry_point = config["Entrypoint"][0].as_str().unwrap();
    env.spawn_daemon(in_container(entry_point));
    let mut shim = in_container("/usr/bin/sts-shim");
    let document = run(shim.args(["--patience", "30s", "oss-upload"]));
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["Code"], "Success");
    run(in_container("/usr/bin/stsctl").args(["status", "--health"]));
    let socket = fs::metadata(env.socket()).unwrap();
    assert_eq!(
        (socket.uid(), socket.permissions().mode() & 0o777),
        (UID, 0o600)
    );
}
