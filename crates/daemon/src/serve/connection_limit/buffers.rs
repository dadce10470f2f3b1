//! The bytes in the buffers of all connections: unfinished requests, and replies that the peer has
//! not read.

use std::collections::BTreeMap;

/// Maximum number of bytes in the buffers of one user's connections.
const MAX_USER_BYTES: usize = 1024 * 1024;

/// Maximum number of bytes in the buffers of all connections.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Divisor of a user's bytes for the batch that is freed beyond a limit: with a batch, the
/// connections are not searched for each request.
const BATCH_DIVISOR: usize = 16;

/// The bytes in the buffers of all connections, by user.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    total: usize,
    by_user: BTreeMap<u32, usize>,
}

impl Buffers {
    /// Replaces the bytes of one connection of a user.
    pub(super) fn change(&mut self, user: u32, from: u32, to: u32) {
        let bytes = self.by_user.entry(user).or_default();
        let change = |sum: usize| (sum + to as usize).saturating_sub(from as usize);
        *bytes = change(*bytes);
        if *bytes == 0 {
            self.by_user.remove(&user);
        }
        self.total = change(self.total);
    }

    /// Returns the user whose bytes are to be freed after a change of `user`, and how many; `None`
    /// within the limits.
    pub(super) fn excess(&self, user: u32) -> Option<(u32, usize)> {
        let of_user = self.by_user.get(&user).copied().unwrap_or_default();
        let (largest, bytes) = if of_user > MAX_USER_BYTES {
            (user, of_user)
        } else if self.total > MAX_BYTES {
            let largest = self.by_user.iter().max_by_key(|(_, bytes)| **bytes)?;
            (*largest.0, *largest.1)
        } else {
            return None;
        };
        Some((largest, bytes / BATCH_DIVISOR))
    }

    #[cfg(test)]
    pub(super) fn total(&self) -> usize {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffers, MAX_BYTES, MAX_USER_BYTES};

    #[test]
    fn excess_is_that_of_the_user_and_then_of_the_largest_user() {
        let mut buffers = Buffers::default();
        let user = u32::try_from(MAX_USER_BYTES).unwrap();
        buffers.change(1, 0, user);
        assert_eq!(buffers.excess(1), None);
        buffers.change(1, 0, 1);
        assert_eq!(buffers.excess(1), Some((1, (MAX_USER_BYTES + 1) / 16)));
        assert_eq!(buffers.excess(2), None, "another user");
        for uid in 2..=4 {
            buffers.change(uid, 0, user - 1);
        }
        assert!(buffers.total() <= MAX_BYTES);
        buffers.change(9, 0, 100);
        assert_eq!(buffers.excess(9).map(|it| it.0), Some(1));
        for (uid, bytes) in [(1, user), (1, 1), (9, 100)] {
            buffers.change(uid, bytes, 0);
        }
        assert_eq!((buffers.excess(9), buffers.by_user.len()), (None, 3));
    }
}
