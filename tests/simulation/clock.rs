//! The simulated clocks: tokio's paused clock counts the time without suspends, the boot-time clock
//! adds the suspends, and the wall clock has a settable error.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use stsd::runtime::clock::{BootTime, Clock, SuspendAwareSleep};
use tokio::time::{Instant, sleep};

/// The true time at the start of each simulation.
const START: Timestamp = Timestamp::constant(1_795_000_000, 0);

/// Uptime of the machine at the start: the daemon is not the first process.
const UPTIME: Duration = Duration::from_secs(1000);

/// Maximum duration of one sleep, as in the daemon.
const NAP: Duration = Duration::from_secs(20);

pub(crate) struct SimClock {
    began: Instant,
    suspended_millis: AtomicU64,
    wall_error_seconds: AtomicI64,
    /// The next suspends and steps of the wall clock, by awake time; the earliest is last.
    interruptions: Mutex<Vec<Duration>>,
    honest_naps: bool,
}

impl SimClock {
    /// Starts a clock. With `honest_naps` a sleep ends after `NAP`, as on a real machine. Without, a
    /// sleep lasts until the next suspend or step of the wall clock: a nap in between has no effect
    /// and takes simulation time.
    pub(crate) fn new(honest_naps: bool, mut interruptions: Vec<Duration>) -> Self {
        interruptions.sort();
        interruptions.reverse();
        Self {
            began: Instant::now(),
            suspended_millis: AtomicU64::new(0),
            wall_error_seconds: AtomicI64::new(0),
            interruptions: Mutex::new(interruptions),
            honest_naps,
        }
    }

    /// Returns the time since the start, without suspends.
    pub(crate) fn awake(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns the true time since the start, with suspends.
    pub(crate) fn elapsed(&self) -> Duration {
        self.awake() + Duration::from_millis(self.suspended_millis.load(Ordering::Relaxed))
    }

    /// Returns the true time of day.
    pub(crate) fn truth(&self) -> Timestamp {
        START + SignedDuration::try_from(self.elapsed()).unwrap()
    }

    /// Adds a suspend of the machine.
    pub(crate) fn suspend(&self, slept: Duration) {
        let millis = u64::try_from(slept.as_millis()).unwrap();
        self.suspended_millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// Sets the error of the wall clock.
    pub(crate) fn set_wall_error(&self, seconds: i64) {
        self.wall_error_seconds.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn wall(&self) -> Timestamp {
        let error = self.wall_error_seconds.load(Ordering::Relaxed);
        self.truth() + SignedDuration::from_secs(error)
    }

    fn boot(&self) -> BootTime {
        BootTime::from_duration(UPTIME + self.elapsed())
    }

    fn boot_id(&self) -> String {
        "simulated".to_owned()
    }

    fn sleep_at_most(&self, longest: Duration) -> SuspendAwareSleep<'_> {
        Box::pin(sleep(longest.min(self.undisturbed())))
    }
}

impl SimClock {
    /// Returns the time until the next suspend or step of the wall clock.
    fn undisturbed(&self) -> Duration {
        if self.honest_naps {
            return NAP;
        }
        let awake = self.awake();
        let mut interruptions = self.interruptions.lock().unwrap();
        while interruptions.last().is_some_and(|at| *at < awake) {
            interruptions.pop();
        }
        let next = interruptions.last().map(|at| *at - awake);
        next.unwrap_or(Duration::from_secs(86_400)).max(NAP)
    }
}
