//! Programs that upload once a second and outlive their credentials many times over.

use std::{collections::BTreeSet, thread, time::Duration};

use crate::sdk_kit::{Consumer, aliyun_config, as_told, asks, held, node, python, world};

/// Lets Python and Node upload once a second, so many times, with sessions that live so long.
#[track_caller]
fn uploads(life: &str, interval: &str, uploads: u64) {
    let kit = world(&["--session-life", life]);
    let config = aliyun_config(&kit);
    let start = |command| Consumer::start(&kit, command, as_told);
    let by_python = |consumer| python(&kit, "consumers.py", consumer);
    let mut programs = [
        start(by_python("oss2")),
        start(by_python("oss-v2")),
        start(node(&kit, "uri", interval)),
    ];
    let mut sessions = BTreeSet::new();
    for _ in 0..uploads {
        for program in &mut programs {
            program.calls(1);
        }
        sessions.extend(held(&kit));
        thread::sleep(Duration::from_secs(1));
    }
    let rotations = sessions.len() - 1;
    assert!(rotations >= 5, "{rotations} rotations");
    let done = kit.calls("oss:PutObject");
    assert_eq!(done, uploads * 3, "an SDK had to try again");
    assert!(aliyun_config(&kit) == config, "config.json was written");
    e2e::measured(&format!(
        "{done} uploads by oss2, alibabacloud-oss-v2 and ali-oss, sessions of {life}: no failure, \
         {rotations} rotations, {} asks, {} calls of AssumeRole",
        asks(&kit),
        kit.calls("AssumeRole")
    ));
}

#[test]
fn a_minute_of_uploads_outlives_many_sessions() {
    // An SDK is given a third of a session's life at the least, and ali-oss does not look: it asks
    // again in less than a third of that, so that a call may take as long as the rest.
    uploads("18s", "1500", 60);
}

#[test]
#[ignore = "takes ten minutes: cargo xtask soak"]
fn ten_minutes_of_uploads_outlive_many_sessions() {
    uploads("60s", "15000", 600);
}
