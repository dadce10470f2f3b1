//! A fleet: machines with a daemon each, which share the quota of one account, region and API, and
//! other users of that account.
//!
//! Machines affect each other only by the share of calls that STS refuses, which depends on the calls by
//! the quota. The number of machines and the quota are therefore scaled together: a thousand machines at
//! one call a second stand for 100,000 at 100, and all times stay. Chance does not scale, because it
//! depends on the number of calls: the burst of the quota is 100 calls at each scale.

mod cloud;
mod model;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use stsd::{
    refresh::supervisor::{Supervisor, SupervisorDeps},
    runtime::clock::Clock as _,
    session::{memfd::RestoredSessions, store::Store},
    sts::rate_limit::RateLimiter,
};
use tokio::time::{Instant, sleep_until};

use self::cloud::{FleetCloud, MachineClient};
use crate::{
    clock::SimClock,
    plan::{HOUR, Wanted, WantedProfile, name},
};

/// The patience of a caller.
const PATIENCE: Duration = Duration::from_secs(10);

/// The spread that suits a fleet whose first calls take 1,000 s at the quota.
const SPREAD: Duration = Duration::from_secs(1050);

/// The same for a fleet that leaves half of the quota to other users.
const WIDE_SPREAD: Duration = Duration::from_secs(2100);

/// A start of all machines, and the time after it.
#[derive(Debug, Clone)]
struct Boot {
    seed: u64,
    machines: usize,
    /// The calls a second that STS serves.
    quota: f64,
    duration: &'static str,
    /// The key `fleet_spread`.
    spread: Duration,
    /// A caller on each machine asks at once, for a profile that is not kept warm.
    callers: bool,
    /// The part of the quota that other users need.
    others: f64,
    hint: Option<Duration>,
    outage: Option<(Duration, Duration)>,
    length: Duration,
}

impl Boot {
    /// The time in which all machines start.
    const WINDOW: Duration = Duration::from_secs(30);

    /// The time of a run: the first sessions, and a renewal of each.
    const LENGTH: Duration = Duration::from_secs(2 * 3600);

    /// Returns a start in which the first calls of all machines take 1,000 s at the quota.
    fn of(machines: usize) -> Self {
        Self {
            seed: 7,
            machines,
            quota: machines as f64 / 1000.0,
            duration: "1h",
            spread: Duration::ZERO,
            callers: false,
            others: 0.0,
            hint: None,
            outage: None,
            length: Self::LENGTH,
        }
    }

    /// Runs the daemons.
    fn run(&self) -> Figures {
        fastrand::seed(self.seed);
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(self.live())
    }

    async fn live(&self) -> Figures {
        let clock = Arc::new(SimClock::new(false, Vec::new()));
        let mut random = Rng::with_seed(self.seed);
        let mut cloud = FleetCloud::new(Arc::clone(&clock), self.quota, self.machines);
        (cloud.outage, cloud.hint) = (self.outage, self.hint);
        let cloud = Arc::new(cloud);
        if self.others > 0.0 {
            let rate = self.others * self.quota;
            tokio::spawn(Arc::clone(&cloud).run_others(rate, random.fork()));
        }
        let mut starts: Vec<_> = (0..self.machines)
            .map(|_| Self::WINDOW.mul_f64(random.f64()))
            .collect();
        starts.sort();
        let began = Instant::now();
        let mut supervisors = Vec::new();
        for (machine, start) in starts.into_iter().enumerate() {
            sleep_until(began + start).await;
            supervisors.push(self.start(machine, &clock, &cloud));
        }
        sleep_until(began + self.length).await;
        for supervisor in supervisors {
            supervisor.stop().await;
        }
        let state = cloud.state();
        let mut first: Vec<_> = state.first.values().copied().collect();
        first.sort();
        Figures {
            machines: self.machines,
            first,
            refused_at_start: state.refused_at_start,
            served: state.served,
            refused: state.refused,
            offered: state.offered.clone(),
            expired: state.expired,
            others_asked: state.others_asked,
            others_served: state.others_served,
        }
    }

    /// Starts the daemon of one machine, and its caller.
    fn start(
        &self,
        machine: usize,
        clock: &Arc<SimClock>,
        cloud: &Arc<FleetCloud>,
    ) -> Supervisor<MachineClient> {
        let store = Arc::new(Store::default());
        let cloud = Arc::clone(cloud);
        let mut supervisor = Supervisor::new(SupervisorDeps {
            store: Arc::clone(&store),
            connect: Box::new(move |_| MachineClient {
                cloud: Arc::clone(&cloud),
                machine,
            }),
            clock: Arc::clone(clock) as Arc<_>,
            machine: format!("machine {machine}").into_bytes(),
            rate_limiter: Arc::new(RateLimiter::new(20, clock.boot())),
            restored: RestoredSessions::default(),
        });
        let profile = WantedProfile {
            duration: self.duration,
            grant: 0,
            keep_warm: !self.callers,
        };
        let mut config = Wanted(BTreeMap::from([(0, profile)])).config(20);
        config.fleet_spread = self.spread;
        supervisor.apply(config);
        if self.callers {
            let clock = Arc::clone(clock);
            tokio::spawn(async move {
                store
                    .session(&name(0), Duration::ZERO, PATIENCE, &*clock)
                    .await
            });
        }
        supervisor
    }
}

