//! Lines for the report of the gate.

use std::{
    env, fs,
    io::{self, Write as _},
    thread,
};

/// Reports that this machine cannot run a story, or a part of it. The line goes to standard error,
/// and to the file that `cargo xtask` names, because test runners hide what passing tests print.
pub fn not_run(reason: &str) {
    report("NOT RUN", reason, "STSD_TEST_NOT_RUN");
}

/// Reports a figure that a story has measured and does not judge.
pub fn measured(figure: &str) {
    report("MEASURED", figure, "STSD_TEST_MEASURED");
}

fn report(kind: &str, text: &str, file_variable: &str) {
    let story = thread::current().name().unwrap_or("a story").to_owned();
    let _ = writeln!(io::stderr(), "{kind}: {story}: {text}");
    let Some(path) = env::var_os(file_variable) else {
        return;
    };
    let mut options = fs::OpenOptions::new();
    let mut file = options.create(true).append(true).open(path).unwrap();
    // One write for the line: other stories add theirs at the same time.
    file.write_all(format!("{story}: {text}\n").as_bytes())
        .unwrap();
}
