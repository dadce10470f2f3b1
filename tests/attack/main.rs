//! Attacks on the daemon of a machine by users without a rule, and by users of one rule, beside
//! another user that is served meanwhile. `cargo xtask attack` builds and runs this program, as root.
//!
//! For each attack it prints the growth of the daemon's memory, the refusals of the other user, and its
//! latencies: without an attack, beside an attack on a second daemon, and with the attack. It fails
//! when a figure exceeds its bound in `report.rs`.
//!
//! The latencies with the attack are compared with those beside the attack on the second daemon. The
//! attackers and a daemon take processor time in both cases, so that the ratio shows the requests
//! that wait for the attackers' requests in the daemon, and not those that wait for a processor. An
//! attacker pauses between batches and is bounded by the number of its connections; the run ends after
//! a fixed number of rounds.

#![allow(
    clippy::unwrap_used,
    reason = "a failed set-up ends the program by panicking"
)]

mod attacker;
mod attacks;
mod client;
mod report;
mod rounds;

use std::{env, process::ExitCode};

use e2e::{GROUP, SystemDaemon, UnixUser, raise_file_limit, upload_profile};

use self::{attacks::ATTACKS, client::Client, report::Report};

/// The user that is not an attacker, and has a rule of its own.
const FRIEND: UnixUser = UnixUser::new(64_031);

/// Profiles for a group, one of which has a session only if STS answers, and one for the friend.
fn profiles() -> String {
    let members = [format!("group:{GROUP}")];
    let friend = [format!("user:{}", FRIEND.uid)];
    let waiting = upload_profile("waiting", &members).replace("role/oss-upload", "role/oss-read");
    upload_profile("shared", &members)
        + &waiting
        + &upload_profile(client::PROFILE, &friend)
        + "[http]\nlisten = \"127.0.0.1:0\"\n[audit]\nfile = \"audit.jsonl\"\n"
}

/// Starts a daemon; `None` without root.
fn start() -> Option<SystemDaemon> {
    // 3,072 connections, so that attackers reach the limit soon, and no log of each request.
    SystemDaemon::start_in_shell("ulimit -n 4096; RUST_LOG=info", &profiles())
}

fn main() -> ExitCode {
    let (Some(machine), Some(second)) = (start(), start()) else {
        return ExitCode::SUCCESS;
    };
    raise_file_limit();
    machine.assert_shim(FRIEND, client::PROFILE, 0);
    let client = Client::new(machine.env.socket(), FRIEND);
    client.warm_up();
    let mut report = Report::begin(&machine);
    let names: Vec<String> = env::args().skip(1).collect();
    let is_chosen = |name: &str| names.is_empty() || names.iter().any(|it| name.contains(&**it));
    let chosen: Vec<_> = ATTACKS.iter().filter(|it| is_chosen(it.name)).collect();
    assert!(!chosen.is_empty(), "no attack is named {names:?}");
    for attack in chosen {
        let result = rounds::run(attack, &machine, &second, &client);
        report.add(attack, &result);
    }
    report.wait_for_memory(&machine);
    match report.finish() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
