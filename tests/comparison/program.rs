//! One program that gets credentials, with an emulator of its own.

use std::process::{Child, Output, Stdio};

use e2e::{TestEnv, UPLOAD};
use serde_json::Value;

use crate::driver::Driver;

/// The patience of `sts-shim`: less than the default of ten seconds, which shortens the gate, and
/// enough on a busy machine.
const PATIENCE: &str = "5s";

/// A subject of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Python,
    Node,
    Stsd,
}

/// The AccessKey id, or the reason of a refusal.
pub(crate) type Got = Result<String, Refusal>;

/// The answer to a caller without credentials.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// The error's class, or the program's exit code.
    pub name: String,
    pub message: String,
}

impl Refusal {
    /// Returns `true` if the message has the error code of STS.
    pub(crate) fn names_the_cause(&self) -> bool {
        self.message.contains(crate::measure::OUTAGE)
    }
}

/// The program and its emulator.
pub(crate) struct Program {
    /// `None` for stsd, where every get is a process of its own. The driver ends before its emulator.
    driver: Option<Driver>,
    pub(crate) env: TestEnv,
}

impl Program {
    /// Starts a program that requests sessions of a duration, and its emulator with arguments.
    pub(crate) fn start(subject: Subject, duration_seconds: u32, emulator: &[&str]) -> Self {
        let (env, driver) = match subject {
            Subject::Stsd => {
                let profile = format!("{UPLOAD}duration = \"{duration_seconds}s\"\n");
                (TestEnv::with(emulator, &profile), None)
            }
            Subject::Python => {
                let env = TestEnv::without_daemon(emulator);
                let driver = Driver::python(&env, duration_seconds);
                (env, Some(driver))
            }
            Subject::Node => {
                let env = TestEnv::without_daemon(emulator);
                let driver = Driver::node(&env, duration_seconds);
                (env, Some(driver))
            }
        };
        Self { driver, env }
    }

    /// Returns the name of the program in the table.
    pub(crate) fn library(&self) -> String {
        let driver = self.driver.as_ref();
        driver.map_or("stsd".into(), |driver| driver.library.clone())
    }

    /// Returns the runtime of the program; `None` for stsd.
    pub(crate) fn runs_on(&self) -> Option<String> {
        self.driver.as_ref().map(|driver| driver.runs_on.clone())
    }

    /// Gets credentials in a row.
    pub(crate) fn in_a_row(&mut self, gets: usize) -> Vec<Got> {
        if let Some(driver) = &mut self.driver {
            return driver.get(&self.env, "in-a-row", gets);
        }
        let get = |_| self.finish(self.shim());
        (0..gets).map(get).collect()
    }

    /// Gets credentials in threads, promises or processes that start at once.
    pub(crate) fn at_once(&mut self, gets: usize) -> Vec<Got> {
        if let Some(driver) = &mut self.driver {
            return driver.get(&self.env, "at-once", gets);
        }
        let shims: Vec<_> = (0..gets).map(|_| self.shim()).collect();
        shims.into_iter().map(|shim| self.finish(shim)).collect()
    }

    fn shim(&self) -> Child {
        let arguments = ["--patience", PATIENCE, "oss-upload"];
        let mut command = self.env.shim_command(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn finish(&self, shim: Child) -> Got {
        let output = shim.wait_with_output().unwrap();
        e2e::assert_no_secrets("sts-shim's stderr", &output.stderr);
        read(&output)
    }
}

fn read(output: &Output) -> Got {
    if output.status.success() {
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        return Ok(document["AccessKeyId"].as_str().unwrap().into());
    }
    assert!(output.stdout.is_empty(), "a refusal came with a document");
    Err(Refusal {
        name: format!("exit code {}", output.status.code().unwrap()),
        message: String::from_utf8_lossy(&output.stderr).into(),
    })
}
