//! A key in a real keyring: found without a prompt, stored where other programs find it, and a named
//! error for every obstacle.

use std::{os::unix::net::UnixListener, time::Duration};

use e2e::{Action, Keyring, TestEnv, UPLOAD};
use nix::sys::signal::Signal;
use stsd_keyring::{BusAddress, KeyringError, lookup, store};
use stsd_wire::SecretText;
use tokio::runtime::Builder;

const KEY: &str = "uploader";
const TEXT: &str = "access_key_id = \"LTAIEXAMPLEUPLOADER01\"\n\
    access_key_secret = \"ExampleSecretOfUploader000001\"\n";
const DEADLINE: Duration = Duration::from_secs(60);

fn run<T>(keyring: &Keyring, ask: impl AsyncFnOnce(&BusAddress) -> T) -> T {
    let bus = BusAddress::parse(keyring.address().as_ref()).unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ask(&bus))
}

fn found(keyring: &Keyring, key: &str) -> Result<SecretText, KeyringError> {
    run(keyring, async |bus| lookup(bus, key, DEADLINE).await)
}

fn stored(keyring: &Keyring, text: &str) -> Result<(), KeyringError> {
    let text = SecretText::from(text.to_owned());
    run(keyring, async |bus| {
        store(bus, KEY, "stsd uploader", &text, DEADLINE).await
    })
}

#[test]
fn stored_item_is_found_by_its_key() {
    let Some(keyring) = Keyring::start() else {
        return;
    };
    keyring.store(KEY, TEXT);
    keyring.store_with(&["application", "other", "key", KEY], b"another program's");
    assert_eq!(found(&keyring, KEY).unwrap().expose(), TEXT);
    let outcome = found(&keyring, "downloader");
    assert!(
        matches!(&outcome, Err(KeyringError::NoItem(key)) if key == "downloader"),
        "{outcome:?}"
    );
}

#[test]
fn stored_item_is_visible_to_others_and_replaced_in_place() {
    let Some(keyring) = Keyring::start() else {
        return;
    };
    stored(&keyring, TEXT).unwrap();
    assert_eq!(keyring.text(KEY).as_deref(), Some(TEXT));
    assert_eq!(found(&keyring, KEY).unwrap().expose(), TEXT);
    stored(&keyring, "another text").unwrap();
    assert_eq!(found(&keyring, KEY).unwrap().expose(), "another text");
    assert_eq!(keyring.text(KEY).as_deref(), Some("another text"));
}

#[test]
fn existing_item_is_replaced_and_two_items_are_an_error() {
    let Some(keyring) = Keyring::start() else {
        return;
    };
    // One more attribute makes it another item for the keyring, but not for stsd.
    keyring.store_with(&["application", "stsd", "key", KEY, "note", "mine"], b"old");
    stored(&keyring, TEXT).unwrap();
    assert_eq!(found(&keyring, KEY).unwrap().expose(), TEXT);
    // Only the user can choose between two items.
    keyring.store_with(&["application", "stsd", "key", KEY, "note", "too"], b"old");
    for outcome in [found(&keyring, KEY).map(drop), stored(&keyring, TEXT)] {
        assert!(
            matches!(outcome, Err(KeyringError::Several(_))),
            "{outcome:?}"
        );
    }
}

#[test]
fn locked_keyring_is_reported_and_stays_locked() {
    let Some(keyring) = Keyring::start() else {
        return;
    };
    keyring.store(KEY, TEXT);
    keyring.lock();
    for outcome in [
        found(&keyring, KEY).map(drop),
        stored(&keyring, "another text"),
    ] {
        assert!(matches!(outcome, Err(KeyringError::Locked)), "{outcome:?}");
    }
    // A locked keyring does not reveal its keys.
    let outcome = found(&keyring, "downloader");
    assert!(matches!(outcome, Err(KeyringError::Locked)), "{outcome:?}");
}

#[test]
fn locked_empty_keyring_stores_nothing() {
    let Some(keyring) = Keyring::start() else {
        return;
    };
    keyring.lock();
    let outcome = stored(&keyring, TEXT);
    assert!(matches!(outcome, Err(KeyringError::Locked)), "{outcome:?}");
}

