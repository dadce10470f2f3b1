//! An emulator of Alibaba Cloud's STS, OSS and instance metadata on loopback, for demos and for
//! tests of rotation and outages.
//!
//! The emulator verifies what the real services verify, with its own code: a request with a wrong
//! signature fails here as it fails there. No other crate shares code with it, because a mistake in
//! shared code would cancel itself out.
//!
//! # Assuming a role
//!
//! `AssumeRole` is signed with a RAM user's key or with a session. `AssumeRoleWithOIDC` and
//! `AssumeRoleWithSAML` are unsigned: a token or an assertion replaces the signature, and the
//! parameters of a signature are ignored. The parameters are in the query or in a form. Action and
//! version are parameters, or the headers `x-acs-action` and `x-acs-version`.
//!
//! An OIDC token is a JSON web token, signed with RS256 or ES256 by the emulator's keys. The checks
//! have this order: the signature; `iss` and `aud` against the provider; `exp` to the second; `iat`
//! and `nbf` with a leeway of a minute; the trust of the role and, with `oidc_subjects`, `sub`. The
//! RSA key is a file of the source, and of no use elsewhere; the key for ES256 is generated at each
//! start. `GET /_emulator/oidc/keys` returns both public keys. A provider with a `jwks` in the account
//! model accepts the tokens of that issuer instead.
//!
//! A SAML assertion has **no** XML signature: the control address seals the assertion with an HMAC,
//! whose key is generated at each start, and STS refuses any other assertion. Issuer, audience,
//! recipient, `NotOnOrAfter`, the pair of role and provider in the attribute `Role`, and the trust
//! of the role are checked as in the cloud. The attribute `RoleSessionName` is the name of the
//! session.
//!
//! # Metadata
//!
//! The third address is the service that an instance has at 100.100.100.200:
//! `PUT /latest/api/token` with `X-aliyun-ecs-metadata-token-ttl-seconds` (1 to 21600), then, with
//! `X-aliyun-ecs-metadata-token`, `GET /latest/meta-data/ram/security-credentials/` and the same
//! path with the name of the role. `region-id`, `zone-id`, `instance-id` and `owner-account-id` are
//! under `/latest/meta-data/`. A request without a token has the status 403, unless the account
//! model has `v1 = true`; an unknown or expired token has the status 401. The credentials are a
//! session of the role in `[instance]`. They are replaced when their remaining lifetime is
//! `replaced_before_end`, or half of the lifetime with a short `--session-life`; the previous
//! session stays valid until its expiration.
//!
//! # HTTPS
//!
//! With a directory for TLS, the addresses of STS and OSS also speak HTTPS: the first byte of a
//! connection decides. The authority is generated at each start, its certificate is written to
//! `ca.pem`, and no private key is written.
//!
//! # The control address
//!
//! The STS address also has the paths under `/_emulator/`.
//!
//! `GET /_emulator/stats` returns the number of calls by action and outcome, since the start or the
//! last `DELETE /_emulator/stats`:
//!
//! ```json
//! {"calls":{"AssumeRole":{"ok":3,"NoPermission":1,"fault:reset":2},
//!           "oss:PutObject":{"ok":1,"AccessDenied":2},
//!           "imds:Token":{"ok":2}},
//!  "sessions_live":3}
//! ```
//!
//! The actions are `AssumeRole`, `AssumeRoleWithOIDC`, `AssumeRoleWithSAML`, `GetCallerIdentity`,
//! `other`, `imds:Token`, `imds:Role`, `imds:Credentials`, `imds:other` (with the names of HTTP
//! statuses as outcomes, such as `Forbidden`), `oss:` and the name of an operation, and `oss:other` for
//! an operation that is not emulated. The operations are `PutObject`, `CopyObject`, `GetObject`,
//! `HeadObject`, `GetObjectMeta`, `DeleteObject`, `DeleteMultipleObjects`, `ListObjects` (both
//! versions), `InitiateMultipartUpload`, `UploadPart`, `UploadPartCopy`, `CompleteMultipartUpload`,
//! `AbortMultipartUpload`, `ListParts`, `ListMultipartUploads`, `PutBucket`,
//! `DeleteBucket`, `HeadBucket`, `GetBucketInfo`, `GetBucketLocation` and `ListBuckets`. OSS accepts its
//! own signatures and, as its S3-compatible endpoint does, those of AWS SDKs.
//!
//! An outcome is `ok`, the code of an error, or `fault:` and the kind of the fault that determined
//! the reply. A `delay` and a `wrong-date` do not determine the reply, so that the outcome of the
//! call is counted. The same holds for an error that precedes the credentials that a fault would
//! alter.
//!
//! `POST /_emulator/faults` adds a fault to the queue:
//!
//! ```json
//! {"action":"AssumeRole", "times":2, "fault":{"kind":"reset"}}
//! {"action":"oss:GetObject", "for":"5s", "fault":{"kind":"error","code":"InternalError"}}
//! {"action":"*", "fault":{"kind":"delay","millis":300}}
//! ```
//!
//! `action` is one of the above, `oss:*`, `imds:*` or `*`. A fault ends after `times` calls or after
//! `for`; without both it stays until the queue is cleared. The first fault in the queue that
//! matches a call applies to the call, alone. A fault of credentials matches only the three actions
//! to assume a role and `imds:Credentials`; a script with such a fault for another action is
//! refused, but for `*` and `imds:*`. The kinds:
//!
//! | kind | fields | response |
//! |---|---|---|
//! | `error` | `code`; optional `status`, `message` | that error, in the form of the service; for metadata an HTML page with the status 404 by default |
//! | `throttle` | optional `retry_after_millis` | `Throttling.User`, 400, with `x-acs-retry-after` |
//! | `delay` | `millis` (at most ten minutes) | the correct response, after the delay |
//! | `hang` | | no response until the faults are cleared, or for a minute; then as `reset` |
//! | `reset` | | the connection is closed without a response |
//! | `half-body` | | a `Content-Length` of the whole body, half of the body, then as `reset` |
//! | `html` | | a web page with status 200 |
//! | `wrong-date` | `offset_seconds`, positive is ahead | a shifted clock of the server: `Date`, the check of time stamps, `Expiration` |
//! | `expired` | | credentials that expired a minute ago; the next metadata response has the current ones again |
//! | `empty` | | credentials with empty fields |
//! | `beyond` | | an `Expiration` a year too late; the session expires in time |
//! | `unsuccessful` | `code` | for `imds:Credentials`: status 200, that `Code`, no credentials |
//!
//! With `wrong-date` a session expires at its actual time. Only the times in responses and in checks
//! are shifted, for the actions of the fault.
//!
//! `GET /_emulator/faults` and `POST /_emulator/faults` return `{"faults":[…]}` in the order of the
//! queue: `action`, `fault`, and the remaining `times` or the end, `until`.
//! `DELETE /_emulator/faults` clears the queue, and ends each call that hangs or is delayed. An
//! invalid script has the response 400 and `{"error":"…"}`.
//!
//! `POST /_emulator/oidc/token` returns `{"token":"…"}`, and `POST /_emulator/saml/assertion`
//! returns `{"assertion":"…"}` in base64:
//!
//! ```json
//! {"provider":"demo", "subject":"system:serviceaccount:jobs:uploader"}
//! {"provider":"demo", "subject":"s", "algorithm":"ES256", "life":"-1m", "audience":["a","b"]}
//! {"provider":"demo", "subject":"operator", "roles":["oss-upload"]}
//! ```
//!
//! Both have the optional fields `life` (an hour for a token, five minutes for an assertion; negative
//! for an expired one), `audience` and `issuer`. A token also has `algorithm` (`RS256` by default,
//! or `ES256`) and `begins_in` for `iat` and `nbf`; an assertion has `session_name` (the subject by
//! default) and `recipient`. Each token contains [`OIDC_TOKEN_MARKER`] in its header and in its
//! payload, and each assertion contains [`SAML_ASSERTION_MARKER`] in its first 64 characters.
//!
//! `POST /_emulator/keys` with `{"id":"LTAI…","status":"inactive"}`, or with `active`, sets the
//! status of a user's key, as the console does.
//!
//! `POST /_emulator/imds/rotate` replaces the credentials of the instance at once.

pub mod cli;
pub mod shutdown;

mod emulator;
mod server;

mod control;
mod imds;
pub mod oss;
pub mod sts;

mod state;

pub mod account;
mod fault;
pub mod http;
mod jwt;
mod saml;

mod clock;
pub mod duration;
mod encoding;
mod sync;
mod tls;

pub use account::AccountModel;
pub use clock::Clock;
pub use emulator::{Emulator, Options, StartError};
pub use jwt::MARKER as OIDC_TOKEN_MARKER;
pub use saml::MARKER as SAML_ASSERTION_MARKER;
pub use state::objects::MAX_BODY_BYTES;
pub use tls::TlsError;
