//! One simulation: the daemon's own supervisor, store and refresh tasks, and their callers.

mod judge;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;
use stsd::{
    refresh::supervisor::{Supervisor, SupervisorDeps},
    runtime::clock::Clock as _,
    session::{memfd::RestoredSessions, snapshot::Session, store::Store},
    sts::rate_limit::RateLimiter,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    clock::SimClock,
    cloud::{Cloud, Issued, SimulatedClient},
    plan::{DAY, Event, Habit, Plan, Wanted, name, role},
};

/// Bound on one exchange with STS: both ways, a call that hangs, and the corrected call.
const MARGIN: Duration = Duration::from_secs(30);

/// Minimum patience of a caller that is never refused without an outage.
const LONG_PATIENCE: Duration = Duration::from_secs(10);

/// The result of a simulation; equal for equal seeds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub ready: u64,
    pub short: u64,
    pub refused: u64,
    pub left: u64,
    pub calls: u64,
    pub failures: u64,
    pub recoveries: u64,
    /// The sum over all answers and their times. A sum, because the order of simultaneous answers is
    /// not fixed.
    pub trace: u64,
}

struct Simulation {
    plan: Plan,
    clock: Arc<SimClock>,
    cloud: Arc<Cloud>,
    store: Arc<Store>,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    tally: Tally,
    faults: Vec<String>,
    /// The role and the policy that each profile grants now.
    grants: BTreeMap<usize, String>,
    /// The session that each profile has served last.
    held: BTreeMap<usize, Held>,
    suspends: Vec<Duration>,
    reloads: Vec<Duration>,
}

/// A session that a caller received.
struct Held {
    session: Arc<Session>,
    issued: Issued,
    /// The times of its first answer: with and without suspends.
    since: (Duration, Duration),
}

/// Runs one plan to its end.
///
/// # Errors
/// The broken promises.
pub(crate) fn run(plan: Plan) -> Result<Tally, Vec<String>> {
    // The daemon's back-off uses this generator.
    fastrand::seed(plan.seed);
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(live(plan))
}

async fn live(plan: Plan) -> Result<Tally, Vec<String>> {
    let interruptions = plan
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::Suspend(_) | Event::WallClock(_)));
    let interruptions = interruptions.map(|(at, _)| *at).collect();
    let clock = Arc::new(SimClock::new(plan.honest_naps, interruptions));
    let mut random = Rng::with_seed(plan.seed ^ 0x5eed);
    let cloud = Arc::new(Cloud::new(
        Arc::clone(&clock),
        plan.manners.clone(),
        random.fork(),
    ));
    let store = Arc::new(Store::default());
    let rate_limiter = Arc::new(RateLimiter::new(plan.calls_per_second, clock.boot()));
    let line = Arc::clone(&cloud);
    let mut supervisor = Supervisor::new(SupervisorDeps {
        store: Arc::clone(&store),
        connect: Box::new(move |_| SimulatedClient(Arc::clone(&line))),
        clock: Arc::clone(&clock) as Arc<_>,
        machine: plan.seed.to_be_bytes().to_vec(),
        rate_limiter,
        restored: RestoredSessions::default(),
    });
    let simulation = Arc::new(Simulation {
        plan: plan.clone(),
        clock,
        cloud,
        store,
        notes: Mutex::default(),
    });
    simulation.reload(&mut supervisor, &plan.first);
    let callers: Vec<_> = plan
        .habits
        .iter()
        .enumerate()
        .map(|(index, habit)| {
            tokio::spawn(Arc::clone(&simulation).ask_repeatedly(
                index,
                habit.clone(),
                random.fork(),
            ))
        })
        .collect();
    let inspector = tokio::spawn(Arc::clone(&simulation).inspect());
    let began = Instant::now();
    for (at, event) in &plan.events {
        sleep_until(began + *at).await;
        if matches!(event, Event::Reload(_)) {
            simulation.ask_before_reload(&mut random).await;
        }
        simulation.apply_event(&mut supervisor, event);
    }
    sleep_until(began + plan.length).await;
    for task in callers.iter().chain([&inspector]) {
        task.abort();
    }
    supervisor.stop().await;
    simulation.close()
}

impl Simulation {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    fn fault(&self, what: String) {
        let at = self.clock.elapsed();
        let mut notes = self.notes();
        if notes.faults.len() < 20 {
            notes
                .faults
                .push(format!("at {:.3} s: {what}", at.as_secs_f64()));
        }
    }

