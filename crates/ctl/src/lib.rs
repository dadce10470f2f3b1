//! What of `stsctl` reads what others wrote: apart from the program, so that it can be
//! given any bytes, and without a disk, an environment or a daemon.

pub mod imported;
pub mod object;
