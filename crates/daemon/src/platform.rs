//! The process and its service manager: sockets, signals, hardening, upgrade and log output.

pub mod exec_upgrade;
pub mod hardening;
pub mod instance_id;
pub mod journald;
mod json_log;
pub mod log;
pub mod log_fields;
pub mod nonblocking_stderr;
pub mod orphans;
pub mod signals;
pub mod socket_watch;
pub mod sockets;
pub mod state_directory;
pub mod systemd;
