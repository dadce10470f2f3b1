//! `stsctl doctor` and the way to STS: the place that names the endpoint, and the proxy.

use e2e::{TestEnv, UPLOAD};

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
