//! Decides how a failure of our own is told: what is wrong, what to do, and with which exit
//! code it ends.

use std::fmt;

/// What cannot be done, and what to do about it.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) text: String,
    pub(crate) hint: &'static str,
    pub(crate) exit_code: u8,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Complaint {}
