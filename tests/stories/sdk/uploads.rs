//! Programs that upload once a second through many rotations.

use std::{collections::BTreeSet, thread, time::Duration};

use e2e::{
    Action, SdkProgram, aliyun_config, held_key, node_program, python_program, sdk_env, served,
    without_variables,
};

/// Uploads once a second in Python and Node, with sessions of that lifetime.
#[track_caller]
fn uploads(life: &str, interval: &str, uploads: u64) {
    let env = sdk_env(&["--session-life", life]);
    let config = aliyun_config(&env);
    let start = |command| SdkProgram::start(&env, command, without_variables);
    let by_python = |consumer| python_program(&env, "consumers.py", consumer);
    let mut programs = [
        start(by_python("oss2")),
        start(by_python("oss-v2")),
        start(node_program(&env, "uri", interval)),
    ];
    let mut sessions = BTreeSet::new();
    for _ in 0..uploads {
        for program in &mut programs {
            program.call(1);
        }
        sessions.extend(held_key(&env));
        thread::sleep(Duration::from_secs(1));
    }
    let rotations = sessions.len() - 1;
    assert!(rotations >= 5, "{rotations} rotations");
    let done = env.emulator().calls(Action::OssPutObject);
    assert_eq!(done, uploads * 3, "an SDK had to try again");
    assert!(aliyun_config(&env) == config, "config.json was written");
    e2e::measured(&format!(
        "{done} uploads by oss2, alibabacloud-oss-v2 and ali-oss, sessions of {life}: no failure, \
         {rotations} rotations, {} asks, {} calls of AssumeRole",
        served(&env),
        env.emulator().calls(Action::AssumeRole)
    ));
}

#[test]
fn one_minute_of_uploads_survives_many_rotations() {
    // An SDK gets a third of a session's lifetime or more. ali-oss does not read the expiration: it
    // requests credentials in less than a third of that, which leaves the rest for a call.
    uploads("18s", "1500", 60);
}

#[test]
#[ignore = "takes ten minutes: cargo xtask soak"]
fn ten_minutes_of_uploads_survive_many_rotations() {
    uploads("60s", "15000", 600);
}
