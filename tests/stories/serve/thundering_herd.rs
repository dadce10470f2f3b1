//! A thundering herd: many requests for a session that does not exist yet. In similar projects each
//! request made a call; each story names the report.

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

const HERD: usize = 500;

/// Sends a request without waiting for the answer.
fn ask(env: &TestEnv) -> UnixStream {
    let mut stream = connect(env);
    stream
        .write_all(&[hello_request(), credentials_request(60_000)].concat())
        .unwrap();
    stream
}

/// Sends the requests of the herd, and asserts that none has been answered.
fn herd(env: &TestEnv) -> Vec<UnixStream> {
    let _ = e2e::raise_file_limit();
    let herd = (0..HERD).map(|_| ask(env)).collect();
    let status = env.client().status().unwrap();
    assert_eq!(status.profiles[0].hand_outs, 0, "the call ended too early");
    herd
}

fn reply(stream: &mut UnixStream) -> Reply {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).unwrap();
    let mut message = vec![0; message_length(header).unwrap()];
    stream.read_exact(&mut message).unwrap();
    Reply::decode(&message).unwrap()
}

/// Asserts that all replies have the same session.
fn all_get_it(herd: Vec<UnixStream>) {
    let mut keys: Vec<String> = Vec::new();
    for mut stream in herd {
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
    // A pending wake-up would cause a call by now.
    thread::sleep(Duration::from_millis(300));
    assert_eq!(env.emulator().calls(Action::AssumeRole), calls);
}

fn the_first_call_is_made(env: &TestEnv) {
    env.wait_until("the first call", || {
        env.client().status().unwrap().profiles[0].sts_calls >= 1
    });
}

/// Delays the first call until the faults are cleared, or until a second before its timeout.
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
    let shims: Vec<_> = (0..HERD).map(|_| start()).collect();
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
    assert_eq!(keys.len(), 1, "sessions of 500 shims");
    it_cost(&env, 1);
}

/// Vault Agent: a waiting request makes a call of its own when the client of the first request ends. rolesanywhere-credential-helper PR #200: no single flight at all.
#[test]
fn herd_behind_a_killed_first_caller_costs_one_call() {
    let env = TestEnv::start();
    slow_once(&env);
    let mut first = env.shim_command(&["oss-upload"]).spawn().unwrap();
    the_first_call_is_made(&env);
    let herd = herd(&env);
    first.kill().unwrap();
    first.wait().unwrap();
    env.emulator().clear_faults();
    all_get_it(herd);
    it_cost(&env, 1);
}

/// Vault Agent: each waiting request repeats a failed first request.
/// steampipe-plugin-alicloud #483: what that does to a throttled account.
#[test]
fn herd_behind_a_failed_first_call_shares_the_second() {
    let env = TestEnv::start();
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let first = ask(&env);
    the_first_call_is_made(&env);
    let mut herd = herd(&env);
    herd.push(first);
    // The hung call fails, and the next one succeeds.
    env.emulator().clear_faults();
    all_get_it(herd);
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
    let mut herd = herd(&env);
    let stay = herd.split_off(HERD / 2);
    drop((first, herd));
    env.emulator().clear_faults();
    all_get_it(stay);
    it_cost(&env, 1);
}
