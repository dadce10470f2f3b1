//! A machine of the cloud: the daemon is who its instance's metadata say.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use e2e::Kit;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    client::{client, run},
    faults::log,
    rotation::now,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A profile that is the instance's role itself, and one that the role may become.
const PROFILES: &str = "[profile.instance]\nsource = \"instance\"\n\
    [profile.oss-upload]\nsource = \"instance\"\n\
    role_arn = \"acs:ram::100000000000001:role/oss-upload\"\n";

fn source(kit: &Kit, more: &str) -> String {
    let imds = kit.imds();
    format!("[source.instance]\ntype = \"ecs-role\"\nmetadata_endpoint = \"{imds}\"\n{more}")
}

fn configure(kit: &Kit, more: &str) {
    kit.write_config(&format!("{}{PROFILES}", source(kit, more)));
}

fn kit_with(emulator: &[&str], more: &str) -> Kit {
    let mut kit = Kit::without_daemon(emulator);
    configure(&kit, more);
    kit.start_daemon();
    kit
}

fn key(document: &Value) -> String {
    document["AccessKeyId"].as_str().unwrap().to_owned()
}

/// Says why a profile cannot be refreshed.
fn complaint(kit: &Kit, profile: &str) -> String {
    let output = kit.ctl(&["refresh", profile]);
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn an_instances_role_uploads_as_itself_and_as_what_it_may_become() {
    let mut kit = Kit::without_daemon(&[]);
    configure(&kit, "");
    // No proxy sees what is asked of the instance.
    let mut command = kit.daemon_command();
    for name in ["http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:1");
    }
    kit.adopt_daemon(command);
    for profile in ["instance", "oss-upload"] {
        let put = kit.oss_with(profile, &["put", "examplebucket", profile], "by role");
        assert!(put.is_ok(), "{profile}: {put:?}");
    }
    assert_eq!(kit.calls("AssumeRole"), 1, "for the one with a role_arn");
    for step in ["imds:Token", "imds:Role", "imds:Credentials"] {
        assert_eq!(kit.calls(step), 1, "{step}: one dialogue does for both");
    }
    // What the one has become came from what the other is.
    assert_ne!(
        key(&kit.document(&["instance"])),
        key(&kit.document(&["oss-upload"]))
    );
}

#[test]
fn a_role_that_is_named_is_not_asked_for() {
    let kit = kit_with(&[], "role_name = \"instance\"\n");
    let put = kit.oss_with("instance", &["put", "examplebucket", "named"], "x");
    assert!(put.is_ok(), "{put:?}");
    assert_eq!(
        (kit.calls("imds:Role"), kit.calls("imds:Credentials")),
        (0, 1)
    );
    configure(&kit, "role_name = \"other\"\n");
    assert!(kit.ctl(&["reload"]).status.success());
    let complaint = complaint(&kit, "instance");
    for words in [
        "the role other of the metadata service at 127.0.0.1",
        "404",
        "attach",
    ] {
        assert!(complaint.contains(words), "{complaint}");
    }
}

