//! A cloud small enough to carry: Alibaba Cloud's STS and OSS on loopback, for demos
//! and for testing programs against rotation and outages.
//!
//! It verifies what the real services verify, with code of its own: a client that
//! signs wrongly here signs wrongly there. It shares nothing with the daemon, so
//! that one mistake cannot hide on both sides.
//!
//! # The control address
//!
//! On the STS address, beside STS itself:
//!
//! `GET /_emulator/stats` counts calls by action and outcome since the start or the
//! last `DELETE /_emulator/stats`:
//!
//! ```json
//! {"calls":{"AssumeRole":{"ok":3,"NoPermission":1,"fault:reset":2},
//!           "oss:PutObject":{"ok":1,"AccessDenied":2}},
//!  "sessions_live":3}
//! ```
//!
//! Actions are `AssumeRole`, `GetCallerIdentity`, `other`, `oss:PutObject`,
//! `oss:GetObject`, `oss:HeadObject`, `oss:GetObjectMeta`, `oss:DeleteObject`,
//! `oss:ListObjects` (both versions) and `oss:other`, whichever way they were signed: OSS
//! takes its own signatures and, as its S3-compatible endpoint does, those of AWS SDKs. An outcome is `ok`, an error's
//! code, or `fault:` and the kind of the fault that decided the answer. `delay` and
//! `wrong-date` decide nothing by themselves: the call's own outcome counts. So does
//! an error that came before a credential could be bent.
//!
//! `POST /_emulator/faults` queues a fault:
//!
//! ```json
//! {"action":"AssumeRole", "times":2, "fault":{"kind":"reset"}}
//! {"action":"oss:GetObject", "for":"5s", "fault":{"kind":"error","code":"InternalError"}}
//! {"action":"*", "fault":{"kind":"delay","millis":300}}
//! ```
//!
//! `action` is one of the above, `oss:*` or `*`. `times` ends it after that many
//! calls, `for` after that long; with neither it stays until cleared. The first fault
//! in the queue that fits a call strikes it, alone; one that bends a credential fits
//! `AssumeRole` only, and is refused for any other action but `*`. The kinds:
//!
//! | kind | fields | what the caller sees |
//! |---|---|---|
//! | `error` | `code`; optional `status`, `message` | that error, in the service's own form |
//! | `throttle` | optional `retry_after_millis` | `Throttling.User`, 400; the hint in `x-acs-retry-after` |
//! | `delay` | `millis` (ten minutes at most) | the answer, late |
//! | `hang` | | nothing until the faults are cleared or a minute passed, then as `reset` |
//! | `reset` | | the connection closed without an answer |
//! | `half-body` | | a full `Content-Length`, half the body, then closed |
//! | `html` | | a web page with status 200 |
//! | `wrong-date` | `offset_seconds`, positive is ahead | the server's clock shifted: `Date`, the time-stamp check, `Expiration` |
//! | `expired` | | `AssumeRole`: a credential that expired a minute ago |
//! | `empty` | | `AssumeRole`: a credential of empty fields |
//! | `beyond` | | `AssumeRole`: an `Expiration` a year too late; the session ends in time |
//!
//! Under `wrong-date` a session still ends at its true time; only what the server says
//! of time is shifted, for the actions that the fault names.
//!
//! `GET /_emulator/faults` answers `{"faults":[…]}`, as does a `POST`, in queue order:
//! `action`, `fault`, and `times` (left) or `until` (a time stamp). `DELETE` clears the
//! queue and lets go of hanging calls. A script that makes no sense is refused with
//! 400 and `{"error":"…"}`.

pub mod clock;
mod encoding;
pub mod request;

pub mod policy;
pub mod world;
mod world_file;
mod world_tables;

pub mod acs3;
pub mod rpc;
pub mod signed;
pub mod sts_error;

mod nonces;
mod sessions;

mod arn;
mod issue;
mod wish;

mod assume_role;
mod jwt;
mod oidc;
mod saml;
pub mod sts;
mod sts_answer;

mod metadata;

mod oss_v1;
mod oss_v4;
mod s3_v4;

pub mod oss_error;
pub mod oss_sign;
pub mod place;

mod listing;
mod object_calls;
pub mod objects;
mod oss;

pub mod faults;
mod reply;
mod stats;

mod broken;
mod cloud;
mod control;
mod emulator;
mod server;

pub mod arguments;
pub mod stop;

pub mod client;

pub use clock::Clock;
pub use emulator::{Emulator, Options, StartError};
pub use jwt::MARKER as OIDC_TOKEN_MARKER;
pub use saml::MARKER as SAML_ASSERTION_MARKER;
pub use world::World;
