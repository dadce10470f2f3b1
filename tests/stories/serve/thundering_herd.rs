//! A crowd asks for what nobody has yet: bugs of our peers in which each of them made a call.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::Stdio,
    thread,
    time::Duration,
};

use e2e::{Action, Fault, TestEnv, connect, credentials_request, hello_request};
use serde_json::Value;
use stsd_wire::{HEADER, Message as _, Reply, message_length};

const CROWD: usize = 500;

/// Asks without waiting for the answer.
fn ask(env: &TestEnv) -> UnixStream {
    let mut stream = connect(env);
    stream
        .write_all(&[hello_request(), credentials_request(60_000)].concat())
        .unwrap();
    stream
}

/// Has a crowd ask before anybody can have been answered.
fn crowd(env: &TestEnv) -> Vec<UnixStream> {
    let _ = e2e::raise_file_limit();
    let crowd = (0..CROWD).map(|_| ask(env)).collect();
    let status = env.client().status().unwrap();
    assert_eq!(status.profiles[0].hand_outs, 0, "the call ended too early");
    crowd
}

fn reply(stream: &mut UnixStream) -> Reply {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).unwrap();
    let mut message = vec![0; message_length(header).unwrap()];
    stream.read_exact(&mut message).unwrap();
    Reply::decode(&message).unwrap()
}

/// Everybody gets one and the same session.
fn all_get_it(crowd: Vec<UnixStream>) {
    let mut keys: Vec<String> = Vec::new();
    for mut stream in crowd {
        assert!(matches!(reply(&mut stream), Reply::Hello { .. }));
        match reply(&mut stream) {
            Reply::Credentials(it) => keys.push(it.access_key_id),
            other => panic!("{other:?}"),
        }
    }
    keys.dedup();
    assert_eq!(keys.len(), 1);
}

fn it_cost(env: &TestEnv, calls: u64) {
    // A nudge that was left over would be a call now.
    thread::sleep(Duration::from_millis(300));
    assert_eq!(env.emulator().calls(Action::AssumeRole), calls);
}

fn the_first_call_is_made(env: &TestEnv) {
    env.wait_until("the first call", || {
        env.client().status().unwrap().profiles[0].sts_calls >= 1
    });
}

/// Has the first call answered when the faults are cleared, or a second before STS would be given
/// up.
fn slow_once(env: &TestEnv) {
    let fault = Fault::Delay(Duration::from_millis(9000));
    env.emulator().inject_fault_once(Action::AssumeRole, fault);
}

/// aws_secretsmanager_agent (now the Workload Credentials Provider): 50 cold requests made
/// 35 calls. ByteNess/aws-vault #291 and eks-pod-identity-agent #34: hundreds of programs
/// at once, and throttling.
#[test]
fn five_hundred_shims_at_once_cost_one_sts_call() {
    let env = TestEnv::start();
    slow_once(&env);
    let _ = e2e::raise_file_limit();
    let start = || {
        let mut shim = env.shim_command(&["--patience", "120s", "oss-upload"]);
        shim.stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let shims: Vec<_> = (0..CROWD).map(|_| start()).collect();
    env.emulator().clear_faults();
    let mut keys = Vec::new();
    for shim in shims {
        let output = shim.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        assert_eq!(complaint, "");
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        keys.push(document["AccessKeyId"].as_str().unwrap().to_owned());
    }
    keys.dedup();
    assert_eq!(keys.len(), 1, "everybody got the same session");
    it_cost(&env, 1);
}

/// Vault Agent: whoever waits for the first request makes one of its own when that ends
/// with its client. rolesanywhere-credential-helper PR #200: no single flight at all.
#[test]
fn herd_behind_a_killed_first_caller_costs_one_call() {
    let env = TestEnv::start();
    slow_once(&env);
    let mut first = env.shim_command(&["oss-upload"]).spawn().unwrap();
    the_first_call_is_made(&env);
    let crowd = crowd(&env);
    first.kill().unwrap();
    first.wait().unwrap();
    env.emulator().clear_faults();
    all_get_it(crowd);
    it_cost(&env, 1);
}

/// Vault Agent: a failed first request is repeated by each of those who waited for it.
/// steampipe-plugin-alicloud #483: what that does to a throttled account.
#[test]
fn herd_behind_a_failed_first_call_shares_the_second() {
    let env = TestEnv::start();
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let first = ask(&env);
    the_first_call_is_made(&env);
    let mut crowd = crowd(&env);
    crowd.push(first);
    // The call that hung fails now, and the next one is well.
    env.emulator().clear_faults();
    all_get_it(crowd);
    it_cost(&env, 2);
}

/// git-credential-cache dies of a client that leaves before it reads its answer, and every
/// cached secret with it.
#[test]
fn waiters_that_leave_do_not_affect_the_others() {
    let env = TestEnv::start();
    slow_once(&env);
    let first = ask(&env);
    the_first_call_is_made(&env);
    let mut crowd = crowd(&env);
    let stay = crowd.split_off(CROWD / 2);
    drop((first, crowd));
    env.emulator().clear_faults();
    all_get_it(stay);
    it_cost(&env, 1);
}
