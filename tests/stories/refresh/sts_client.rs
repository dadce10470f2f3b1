//! The STS client against the emulated service: every parameter, and its errors.

use std::{future::Future, sync::Arc, time::Duration};

use e2e::{Action, ClosedPort, Fault, TestEnv};
use jiff::Timestamp;
use stsd_sts::{AssumeRole, Endpoint, RoleSession, SecretText, SourceCredentials, Sts, StsError};

const UPLOAD: &str = "acs:ram::100000000000001:role/oss-upload";
const READ: &str = "acs:ram::100000000000001:role/oss-read";

#[expect(
    clippy::disallowed_methods,
    reason = "the emulator checks against the real clock"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

fn wait_for<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}

fn client(env: &TestEnv) -> Sts {
    let endpoint = Endpoint::custom(env.emulator().sts_url());
    Sts::new(endpoint.unwrap(), Arc::default())
}

fn uploader(secret: &str) -> SourceCredentials {
    SourceCredentials {
        access_key_id: "LTAIEXAMPLEUPLOADER01".into(),
        access_key_secret: SecretText::from(secret.to_owned()),
        security_token: None,
    }
}

fn key() -> SourceCredentials {
    uploader("ExampleSecretOfUploader000001")
}

fn of_session(session: &RoleSession) -> SourceCredentials {
    SourceCredentials {
        access_key_id: session.access_key_id.clone(),
        access_key_secret: session.access_key_secret.clone(),
        security_token: Some(session.security_token.clone()),
    }
}

fn plain(role_arn: &str) -> AssumeRole<'_> {
    AssumeRole {
        role_arn,
        role_session_name: "story",
        duration: Duration::from_secs(3600),
        policy: None,
        external_id: None,
        source_identity: None,
    }
}

#[test]
fn sts_client_sends_every_parameter() {
    let env = TestEnv::without_daemon(&[]);
    let sts = client(&env);
    let policy = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    let request = AssumeRole {
        duration: Duration::from_secs(900),
        policy: Some(policy),
        external_id: Some("a+b=c,d.e@f:g/h-i"),
        source_identity: Some("jo@example.com"),
        ..plain(UPLOAD)
    };
    let session = wait_for(sts.assume_role(&key(), request, now())).unwrap();
    assert!(session.access_key_id.starts_with("STS."));
    let life = session
        .expiration
        .duration_since(session.server_date.unwrap());
    assert!((899..=900).contains(&life.as_secs()), "{life}");
    assert!(!session.request_id.is_empty());
}

#[test]
fn session_assumes_another_role_and_names_its_identity() {
    let env = TestEnv::without_daemon(&[]);
    let sts = client(&env);
    let user = wait_for(sts.caller_identity(&key(), now())).unwrap();
    assert_eq!(user.account_id, "100000000000001");
    assert!(user.arn.ends_with("user/uploader"), "{user:?}");

    let first = wait_for(sts.assume_role(&key(), plain(UPLOAD), now())).unwrap();
    let second = wait_for(sts.assume_role(&of_session(&first), plain(READ), now())).unwrap();
    let role = wait_for(sts.caller_identity(&of_session(&second), now())).unwrap();
    assert!(
        role.arn.contains("oss-read") && role.arn.ends_with("/story"),
        "{role:?}"
    );

    let mut without = of_session(&first);
    without.security_token = None;
    let error = wait_for(sts.assume_role(&without, plain(READ), now())).unwrap_err();
    assert!(matches!(error, StsError::Denied(ref it) if it.code == "MissingSecurityToken"));
}

/// Asserts that a call fails with `expected` and that the error has no secret.
fn check(env: &TestEnv, source: &SourceCredentials, at: Timestamp, expected: &str) {
    let error = wait_for(client(env).assume_role(source, plain(UPLOAD), at)).unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(said.contains(expected), "{said}");
    e2e::assert_no_secrets("an error of STS", said.as_bytes());
}

#[test]
fn sts_error_says_what_to_do_and_contains_no_secret() {
    let env = TestEnv::without_daemon(&[]);
    check(
        &env,
        &uploader("ExampleSecretOfSomebody"),
        now(),
        "does not belong to",
    );
    let early = now() - jiff::SignedDuration::from_hours(1);
    check(&env, &key(), early, "Clock");
    let session = wait_for(client(&env).assume_role(&key(), plain(UPLOAD), now())).unwrap();
    let mut forged = of_session(&session);
    forged.access_key_secret = SecretText::from("ExampleSecretOfSomebody".to_owned());
    check(&env, &forged, now(), "does not belong to");
    check(&env, &of_session(&session), now(), "NoPermission");

    let throttle = Fault::Throttle(Some(Duration::from_millis(1500)));
    env.emulator()
        .inject_fault_once(Action::AssumeRole, throttle);
    check(&env, &key(), now(), "retry_after: Some(1.5s)");
    env.emulator()
        .inject_fault_once(Action::AssumeRole, Fault::Reset);
    check(&env, &key(), now(), "not reachable at 127.0.0.1");
}

#[test]
fn refused_connection_error_has_the_address_alone() {
    let nowhere = ClosedPort::new();
    let endpoint = Endpoint::custom(&format!("http://{}", nowhere.address()));
    let sts = Sts::new(endpoint.unwrap(), Arc::default());
    let error = wait_for(sts.assume_role(&key(), plain(UPLOAD), now())).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("refused") && !said.contains("http://"),
        "{said}"
    );
}
