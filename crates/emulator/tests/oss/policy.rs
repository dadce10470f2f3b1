//! The policy of a role and the policy of a session.

use crate::{
    code, expect,
    kit::{Oss, start, start_with},
    long_lived_key,
};

const ALL: &str = r#"{"Version":"1","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;

/// Checks the allowed operations of a role with one policy and a session with another. The
/// letters are `p`ut, `g`et, `h`ead, `d`elete, `l`ist, and put into the `o`ther bucket.
fn check(role: &str, session: Option<&str>, allowed: &str) {
    let world = stsd_emulator::account::DEFAULT_MODEL.to_owned()
        + &format!(
            "\n[[role]]\nname = \"tested\"\ntrusts = [\"user/uploader\"]\npolicy = '''{role}'''\n"
        );
    let emulator = start_with(&world, None);
    let credentials = emulator.session("acs:ram::100000000000001:role/tested", session);
    let oss = Oss::new(&emulator, &credentials);
    let mut allowed_letters = String::new();
    for (letter, method, target) in [
        ('p', "PUT", "/examplebucket/a/k"),
        ('g', "GET", "/examplebucket/a/k"),
        ('h', "HEAD", "/examplebucket/a/k"),
        ('d', "DELETE", "/examplebucket/a/k"),
        ('l', "GET", "/examplebucket/"),
        ('o', "PUT", "/otherbucket/a/k"),
    ] {
        let answer = oss.send(method, target, &[], b"");
        match answer.status {
            403 => assert_eq!(code(&answer), "AccessDenied"),
            200 | 204 | 404 => allowed_letters.push(letter),
            _ => panic!("{}", answer.text()),
        }
    }
    assert_eq!(allowed_letters, allowed, "role {role}, session {session:?}");
}

fn policy(effect: &str, actions: &str, resources: &str) -> String {
    format!(
        r#"{{"Version":"1","Statement":{{"Effect":"{effect}","Action":{actions},"Resource":{resources}}}}}"#
    )
}

#[test]
fn role_policy_allows_matching_operations() {
    let objects = r#""acs:oss:*:*:examplebucket/*""#;
    check(ALL, None, "pghdlo");
    check(&policy("Deny", r#""*""#, r#""*""#), None, "");
    check(&policy("Allow", r#""oss:GetObject""#, objects), None, "gh");
    check(&policy("Allow", r#""OSS:getobject""#, objects), None, "gh");
    check(
        &policy("Allow", r#"["oss:Get*","oss:Put*"]"#, objects),
        None,
        "pgh",
    );
    check(&policy("Allow", r#""oss:???Object""#, objects), None, "pgh");
    check(&policy("Allow", r#""oss:ListObjects""#, objects), None, "");
    check(
        &policy(
            "Allow",
            r#""oss:ListObjects""#,
            r#""acs:oss:*:*:examplebucket""#,
        ),
        None,
        "l",
    );
    check(
        &policy("Allow", r#""oss:*""#, r#""acs:oss:*:*:examplebucket*""#),
        None,
        "pghdl",
    );
    check(
        &policy(
            "Allow",
            r#""oss:*""#,
            r#""acs:oss:cn-hongkong:100000000000001:examplebucket/a/?""#,
        ),
        None,
        "pghd",
    );
    check(
        &policy(
            "Allow",
            r#""oss:*""#,
            r#""acs:oss:oss-cn-hongkong:*:otherbucket/*""#,
        ),
        None,
        "o",
    );
    check(
        &policy("Allow", r#""oss:*""#, r#""acs:oss:*:999:examplebucket/*""#),
        None,
        "",
    );
    check(&policy("Allow", r#""ecs:*""#, r#""*""#), None, "");
    let denied = r#"{"Version":"1","Statement":[
        {"Effect":"Deny","Action":"oss:DeleteObject","Resource":"*"},
        {"Effect":"Allow","Action":"oss:*","Resource":["acs:oss:*:*:examplebucket","acs:oss:*:*:examplebucket/*"]}]}"#;
    check(denied, None, "pghl");
}

#[test]
fn session_policy_narrows_and_never_widens() {
    let read = policy("Allow", r#""oss:GetObject""#, r#""*""#);
    check(ALL, Some(&read), "gh");
    check(&read, Some(ALL), "gh");
    check(
        ALL,
        Some(&policy("Deny", r#""oss:PutObject""#, r#""*""#)),
        "",
    );
    check(
        &policy("Allow", r#""oss:PutObject""#, r#""*""#),
        Some(&read),
        "",
    );
}

#[test]
fn user_without_policy_has_no_rights() {
    let emulator = start();
    let uploader = long_lived_key();
    let answer = Oss::new(&emulator, &uploader).send("PUT", "/examplebucket/k", &[], b"x");
    expect(&answer, 403, "AccessDenied", "0003-00000001");
}
