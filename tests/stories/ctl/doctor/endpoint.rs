//! `stsctl doctor` and the way to STS: the place that names the endpoint, and the proxy.

use e2e::{ClosedPort, TestEnv, UPLOAD};

use super::visit;

#[test]
fn doctor_names_the_key_or_variable_of_the_endpoint() {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(UPLOAD);
    let found = visit(&env, &[]);
    assert!(
        found
            .said
            .contains("named by endpoint in the configuration"),
        "{}",
        found.said
    );
    // The endpoint is in the environment of the daemon alone.
    env.write_config_with("", UPLOAD);
    let mut command = env.daemon_command();
    command.env("ALIBABA_CLOUD_STS_ENDPOINT", env.emulator().sts_url());
    env.start_daemon_with(command);
    let found = visit(&env, &[]);
    let words = "named by the variable ALIBABA_CLOUD_STS_ENDPOINT";
    assert!(found.said.contains(words), "{}", found.said);
}

#[test]
fn doctor_reports_an_unusable_proxy_as_a_fault() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config_with("endpoint = \"https://192.0.2.1\"\n", UPLOAD);
    let words = "the variable HTTPS_PROXY names no usable proxy";
    for value in ["http://us:p#ss@127.0.0.1:3128", "socks://127.0.0.1:1080"] {
        let found = visit(&env, &[("HTTPS_PROXY", value)]);
        found.finds("fault", words, "write # as %23");
    }
}

#[test]
fn doctor_reports_an_unknown_region_as_a_warning() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config_with("region = \"cn-hongkon\"\n", UPLOAD);
    let found = visit(&env, &[]);
    let words = "the region cn-hongkon is not known";
    found.finds("warning", words, "cn-hongkong is meant");
}

#[test]
fn doctor_looks_for_no_endpoint_that_is_not_called() {
    let mut env = TestEnv::without_daemon(&[]);
    let imds = env.emulator().imds_url().to_owned();
    let instance = format!(
        "[source.i]\ntype = \"ecs-role\"\nmetadata_endpoint = \"{imds}\"\n\
         [profile.i]\nsource = \"i\"\n"
    );
    env.write_config_with("", &instance);
    env.start_daemon();
    let _ = env.document(&["i"]);
    for variables in [&[][..], &[("HTTPS_PROXY", "foo://x")]] {
        let found = visit(&env, variables);
        assert!(!found.said.contains("aliyuncs.com"), "{}", found.said);
    }
}

#[test]
fn doctor_warns_of_an_endpoint_that_fails_beside_one_that_answers() {
    let mut env = TestEnv::without_daemon(&[]);
    let closed = ClosedPort::new();
    let (first, second) = (closed.address(), env.emulator().sts_url().to_owned());
    let top = format!("endpoints = [\"http://{first}\", \"{second}\"]\n");
    env.write_config_with(&top, UPLOAD);
    let found = visit(&env, &[]);
    found.finds(
        "warning",
        "does not answer at port",
        "correct endpoints in the configuration",
    );
    assert!(
        found.said.contains("it is named by endpoints"),
        "{}",
        found.said
    );
    // The daemon serves, by a way that this program may lack.
    env.start_daemon();
    let found = visit(&env, &[]);
    found.finds("warning", "does not answer at port", "correct endpoints");
}

#[test]
fn doctor_and_check_agree_on_the_endpoint_of_a_variable() {
    let env = TestEnv::without_daemon(&[]);
    env.write_config_with("", UPLOAD);
    for (name, value, host) in [
        (
            "ALIBABACLOUD_STS_ENDPOINT",
            "sts.stsd.invalid",
            "sts.stsd.invalid",
        ),
        (
            "ALIBABA_CLOUD_STS_REGION",
            "cn-beijing-gov-1",
            "sts.aliyuncs.com",
        ),
    ] {
        let found = visit(&env, &[(name, value)]);
        assert!(found.said.contains(host), "{}", found.said);
        assert!(found.said.contains(name), "{}", found.said);
    }
}
