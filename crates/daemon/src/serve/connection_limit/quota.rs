//! The quotas of connections: which connections share one, and its size.

use crate::access::peer::Peer;

/// Upper bound of the number of connections.
const MAX_CONNECTIONS: usize = 16 * 1024;

/// Minimum number of open files that are not for connections.
const RESERVED_FDS: u64 = 32;

/// Lower bound of the number of connections; `accept` fails with EMFILE if the system permits fewer.
const MIN_CONNECTIONS: usize = 16;

/// Divisor of all connections for the quota of one lease.
const LEASE_QUOTA_DIVISOR: usize = 16;

/// Divisor of all connections for those that speak HTTP, each of which has buffers of its own.
const HTTP_QUOTA_DIVISOR: usize = 16;

/// Minimum number of connections that speak HTTP.
const MIN_HTTP_CONNECTIONS: usize = 16;

/// Divisor of all connections for those that are kept for users without a connection.
const NEWCOMER_DIVISOR: usize = 16;

/// Maximum number of watches that one user of a machine's daemon holds.
const MAX_WATCHES_PER_USER: usize = 256;

/// The share of all connections that one user may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserQuota {
    /// All connections: a user's daemon has one user.
    All,
    /// Half of the connections: no user of a machine's daemon may exclude the other users.
    Half,
}

/// The protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The frames of stsd.
    Frames,
    /// HTTP.
    Http,
}

/// The connections that count towards one quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum QuotaKey {
    /// The connections of a user, and of all leases of that user.
    User(u32),
    /// The connections of a user that speak HTTP.
    HttpOfUser(u32),
    /// All connections that speak HTTP.
    Http,
    /// The connections of one lease, by its number.
    Lease(u32),
}

/// The quotas of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionKeys {
    /// The user, or the owner of the lease.
    pub(super) user: u32,
    lease: Option<u32>,
    transport: Transport,
}

/// The sizes of all quotas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quotas {
    pub(super) max_connections: usize,
    pub(super) user_quota: UserQuota,
}

impl ConnectionKeys {
    pub(super) fn of(peer: &Peer, transport: Transport) -> Self {
        Self {
            user: peer.lease.map_or(peer.uid, |lease| lease.owner),
            lease: peer.lease.map(|lease| lease.number),
            transport,
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = QuotaKey> + use<> {
        let is_http = self.transport == Transport::Http;
        [
            self.lease.map(QuotaKey::Lease),
            Some(QuotaKey::User(self.user)),
            is_http.then_some(QuotaKey::HttpOfUser(self.user)),
            is_http.then_some(QuotaKey::Http),
        ]
        .into_iter()
        .flatten()
    }

    pub(super) fn has(&self, key: QuotaKey) -> bool {
        self.all().any(|it| it == key)
    }

    pub(super) fn is_of_lease(&self, number: u32) -> bool {
        self.lease == Some(number)
    }
}

impl Quotas {
    /// Returns the quotas of a process that may have `open_files`, of which a quarter is reserved.
    pub(super) fn new(open_files: u64, user_quota: UserQuota) -> Self {
        let reserved = (open_files / 4).max(RESERVED_FDS);
        let available = usize::try_from(open_files.saturating_sub(reserved));
        let available = available.unwrap_or(MAX_CONNECTIONS);
        Self {
            max_connections: available.clamp(MIN_CONNECTIONS, MAX_CONNECTIONS),
            user_quota,
        }
    }

    /// Returns the maximum number of connections for a key.
    pub(super) fn max_for(&self, key: QuotaKey) -> usize {
        let http = (self.max_connections / HTTP_QUOTA_DIVISOR).max(MIN_HTTP_CONNECTIONS);
        match (key, self.user_quota) {
            // A sandbox must not exclude the other programs of its owner.
            (QuotaKey::Lease(_), _) => self.max_connections / LEASE_QUOTA_DIVISOR,
            (QuotaKey::User(_), UserQuota::Half) => self.max_connections / 2,
            (QuotaKey::User(_), UserQuota::All) => self.max_connections,
            (QuotaKey::HttpOfUser(_), UserQuota::Half) => http / 2,
            (QuotaKey::HttpOfUser(_), UserQuota::All) | (QuotaKey::Http, _) => http,
        }
        .max(1)
    }

    /// Returns the maximum number of all connections for a user that holds `held` of them: the last
    /// ones are for users that hold none.
    pub(super) fn max_for_user_with(&self, held: usize) -> usize {
        match self.user_quota {
            UserQuota::Half if held > 0 => self.shared(),
            _ => self.max_connections,
        }
    }

    /// Returns the number of connections without those for users that hold none.
    pub(super) fn shared(&self) -> usize {
        match self.user_quota {
            UserQuota::All => self.max_connections,
            UserQuota::Half => self.max_connections - self.max_connections / NEWCOMER_DIVISOR,
        }
    }

    /// Returns the maximum number of connections that wait or watch because of one rule; `None`
    /// without a bound.
    pub(super) fn max_for_rule(&self) -> Option<usize> {
        (self.user_quota == UserQuota::Half).then_some(self.max_connections / 2)
    }

    /// Returns the maximum number of watches of one user; `None` without a bound.
    pub(super) fn max_watches(&self) -> Option<usize> {
        (self.user_quota == UserQuota::Half).then_some(MAX_WATCHES_PER_USER)
    }
}
