//! An allocator for secrets in locked pages: a few mappings that are never swapped out, dumped
//! or inherited by a child. It is the only file of this crate with unsafe calls.
//!
//! Allocating, filling and freeing a secret take the lock; reading one does not. A mapping that the system
//! refuses to lock holds secrets all the same: the first refusal is reported, and
//! [`pages`](crate::pages) shows the total.

use std::{
    collections::HashSet,
    ffi::c_void,
    io,
    num::NonZeroUsize,
    ops::Range,
    ptr::NonNull,
    slice,
    sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError},
};

use nix::{
    errno::Errno,
    sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap_anonymous, munmap},
};
use zeroize::Zeroize as _;

/// The unit of allocation and the alignment of secrets, in bytes.
const GRAIN: usize = 64;

/// The size of a mapping, in bytes: whole pages on every machine, and the smallest default of
/// `RLIMIT_MEMLOCK` (64 KiB before Linux 5.16).
const MAPPING: usize = 64 * 1024;

/// The number of consecutive bytes that identify a part of a secret.
pub(crate) const PART: usize = 12;

static SHARED: OnceLock<Shared> = OnceLock::new();

struct Shared {
    arena: Mutex<Arena>,
    refused: fn(io::Error),
    said: Once,
}

/// Stores every secret that this process creates from now on in locked pages. When the system
/// refuses to lock a mapping for the first time, `refused` is called with the reason; the secrets
/// are then held in pages that can be swapped out.
///
/// Only the first call has an effect. Secrets that exist already are not moved.
pub fn lock_pages(refused: fn(io::Error)) {
    SHARED.get_or_init(|| Shared {
        arena: Mutex::default(),
        refused,
        said: Once::new(),
    });
}

/// Returns the free memory of the heap to the system.
///
/// glibc keeps free memory below memory in use; musl returns its groups of slots as they become
/// free, and has no such function.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(
            unsafe_code,
            reason = "no library has a safe function for malloc_trim(3)"
        )]
        // SAFETY: the function takes no pointer, and may be called by any thread at any time.
        unsafe {
            nix::libc::malloc_trim(0);
        }
    }
}

/// Returns the address ranges of all mappings.
pub(crate) fn mappings() -> Vec<Range<usize>> {
    let Some(shared) = SHARED.get() else {
        return Vec::new();
    };
    let range = |it: &Mapping| it.start.get()..it.start.get() + it.length();
    shared.arena().mappings.iter().map(range).collect()
}

/// Copies a secret into a slot of the arena. Returns `None` if this process does not lock pages,
/// if the secret is empty, or if the system maps no memory.
pub(crate) fn place(bytes: &[u8]) -> Option<Slot> {
    let shared = SHARED.get()?;
    let length = NonZeroUsize::new(bytes.len())?;
    let mut arena = shared.arena();
    let (place, refusal) = arena.take(length);
    let slot = place.map(|it| Slot::fill(it, bytes));
    drop(arena);
    if let Some(refusal) = refusal {
        shared.said.call_once(|| (shared.refused)(refusal.into()));
    }
    slot
}

/// Returns `true` if one of the parts is in a secret of the arena.
pub(crate) fn holds_any(parts: &HashSet<[u8; PART]>) -> bool {
    let Some(shared) = SHARED.get() else {
        return false;
    };
    // Most places are rejected by their first two bytes, without a hash.
    let mut begins = vec![false; 1 << 16];
    for part in parts {
        begins[usize::from(u16::from_ne_bytes([part[0], part[1]]))] = true;
    }
    let is_part = |place: &[u8]| {
        begins[usize::from(u16::from_ne_bytes([place[0], place[1]]))]
            && <[u8; PART]>::try_from(place).is_ok_and(|it| parts.contains(&it))
    };
    let arena = shared.arena();
    let mut mappings = arena.mappings.iter();
    mappings.any(|it| it.bytes().windows(PART).any(is_part))
}

