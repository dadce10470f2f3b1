//! The plan and `--write` have one verdict on each profile and on the whole configuration.

use std::{fs, process::Command};

use e2e::{Home, RunOutput, program, run};
use serde_json::{Value, json};

use super::{
    CLI, OURS, home_with,
    profiles::{key, profile, role},
};

const POD: [(&str, &str); 3] = [
    (
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
        "acs:ram::100000000000001:oidc-provider/pod",
    ),
    (
        "ALIBABA_CLOUD_ROLE_ARN",
        "acs:ram::100000000000001:role/pod",
    ),
    ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "/token.jwt"),
];

/// Returns a role of a key with these fields more.
fn keyed(name: &str, more: &[(&str, &str)]) -> Value {
    let mut keyed = profile(name, "RamRoleArn", &[key("LTAIKEYED"), role()]);
    for (field, value) in more {
        keyed[field] = (*value).into();
    }
    keyed
}

/// Runs an import with these variables.
fn import(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> RunOutput {
    let mut command: Command = home.command(&[&["import"], arguments].concat());
    command.envs(variables.iter().copied());
    run(command)
}

/// Returns the lines of the report with the verdict on each profile.
fn verdicts(said: &str) -> Vec<&str> {
    let is_verdict = |it: &&str| it.contains(": taken: ") || it.contains(": not taken: ");
    said.lines().filter(is_verdict).collect()
}

#[test]
fn import_leaves_out_a_region_that_stsd_refuses() {
    let long = "x".repeat(41);
    let endpoint = format!("sts.{long}.aliyuncs.com");
    for (field, value) in [
        ("sts_region", "oss-cn-hangzhou"),
        ("sts_region", long.as_str()),
        ("sts_endpoint", "sts.oss-cn-hangzhou.aliyuncs.com"),
        ("sts_endpoint", "sts-vpc.oss-cn-hangzhou.aliyuncs.com"),
        ("sts_endpoint", endpoint.as_str()),
    ] {
        let home = home_with(&json!([keyed("a", &[(field, value)]), keyed("b", &[])]));
        let shown = home.import(&[]).assert_success();
        let written = home.import(&["--write"]).assert_success();
        assert_eq!(verdicts(&shown), verdicts(&written), "{field} {value}");
        let remark = format!("its {field} is not accepted: ");
        assert!(shown.contains(&remark), "{field} {value}: {shown}");
        assert!(!home.text(OURS).contains("region"), "{field} {value}");
    }
}

#[test]
fn import_takes_an_endpoint_with_a_port_or_upper_case() {
    for (field, value) in [
        ("sts_endpoint", "sts.cn-hangzhou.aliyuncs.com:443"),
        ("sts_endpoint", "HTTPS://STS.CN-Hangzhou.aliyuncs.com/"),
        ("sts_region", "CN-HANGZHOU"),
    ] {
        let home = home_with(&json!([keyed("a", &[(field, value)])]));
        home.import(&["--write"]).assert_success();
        let text = home.text(OURS);
        assert!(text.starts_with("region = \"cn-hangzhou\"\n"), "{text}");
    }
}

/// A refusal that is of no profile is of the whole file, in the plan as with `--write`.
#[test]
fn refusal_of_the_whole_configuration_fails_the_plan_too() {
    let refused = "stsd would refuse the configuration";
    let endpoint = [("ALIBABA_CLOUD_STS_ENDPOINT", "http://sts.x.example")];
    let home = home_with(&json!([keyed("a", &[])]));
    let before = home.files();
    for arguments in [&[][..], &["--write"]] {
        let said = import(&home, arguments, &endpoint).assert_failure(refused);
        assert!(said.contains("ALIBABA_CLOUD_STS_ENDPOINT"), "{said}");
        assert_eq!(home.files(), before);
    }
    // A configuration that names an endpoint does not read the variable.
    home.put(OURS, "region = \"cn-hangzhou\"\n", 0o600);
    import(&home, &[], &endpoint).assert_success();
    import(&home, &["--write"], &endpoint).assert_success();

    let home = home_with(&json!([keyed("a", &[])]));
    home.put(OURS, "vpc = true\n", 0o600);
    let before = home.files();
    for arguments in [&[][..], &["--write"]] {
        home.import(arguments).assert_failure("a region");
        assert_eq!(home.files(), before);
    }
}

/// The existing file exports to the path that the key of the import gets.
#[test]
fn key_at_the_path_of_an_export_fails_the_plan_too() {
    for path in ["prod-user.key", "./prod-user.key", "../stsd/prod-user.key"] {
        let home = home_with(&json!([keyed("prod", &[])]));
        let mine = format!(
            "[source.a]\ntype = \"access-key\"\naccess_key_file = \"a.key\"\n[profile.a]\n\
             source = \"a\"\nrole_arn = \"acs:ram::1:role/r\"\n\
             file = {{ path = \"{path}\", format = \"env\" }}\n"
        );
        home.put(OURS, mine, 0o600);
        let key = "access_key_id = \"LTAIX\"\naccess_key_secret = \"x\"\n";
        home.put(".config/stsd/a.key", key, 0o600);
        let before = home.files();
        for arguments in [&[][..], &["--write"]] {
            let said = home
                .import(arguments)
                .assert_failure("is used for something else as well");
            assert!(!said.contains(".tried-"), "{said}");
            assert_eq!(home.files(), before);
        }
    }
}

#[test]
fn key_file_with_another_key_fails_the_plan_too() {
    let home = home_with(&json!([keyed("prod", &[])]));
    let other = "access_key_id = \"LTAIX\"\naccess_key_secret = \"x\"\n";
    home.put(".config/stsd/prod-user.key", other, 0o600);
    let before = home.files();
    for arguments in [&[][..], &["--write"]] {
        home.import(arguments)
            .assert_failure("prod-user.key is there already and holds something else");
        assert_eq!(home.files(), before);
    }
}

/// stsd would not start again: it refuses an `oidc` source without these values.
#[test]
fn oidc_profile_is_not_imported_without_its_variables() {
    let home = home_with(&json!([
        profile("pod", "OIDC", &[]),
        profile(
            "chain",
            "ChainableRamRoleArn",
            &[role(), json!({"source_profile": "pod"})]
        ),
        keyed("prod", &[]),
    ]));
    for arguments in [&[][..], &["--write"]] {
        let said = home.import(arguments).assert_success();
        for line in [
            "pod (OIDC): not taken: ",
            "chain (ChainableRamRoleArn): not taken: ",
        ] {
            assert!(said.contains(line), "{said}");
        }
        for (name, _) in POD {
            assert!(said.contains(name), "{said}");
        }
        assert!(
            said.contains("run stsctl import with these variables"),
            "{said}"
        );
    }
    let text = home.text(OURS);
    assert!(
        !text.contains("pod") && text.contains("[profile.prod]"),
        "{text}"
    );

    let home = home_with(&json!([profile("pod", "OIDC", &[])]));
    home.import(&["--write"]).assert_failure("nothing to take");
    assert!(!home.file(OURS).exists());
    // One of the variables is not enough.
    import(&home, &["--write"], &POD[..1]).assert_failure("nothing to take");
}

#[test]
fn oidc_profile_in_the_sdks_file_needs_its_variables_too() {
    let home = Home::new();
    home.put(
        ".alibabacloud/credentials",
        "[pod]\ntype = oidc_role_arn\n",
        0o600,
    );
    home.import(&[]).assert_failure("nothing to take");
    home.import(&["--write"]).assert_failure("nothing to take");
    assert!(!home.file(OURS).exists());
}

#[test]
fn oidc_profile_is_imported_with_its_variables_and_found_again() {
    let home = home_with(&json!([profile("pod", "OIDC", &[])]));
    home.put("token.jwt", "a.b.c", 0o600);
    let token = home.file("token.jwt").display().to_string();
    let pod = [POD[0], POD[1], (POD[2].0, token.as_str())];
    import(&home, &[], &pod).assert_success();
    let said = import(&home, &["--write"], &pod).assert_success();
    assert!(said.contains("pod (OIDC): taken: "), "{said}");
    let mut check = Command::new(program("stsd"));
    check
        .arg("--check")
        .env_clear()
        .env("STSD_CONFIG", home.file(OURS));
    check.envs(pod);
    run(check).assert_success();
    // Existing tables need no variables, and other profiles are imported beside them.
    let said = home.import(&["--write"]).assert_success();
    assert!(said.contains("has it all already"), "{said}");
    let both = json!({"profiles": [profile("pod", "OIDC", &[]), keyed("prod", &[])]});
    home.put(CLI, both.to_string(), 0o600);
    home.import(&[]).assert_success();
    home.import(&["--write"]).assert_success();
    assert!(home.text(OURS).contains("[profile.prod]"));
}

#[test]
fn plan_leaves_no_file_beside_the_configuration() {
    let home = home_with(&json!([keyed("a", &[])]));
    fs::create_dir(home.file("empty")).unwrap();
    let mut command = home.command(&["import"]);
    command.env("STSD_CONFIG", home.file("empty/config.toml"));
    run(command).assert_success();
    assert_eq!(fs::read_dir(home.file("empty")).unwrap().count(), 0);
}
