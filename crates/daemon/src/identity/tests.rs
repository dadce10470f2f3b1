//! What many who ask a source get, and what becomes of answers that end.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use stsd_sts::{SecretText, SourceCredentials};

use super::*;

/// Says what it is told to, and counts.
#[derive(Debug, Default)]
struct Scripted {
    asked: Arc<AtomicUsize>,
    fails: Arc<std::sync::atomic::AtomicBool>,
    life: Option<Duration>,
}

impl Identity for Scripted {
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a> {
        Box::pin(async move {
            let count = self.asked.fetch_add(1, Ordering::Relaxed);
            let asked = context.clock.boot();
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.fails.load(Ordering::Relaxed) {
                return Err(SourceError::new("the script", "fails", "let it"));
            }
            let wall = context.clock.wall();
            let end = self.life.map(|life| {
                let expiration = wall + jiff::SignedDuration::try_from(life).unwrap();
                Expiry::new(expiration, Some(wall), asked, context.clock)
            });
            Ok(ResolvedIdentity {
                proof: Arc::new(Proof::Credentials(SourceCredentials {
                    access_key_id: format!("STS.{count}"),
                    access_key_secret: SecretText::from("secret".to_owned()),
                    security_token: None,
                })),
                asked,
                end,
            })
        })
    }

    fn describe(&self) -> String {
        "the script".to_owned()
    }
}

/// A clock that goes with tokio's paused time.
struct Paused(tokio::time::Instant);

impl Clock for Paused {
    fn wall(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(self.0.elapsed()).unwrap()
    }

    fn boot(&self) -> BootTime {
        BootTime::from_duration(self.0.elapsed())
    }

    fn boot_id(&self) -> String {
        String::new()
    }

    fn sleep_at_most(&self, longest: Duration) -> crate::runtime::clock::SuspendAwareSleep<'_> {
        Box::pin(tokio::time::sleep(longest.min(Duration::from_secs(1))))
    }
}

fn key(given: Result<ResolvedIdentity, SourceError>) -> String {
    match &*given.unwrap().proof {
        Proof::Credentials(credentials) => credentials.access_key_id.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_cost_one_asking_and_share_its_failure() {
    let (store, clock) = (Store::default(), Paused(tokio::time::Instant::now()));
    let identity = Scripted::default();
    let (asked, fails) = (Arc::clone(&identity.asked), Arc::clone(&identity.fails));
    let source = CachedIdentity::new(&["scripted"], identity);
    let context = ResolveContext {
        store: &store,
        clock: &clock,
        freshness: Freshness::Cached,
    };
    for round in 1..=2 {
        // Who comes while one is being asked waits for the one that follows, all together.
        let first = source.resolve(context);
        let (first, second, third, fourth) = tokio::join!(
            first,
            later(&source, context),
            later(&source, context),
            later(&source, context)
        );
        assert_eq!(asked.load(Ordering::Relaxed), 2 * round);
        let same = |it: &Result<ResolvedIdentity, SourceError>| it.is_err() == (round == 2);
        assert!([first, second, third, fourth].iter().all(same));
        // What was good stays so for a key; only one that was never had is an error.
        fails.store(true, Ordering::Relaxed);
        *source.cache.lock().await = None;
    }
}

async fn later(
    source: &CachedIdentity,
    context: ResolveContext<'_>,
) -> Result<ResolvedIdentity, SourceError> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    source.resolve(context).await
}

#[tokio::test(start_paused = true)]
async fn what_has_an_end_is_used_until_half_of_its_life_and_longer_when_nothing_better_is_had() {
    let (store, clock) = (Store::default(), Paused(tokio::time::Instant::now()));
    let identity = Scripted {
        life: Some(Duration::from_secs(1000)),
        ..Scripted::default()
    };
    let fails = Arc::clone(&identity.fails);
    let source = CachedIdentity::new(&["scripted"], identity);
    let context = ResolveContext {
        store: &store,
        clock: &clock,
        freshness: Freshness::Cached,
    };
    let advance = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
    assert_eq!(key(source.resolve(context).await), "STS.0");
    advance(400).await;
    assert_eq!(key(source.resolve(context).await), "STS.0");
    let refused = ResolveContext {
        freshness: Freshness::Fresh,
        ..context
    };
    assert_eq!(
        key(source.resolve(refused).await),
        "STS.1",
        "what is refused is not used on"
    );
    advance(600).await;
    assert_eq!(
        key(source.resolve(context).await),
        "STS.2",
        "past half of its life"
    );
    fails.store(true, Ordering::Relaxed);
    advance(600).await;
    assert_eq!(
        key(source.resolve(context).await),
        "STS.2",
        "it still lives"
    );
    assert!(source.resolve(refused).await.is_err());
    assert_eq!(
        key(source.resolve(context).await),
        "STS.2",
        "it was no use to somebody else, and is to us"
    );
    let (both, other) = tokio::join!(source.resolve(context), source.resolve(refused));
    assert!(
        key(both) == "STS.2" && other.is_err(),
        "who share an answer"
    );
    advance(380).await;
    assert!(
        source.resolve(context).await.is_err(),
        "too little of it is left"
    );
}

#[test]
fn no_end_is_believed_beyond_the_longest_session() {
    let clock = crate::runtime::clock::SystemClock::default();
    let asked = clock.boot();
    let check = |expiration, date, expected: u64| {
        let end = Expiry::new(expiration, Some(date), asked, &clock);
        assert_eq!(end.at.since(asked).as_secs(), expected);
    };
    let noon = Timestamp::constant(1_795_003_200, 0);
    let hours = jiff::SignedDuration::from_hours;
    // The second that the issuer's clock may be further on.
    check(noon + hours(6), noon, 6 * 3600 - 1);
    check(noon + hours(24), noon, 12 * 3600);
    check(Timestamp::MAX, noon, 12 * 3600);
    check(noon, noon + hours(1), 0);
    check(Timestamp::MIN, Timestamp::MAX, 0);
}
