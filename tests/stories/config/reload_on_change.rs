//! `reload = "on-change"`: files that are replaced, as in a volume of Kubernetes.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use e2e::{Action, TestEnv, UPLOAD, upload_profile};
use serde_json::Value;

/// A volume of Kubernetes with the configuration and a policy.
struct Volume {
    env: TestEnv,
    swaps: u32,
}

const REFUSED: &str = "the running configuration stays in force";

const READ: &str = r#"{"Version": "1", "Statement": [{"Effect": "Allow",
    "Action": "oss:GetObject", "Resource": "*"}]}"#;

impl Volume {
    /// Starts a daemon with profiles.
    fn start(profiles: &str) -> Self {
        let mut volume = Self {
            env: TestEnv::without_daemon(&[]),
            swaps: 0,
        };
        fs::create_dir(volume.env.path("volume")).unwrap();
        for name in ["config.toml", "policy.json"] {
            let link = volume.env.path("volume").join(name);
            symlink(format!("..data/{name}"), link).unwrap();
        }
        volume.swap(profiles, READ);
        let mut command = volume.env.daemon_command();
        command.env("STSD_CONFIG", volume.env.path("volume/config.toml"));
        volume.env.start_daemon_with(command);
        volume
    }

    /// Replaces the content of the volume, as the kubelet does: by one rename of the link `..data`.
    fn swap(&mut self, profiles: &str, policy: &str) {
        self.swaps += 1;
        let name = format!("..{}", self.swaps);
        let path = |name: &str| self.env.path("volume").join(name);
        fs::create_dir(path(&name)).unwrap();
        let key = self.env.path("uploader.key");
        let config = format!(
            "reload = \"on-change\"\n{}[source.uploader]\ntype = \"access-key\"\n\
             access_key_file = {key:?}\n{profiles}",
            self.env.endpoint()
        );
        for (file, text) in [("config.toml", &*config), ("policy.json", policy)] {
            let file = path(&name).join(file);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        symlink(&name, path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
    }

    /// Returns the exit code of the health check, and its text.
    fn health(&self) -> (Option<i32>, String) {
        let output = self.env.ctl(&["status", "--health"]);
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), text)
    }

    fn has_profile(&self, name: &str) -> bool {
        let status = self.env.client().status().unwrap();
        status.profiles.iter().any(|it| it.name == name)
    }
}

#[test]
fn swapped_volume_is_applied_refused_and_applied_again() {
    let mut volume = Volume::start(UPLOAD);
    let document = volume.env.document(&["oss-upload"]);
    let two = UPLOAD.to_owned() + &upload_profile("second", &[]);
    volume.swap(&two, READ);
    let env = &volume.env;
    env.wait_until("the second profile", || volume.has_profile("second"));

    volume.swap(&format!("{UPLOAD}colour = 1\n"), READ);
    let env = &volume.env;
    env.wait_until("the refusal", || volume.health().0 == Some(9));
    let (_, text) = volume.health();
    assert!(text.contains("colour"), "{text}");
    assert!(text.contains("read again after a change"), "{text}");
    let status = env.ctl(&["status", "--json"]).stdout;
    let status: Value = serde_json::from_slice(&status).unwrap();
    let conditions = status["conditions"].as_array().unwrap();
    let configuration = conditions.iter().find(|it| it["name"] == "configuration");
    assert_eq!(configuration.unwrap()["holds"], false, "{status}");
    let metrics = String::from_utf8(env.ctl(&["metrics"]).stdout).unwrap();
    assert!(metrics.contains("stsd_config_last_reload_successful 0\n"));
    let doctor = String::from_utf8(env.ctl(&["doctor"]).stdout).unwrap();
    assert!(doctor.contains("fault    daemon's configuration: "));
    assert_eq!(env.document(&["oss-upload"]), document);

    volume.swap(UPLOAD, READ);
    let env = &volume.env;
    env.wait_until("the end of the refusal", || !volume.has_profile("second"));
    assert_eq!(volume.health().0, Some(0));
    let log = env.daemon_log();
    assert_eq!(log.matches(REFUSED).count(), 1, "{log}");
    assert_eq!(log.matches("configuration reloaded").count(), 2, "{log}");
    assert_eq!(env.document(&["oss-upload"]), document);
}

#[test]
fn changed_policy_file_narrows_the_next_session() {
    let profile = format!("{UPLOAD}policy_file = \"policy.json\"\n");
    let mut volume = Volume::start(&profile);
    let before = volume.env.document(&["oss-upload"]);
    volume.swap(&profile, &READ.replace("GetObject", "ListObjects"));
    let env = &volume.env;
    env.wait_until("a session with the other policy", || {
        env.document(&["oss-upload"]) != before
    });
    assert_eq!(env.emulator().calls(Action::AssumeRole), 2);
}
