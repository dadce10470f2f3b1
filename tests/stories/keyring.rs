//! A key's text is kept by a real keyring: found without a question, stored where other
//! programs find it, and every obstacle has its name.

use std::time::Duration;

use e2e::Keyring;
use stsd_keyring::{BusAddress, KeyringError, lookup, store};
use stsd_wire::SecretText;
use tokio::runtime::Builder;

const KEY: &str = "uploader";
const TEXT: &str = "access_key_id = \"LTAIEXAMPLEUPLOADER01\"\n\
    access_key_secret = \"ExampleSecretOfUploader000001\"\n";
const DEADLINE: Duration = Duration::from_secs(20);

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
fn what_a_human_has_stored_is_found_by_its_key_alone() {
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
fn what_was_stored_is_found_by_another_program_and_replaced_not_doubled() {
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
fn an_item_of_a_human_is_replaced_where_it_is() {
    let Some(keyring) = Keyring::start() else {
        return;
    };
    // With an attribute more, which makes it another item to the keyring, but not to us.
    keyring.store_with(&["application", "stsd", "key", KEY, "note", "mine"], b"old");
    stored(&keyring, TEXT).unwrap();
    assert_eq!(found(&keyring, KEY).unwrap().expose(), TEXT);
    // A second one beside it is a question that only the human can answer.
    keyring.store_with(&["application", "stsd", "key", KEY, "note", "too"], b"old");
    for outcome in [found(&keyring, KEY).map(drop), stored(&keyring, TEXT)] {
        assert!(
            matches!(outcome, Err(KeyringError::Several(_))),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_locked_keyring_is_said_to_be_and_stays_so() {
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
    // Whether it holds another key cannot be told.
    let outcome = found(&keyring, "downloader");
    assert!(matches!(outcome, Err(KeyringError::Locked)), "{outcome:?}");
}

#[test]
fn an_empty_keyring_that_is_locked_takes_nothing() {
    let Some(keyring) = Keyring::start() else {
        return;
    };
    keyring.lock();
    let outcome = stored(&keyring, TEXT);
    assert!(matches!(outcome, Err(KeyringError::Locked)), "{outcome:?}");
}

#[test]
fn a_keyring_that_does_not_run_is_started_for_a_human_alone() {
    let Some(mut keyring) = Keyring::bus_alone() else {
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
    // Once it runs, both find it.
    keyring.begin();
    stored(&keyring, TEXT).unwrap();
    assert_eq!(found(&keyring, KEY).unwrap().expose(), TEXT);
}
