//! Every message against the bytes it had when it was first released: old frames must
//! decode for ever, and the sent frames must not change.
//!
//! A new message needs a new file: `UPDATE_GOLDEN=1 cargo test -p stsd-wire --test golden`
//! writes the missing ones and never overwrites one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fmt::Debug, fs, path::PathBuf};

use stsd_wire::{
    Audit, Condition, Conditions, Credentials, Failure, FailureCount, FailureKind, HEADER,
    HttpListener, LastCaller, LastFailure, ListenerState, Message, Metrics, Problem, ProfileStatus,
    Protection, Reply, Request, SecretText, Status, Url, message_length,
};

fn check<M: Message + PartialEq + Debug>(name: &str, message: &M) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.bin"));
    let frame = message.frame().unwrap();
    if !path.exists() && std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &*frame).unwrap();
    }
    let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));

    let (header, body) = golden.split_at(HEADER);
    assert_eq!(
        message_length(header.try_into().unwrap()),
        Ok(body.len()),
        "{name}: length"
    );
    assert_eq!(M::decode(body).as_ref(), Ok(message), "{name}: decoded");
    assert_eq!(*frame, golden, "{name}: encoded again");

    let mut longer = body.to_vec();
    longer.push(0);
    assert!(M::decode(&longer).is_err(), "{name}: a leftover byte");
    assert!(M::decode(&body[..body.len() - 1]).is_err(), "{name}: cut");
}

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "STS.EXAMPLEID".into(),
        access_key_secret: SecretText::from("ExampleSecret".to_owned()),
        security_token: SecretText::from("CAISexample/+token==".to_owned()),
        expiration_unix_seconds: 1_795_475_758,
        issued_unix_seconds: 1_795_472_158,
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure {
        kind,
        message: "no profile \"oss\"".into(),
        hint: "run stsctl status".into(),
    }
}

#[test]
fn request_frames_match_the_golden_files() {
    check("request-hello", &Request::Hello { version: 1 });
    check(
        "request-credentials",
        &Request::Credentials {
            profile: "oss-upload".into(),
            minimum_life_millis: 300_000,
            patience_millis: 10_000,
        },
    );
    check(
        "request-watch",
        &Request::Watch {
            profile: "oss-upload".into(),
        },
    );
    check(
        "request-status",
        &Request::Status {
            after: "oss-read".into(),
        },
    );
    check(
        "request-refresh",
        &Request::Refresh {
            profile: "oss-upload".into(),
            patience_millis: 10_000,
        },
    );
    check("request-reload", &Request::Reload);
    check(
        "request-lease",
        &Request::Lease {
            profile: "oss-upload".into(),
            policy: Some("{\"Version\":\"1\",\"Statement\":[]}".into()),
            ttl_millis: 1_200_000,
            patience_millis: 15_000,
        },
    );
    check(
        "request-url",
        &Request::Url {
            profile: "oss-upload".into(),
        },
    );
    check("request-rotate-urls", &Request::RotateUrls);
    check(
        "request-audit",
        &Request::Audit {
            after: "oss-read".into(),
        },
    );
    check("request-conditions", &Request::Conditions);
    check("request-http-listener", &Request::HttpListener);
    check("request-metrics", &Request::Metrics);
}

