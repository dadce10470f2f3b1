//! The task of one profile with responses and clocks of the tests, without a network.

use jiff::Timestamp;
use stsd_sts::{AssumeRole, Proof, Refusal, RoleSession, SecretText};

use super::*;
use crate::{
    profile::{
        CachedIdentity, Expiry, IdentityProvider, Profile, ResolveContext, ResolveFuture,
        ResolvedIdentity,
    },
    runtime::clock::{SuspendAwareSleep, SystemClock},
    session::snapshot::SessionResult,
    sts::{
        rate_limit::RateLimiter,
        upstream::{EndpointClient, IssuedSession},
    },
};

const NOON: Timestamp = Timestamp::constant(1_795_003_200, 0);

/// An exchange that never completes.
struct NoReply;

impl StsExchange for NoReply {
    async fn exchange(
        &self,
        _: &Proof,
        _: AssumeRole<'_>,
        _: Timestamp,
    ) -> Result<RoleSession, StsError> {
        std::future::pending().await
    }
}

fn clients<X>(exchange: X) -> Vec<EndpointClient<X>> {
    vec![EndpointClient {
        host: "sts.example.com".to_owned(),
        exchange,
    }]
}

fn refresher() -> Refresher<NoReply> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let rate_limiter = Arc::new(RateLimiter::new(1, clock.boot()));
    let upstream = Upstream::new(
        clients(NoReply),
        Arc::clone(&clock),
        rate_limiter,
        Arc::default(),
    );
    let entry = Arc::new(ProfileEntry::new(Arc::new(Profile::sample())));
    Refresher::new(entry, Arc::new(upstream), Arc::default(), clock, 0.5)
}

/// Checks the lifetime of a session that STS issued `at`, for a requested lifetime of an hour.
fn check(at: Timestamp, expiration: Timestamp, expected: Result<u64, &str>) {
    let refresher = refresher();
    let issued = IssuedSession {
        session: RoleSession {
            access_key_id: "STS.X".into(),
            access_key_secret: SecretText::from("secret".to_owned()),
            security_token: SecretText::from("token".to_owned()),
            expiration,
            server_date: Some(at),
            request_id: "R".into(),
        },
        at,
        sent: refresher.clock.boot(),
    };
    let accepted = refresher.attempt().validate(issued, refresher.clock.boot());
    let accepted = accepted.map(|it| it.lifetime.length().as_secs());
    let accepted = accepted.map_err(|error| error.to_string());
    match (&accepted, expected) {
        (Ok(length), Ok(expected)) => assert_eq!(*length, expected, "{at} {expiration}"),
        (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
        _ => panic!("{at} {expiration}: {accepted:?}"),
    }
}

#[test]
fn session_never_outlives_the_requested_lifetime() {
    let minutes = SignedDuration::from_mins;
    check(NOON, NOON + minutes(60), Ok(3599));
    check(NOON, NOON + minutes(15), Ok(899));
    // A `Date` that is behind by four minutes.
    check(NOON - minutes(4), NOON + minutes(60), Ok(3599));
    check(NOON, NOON + minutes(66), Err("much longer than requested"));
    check(NOON, NOON, Err("expired already"));
    check(
        NOON,
        NOON + SignedDuration::from_secs(1),
        Err("expired already"),
    );
    check(NOON, Timestamp::MAX, Err("much longer than requested"));
    check(NOON, Timestamp::MIN, Err("expired already"));
    check(Timestamp::MAX, NOON, Err("expired already"));
    check(Timestamp::MIN, NOON, Err("much longer than requested"));
}

/// An exchange that succeeds and counts its calls.
#[derive(Default)]
struct CountingExchange(std::sync::atomic::AtomicU64);

impl StsExchange for Arc<CountingExchange> {
    async fn exchange(
        &self,
        _: &Proof,
        _: AssumeRole<'_>,
        _: Timestamp,
    ) -> Result<RoleSession, StsError> {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        Ok(RoleSession {
            access_key_id: format!("STS.{count}"),
            access_key_secret: SecretText::from("secret".to_owned()),
            security_token: SecretText::from("token".to_owned()),
            expiration: NOON + SignedDuration::from_hours(1),
            server_date: Some(NOON),
            request_id: "R".into(),
        })
    }
}

/// Clocks that a test sets; timers follow tokio's paused time.
struct ManualClock {
    began: tokio::time::Instant,
    wall_ahead_seconds: std::sync::atomic::AtomicI64,
}

impl Clock for ManualClock {
    fn wall(&self) -> Timestamp {
        let ahead = self.wall_ahead_seconds.load(Ordering::Relaxed);
        let elapsed = SignedDuration::try_from(self.began.elapsed()).unwrap();
        NOON + elapsed + SignedDuration::from_secs(ahead)
    }

    fn boot(&self) -> BootTime {
        BootTime::from_duration(Duration::from_secs(1000) + self.began.elapsed())
    }

    fn boot_id(&self) -> String {
        String::new()
    }

    fn sleep_at_most(&self, longest: Duration) -> SuspendAwareSleep<'_> {
        Box::pin(sleep(longest.min(Duration::from_secs(20))))
    }
}

