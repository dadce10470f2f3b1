//! A cloud small enough to carry: Alibaba Cloud's STS, OSS and the metadata of an instance on
//! loopback, for demos and for testing programs against rotation and outages.
//!
//! It verifies what the real services verify, with code of its own: a client that
//! signs wrongly here signs wrongly there. It shares nothing with the daemon, so
//! that one mistake cannot hide on both sides.
//!
//! # Who may assume a role
//!
//! `AssumeRole` is signed, by a RAM user's key or a session. `AssumeRoleWithOIDC` and
//! `AssumeRoleWithSAML` are not: a token or an assertion stands for the signature, and a key
//! that comes along is not looked at. Their parameters come by query or form; action and
//! version as there, or as the headers `x-acs-action` and `x-acs-version`.
//!
//! An OIDC token has to be a JSON web token signed with RS256 or ES256 by the emulator's own
//! keys. In this order are checked: the signature, `iss` and `aud` by the provider, `exp` to
//! the second, `iat` and `nbf` with a minute's leeway, then the role's trust and, with
//! `oidc_subjects`, `sub`. The RSA key is fixed, in the source, and of no worth elsewhere; the
//! one for ES256 is made at each start. `GET /_emulator/oidc/keys` publishes both.
//!
//! A SAML assertion is **not** signed as XML is: the control address seals it with an HMAC
//! whose key is made at each start, and what it did not seal is refused. Issuer, audience,
//! recipient, `NotOnOrAfter`, the pair of role and provider in the attribute `Role`, and the
//! role's trust count as they do in the cloud; the attribute `RoleSessionName` names the session.
//!
//! # Metadata
//!
//! On the third address stands what an instance finds at 100.100.100.200:
//! `PUT /latest/api/token` with `X-aliyun-ecs-metadata-token-ttl-seconds` (1 to 21600), then
//! with `X-aliyun-ecs-metadata-token`
//! `GET /latest/meta-data/ram/security-credentials/` and the same with the role's name; besides,
//! `region-id`, `zone-id`, `instance-id` and `owner-account-id` under `/latest/meta-data/`.
//! Without a token the answer is 403 unless the world says `v1 = true`, with one that is not
//! good 401. The credential is a session of the world's `[instance]` role. It stays the same
//! until `replaced_before_end` before its end, or half its life where `--session-life` is that
//! short; its predecessor lives to its own end.
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
//!           "oss:PutObject":{"ok":1,"AccessDenied":2},
//!           "imds:Token":{"ok":2}},
//!  "sessions_live":3}
//! ```
//!
//! Actions are `AssumeRole`, `AssumeRoleWithOIDC`, `AssumeRoleWithSAML`,
//! `GetCallerIdentity`, `other`, `imds:Token`, `imds:Role`, `imds:Credentials`, `imds:other`
//! (whose outcomes are the names of HTTP's statuses, like `Forbidden`), `oss:PutObject`,
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
//! `action` is one of the above, `oss:*`, `imds:*` or `*`. `times` ends it after that many
//! calls, `for` after that long; with neither it stays until cleared. The first fault
//! in the queue that fits a call strikes it, alone; one that bends a credential fits
//! the three ways to assume a role and `imds:Credentials` only, and is refused for any other
//! action but `*` and `imds:*`. The kinds:
//!
//! | kind | fields | what the caller sees |
//! |---|---|---|
//! | `error` | `code`; optional `status`, `message` | that error, in the service's own form; metadata's is a web page, 404 unless `status` says otherwise |
//! | `throttle` | optional `retry_after_millis` | `Throttling.User`, 400; the hint in `x-acs-retry-after` |
//! | `delay` | `millis` (ten minutes at most) | the answer, late |
//! | `hang` | | nothing until the faults are cleared or a minute passed, then as `reset` |
//! | `reset` | | the connection closed without an answer |
//! | `half-body` | | a full `Content-Length`, half the body, then closed |
//! | `html` | | a web page with status 200 |
//! | `wrong-date` | `offset_seconds`, positive is ahead | the server's clock shifted: `Date`, the time-stamp check, `Expiration` |
//! | `expired` | | a credential that expired a minute ago; metadata has its own again afterwards |
//! | `empty` | | a credential of empty fields |
//! | `beyond` | | an `Expiration` a year too late; the session ends in time |
//! | `unsuccessful` | `code` | `imds:Credentials`: status 200, that `Code`, and no credential |
//!
//! Under `wrong-date` a session still ends at its true time; only what the server says
//! of time is shifted, for the actions that the fault names.
//!
//! `GET /_emulator/faults` answers `{"faults":[…]}`, as does a `POST`, in queue order:
//! `action`, `fault`, and `times` (left) or `until` (a time stamp). `DELETE` clears the
//! queue and lets go of hanging calls. A script that makes no sense is refused with
//! 400 and `{"error":"…"}`.
//!
//! `POST /_emulator/oidc/token` answers `{"token":"…"}`, and `POST /_emulator/saml/assertion`
//! `{"assertion":"…"}` in base64:
//!
//! ```json
//! {"provider":"demo", "subject":"system:serviceaccount:jobs:uploader"}
//! {"provider":"demo", "subject":"s", "algorithm":"ES256", "life":"-1m", "audience":["a","b"]}
//! {"provider":"demo", "subject":"operator", "roles":["oss-upload"]}
//! ```
//!
//! For bad ones both take `life` (a token's is an hour, an assertion's five minutes; negative
//! is over), `audience` and `issuer`; a token besides `algorithm` (`RS256` unless it says
//! `ES256`) and `begins_in` for `iat` and `nbf`, an assertion `session_name` (the subject
//! unless it says otherwise) and `recipient`. Every token holds [`OIDC_TOKEN_MARKER`] in header
//! and payload, every assertion [`SAML_ASSERTION_MARKER`] in its first 64 characters.
//!
//! `POST /_emulator/keys` with `{"id":"LTAI…","status":"inactive"}` switches a user's key off, or
//! with `active` on, as the console does.
//!
//! `POST /_emulator/imds/rotate` replaces the instance's credential at once.

pub mod clock;
mod encoding;

pub mod account;
pub mod fault;
pub mod http;
mod jwt;
pub mod state;

pub mod oss;
pub mod sts;

mod control;
mod imds;

mod emulator;
mod server;

pub mod cli;
pub mod shutdown;

pub use account::model::World;
pub use clock::Clock;
pub use emulator::{Emulator, Options, StartError};
pub use jwt::MARKER as OIDC_TOKEN_MARKER;
pub use sts::assume_role_with_saml::MARKER as SAML_ASSERTION_MARKER;