/// The result of a run.
#[derive(Debug, Default)]
struct Figures {
    machines: usize,
    /// The times of the first sessions, in order.
    first: Vec<Duration>,
    served: u64,
    refused: u64,
    /// The refused calls until each machine had a session.
    refused_at_start: u64,
    /// The calls of the fleet, by second.
    offered: BTreeMap<u64, u64>,
    expired: u64,
    others_asked: u64,
    others_served: u64,
}

impl Figures {
    fn count_offer(&mut self, now: Duration) {
        *self.offered.entry(now.as_secs()).or_default() += 1;
    }

    fn refused_per_served(&self) -> f64 {
        self.refused_at_start as f64 / self.first.len() as f64
    }

    /// Returns the time at which a part of the machines had a session; the maximum if they never had.
    fn quantile(&self, part: f64) -> Duration {
        let index = ((self.machines - 1) as f64 * part) as usize;
        self.first.get(index).copied().unwrap_or(Duration::MAX)
    }

    /// Returns the part of the calls of other users that were served.
    fn others(&self) -> f64 {
        self.others_served as f64 / self.others_asked.max(1) as f64
    }

    /// Returns the largest number of calls by the quota from a time on, in periods in which the quota
    /// has 100 calls.
    fn peak(&self, quota: f64, from: Duration) -> f64 {
        let period = (100.0 / quota).max(1.0) as u64;
        let mut periods = BTreeMap::<u64, u64>::new();
        for (second, calls) in self.offered.range(from.as_secs()..) {
            *periods
                .entry((second - from.as_secs()) / period)
                .or_default() += calls;
        }
        periods.values().copied().max().unwrap_or_default() as f64 / (period as f64 * quota)
    }

    fn print(&self, name: &str, boot: &Boot) {
        let seconds = |part| match self.quantile(part) {
            Duration::MAX => "later".to_owned(),
            time => format!("{} s", time.as_secs()),
        };
        eprintln!(
            "{name}: {} machines, {} calls/s, spread {} s: {:.2} refused per first session, of which \
             50 % {}, 99 % {}, all {}; peak {:.1} x quota; others {:.1} %; in all {} served, \
             {} refused, {} expired",
            boot.machines,
            boot.quota,
            boot.spread.as_secs(),
            self.refused_per_served(),
            seconds(0.5),
            seconds(0.99),
            seconds(1.0),
            self.peak(boot.quota, Duration::ZERO),
            100.0 * self.others(),
            self.served,
            self.refused,
            self.expired,
        );
    }
}

/// Checks the promises for a fleet of this size in the daemons themselves.
fn check_promises(machines: usize) {
    let spread = Boot {
        spread: SPREAD,
        ..Boot::of(machines)
    };
    let figures = spread.run();
    figures.print("start with a spread", &spread);
    assert_eq!(figures.first.len(), machines);
    assert!(figures.refused_per_served() <= 0.1);
    assert!(figures.quantile(1.0) <= Duration::from_secs(1100));
    assert_eq!(figures.expired, 0);

    let shared = Boot {
        duration: "12h",
        spread: WIDE_SPREAD,
        others: 0.5,
        ..Boot::of(machines)
    };
    let figures = shared.run();
    figures.print("start of sessions of 12 h beside other users", &shared);
    assert!(figures.refused_per_served() <= 0.1 && figures.others() >= 0.95);
    assert!(figures.quantile(1.0) <= Duration::from_secs(2200));
    assert_eq!(figures.expired, 0);

    let narrow = Boot {
        others: 0.5,
        ..spread.clone()
    };
    let figures = narrow.run();
    figures.print("start with a narrow spread beside other users", &narrow);
    assert!(figures.others() >= 0.5);

    for hint in [None, Some(Duration::from_secs(5))] {
        let unprepared = Boot {
            hint,
            others: 0.5,
            ..Boot::of(machines)
        };
        let figures = unprepared.run();
        figures.print("start without a spread, beside other users", &unprepared);
        assert!(figures.others() >= 0.5);
        let storm = Boot {
            callers: true,
            hint,
            ..Boot::of(machines)
        };
        let figures = storm.run();
        figures.print("a caller on each machine", &storm);
        assert_eq!(figures.first.len(), machines);
        assert!(figures.refused_per_served() <= 8.0);
        assert!(figures.quantile(0.99) <= Duration::from_secs(1200));
    }

    let prepared = Boot {
        callers: true,
        ..spread.clone()
    };
    let figures = prepared.run();
    figures.print("a caller on each machine, with a spread", &prepared);
    assert!(figures.refused_per_served() <= 4.0);

    let ends = 3 * HOUR;
    let outage = Boot {
        outage: Some((2 * HOUR, ends)),
        length: 5 * HOUR,
        ..spread
    };
    let figures = outage.run();
    figures.print("outage of an hour", &outage);
    let peak = figures.peak(outage.quota, ends);
    eprintln!("after the outage: peak {peak:.1} x quota");
    assert!(peak <= 2.0, "{peak}");
}

