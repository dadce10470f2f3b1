//! The endpoint of STS: named by the variables of the platform where the configuration names none, and
//! several endpoints of one account.

use std::{net::TcpListener, process::Output};

use e2e::{Action, ClosedPort, TestEnv, UPLOAD};

/// The variables that the webhook of ACK injects into a pod.
const POD: [(&str, &str); 3] = [
    (
        "ALIBABA_CLOUD_STS_ENDPOINT",
        "sts-vpc.ap-northeast-2.aliyuncs.com",
    ),
    ("ALIBABA_CLOUD_STS_REGION", "ap-northeast-2"),
    ("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true"),
];

fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn endpoint_of_a_pod_is_used_and_shown_with_its_variable() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config_with("", UPLOAD);
    let expected = "https://sts-vpc.ap-northeast-2.aliyuncs.com (the variable \
                    ALIBABA_CLOUD_STS_ENDPOINT)";
    let mut check = env.daemon_command();
    let checked = stdout(check.envs(POD).arg("--check").output().unwrap());
    assert!(checked.contains(expected), "{checked}");
    let mut command = env.daemon_command();
    command.envs(POD);
    env.start_daemon_with(command);
    assert!(env.daemon_log().contains(expected), "{}", env.daemon_log());
    let status = stdout(env.ctl(&["status"]));
    assert!(
        status.contains(&format!("STS endpoint: {expected}")),
        "{status}"
    );
}

#[test]
fn variable_with_an_emulated_endpoint_serves_a_profile() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config_with("", UPLOAD);
    let mut command = env.daemon_command();
    command.env("ALIBABA_CLOUD_STS_ENDPOINT", env.emulator().sts_url());
    env.start_daemon_with(command);
    let _ = env.document(&["oss-upload"]);
    // A key of the configuration takes precedence.
    let nowhere = ClosedPort::new();
    let top = format!("endpoint = \"http://{}\"\n", nowhere.address());
    env.write_config_with(&top, UPLOAD);
    assert!(env.ctl(&["reload"]).status.success());
    env.assert_refused("oss-upload", 6, &["not reachable", nowhere.address()]);
}

#[test]
fn unusable_variable_is_an_error_that_names_it() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config_with("", UPLOAD);
    let mut command = env.daemon_command();
    command.env("ALIBABA_CLOUD_STS_ENDPOINT", "http://sts.example.com");
    let output = command.arg("--check").output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    let words = "the variable ALIBABA_CLOUD_STS_ENDPOINT: an endpoint is https";
    assert!(complaint.contains(words), "{complaint}");
}

#[test]
fn unknown_region_is_a_warning_at_check_and_at_start() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config_with("region = \"cn-hongkon\"\n", UPLOAD);
    let words = "the region cn-hongkon is not known";
    let checked = env.daemon_command().arg("--check").output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let warning = String::from_utf8(checked.stderr).unwrap();
    assert!(
        warning.contains(words) && warning.contains("cn-hongkong is meant"),
        "{warning}"
    );
    env.start_daemon();
    assert!(env.daemon_log().contains(words));
    env.write_config_with("region = \"oss-cn-hangzhou\"\n", UPLOAD);
    let error = env.check_error();
    assert!(error.contains("the spelling of OSS"), "{error}");
}

/// Writes a configuration with two endpoints, the second of which is the emulated STS.
fn write_two(env: &TestEnv, first: &str) {
    let second = env.emulator().sts_url();
    let top = format!("endpoints = [\"http://{first}\", \"{second}\"]\n");
    env.write_config_with(&top, UPLOAD);
}

#[test]
fn second_endpoint_serves_if_the_first_is_unreachable_or_silent() {
    let mut env = TestEnv::without_daemon(&[]);
    let closed = ClosedPort::new();
    write_two(&env, closed.address());
    env.start_daemon();
    let _ = env.document(&["oss-upload"]);
    assert!(env.daemon_log().contains("the next endpoint is tried"));
    // Connections wait in the backlog of a listener that does not accept.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let cold = UPLOAD.replace("oss-upload]", "cold]");
    let top = format!(
        "endpoints = [\"http://{}\", \"{}\"]\n",
        silent.local_addr().unwrap(),
        env.emulator().sts_url()
    );
    env.write_config_with(&top, &cold);
    assert!(env.ctl(&["reload"]).status.success());
    let _ = env.document(&["cold"]);
}

#[test]
fn third_endpoint_serves_within_the_default_patience_if_two_are_silent() {
    let mut env = TestEnv::without_daemon(&[]);
    let silent = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [one, other] = silent.each_ref().map(|it| it.local_addr().unwrap());
    let third = env.emulator().sts_url();
    let top = format!("endpoints = [\"http://{one}\", \"http://{other}\", \"{third}\"]\n");
    env.write_config_with(&top, UPLOAD);
    env.start_daemon();
    let _ = env.document(&["oss-upload"]);
}

#[test]
fn unusable_variable_is_a_warning_if_no_profile_calls_sts() {
    let mut env = TestEnv::without_daemon(&[]);
    let imds = env.emulator().imds_url().to_owned();
    let instance = format!(
        "[source.i]\ntype = \"ecs-role\"\nmetadata_endpoint = \"{imds}\"\n\
         [profile.i]\nsource = \"i\"\n"
    );
    env.write_config_with("", &instance);
    let mut command = env.daemon_command();
    command.env("ALIBABA_CLOUD_STS_ENDPOINT", "http://sts.example.com");
    env.start_daemon_with(command);
    let words = "the variable ALIBABA_CLOUD_STS_ENDPOINT: an endpoint is https";
    assert!(env.daemon_log().contains(words), "{}", env.daemon_log());
    let _ = env.document(&["i"]);
}

#[test]
fn session_stays_if_an_endpoint_is_added() {
    let env = TestEnv::start();
    let before = env.document(&["oss-upload"]);
    let closed = ClosedPort::new();
    write_two(&env, closed.address());
    assert!(env.ctl(&["reload"]).status.success());
    assert_eq!(env.document(&["oss-upload"]), before);
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
}

#[test]
fn refusal_without_any_endpoint_names_both() {
    let mut env = TestEnv::without_daemon(&[]);
    let (one, other) = (ClosedPort::new(), ClosedPort::new());
    let top = format!(
        "endpoints = [\"http://{}\", \"http://{}\"]\n",
        one.address(),
        other.address()
    );
    env.write_config_with(&top, UPLOAD);
    env.start_daemon();
    let words = ["not reachable", one.address(), other.address()];
    env.assert_refused("oss-upload", 6, &words);
}
