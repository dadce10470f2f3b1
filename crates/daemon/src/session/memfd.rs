//! The handover of the live role sessions to the next process, in a sealed memfd. The memfd never
//! holds a long-lived key, and nothing is written to a disk.
//!
//! systemd's file-descriptor store keeps the memfd, or the next program inherits it by `exec`. The
//! reader trusts nothing in it: seals, digest, version, boot, lifetime and grant are all checked,
//! and sessions that fail a check are ignored.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stsd_secret::SecretText;
use stsd_sts::Endpoint;
use tracing::warn;
use zeroize::Zeroizing;

use crate::{
    profile::{Profile, SessionDuration},
    runtime::clock::{BootTime, Clock},
    session::{
        lifetime::Lifetime,
        snapshot::{EncodedReplies, Session},
        store::Store,
    },
};

/// The first bytes; they change with the format.
const MAGIC: &[u8; 8] = b"stsd-2\r\n";

/// Length of the digest that follows the magic.
const DIGEST_BYTES: usize = 32;

/// Upper estimate of one session; a token has 1 KB.
const TYPICAL_SESSION_BYTES: usize = 4 * 1024;

/// Maximum length of a memfd; stsd never writes a longer one.
const MAX_MEMFD_BYTES: u64 = 256 * 1024 * 1024;

/// The seals, after which no process can change the memfd.
const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// The reason for which a memfd is ignored.
#[derive(Debug, thiserror::Error)]
pub enum RejectReason {
    /// A read has failed.
    #[error("cannot read the memfd: {0}")]
    Io(#[from] io::Error),
    /// Another process may have changed the memfd.
    #[error("the memfd is not sealed")]
    NotSealed,
    /// The format is another one.
    #[error("the memfd has the format of another version")]
    Version,
    /// Length or digest is wrong.
    #[error("the memfd is damaged")]
    Damaged,
}

/// The sessions of the previous process.
#[derive(Debug, Default)]
pub struct RestoredSessions {
    sessions: BTreeMap<String, SavedSession>,
    /// The master secret of the URLs.
    pub url_master: Option<SecretText>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    /// Increases with each memfd; the highest one is used.
    generation: u64,
    /// The boot ID: times of the boot-time clock have no meaning in another boot.
    boot: String,
    sessions: Vec<SavedSession>,
    /// The master secret of the URLs. Version 0.1 had `url_secret`, which each URL held, and which
    /// therefore is not taken over.
    #[serde(default)]
    url_master: Option<SecretText>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedSession {
    profile: String,
    grant: String,
    access_key_id: String,
    access_key_secret: SecretText,
    security_token: SecretText,
    /// Seconds since 1970-01-01 UTC.
    expiration: i64,
    /// Seconds since 1970-01-01 UTC.
    issued: i64,
    request_id: String,
    began_millis: u64,
    ends_millis: u64,
    asked_millis: u64,
    handed_out: bool,
}

/// Writes the live sessions of a store and the master secret of the URLs into a sealed memfd.
///
/// # Errors
/// The memfd could not be created, written or sealed.
pub fn seal(
    store: &Store,
    endpoint: &Endpoint,
    clock: &dyn Clock,
    generation: u64,
    url_master: SecretText,
) -> io::Result<OwnedFd> {
    let now = clock.boot();
    let sessions: Vec<_> = store
        .all()
        .iter()
        .filter_map(|entry| {
            let snapshot = entry.snapshot();
            let session = snapshot.usable_for(Duration::ZERO, now)?;
            let grant = grant_digest(endpoint, &entry.profile);
            let asked = entry.last_asked();
            Some(SavedSession::new(&entry.profile, grant, session, asked))
        })
        .collect();
    let payload = Payload {
        generation,
        boot: clock.boot_id(),
        sessions,
        url_master: Some(url_master),
    };
    // Large enough from the start: a buffer that grows leaves copies of secrets behind.
    let size = (payload.sessions.len() + 1) * TYPICAL_SESSION_BYTES;
    let mut body = Zeroizing::new(Vec::with_capacity(size));
    serde_json::to_writer(&mut *body, &payload)?;

    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"stsd-sessions", flags)?);
    file.write_all(&header(&body))?;
    file.write_all(&body)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(file.into())
}

/// Returns the sessions of the newest memfd of this boot; invalid ones are logged and ignored.
#[must_use]
pub fn restore(memfds: Vec<File>, clock: &dyn Clock) -> RestoredSessions {
    restored(memfds.into_iter().map(open), clock)
}

/// Returns the sessions of a file that the previous process has left, as [`restore`] does.
#[must_use]
pub fn restore_file(file: File, clock: &dyn Clock) -> RestoredSessions {
    restored([read(file)], clock)
}

fn restored(
    payloads: impl IntoIterator<Item = Result<Payload, RejectReason>>,
    clock: &dyn Clock,
) -> RestoredSessions {
    let mut newest: Option<Payload> = None;
    for payload in payloads {
        match payload {
            Ok(payload) if payload.boot != clock.boot_id() => {}
            Ok(payload) => {
                let newer = |it: &Payload| it.generation < payload.generation;
                if newest.as_ref().is_none_or(newer) {
                    newest = Some(payload);
                }
            }
            Err(reason) => warn!("ignoring saved sessions: {reason}"),
        }
    }
    let Some(Payload {
        sessions,
        url_master,
        ..
    }) = newest
    else {
        return RestoredSessions::default();
    };
    let sessions = sessions.into_iter().map(|it| (it.profile.clone(), it));
    RestoredSessions {
        sessions: sessions.collect(),
        url_master,
    }
}

