//! A plan and the configuration that exists already.

use super::{KEY, ROLE, read};
use crate::aliyun_profiles::Disposition;

#[test]
fn existing_table_stays_and_is_not_added_again() {
    let text = format!(
        r#"{{"profiles":[{{"name":"k","mode":"AK",{KEY}}},
        {{"name":"c","mode":"ChainableRamRoleArn","source_profile":"k",{ROLE}}}]}}"#
    );
    let config: toml::Table = toml::from_str(&read(&text).addition()).unwrap();
    let mut again = read(&text);
    again.merge_into(&config);
    assert!(again.tables.is_empty() && again.secrets.is_empty());
    assert!(
        again
            .outcomes
            .iter()
            .all(|it| it.disposition == Disposition::AlreadyPresent)
    );

    // Half of it is there.
    let mut half = read(&text);
    let source = "[source.k]\ntype = \"access-key\"\naccess_key_file = \"k.key\"\n";
    half.merge_into(&toml::from_str(source).unwrap());
    assert_eq!(half.tables.len(), 1);
    assert!(half.secrets.is_empty());

    let mut other = read(&text);
    let source = source.replace("k.key", "mine.key");
    other.merge_into(&toml::from_str(&source).unwrap());
    assert!(other.tables.is_empty());
    for outcome in &other.outcomes {
        let Disposition::Skipped(reason) = &outcome.disposition else {
            panic!("{outcome:?}")
        };
        assert!(
            reason.contains("[source.k] exists with other values"),
            "{reason}"
        );
    }
}

#[test]
fn excluded_table_excludes_only_its_dependents() {
    let plan = || {
        read(&format!(
            r#"{{"profiles":[{{"name":"a","mode":"RamRoleArn",{KEY},{ROLE}}},
            {{"name":"a.b","mode":"EcsRamRole"}},
            {{"name":"c","mode":"ChainableRamRoleArn","source_profile":"a",{ROLE}}}]}}"#
        ))
    };
    let check = |key: &str, left: &[bool]| {
        let mut plan = plan();
        assert_eq!(
            plan.exclude(key, "it is so"),
            left.contains(&false),
            "{key}"
        );
        plan.merge_into(&toml::Table::new());
        let taken = plan
            .outcomes
            .iter()
            .map(|it| it.disposition == Disposition::Converted);
        assert_eq!(taken.collect::<Vec<_>>(), left, "{key}");
        assert_eq!(plan.secrets.len(), usize::from(left[0]));
    };
    check("source.a-user.access_key_file", &[false, true, false]);
    check("profile.a.duration", &[false, true, false]);
    check("profile.a", &[false, true, false]);
    check("profile.a.b.source", &[true, false, true]);
    check("profile.c.policy", &[true, true, false]);
    check("profile.x", &[true, true, true]);
    check("region", &[true, true, true]);
}

/// `source = "ops"` means a source before it means a profile.
#[test]
fn import_never_changes_what_a_source_name_refers_to() {
    let check = |profiles: &str, config: &str, reason: &str| {
        let mut plan = read(&format!("{{\"profiles\":[{profiles}]}}"));
        plan.merge_into(&toml::from_str(config).unwrap());
        let last = plan.outcomes.last().unwrap();
        match &last.disposition {
            Disposition::Skipped(said) => {
                assert!(!reason.is_empty() && said.contains(reason), "{said}")
            }
            other => assert!(reason.is_empty(), "{other:?}"),
        }
    };
    let key = format!(r#"{{"name":"ops","mode":"AK",{KEY}}}"#);
    let chain = "[source.base]\ntype = \"ecs-role\"\n[profile.ops]\nsource = \"base\"\n";
    let deep = "[profile.deep]\nsource = \"ops\"\nrole_arn = \"acs:ram::1:role/d\"\n";
    check(
        &key,
        &format!("{chain}{deep}"),
        "[profile.deep] there builds on the profile ops",
    );
    // No profile builds on it.
    check(&key, chain, "");

    let chained = format!(
        r#"{{"name":"ops","mode":"RamRoleArn",{KEY},{ROLE}}},
        {{"name":"deep","mode":"ChainableRamRoleArn","source_profile":"ops",{ROLE}}}"#
    );
    let other = "[source.ops]\ntype = \"ecs-role\"\n";
    check(&chained, other, "[source.ops] is there already");
    check(&chained, "", "");
}
