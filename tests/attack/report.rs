//! The figures of all attacks, and their bounds.

use std::{
    fs,
    io::{self, Write as _},
    thread,
    time::Duration,
};

use e2e::SystemDaemon;

use crate::{
    attacks::Attack,
    client::Samples,
    rounds::{Outcome, Round},
};

/// Maximum growth of the daemon's resident memory.
const MAX_GROWTH_KIB: u64 = 32 * 1024;

/// Maximum part of the growth that is left after [`RELEASE_TIME`].
const MAX_GROWTH_LEFT: f64 = 0.1;

/// Growth that counts as none: the kernel maps pages of the program and its libraries at first use.
const GROWTH_FLOOR_KIB: u64 = 1024;

/// The time in which the daemon returns memory.
const RELEASE_TIME: Duration = Duration::from_secs(30);

/// Maximum of the other user's p99 with an attack, as a ratio to that beside an attack on a second
/// daemon: the median of all rounds.
const MAX_P99_RATIO: f64 = 2.0;

/// A p99 below this counts as this: two equal rounds differ by a preemption, which takes a time slice
/// of the scheduler.
const P99_FLOOR: Duration = Duration::from_millis(1);

/// Maximum growth of the audit's file by all attacks: the bursts of the audit's rate limit.
const MAX_AUDIT_BYTES: u64 = 4 * 1024 * 1024;

/// The figures so far.
pub(crate) struct Report {
    before_kib: u64,
    growth_kib: u64,
    faults: Vec<String>,
}

impl Report {
    pub(crate) fn begin(machine: &SystemDaemon) -> Self {
        say("    growth  p99 without    beside      with  ratio  refused  calls  attack");
        Self {
            before_kib: machine.env.daemon().resident_kib(),
            growth_kib: 0,
            faults: Vec::new(),
        }
    }

    /// Prints and judges the figures of one attack.
    pub(crate) fn add(&mut self, attack: &Attack, outcome: &Outcome) {
        let name = attack.name;
        let growth = outcome.peak_kib.saturating_sub(self.before_kib);
        self.growth_kib = self.growth_kib.max(growth);
        let of_rounds =
            |figure: fn(&Round) -> f64| median(outcome.rounds.iter().map(figure).collect());
        let ratio = of_rounds(|round| {
            let floored = |samples: &Samples| samples.p99().max(P99_FLOOR).as_secs_f64();
            floored(&round.with) / floored(&round.beside)
        });
        let rounds = outcome.rounds.iter();
        let refusals: Vec<_> = rounds
            .flat_map(|it| [&it.without, &it.beside, &it.with])
            .flat_map(|it| &it.refusals)
            .collect();
        say(&format!(
            "{growth:6} KiB  {:8.3} ms  {:5.3} ms  {:5.3} ms  {ratio:5.2}  {:7}  {:5}  {name} ({} connections)",
            of_rounds(|round| millis(&round.without)),
            of_rounds(|round| millis(&round.beside)),
            of_rounds(|round| millis(&round.with)),
            refusals.len(),
            outcome.calls,
            outcome.opened
        ));
        self.check(
            name,
            growth <= MAX_GROWTH_KIB,
            "the memory grows by more than 32 MiB",
        );
        self.check(
            name,
            ratio <= MAX_P99_RATIO,
            "the p99 of the other user is above the double",
        );
        self.check(
            name,
            outcome.calls <= attack.max_calls,
            &format!("it causes more than {} calls to STS", attack.max_calls),
        );
        if let Some(first) = refusals.first() {
            self.check(name, false, &format!("the other user is refused: {first}"));
        }
    }

    /// Waits until the daemon has returned its memory, and judges the rest and the audit's file.
    pub(crate) fn wait_for_memory(&mut self, machine: &SystemDaemon) {
        thread::sleep(RELEASE_TIME);
        let left = machine.env.daemon().resident_kib();
        let left = left.saturating_sub(self.before_kib);
        let most = (self.growth_kib as f64 * MAX_GROWTH_LEFT) as u64;
        let grown = self.growth_kib;
        say(&format!("{left} KiB of {grown} KiB are left after 30 s"));
        let is_returned = left <= most.max(GROWTH_FLOOR_KIB);
        self.check(
            "all attacks",
            is_returned,
            "more than 10 % of the growth is left",
        );
        let audit = fs::metadata(machine.env.path("audit.jsonl"));
        let audit = audit.map_or(0, |it| it.len());
        say(&format!("{audit} bytes of audit"));
        self.check(
            "all attacks",
            audit <= MAX_AUDIT_BYTES,
            "the audit has more than 4 MiB",
        );
    }

    /// Prints the faults; returns `true` if there are none.
    pub(crate) fn finish(&self) -> bool {
        for fault in &self.faults {
            say(&format!("FAULT: {fault}"));
        }
        self.faults.is_empty()
    }

    fn check(&mut self, name: &str, holds: bool, fault: &str) {
        if !holds {
            self.faults.push(format!("{name}: {fault}"));
        }
    }
}

fn millis(samples: &Samples) -> f64 {
    samples.p99().as_secs_f64() * 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