#[test]
fn fleet_of_a_thousand_machines_keeps_within_the_quota() {
    check_promises(1000);
}

#[test]
fn fleet_of_ten_thousand_machines_keeps_within_the_quota() {
    check_promises(10_000);
}

#[test]
fn fleet_of_a_hundred_thousand_daemons_keeps_within_the_quota() {
    for (name, boot) in starts(100_000) {
        let boot = Boot {
            length: Duration::from_secs(1300),
            ..boot
        };
        if boot.others == 0.0 {
            let figures = boot.run();
            figures.print(name, &boot);
            assert_eq!(figures.first.len(), boot.machines);
        }
    }
}

/// Returns the starts in which the model and the simulation are compared.
fn starts(machines: usize) -> [(&'static str, Boot); 5] {
    let boot = Boot::of(machines);
    let spread = Boot {
        spread: SPREAD,
        ..boot.clone()
    };
    let shared = Boot {
        duration: "12h",
        spread: WIDE_SPREAD,
        others: 0.5,
        ..boot.clone()
    };
    let narrow = Boot {
        others: 0.5,
        ..spread.clone()
    };
    let storm = Boot {
        callers: true,
        ..boot.clone()
    };
    [
        ("no spread", boot),
        ("spread", spread),
        ("wide spread beside others", shared),
        ("narrow spread beside others", narrow),
        ("a caller on each", storm),
    ]
}

/// Compares the simulation of the first sessions with the model: the refusals within a tenth
/// and 0.05 for each served call, the times within a tenth.
fn check_model(machines: usize) {
    for (name, boot) in starts(machines) {
        let boot = Boot {
            // Before the first renewals.
            length: Duration::from_secs(1600),
            ..boot
        };
        let (simulated, modelled) = (boot.run(), model::first_calls(&boot));
        simulated.print(name, &boot);
        modelled.print(&format!("{name}, model"), &boot);
        let until = |figures: &Figures| {
            let first = figures.first.iter().filter(|it| **it < boot.length);
            let offered: u64 = figures
                .offered
                .range(..boot.length.as_secs())
                .map(|it| it.1)
                .sum();
            (first.count() as f64, offered as f64)
        };
        let ((served, offered), (its_served, its_offered)) = (until(&simulated), until(&modelled));
        let is_near = |one: f64, other: f64| (one - other).abs() <= 0.1 * other;
        assert!(is_near(served, its_served), "{name}: {served} {its_served}");
        let (ratio, its_ratio) = (offered / served, its_offered / its_served);
        assert!(is_near(ratio, its_ratio), "{name}: {ratio} {its_ratio}");
        for part in [0.25, 0.5, 0.75] {
            let (one, other) = (simulated.quantile(part), modelled.quantile(part));
            assert!(
                is_near(one.as_secs_f64(), other.as_secs_f64()),
                "{name}: {one:?} {other:?}"
            );
        }
    }
}

#[test]
fn fleet_model_agrees_with_a_thousand_simulated_machines() {
    check_model(1000);
}

#[test]
fn fleet_model_agrees_with_ten_thousand_simulated_machines() {
    check_model(10_000);
}

#[test]
fn fleet_model_of_a_hundred_thousand_machines_keeps_within_the_quota() {
    for (name, boot) in starts(100_000) {
        let figures = model::first_calls(&boot);
        figures.print(name, &boot);
        let last = figures.quantile(1.0).as_secs();
        let refused = figures.refused_per_served();
        match name {
            "spread" => assert!(refused <= 0.1 && last <= 1100),
            "wide spread beside others" => {
                assert!(refused <= 0.1 && last <= 2200 && figures.others() >= 0.95);
            }
            _ => assert!(refused <= 8.0 && (boot.others == 0.0 || figures.others() >= 0.5)),
        }
    }
}
