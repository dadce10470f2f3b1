//! A call without an answer: a second one succeeds within the default patience, and a refusal names the
//! silent host.

use std::time::Duration;

use e2e::{Action, Fault, TestEnv, UPLOAD};

/// A role chain: the profile `read` signs with the session of `oss-upload`.
const CHAIN: &str = "[profile.read]\nsource = \"oss-upload\"\n\
    role_arn = \"acs:ram::100000000000001:role/oss-read\"\n";

#[test]
fn one_lost_exchange_costs_no_credentials_with_the_default_patience() {
    let env = TestEnv::start();
    env.emulator()
        .inject_fault_once(Action::AssumeRole, Fault::Hang);
    let _ = env.document(&["oss-upload"]);
    assert_eq!(env.emulator().calls(Action::AssumeRole), 2);
    assert!(env.daemon_log().contains("a second call goes to"));
}

#[test]
fn lost_exchange_at_each_step_of_a_role_chain_costs_no_credentials() {
    let env = TestEnv::with(&[], &format!("{UPLOAD}{CHAIN}"));
    // The faults apply in their order: the first call of each profile is lost.
    let none = Fault::Delay(Duration::from_millis(1));
    for fault in [Fault::Hang, none, Fault::Hang] {
        env.emulator().inject_fault_once(Action::AssumeRole, fault);
    }
    let _ = env.document(&["read"]);
    assert_eq!(env.emulator().calls(Action::AssumeRole), 4);
}

#[test]
fn refusal_names_the_silent_host_and_the_time() {
    let env = TestEnv::start();
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let host = env.emulator().sts_url().strip_prefix("http://").unwrap();
    let output = env.shim(&["--patience", "2500ms", "oss-upload"]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{complaint}");
    let words = format!("STS at {host} has not answered for ");
    assert!(complaint.contains(&words), "{complaint}");
}

#[test]
fn valid_session_causes_no_second_call() {
    let env = TestEnv::start();
    let _ = env.document(&["oss-upload"]);
    let calls = env.emulator().calls(Action::AssumeRole);
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let refresh = env.client().refresh("oss-upload", Duration::from_secs(5));
    assert!(refresh.is_err());
    assert_eq!(env.emulator().calls(Action::AssumeRole), calls + 1);
    let _ = env.document(&["oss-upload"]);
}
