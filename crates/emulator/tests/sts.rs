//! The emulated STS, error by error, through raw bytes over TCP.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::time::Duration;

use kit::{
    Answer, Call, Credentials, KEY, READ, TestEmulator, UPLOAD, acs3_bytes, raw, start, start_with,
};

const NO_PERMISSION: &str =
    "You are not authorized to do this action. You should be authorized by RAM.";
const DURATION: &str = "The Min/Max value of DurationSeconds is 15min/1hr.";

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
fn parts_of_signature_are_checked_in_order() {
    for name in ["AccessKeyId", "Signature", "Timestamp", "SignatureNonce"] {
        check(
            |_, call| match name {
                "Signature" => call.signature = Some(String::new()),
                name => call.remove(name),
            },
            400,
            &format!("Missing{name}"),
            &format!("{name} is mandatory for this action."),
        );
    }
    check_parameter(
        "SignatureMethod",
        "HMAC-SHA256",
        "InvalidSignatureMethod",
        "Specified signature method is not valid.",
    );
    check_parameter(
        "SignatureVersion",
        "2.0",
        "IncompleteSignature",
        "The request signature does not conform to Aliyun standards. SignatureVersion must be 1.0.",
    );
    let not_found = "Specified access key is not found.";
    check(
        |_, call| call.set("AccessKeyId", "LTAIABSENT"),
        404,
        "InvalidAccessKeyId.NotFound",
        not_found,
    );
    check_parameter(
        "AccessKeyId",
        "LTAIEXAMPLEINACTIVE01",
        "InvalidAccessKeyId.Inactive",
        "Specified access key is disabled.",
    );
    let format = "Specified time stamp or date value is not well formatted.";
    for odd in [
        "yesterday",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00+00:00",
        "2026-13-01T00:00:00Z",
    ] {
        check_parameter("Timestamp", odd, "InvalidTimeStamp.Format", format);
    }
    let expired = "Specified time stamp or date value is expired.";
    for far in ["2025-12-31T23:44:59Z", "2026-01-01T00:15:01Z"] {
        check_parameter("Timestamp", far, "InvalidTimeStamp.Expired", expired);
    }
    for near in ["2025-12-31T23:45:00Z", "2026-01-01T00:15:00Z"] {
        check_accepted("Timestamp", near);
    }
}

#[test]
fn wrong_signature_returns_string_to_sign_and_keeps_nonce() {
    let emulator = start();
    let mut call = Call::assume(&emulator, UPLOAD);
    call.set("SignatureNonce", "only-once");
    call.secret = "wrong".to_owned();
    let answer = call.send();
    assert_eq!(
        (answer.status, answer.json()["Code"].as_str().unwrap()),
        (400, "SignatureDoesNotMatch")
    );
    let message = answer.json()["Message"].as_str().unwrap().to_owned();
    let begin = "Specified signature is not matched with our calculation. server string to sign is:\
                 POST&%2F&AccessKeyId%3DLTAIEXAMPLEUPLOADER01%26Action%3DAssumeRole%26";
    assert!(message.starts_with(begin), "{message}");
    call.secret = kit::SECRET.to_owned();
    assert_eq!(call.send().status, 200);
    expect(
        &call.send(),
        400,
        "SignatureNonceUsed",
        "Specified signature nonce was used already.",
    );
}

#[test]
fn nonce_is_kept_thirty_minutes_for_its_key() {
    let emulator = start();
    let mut call = Call::new(&emulator, "GetCallerIdentity");
    call.set("SignatureNonce", "mine");
    assert_eq!(call.send().status, 200);
    let mut other = Call::new(&emulator, "GetCallerIdentity");
    other.set("SignatureNonce", "mine");
    other.set("AccessKeyId", "LTAIEXAMPLESTRANGER01");
    other.secret = "ExampleSecretOfStranger000001".to_owned();
    assert_eq!(other.send().status, 200);
    emulator.clock.advance(Duration::from_secs(29 * 60));
    let mut again = Call::new(&emulator, "GetCallerIdentity");
    again.set("SignatureNonce", "mine");
    assert_eq!(again.send().json()["Code"], "SignatureNonceUsed");
    emulator.clock.advance(Duration::from_secs(2 * 60));
    let mut late = Call::new(&emulator, "GetCallerIdentity");
    late.set("SignatureNonce", "mine");
    assert_eq!(late.send().status, 200);
}

