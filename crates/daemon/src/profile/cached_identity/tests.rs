//! Concurrent resolutions, and the cache of expiring identities.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use stsd_sts::{Proof, SecretText, SourceCredentials};

use super::*;
use crate::{
    profile::{Expiry, NoSession, RecoveryFuture, ResolveFuture, SessionFuture},
    runtime::clock::{Clock, SuspendAwareSleep},
};

/// A provider that counts its calls, and fails if a test says so.
#[derive(Debug, Default)]
struct Scripted {
    calls: Arc<AtomicUsize>,
    fails: Arc<AtomicBool>,
    lifetime: Option<Duration>,
}

impl IdentityProvider for Scripted {
    fn resolve<'a>(&'a self, context: ResolveContext<'a>) -> ResolveFuture<'a> {
        Box::pin(async move {
            let count = self.calls.fetch_add(1, Ordering::Relaxed);
            let asked = context.clock.boot();
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.fails.load(Ordering::Relaxed) {
                return Err(SourceError::new("the script", "fails", "wait"));
            }
            let wall = context.clock.wall();
            let end = self.lifetime.map(|lifetime| {
                let expiration = wall + SignedDuration::try_from(lifetime).unwrap();
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

/// A configuration without other profiles.
struct NoSessions;

impl Sessions for NoSessions {
    fn current(&self, _: &str) -> Option<ResolvedIdentity> {
        None
    }

    fn session<'a>(
        &'a self,
        _: &'a str,
        _: Duration,
        _: Duration,
        _: &'a dyn Clock,
    ) -> SessionFuture<'a> {
        Box::pin(async { Err(NoSession::Removed) })
    }

    fn refresh<'a>(&'a self, _: &'a str, _: Duration, _: &'a dyn Clock) -> RecoveryFuture<'a> {
        Box::pin(async {})
    }

    fn recovered<'a>(&'a self, _: &'a str) -> RecoveryFuture<'a> {
        Box::pin(std::future::pending())
    }
}

/// A clock that follows tokio's paused time.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn wall(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }

    fn boot(&self) -> BootTime {
        BootTime::from_duration(self.0.elapsed())
    }

    fn boot_id(&self) -> String {
        String::new()
    }

    fn sleep_at_most(&self, longest: Duration) -> SuspendAwareSleep<'_> {
        Box::pin(tokio::time::sleep(longest.min(Duration::from_secs(1))))
    }
}

fn key(result: Result<ResolvedIdentity, SourceError>) -> String {
    match &*result.unwrap().proof {
        Proof::Credentials(credentials) => credentials.access_key_id.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_resolutions_share_one_result_or_error() {
    let clock = PausedClock(tokio::time::Instant::now());
    let provider = Scripted::default();
    let (calls, fails) = (Arc::clone(&provider.calls), Arc::clone(&provider.fails));
    let identity = CachedIdentity::new(&["scripted"], provider);
    let context = ResolveContext {
        sessions: &NoSessions,
        clock: &clock,
        freshness: Freshness::Cached,
    };
    for round in 1..=2 {
        // The calls during the first resolution share the second one.
        let first = identity.resolve(context);
        let (first, second, third, fourth) = tokio::join!(
            first,
            resolve_later(&identity, context),
            resolve_later(&identity, context),
            resolve_later(&identity, context)
        );
        assert_eq!(calls.load(Ordering::Relaxed), 2 * round);
        let same = |it: &Result<ResolvedIdentity, SourceError>| it.is_err() == (round == 2);
        assert!([first, second, third, fourth].iter().all(same));
        // A cached key would hide the error, so that the cache is emptied.
        fails.store(true, Ordering::Relaxed);
        *identity.cache.lock().await = None;
    }
}

async fn resolve_later(
    identity: &CachedIdentity,
    context: ResolveContext<'_>,
) -> Result<ResolvedIdentity, SourceError> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    identity.resolve(context).await
}

#[tokio::test(start_paused = true)]
async fn expiring_identity_is_cached_for_half_its_lifetime() {
    let clock = PausedClock(tokio::time::Instant::now());
    let provider = Scripted {
        lifetime: Some(Duration::from_secs(1000)),
        ..Scripted::default()
    };
    let fails = Arc::clone(&provider.fails);
    let identity = CachedIdentity::new(&["scripted"], provider);
    let context = ResolveContext {
        sessions: &NoSessions,
        clock: &clock,
        freshness: Freshness::Cached,
    };
    let advance = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
    assert_eq!(key(identity.resolve(context).await), "STS.0");
    advance(400).await;
    assert_eq!(key(identity.resolve(context).await), "STS.0");
    let refused = ResolveContext {
        freshness: Freshness::Fresh,
        ..context
    };
    assert_eq!(
        key(identity.resolve(refused).await),
        "STS.1",
        "a refused identity is resolved again"
    );
    advance(600).await;
    assert_eq!(
        key(identity.resolve(context).await),
        "STS.2",
        "in the second half of the lifetime"
    );
    fails.store(true, Ordering::Relaxed);
    advance(600).await;
    assert_eq!(
        key(identity.resolve(context).await),
        "STS.2",
        "the cached identity has not expired"
    );
    assert!(identity.resolve(refused).await.is_err());
    assert_eq!(
        key(identity.resolve(context).await),
        "STS.2",
        "the error of a fresh resolution keeps the cached identity"
    );
    let (both, other) = tokio::join!(identity.resolve(context), identity.resolve(refused));
    assert!(
        key(both) == "STS.2" && other.is_err(),
        "calls that share a result"
    );
    advance(380).await;
    assert!(
        identity.resolve(context).await.is_err(),
        "less than the signing margin is left"
    );
}
