//! Decides what survives a restart, and how: the current role sessions, never the
//! long-lived key, in a sealed memfd. Nothing touches a disk.
//!
//! The memfd waits in systemd's file-descriptor store, or is inherited by the program that
//! takes our place. Who reads it trusts nothing in it: seals, digest, version, boot, end of
//! life and the grant are all checked, and what does not fit is left behind.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, OnceLock, atomic::AtomicBool},
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
    clock::{BootTime, Clock},
    config::Profile,
    schedule::Lifetime,
    snapshot::Session,
    store::Store,
};

/// The first bytes; they change when the meaning of the rest does.
const MAGIC: &[u8; 8] = b"stsd-1\r\n";

/// Bytes of the digest that follows.
const DIGEST: usize = 32;

/// What one session takes, about: a token is 1 KB.
const USUAL_SESSION: usize = 4 * 1024;

/// More than this was not written by us.
const LARGEST: u64 = 256 * 1024 * 1024;

/// Nobody can change what has been sealed, not even we.
const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// Why a memfd is left behind.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It could have been changed since it was written.
    #[error("is not sealed")]
    NotSealed,
    /// It is not what we write, or not in this version.
    #[error("is not of this version")]
    Version,
    /// It is not what was written.
    #[error("is damaged")]
    Damaged,
}

/// Sessions that another process of ours has left.
#[derive(Debug, Default)]
pub struct Restored(BTreeMap<String, Kept>);

#[derive(Serialize, Deserialize)]
struct Contents {
    /// Counts up, so that the newer of two can be told.
    generation: u64,
    /// Boot-time clocks of different boots have nothing to do with each other.
    boot: String,
    sessions: Vec<Kept>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    profile: String,
    grant: String,
    access_key_id: String,
    access_key_secret: SecretText,
    security_token: SecretText,
    /// Seconds since 1970-01-01 UTC, as all of these.
    expiration: i64,
    issued: i64,
    request_id: String,
    began_millis: u64,
    ends_millis: u64,
    asked_millis: u64,
    handed_out: bool,
}

/// Writes the sessions of a store, those that live, into a sealed memfd.
///
/// # Errors
/// When the system has no memory for it.
pub fn seal(
    store: &Store,
    endpoint: &Endpoint,
    clock: &dyn Clock,
    generation: u64,
) -> io::Result<OwnedFd> {
    let now = clock.boot();
    let sessions: Vec<_> = store
        .all()
        .iter()
        .filter_map(|entry| {
            let snapshot = entry.snapshot();
            let session = snapshot.serving(Duration::ZERO, now)?;
            let grant = grant(endpoint, &entry.profile);
            Some(keep(&entry.profile, grant, session, entry.last_asked()))
        })
        .collect();
    let contents = Contents {
        generation,
        boot: clock.boot_id(),
        sessions,
    };
    // Large enough from the start: a buffer that grows leaves copies of secrets behind.
    let size = (contents.sessions.len() + 1) * USUAL_SESSION;
    let mut body = Zeroizing::new(Vec::with_capacity(size));
    serde_json::to_writer(&mut *body, &contents)?;

    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"stsd-sessions", flags)?);
    file.write_all(&heading(&body))?;
    file.write_all(&body)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(file.into())
}

/// Reads what was left, the newest of several. What cannot be used is left behind.
#[must_use]
pub fn restore(left: Vec<File>, clock: &dyn Clock) -> Restored {
    let mut newest: Option<Contents> = None;
    for file in left {
        match open(file) {
            Ok(contents) if contents.boot != clock.boot_id() => {}
            Ok(contents) => {
                let newer = |it: &Contents| it.generation < contents.generation;
                if newest.as_ref().is_none_or(newer) {
                    newest = Some(contents);
                }
            }
            Err(problem) => warn!("what was left by another process of ours {problem}"),
        }
    }
    let sessions = newest.map(|it| it.sessions).unwrap_or_default();
    let sessions = sessions.into_iter().map(|it| (it.profile.clone(), it));
    Restored(sessions.collect())
}

fn open(mut file: File) -> Result<Contents, NotOurs> {
    let seals = fcntl(file.as_fd(), FcntlArg::F_GET_SEALS).map_err(io::Error::from)?;
    if seals & SEALS.bits() != SEALS.bits() {
        return Err(NotOurs::NotSealed);
    }
    let size = file.metadata()?.len();
    if size > LARGEST {
        return Err(NotOurs::Damaged);
    }
    let size = usize::try_from(size).map_err(|_| NotOurs::Damaged)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    parse(&bytes)
}

/// Returns what stands before a body.
fn heading(body: &[u8]) -> [u8; MAGIC.len() + DIGEST] {
    let mut heading = [0; MAGIC.len() + DIGEST];
    heading[..MAGIC.len()].copy_from_slice(MAGIC);
    heading[MAGIC.len()..].copy_from_slice(&Sha256::digest(body));
    heading
}

