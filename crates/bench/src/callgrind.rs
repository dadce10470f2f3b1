//! The profile of callgrind.

use anyhow::{Context as _, Result, bail};

/// The functions of the C library that allocate memory.
const ALLOCATORS: [&str; 5] = [
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
];

/// The counts of a profile.
#[derive(Debug, Default)]
pub(crate) struct Profile {
    pub(crate) instructions: f64,
    pub(crate) allocations: f64,
}

/// Parses a profile: its total, and the calls of functions that allocate memory. A name occurs in it
/// once, with a number that replaces the name afterwards.
pub(crate) fn parse(text: &str) -> Result<Profile> {
    let mut counts = Profile::default();
    let mut allocators = Vec::new();
    let mut calls_allocator = false;
    for line in text.lines() {
        if let Some(total) = line
            .strip_prefix("summary: ")
            .or(line.strip_prefix("totals: "))
        {
            counts.instructions = total.trim().parse().context("callgrind's total")?;
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_default();
        match key {
            "fn" | "cfn" => {
                let (number, name) = value.split_once(' ').unwrap_or((value, ""));
                // callgrind may append an apostrophe and a number to a name.
                let name = name.split('\'').next().unwrap_or_default();
                if ALLOCATORS.contains(&name) {
                    allocators.push(number.to_owned());
                }
                calls_allocator = key == "cfn" && allocators.iter().any(|it| it == number);
            }
            "calls" if calls_allocator => {
                let count = value
                    .split(' ')
                    .next()
                    .and_then(|it| it.parse::<f64>().ok());
                counts.allocations += count.context("callgrind's calls")?;
            }
            _ => {}
        }
    }
    match counts.instructions > 0.0 {
        true => Ok(counts),
        false => bail!("callgrind counted nothing"),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn allocations_are_counted_by_name_and_by_number() {
        let text = "fn=(1) main\n0 5\ncfn=(2) malloc\ncalls=3 0\n0 9\ncfn=(3) free\ncalls=8 0\n\
            0 9\nfn=(4) other\n0 1\ncfn=(2)\ncalls=4 0\n0 9\ntotals: 4711\n";
        let counts = parse(text).unwrap();
        assert_eq!((counts.instructions, counts.allocations), (4711.0, 7.0));
    }
}