    fn reload(&self, supervisor: &mut Supervisor<SimulatedClient>, wanted: &Wanted) {
        supervisor.apply(wanted.config(self.plan.calls_per_second));
        let now = self.clock.elapsed();
        let mut notes = self.notes();
        notes.reloads.push(now);
        let grant = |(index, it): (&usize, &crate::plan::WantedProfile)| {
            (*index, format!("grant-{}", it.grant))
        };
        notes.grants = wanted.0.iter().map(grant).collect();
        let kept = |index: &usize, held: &mut Held| {
            wanted
                .0
                .get(index)
                .is_some_and(|it| held.issued.grant == format!("grant-{}", it.grant))
        };
        notes.held.retain(kept);
    }

    fn apply_event(self: &Arc<Self>, supervisor: &mut Supervisor<SimulatedClient>, event: &Event) {
        self.cloud.state().disturbed = self.clock.elapsed();
        match event {
            Event::Suspend(slept) => {
                self.clock.suspend(*slept);
                // An answer to a request from before the suspend does not count.
                self.cloud.state().disturbed = self.clock.elapsed() + MARGIN;
                let now = self.clock.elapsed();
                self.notes().suspends.push(now);
            }
            Event::WallClock(seconds) => self.clock.set_wall_error(*seconds),
            Event::Reload(wanted) => self.reload(supervisor, wanted),
            Event::Refresh(index) => {
                let simulation = Arc::clone(self);
                let index = *index;
                tokio::spawn(async move {
                    let (store, clock) = (&simulation.store, &*simulation.clock);
                    let before = simulation.calls(index);
                    let asked = simulation.clock.elapsed();
                    let outcome = store.refresh(&name(index), LONG_PATIENCE, clock).await;
                    simulation.cloud.state().disturbed = simulation.clock.elapsed();
                    simulation.judge_refresh(index, &outcome, before, asked);
                });
            }
        }
    }

    fn calls(&self, index: usize) -> u64 {
        self.cloud
            .state()
            .calls
            .get(&role(index))
            .copied()
            .unwrap_or(0)
    }

    /// Sends requests before a reload, so that callers wait for the changed profile.
    async fn ask_before_reload(self: &Arc<Self>, random: &mut Rng) {
        for (index, habit) in self.plan.habits.iter().enumerate().take(6) {
            tokio::spawn(Arc::clone(self).ask(index, habit.clone(), random.fork()));
        }
        sleep(Duration::from_millis(1)).await;
    }

    async fn ask_repeatedly(self: Arc<Self>, index: usize, habit: Habit, mut random: Rng) {
        loop {
            // Exponentially distributed pauses: requests come in clusters.
            let pause = habit.mean_pause.mul_f64(-random.f64().max(1e-9).ln());
            sleep(pause).await;
            if habit
                .holidays
                .contains(&(self.clock.elapsed().as_secs() / DAY.as_secs()))
            {
                continue;
            }
            let together = if random.u8(..20) == 0 {
                random.usize(2..30)
            } else {
                1
            };
            for _ in 0..together {
                tokio::spawn(Arc::clone(&self).ask(index, habit.clone(), random.fork()));
            }
        }
    }

    async fn ask(self: Arc<Self>, index: usize, habit: Habit, mut random: Rng) {
        let minimum_life = habit.longest_minimum_life.mul_f64(random.f64());
        let patience = random.choice([0, 200, 2_000, 10_000, 10_000, 60_000]);
        let patience = Duration::from_millis(patience.unwrap());
        let (asked, awake) = (self.clock.elapsed(), self.clock.awake());
        let name = name(index);
        let answer = self
            .store
            .serve(&name, minimum_life, patience, &*self.clock, |_| true);
        // Some callers close the connection while they wait, which must not affect the others.
        let stays = if random.u8(..20) == 0 {
            patience.mul_f64(random.f64())
        } else {
            patience * 2 + MARGIN
        };
        let Ok((outcome, _)) = timeout(stays, answer).await else {
            if stays > patience {
                self.fault(format!(
                    "{name}: no answer within a patience of {patience:?}"
                ));
            }
            self.notes().tally.left += 1;
            return;
        };
        let waited = self.clock.awake() - awake;
        if waited > patience + Duration::from_millis(2) {
            self.fault(format!(
                "{name}: waited {waited:?} with a patience of {patience:?}"
            ));
        }
        self.judge(index, &outcome, asked, minimum_life, patience);
    }

    fn close(&self) -> Result<Tally, Vec<String>> {
        self.check_calls();
        let needless: Vec<_> = self
            .cloud
            .state()
            .needless
            .iter()
            .take(5)
            .cloned()
            .collect();
        needless.into_iter().for_each(|it| self.fault(it));
        let mut notes = self.notes();
        let state = self.cloud.state();
        notes.tally.calls = state.calls.values().sum();
        notes.tally.failures = state.failures.values().sum();
        if notes.faults.is_empty() {
            return Ok(notes.tally.clone());
        }
        Err(notes.faults.clone())
    }
}
