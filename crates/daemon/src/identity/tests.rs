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
    fn obtain<'a>(&'a self, ask: Ask<'a>) -> Asking<'a> {
        Box::pin(async move {
            let count = self.asked.fetch_add(1, Ordering::Relaxed);
            let asked = ask.clock.boot();
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.fails.load(Ordering::Relaxed) {
                return Err(SourceError::new("the script", "fails", "let it"));
            }
            let wall = ask.clock.wall();
            let end = self.life.map(|life| {
                let expiration = wall + jiff::SignedDuration::try_from(life).unwrap();
                End::new(expiration, Some(wall), asked, ask.clock)
            });
            Ok(Obtained {
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

    fn subject(&self) -> String {
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

    fn nap(&self, longest: Duration) -> crate::runtime::clock::Nap<'_> {
        Box::pin(tokio::time::sleep(longest.min(Duration::from_secs(1))))
    }
}

fn key(given: Result<Obtained, SourceError>) -> String {
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
    let source = Source::new(&["scripted"], identity);
    let ask = Ask {
        store: &store,
        clock: &clock,
        wish: Wish::Usable,
    };
    for round in 1..=2 {
        // Who comes while one is being asked waits for the one that follows, all together.
        let first = source.obtain(ask);
        let (first, second, third, fourth) = tokio::join!(
            first,
            later(&source, ask),
            later(&source, ask),
            later(&source, ask)
        );
        assert_eq!(asked.load(Ordering::Relaxed), 2 * round);
        let same = |it: &Result<Obtained, SourceError>| it.is_err() == (round == 2);
        assert!([first, second, third, fourth].iter().all(same));
        // What was good stays so for a key; only one that was never had is an error.
        fails.store(true, Ordering::Relaxed);
        *source.held.lock().await = None;
    }
}

async fn later(source: &Source, ask: Ask<'_>) -> Result<Obtained, SourceError> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    source.obtain(ask).await
}

#[tokio::test(start_paused = true)]
async fn what_has_an_end_is_used_until_half_of_its_life_and_longer_when_nothing_better_is_had() {
    let (store, clock) = (Store::default(), Paused(tokio::time::Instant::now()));
    let identity = Scripted {
        life: Some(Duration::from_secs(1000)),
        ..Scripted::default()
    };
    let fails = Arc::clone(&identity.fails);
    let source = Source::new(&["scripted"], identity);
    let ask = Ask {
        store: &store,
        clock: &clock,
        wish: Wish::Usable,
    };
    let advance = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
    assert_eq!(key(source.obtain(ask).await), "STS.0");
    advance(400).await;
    assert_eq!(key(source.obtain(ask).await), "STS.0");
    let refused = Ask {
        wish: Wish::Newest,
        ..ask
    };
    assert_eq!(
        key(source.obtain(refused).await),
        "STS.1",
        "what is refused is not used on"
    );
    advance(600).await;
    assert_eq!(
        key(source.obtain(ask).await),
        "STS.2",
        "past half of its life"
    );
    fails.store(true, Ordering::Relaxed);
    advance(600).await;
    assert_eq!(key(source.obtain(ask).await), "STS.2", "it still lives");
    assert!(source.obtain(refused).await.is_err());
    assert_eq!(
        key(source.obtain(ask).await),
        "STS.2",
        "it was no use to somebody else, and is to us"
    );
    let (both, other) = tokio::join!(source.obtain(ask), source.obtain(refused));
    assert!(
        key(both) == "STS.2" && other.is_err(),
        "who share an answer"
    );
    advance(380).await;
    assert!(
        source.obtain(ask).await.is_err(),
        "too little of it is left"
    );
}

#[test]
fn no_end_is_believed_beyond_the_longest_session() {
    let clock = crate::runtime::clock::SystemClock::default();
    let asked = clock.boot();
    let check = |expiration, date, expected: u64| {
        let end = End::new(expiration, Some(date), asked, &clock);
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