/// Reads bytes as a memfd, and as a body whose digest is right, as far as to the sessions;
/// returns what is printed of them.
#[cfg(fuzzing)]
pub(crate) fn attempt(bytes: &[u8]) -> String {
    let whole = parse(bytes);
    let body = parse(&[&heading(bytes)[..], bytes].concat());
    let mut printed = String::new();
    for contents in [whole, body] {
        match contents {
            Ok(contents) => {
                for kept in contents.sessions {
                    let lifetime = Lifetime {
                        began: BootTime::from_millis(kept.began_millis),
                        ends: BootTime::from_millis(kept.ends_millis),
                    };
                    printed += &format!("{:?}", kept.session(lifetime));
                }
            }
            Err(problem) => printed += &problem.to_string(),
        }
    }
    printed
}

/// Reads the contents of a memfd.
fn parse(bytes: &[u8]) -> Result<Contents, NotOurs> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(NotOurs::Version)?;
    let (digest, body) = rest.split_first_chunk::<DIGEST>().ok_or(NotOurs::Damaged)?;
    if Sha256::digest(body).as_slice() != digest {
        return Err(NotOurs::Damaged);
    }
    // The parser's message could quote a secret.
    serde_json::from_slice(body).map_err(|_| NotOurs::Version)
}

impl Restored {
    /// Takes the session of a profile, if it still lives and was made for just this, and
    /// when somebody asked for it last.
    pub(crate) fn take(
        &mut self,
        endpoint: &Endpoint,
        profile: &Profile,
        now: BootTime,
    ) -> Option<(Session, BootTime)> {
        let kept = self.0.remove(profile.name.as_str())?;
        let lifetime = Lifetime {
            began: BootTime::from_millis(kept.began_millis),
            ends: BootTime::from_millis(kept.ends_millis),
        };
        let fits = kept.grant == grant(endpoint, profile)
            && lifetime.began <= now
            && lifetime.length() <= profile.duration.get()
            && lifetime.serves(Duration::ZERO, now);
        let asked = BootTime::from_millis(kept.asked_millis);
        let session = kept.session(lifetime).filter(|_| fits)?;
        Some((session, asked))
    }

    /// Returns how many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Kept {
    fn session(self, lifetime: Lifetime) -> Option<Session> {
        Some(Session {
            access_key_id: self.access_key_id,
            access_key_secret: self.access_key_secret,
            security_token: self.security_token,
            expiration: Timestamp::from_second(self.expiration).ok()?,
            issued: Timestamp::from_second(self.issued).ok()?,
            lifetime,
            request_id: self.request_id,
            handed_out: AtomicBool::new(self.handed_out),
            prepared: OnceLock::new(),
        })
    }
}

fn keep(profile: &Profile, grant: String, session: &Arc<Session>, asked: BootTime) -> Kept {
    Kept {
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
        handed_out: session
            .handed_out
            .load(std::sync::atomic::Ordering::Relaxed),
    }
}