#[test]
fn invalid_parameter_is_refused_by_name() {
    let wrongly = |name: &str| {
        (
            format!("InvalidParameter.{name}"),
            format!("The parameter {name} is wrongly formed."),
        )
    };
    for name in ["RoleArn", "RoleSessionName"] {
        let code = format!("MissingParameter.{name}");
        let message = format!("{name} is mandatory for this action.");
        check(|_, call| call.remove(name), 400, &code, &message);
        check_parameter(name, "", &code, &message);
    }
    let long_role = format!("acs:ram::1:role/{}", "r".repeat(65));
    let (code, message) = wrongly("RoleArn");
    for odd in [
        "oss-upload",
        "acs:ram::x:role/oss-upload",
        "acs:ram:::role/oss-upload",
        "acs:ram::1:user/u",
        "acs:ram::1:role/",
        &long_role,
    ] {
        check_parameter("RoleArn", odd, &code, &message);
    }
    let (code, message) = wrongly("RoleSessionName");
    for odd in ["a", "a b", "é-é", "a/b", &"n".repeat(65)] {
        check_parameter("RoleSessionName", odd, &code, &message);
    }
    for good in ["ab", "Me.you@here-_", &"n".repeat(64)] {
        check_accepted("RoleSessionName", good);
    }
    for odd in [
        "899",
        "3601",
        "43201",
        "-900",
        "1h",
        "900.0",
        "99999999999999999999",
    ] {
        check_parameter(
            "DurationSeconds",
            odd,
            "InvalidParameter.DurationSeconds",
            DURATION,
        );
    }
    for good in ["900", "3600"] {
        check_accepted("DurationSeconds", good);
    }
    let (code, message) = wrongly("ExternalId");
    for odd in ["a", "a b", "a*b", &"e".repeat(1225)] {
        check_parameter("ExternalId", odd, &code, &message);
    }
    check_accepted("ExternalId", "_+=,.@:/-aB1");
    let (code, message) = wrongly("SourceIdentity");
    for odd in [
        "a",
        "a/b",
        "acs:me",
        "aliyun:me",
        "alibabacloud:me",
        &"s".repeat(65),
    ] {
        check_parameter("SourceIdentity", odd, &code, &message);
    }
    check_accepted("SourceIdentity", "alice@example.com");
}

