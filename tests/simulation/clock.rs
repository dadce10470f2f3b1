//! Time as the simulation has it: tokio's paused clock is the time the machine is awake,
//! suspends are added to the boot-time clock, and the wall clock is set at will.

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

/// When every simulation begins, by the true clock.
const START: Timestamp = Timestamp::constant(1_795_000_000, 0);

/// A machine does not begin its life with us.
const UPTIME: Duration = Duration::from_secs(1000);

/// As in the daemon.
const NAP: Duration = Duration::from_secs(20);

pub(crate) struct SimClock {
    began: Instant,
    suspended_millis: AtomicU64,
    wall_error_seconds: AtomicI64,
    /// When awake time is next interrupted, in order.
    interruptions: Mutex<Vec<Duration>>,
    honest_naps: bool,
}

impl SimClock {
    /// Starts a clock. With `honest_naps` a wait is cut as on a real machine; without, only
    /// where a suspend or a new wall time comes, since a nap that ends with nothing changed
    /// has no effect but to cost the simulation its time.
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

    /// How long the machine has been awake since the simulation began.
    pub(crate) fn awake(&self) -> Duration {
        self.began.elapsed()
    }

    /// How long the simulation has lasted: the true time.
    pub(crate) fn elapsed(&self) -> Duration {
        self.awake() + Duration::from_millis(self.suspended_millis.load(Ordering::Relaxed))
    }

    /// The true time on a calendar.
    pub(crate) fn truth(&self) -> Timestamp {
        START + SignedDuration::try_from(self.elapsed()).unwrap()
    }

    /// The machine has slept.
    pub(crate) fn suspend(&self, slept: Duration) {
        let millis = u64::try_from(slept.as_millis()).unwrap();
        self.suspended_millis.fetch_add(millis, Ordering::Relaxed);
    }

    /// Sets the wall clock.
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
    /// How long a wait may be before anything can have happened to the clocks.
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
