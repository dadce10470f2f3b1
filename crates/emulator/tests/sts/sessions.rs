//! Sessions: their trust, lifetime and token.

use std::time::Duration;

use crate::{
    NO_PERMISSION, check, expect,
    kit::{self, Call, Credentials, KEY, READ, TestEmulator, UPLOAD, start, start_with},
};

#[test]
fn valid_call_returns_session() {
    let emulator = start();
    for (in_form, method) in [(true, "POST"), (false, "POST"), (false, "GET")] {
        let mut call = Call::assume(&emulator, UPLOAD);
        call.in_form = in_form;
        call.method = method;
        call.set("SignatureType", "");
        let answer = call.send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        let credentials = &body["Credentials"];
        assert_eq!(credentials["Expiration"], "2026-01-01T01:00:00Z");
        assert!(
            credentials["AccessKeyId"]
                .as_str()
                .unwrap()
                .starts_with("STS.")
        );
        let secret = credentials["AccessKeySecret"].as_str().unwrap();
        assert!(secret.starts_with("EmulatedSecret"));
        let token = credentials["SecurityToken"].as_str().unwrap();
        assert_eq!(token.len(), 900);
        assert!(token.starts_with("EmulatedToken") && token.contains('+') && token.ends_with('='));
        assert_eq!(
            body["AssumedRoleUser"]["Arn"],
            "acs:ram::100000000000001:role/oss-upload/tester"
        );
    }
    assert_eq!(emulator.stats()["sessions_live"], 3);
}

#[test]
fn untrusted_caller_and_unknown_role_are_refused() {
    let not_found = "The specified Role not exists .";
    for arn in [
        "acs:ram::100000000000001:role/nothing",
        "acs:ram::999:role/oss-upload",
    ] {
        check(
            |_, call| call.set("RoleArn", arn),
            404,
            "EntityNotExist.Role",
            not_found,
        );
    }
    let stranger = |_: &TestEmulator, call: &mut Call| {
        call.set("AccessKeyId", "LTAIEXAMPLESTRANGER01");
        call.secret = "ExampleSecretOfStranger000001".to_owned();
    };
    check(stranger, 403, "NoPermission", NO_PERMISSION);
    let guarded = "acs:ram::100000000000001:role/guarded";
    check(
        |_, call| call.set("RoleArn", guarded),
        403,
        "NoPermission",
        NO_PERMISSION,
    );
    let wrong_id = |_: &TestEmulator, call: &mut Call| {
        call.set("RoleArn", guarded);
        call.set("ExternalId", "partner-2");
    };
    check(wrong_id, 403, "NoPermission", NO_PERMISSION);
    let emulator = start();
    let mut call = Call::assume(&emulator, guarded);
    call.set("ExternalId", "partner-1");
    assert_eq!(call.send().status, 200);
    // The trust of a role counts for its sessions, and that of the first caller does not.
    let session = emulator.session(UPLOAD, None);
    let mut back = Call::assume(&emulator, UPLOAD);
    back.sign_as(&session);
    expect(&back.send(), 403, "NoPermission", NO_PERMISSION);
}

#[test]
fn session_key_needs_its_own_live_token() {
    let emulator = start();
    let session = emulator.session(UPLOAD, None);
    let other = emulator.session(UPLOAD, None);
    let ask = |credentials: &Credentials| {
        let mut call = Call::new(&emulator, "GetCallerIdentity");
        call.sign_as(credentials);
        call.send()
    };
    let with = |token: Option<&str>| Credentials {
        token: token.map(str::to_owned),
        ..session.clone()
    };
    let identity = ask(&session).json();
    assert_eq!(identity["IdentityType"], "AssumedRoleUser");
    assert_eq!(
        identity["Arn"],
        "acs:ram::100000000000001:assumed-role/oss-upload/tester"
    );
    expect(
        &ask(&with(None)),
        400,
        "MissingSecurityToken",
        "SecurityToken is mandatory for this action.",
    );
    let malformed = "Specified SecurityToken is malformed.";
    expect(
        &ask(&with(Some("nonsense"))),
        400,
        "InvalidSecurityToken.Malformed",
        malformed,
    );
    let mismatch = "Specified SecurityToken mismatch with the AccessKey.";
    let code = "InvalidSecurityToken.MismatchWithAccessKey";
    expect(&ask(&with(other.token.as_deref())), 400, code, mismatch);
    let lasting = Credentials {
        id: KEY.to_owned(),
        secret: kit::SECRET.to_owned(),
        token: other.token.clone(),
    };
    expect(&ask(&lasting), 400, code, mismatch);
    emulator.clock.advance(Duration::from_secs(3600));
    let mut late = Call::new(&emulator, "GetCallerIdentity");
    late.sign_as(&session);
    assert_eq!(late.send().json()["Code"], "InvalidSecurityToken.Expired");
    assert_eq!(emulator.stats()["sessions_live"], 0);
}

#[test]
fn role_chain_lifetime_follows_account_model() {
    for (cap, seconds, status) in [
        (false, "43200", 200),
        (true, "3600", 200),
        (true, "3601", 400),
    ] {
        let world = stsd_emulator::account::DEFAULT_MODEL.replace(
            "chained_session_cap = false",
            &format!("chained_session_cap = {cap}"),
        );
        let emulator = start_with(&world, None);
        let session = emulator.session(UPLOAD, None);
        let mut call = Call::assume(&emulator, READ);
        call.sign_as(&session);
        call.set("DurationSeconds", seconds);
        let answer = call.send();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[test]
fn session_life_limits_each_session_separately() {
    let emulator = start_with(
        stsd_emulator::account::DEFAULT_MODEL,
        Some(Duration::from_secs(60)),
    );
    let mut call = Call::assume(&emulator, UPLOAD);
    call.set("DurationSeconds", "900");
    let first = call.send().json();
    assert_eq!(first["Credentials"]["Expiration"], "2026-01-01T00:01:00Z");
    emulator.clock.advance(Duration::from_secs(59));
    let second = emulator.session(UPLOAD, None);
    let ask = |credentials: &Credentials| {
        let mut call = Call::new(&emulator, "GetCallerIdentity");
        call.sign_as(credentials);
        call.send().status
    };
    assert_eq!((ask(&Credentials::from(&first)), ask(&second)), (200, 200));
    emulator.clock.advance(Duration::from_secs(1));
    assert_eq!((ask(&Credentials::from(&first)), ask(&second)), (400, 200));
}
