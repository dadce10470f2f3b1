//! Unix sockets by their path, as `/proc/net/unix` lists them.

use std::{fs, path::Path};

/// Returns `true` if a process listens at the socket with this path. The file exists for a moment
/// before that, in which connections are refused.
///
/// # Panics
/// When `/proc` cannot be read.
#[must_use]
pub fn has_listener(path: &Path) -> bool {
    count(path, |flags, _| flags == "00010000") > 0
}

/// Returns the number of accepted connections: sockets with the listener's path and the state of a
/// connection.
pub(crate) fn accepted_connections(path: &Path) -> usize {
    count(path, |_, state| state == "03")
}

/// Returns the number of sockets with a path, in this thread's network namespace, whose flags and
/// state match.
fn count(path: &Path, matches: impl Fn(&str, &str) -> bool) -> usize {
    let sockets = fs::read_to_string("/proc/thread-self/net/unix").unwrap();
    let is_counted = |line: &str| {
        // Num RefCount Protocol Flags Type St Inode Path
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, _, _, flags, _, state, _, name] = fields[..] else {
            return false;
        };
        Path::new(name) == path && matches(flags, state)
    };
    sockets.lines().filter(|it| is_counted(it)).count()
}