impl Shared {
    fn arena(&self) -> MutexGuard<'_, Arena> {
        self.arena.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory of one secret; it is wiped and freed on drop.
pub(crate) struct Slot {
    /// An address, because it may be read and dropped by any thread.
    start: NonZeroUsize,
    length: usize,
}

impl Slot {
    fn fill(start: NonZeroUsize, bytes: &[u8]) -> Self {
        let mut slot = Self {
            start,
            length: bytes.len(),
        };
        slot.bytes_mut().copy_from_slice(bytes);
        slot
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        #[expect(
            unsafe_code,
            reason = "a secret outside of the heap has to be pointed to"
        )]
        // SAFETY: the arena has given these bytes to this slot alone, the kernel or the slot
        // before has zeroed them, and the mapping stays until the slot is dropped. Writing
        // takes `&mut self`, so the bytes do not change while the slot is borrowed.
        unsafe {
            slice::from_raw_parts(pointer(self.start).as_ptr(), self.length)
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        #[expect(unsafe_code, reason = "as `bytes`, to write and to wipe")]
        // SAFETY: as in `bytes`; `&mut self` is the only borrow of the slot.
        unsafe {
            slice::from_raw_parts_mut(pointer(self.start).as_ptr(), self.length)
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // There is no slot without it. Wiped under the lock, because `holds_any` reads all slots.
        let mut arena = SHARED.get().map(Shared::arena);
        self.bytes_mut().zeroize();
        if let Some(arena) = &mut arena {
            arena.give_back(self.start, self.length);
        }
    }
}

/// All mappings. Locked ones come first, so that they fill up first.
#[derive(Default)]
struct Arena {
    mappings: Vec<Mapping>,
}

struct Mapping {
    start: NonZeroUsize,
    /// For each grain, whether a slot covers it.
    used: Vec<bool>,
}

impl Arena {
    /// Allocates `length` bytes, in a new mapping if no other has enough free grains. Returns the
    /// address, and the error of a system call that failed on the way.
    fn take(&mut self, length: NonZeroUsize) -> (Option<NonZeroUsize>, Option<Errno>) {
        let grains = length.get().div_ceil(GRAIN);
        let found = self.mappings.iter_mut().find_map(|it| it.take(grains));
        if found.is_some() {
            return (found, None);
        }
        match Mapping::new(grains) {
            Ok((mut mapping, refusal)) => {
                let place = mapping.take(grains);
                let at = if refusal.is_none() {
                    0
                } else {
                    self.mappings.len()
                };
                self.mappings.insert(at, mapping);
                (place, refusal)
            }
            Err(refusal) => (None, Some(refusal)),
        }
    }

