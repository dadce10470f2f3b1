//! Decides how an AccessKey's text is kept in the keyring of a user's session: the Secret
//! Service, which gnome-keyring, KWallet and KeePassXC offer on D-Bus.
//!
//! ```text
//! lookup ── GetNameOwner ─→ SearchItems ─→ OpenSession ─→ GetSecret
//! store ─── StartServiceByName? ─→ SearchItems ─→ Locked? ─→ SetSecret, or CreateItem
//! ```
//!
//! Nothing here ever asks a human: neither function calls `Unlock` or a `Prompt`; what is
//! locked is an error that says so. A bus or a service that hangs, floods or talks nonsense
//! costs the deadline and a few hundred KiB, and leaves neither task nor thread behind.
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

/// The longest text, in bytes; that of an AccessKey has about a hundred.
pub const MAX_TEXT: usize = 16 * 1024;

/// Returns the text that the keyring has for a key, from the one item that has the
/// attributes `application=stsd` and `key=<key>`.
///
/// It never asks a human, and it never starts a keyring: one that D-Bus starts has no
/// password to unlock itself with, and would stand where the one of the user's login is
/// about to be. Has to be called within a tokio runtime with I/O and time.
///
/// # Errors
/// Each failure has a name and a hint. None holds anything of the item's text.
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
/// A human is waiting for it, so a keyring that is not running is started. One that is locked
/// stays so, because what unlocks it is a matter between the human and the desktop.
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
