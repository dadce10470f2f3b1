//! Sessions that are restored, and memfds that are ignored.

use nix::sys::memfd::MFdFlags;

use super::*;
use crate::session::profile_entry::ProfileEntry;

/// A clock with a boot ID and the seconds since boot.
struct FixedClock(&'static str, u64);

impl Clock for FixedClock {
    fn wall(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn boot(&self) -> BootTime {
        BootTime::from_millis(self.1 * 1000)
    }

    fn boot_id(&self) -> String {
        self.0.to_owned()
    }

    fn sleep_at_most(&self, longest: Duration) -> crate::runtime::clock::SuspendAwareSleep<'_> {
        Box::pin(tokio::time::sleep(longest.min(Duration::from_secs(1))))
    }
}

const NOW: FixedClock = FixedClock("this boot", 1000);

fn profile(external_id: &str) -> Profile {
    Profile {
        external_id: Some(external_id.into()),
        ..Profile::sample()
    }
}

fn endpoint() -> Endpoint {
    Endpoint::custom("http://127.0.0.1:1").unwrap()
}

/// Returns a store with one session, from 900 to 2000 seconds after boot.
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
        served: AtomicBool::new(true),
        is_final: false,
        answers: EncodedReplies::default(),
    };
    let store = Store::default();
    let entry = ProfileEntry::from_saved(Arc::new(profile("x")), session, at(950));
    store.replace([Arc::new(entry)]);
    store
}

fn url_master() -> SecretText {
    SecretText::from("master secret of the URLs".to_owned())
}

fn sealed(generation: u64) -> File {
    File::from(seal(&store(), &endpoint(), &NOW, generation, url_master()).unwrap())
}

fn bytes(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Checks the number of sessions that are restored at `clock` for a profile with `external_id`.
fn check(memfds: Vec<File>, clock: &FixedClock, external_id: &str, expected: usize) {
    let mut restored = restore(memfds, clock);
    let taken = restored.take(&[endpoint()], &profile(external_id), clock.boot());
    assert_eq!(
        taken.is_some() as usize,
        expected,
        "{external_id} {}",
        clock.0
    );
}

#[test]
fn memfd_restores_sessions_and_holds_no_long_lived_key() {
    let contents = bytes(sealed(1));
    let contains = |text: &str| {
        let text = text.as_bytes();
        contents.windows(text.len()).any(|it| it == text)
    };
    assert!(contains("short-lived") && !contains("long-lived"));

    let mut restored = restore(vec![sealed(1)], &NOW);
    let taken = restored.take(&[endpoint()], &profile("x"), NOW.boot());
    let (session, asked) = taken.unwrap();
    assert_eq!(session.access_key_secret.expose(), "short-lived");
    assert_eq!(session.lifetime.ends, BootTime::from_millis(2_000_000));
    assert_eq!(asked, BootTime::from_millis(950_000));
    assert_eq!(session.expiration.as_second(), 5000);
    assert_eq!(restored.url_master, Some(url_master()));
}

#[test]
fn memfd_of_version_0_1_restores_sessions_and_no_master_secret() {
    let contents = bytes(sealed(1));
    let body = String::from_utf8(contents[MAGIC.len() + DIGEST_BYTES..].to_vec()).unwrap();
    let old = body.replace("\"url_master\"", "\"url_secret\"");
    assert_ne!(old, body);
    let old = [&header(old.as_bytes())[..], old.as_bytes()].concat();
    let mut restored = restore(vec![memfd(&old, SEALS)], &NOW);
    assert!(restored.url_master.is_none());
    let taken = restored.take(&[endpoint()], &profile("x"), NOW.boot());
    assert!(taken.is_some());
}

#[test]
fn session_of_another_grant_boot_or_time_is_not_restored() {
    check(vec![sealed(1)], &NOW, "x", 1);
    check(vec![sealed(1)], &NOW, "another grant", 0);
    check(vec![sealed(1)], &FixedClock("another boot", 1000), "x", 0);
    check(vec![sealed(1)], &FixedClock("this boot", 2000), "x", 0);
    check(vec![sealed(1)], &FixedClock("this boot", 800), "x", 0);
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
fn memfd_that_is_unsealed_or_damaged_is_ignored() {
    let good = bytes(sealed(1));
    check(vec![memfd(&good, SEALS)], &NOW, "x", 1);
    check(vec![memfd(&good, SealFlag::F_SEAL_SHRINK)], &NOW, "x", 0);
    check(vec![tempfile::tempfile().unwrap()], &NOW, "x", 0);
    for cut in [
        0,
        3,
        MAGIC.len(),
        MAGIC.len() + DIGEST_BYTES,
        good.len() - 1,
    ] {
        check(vec![memfd(&good[..cut], SEALS)], &NOW, "x", 0);
    }
    for at in [
        0,
        MAGIC.len(),
        MAGIC.len() + DIGEST_BYTES + 20,
        good.len() - 1,
    ] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        check(vec![memfd(&bad, SEALS)], &NOW, "x", 0);
    }
}

#[test]
fn memfd_of_the_highest_generation_is_restored() {
    let empty = seal(&Store::default(), &endpoint(), &NOW, 2, url_master()).unwrap();
    check(vec![sealed(1), File::from(empty)], &NOW, "x", 0);
    let empty = seal(&Store::default(), &endpoint(), &NOW, 2, url_master()).unwrap();
    check(vec![File::from(empty), sealed(3)], &NOW, "x", 1);
}