#[test]
fn invalid_session_policy_is_refused() {
    let grammar = "The parameter Policy has not passed grammar check.";
    let statement = r#""Effect":"Allow","Action":"oss:*","Resource":"*""#;
    for odd in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"Version":"2","Statement":[]}"#,
        r#"{"Version":"1","Statement":[]}"#,
        r#"{"Version":1,"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#,
        r#"{"Version":"1","Statement":{"Effect":"allow","Action":"*","Resource":"*"}}"#,
        r#"{"Version":"1","Statement":{"Effect":"Allow","Action":"*"}}"#,
        r#"{"Version":"1","Statement":{"Effect":"Allow","Action":[],"Resource":"*"}}"#,
        r#"{"Version":"1","Statement":{"Effect":"Allow","Action":"Get","Resource":"*"}}"#,
        r#"{"Version":"1","Statement":{"Effect":"Allow","Action":"*","Resource":"bucket/*"}}"#,
        r#"{"Version":"1","Statement":{"Effect":"Allow","NotAction":"*","Resource":"*"}}"#,
        &format!(r#"{{"Version":"1","Statement":{{{statement},"Condition":{{}}}}}}"#),
        &format!(r#"{{"Version":"1","Id":"x","Statement":{{{statement}}}}}"#),
    ] {
        check_parameter("Policy", odd, "InvalidParameter.PolicyGrammar", grammar);
    }
    let of_length = |length: usize| {
        let policy = format!(r#"{{"Version":"1","Statement":{{{statement}}}}}"#);
        format!("{policy}{}", " ".repeat(length - policy.len()))
    };
    check_accepted("Policy", &of_length(2048));
    let size = "The size of Policy must be smaller than 2048 bytes.";
    check_parameter(
        "Policy",
        &of_length(2049),
        "InvalidParameter.PolicySize",
        size,
    );
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
fn unknown_action_version_or_format_is_refused() {
    let unknown = "Specified api is not found, please check your url and method.";
    for action in ["DescribeRegions", "assumerole", "DeleteEverything"] {
        check(
            |_, call| call.set("Action", action),
            404,
            "InvalidAction.NotFound",
            unknown,
        );
    }
    check(
        |_, call| call.remove("Action"),
        400,
        "MissingAction",
        "Action is mandatory for this action.",
    );
    check(
        |_, call| call.remove("Version"),
        400,
        "MissingVersion",
        "Version is mandatory for this action.",
    );
    check_parameter(
        "Version",
        "2014-05-26",
        "InvalidVersion",
        "Specified parameter Version is not valid.",
    );
    check(
        |_, call| call.method = "PUT",
        400,
        "UnsupportedHTTPMethod",
        "The HTTP method is not supported for this action.",
    );
    let emulator = start();
    let mut call = Call::assume(&emulator, UPLOAD);
    call.set("Format", "YAML");
    let answer = call.send();
    assert_eq!(
        (answer.status, answer.element("Code").as_str()),
        (400, "InvalidParameter.Format")
    );
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

#[test]
fn reply_is_xml_unless_json_is_requested() {
    let emulator = start();
    let mut call = Call::new(&emulator, "GetCallerIdentity");
    call.remove("Format");
    let answer = call.send();
    assert_eq!(
        answer.header("content-type"),
        Some("text/xml;charset=utf-8")
    );
    assert!(
        answer
            .text()
            .contains("<GetCallerIdentityResponse><AccountId>100000000000001</AccountId>")
    );
    let mut refused = Call::assume(&emulator, UPLOAD);
    refused.set("Format", "xml");
    refused.set("DurationSeconds", "1");
    let answer = refused.send();
    assert_eq!(answer.element("Code"), "InvalidParameter.DurationSeconds");
    assert!(answer.text().contains("<Error>"));
}

#[test]
fn acs3_must_sign_host_and_acs_headers() {
    let emulator = start();
    let all =
        "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version";
    let send = |nonce: &str, headers: &[(&str, &str)], signed: &str| {
        let mut headers = headers.to_vec();
        headers.push(("x-acs-action", "GetCallerIdentity"));
        if !nonce.is_empty() {
            headers.push(("x-acs-signature-nonce", nonce));
        }
        Answer::read(&raw(
            emulator.sts(),
            &acs3_bytes(&emulator, &headers, "/", signed),
        ))
    };
    let good = send("n1", &[], all);
    assert_eq!(good.status, 200, "{}", good.text());
    assert_eq!(good.json()["IdentityType"], "RAMUser");
    assert_eq!(send("n1", &[], all).json()["Code"], "SignatureNonceUsed");
    let without = |name: &str| {
        all.split(';')
            .filter(|known| *known != name)
            .collect::<Vec<_>>()
            .join(";")
    };
    for name in ["host", "x-acs-action", "x-acs-date", "x-acs-version"] {
        let answer = send("n2", &[], &without(name));
        assert_eq!(answer.json()["Code"], "IncompleteSignature", "{name}");
        assert_eq!(answer.status, 400);
    }
    let extra = send("n3", &[("x-acs-extra", "1")], all);
    assert_eq!(extra.json()["Code"], "IncompleteSignature");
    let absent = send("n4", &[], &format!("{all};x-acs-extra"));
    assert_eq!(absent.json()["Code"], "IncompleteSignature");
    let no_nonce = send("", &[], &without("x-acs-signature-nonce"));
    assert_eq!(no_nonce.json()["Code"], "IncompleteSignature");
    let mut spoiled = acs3_bytes(
        &emulator,
        &[
            ("x-acs-action", "GetCallerIdentity"),
            ("x-acs-signature-nonce", "n5"),
        ],
        "/",
        all,
    );
    // A body with another hash.
    let at = spoiled
        .windows(17)
        .position(|w| w == b"content-length: 0")
        .unwrap();
    spoiled[at + 16] = b'1';
    spoiled.push(b'x');
    let answer = Answer::read(&raw(emulator.sts(), &spoiled));
    assert_eq!(answer.json()["Code"], "SignatureDoesNotMatch");
}
