//! The rounds of one attack: the other user is measured without and with it in turn, so that other
//! programs of the machine disturb both alike. A round that they disturb does not change the median.

use std::{sync::atomic::Ordering, thread, time::Duration};

use e2e::{Action, SystemDaemon};

use crate::{
    attacker::{self, Progress},
    attacks::Attack,
    client::{Client, Samples},
};

/// Rounds of an attack.
const ROUNDS: usize = 9;

/// Requests of the other user in each half of a round.
const REQUESTS: usize = 300;

/// The time for the attackers to open connections before the other user is measured.
const RAMP: Duration = Duration::from_millis(800);

/// The time for the daemon to close the connections of a round.
const PAUSE: Duration = Duration::from_millis(200);

/// The figures of one attack.
pub(crate) struct Outcome {
    /// The samples without and with the attack, of each round.
    pub(crate) rounds: Vec<(Samples, Samples)>,
    /// The largest resident memory of the daemon, in KiB.
    pub(crate) peak_kib: u64,
    /// The connections that the attackers have opened.
    pub(crate) opened: u64,
    /// The calls to STS.
    pub(crate) calls: u64,
}

/// Runs an attack.
pub(crate) fn run(attack: &Attack, machine: &SystemDaemon, client: &Client) -> Outcome {
    let (daemon, emulator) = (machine.env.daemon(), machine.env.emulator());
    let (plan, users) = ((attack.plan)(machine), attack.users.all());
    let calls = emulator.calls(Action::AssumeRole);
    let mut outcome = Outcome {
        rounds: Vec::new(),
        peak_kib: daemon.resident_kib(),
        opened: 0,
        calls: 0,
    };
    if let Some((action, fault)) = attack.fault {
        emulator.inject_fault(action, fault);
    }
    for _ in 0..ROUNDS {
        let without = client.request(REQUESTS);
        let progress = Progress::default();
        let with = thread::scope(|scope| {
            for user in &users {
                scope.spawn(|| attacker::attack(*user, &plan, &progress));
            }
            thread::sleep(RAMP);
            let with = client.request(REQUESTS);
            outcome.peak_kib = outcome.peak_kib.max(daemon.resident_kib());
            progress.is_over.store(true, Ordering::Relaxed);
            with
        });
        outcome.rounds.push((without, with));
        outcome.opened += progress.opened.into_inner();
        thread::sleep(PAUSE);
    }
    emulator.clear_faults();
    outcome.calls = emulator.calls(Action::AssumeRole) - calls;
    outcome
}
