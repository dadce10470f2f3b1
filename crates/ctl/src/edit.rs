//! Edits of files that belong to other programs: every byte that is not ours stays.

pub(crate) mod file;
pub(crate) mod ini;
pub(crate) mod json;
