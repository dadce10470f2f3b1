use std::{sync::Arc, thread, time::Duration};

use stsd_wire::{Credentials, Failure, FailureKind, SecretText};
use tokio::{runtime, time::timeout};

use super::{Current, Watched, channel, guess};
use crate::{Error, boot_time::BootTime};

const LONG: Duration = Duration::from_secs(600);

fn session(key: &str) -> Credentials {
    Credentials {
        access_key_id: key.to_owned(),
        access_key_secret: SecretText::from("marker-secret".to_owned()),
        security_token: SecretText::from("marker-token".to_owned()),
        expiration_unix_seconds: 10_000,
        issued_unix_seconds: 9_000,
    }
}

fn in_long() -> Option<BootTime> {
    Some(BootTime::now() + LONG)
}

fn refused(kind: FailureKind) -> Error {
    Error::Refused(Failure {
        kind,
        message: "made up".to_owned(),
        hint: String::new(),
    })
}

fn run<T>(story: impl Future<Output = T>) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(story)
}

fn key(current: Option<Current>) -> Option<String> {
    current.map(|it| it.access_key_id.clone())
}

#[test]
fn session_is_current_until_its_expiration() {
    let (publisher, mut watched) = channel();
    assert!(watched.current().is_none() && watched.latest().is_none());
    // Long enough for the reads that follow, on a busy machine as well.
    let life = Duration::from_secs(2);
    let ends = BootTime::now() + life;
    publisher.publish(session("one"), Some(ends));
    assert_eq!(watched.latest().unwrap().access_key_id, "one");
    let current = watched.current().unwrap();
    assert!(current.remaining() <= life);
    while watched.current().is_some() {
        // What is read may be behind by a tick of the kernel's.
        assert!(BootTime::now() < ends + life, "it is read on");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(BootTime::now() >= ends, "it was cut off");
    assert_eq!(watched.latest(), None);
    // A value that was read before the expiration stays readable, with no lifetime left.
    assert_eq!(current.access_key_id, "one");
    assert_eq!(current.remaining(), Duration::ZERO);
}

#[test]
fn every_handle_reads_the_newest_session() {
    let (publisher, mut first) = channel();
    publisher.publish(session("one"), in_long());
    let mut second = first.clone();
    let read = |watched: &mut Watched| watched.latest().unwrap().access_key_id.clone();
    assert_eq!(read(&mut first), "one");
    publisher.publish(session("two"), in_long());
    assert_eq!(read(&mut first), "two");
    let mut third = first.clone();
    publisher.publish(session("three"), in_long());
    for watched in [&mut first, &mut second, &mut third] {
        assert_eq!(read(watched), "three");
        assert_eq!(key(watched.current()).unwrap(), "three");
    }
}

#[test]
fn reported_expiration_is_not_replaced_by_an_estimate() {
    let (publisher, watched) = channel();
    let left = |watched: &Watched| watched.current().map_or(0, |it| it.remaining().as_secs());
    publisher.publish(session("one"), None);
    // By the wall clock the session expired in 1970, so its full lifetime is counted.
    assert!((900..1000).contains(&left(&watched)));
    publisher.publish(session("one"), in_long());
    assert!((500..600).contains(&left(&watched)));
    publisher.publish(session("one"), None);
    assert!((500..600).contains(&left(&watched)));
}

#[test]
fn estimated_lifetime_follows_a_plausible_wall_clock() {
    let check = |wall_clock, left| {
        let guessed = guess(&session("one"), wall_clock);
        assert_eq!(guessed, Duration::from_secs(left), "{wall_clock}");
    };
    check(9_000, 1000);
    check(9_400, 600);
    check(9_999, 1);
    // The session is valid, or the daemon would not have sent it.
    check(10_000, 1000);
    check(1_000_000, 1000);
    // Its remaining lifetime is at most the one at its issue.
    check(8_000, 1000);
    check(i64::MIN, 1000);
    let mut odd = session("one");
    odd.issued_unix_seconds = 11_000;
    assert_eq!(guess(&odd, 9_500), Duration::ZERO);
}

#[test]
fn changed_returns_each_newest_session_once() {
    run(async {
        let (publisher, mut one) = channel();
        let mut two = one.clone();
        publisher.publish(session("a"), in_long());
        assert_eq!(key(one.changed().await).as_deref(), Some("a"));
        publisher.publish(session("a"), in_long());
        let wait = timeout(Duration::from_millis(50), one.changed()).await;
        assert!(wait.is_err(), "the same again is no news");
        publisher.publish(session("b"), in_long());
        publisher.publish(session("c"), in_long());
        assert_eq!(key(one.changed().await).as_deref(), Some("c"));
        assert_eq!(key(two.changed().await).as_deref(), Some("c"));
        let mut three = one.clone();
        drop(publisher);
        assert!(three.changed().await.is_none(), "there will be no other");
        assert_eq!(key(one.current()).as_deref(), Some("c"), "it lives on");
    });
}

#[test]
fn ready_fails_for_permanent_failures_only() {
    run(async {
        let (publisher, watched) = channel();
        publisher.fail(refused(FailureKind::Unreachable));
        let wait = timeout(Duration::from_millis(50), watched.ready()).await;
        assert!(wait.is_err(), "STS may come back");
        assert!(watched.failure().is_some());
        publisher.fail(refused(FailureKind::UnknownProfile));
        let failure = watched.ready().await.unwrap_err();
        assert_eq!(failure.exit_code(), 4);
        publisher.publish(session("a"), in_long());
        assert_eq!(watched.ready().await.unwrap().access_key_id, "a");
        assert!(watched.failure().is_none());
        // A failure does not hide a valid session.
        publisher.fail(refused(FailureKind::UnknownProfile));
        assert_eq!(watched.ready().await.unwrap().access_key_id, "a");
    });
    run(async {
        let (publisher, watched) = channel();
        drop(publisher);
        assert!(matches!(
            *watched.ready().await.unwrap_err(),
            Error::Broken { .. }
        ));
    });
}

#[test]
fn debug_output_of_a_watch_has_no_secret() {
    let (publisher, watched) = channel();
    publisher.publish(session("a"), in_long());
    publisher.fail(refused(FailureKind::Busy));
    let shown = format!("{watched:?} {:?}", watched.current().unwrap());
    assert!(
        shown.contains("[redacted]") && shown.contains("made up"),
        "{shown}"
    );
    assert!(!shown.contains("marker"), "{shown}");
}

#[test]
fn concurrent_readers_see_whole_valid_sessions() {
    fn may_travel<T: Send + Sync>() {}
    may_travel::<Watched>();
    may_travel::<Current>();
    let (publisher, watched) = channel();
    publisher.publish(session("0"), in_long());
    let watched = Arc::new(watched);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while last < 1000 {
                    let current = watched.current().unwrap();
                    let number: u64 = current.access_key_id.parse().unwrap();
                    assert!(number >= last);
                    last = number;
                }
            });
        }
        for number in 1..=1000 {
            publisher.publish(session(&number.to_string()), in_long());
        }
    });
}