fn open(file: File) -> Result<Payload, RejectReason> {
    let seals = fcntl(file.as_fd(), FcntlArg::F_GET_SEALS).map_err(io::Error::from)?;
    if seals & SEALS.bits() != SEALS.bits() {
        return Err(RejectReason::NotSealed);
    }
    read(file)
}

fn read(mut file: File) -> Result<Payload, RejectReason> {
    let size = file.metadata()?.len();
    if size > MAX_MEMFD_BYTES {
        return Err(RejectReason::Damaged);
    }
    let size = usize::try_from(size).map_err(|_| RejectReason::Damaged)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    parse(&bytes)
}

/// Returns the header of a body: magic and digest.
fn header(body: &[u8]) -> [u8; MAGIC.len() + DIGEST_BYTES] {
    let mut header = [0; MAGIC.len() + DIGEST_BYTES];
    header[..MAGIC.len()].copy_from_slice(MAGIC);
    header[MAGIC.len()..].copy_from_slice(&Sha256::digest(body));
    header
}

/// Parses bytes as a memfd, and as a body with a correct digest; returns the `Debug` output of
/// the sessions.
#[cfg(fuzzing)]
pub(crate) fn parse_for_fuzzing(bytes: &[u8]) -> String {
    let whole = parse(bytes);
    let body = parse(&[&header(bytes)[..], bytes].concat());
    let mut printed = String::new();
    for payload in [whole, body] {
        match payload {
            Ok(payload) => {
                for saved_session in payload.sessions {
                    let lifetime = Lifetime {
                        began: BootTime::from_millis(saved_session.began_millis),
                        ends: BootTime::from_millis(saved_session.ends_millis),
                    };
                    printed += &format!("{:?}", saved_session.session(lifetime));
                }
            }
            Err(reason) => printed += &reason.to_string(),
        }
    }
    printed
}

/// Parses the contents of a memfd.
fn parse(bytes: &[u8]) -> Result<Payload, RejectReason> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(RejectReason::Version)?;
    let (digest, body) = rest
        .split_first_chunk::<DIGEST_BYTES>()
        .ok_or(RejectReason::Damaged)?;
    if Sha256::digest(body).as_slice() != digest {
        return Err(RejectReason::Damaged);
    }
    // The parser's message could quote a secret.
    serde_json::from_slice(body).map_err(|_| RejectReason::Version)
}

impl RestoredSessions {
    /// Takes the session of a profile, with the time of the last request. `None` if the session
    /// has ended, or was issued for another grant or at none of the endpoints.
    pub(crate) fn take(
        &mut self,
        endpoints: &[Endpoint],
        profile: &Profile,
        now: BootTime,
    ) -> Option<(Session, BootTime)> {
        let saved_session = self.sessions.remove(profile.name.as_str())?;
        let lifetime = Lifetime {
            began: BootTime::from_millis(saved_session.began_millis),
            ends: BootTime::from_millis(saved_session.ends_millis),
        };
        // A session that is passed on has the length that its issuer chose.
        let max_length = match profile.role_arn {
            Some(_) => profile.duration.get(),
            None => SessionDuration::MAX,
        };
        let is_same = |it: &Endpoint| saved_session.grant == grant_digest(it, profile);
        let is_valid = endpoints.iter().any(is_same)
            && lifetime.began <= now
            && lifetime.length() <= max_length
            && lifetime.satisfies(Duration::ZERO, now);
        let asked = BootTime::from_millis(saved_session.asked_millis);
        let session = saved_session.session(lifetime).filter(|_| is_valid)?;
        Some((session, asked))
    }

    /// Returns the number of sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Returns `true` if there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

impl SavedSession {
    fn new(profile: &Profile, grant: String, session: &Arc<Session>, asked: BootTime) -> Self {
        Self {
            profile: profile.name.as_str().to_owned(),
            grant,
            access_key_id: session.access_key_id.clone(),
            access_key_secret: session.access_key_secret.clone(),
            security_token: session.security_token.clone(),
            expiration: session.expiration.as_second(),
            issued: session.issued.as_second(),
            request_id: session.request_id.clone(),
            began_millis: session.lifetime.began.as_millis(),
            ends_millis: session.lifetime.ends.as_millis(),
            asked_millis: asked.as_millis(),
            handed_out: session.served.load(Ordering::Relaxed),
        }
    }

    /// Returns the session; `None` if a time is out of range.
    fn session(self, lifetime: Lifetime) -> Option<Session> {
        Some(Session {
            access_key_id: self.access_key_id,
            access_key_secret: self.access_key_secret,
            security_token: self.security_token,
            expiration: Timestamp::from_second(self.expiration).ok()?,
            issued: Timestamp::from_second(self.issued).ok()?,
            lifetime,
            request_id: self.request_id,
            served: AtomicBool::new(self.handed_out),
            is_final: false,
            answers: EncodedReplies::default(),
        })
    }
}

/// Returns the digest of a grant: the endpoint, and all that [`Profile::grants_the_same`]
/// compares.
fn grant_digest(endpoint: &Endpoint, profile: &Profile) -> String {
    let mut digest = Sha256::new();
    for part in [Some(endpoint.as_str())].into_iter().chain(profile.grant()) {
        // The length before each part makes the digest input unambiguous.
        let length = part.map_or(u64::MAX, |part| part.len() as u64);
        digest.update(length.to_be_bytes());
        digest.update(part.unwrap_or_default());
    }
    digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests;