#[test]
fn credentials_rotate_under_load_and_no_hand_out_fails() {
    let kit = kit_with(&["--session-life", "8s"], "");
    let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    let keys = Mutex::new(BTreeSet::new());
    let began = now();
    thread::scope(|scope| {
        for profile in ["instance", "oss-upload", "instance"] {
            let (kit, over, keys, answers) = (&kit, &over, &keys, &answers);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let asked = now();
                    let answer = kit.client().credentials(profile, Duration::ZERO, PATIENCE);
                    let given = answer.expect("nobody is turned away").credentials;
                    assert!(given.expiration_unix_seconds.cast_unsigned() > asked);
                    keys.lock().unwrap().insert((profile, given.access_key_id));
                    answers.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let turned = || {
            let keys = keys.lock().unwrap();
            let of = |profile| keys.iter().filter(|it| it.0 == profile).count();
            of("instance") >= 4 && of("oss-upload") >= 3
        };
        for round in 1..=2400 {
            if turned() {
                break;
            }
            if round % 100 == 0 {
                kit.rotate_instance();
            }
            thread::sleep(Duration::from_millis(50));
        }
        over.store(true, Ordering::Relaxed);
        assert!(turned(), "{keys:?}");
    });
    let answers = answers.into_inner();
    // A look comes at half of what is left, which is three seconds at the least; towards the
    // end of credentials that nobody replaces once a second.
    let (asked, seconds) = (kit.calls("imds:Credentials"), now() - began);
    assert!(asked <= 2 * seconds + 4, "{asked} in {seconds} s");
    e2e::measured(&format!(
        "{answers} hand-outs, {asked} dialogues in {seconds} s"
    ));
}

#[test]
fn credentials_that_are_found_the_same_are_no_news_to_anybody() {
    let mut kit = Kit::without_daemon(&[]);
    let told = kit.path("run/told");
    let script = format!("#!/bin/sh\necho told >> {}\n", told.display());
    kit.write("told.sh", &script, 0o700);
    let sink = format!(
        "on_renewal = [\"{}\"]\n[profile.instance.file]\npath = \"run/x.secret\"\n",
        kit.path("told.sh").display()
    );
    let profile = format!("[profile.instance]\nsource = \"instance\"\n{sink}");
    kit.write_config(&format!("{}{profile}", source(&kit, "")));
    kit.start_daemon();
    let times = || {
        fs::read_to_string(&told)
            .unwrap_or_default()
            .lines()
            .count()
    };
    kit.wait_until("the first", || times() == 1);
    let status = || kit.client().status().unwrap().profiles.remove(0);

    run(async {
        let mut watched = client(&kit).watch("instance");
        let first = timeout(PATIENCE, watched.changed()).await.unwrap().unwrap();
        let before = status();
        for _ in 0..3 {
            assert!(kit.ctl(&["refresh", "instance"]).status.success());
        }
        let again = timeout(Duration::from_millis(300), watched.changed()).await;
        assert!(again.is_err(), "the same is no news");
        let after = status();
        assert_eq!(after.hand_outs, before.hand_outs, "and is not pushed");
        assert_eq!(after.renewals, before.renewals);
        assert_eq!(times(), 1, "no command is run");
        assert_eq!(kit.calls("imds:Credentials"), 4, "it was asked");

        kit.rotate_instance();
        assert!(kit.ctl(&["refresh", "instance"]).status.success());
        let second = timeout(PATIENCE, watched.changed()).await.unwrap().unwrap();
        assert_ne!(first.access_key_id, second.access_key_id);
    });
    kit.wait_until("the second", || times() == 2);

    let before = kit.document(&["instance"]);
    let asked = kit.calls("imds:Credentials");
    kit.daemon().signal(Signal::SIGUSR2);
    kit.wait_until("the new program", || {
        log(&kit).matches(crate::http::READY).count() == 2
    });
    assert_eq!(kit.document(&["instance"]), before);
    assert_eq!(
        kit.calls("imds:Credentials"),
        asked,
        "the session came along"
    );
    assert_eq!(kit.calls("AssumeRole"), 0);
}

#[test]
fn nothing_narrows_what_is_handed_on_so_it_is_not_leased() {
    let kit = kit_with(&[], "");
    let socket = kit.path("run/lease.sock");
    let socket = socket.to_str().unwrap();
    let output = kit.ctl(&["lease", "instance", "--socket", socket, "--ttl", "20m"]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        complaint.contains("narrows only the session of a role"),
        "{complaint}"
    );
}

#[test]
fn each_way_in_which_metadata_fail_has_a_name() {
    let error = |status: u16| json!({"kind": "error", "code": "Gone", "status": status});
    let service = "the metadata service at 127.0.0.1";
    let role = "the role instance of the metadata service at 127.0.0.1";
    let table: [(&str, Value, [&str; 3]); 16] = [
        (
            "imds:Token",
            error(404),
            [service, "gives no token (status 404)", "allow_v1 = true"],
        ),
        (
            "imds:Token",
            error(403),
            [service, "gives no token (status 403)", "allow_v1 = true"],
        ),
        (
            "imds:Token",
            json!({"kind": "html"}),
            [service, "without a valid token", "allow_v1"],
        ),
        (
            "imds:Token",
            json!({"kind": "reset"}),
            [service, "gives no answer", "metadata_endpoint"],
        ),
        (
            "imds:Token",
            json!({"kind": "half-body"}),
            [service, "ends its answer early", "ECS"],
        ),
        (
            "imds:Token",
            json!({"kind": "hang"}),
            [service, "does not answer in time", "ECS"],
        ),
        (
            "imds:Role",
            error(404),
            [service, "no role for this instance", "attach a RAM role"],
        ),
        (
            "imds:Role",
            error(500),
            [
                service,
                "refuses to answer (status 500)",
                "may be temporary",
            ],
        ),
        (
            "imds:Role",
            json!({"kind": "html"}),
            [service, "without a valid role name", "role_name"],
        ),
        (
            "imds:Credentials",
            error(404),
            [role, "does not exist (status 404)", "attach"],
        ),
        (
            "imds:Credentials",
            error(401),
            [service, "refuses to answer (status 401)", "metadata"],
        ),
        (
            "imds:Credentials",
            json!({"kind": "html"}),
            [role, "no document with credentials", "man stsd-config"],
        ),
        (
            "imds:Credentials",
            json!({"kind": "half-body"}),
            [service, "ends its answer early", "ECS"],
        ),
        (
            "imds:Credentials",
            json!({"kind": "unsuccessful", "code": "RoleNotFound"}),
            [role, "Code is not Success", "man stsd-config"],
        ),
        (
            "imds:Credentials",
            json!({"kind": "empty"}),
            [role, "without an access key id", "man stsd-config"],
        ),
        (
            "imds:Credentials",
            json!({"kind": "expired"}),
            [role, "expired credentials", "renews"],
        ),
    ];
    for (action, fault, expected) in table {
        let kit = kit_with(&[], "");
        kit.fault(&json!({"action": action, "fault": fault}));
        for profile in ["instance", "oss-upload"] {
            let complaint = complaint(&kit, profile);
            for words in expected {
                assert!(complaint.contains(words), "{action} {fault}: {complaint}");
            }
        }
        assert_eq!(kit.calls("AssumeRole"), 0, "nothing to sign with");
        kit.heal();
        kit.wait_until("it is whole again", || {
            kit.shim(&["instance"]).status.success()
        });
    }
}

#[test]
fn what_lives_is_served_on_while_the_metadata_fail() {
    let kit = kit_with(&[], "");
    let before = kit.document(&["instance"]);
    kit.fault(
        &json!({"action": "imds:*", "fault": {"kind": "error", "code": "Oops", "status": 500}}),
    );
    kit.wait_until("a look that fails", || {
        let _ = kit.ctl(&["refresh", "instance"]);
        log(&kit).contains("the metadata service at 127.0.0.1") && log(&kit).contains("status 500")
    });
    assert_eq!(kit.document(&["instance"]), before);
    assert!(
        kit.oss_with("instance", &["put", "examplebucket", "on"], "x")
            .is_ok()
    );
    assert!(
        kit.oss_with("oss-upload", &["put", "examplebucket", "on"], "x")
            .is_ok()
    );
}

#[test]
fn who_is_not_there_is_named_with_host_and_port() {
    let mut kit = Kit::without_daemon(&[]);
    let nobody =
        "[source.instance]\ntype = \"ecs-role\"\nmetadata_endpoint = \"http://127.0.0.1:1\"\n";
    kit.write_config(&format!("{nobody}allow_v1 = true\n{PROFILES}"));
    kit.start_daemon();
    let complaint = complaint(&kit, "instance");
    for words in [
        "the metadata service at 127.0.0.1:1 is not reachable",
        "refused",
        "ECS instance",
    ] {
        assert!(complaint.contains(words), "{complaint}");
    }
}

#[test]
fn metadata_of_version_1_are_for_those_who_allow_it_and_have_no_better() {
    let world = tempfile::tempdir().unwrap();
    let path = world.path().join("world.toml");
    let printed = std::process::Command::new(e2e::program("stsd-emulator"))
        .arg("--print-world")
        .output()
        .unwrap();
    let text = String::from_utf8(printed.stdout).unwrap();
    assert!(text.contains("v1 = false"));
    fs::write(&path, text.replace("v1 = false", "v1 = true")).unwrap();
    let kit = kit_with(&["--world", path.to_str().unwrap()], "");
    let no_token = json!({"action": "imds:Token",
                          "fault": {"kind": "error", "code": "NotFound", "status": 404}});
    kit.fault(&no_token);
    let complaint = complaint(&kit, "instance");
    assert!(complaint.contains("allow_v1 = true"), "{complaint}");
    assert_eq!(
        kit.calls("imds:Credentials"),
        0,
        "it was not asked without a token"
    );

    configure(&kit, "allow_v1 = true\n");
    assert!(kit.ctl(&["reload"]).status.success());
    let put = kit.oss_with("instance", &["put", "examplebucket", "v1"], "x");
    assert!(put.is_ok(), "{put:?}");
    assert!(log(&kit).contains("continuing without a token"));
    kit.heal();
    assert!(kit.ctl(&["refresh", "instance"]).status.success());
    let without = log(&kit).matches("continuing without a token").count();
    assert!(kit.ctl(&["refresh", "instance"]).status.success());
    assert_eq!(
        log(&kit).matches("continuing without a token").count(),
        without,
        "a token is better"
    );
}

#[test]
fn an_address_that_is_not_near_is_refused_before_anything_is_asked() {
    let kit = kit_with(&[], "");
    for bad in [
        "http://metadata.example.com",
        "https://127.0.0.1",
        "http://127.0.0.1/x",
    ] {
        let source =
            format!("[source.instance]\ntype = \"ecs-role\"\nmetadata_endpoint = \"{bad}\"\n");
        kit.write_config(&format!("{source}{PROFILES}"));
        let output = kit.ctl(&["reload"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(said.contains("source.instance.metadata_endpoint"), "{said}");
        assert!(said.contains("100.100.100.200"), "{said}");
    }
    kit.write_config(&format!(
        "{}role_name = \"..\"\n{PROFILES}",
        source(&kit, "")
    ));
    let said = kit.ctl(&["reload"]).stderr;
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("source.instance.role_name"), "{said}");
}