    /// Frees the bytes at `start`. A mapping without slots is unmapped unless it is the last.
    fn give_back(&mut self, start: NonZeroUsize, length: usize) {
        let holds =
            |it: &Mapping| (it.start.get()..it.start.get() + it.length()).contains(&start.get());
        let Some(index) = self.mappings.iter().position(holds) else {
            return;
        };
        let mapping = &mut self.mappings[index];
        let first = (start.get() - mapping.start.get()) / GRAIN;
        mapping.used[first..first + length.div_ceil(GRAIN)].fill(false);
        if !mapping.used.contains(&true) && self.mappings.len() > 1 {
            self.mappings.remove(index);
        }
    }
}

impl Mapping {
    /// Maps and protects at least `grains` grains. Returns the mapping, and the error of a
    /// protection that the system refused.
    fn new(grains: usize) -> Result<(Self, Option<Errno>), Errno> {
        let length = (grains * GRAIN).next_multiple_of(MAPPING);
        let size = NonZeroUsize::new(length).ok_or(Errno::EINVAL)?;
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        #[expect(
            unsafe_code,
            reason = "memory with rights of its own comes from mmap alone"
        )]
        // SAFETY: no address is asked for, so nothing that is mapped already is replaced.
        let start = unsafe { mmap_anonymous(None, size, rights, MapFlags::MAP_PRIVATE) }?;
        let mapping = Self {
            start: start.expose_provenance(),
            used: vec![false; length / GRAIN],
        };
        #[expect(unsafe_code, reason = "what the kernel shall do with the pages")]
        // SAFETY: all three concern the new mapping, which is whole pages and has nothing in
        // it yet; none of them changes what is read from it in this process. A child that
        // was forked has no such mapping, and only ever starts another program.
        let outcomes = unsafe {
            [
                madvise(start, length, MmapAdvise::MADV_DONTDUMP),
                madvise(start, length, MmapAdvise::MADV_DONTFORK),
                mlock(start, length),
            ]
        };
        Ok((mapping, outcomes.into_iter().find_map(Result::err)))
    }

    fn length(&self) -> usize {
        self.used.len() * GRAIN
    }

    /// Returns the bytes of all slots, with zeroes between them. The caller holds the lock of the
    /// arena.
    fn bytes(&self) -> &[u8] {
        #[expect(unsafe_code, reason = "a mapping has no other owner to read it by")]
        // SAFETY: the mapping is readable as long as `self` lives. Slots are filled and wiped
        // under the lock of the arena, so that no byte changes meanwhile.
        unsafe {
            slice::from_raw_parts(pointer(self.start).as_ptr(), self.length())
        }
    }

    /// Allocates the first run of free grains that is long enough; `None` if there is none.
    fn take(&mut self, grains: usize) -> Option<NonZeroUsize> {
        let mut free = 0;
        let last = self.used.iter().position(|used| {
            free = if *used { 0 } else { free + 1 };
            free == grains
        })?;
        let first = last + 1 - grains;
        self.used[first..=last].fill(true);
        self.start.checked_add(first * GRAIN)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "what was mapped is unmapped")]
        // SAFETY: the mapping has no slots any more, and nothing else holds its addresses.
        let _ = unsafe { munmap(pointer(self.start).cast::<c_void>(), self.length()) };
    }
}

/// Returns a pointer to an address in a mapping.
fn pointer(address: NonZeroUsize) -> NonNull<u8> {
    NonNull::with_exposed_provenance(address)
}

#[cfg(test)]
mod tests {
    use std::{mem::ManuallyDrop, num::NonZeroUsize, sync::Mutex, thread};

    use proptest::{collection::vec, prelude::*};

    use super::{Arena, GRAIN, MAPPING, Slot, lock_pages, mappings, place};
    use crate::{SecretText, look};

    /// Held by the tests that fill the arena of this process, or look into it.
    static ALONE: Mutex<()> = Mutex::new(());

    fn length(length: usize) -> NonZeroUsize {
        NonZeroUsize::new(length).unwrap()
    }

    /// Returns the bytes at an address of an existing mapping.
    fn read(start: NonZeroUsize, length: usize) -> Vec<u8> {
        ManuallyDrop::new(Slot { start, length }).bytes().to_vec()
    }

    #[test]
    fn secret_is_in_locked_undumped_pages_and_wiped_on_drop() {
        let _alone = ALONE.lock().unwrap();
        lock_pages(|error| panic!("pages cannot be locked here: {error}"));
        // So long that its end is not used again at once, and the mapping is its own but for
        // the neighbour, which keeps it mapped.
        let text = format!("{}marker", "x".repeat(MAPPING));
        let secret = SecretText::from(text.clone());
        let neighbour = place(b"neighbour").unwrap();
        let start = secret.expose().as_ptr().addr();
        let ours = mappings().into_iter().find(|it| it.contains(&start));
        assert!(ours.is_some_and(|it| it.contains(&neighbour.start.get())));
        let pages = look::pages().unwrap();
        assert!(pages.mapped >= 2 * MAPPING, "{pages:?}");
        assert_eq!((pages.locked, pages.undumped), (pages.mapped, pages.mapped));

        let end = NonZeroUsize::new(start + MAPPING).unwrap();
        assert_eq!(read(end, 6), b"marker");
        let copy = secret.clone();
        drop(secret);
        assert_eq!(read(end, 6), [0; 6]);
        assert!(copy.expose() == text && neighbour.bytes() == b"neighbour");
    }

