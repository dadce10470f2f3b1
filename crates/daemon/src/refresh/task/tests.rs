//! What the task of one profile does with answers and clocks, without a network.

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
    sts::{rate_limit::RateLimiter, upstream::IssuedSession},
};

const NOON: Timestamp = Timestamp::constant(1_795_003_200, 0);

struct Nobody;

impl StsExchange for Nobody {
    async fn exchange(
        &self,
        _: &Proof,
        _: AssumeRole<'_>,
        _: Timestamp,
    ) -> Result<RoleSession, StsError> {
        std::future::pending().await
    }
}

fn refresher() -> Refresher<Nobody> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let rate_limiter = Arc::new(RateLimiter::new(1, clock.boot()));
    let upstream = Upstream::new(Nobody, Arc::clone(&clock), rate_limiter, Arc::default());
    let entry = Arc::new(ProfileEntry::new(Arc::new(Profile::sample())));
    Refresher::new(entry, Arc::new(upstream), Arc::default(), clock, 0.5)
}

/// What becomes of an answer that says it was issued `at`, when an hour was asked for.
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
fn no_answer_gives_a_session_more_life_than_was_asked() {
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

/// A service that always answers, and counts.
#[derive(Default)]
struct Willing(std::sync::atomic::AtomicU64);

impl StsExchange for Arc<Willing> {
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

/// Clocks that are set by hand; timers go on with tokio's paused time.
struct ByHand {
    began: tokio::time::Instant,
    wall_ahead_seconds: std::sync::atomic::AtomicI64,
}

impl Clock for ByHand {
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

/// A hypervisor stands the machine still for two hours: the boot-time clock knows nothing
/// of it, the wall clock is set right afterwards, and the session is dead.
#[tokio::test(start_paused = true)]
async fn a_session_is_renewed_within_a_nap_when_the_clocks_come_apart_and_once() {
    let by_hand = Arc::new(ByHand {
        began: tokio::time::Instant::now(),
        wall_ahead_seconds: 0.into(),
    });
    let clock: Arc<dyn Clock> = Arc::clone(&by_hand) as _;
    let sts = Arc::new(Willing::default());
    let calls = || sts.0.load(Ordering::Relaxed);
    let rate_limiter = Arc::new(RateLimiter::new(20, clock.boot()));
    let upstream = Upstream::new(
        Arc::clone(&sts),
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

    assert!(entry.current(Duration::ZERO, by_hand.boot()).is_none());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(calls(), 1, "the first caller's session");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(calls(), 1, "nothing is due");
    by_hand.wall_ahead_seconds.store(7200, Ordering::Relaxed);
    sleep(Duration::from_secs(21)).await;
    assert_eq!(calls(), 2, "within a nap, young as the session is");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(calls(), 2, "once for each time");
    task.abort();
}

/// Always says the same, as a program does that reads a file which nobody renews; or, without
/// an end, something else each time that lives for a moment.
#[derive(Debug)]
struct Program {
    expiration: Option<Timestamp>,
    asked: Arc<std::sync::atomic::AtomicU64>,
}

impl IdentityProvider for Program {
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

/// A profile without a role, its clocks, and how often its source was asked.
struct HandedOn {
    clock: Arc<ByHand>,
    entry: Arc<ProfileEntry>,
    asked: Arc<std::sync::atomic::AtomicU64>,
}

impl HandedOn {
    fn start(expiration: Option<Timestamp>, wall_ahead_seconds: i64) -> Self {
        let asked: Arc<std::sync::atomic::AtomicU64> = Arc::default();
        let clock = Arc::new(ByHand {
            began: tokio::time::Instant::now(),
            wall_ahead_seconds: wall_ahead_seconds.into(),
        });
        let source = Program {
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
            Nobody,
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

/// The wall clock is six hours behind until the network is there. What is handed on by then ends
/// sooner than it seemed to.
#[tokio::test(start_paused = true)]
async fn what_is_handed_on_ends_when_it_does_though_the_wall_clock_was_behind_at_first() {
    let hours = SignedDuration::from_hours;
    let handed_on = HandedOn::start(Some(NOON + hours(1)), -6 * 3600);
    sleep(Duration::from_secs(60)).await;
    assert!(handed_on.serves());
    handed_on
        .clock
        .wall_ahead_seconds
        .store(0, Ordering::Relaxed);
    sleep(Duration::from_secs(3500)).await;
    assert!(handed_on.serves(), "for as long as it lives");
    sleep(Duration::from_secs(60)).await;
    assert!(!handed_on.serves(), "and no longer");
}

/// The other way round, and it lives longer than it seemed to.
#[tokio::test(start_paused = true)]
async fn what_is_handed_on_lives_as_long_as_it_does_though_the_wall_clock_was_ahead_at_first() {
    let hours = SignedDuration::from_hours;
    let handed_on = HandedOn::start(Some(NOON + hours(8)), 6 * 3600);
    sleep(Duration::from_secs(60)).await;
    handed_on
        .clock
        .wall_ahead_seconds
        .store(0, Ordering::Relaxed);
    sleep(Duration::from_secs(3 * 3600)).await;
    assert!(handed_on.serves());
}

#[tokio::test(start_paused = true)]
async fn what_is_handed_on_and_ends_in_a_far_future_is_served_for_days() {
    let handed_on = HandedOn::start(Some(NOON + SignedDuration::from_hours(24 * 365)), 0);
    for hour in 0..72 {
        sleep(Duration::from_secs(3600)).await;
        assert!(handed_on.serves(), "after {hour} hours and one");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_sessions_end_at_once_is_asked_once_a_second_at_most() {
    let handed_on = HandedOn::start(None, 0);
    sleep(Duration::from_secs(60)).await;
    let asked = handed_on.asked.load(Ordering::Relaxed);
    assert!((50..=61).contains(&asked), "{asked}");
}

/// Those who wait look from another thread, as soon as they are told and only then.
#[test]
fn who_is_told_of_a_refusal_is_answered_by_it() {
    let mut refresher = refresher();
    let wanted = |refresher: &Refresher<Nobody>| {
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