/// Says what a session was made for, as a digest: the endpoint, who we are, and all that
/// [`Profile::grants_the_same`] compares.
fn grant(endpoint: &Endpoint, profile: &Profile) -> String {
    let source = profile.source.credentials();
    let token = source.security_token.as_ref();
    let parts = [
        Some(endpoint.as_str()),
        Some(source.access_key_id.as_str()),
        Some(source.access_key_secret.expose()),
        token.map(SecretText::expose),
        Some(profile.role_arn.as_str()),
        Some(profile.role_session_name.as_str()),
        profile.policy.as_ref().map(|it| it.as_str()),
        profile.external_id.as_deref(),
        profile.source_identity.as_deref(),
    ];
    let mut digest = Sha256::new();
    for part in parts {
        // With the length before it, no two lists of parts look alike.
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
mod tests {
    use std::path::PathBuf;

    use nix::sys::memfd::MFdFlags;
    use stsd_sts::SourceCredentials;

    use super::*;
    use crate::{
        profile::{NameParts, ProfileName, RoleArn, RoleSessionName, SessionDuration},
        source::Source,
        store::Entry,
    };

    struct At(&'static str, u64);

    impl Clock for At {
        fn wall(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn boot(&self) -> BootTime {
            BootTime::from_millis(self.1 * 1000)
        }

        fn boot_id(&self) -> String {
            self.0.to_owned()
        }

        fn nap(&self) -> Duration {
            Duration::from_secs(1)
        }
    }

    const NOW: At = At("this boot", 1000);

    fn profile(external_id: &str) -> Profile {
        let name = ProfileName::new("oss-upload").unwrap();
        let parts = NameParts {
            user: "user".into(),
            host: "host".into(),
            pid: 1,
        };
        Profile {
            source: Source::AccessKey {
                file: PathBuf::new(),
                credentials: SourceCredentials {
                    access_key_id: "LTAI".into(),
                    access_key_secret: SecretText::from("long-lived".to_owned()),
                    security_token: None,
                },
            },
            role_arn: RoleArn::new("acs:ram::1:role/oss-upload").unwrap(),
            role_session_name: RoleSessionName::expand("{user}", &parts, &name).unwrap(),
            duration: SessionDuration::new("1h").unwrap(),
            policy: None,
            external_id: Some(external_id.to_owned()),
            source_identity: None,
            keep_warm: false,
            allow: Vec::new(),
            name,
        }
    }

    fn endpoint() -> Endpoint {
        Endpoint::custom("http://127.0.0.1:1").unwrap()
    }

    /// A store with one session, from 900 to 2000 seconds after boot.
    fn store() -> Store {
        let at = |seconds: u64| BootTime::from_millis(seconds * 1000);
        let session = Session {
            access_key_id: "STS.X".into(),
            access_key_secret: SecretText::from("short-lived".to_owned()),
            security_token: SecretText::from("token".to_owned()),
            expiration: Timestamp::from_second(5000).unwrap(),
            issued: Timestamp::from_second(4000).unwrap(),
            lifetime: Lifetime {
                began: at(900),
                ends: at(2000),
            },
            request_id: "R".into(),
            handed_out: AtomicBool::new(true),
            prepared: OnceLock::new(),
        };
        let store = Store::default();
        let entry = Entry::restored(Arc::new(profile("x")), session, at(950));
        store.replace([Arc::new(entry)]);
        store
    }

    fn sealed(generation: u64) -> File {
        File::from(seal(&store(), &endpoint(), &NOW, generation).unwrap())
    }

    fn bytes(mut file: File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// How many sessions of `left` can be used at `clock` for a profile with `external_id`.
    fn check(left: Vec<File>, clock: &At, external_id: &str, expected: usize) {
        let mut restored = restore(left, clock);
        let taken = restored.take(&endpoint(), &profile(external_id), clock.boot());
        assert_eq!(
            taken.is_some() as usize,
            expected,
            "{external_id} {}",
            clock.0
        );
    }

    #[test]
    fn what_is_left_comes_back_and_the_long_lived_key_is_not_among_it() {
        let left = bytes(sealed(1));
        let holds = |text: &str| left.windows(text.len()).any(|it| it == text.as_bytes());
        assert!(holds("short-lived") && !holds("long-lived"));

        let mut restored = restore(vec![sealed(1)], &NOW);
        let taken = restored.take(&endpoint(), &profile("x"), NOW.boot());
        let (session, asked) = taken.unwrap();
        assert_eq!(session.access_key_secret.expose(), "short-lived");
        assert_eq!(session.lifetime.ends, BootTime::from_millis(2_000_000));
        assert_eq!(asked, BootTime::from_millis(950_000));
        assert_eq!(session.expiration.as_second(), 5000);
    }

    #[test]
    fn only_what_fits_comes_back() {
        check(vec![sealed(1)], &NOW, "x", 1);
        check(vec![sealed(1)], &NOW, "another grant", 0);
        check(vec![sealed(1)], &At("another boot", 1000), "x", 0);
        check(vec![sealed(1)], &At("this boot", 2000), "x", 0);
        check(vec![sealed(1)], &At("this boot", 800), "x", 0);
        check(vec![], &NOW, "x", 0);
    }

    fn memfd(bytes: &[u8], seals: SealFlag) -> File {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let mut file = File::from(memfd_create(c"test", flags).unwrap());
        file.write_all(bytes).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        file
    }

    #[test]
    fn what_could_have_been_changed_or_was_is_left_behind() {
        let good = bytes(sealed(1));
        check(vec![memfd(&good, SEALS)], &NOW, "x", 1);
        check(vec![memfd(&good, SealFlag::F_SEAL_SHRINK)], &NOW, "x", 0);
        check(vec![tempfile::tempfile().unwrap()], &NOW, "x", 0);
        for cut in [0, 3, MAGIC.len(), MAGIC.len() + DIGEST, good.len() - 1] {
            check(vec![memfd(&good[..cut], SEALS)], &NOW, "x", 0);
        }
        for at in [0, MAGIC.len(), MAGIC.len() + DIGEST + 20, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            check(vec![memfd(&bad, SEALS)], &NOW, "x", 0);
        }
    }

    #[test]
    fn the_newest_of_two_counts() {
        let empty = seal(&Store::default(), &endpoint(), &NOW, 2).unwrap();
        check(vec![sealed(1), File::from(empty)], &NOW, "x", 0);
        let empty = seal(&Store::default(), &endpoint(), &NOW, 2).unwrap();
        check(vec![File::from(empty), sealed(3)], &NOW, "x", 1);
    }
}
