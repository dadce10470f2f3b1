//! The first calls of a fleet as arithmetic, without tasks and clocks: the quota, and the pauses of the
//! daemon's own `Quota` and `schedule`. Renewals are not in the model. It is fast enough for 100,000
//! machines in the gate; a test compares it with the simulation at a size that both can run.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use fastrand::Rng;
use stsd::{refresh::schedule::fleet_backoff, runtime::clock::BootTime, sts::quota::Quota};

use super::{Boot, Figures, PATIENCE, cloud::QuotaBucket};

/// A machine without its first session.
struct Machine {
    asked: Duration,
    failures: u32,
    quota: Quota,
}

/// Returns the figures of the first sessions of all machines.
pub(super) fn first_calls(boot: &Boot) -> Figures {
    fastrand::seed(boot.seed);
    let mut random = Rng::with_seed(boot.seed);
    let mut bucket = QuotaBucket::new(boot.quota);
    let mut calls = BinaryHeap::new();
    let mut machines = Vec::new();
    for index in 0..boot.machines {
        let asked = Boot::WINDOW.mul_f64(random.f64());
        let delay = match boot.callers {
            true => Duration::ZERO,
            false => boot.spread.mul_f64(random.f64()),
        };
        calls.push(Reverse((asked + delay, index)));
        machines.push(Machine {
            asked,
            failures: 0,
            quota: Quota::default(),
        });
    }
    let others = boot.machines;
    push_others(boot, &mut calls, &mut random);
    let mut figures = Figures {
        machines: boot.machines,
        ..Figures::default()
    };
    while let Some(Reverse((now, index))) = calls.pop() {
        if index >= others {
            // The number is that of the try.
            let counts = u64::from(figures.first.len() < boot.machines);
            figures.others_asked += u64::from(index == others) * counts;
            match bucket.take(now) {
                true => figures.others_served += counts,
                false if index < others + 3 => {
                    let pause = 0.5 * f64::from(1 << (index - others)) * (0.5 + random.f64());
                    calls.push(Reverse((now + Duration::from_secs_f64(pause), index + 1)));
                }
                false => {}
            }
            continue;
        }
        let machine = &mut machines[index];
        figures.count_offer(now);
        if bucket.take(now) {
            figures.first.push(now);
            continue;
        }
        figures.refused += 1;
        machine.failures += 1;
        let at = BootTime::from_duration(now);
        let pause = machine.quota.refused(at, at, boot.hint);
        let has_caller = boot.callers && now < machine.asked + PATIENCE;
        let spread = match has_caller {
            true => Duration::ZERO,
            false => boot.spread,
        };
        let fleet = fleet_backoff(2 * machine.failures, None, spread, random.f64());
        calls.push(Reverse((now + pause.max(fleet), index)));
    }
    figures.served = figures.first.len() as u64;
    figures.refused_at_start = figures.refused;
    figures
}

/// Adds the calls of the other users, for as long as the start of the fleet takes about.
fn push_others(boot: &Boot, calls: &mut BinaryHeap<Reverse<(Duration, usize)>>, random: &mut Rng) {
    if boot.others == 0.0 {
        return;
    }
    let mut at = 0.0;
    while at < Boot::LENGTH.as_secs_f64() {
        at -= random.f64().max(1e-9).ln() / (boot.others * boot.quota);
        calls.push(Reverse((Duration::from_secs_f64(at), boot.machines)));
    }
}
