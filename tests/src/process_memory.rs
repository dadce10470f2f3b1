//! The search for texts in the memory of a running program, which only root can read.

use std::{
    fs::{self, File},
    ops::Range,
    os::unix::fs::FileExt as _,
    thread,
    time::Duration,
};

use crate::Process;

/// The bytes of a page: the smallest part of a mapping that can be unmapped.
const PAGE: usize = 4096;

/// Maximum number of searches for secrets that the program is about to wipe, with
/// 20 ms between them.
pub const MEMORY_SCANS: u32 = 250;

/// The pause between two searches.
const SCAN_INTERVAL: Duration = Duration::from_millis(20);

/// A part of a program's memory, as the kernel describes it.
pub struct Mapping {
    addresses: Range<u64>,
    rights: String,
    name: String,
    flags: Vec<String>,
}

impl Mapping {
    /// Returns `true` if the pages are locked, left out of core dumps, and not copied to children.
    #[must_use]
    pub fn is_for_secrets(&self) -> bool {
        let has = |flag: &str| self.flags.iter().any(|it| it == flag);
        has("lo") && has("dd") && has("dc")
    }
}

impl Process {
    /// Returns the resident memory of the program in KiB.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// Returns the largest resident memory of the program so far in KiB.
    #[must_use]
    pub fn peak_resident_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    /// Makes the present resident memory the largest one so far.
    ///
    /// # Panics
    /// When the test is not run by root.
    pub fn reset_peak(&self) {
        // See proc_pid_clear_refs(5).
        fs::write(format!("/proc/{}/clear_refs", self.id()), "5").unwrap();
    }

    fn status_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|it| it.trim().strip_suffix(" kB"));
        number.and_then(|it| it.parse().ok()).unwrap()
    }

    /// Returns the mappings of the program.
    ///
    /// # Panics
    /// When `/proc` refuses them.
    #[must_use]
    pub fn mappings(&self) -> Vec<Mapping> {
        let smaps = fs::read_to_string(format!("/proc/{}/smaps", self.id())).unwrap();
        let mut mappings: Vec<Mapping> = Vec::new();
        for line in smaps.lines() {
            let fields: Vec<_> = line.split_ascii_whitespace().collect();
            if let Some(("", flags)) = line.split_once("VmFlags:") {
                let flags = flags.split_ascii_whitespace().map(str::to_owned);
                mappings.last_mut().unwrap().flags = flags.collect();
            } else if let Some((start, end)) = fields[0].split_once('-') {
                let address = |text| u64::from_str_radix(text, 16).unwrap();
                mappings.push(Mapping {
                    addresses: address(start)..address(end),
                    rights: fields[1].to_owned(),
                    name: fields.get(5).map_or("", |it| it).to_owned(),
                    flags: Vec::new(),
                });
            }
        }
        mappings
    }

    /// Returns the texts outside of the pages for secrets, after the program has had time to wipe
    /// them.
    #[must_use]
    pub fn unprotected(&self, texts: &[&str]) -> Vec<Found> {
        let mut unprotected = Vec::new();
        for _ in 0..MEMORY_SCANS {
            let found = self.search(texts);
            unprotected = found.into_iter().filter(|it| !it.protected).collect();
            if unprotected.is_empty() {
                break;
            }
            thread::sleep(SCAN_INTERVAL);
        }
        unprotected
    }

    /// Searches the writable mappings; returns the first place of each text in each mapping.
    ///
    /// # Panics
    /// When the memory cannot be read.
    #[must_use]
    pub fn search(&self, texts: &[&str]) -> Vec<Found> {
        let memory = File::open(format!("/proc/{}/mem", self.id())).unwrap();
        let mut found = Vec::new();
        for mapping in self.mappings() {
            if !mapping.rights.starts_with("rw") {
                continue;
            }
            let Range { start, end } = mapping.addresses;
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            if memory.read_exact_at(&mut bytes, start).is_err() {
                // Allocators unmap pages at any moment; an unmapped page contains no text.
                for (page, at) in bytes.chunks_mut(PAGE).zip((start..).step_by(PAGE)) {
                    let _ = memory.read_exact_at(page, at);
                }
            }
            let used = used(&bytes);
            for text in texts {
                let place = |run: &Range<usize>| {
                    let mut places = bytes[run.clone()].windows(text.len());
                    Some(run.start + places.position(|it| it == text.as_bytes())?)
                };
                let Some(at) = used.iter().find_map(place) else {
                    continue;
                };
                let around = &bytes[at.saturating_sub(48)..bytes.len().min(at + 48)];
                found.push(Found {
                    text: (*text).to_owned(),
                    place: format!(
                        "{text} at {:x} in {}: {}",
                        start + at as u64,
                        mapping.name,
                        around.escape_ascii()
                    ),
                    protected: mapping.is_for_secrets(),
                });
            }
        }
        found
    }
}

/// Returns the runs of pages that are not all zero: most pages are, and are not searched.
fn used(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (page, start) in bytes.chunks(PAGE).zip((0..).step_by(PAGE)) {
        if *page == [0; PAGE][..page.len()] {
            continue;
        }
        let end = start + page.len();
        match runs.last_mut() {
            Some(run) if run.end == start => run.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

/// A text in a program's memory.
#[derive(Debug)]
pub struct Found {
    /// The text.
    pub text: String,
    /// The place, for the message of a failed story.
    pub place: String,
    /// `true` in the pages for secrets.
    pub protected: bool,
}
