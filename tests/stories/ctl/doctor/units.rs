//! `stsctl doctor` and the units of systemd, with a stand-in for systemctl.

use std::{fs, os::unix::fs::symlink};

use e2e::{TestEnv, UPLOAD};
use nix::sys::signal::Signal;

use super::visit;

/// A systemctl for a version, and a unit with or without a user namespace.
fn write_systemctl(env: &TestEnv, version: &str, service: &str) {
    let text = format!(
        "#!/bin/sh\ncase $* in *Version*) echo {version}; exit;; esac\n\
         echo LoadState=loaded\necho UnitFileState=enabled\n\
         case $* in *stsd.socket*) echo ActiveState=active;; *) printf '{service}';; esac\n"
    );
    env.write("bin/systemctl", &text, 0o700);
}

fn doctor_compares_the_sandbox_with_the_version(env: &TestEnv, variables: &[(&str, &str)]) {
    let says = |version: &str, service: &str| {
        write_systemctl(env, version, service);
        visit(env, variables)
    };
    let starts = "ActiveState=activating\\nExecMainStatus=217\\n";
    let fix = "share/doc/stsd/examples/no-user-namespaces.conf & daemon-reload";
    let (with, without) = ("PrivateUsers=yes\\n", "PrivateUsers=no\\n");
    says("239", &format!("{starts}{with}")).finds("fault", "systemd here is 239", fix);
    says("246.6-1", &format!("ActiveState=inactive\\n{with}")).finds("fault", "217/USER", fix);
    says("257.9-1", &format!("{starts}{with}")).finds("fault", "refuses the user namespace", fix);
    let running = format!("ActiveState=active\\n{without}");
    for (version, words) in [
        ("239", "systemd 239 needs this"),
        ("257", "only hosts that forbid user namespaces need this"),
    ] {
        let visit = says(version, &running);
        visit.finds_nothing();
        assert!(visit.said.contains(words), "{}", visit.said);
    }
    says("247", &format!("ActiveState=active\\n{with}")).finds_nothing();
    says("unknown", with).finds_nothing();
}

fn doctor_finds_a_unit_of_another_version(env: &TestEnv, variables: &[(&str, &str)]) {
    let unit = include_str!("../../../../systemd/user/stsd.service");
    let path = env.path("stsd.service");
    let service = format!("ActiveState=active\\nFragmentPath={}\\n", path.display());
    write_systemctl(env, "257", &service);
    // The paths of the programs are those of the installation.
    let own_paths = unit.replace(
        "ExecStart=stsd",
        "ExecStart=/opt/stsd\nBindReadOnlyPaths=/opt/stsd",
    );
    assert_ne!(unit, own_paths);
    env.write("stsd.service", &own_paths, 0o600);
    visit(env, variables).finds_nothing();
    env.write("stsd.service", &format!("{unit}\nPrivateUsers=no\n"), 0o600);
    let words = "has other settings than the unit of this version";
    visit(env, variables).finds("warning", words, "mv ");
    write_systemctl(env, "219", "ActiveState=active\\n");
    visit(env, variables).finds("warning", "its version is 219, and the units need 239", "");
}

#[test]
fn doctor_below_systemd_247_finds_the_missing_credential() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let config = fs::read_to_string(env.path("config.toml")).unwrap();
    let credential = config.replace("access_key_file", "access_key_credential");
    assert_ne!(config, credential);
    env.write("config.toml", &credential, 0o600);
    fs::create_dir(env.path("bin")).unwrap();
    let path = format!("{}:/usr/bin:/bin", env.path("bin").display());
    let variables = [("PATH", path.as_str())];
    let words = "systemd here is 239, before LoadCredential= (247)";
    write_systemctl(&env, "239", "ActiveState=inactive\\n");
    visit(&env, &variables).finds("fault", words, "access_key_file");
    write_systemctl(&env, "247", "ActiveState=inactive\\n");
    assert!(!visit(&env, &variables).said.contains("LoadCredential="));
}

#[test]
fn doctor_finds_faults_of_the_systemd_units() {
    let mut env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    // The doctor checks the units only for a socket in the runtime directory.
    fs::create_dir(env.path("xdg")).unwrap();
    symlink(env.path("run"), env.path("xdg/stsd")).unwrap();
    fs::create_dir(env.path("bin")).unwrap();
    let (bin, xdg) = (env.path("bin"), env.path("xdg"));
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let variables = [
        ("PATH", path.as_str()),
        ("XDG_RUNTIME_DIR", xdg.to_str().unwrap()),
        ("STSD_SOCKET", ""),
    ];
    let says = |env: &TestEnv, service: &str, socket: (&str, &str), linger: &str| {
        let (state, enabled) = socket;
        let text = format!(
            "#!/bin/sh\necho LoadState=loaded\ncase $* in\n\
             *stsd.socket*) echo ActiveState={state}; echo UnitFileState={enabled};;\n\
             *) echo ActiveState={service}; echo Result=start-limit-hit;;\nesac\n"
        );
        env.write("bin/systemctl", &text, 0o700);
        env.write(
            "bin/loginctl",
            &format!("#!/bin/sh\necho {linger}\n"),
            0o700,
        );
        visit(env, &variables)
    };
    let listening = ("active", "enabled");
    says(&env, "active", listening, "yes").finds_nothing();
    says(&env, "active", listening, "no").finds(
        "warning",
        "lingering is off",
        "loginctl enable-linger",
    );
    says(&env, "failed", listening, "yes").finds(
        "fault",
        "start-limit-hit",
        "reset-failed & journalctl",
    );
    let disabled = ("active", "disabled");
    says(&env, "active", disabled, "yes").finds(
        "warning",
        "it is disabled",
        "enable --now stsd.socket",
    );
    doctor_compares_the_sandbox_with_the_version(&env, &variables);
    doctor_finds_a_unit_of_another_version(&env, &variables);
    // A daemon that still runs would create a removed socket again.
    env.daemon().signal(Signal::SIGTERM);
    assert_eq!(env.wait_for_daemon_exit(), Some(0));
    let found = says(&env, "inactive", ("inactive", "enabled"), "yes");
    found.finds(
        "fault",
        "it is not started",
        "systemctl --user start stsd.socket",
    );
}
