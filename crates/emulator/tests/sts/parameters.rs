//! The parameters of a call.

use crate::{
    check, check_accepted, check_parameter,
    kit::{Call, UPLOAD, start},
};

const DURATION: &str = "The Min/Max value of DurationSeconds is 15min/1hr.";

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
