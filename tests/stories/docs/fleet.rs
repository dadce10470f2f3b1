//! The examples for fleets: cloud-init and Ansible.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use e2e::{TestEnv, clients, program};

use super::page::root;

fn portable(env: &TestEnv) -> Output {
    let mut command = env.daemon_command();
    command.env("STSD_CONFIG", env.path("config.toml"));
    command.args(["--check", "--portable"]).output().unwrap()
}

/// Returns the names and the texts of the files of `write_files`.
fn written_files(user_data: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    let mut is_content = false;
    for line in user_data.lines() {
        if let Some(path) = line.strip_prefix("  - path: ") {
            let name = Path::new(path).file_name().unwrap().to_str().unwrap();
            files.push((name.to_owned(), String::new()));
            is_content = false;
        } else if line == "    content: |" {
            is_content = true;
        } else if !line.starts_with("      ") && !line.is_empty() {
            is_content = false;
        } else if is_content && let Some((_, text)) = files.last_mut() {
            text.push_str(line.trim_start());
            text.push('\n');
        }
    }
    files
}

#[test]
fn cloud_init_example_is_valid_and_so_are_its_fragments() {
    let example = root().join("examples/cloud-init/user-data.yaml");
    let env = TestEnv::without_daemon(&[]);
    fs::create_dir(env.path("config.d")).unwrap();
    let files = written_files(&fs::read_to_string(&example).unwrap());
    assert_eq!(files.len(), 2);
    for (name, text) in files {
        env.write(&format!("config.d/{name}"), &text, 0o644);
    }
    let output = portable(&env);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut schema = Command::new("cloud-init");
    schema.args(["schema", "--config-file"]).arg(&example);
    match schema.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}");
        }
        // Installed, it would configure this machine at its next start.
        Err(error) => e2e::not_run(&format!("cloud-init schema: cloud-init: {error}")),
    }
}

/// The tool is installed for the full gate alone.
mod ansible {
    use super::{Command, TestEnv, clients, fs, program, root};

    #[test]
    fn second_run_of_the_playbook_changes_nothing() {
        let env = TestEnv::without_daemon(&[]);
        let playbook = root().join("examples/ansible/stsd.yml");
        let stsd = program("stsd");
        let programs = stsd.parent().unwrap().display().to_string();
        let run = || {
            let tools = clients().join("ansible/bin");
            let mut command = Command::new(tools.join("ansible-playbook"));
            command.args(["--connection=local", "--inventory=localhost,"]);
            command.arg("--extra-vars");
            command.arg(format!("root={}", env.path("image").display()));
            command.arg(&playbook);
            command.env("PATH", format!("{programs}:/usr/bin:/bin"));
            command.env("ANSIBLE_HOME", env.path("ansible"));
            command.env("ANSIBLE_LOCAL_TEMP", env.path("ansible/tmp"));
            command.env("ANSIBLE_PYTHON_INTERPRETER", tools.join("python"));
            command.env("LC_ALL", "C.UTF-8");
            let output = command.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}{errors}");
            said
        };
        let first = run();
        assert!(
            !first.contains("changed=0") && first.contains("failed=0"),
            "{first}"
        );
        let directory = env.path("image/etc/stsd/config.d");
        assert_eq!(fs::read_dir(directory).unwrap().count(), 2);
        let second = run();
        assert!(second.contains("changed=0"), "{second}");
    }
}
