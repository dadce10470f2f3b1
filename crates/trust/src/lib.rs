//! The rule of trust in files. [`judge`] is asked about each path that the daemon opens or runs and
//! that decides anything: the configuration, keys, tokens, policies, programs, and the directories of
//! files that the daemon writes. `stsctl doctor` asks the same function with the ids of the daemon.
//!
//! The rule is that of `StrictModes` in sshd(8): root or the process's own user owns each component
//! of the path up to `/`, and no other user can write to a component. `table` has the rule with its
//! exceptions, `walk` has the components of a path, and `facts` has the data of a component.
//!
//! The judgment is by path. A path of which each component is trusted can be changed between the
//! judgment and the use only by root and the process's own user.

mod error;
mod facts;
mod private_group;
mod process_ids;
mod table;
mod walk;

use std::path::Path;

use self::{error::Place, table::Table, walk::Walk};
pub use self::{
    error::{Loose, TrustError, depends_on_the_process},
    process_ids::ProcessIds,
};

/// The purpose of a path, on which the rule depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A file that decides and is no secret: a configuration, a policy, a program.
    Decides,
    /// A file with a secret, which no other user may read.
    Secret,
    /// A secret in the directory of the service manager's credentials. systemd 254 and newer gives
    /// the service its right by an access control list, which stat(2) shows as a right of the group.
    SystemdCredential,
    /// A token or an assertion: a secret, which in a volume of Kubernetes all users of the pod may
    /// read.
    Token,
    /// A directory in which the process creates and replaces files.
    WrittenDirectory,
    /// A path that a program may write to. Other users may write to the object at the path, but must
    /// not be able to put another object there.
    WritablePath,
    /// The directory of the audit's file: as [`WrittenDirectory`](Self::WrittenDirectory), but the
    /// group of `/var/log` may write to `/var/log`.
    LogDirectory,
    /// The directory of a socket: as [`WrittenDirectory`](Self::WrittenDirectory), but below an
    /// `emptyDir` of Kubernetes, where a client recognizes the server by its user.
    SocketDirectory,
}

/// Judges a path for a purpose, for a process.
///
/// # Errors
/// [`TrustError`], for the first component that is not trusted, or that cannot be examined.
pub fn judge(path: &Path, purpose: Purpose, process: &ProcessIds) -> Result<(), TrustError> {
    let mut walk = Walk::new(path)?;
    let mut table = Table::new(purpose, process);
    while let Some(component) = walk.next()? {
        if let Err(reason) = table.check(&component.facts, component.depth, component.position) {
            let place = Place {
                is_whole_path: component.path == walk.path(),
                is_in_kubernetes_volume: table.is_in_kubernetes_volume(),
            };
            return Err(Loose::new(component, reason, place, process).into());
        }
    }
    Ok(())
}
