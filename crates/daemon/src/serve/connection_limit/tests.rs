use std::sync::Arc;

use super::{
    Activity, CloseReason, ConnectionLimiter, ConnectionPermit, Transport, UserQuota, quota::Quotas,
};
use crate::{
    access::peer::{LeaseId, Peer},
    profile::Rule,
};

fn limiter(max_connections: usize, user_quota: UserQuota) -> Arc<ConnectionLimiter> {
    Arc::new(ConnectionLimiter {
        quotas: Quotas {
            max_connections,
            user_quota,
        },
        ..ConnectionLimiter::new(0, user_quota)
    })
}

fn admit(limiter: &Arc<ConnectionLimiter>, peer: &Peer) -> Option<ConnectionPermit> {
    limiter.admit(peer, Transport::Frames)
}

fn mark_waiting(permit: &ConnectionPermit) {
    permit.mark(Activity::Waiting);
}

fn user(uid: u32) -> Peer {
    Peer::known(uid, &[], "")
}

fn is_evicted(permit: &ConnectionPermit) -> bool {
    permit.close_reason() == Some(CloseReason::Evicted)
}

#[test]
fn longest_idle_connection_is_evicted() {
    let limiter = limiter(3, UserQuota::All);
    let admit = || admit(&limiter, &user(1)).unwrap();
    let (first, second, third) = (admit(), admit(), admit());
    mark_waiting(&first);
    first.mark_idle();
    let _fourth = admit();
    assert!(is_evicted(&second));
    assert!(!is_evicted(&first) && !is_evicted(&third));
    drop(second);
    let _fifth = admit();
    assert!(is_evicted(&third));
}

#[test]
fn connection_that_waits_for_a_reply_is_not_evicted() {
    let limiter = limiter(2, UserQuota::All);
    let two = [(); 2].map(|()| admit(&limiter, &user(1)).unwrap());
    two.iter().for_each(mark_waiting);
    assert!(admit(&limiter, &user(1)).is_none());
    assert!(!two.iter().any(is_evicted));
    two[1].mark_idle();
    assert!(admit(&limiter, &user(1)).is_some());
    assert!(is_evicted(&two[1]) && !is_evicted(&two[0]));
}

#[test]
fn user_at_its_half_evicts_its_own_connections() {
    let limiter = limiter(4, UserQuota::Half);
    let other = admit(&limiter, &user(2)).unwrap();
    let greedy = [(); 2].map(|()| admit(&limiter, &user(1)).unwrap());
    let _third = admit(&limiter, &user(1)).unwrap();
    assert!(is_evicted(&greedy[0]) && !is_evicted(&other));
    let rest = [(); 1].map(|()| admit(&limiter, &user(2)).unwrap());
    assert!(!is_evicted(&other) && !is_evicted(&rest[0]));
}

#[test]
fn lease_has_a_quota_of_its_own() {
    let limiter = limiter(32, UserQuota::All);
    let leased = |number| {
        let mut peer = user(1);
        peer.lease = Some(LeaseId { number, owner: 1 });
        peer
    };
    let sandbox = [(); 2].map(|()| admit(&limiter, &leased(7)).unwrap());
    sandbox.iter().for_each(mark_waiting);
    assert!(admit(&limiter, &leased(7)).is_none());
    assert!(admit(&limiter, &leased(8)).is_some());
    assert!(admit(&limiter, &user(1)).is_some());
}

#[test]
fn leases_count_towards_the_quota_of_their_user() {
    let limiter = limiter(32, UserQuota::Half);
    let mut held = Vec::new();
    for number in 0..20 {
        // Root, in a container of user 1.
        let mut peer = user(0);
        peer.lease = Some(LeaseId { number, owner: 1 });
        held.extend(admit(&limiter, &peer).into_iter().inspect(mark_waiting));
    }
    assert_eq!(held.len(), 16);
    assert!(admit(&limiter, &user(1)).is_none());
    assert!(admit(&limiter, &user(2)).is_some() && admit(&limiter, &user(0)).is_some());
    held.clear();
    assert!(limiter.lock().is_empty());
}

