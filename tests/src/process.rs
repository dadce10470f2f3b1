//! A program that does not outlive its test, with its log in a file.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A running program.
pub struct Process(Child);

impl Process {
    /// Starts a program whose stderr goes to a file.
    #[must_use]
    pub fn start(mut command: Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        Self(command.stderr(log).spawn().unwrap())
    }

    /// Returns the process number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Reads the first line of its stdout.
    pub fn first_line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.0.stdout.as_mut().expect("stdout was piped");
        BufReader::new(stdout).read_line(&mut line).unwrap();
        line
    }

    /// Returns its stdin and stdout, which must be piped and untouched so far.
    pub fn conversation(&mut self) -> (ChildStdin, BufReader<ChildStdout>) {
        let stdin = self.0.stdin.take().expect("stdin was piped");
        let stdout = self.0.stdout.take().expect("stdout was piped");
        (stdin, BufReader::new(stdout))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end, for ten seconds at the most; returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        for _ in 0..500 {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("process {} did not end", self.0.id());
    }

    /// Tells whether it is still running.
    pub fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
