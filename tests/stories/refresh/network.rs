//! Failures of the network between the daemon and STS: nftables drops or rejects packets in a network
//! namespace.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::Duration,
};

use e2e::{TestEnv, UPLOAD, unix_time};
use jiff::Timestamp;
use stsd_client::ProfileStatus;

/// The verdict of nft(8) on packets for STS, and the words of the error.
type Failing = (&'static str, &'static str);
const DROPPED: Failing = ("drop", "timed out");
const RESET: Failing = ("reject with tcp reset", "not reachable");
const HALF_LOST: Failing = ("numgen random mod 10 < 5 drop", "");

/// Loads rules into nftables; the error is its message.
fn nft(rules: &str) -> Result<(), String> {
    let mut nft = Command::new("nft");
    let nft = nft.args(["-f", "-"]).stdin(Stdio::piped());
    let child = nft.stderr(Stdio::piped()).spawn();
    let mut child =
        child.map_err(|error| format!("nft does not start ({error}); its package is nftables"))?;
    child
        .stdin
        .take()
        .unwrap()
        .write_all(rules.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(complaint.lines().next().unwrap_or_default().to_owned())
}

fn port(env: &TestEnv) -> u16 {
    env.emulator()
        .sts_url()
        .rsplit_once(':')
        .unwrap()
        .1
        .parse()
        .unwrap()
}

fn break_it(env: &TestEnv, verdict: &str) -> Result<(), String> {
    let port = port(env);
    nft(&format!(
        "table inet story {{
           chain input {{
             type filter hook input priority 0
             tcp dport {port} {verdict}
           }}
         }}"
    ))
}

fn mend_it() {
    nft("delete table inet story").unwrap();
}

fn profile(env: &TestEnv, name: &str) -> ProfileStatus {
    let mut profiles = env.client().status().unwrap().profiles;
    profiles.retain(|it| it.name == name);
    profiles.remove(0)
}

/// Asserts that a valid session is served from memory, that a request without one is refused with the
/// reason, and that both profiles are renewed after the failure, without an open connection.
fn check((verdict, told): Failing) {
    e2e::in_own_network(|| {
        let cold = UPLOAD.replace("oss-upload]", "cold]");
        let env = TestEnv::with(&[], &format!("{UPLOAD}{cold}"));
        let before = env.document(&["oss-upload"]);
        if let Err(reason) = break_it(&env, verdict) {
            e2e::not_run(&reason);
            return;
        }
        // Each round requests a renewal.
        for _ in 0..3 {
            let outcome = env.client().refresh("oss-upload", Duration::from_secs(1));
            if let Err(error) = outcome {
                // The patience may end before any answer.
                assert!(matches!(error.exit_code(), 3 | 6), "{error}");
            }
            for _ in 0..5 {
                // Shorter than the connect timeout: 5 s.
                let now = env.document(&["--patience", "4s", "oss-upload"]);
                assert!(now == before || verdict == HALF_LOST.0, "{now}");
            }
        }
        if verdict == HALF_LOST.0 {
            let output = env.shim(&["--patience", "5s", "cold"]);
            assert_eq!(output.status.success(), !output.stdout.is_empty());
        } else {
            env.assert_refused("cold", 6, &[told]);
        }
        mend_it();
        let calls = |name| profile(&env, name).sts_calls;
        let attempts = calls("oss-upload") + calls("cold");
        let mut looks = 0;
        env.wait_within(Duration::from_secs(60), "both are well again", || {
            looks += 1;
            ["oss-upload", "cold"]
                .map(|name| profile(&env, name))
                .iter()
                .all(|it| it.last_failure.is_none() && it.access_key_id.is_some())
        });
        let attempts = calls("oss-upload") + calls("cold") - attempts;
        e2e::measured(&format!(
            "both profiles were well {} ms after the network was, by {attempts} new calls",
            looks * 20
        ));
        let _ = env.document(&["cold"]);
        // One connection to STS stays open for each profile. A leak would leave one for each failed call.
        env.wait_until("nothing is left open", || {
            env.daemon().connections() == 0 && env.daemon().connections_to(port(&env)) <= 2
        });
    });
}

#[test]
fn dropped_packets_do_not_affect_a_valid_session() {
    check(DROPPED);
}

#[test]
fn reset_connections_do_not_affect_a_valid_session() {
    check(RESET);
}

#[test]
fn half_of_the_packets_lost_does_not_stop_renewals() {
    check(HALF_LOST);
}

/// The outage is longer than the session, which is served until its expiration and not later. The first
/// request after the outage succeeds.
#[test]
fn outage_longer_than_a_session_ends_with_the_network() {
    e2e::in_own_network(|| {
        let env = TestEnv::with(&["--session-life", "12s"], UPLOAD);
        let before = env.document(&["oss-upload"]);
        if let Err(reason) = break_it(&env, DROPPED.0) {
            e2e::not_run(&reason);
            return;
        }
        let ends: Timestamp = before["Expiration"].as_str().unwrap().parse().unwrap();
        let ends = ends.as_second().cast_unsigned();
        let mut last_served = 0;
        env.wait_until("the session's end", || {
            let asked = unix_time();
            let output = env.shim(&["--patience", "1s", "oss-upload"]);
            let code = output.status.code();
            if code == Some(0) {
                let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!(document, before);
                last_served = asked;
            }
            code == Some(6)
        });
        // The renewal was due before this lifetime was left.
        let rest = ends.saturating_sub(last_served);
        assert!(
            rest <= 5,
            "it was not served any more for the last {rest} s"
        );
        for _ in 0..5 {
            // A short patience may end without any answer on a busy machine.
            let output = env.shim(&["--patience", "1s", "oss-upload"]);
            assert!(matches!(output.status.code(), Some(3 | 6)), "{output:?}");
            assert!(output.stdout.is_empty());
        }
        // A request waits through the rest of the outage.
        let mut waiting = env.shim_command(&["--patience", "60s", "oss-upload"]);
        let mut waiting = waiting.stdout(Stdio::piped()).spawn().unwrap();
        env.wait_until("it is there", || env.daemon().connections() >= 1);
        assert!(waiting.try_wait().unwrap().is_none(), "it waits");
        mend_it();
        let output = waiting.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
    });
}