/// A hypervisor pauses the machine for two hours. The boot-time clock does not count them, the wall
/// clock is set afterwards, and the session has expired.
#[tokio::test(start_paused = true)]
async fn clock_drift_causes_one_renewal_within_20_seconds() {
    let manual_clock = Arc::new(ManualClock {
        began: tokio::time::Instant::now(),
        wall_ahead_seconds: 0.into(),
    });
    let clock: Arc<dyn Clock> = Arc::clone(&manual_clock) as _;
    let sts = Arc::new(CountingExchange::default());
    let calls = || sts.0.load(Ordering::Relaxed);
    let rate_limiter = Arc::new(RateLimiter::new(20, clock.boot()));
    let upstream = Upstream::new(
        clients(Arc::clone(&sts)),
        Arc::clone(&clock),
        rate_limiter,
        Arc::default(),
    );
    let entry = Arc::new(ProfileEntry::new(Arc::new(Profile::sample())));
    let refresher = Refresher::new(
        Arc::clone(&entry),
        Arc::new(upstream),
        Arc::default(),
        clock,
        0.5,
    );
    let task = tokio::spawn(refresher.run());

    assert!(entry.current(Duration::ZERO, manual_clock.boot()).is_none());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(calls(), 1, "the first caller's session");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(calls(), 1, "nothing is due");
    manual_clock
        .wall_ahead_seconds
        .store(7200, Ordering::Relaxed);
    sleep(Duration::from_secs(21)).await;
    assert_eq!(
        calls(),
        2,
        "within one sleep, though half of the lifetime is left"
    );
    sleep(Duration::from_secs(600)).await;
    assert_eq!(calls(), 2, "one renewal for one drift");
    task.abort();
}

/// A provider that returns the same session each time, as a program that prints a file; without an
/// expiration, a new session each time with a lifetime of 100 ms.
#[derive(Debug)]
struct PrintedSession {
    expiration: Option<Timestamp>,
    asked: Arc<std::sync::atomic::AtomicU64>,
}

impl IdentityProvider for PrintedSession {
    fn resolve<'a>(&'a self, ask: ResolveContext<'a>) -> ResolveFuture<'a> {
        let count = self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let asked = ask.clock.boot();
            let soon = ask.clock.wall() + SignedDuration::from_millis(100);
            let (expiration, token) = self.expiration.map_or((soon, count), |it| (it, 0));
            let end = Expiry::new(expiration, None, asked, ask.clock);
            Ok(ResolvedIdentity {
                proof: Arc::new(Proof::Credentials(stsd_sts::SourceCredentials {
                    access_key_id: "STS.X".into(),
                    access_key_secret: SecretText::from("secret".to_owned()),
                    security_token: Some(SecretText::from(format!("token{token}"))),
                })),
                asked,
                end: Some(end),
            })
        })
    }

    fn describe(&self) -> String {
        "the program".to_owned()
    }
}

/// A profile without a role, its clocks, and the number of resolutions of its identity.
struct PassThrough {
    clock: Arc<ManualClock>,
    entry: Arc<ProfileEntry>,
    asked: Arc<std::sync::atomic::AtomicU64>,
}