#[test]
fn stop_and_lease_end_set_close_reasons() {
    let limiter = limiter(32, UserQuota::All);
    let leased = |number| {
        let mut peer = user(1);
        peer.lease = Some(LeaseId { number, owner: 1 });
        admit(&limiter, &peer).unwrap()
    };
    let (mine, seventh, eighth) = (admit(&limiter, &user(1)).unwrap(), leased(7), leased(8));
    limiter.end_lease(7);
    assert_eq!(seventh.close_reason(), Some(CloseReason::LeaseEnded));
    assert_eq!((mine.close_reason(), eighth.close_reason()), (None, None));
    limiter.stop();
    let late = admit(&limiter, &user(1)).unwrap();
    for permit in [&mine, &eighth, &late] {
        assert_eq!(permit.close_reason(), Some(CloseReason::Shutdown));
    }
}

#[test]
fn closed_connections_do_not_count() {
    let limiter = limiter(2, UserQuota::Half);
    for _ in 0..100 {
        let permit = admit(&limiter, &user(1)).unwrap();
        mark_waiting(&permit);
    }
    assert!(limiter.lock().is_empty());
}

/// Returns `count` connections of a user that watch because of a rule.
fn watches(
    limiter: &Arc<ConnectionLimiter>,
    uid: u32,
    rule: &Rule,
    count: usize,
) -> Vec<ConnectionPermit> {
    let watch = |_| {
        let permit = admit(limiter, &user(uid))?;
        permit.watch_by(Some(rule)).then_some(permit)
    };
    (0..count).filter_map(watch).collect()
}

fn count_of(permits: &[ConnectionPermit], reason: CloseReason) -> usize {
    let closed = permits.iter().map(ConnectionPermit::close_reason);
    closed.filter(|it| *it == Some(reason)).count()
}

#[test]
fn newcomer_of_a_small_user_displaces_the_oldest_watch_of_the_largest() {
    let limiter = limiter(64, UserQuota::Half);
    let (rules, mut all) = ([1, 2, 3].map(Rule::Group), Vec::new());
    for (uid, rule) in (1..).zip(&rules) {
        all.extend(watches(&limiter, uid, rule, 20));
    }
    assert_eq!(all.len(), 60, "the rest is for users without a connection");
    let mut fourth = Vec::new();
    for _ in 0..15 {
        fourth.push(admit(&limiter, &user(4)).expect("a small user is admitted"));
        mark_waiting(fourth.last().unwrap());
    }
    assert_eq!(count_of(&fourth, CloseReason::Displaced), 0);
    assert_eq!(count_of(&all, CloseReason::Displaced), 14);
    let first = all[0].close_reason();
    assert_eq!(first, Some(CloseReason::Displaced), "the oldest");
    // The largest user has no advantage from a new connection.
    let largest = all.iter().filter(|it| it.close_reason().is_none()).count();
    let _ = admit(&limiter, &user(1));
    let left = all.iter().filter(|it| it.close_reason().is_none()).count();
    assert!(largest - left <= 1);
}

#[test]
fn refused_user_costs_one_scan_in_many_attempts() {
    let limiter = limiter(1024, UserQuota::Half);
    let own = |_| admit(&limiter, &user(1)).inspect(mark_waiting);
    let held: Vec<_> = (0..512).filter_map(own).collect();
    assert_eq!(held.len(), 512, "the half");
    assert!(own(0).is_none(), "the scan");
    held[0].mark_idle();
    let refused = (0..100).take_while(|_| own(0).is_none()).count();
    assert_eq!(refused, 512 / 64, "without a scan");
    assert!(is_evicted(&held[0]));
    assert!(admit(&limiter, &user(2)).is_some(), "another user");
}

