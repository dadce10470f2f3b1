//! The audit on the daemon's standard output.

use std::{fs::File, io::Read as _, os::unix::fs::OpenOptionsExt as _, process::Command};

use e2e::{TestEnv, UPLOAD, program};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    sys::stat::Mode,
    unistd::mkfifo,
};
use serde_json::Value;

/// The bytes of the pipe: two pages, for about a dozen lines.
const PIPE_BYTES: i32 = 8192;

/// Requests until the pipe is full, and far more.
const MAX_REQUESTS: usize = 100;

/// Starts a daemon whose standard output is a small pipe; returns the end that reads, which does not
/// block.
fn start() -> (TestEnv, File) {
    let mut env = TestEnv::without_daemon(&[]);
    env.write_config(&format!("{UPLOAD}[audit]\nfile = \"-\"\n"));
    let fifo = env.path("stdout");
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let mut options = File::options();
    let options = options.read(true).write(true);
    let reader = options.custom_flags(OFlag::O_NONBLOCK.bits());
    let reader = reader.open(&fifo).unwrap();
    fcntl(&reader, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES)).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" > \"$1\""]);
    command.arg(program("stsd")).arg(&fifo);
    let stsd = env.daemon_command();
    let variables = stsd.get_envs();
    command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    env.start_daemon_with(command);
    (env, reader)
}

/// Returns the lines in the pipe.
fn lines(reader: &mut File) -> Vec<Value> {
    let mut text = Vec::new();
    let end = reader.read_to_end(&mut text).unwrap_err();
    assert_eq!(end.raw_os_error(), Some(Errno::EAGAIN as i32));
    let text = String::from_utf8(text).unwrap();
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    text.lines().map(line).collect()
}

fn has_lost_lines(env: &TestEnv) -> bool {
    let metrics = env.ctl(&["metrics"]).stdout;
    let metrics = String::from_utf8(metrics).unwrap();
    metrics.contains("stsd_condition_failing{condition=\"audit_file\"} 1\n")
}

#[test]
fn unread_audit_on_stdout_delays_no_request_and_counts_lost_lines() {
    let (env, mut reader) = start();
    let first = env.document(&["oss-upload"]);
    let mut served = 1;
    while !has_lost_lines(&env) {
        assert!(served < MAX_REQUESTS, "the pipe is never full");
        let _ = env.document(&["oss-upload"]);
        served += 1;
    }
    // Renewals and requests go on.
    assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
    assert_ne!(env.document(&["oss-upload"]), first);
    let doctor = String::from_utf8(env.ctl(&["doctor"]).stdout).unwrap();
    let words = "audit lines are lost: cannot write to the standard output: it is not read";
    assert!(doctor.contains(words), "{doctor}");

    let read = lines(&mut reader);
    assert!(read.len() > 5 && read.len() <= served, "{}", read.len());
    assert_eq!(read[0]["decision"], "ready");
    assert_eq!(read[0]["access_key_id"], first["access_key_id"]);
    let _ = env.document(&["oss-upload"]);
    assert_eq!(lines(&mut reader).len(), 1);
    assert!(!has_lost_lines(&env));
    let log = env.daemon_log();
    assert!(log.contains("to the standard output works again"), "{log}");
}

#[test]
fn log_says_that_the_events_are_on_stdout() {
    let (env, _reader) = start();
    let output = env.ctl(&["log"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    for words in ["standard output", "hint: ", "kubectl logs"] {
        assert!(complaint.contains(words), "{words}: {complaint}");
    }
}

#[test]
fn path_of_the_kernel_for_stdout_names_the_key() {
    let env = TestEnv::without_daemon(&[]);
    for path in ["/dev/stdout", "/proc/self/fd/1"] {
        env.write_config(&format!("{UPLOAD}[audit]\nfile = \"{path}\"\n"));
        let complaint = env.check_error();
        assert!(
            complaint.contains("\"-\" is the daemon's standard output"),
            "{complaint}"
        );
    }
}