#[test]
fn lookup_starts_no_keyring_and_store_does() {
    let Some(mut keyring) = Keyring::without_keyring() else {
        return;
    };
    let outcome = found(&keyring, KEY);
    assert!(
        matches!(outcome, Err(KeyringError::NoService)),
        "{outcome:?}"
    );
    assert!(!keyring.path("activated").exists(), "a lookup started it");
    assert!(stored(&keyring, TEXT).is_err());
    assert!(keyring.path("activated").exists(), "a store did not try to");
    // Both work with a running keyring.
    keyring.start_keyring();
    stored(&keyring, TEXT).unwrap();
    assert_eq!(found(&keyring, KEY).unwrap().expose(), TEXT);
}

/// Starts a daemon whose key is in the keyring at a bus.
fn daemon_at(bus: &str) -> TestEnv {
    let mut env = TestEnv::without_daemon(&[]);
    let config = format!(
        "{}[source.keyring]\ntype = \"access-key\"\naccess_key_keyring = \"{KEY}\"\n{}",
        env.endpoint(),
        UPLOAD.replace("\"uploader\"", "\"keyring\"")
    );
    env.write("config.toml", &config, 0o600);
    let mut command = env.daemon_command();
    command.env("DBUS_SESSION_BUS_ADDRESS", bus);
    env.start_daemon_with(command);
    env
}

/// Returns the error of a refresh.
fn tried(env: &TestEnv) -> String {
    let output = env.ctl(&["refresh", "oss-upload"]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn daemon_with_a_key_in_the_keyring_serves_an_upload() {
    let Some(keyring) = Keyring::start() else {
        return;
    };
    keyring.store(KEY, TEXT);
    let env = daemon_at(&keyring.address());
    let put = env.oss_with_profile("oss-upload", &["put", "examplebucket", "a"], "content");
    put.unwrap();
    assert_eq!(env.emulator().calls(Action::AssumeRole), 1);
    // The session stays valid; only a renewal needs the key.
    keyring.lock();
    let _ = env.document(&["oss-upload"]);
    let refreshed = env.ctl(&["refresh", "oss-upload"]);
    assert!(
        refreshed.status.success(),
        "the last good key is used on: {refreshed:?}"
    );
}

#[test]
fn unusable_keyring_is_a_named_error_without_a_prompt() {
    let Some(mut keyring) = Keyring::without_keyring() else {
        return;
    };
    let env = daemon_at(&keyring.address());
    env.assert_refused("oss-upload", 6, &["key=uploader", "log in to the desktop"]);
    assert!(
        !keyring.path("activated").exists(),
        "the daemon starts no keyring"
    );
    keyring.start_keyring();
    let said = tried(&env);
    assert!(said.contains("secret-tool store"), "{said}");
    assert_eq!(env.emulator().calls(Action::AssumeRole), 0);
    // A running daemon could retry by itself between the next two lines, and read the key.
    drop(env);
    keyring.store(KEY, TEXT);
    keyring.lock();
    let env = daemon_at(&keyring.address());
    let said = tried(&env);
    assert!(
        said.contains("locked") && said.contains("unlock it"),
        "{said}"
    );
    assert_eq!(env.emulator().calls(Action::AssumeRole), 0);
}

#[test]
fn invalid_key_in_the_keyring_is_named_and_not_shown() {
    let Some(keyring) = Keyring::start() else {
        return;
    };
    keyring.store(KEY, "ExampleSecretOfUploader000001");
    let env = daemon_at(&keyring.address());
    env.assert_refused("oss-upload", 6, &["key=uploader is not a key file"]);
}

#[test]
fn hung_bus_delays_only_its_own_profile() {
    let env = TestEnv::without_daemon(&[]);
    let path = env.path("bus");
    let bus = UnixListener::bind(&path).unwrap();
    let mut hung = daemon_at(&format!("unix:path={}", path.display()));
    let config = std::fs::read_to_string(hung.path("config.toml")).unwrap();
    let other = UPLOAD.replace("[profile.oss-upload]", "[profile.other]");
    let other = format!(
        "{other}[source.uploader]\ntype = \"access-key\"\naccess_key_file = \"uploader.key\"\n"
    );
    hung.write("config.toml", &(config + &other), 0o600);
    assert!(hung.ctl(&["reload"]).status.success());
    std::thread::scope(|scope| {
        let hung = &hung;
        let words = ["key=uploader cannot be read", "restart the keyring"];
        let waiting = scope.spawn(move || hung.assert_refused("oss-upload", 6, &words));
        // The accepted connection stays without an answer.
        let _connection = bus.accept().unwrap();
        let _ = hung.document(&["other"]);
        waiting.join().unwrap();
    });
    hung.daemon().signal(Signal::SIGTERM);
    assert_eq!(
        hung.wait_for_daemon_exit(),
        Some(0),
        "it leaves while the bus hangs"
    );
}
