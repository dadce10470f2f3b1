//! The system calls of an older Linux, for a thread and the programs that it starts, by a filter of
//! system calls.

use std::{collections::BTreeMap, env::consts::ARCH};

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

use crate::namespaces::in_own_thread;

/// A number above those of all system calls; Linux 6.18 has 469 as its last.
const END_OF_SYSTEM_CALLS: i64 = 512;

/// An older Linux. A system call since 5.1 has the same number on all architectures, and a younger one
/// has a higher number (`scripts/syscall.tbl` of Linux), so that one number separates two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldKernel {
    /// Without `pidfd_open`, `clone3`, `close_range`, `openat2`, `io_uring_setup` and all younger ones.
    Linux4_18,
    /// Without Landlock, `epoll_pwait2`, `memfd_secret` and all younger ones.
    Linux5_10,
}

impl OldKernel {
    fn first_missing(self) -> i64 {
        match self {
            Self::Linux4_18 => libc::SYS_pidfd_send_signal,
            Self::Linux5_10 => libc::SYS_epoll_pwait2,
        }
    }
}

/// Runs a story with the system calls of an older Linux: `ENOSYS` for those that it lacks, and
/// `ENOPROTOOPT` for the pidfd of a peer, which Linux has since 6.5.
///
/// # Panics
/// When the kernel takes no filter.
pub fn on_old_kernel(kernel: OldKernel, story: impl FnOnce() + Send) {
    in_own_thread(|| {
        let missing = (kernel.first_missing()..END_OF_SYSTEM_CALLS).map(|it| (it, vec![]));
        for filter in [
            filter(missing.collect(), libc::ENOSYS),
            filter(pidfd_of_a_peer(), libc::ENOPROTOOPT),
        ] {
            apply_filter(&filter).unwrap();
        }
        story();
    });
}

/// Returns the rule for `getsockopt` with `SO_PEERPIDFD`.
fn pidfd_of_a_peer() -> BTreeMap<i64, Vec<SeccompRule>> {
    let option = |index: u8, value: i32| {
        let value = u64::try_from(value).unwrap();
        let dword = SeccompCmpArgLen::Dword;
        SeccompCondition::new(index, dword, SeccompCmpOp::Eq, value).unwrap()
    };
    let conditions = vec![option(1, libc::SOL_SOCKET), option(2, libc::SO_PEERPIDFD)];
    let rule = SeccompRule::new(conditions).unwrap();
    BTreeMap::from([(libc::SYS_getsockopt, vec![rule])])
}

/// Returns the filter with which these system calls fail.
fn filter(system_calls: BTreeMap<i64, Vec<SeccompRule>>, error: i32) -> BpfProgram {
    let errno = SeccompAction::Errno(u32::try_from(error).unwrap());
    let arch = ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(system_calls, SeccompAction::Allow, errno, arch);
    filter.unwrap().try_into().unwrap()
}
