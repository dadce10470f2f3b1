//! The rounds of one attack: the other user is measured without an attack, beside an attack on a
//! second daemon, and with the attack, in turn, so that other programs of the machine disturb all three
//! alike. A round that they disturb does not change the median.

use std::{sync::atomic::Ordering, thread, time::Duration};

use e2e::{Action, SystemDaemon};

use crate::{
    attacker::{self, Progress},
    attacks::Attack,
    client::{Client, Samples},
};

/// Rounds of an attack.
const ROUNDS: usize = 9;

/// Requests of the other user in each part of a round.
const REQUESTS: usize = 300;

/// The time for the attackers to open connections before the other user is measured.
const RAMP: Duration = Duration::from_millis(800);

/// The time for the daemon to close the connections of a round.
const PAUSE: Duration = Duration::from_millis(200);

/// The samples of one round.
pub(crate) struct Round {
    pub(crate) without: Samples,
    /// Beside an attack on the second daemon.
    pub(crate) beside: Samples,
    pub(crate) with: Samples,
}

/// The figures of one attack.
pub(crate) struct Outcome {
    pub(crate) rounds: Vec<Round>,
    /// The largest resident memory of the daemon, in KiB.
    pub(crate) peak_kib: u64,
    /// The connections that the attackers have opened.
    pub(crate) opened: u64,
    /// The calls to STS.
    pub(crate) calls: u64,
}

/// Runs an attack on a daemon, and in turn on the second one.
pub(crate) fn run(
    attack: &Attack,
    machine: &SystemDaemon,
    second: &SystemDaemon,
    client: &Client,
) -> Outcome {
    let calls = || machine.env.emulator().calls(Action::AssumeRole);
    let (calls_before, daemons) = (calls(), [machine, second]);
    if let Some((action, fault)) = attack.fault {
        for daemon in daemons {
            daemon.env.emulator().inject_fault(action, fault);
        }
    }
    machine.env.daemon().reset_peak();
    let (mut rounds, mut opened) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let without = client.request(REQUESTS);
        let (beside, _) = request_during(attack, second, client);
        let (with, opened_now) = request_during(attack, machine, client);
        opened += opened_now;
        rounds.push(Round {
            without,
            beside,
            with,
        });
    }
    for daemon in daemons {
        daemon.env.emulator().clear_faults();
    }
    Outcome {
        rounds,
        peak_kib: machine.env.daemon().peak_resident_kib(),
        opened,
        calls: calls() - calls_before,
    }
}

/// Measures the other user during an attack on a daemon; returns the number of the attackers'
/// connections as well.
fn request_during(attack: &Attack, attacked: &SystemDaemon, client: &Client) -> (Samples, u64) {
    let (plan, users) = ((attack.plan)(attacked), attack.users.all());
    let progress = Progress::default();
    let samples = thread::scope(|scope| {
        for user in &users {
            scope.spawn(|| attacker::attack(*user, &plan, &progress));
        }
        thread::sleep(RAMP);
        let samples = client.request(REQUESTS);
        progress.is_over.store(true, Ordering::Relaxed);
        samples
    });
    thread::sleep(PAUSE);
    (samples, progress.opened.into_inner())
}
