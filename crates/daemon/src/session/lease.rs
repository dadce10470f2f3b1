//! The handle of a lease.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{access::peer::LeaseId, session::profile_entry::ProfileEntry};

/// A lease: a profile with a task of its own, which ends when this is dropped.
pub struct LeaseHandle {
    /// The number and the owner of the lease.
    pub id: LeaseId,
    /// The profile of the lease.
    pub entry: Arc<ProfileEntry>,
    /// Cancelled at the end of the lease, and by a reload with another endpoint.
    pub revoked: CancellationToken,
}

impl Drop for LeaseHandle {
    fn drop(&mut self) {
        self.revoked.cancel();
    }
}