#[test]
fn reply_frames_match_the_golden_files() {
    check("reply-hello", &Reply::Hello { version: 1 });
    check("reply-credentials", &Reply::Credentials(credentials()));
    check(
        "reply-short-credentials",
        &Reply::ShortCredentials(credentials()),
    );
    check("reply-done", &Reply::Done);
    check(
        "reply-metrics",
        &Reply::Metrics(Metrics {
            text: "# HELP stsd_connections Open connections of clients.\n\
                   # TYPE stsd_connections gauge\nstsd_connections 2\n"
                .into(),
        }),
    );
    check(
        "reply-url",
        &Reply::Url(Url {
            url: SecretText::from("http://127.0.0.1:7787/ExampleToken/oss-upload".to_owned()),
            token: SecretText::from("ExampleToken".to_owned()),
        }),
    );
    check(
        "reply-audit",
        &Reply::Audit(Audit {
            file: Some("/var/log/stsd/audit.jsonl".into()),
            in_journal: true,
            unit: Some("user@1000.service".into()),
            user_unit: Some("stsd.service".into()),
            callers: vec![LastCaller {
                profile: "oss-upload".into(),
                asked: "credentials".into(),
                uid: 1000,
                pid: Some(4711),
                unit: Some("user@1000.service".into()),
                user_unit: Some("backup.service".into()),
                exe: Some("/usr/bin/sts-shim".into()),
                age_seconds: 300,
            }],
            more: true,
        }),
    );
    check(
        "reply-conditions",
        &Reply::Conditions(Conditions {
            conditions: vec![Condition {
                name: "configuration".into(),
                holds: false,
                message: "the last reload was refused".into(),
                hint: "correct the file".into(),
                age_seconds: 300,
            }],
        }),
    );
    check(
        "reply-status",
        &Reply::Status(Status {
            daemon_version: "0.1.0".into(),
            pid: 4321,
            uptime_seconds: 86_400,
            config_path: "/etc/stsd/config.toml".into(),
            held_back_calls: 7,
            http_address: Some("127.0.0.1:7787".into()),
            http_refusals: vec![FailureCount {
                kind: "browser".into(),
                count: 1,
            }],
            protections: vec![Protection {
                name: "core dumps".into(),
                holds: true,
                remark: "off".into(),
            }],
            profiles: vec![ProfileStatus {
                name: "oss-upload".into(),
                role_arn: "acs:ram::123456789012:role/oss-upload".into(),
                access_key_id: Some("STS.EXAMPLEID".into()),
                expiration_unix_seconds: Some(1_795_475_758),
                remaining_seconds: Some(3_600),
                lifetime_seconds: Some(3_600),
                next_attempt_seconds: Some(1_800),
                next_attempt_reason: "half of the session's life".into(),
                last_failure: Some(LastFailure {
                    failure: failure(FailureKind::Unreachable),
                    age_seconds: 12,
                    in_a_row: 2,
                }),
                advice: Some("set duration to 1h".into()),
                hand_outs: 1_000,
                calls_saved: 998,
                sts_calls: 3,
                sts_failures: vec![FailureCount {
                    kind: "unreachable".into(),
                    count: 1,
                }],
                renewals: 2,
                renewal_millis_total: 420,
                renewal_millis_last: 180,
            }],
            more: true,
        }),
    );
}

#[test]
fn http_listener_states_keep_their_numbers() {
    let check_state = |name: &str, state, holder_uid| {
        let listener = HttpListener {
            state,
            address: Some("127.0.0.1:7787".into()),
            holder_uid,
            problems: vec![Problem {
                message: "127.0.0.1:7787 is held by uid 1001".into(),
                hint: "choose another port".into(),
            }],
        };
        check(name, &Reply::HttpListener(listener));
    };
    check_state(
        "reply-http-listener-taken",
        ListenerState::Taken,
        Some(1001),
    );
    check_state("reply-http-listener-failed", ListenerState::Failed, None);
    for (name, state, address) in [
        ("not-configured", ListenerState::NotConfigured, None),
        (
            "listening",
            ListenerState::Listening,
            Some("127.0.0.1:7787".into()),
        ),
    ] {
        let listener = HttpListener {
            state,
            address,
            holder_uid: None,
            problems: Vec::new(),
        };
        let name = format!("reply-http-listener-{name}");
        check(&name, &Reply::HttpListener(listener));
    }
}

#[test]
fn failure_kinds_keep_their_numbers() {
    for (name, kind) in [
        ("unknown-profile", FailureKind::UnknownProfile),
        ("not-allowed", FailureKind::NotAllowed),
        ("not-yet-available", FailureKind::NotYetAvailable),
        ("denied-by-sts", FailureKind::DeniedBySts),
        ("unreachable", FailureKind::Unreachable),
        ("throttled", FailureKind::Throttled),
        ("wrong-version", FailureKind::WrongVersion),
        ("malformed", FailureKind::Malformed),
        ("busy", FailureKind::Busy),
        ("bad-config", FailureKind::BadConfig),
    ] {
        check(
            &format!("reply-failure-{name}"),
            &Reply::Failure(failure(kind)),
        );
    }
}