    #[test]
    fn part_of_a_secret_is_found_until_the_secret_is_dropped() {
        let _alone = ALONE.lock().unwrap();
        lock_pages(|_| {});
        let secret = SecretText::from("a secret of this test alone".to_owned());
        let check = |text: &str, expected| {
            assert_eq!(crate::is_part_of_a_secret(text), expected, "{text}");
        };
        check("it said: a secret of this test alone!", true);
        check("secret of thi", true);
        check("of this tes, or another one", false);
        check("short", false);
        drop(secret);
        check("it said: a secret of this test alone!", false);
    }

    #[test]
    fn secrets_of_1000_profiles_map_less_than_3_mib() {
        // A key, a token, and the answer that holds both; tokens are about 1 KB.
        let mut arena = Arena::default();
        for _ in 0..1000 {
            for bytes in [44, 1100, 1250] {
                assert!(arena.take(length(bytes)).0.is_some());
            }
        }
        let mapped: usize = arena.mappings.iter().map(super::Mapping::length).sum();
        assert!(mapped < 3 * 1024 * 1024, "{mapped}");
    }

    #[test]
    fn released_slot_is_reused_and_empty_mapping_is_unmapped() {
        let mut arena = Arena::default();
        let take = |arena: &mut Arena, bytes| arena.take(length(bytes)).0.unwrap();
        let (small, large) = (take(&mut arena, 1), take(&mut arena, MAPPING + 1));
        assert_eq!(arena.mappings.len(), 2);
        arena.give_back(large, MAPPING + 1);
        assert_eq!(arena.mappings.len(), 1);
        arena.give_back(small, 1);
        assert_eq!(arena.mappings.len(), 1, "the last one stays");
        let whole = take(&mut arena, MAPPING);
        assert_eq!(whole, arena.mappings[0].start);
        assert_eq!(arena.mappings.len(), 1);
    }

    #[test]
    fn concurrent_threads_get_disjoint_slots() {
        let _alone = ALONE.lock().unwrap();
        lock_pages(|_| {});
        let work = |mark: u8| {
            move || {
                let mut held = Vec::new();
                for round in 0..400_usize {
                    let bytes = vec![mark; 1 + round * 37 % 3000];
                    held.push((place(&bytes).unwrap(), bytes));
                    if round % 3 == 0 {
                        held.swap_remove(round % held.len());
                    }
                }
                held.iter().all(|(slot, bytes)| slot.bytes() == bytes)
            }
        };
        let threads: Vec<_> = (1..=8).map(|mark| thread::spawn(work(mark))).collect();
        for thread in threads {
            assert!(thread.join().unwrap());
        }
    }

    proptest! {
        /// No two secrets overlap, and each is inside its mapping.
        #[test]
        fn random_slots_never_overlap(steps in vec((1..3 * MAPPING / 2, any::<bool>()), 1..60)) {
            let mut arena = Arena::default();
            let mut held: Vec<(NonZeroUsize, usize)> = Vec::new();
            for (bytes, back) in steps {
                if back && !held.is_empty() {
                    let (start, bytes) = held.swap_remove(bytes % held.len());
                    arena.give_back(start, bytes);
                    continue;
                }
                let start = arena.take(length(bytes)).0.unwrap();
                prop_assert_eq!(start.get() % GRAIN, 0);
                let ends = |(start, bytes): &(NonZeroUsize, usize)| (start.get(), start.get() + bytes);
                let (first, end) = ends(&(start, bytes));
                for other in &held {
                    let (from, to) = ends(other);
                    prop_assert!(end <= from || to <= first);
                }
                let inside = arena.mappings.iter().any(|it| {
                    it.start <= start && end <= it.start.get() + it.length()
                });
                prop_assert!(inside);
                held.push((start, bytes));
            }
        }
    }
}
