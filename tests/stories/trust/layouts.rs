//! Layouts that are common and safe: volumes of Kubernetes, groups with one member, linked files,
//! sticky directories, access control lists, user namespaces.

use std::{
    fs,
    os::unix::fs::{chown, lchown, symlink},
    path::PathBuf,
    process::Command,
};

use e2e::{GROUP, OWNER, STRANGER, TestEnv, UPLOAD, UserDaemon, in_own_mounts, program};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{XattrFlags, setxattr};
use serde_json::json;

/// A user of every machine, whose group has no other member.
const DAEMON: u32 = 1;

/// Asserts that the check accepts, or refuses with all words.
#[track_caller]
fn assert_check(user: &UserDaemon, what: &str, words: &[&str]) {
    match user.refusal(user.daemon_command()) {
        None => assert!(words.is_empty(), "{what} is accepted"),
        Some(said) => {
            assert!(!words.is_empty(), "{what}: {said}");
            for word in words {
                assert!(said.contains(word), "{what}: {word}: {said}");
            }
        }
    }
}

/// A mounted volume. The drop unmounts it.
struct Volume(PathBuf);

impl Volume {
    /// Mounts a tmpfs of root, as the kubelet does.
    fn mount(user: &UserDaemon, mode: u32) -> Self {
        let path = user.env.path("volume");
        let _ = fs::create_dir(&path);
        let tmpfs = Some("tmpfs");
        let options = format!("mode={mode:04o}");
        mount(
            tmpfs,
            &path,
            tmpfs,
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .unwrap();
        Self(path)
    }

    /// Makes the mount read-only.
    fn make_read_only(&self) {
        let (none, flags) = (None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_BIND);
        mount(none, &self.0, none, flags | MsFlags::MS_RDONLY, none).unwrap();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Writes the version of a volume, as the kubelet does: `name -> ..data/name`, `..data -> ..VERSION`.
fn publish(user: &UserDaemon, version: &str, name: &str, text: &str, mode: u32, group: u32) {
    let at = |name: &str| user.env.path(&format!("volume/{name}"));
    fs::create_dir(at(version)).unwrap();
    user.mode(&format!("volume/{version}"), 0o755);
    let file = format!("{version}/{name}");
    user.env.write(&format!("volume/{file}"), text, 0o600);
    chown(at(&file), Some(0), Some(group)).unwrap();
    user.mode(&format!("volume/{file}"), mode);
    let _ = symlink(format!("..data/{name}"), at(name));
    symlink(version, at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
}

fn key_in_volume(user: &UserDaemon) {
    let config = user.env.path("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("\"uploader.key\"", "\"volume/uploader.key\"");
    user.put("config.toml", &text, 0o600);
}

#[test]
fn kubernetes_secret_is_read_by_a_pod_with_its_group() {
    in_own_mounts(|| {
        let Some(user) = UserDaemon::prepare(UPLOAD) else {
            return;
        };
        let mut user = user.with_group(GROUP);
        let key = fs::read_to_string(user.env.path("uploader.key")).unwrap();
        key_in_volume(&user);
        for mode in [0o777, 0o1777] {
            let _volume = Volume::mount(&user, mode);
            publish(&user, "..2026_1", "uploader.key", &key, 0o440, GROUP);
            assert_check(&user, "root's, for the group of the daemon", &[]);
        }
        let _volume = Volume::mount(&user, 0o777);
        publish(&user, "..2026_1", "uploader.key", &key, 0o440, GROUP);
        let file = "volume/..2026_1/uploader.key";
        user.mode(file, 0o444);
        assert_check(&user, "0444", &["mode 0444", "defaultMode: 0400"]);
        user.mode(file, 0o440);
        chown(user.env.path(file), Some(0), Some(STRANGER)).unwrap();
        assert_check(&user, "another group", &["must not be open to a group"]);
        chown(user.env.path(file), Some(0), Some(GROUP)).unwrap();

        // A swap of the link gives the daemon the new key.
        user.start(user.daemon_command());
        let refresh = || user.output("stsctl", &["refresh", "oss-upload"]);
        assert!(refresh().status.success());
        let second = key.replace("UPLOADER01", "UPLOADER99");
        publish(&user, "..2026_2", "uploader.key", &second, 0o440, GROUP);
        let said = String::from_utf8(refresh().stderr).unwrap();
        assert!(said.contains("InvalidAccessKeyId"), "{said}");
    });
}

#[test]
fn content_of_an_open_volume_has_to_be_roots() {
    in_own_mounts(|| {
        let Some(user) = UserDaemon::prepare(UPLOAD) else {
            return;
        };
        let key = fs::read_to_string(user.env.path("uploader.key")).unwrap();
        key_in_volume(&user);
        let volume = Volume::mount(&user, 0o777);
        publish(&user, "..2026_1", "uploader.key", &key, 0o400, 0);
        let file = "volume/..2026_1/uploader.key";
        for (uid, name) in [
            (OWNER, file),
            (STRANGER, file),
            (OWNER, "volume/..2026_1"),
            (OWNER, "volume/..data"),
            (STRANGER, "volume/uploader.key"),
        ] {
            lchown(user.env.path(name), Some(uid), None).unwrap();
            let shown = user.env.path(name).display().to_string();
            assert_check(&user, name, &[&shown, "have to be root's"]);
            lchown(user.env.path(name), Some(0), None).unwrap();
        }
        // The same directory without a mount of its own.
        drop(volume);
        publish(&user, "..2026_1", "uploader.key", &key, 0o400, 0);
        chown(user.env.path("volume"), Some(0), Some(0)).unwrap();
        user.mode("volume", 0o777);
        assert_check(
            &user,
            "on a disk",
            &["volume belongs to uid 0", "mode 0777"],
        );
    });
}

#[test]
fn projected_token_of_a_pod_is_readable_for_the_pod() {
    in_own_mounts(|| {
        let profile = "[source.pod]\ntype = \"oidc\"\n\
             provider_arn = \"acs:ram::100000000000001:oidc-provider/demo\"\n\
             token_file = \"volume/token.key\"\n[profile.pod]\nsource = \"pod\"\n\
             role_arn = \"acs:ram::100000000000001:role/oss-upload\"\n";
        let Some(user) = UserDaemon::prepare(profile) else {
            return;
        };
        let token = user.env.emulator().oidc_token(&json!({}));
        let _volume = Volume::mount(&user, 0o1777);
        publish(&user, "..2026_1", "token.key", &token, 0o644, 0);
        assert_check(&user, "the kubelet's layout", &[]);
        user.mode("volume/..2026_1/token.key", 0o646);
        assert_check(&user, "0646", &["mode 0646"]);
        // The same mode at another place.
        user.env.write("volume/token2.key", &token, 0o644);
        user.mode("volume/token2.key", 0o644);
        let config = fs::read_to_string(user.env.path("config.toml")).unwrap();
        user.put(
            "config.toml",
            &config.replace("token.key", "token2.key"),
            0o600,
        );
        assert_check(&user, "a plain file", &["token2.key", "mode 0644"]);
    });
}

#[test]
fn config_map_on_a_read_only_mount_is_accepted() {
    in_own_mounts(|| {
        let Some(user) = UserDaemon::prepare(UPLOAD) else {
            return;
        };
        let volume = Volume::mount(&user, 0o777);
        let config = fs::read_to_string(user.env.path("config.toml")).unwrap();
        let key = user.env.path("uploader.key").display().to_string();
        let config = config.replace("uploader.key", &key);
        publish(&user, "..2026_1", "config.toml", &config, 0o644, 0);
        volume.make_read_only();
        let mut command = user.daemon_command();
        command.env("STSD_CONFIG", user.env.path("volume/config.toml"));
        assert_eq!(user.refusal(command), None);
    });
}

/// Gives the files to a user that has a name and a group of its own.
fn give_to_a_user_with_a_name(user: &UserDaemon) {
    for name in ["", "run", "config.toml", "uploader.key"] {
        chown(user.env.path(name), Some(DAEMON), Some(DAEMON)).unwrap();
    }
}

/// Returns the command of the daemon as that user.
fn as_daemon(user: &UserDaemon) -> Command {
    let mut command = Command::new("setpriv");
    let ids = [format!("--reuid={DAEMON}"), format!("--regid={DAEMON}")];
    command.args(ids).args(["--clear-groups", "--"]);
    command.arg(program("stsd")).current_dir("/");
    command.env("STSD_CONFIG", user.env.path("config.toml"));
    command.env("STSD_SOCKET", user.env.socket());
    command
}

#[test]
fn home_with_umask_002_is_accepted_for_a_group_of_one() {
    let Some(user) = UserDaemon::prepare(UPLOAD) else {
        return;
    };
    give_to_a_user_with_a_name(&user);
    user.mode("", 0o2775);
    user.mode("config.toml", 0o664);
    assert_eq!(user.refusal(as_daemon(&user)), None, "a group of one");
    chown(user.env.path(""), Some(DAEMON), Some(GROUP)).unwrap();
    user.mode("", 0o2775);
    let said = user.refusal(as_daemon(&user)).unwrap();
    assert!(
        said.contains(&format!("the group {GROUP} can write")),
        "{said}"
    );
}

#[test]
fn linked_dotfiles_are_judged_by_the_link_and_by_its_target() {
    let Some(user) = UserDaemon::prepare(UPLOAD) else {
        return;
    };
    let key = user.env.path("uploader.key").display().to_string();
    let config = fs::read_to_string(user.env.path("config.toml")).unwrap();
    let config = config.replace("uploader.key", &key);
    user.put("dotfiles/stsd/config.toml", &config, 0o644);
    fs::remove_file(user.env.path("config.toml")).unwrap();
    symlink("dotfiles/stsd/config.toml", user.env.path("config.toml")).unwrap();
    user.own("config.toml");
    assert_check(&user, "a link to the user's files", &[]);
    user.mode("dotfiles", 0o777);
    let dotfiles = user.env.path("dotfiles").display().to_string();
    let said = [dotfiles.as_str(), "the directory", "mode 0777"];
    assert_check(&user, "the target's directory", &said);
    user.mode("dotfiles", 0o755);
    user.give_away("config.toml");
    let said = ["config.toml: belongs to uid 64001", "chown -h"];
    assert_check(&user, "a link of another user", &said);
    user.own("config.toml");
    assert_check(&user, "again", &[]);
    // A link in a directory like /tmp, which another user has created.
    fs::create_dir(user.env.path("tmp")).unwrap();
    user.mode("tmp", 0o1777);
    let target = user.env.path("dotfiles/stsd").display().to_string();
    user.as_stranger(&format!("ln -s {target} tmp/stsd"));
    let mut command = user.daemon_command();
    command.env("STSD_CONFIG", user.env.path("tmp/stsd/config.toml"));
    let said = user.refusal(command).unwrap();
    assert!(
        said.contains("the link") && said.contains("tmp/stsd"),
        "{said}"
    );
}

#[test]
fn content_of_a_sticky_directory_has_to_be_roots_or_the_daemons() {
    let Some(user) = UserDaemon::prepare(UPLOAD) else {
        return;
    };
    let key = user.env.path("uploader.key").display().to_string();
    let config = fs::read_to_string(user.env.path("config.toml")).unwrap();
    let config = config.replace("uploader.key", &key);
    user.put("tmp/config.toml", &config, 0o644);
    chown(user.env.path("tmp"), Some(0), Some(0)).unwrap();
    user.mode("tmp", 0o1777);
    let check = || {
        let mut command = user.daemon_command();
        command.env("STSD_CONFIG", user.env.path("tmp/config.toml"));
        user.refusal(command)
    };
    assert_eq!(check(), None);
    user.give_away("tmp/config.toml");
    let said = check().unwrap();
    assert!(said.contains("belongs to uid 64001"), "{said}");
    user.own("tmp/config.toml");
    user.mode("tmp", 0o777);
    let said = check().unwrap();
    assert!(said.contains("mode 0777"), "{said}");
}

/// Returns an access control list, acl(5), that gives a user read and write.
fn acl(uid: u32) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    let undefined = u32::MAX;
    for (tag, rights, id) in [
        (0x01_u16, 6_u16, undefined),
        (0x02, 6, uid),
        (0x04, 0, undefined),
        (0x10, 6, undefined),
        (0x20, 0, undefined),
    ] {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[test]
fn access_control_list_does_not_pass_for_a_group_of_one() {
    let Some(user) = UserDaemon::prepare(UPLOAD) else {
        return;
    };
    give_to_a_user_with_a_name(&user);
    user.mode("config.toml", 0o660);
    assert_eq!(user.refusal(as_daemon(&user)), None);
    let config = user.env.path("config.toml");
    let list = acl(STRANGER);
    let set = setxattr(
        &config,
        "system.posix_acl_access",
        &list,
        XattrFlags::empty(),
    );
    if let Err(error) = set {
        e2e::not_run(&format!("no access control list here: {error}"));
        return;
    }
    let said = user.refusal(as_daemon(&user)).unwrap();
    for word in ["access control list", "run setfacl -b"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn user_namespace_without_root_accepts_roots_directories() {
    let Some(user) = UserDaemon::prepare(UPLOAD) else {
        return;
    };
    let in_namespace = || {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={OWNER}"), format!("--regid={OWNER}")]);
        command.args(["--clear-groups", "--", "unshare", "--user"]);
        command.args([
            format!("--map-user={OWNER}"),
            format!("--map-group={OWNER}"),
        ]);
        command.arg(program("stsd")).current_dir("/");
        command.env("STSD_CONFIG", user.env.path("config.toml"));
        command.env("STSD_SOCKET", user.env.socket());
        command
    };
    let probe = in_namespace().arg("--version").output().unwrap();
    if !probe.status.success() {
        let said = String::from_utf8_lossy(&probe.stderr).into_owned();
        e2e::not_run(&format!("no user namespace here: {said}"));
        return;
    }
    // As with PrivateUsers=yes in the user's unit: root's directories have the overflow owner.
    assert_eq!(user.refusal(in_namespace()), None);
    user.mode("", 0o777);
    let said = user.refusal(in_namespace()).unwrap();
    assert!(said.contains("mode 0777"), "{said}");
    user.mode("", 0o755);
    // A key of which the owner cannot be told is not taken.
    user.give_away("uploader.key");
    let said = user.refusal(in_namespace()).unwrap();
    assert!(said.contains("uploader.key"), "{said}");
}

/// The daemon of root, as most of the stories have it.
#[test]
fn daemon_of_root_trusts_root_alone() {
    let env = TestEnv::without_daemon(&[]);
    if !nix::unistd::geteuid().is_root() {
        return e2e::not_run("only root can give a file to another user");
    }
    env.write_config(UPLOAD);
    chown(env.path("config.toml"), Some(OWNER), None).unwrap();
    let said = env.check_error();
    assert!(said.contains("neither root nor uid 0"), "{said}");
}
