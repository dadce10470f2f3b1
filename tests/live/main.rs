//! The real cloud, once, with a user's own key, role and bucket: `cargo xtask live FILE` builds the
//! programs and runs this one.
//!
//! It starts a daemon in a private directory, and makes the steps of `steps.rs` with the programs
//! themselves: AssumeRole, put, get, one refusal, one renewal and one deliberate error. It deletes its
//! object and its files, and prints a report that holds no secret, no name and no number of the account,
//! so that the report can be sent in. Exit code 0: every step ended as expected; 1: one did not; 2: the
//! file or the command line cannot be used.

mod clock;
mod interruption;
mod mask;
mod oss;
mod report;
mod sandbox;
mod settings;
mod step;
mod steps;
mod sts_failure;

use std::{
    env,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use self::{interruption::Interruption, settings::Settings};

const USAGE: &str = "usage: cargo xtask live FILE, or cargo xtask live --example for such a file";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [argument] = &arguments[..] else {
        return refuse(USAGE);
    };
    match argument.to_str() {
        Some("--example") => {
            print(settings::EXAMPLE);
            ExitCode::SUCCESS
        }
        Some(option) if option.starts_with('-') => refuse(USAGE),
        _ => match Settings::read(Path::new(argument)) {
            Ok(settings) => run(&settings),
            Err(reason) => refuse(&reason),
        },
    }
}

fn run(settings: &Settings) -> ExitCode {
    let report = steps::run(settings, &Interruption::watch());
    print(&report.text());
    match report.is_as_expected() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

fn refuse(reason: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "live: {reason}");
    ExitCode::from(2)
}