impl PassThrough {
    fn start(expiration: Option<Timestamp>, wall_ahead_seconds: i64) -> Self {
        let asked: Arc<std::sync::atomic::AtomicU64> = Arc::default();
        let clock = Arc::new(ManualClock {
            began: tokio::time::Instant::now(),
            wall_ahead_seconds: wall_ahead_seconds.into(),
        });
        let source = PrintedSession {
            expiration,
            asked: Arc::clone(&asked),
        };
        let profile = Profile {
            source: CachedIdentity::new(&["program"], source),
            role_arn: None,
            keep_warm: true,
            ..Profile::sample()
        };
        let entry = Arc::new(ProfileEntry::new(Arc::new(profile)));
        let rate_limiter = Arc::new(RateLimiter::new(20, clock.boot()));
        let upstream = Upstream::new(
            clients(NoReply),
            Arc::clone(&clock) as _,
            rate_limiter,
            Arc::default(),
        );
        let (store, task_clock) = (Arc::default(), Arc::clone(&clock) as _);
        let refresher = Refresher::new(
            Arc::clone(&entry),
            Arc::new(upstream),
            store,
            task_clock,
            0.5,
        );
        tokio::spawn(refresher.run());
        Self {
            clock,
            entry,
            asked,
        }
    }

    fn serves(&self) -> bool {
        let now = self.clock.boot();
        self.entry
            .snapshot()
            .usable_for(Duration::ZERO, now)
            .is_some()
    }
}

/// The wall clock is six hours behind until the network is up. A session that was passed through
/// before expires earlier than calculated.
#[tokio::test(start_paused = true)]
async fn passed_through_session_expires_in_time_after_a_late_clock() {
    let hours = SignedDuration::from_hours;
    let profile = PassThrough::start(Some(NOON + hours(1)), -6 * 3600);
    sleep(Duration::from_secs(60)).await;
    assert!(profile.serves());
    profile.clock.wall_ahead_seconds.store(0, Ordering::Relaxed);
    sleep(Duration::from_secs(3500)).await;
    assert!(profile.serves(), "until the expiration");
    sleep(Duration::from_secs(60)).await;
    assert!(!profile.serves(), "after the expiration");
}

/// The wall clock is ahead, and the session expires later than calculated.
#[tokio::test(start_paused = true)]
async fn passed_through_session_is_served_in_full_after_an_early_clock() {
    let hours = SignedDuration::from_hours;
    let profile = PassThrough::start(Some(NOON + hours(8)), 6 * 3600);
    sleep(Duration::from_secs(60)).await;
    profile.clock.wall_ahead_seconds.store(0, Ordering::Relaxed);
    sleep(Duration::from_secs(3 * 3600)).await;
    assert!(profile.serves());
}

#[tokio::test(start_paused = true)]
async fn passed_through_session_of_a_year_is_served_for_days() {
    let profile = PassThrough::start(Some(NOON + SignedDuration::from_hours(24 * 365)), 0);
    for hour in 0..72 {
        sleep(Duration::from_secs(3600)).await;
        assert!(profile.serves(), "{} h after the start", hour + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn source_of_short_sessions_is_resolved_at_most_once_a_second() {
    let profile = PassThrough::start(None, 0);
    sleep(Duration::from_secs(60)).await;
    let asked = profile.asked.load(Ordering::Relaxed);
    assert!((50..=61).contains(&asked), "{asked}");
}

/// A pending request reads the snapshot from another thread, right after a notification.
#[test]
fn refusal_is_published_with_the_next_attempt() {
    let mut refresher = refresher();
    let wanted = |refresher: &Refresher<NoReply>| {
        let now = refresher.clock.boot();
        refresher.entry.snapshot().result_now(Duration::ZERO, now)
    };
    refresher.entry.attempt_started(BootTime::default());
    assert!(wanted(&refresher).is_none());
    let refusal = Refusal {
        code: "NoPermission".to_owned(),
        message: String::new(),
        request_id: String::new(),
        http_status: 403,
    };
    refresher.failed(&AttemptError::Sts(StsError::Denied(refusal)));
    assert!(matches!(wanted(&refresher), Some(SessionResult::Failed(_))));
}
