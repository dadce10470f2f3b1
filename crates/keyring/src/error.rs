//! The errors of this crate, each with a hint.

use std::io;

use crate::MAX_TEXT;

/// A failed lookup or store. No variant holds anything of an item's text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The environment names no session bus.
    #[error("there is no address of a session bus")]
    NoAddress,
    /// The address is of a kind that is not used for secrets.
    #[error("the address of the session bus names no Unix socket")]
    NoUnixSocket,
    /// Nothing listens at the address, or connecting is not permitted.
    #[error("the session bus cannot be reached")]
    Unreachable(#[source] io::Error),
    /// The process that listens there belongs to another user than this one and root.
    #[error("the session bus belongs to another user")]
    Stranger,
    /// The connection ended in the middle.
    #[error("the session bus closed the connection")]
    Closed,
    /// The reply is not D-Bus, or not of the Secret Service.
    #[error("the session bus or the keyring does not answer as it should")]
    Garbled,
    /// The reply is larger than any valid one.
    #[error("the session bus or the keyring says too much")]
    TooMuch,
    /// The deadline passed before the reply arrived.
    #[error("the keyring does not answer in time")]
    TooSlow,
    /// The name `org.freedesktop.secrets` has no owner on the bus.
    #[error("no keyring is running in this session")]
    NoService,
    /// The item, or the collection for it, is locked.
    #[error("the keyring is locked")]
    Locked,
    /// The alias `default`, the collection for new items, is not set.
    #[error("the keyring has no default collection")]
    NoCollection,
    /// No item has the attributes.
    #[error("the keyring has no item for the key {0:?}")]
    NoItem(String),
    /// Several items have the attributes.
    #[error("the keyring has several items for the key {0:?}")]
    Several(String),
    /// The text is longer than that of any AccessKey.
    #[error("the text is larger than {MAX_TEXT} bytes")]
    TooLarge,
    /// The item holds other bytes than UTF-8.
    #[error("the item in the keyring is no text")]
    NotText,
    /// The keyring replied with an error of its own, which has this name.
    #[error("the keyring refused: {0}")]
    Refused(String),
}

impl KeyringError {
    /// Returns what fixes the error, for the user.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoAddress => "run it in a user's session, or set DBUS_SESSION_BUS_ADDRESS".into(),
            Self::NoUnixSocket => {
                "DBUS_SESSION_BUS_ADDRESS has to be unix:path=… or unix:abstract=…".into()
            }
            Self::Unreachable(_) | Self::Closed | Self::Stranger => {
                "look at DBUS_SESSION_BUS_ADDRESS, and at `systemctl --user status dbus`".into()
            }
            Self::Garbled | Self::TooMuch | Self::TooSlow => {
                "see whether `secret-tool search application stsd` gets an answer; if not, \
                 restart the keyring"
                    .into()
            }
            Self::NoService => {
                "log in to the desktop, or start gnome-keyring-daemon, KWallet or KeePassXC".into()
            }
            Self::Locked => {
                "unlock it, for instance by opening it in the desktop's keyring program".into()
            }
            Self::NoCollection => {
                "create a keyring and make it the default in the desktop's keyring program".into()
            }
            Self::NoItem(key) => format!(
                "store it with `secret-tool store --label='stsd {key}' application stsd key {key}`"
            ),
            Self::Several(key) => format!(
                "see them with `secret-tool search --all application stsd key {key}`, and \
                 delete all but one"
            ),
            Self::TooLarge | Self::NotText => {
                "the item has to hold the lines of a key file: access_key_id = \"…\" and \
                 access_key_secret = \"…\""
                    .into()
            }
            Self::Refused(_) => "the keyring's own log says more".into(),
        }
    }
}
