//! A URL opens one profile for one user.

use e2e::{GROUP, SystemDaemon, TestEnv, UPLOAD, UnixUser, upload_profile};
use nix::unistd::geteuid;

use super::client::{Url, as_user, by_socket};

const FIRST: u32 = 64_002;
const SECOND: u32 = 64_003;

/// Returns a request as `as_user` sends it.
fn request(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\nConnection: close\\r\\n{headers}\\r\\n"
    )
}

#[test]
fn url_of_one_user_opens_nothing_for_another_user() {
    let rules = [FIRST, SECOND].map(|uid| format!("user:{uid}"));
    let profiles = upload_profile("both", &rules) + &upload_profile("second", &rules[1..]);
    let Some(machine) = SystemDaemon::start(&profiles) else {
        return;
    };
    machine.env.write_config_with_http(&profiles);
    machine.env.client().reload().unwrap();
    let url_of = |uid: u32, profile: &str| {
        let printed = machine.output(UnixUser::new(uid), "stsctl", &["url", profile]);
        assert!(printed.status.success(), "{uid} {profile}");
        Url(String::from_utf8(printed.stdout)
            .unwrap()
            .trim_end()
            .to_owned())
    };
    let (first, second) = (url_of(FIRST, "both"), url_of(SECOND, "both"));
    assert_ne!(first.secret(), second.secret());
    let secret = first.secret();
    let authorization = format!("Authorization: {secret}\\r\\n");
    let metadata = "latest/meta-data/ram/security-credentials";
    let attempts = |profile: &str| {
        [
            request(&format!("/{secret}/{profile}"), ""),
            request(&format!("/credentials/{profile}"), &authorization),
            request(&format!("/{secret}/{profile}/{metadata}/"), ""),
            request(&format!("/{secret}/{profile}/{metadata}/{profile}"), ""),
        ]
    };
    let check = |uid: u32, profile: &str, expected: &str| {
        for attempt in attempts(profile) {
            let answer = as_user(uid, first.authority(), &attempt);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {expected}")),
                "{uid} {profile}: {attempt}: {answer}"
            );
        }
    };
    check(FIRST, "both", "200");
    // The second user's URL fetcher is given the first user's URL, also with another profile.
    check(SECOND, "both", "403");
    check(SECOND, "second", "403");
    check(FIRST, "second", "403");
    let own = request(second.path(), "");
    let own = as_user(SECOND, second.authority(), &own);
    assert!(own.starts_with("HTTP/1.1 200"), "{own}");
}

#[test]
fn url_of_one_profile_opens_no_other_profile() {
    let other = upload_profile("other", &[]);
    let env = TestEnv::with_http(&[], &format!("{UPLOAD}{other}"));
    let (url, of_other) = (Url::of(&env, "oss-upload"), Url::of(&env, "other"));
    assert_ne!(url.secret(), of_other.secret());
    let secret = url.secret();
    let authorization = format!("Authorization: {secret}\r\n");
    let metadata = "latest/meta-data/ram/security-credentials";
    for (target, headers) in [
        (format!("/{secret}/other"), ""),
        ("/credentials/other".to_owned(), &*authorization),
        (format!("/{secret}/other/{metadata}/"), ""),
        (format!("/{secret}/other/{metadata}/other"), ""),
        (format!("/{secret}/oss-upload/{metadata}/other/"), ""),
    ] {
        let answer = url.get(&target, headers);
        assert!([403, 404].contains(&answer.status), "{target}: {answer:?}");
    }
    assert_eq!(url.get(url.path(), "").status, 200);
    assert_eq!(of_other.get(of_other.path(), "").status, 200);
    // The Unix socket needs no secret; a wrong one is refused there as well.
    let get = |target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        by_socket(&env, &request).status
    };
    assert_eq!(get("/credentials/other"), 200);
    assert_eq!(get(of_other.path()), 200);
    assert_eq!(get(&format!("/{secret}/other")), 403);
}

#[test]
fn url_printed_by_root_opens_the_profile_for_root_alone() {
    let rules = [
        "user:0".to_owned(),
        format!("user:{FIRST}"),
        format!("group:{GROUP}"),
    ];
    let profiles = upload_profile("both", &rules);
    let Some(machine) = SystemDaemon::start(&profiles) else {
        return;
    };
    assert!(geteuid().is_root());
    machine.env.write_config_with_http(&profiles);
    machine.env.client().reload().unwrap();
    let url = Url::of(&machine.env, "both");
    assert_eq!(url.get(url.path(), "").status, 200);
    let answer = as_user(FIRST, url.authority(), &request(url.path(), ""));
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[test]
fn url_that_only_a_group_rule_would_allow_is_not_printed() {
    let profiles = upload_profile("shared", &[format!("group:{GROUP}")]);
    let Some(machine) = SystemDaemon::start(&profiles) else {
        return;
    };
    machine.env.write_config_with_http(&profiles);
    machine.env.client().reload().unwrap();
    let member = UnixUser {
        group: Some(GROUP),
        ..UnixUser::new(FIRST)
    };
    assert!(
        machine
            .output(member, "sts-shim", &["shared"])
            .status
            .success()
    );
    for arguments in [&["url", "shared"][..], &["exec", "shared", "--", "true"]] {
        let refused = machine.output(member, "stsctl", arguments);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(5), "{arguments:?}: {said}");
        assert!(
            said.contains("by HTTP") && said.contains("--static"),
            "{said}"
        );
    }
    let exec = ["exec", "shared", "--static", "--", "true"];
    assert!(machine.output(member, "stsctl", &exec).status.success());
    // The audit names the refused operation.
    let rotated = machine.output(member, "stsctl", &["url", "--rotate"]);
    assert_eq!(rotated.status.code(), Some(5));
    let asked = "asked=\"rotate_urls\"";
    machine
        .env
        .wait_until("the event", || machine.env.daemon_log().contains(asked));
}
