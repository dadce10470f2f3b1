//! The protection of the pages with secrets as the kernel reports it: the flags in
//! `/proc/self/smaps`, which a process may read of itself even when it cannot be dumped.

use std::{fs, io, ops::Range};

use crate::arena;

/// The sizes of the mappings for secrets, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pages {
    /// All of them.
    pub mapped: usize,
    /// The locked part, which is never swapped out.
    pub locked: usize,
    /// The part that is left out of core dumps.
    pub undumped: usize,
}

/// Returns the sizes of the mappings for secrets, and of their protected parts.
///
/// # Errors
/// When `/proc/self/smaps` cannot be read.
pub fn pages() -> io::Result<Pages> {
    let ours = arena::mappings();
    let mut pages = Pages {
        mapped: ours.iter().map(ExactSizeIterator::len).sum(),
        ..Pages::default()
    };
    let mut common = 0;
    for line in fs::read_to_string("/proc/self/smaps")?.lines() {
        if let Some(there) = range(line) {
            common = ours.iter().map(|ours| overlap(ours, &there)).sum();
        } else if let Some(flags) = line.strip_prefix("VmFlags:") {
            let has = |flag| flags.split_ascii_whitespace().any(|it| it == flag);
            pages.locked += if has("lo") { common } else { 0 };
            pages.undumped += if has("dd") { common } else { 0 };
        }
    }
    Ok(pages)
}

/// Reads the first line of a mapping: `START-END RIGHTS …`, in hexadecimal digits.
fn range(line: &str) -> Option<Range<usize>> {
    let (start, rest) = line.split_once('-')?;
    let end = rest.split(' ').next()?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(number(start)?..number(end)?)
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> usize {
    let end = one.end.min(other.end);
    end.saturating_sub(one.start.max(other.start))
}
