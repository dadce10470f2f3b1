//! A client of the Secret Service, the D-Bus interface of gnome-keyring, KWallet and KeePassXC. It
//! looks up and stores an AccessKey's text in the keyring of a user's session.
//!
//! ```text
//! lookup ── GetNameOwner ─→ SearchItems ─→ OpenSession ─→ GetSecret
//! store ─── StartServiceByName? ─→ SearchItems ─→ Locked? ─→ SetSecret, or CreateItem
//! ```
//!
//! No function prompts the user: neither calls `Unlock` or a `Prompt`; a locked item is
//! [`KeyringError::Locked`]. A bus or a service that hangs, floods or sends garbage costs at most
//! the deadline and a few hundred KiB, and leaves neither task nor thread behind.
//!
//! The interface is that of freedesktop.org's Secret Service API 0.2.

mod address;
mod bounded;
mod bus;
mod error;
mod service;

use std::time::Duration;

pub use address::BusAddress;
pub use error::KeyringError;
use service::{Service, Start};
use stsd_secret::SecretText;
use tokio::time::timeout;

/// The largest text, in bytes; an AccessKey's has about a hundred.
pub const MAX_TEXT: usize = 16 * 1024;

/// Returns the text that the keyring has for a key, from the one item that has the
/// attributes `application=stsd` and `key=<key>`.
///
/// It never prompts the user and never starts a keyring: a keyring that D-Bus starts has no
/// password to unlock itself with, and would take the bus name that the keyring of the user's
/// login needs. It must be called within a tokio runtime with I/O and time.
///
/// # Errors
/// [`KeyringError`]: each variant has a hint, and none holds anything of the item's text.
pub async fn lookup(
    bus: &BusAddress,
    key: &str,
    deadline: Duration,
) -> Result<SecretText, KeyringError> {
    let talk = async { Service::find(bus, Start::Never).await?.text(key).await };
    timeout(deadline, talk)
        .await
        .unwrap_or(Err(KeyringError::TooSlow))
}

/// Stores a text for a key, in the item that [`lookup`] would find or else in a new one of
/// the default collection, which then has the label. An item that is there keeps its label.
///
/// A keyring that is not running is started, because a user waits for the result. A locked keyring
/// stays locked, because unlocking is between the user and the desktop.
///
/// # Errors
/// As [`lookup`].
pub async fn store(
    bus: &BusAddress,
    key: &str,
    label: &str,
    text: &SecretText,
    deadline: Duration,
) -> Result<(), KeyringError> {
    if text.expose().len() > MAX_TEXT {
        return Err(KeyringError::TooLarge);
    }
    let talk = async {
        let mut service = Service::find(bus, Start::IfNeeded).await?;
        service.keep(key, label, text).await
    };
    timeout(deadline, talk)
        .await
        .unwrap_or(Err(KeyringError::TooSlow))
}

#[cfg(test)]
mod tests;
