//! The test kit of the stories: real programs, real sockets, the emulator, a private directory.
//!
//! A story is a `#[test]` in `tests/stories/<subject>/`. It starts a [`TestEnv`], which owns the
//! private directory, the emulator and the daemon, and runs the programs in it:
//!
//! ```no_run
//! use e2e::{Action, Fault, TestEnv};
//!
//! fn refresh_after_an_outage_issues_a_session() {
//!     let env = TestEnv::start();
//!     env.emulator().inject_fault(Action::AssumeRole, Fault::error("ServiceUnavailable"));
//!     env.assert_refused("oss-upload", 6, &["ServiceUnavailable"]);
//!     env.emulator().clear_faults();
//!     let document = env.document(&["--patience", "60s", "oss-upload"]);
//!     assert_eq!(document["Code"], "Success");
//! }
//! ```
//!
//! - [`TestEnv::shim`], [`TestEnv::ctl`] and [`TestEnv::client`] run the programs and the client
//!   library; [`TestEnv::daemon`] is the daemon's process; [`TestEnv::emulator`] counts calls and
//!   injects faults.
//! - A story waits for a condition, with [`TestEnv::wait_until`], and for no fixed time.
//! - A long text goes into an [`OutputLog`], which [`assert_output!`] compares with a file.
//! - A story that this machine cannot run calls [`not_run`] with the reason.
//! - Every secret of the emulator has one of [`MARKERS`] in it. The kit searches the output of the
//!   programs, their arguments and all files for those when the [`TestEnv`] is dropped. A file that
//!   is meant to hold a secret has the extension `key` or `secret`. Output that the kit does not
//!   see goes through [`assert_no_secrets`].

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod config;
mod daemon_handle;
mod emulator_handle;
mod fault;
mod file_limit;
mod full_filesystem;
mod home;
mod keyring;
mod loopback_port;
mod metrics;
mod namespaces;
mod old_kernel;
mod process;
mod process_memory;
mod programs;
mod raw_client;
mod report;
mod sdk_program;
mod secrets;
mod shifted_clocks;
mod snapshot;
mod system_daemon;
mod terminal;
mod test_env;
mod time;
mod tls_front;
mod unix_sockets;
mod user_daemon;
mod wait;

pub use config::{GROUP, STRANGER, UPLOAD, UPLOAD_ROLE_LINE, upload_profile};
pub use daemon_handle::{DAEMON_READY, DaemonHandle};
pub use emulator_handle::{EmulatorHandle, HttpsUrls};
pub use fault::{Action, Fault};
pub use file_limit::raise_file_limit;
pub use full_filesystem::{fill_filesystem, free_filesystem, mount_small};
pub use home::{FileState, Home, RunOutput, run};
pub use keyring::Keyring;
pub use loopback_port::{ClosedPort, free_port};
pub use metrics::{metric, sample};
pub use namespaces::{in_own_mounts, in_own_network};
pub use old_kernel::{OldKernel, on_old_kernel};
pub use process::{Process, descriptor, wait_for_exit};
pub use process_memory::{Found, MEMORY_SCANS, Mapping};
pub use programs::{clients, data_tools, old_programs, program, promtool, rust_example};
pub use raw_client::{
    complete_replies, connect, credentials_request, decode_replies, hello_request,
};
pub use report::{measured, not_run};
pub use sdk_program::{
    OTHER_CREDENTIAL_VARIABLES, SdkProgram, SetUp, aliyun_config, aws_js_program, held_key,
    in_exec, node_program, prepare_home, python_program, sdk_env, served, upload_lines, url,
    with_aws_profile, with_external_profile, with_metadata, with_written_aws_profile,
    without_variables,
};
pub use secrets::{KEY_SECRET, MARKERS, assert_no_secrets};
pub use shifted_clocks::ShiftedClocks;
pub use snapshot::OutputLog;
pub use system_daemon::{SystemDaemon, UnixUser};
pub use terminal::Terminal;
pub use test_env::TestEnv;
pub use time::unix_time;
pub use tls_front::TlsFront;
pub use unix_sockets::has_listener;
pub use user_daemon::{OWNER, UserDaemon};
pub use wait::{block_on, wait_in_task};
