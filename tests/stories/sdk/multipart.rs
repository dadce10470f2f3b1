//! Multipart uploads by official SDKs: new credentials between two parts of one object, and the
//! helpers of the SDKs for large files.

use std::process::Command;

use e2e::{
    Action, SdkProgram, SetUp, TestEnv, held_key, node_program, python_program, sdk_env,
    with_aws_profile, without_variables,
};

/// The parts that the programs in tests/clients upload: their number, and the text of each behind
/// its number.
const PARTS: u64 = 3;
const PART: &str = "part";
const PART_REPETITIONS: usize = 25 * 1024;

/// Renewals after which the first session has ended: each comes after half of a lifetime or more.
const RENEWALS_PAST_THE_END: usize = 3;

/// Uploads an object in three parts. The session of a part has ended before the next one is uploaded.
#[track_caller]
fn new_keys_between_parts(command: fn(&TestEnv) -> Command, set_up: SetUp, key: &str) {
    let env = sdk_env(&["--session-life", "8s"]);
    let mut program = SdkProgram::start(&env, command(&env), set_up);
    for part in 1..=PARTS {
        program.call(1);
        if part == PARTS {
            break;
        }
        for _ in 0..RENEWALS_PAST_THE_END {
            let before = held_key(&env);
            env.wait_until("a rotation", || held_key(&env) != before);
        }
    }
    let count = |action| env.emulator().outcomes(action, "ok");
    assert_eq!(count(Action::OssInitiateMultipartUpload), 1);
    assert_eq!(count(Action::OssUploadPart), PARTS);
    assert_eq!(count(Action::OssCompleteMultipartUpload), 1);
    let whole: String = (1..=PARTS)
        .map(|number| format!("{number}{}", PART.repeat(PART_REPETITIONS)))
        .collect();
    let found = env.oss_with_profile("oss-upload", &["get", "examplebucket", key], "");
    assert!(found == Ok(whole), "the object is another one");
}

#[test]
fn oss2_upload_survives_new_keys_between_parts() {
    new_keys_between_parts(
        |env| python_program(env, "consumers.py", "oss2-in-parts"),
        without_variables,
        "parts/oss2",
    );
}

#[test]
fn boto3_upload_survives_new_keys_between_parts() {
    new_keys_between_parts(
        |env| python_program(env, "consumers.py", "boto3-in-parts"),
        with_aws_profile,
        "parts/boto3",
    );
}

#[test]
fn ali_oss_upload_survives_new_keys_between_parts() {
    new_keys_between_parts(
        |env| {
            let mut command = node_program(env, "uri", "1");
            command.arg("parts");
            command
        },
        without_variables,
        "parts/ali-oss",
    );
}

/// Uploads a file of 20 MiB with the helper of an SDK, which makes the parts itself.
#[track_caller]
fn large_file(consumer: &str, set_up: SetUp, parts: u64) {
    let env = sdk_env(&[]);
    let command = python_program(&env, "consumers.py", consumer);
    SdkProgram::start(&env, command, set_up).call(1);
    let count = |action| env.emulator().outcomes(action, "ok");
    assert_eq!(count(Action::OssUploadPart), parts);
    assert_eq!(count(Action::OssCompleteMultipartUpload), 1);
    assert_eq!(env.emulator().calls(Action::OssOther), 0);
}

#[test]
fn oss2_helper_uploads_a_large_file() {
    large_file("oss2-file", without_variables, 2);
}

#[test]
fn boto3_helper_uploads_a_large_file() {
    large_file("boto3-file", with_aws_profile, 3);
}
