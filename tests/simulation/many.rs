//! Ten thousand profiles for a day: the rate limit of one machine suffices, and no renewal is late.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use stsd::{
    refresh::supervisor::{Supervisor, SupervisorDeps},
    runtime::clock::Clock as _,
    session::{memfd::RestoredSessions, store::Store},
    sts::rate_limit::RateLimiter,
};
use tokio::time::sleep;

use crate::{
    clock::SimClock,
    cloud::{Cloud, Manners, SimulatedClient},
    plan::{DAY, HOUR, Wanted, WantedProfile},
};

const PROFILES: usize = 10_000;

/// The default of `sts_calls_per_second`.
const CALLS_PER_SECOND: u32 = 20;

/// Minimum remaining lifetime of a session of an hour: its renewal is due earlier.
const MIN_REMAINING: Duration = Duration::from_secs(25 * 60);

/// Time for the first session of each profile at the rate limit, and a minute more.
const START: Duration = Duration::from_secs(PROFILES as u64 / CALLS_PER_SECOND as u64 + 60);

#[tokio::test(start_paused = true)]
async fn ten_thousand_profiles_have_no_late_renewal_in_a_day() {
    fastrand::seed(1);
    let clock = Arc::new(SimClock::new(false, Vec::new()));
    let manners = Manners {
        outages: Vec::new(),
        skew_seconds: 0,
        longest_session: 12 * HOUR,
        bad_dates: 0,
        used_nonces: 0,
        slowest_answer: Duration::from_millis(200),
    };
    let cloud = Arc::new(Cloud::new(Arc::clone(&clock), manners, Rng::with_seed(1)));
    let (store, sts) = (Arc::new(Store::default()), Arc::clone(&cloud));
    let mut supervisor = Supervisor::new(SupervisorDeps {
        store: Arc::clone(&store),
        connect: Box::new(move |_| SimulatedClient(Arc::clone(&sts))),
        clock: Arc::clone(&clock) as Arc<_>,
        machine: b"one machine".to_vec(),
        rate_limiter: Arc::new(RateLimiter::new(CALLS_PER_SECOND, clock.boot())),
        restored: RestoredSessions::default(),
    });
    let warm = |index| {
        let profile = WantedProfile {
            duration: "1h",
            grant: 0,
            keep_warm: true,
        };
        (index, profile)
    };
    let wanted = Wanted(BTreeMap::from_iter((0..PROFILES).map(warm)));
    supervisor.apply(wanted.config(CALLS_PER_SECOND));
    sleep(START).await;
    let mut looks = 0;
    while clock.elapsed() < DAY {
        let now = clock.boot();
        for entry in store.all() {
            let name = &entry.profile.name;
            let session = entry.snapshot().usable_for(MIN_REMAINING, now).cloned();
            assert!(session.is_some(), "{name} is late at {:?}", clock.elapsed());
            looks += 1;
        }
        sleep(Duration::from_secs(60)).await;
    }
    supervisor.stop().await;
    let calls: u64 = cloud.state().calls.values().sum();
    eprintln!("{looks} looks, {calls} calls to STS");
    // A day without renewals would prove nothing; two calls an hour for each profile suffice.
    let day = 24 * PROFILES as u64;
    assert!((day..3 * day).contains(&calls), "{calls} calls to STS");
}
