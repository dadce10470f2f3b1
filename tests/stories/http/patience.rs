//! The HTTP endpoint while STS is silent: the answer comes within the endpoint's own time limit, because
//! an SDK sends no patience.

use std::{net::TcpStream, time::Duration};

use e2e::{Action, Fault, TestEnv, UPLOAD};

use super::client::{Answer, Url};

/// Longer than the time limit of the endpoint, and shorter than the emulator's silence of a minute.
const READ_TIMEOUT: Duration = Duration::from_secs(40);

#[test]
fn url_answers_within_its_bound_while_sts_is_silent() {
    let env = TestEnv::with_http(&[], UPLOAD);
    let url = Url::of(&env, "oss-upload");
    env.emulator().inject_fault(Action::AssumeRole, Fault::Hang);
    let stream = TcpStream::connect(url.authority()).unwrap();
    stream.set_read_timeout(Some(READ_TIMEOUT)).unwrap();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        url.path(),
        url.authority()
    );
    let answer = Answer::exchange(stream, &request);
    assert_eq!(answer.status, 503, "{answer:?}");
    // The time limit of the endpoint and that of the call to STS are equal: either ends first.
    let host = env.emulator().sts_url().strip_prefix("http://").unwrap();
    let [silent, given_up] = [
        format!("STS at {host} has not answered for "),
        format!("sts is not reachable at {host}: timed out"),
    ];
    let message = answer.json()["Message"].to_string();
    let is_named = message.contains(&silent) || message.contains(&given_up);
    assert!(is_named && message.contains("(hint: "), "{answer:?}");
    env.emulator().clear_faults();
    let given = url.get(url.path(), "").credentials();
    assert_eq!(given["Code"], "Success");
}