#[test]
fn watches_of_one_rule_have_half_of_the_connections() {
    let limiter = limiter(64, UserQuota::Half);
    let rule = Rule::Group(7);
    let first = watches(&limiter, 1, &rule, 20);
    let second = watches(&limiter, 2, &rule, 20);
    assert_eq!((first.len(), second.len()), (20, 16));
    assert_eq!(count_of(&first, CloseReason::Displaced), 4, "16 for each");
    let third = watches(&limiter, 3, &rule, 1);
    assert_eq!(third.len(), 1, "a small user displaces");
    assert_eq!(count_of(&first, CloseReason::Displaced), 5);
    let other_rule = watches(&limiter, 4, &Rule::Group(8), 10);
    assert_eq!(other_rule.len(), 10);
    drop((first, second, third, other_rule));
    assert!(limiter.lock().is_empty());
}

#[test]
fn user_of_a_system_daemon_holds_256_watches() {
    let limiter = limiter(4096, UserQuota::Half);
    let held = watches(&limiter, 1, &Rule::User(1), 300);
    assert_eq!(held.len(), 256);
    held[0].mark_idle();
    assert_eq!(watches(&limiter, 1, &Rule::User(1), 2).len(), 1);
    let own = limiter_of_a_user();
    assert_eq!(watches(&own, 1, &Rule::User(1), 300).len(), 300);
}

fn limiter_of_a_user() -> Arc<ConnectionLimiter> {
    limiter(4096, UserQuota::All)
}

#[test]
fn last_connections_are_for_users_without_one() {
    let limiter = limiter(64, UserQuota::Half);
    let mut held = Vec::new();
    for uid in 0..100 {
        let permit = admit(&limiter, &user(uid % 3));
        held.extend(permit.inspect(mark_waiting));
    }
    assert_eq!(held.len(), 60);
    for uid in 10..14 {
        held.push(admit(&limiter, &user(uid)).expect("a new user"));
    }
}

#[test]
fn buffers_beyond_a_limit_close_the_oldest_of_the_largest_user() {
    let limiter = limiter(4096, UserQuota::Half);
    let unfinished = |uid| {
        let permit = admit(&limiter, &user(uid)).unwrap();
        permit.set_buffered(1024);
        permit
    };
    let other = unfinished(2);
    let of_user: Vec<_> = (0..1025).map(|_| unfinished(1)).collect();
    let closed = count_of(&of_user, CloseReason::BuffersFull);
    assert_eq!(closed, 65, "a sixteenth of the bytes at once");
    assert!(of_user[..64].iter().all(|it| it.close_reason().is_some()));
    assert_eq!(other.close_reason(), None);
    other.set_buffered(0);
    drop((of_user, other));
    assert!(limiter.lock().is_empty());
}

#[test]
fn http_connections_have_a_sixteenth() {
    let limiter = limiter(1024, UserQuota::Half);
    let http = |uid| limiter.admit(&user(uid), Transport::Http);
    let held: Vec<_> = (0..100)
        .filter_map(|_| http(1).inspect(mark_waiting))
        .collect();
    assert_eq!(held.len(), 32, "half of 64");
    let others: Vec<_> = (2..40)
        .filter_map(|uid| http(uid).inspect(mark_waiting))
        .collect();
    assert_eq!(others.len(), 38, "small users displace the largest");
    assert_eq!(count_of(&held, CloseReason::Displaced), 6);
    assert!(admit(&limiter, &user(1)).is_some(), "the socket of frames");
}

#[test]
fn end_of_a_peak_is_reported_once() {
    let limiter = limiter_of_a_user();
    let mut many: Vec<_> = (0..300)
        .map(|_| admit(&limiter, &user(1)).unwrap())
        .collect();
    assert!(!limiter.lock().take_ended_peak());
    many.truncate(100);
    // The drop of the 151st has taken it.
    assert!(!limiter.lock().take_ended_peak());
    let notified = limiter.peak_ended();
    let mut notified = std::pin::pin!(notified);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(notified.as_mut().poll(&mut context).is_ready());
}
