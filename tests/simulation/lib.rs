//! A deterministic simulation of the refresh engine: the daemon's own code over months of paused time,
//! with outages, suspends, clock steps and reloads. The promises that every run checks:
//!
//! - no expired session is served, and none that a reload has removed;
//! - while an outage is shorter than the remaining lifetime at its start less the longest
//!   back-off, no caller is refused;
//! - STS gets no more calls than renewals and the retries that the rate limit allows;
//! - one capped back-off after an outage every profile has a new session;
//! - every caller has an answer within its patience;
//! - ten thousand profiles do not delay the renewal of one profile;
//! - the machines of a fleet keep within the quota that they share (`fleet`).
//!
//! `cargo xtask simulate --seeds 100000` runs more than the gate does, and
//! `cargo xtask simulate --seed 4711` repeats one.

#![cfg(test)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clock;
mod cloud;
mod fleet;
mod many;
mod plan;
mod run;

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use plan::Plan;

/// Default number of seeds.
const SEEDS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

fn check(seed: u64) -> run::Tally {
    run::run(Plan::draw(seed)).unwrap_or_else(|faults| {
        panic!(
            "seed {seed} (cargo xtask simulate --seed {seed}):\n{}",
            faults.join("\n")
        )
    })
}

#[test]
fn no_seed_breaks_a_promise() {
    if let Some(seed) = number("SIMULATION_SEED") {
        eprintln!("seed {seed}: {:?}", check(seed));
        return;
    }
    let seeds = number("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let (next, asked) = (AtomicU64::new(0), AtomicU64::new(0));
    let (calls, refused, recoveries) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, Into::into) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let tally = check(seed);
                    asked.fetch_add(tally.ready + tally.short + tally.refused, Ordering::Relaxed);
                    calls.fetch_add(tally.calls, Ordering::Relaxed);
                    refused.fetch_add(tally.refused, Ordering::Relaxed);
                    recoveries.fetch_add(tally.recoveries, Ordering::Relaxed);
                }
            });
        }
    });
    eprintln!(
        "seeds 0 to {}: {asked:?} answers, {refused:?} refusals, {calls:?} calls to STS, \
         {recoveries:?} profiles checked after an outage",
        seeds - 1
    );
    // Runs without a refusal or an outage would prove nothing.
    assert!(refused.into_inner() > 0 && recoveries.into_inner() > 0);
}

#[test]
fn equal_seeds_have_equal_runs() {
    for seed in [0, 1, 2, 7, 19] {
        assert_eq!(check(seed), check(seed), "seed {seed}");
    }
}
