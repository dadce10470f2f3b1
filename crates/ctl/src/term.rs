//! The terminal: styles, the alternate screen, stdout, and the display name of a caller.

pub(crate) mod alt_screen;
pub(crate) mod caller_name;
pub(crate) mod duration;
pub(crate) mod keys;
pub(crate) mod stdout;
pub(crate) mod style;
