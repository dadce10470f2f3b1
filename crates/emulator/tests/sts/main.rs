//! The emulated STS, error by error, through raw bytes over TCP.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../kit/mod.rs"]
mod kit;
mod parameters;
mod sessions;
mod signature;

use kit::{Answer, Call, TestEmulator, UPLOAD, start};

const NO_PERMISSION: &str =
    "You are not authorized to do this action. You should be authorized by RAM.";

/// Checks the error of a valid call to assume `oss-upload` after a change.
fn check(change: impl FnOnce(&TestEmulator, &mut Call), status: u16, code: &str, message: &str) {
    let emulator = start();
    let mut call = Call::assume(&emulator, UPLOAD);
    change(&emulator, &mut call);
    let answer = call.send();
    expect(&answer, status, code, message);
    let counted = &emulator.stats()["calls"];
    let counted: u64 = counted
        .as_object()
        .unwrap()
        .values()
        .filter_map(|outcomes| outcomes[code].as_u64())
        .sum();
    assert_eq!(counted, 1, "{code} is not counted");
}

fn expect(answer: &Answer, status: u16, code: &str, message: &str) {
    let body = answer.json();
    assert_eq!(body["Code"], code, "{body}");
    assert_eq!(answer.status, status, "{body}");
    assert_eq!(body["Message"], message);
    assert_eq!(body["HostId"], "sts.aliyuncs.com");
    assert_eq!(body["RequestId"].as_str().unwrap().len(), 36);
    assert_eq!(answer.header("date"), Some("Thu, 01 Jan 2026 00:00:00 GMT"));
}

fn check_parameter(name: &str, value: &str, code: &str, message: &str) {
    check(|_, call| call.set(name, value), 400, code, message);
}

fn check_accepted(name: &str, value: &str) {
    let emulator = start();
    let mut call = Call::assume(&emulator, UPLOAD);
    call.set(name, value);
    let answer = call.send();
    assert_eq!(answer.status, 200, "{name}={value}: {}", answer.text());
}
