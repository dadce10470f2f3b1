//! Durations as text.

pub(crate) use stsd_model::format_duration;
