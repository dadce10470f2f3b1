//! The calls of the Secret Service, one method for each step of a lookup or a store.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use stsd_secret::SecretText;
use zbus::{
    Message,
    message::Body,
    names::OwnedUniqueName,
    zvariant::{DynamicType, ObjectPath, OwnedObjectPath, OwnedValue, Type, Value},
};

use crate::{BusAddress, KeyringError, MAX_TEXT, bus::Bus};

const NAME: &str = "org.freedesktop.secrets";
const PATH: &str = "/org/freedesktop/secrets";
const SERVICE: &str = "org.freedesktop.Secret.Service";
const COLLECTION: &str = "org.freedesktop.Secret.Collection";
const ITEM: &str = "org.freedesktop.Secret.Item";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// The object path that means "no object", for instance no prompt.
const NONE: &str = "/";

/// When a keyring that is not running is started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Never,
    IfNeeded,
}

/// The keyring of a session.
pub(crate) struct Service {
    bus: Bus,
    /// The unique bus name of the keyring's process, the destination of all calls. A unique name
    /// is never activated, and a process that takes over the service's name later does not receive
    /// the remaining calls.
    owner: OwnedUniqueName,
}

/// A secret as it travels: session, parameters, bytes, content type.
type Secret<'a> = (ObjectPath<'a>, &'a [u8], &'a [u8], &'a str);

impl Service {
    pub(crate) async fn find(bus: &BusAddress, start: Start) -> Result<Self, KeyringError> {
        let mut bus = Bus::connect(bus).await?;
        if start == Start::IfNeeded {
            // For a keyring that runs already the reply is `ALREADY_RUNNING`, not an error.
            bus.ask_bus("StartServiceByName", &(NAME, 0_u32)).await?;
        }
        let reply = bus.ask_bus("GetNameOwner", &NAME).await?;
        let owner = read(&reply.body())?;
        Ok(Self { bus, owner })
    }

    /// Returns the text of the one item for a key.
    pub(crate) async fn text(&mut self, key: &str) -> Result<SecretText, KeyringError> {
        let Some(item) = self.item(key).await? else {
            // A keyring may hide locked items (KeePassXC does).
            let locked = self.default_collection_is_locked().await;
            return Err(match locked {
                Ok(true) => KeyringError::Locked,
                _ => KeyringError::NoItem(key.to_owned()),
            });
        };
        let session = self.session().await?;
        let reply = self.ask(&item, ITEM, "GetSecret", &(session,)).await;
        let reply = reply.map_err(|error| match error {
            // The cause is the item, which does not fit into a message, not the bus.
            KeyringError::TooMuch => KeyringError::TooLarge,
            other => other,
        })?;
        let body = reply.body();
        let (_, _, bytes, _): Secret<'_> = read(&body)?;
        if bytes.len() > MAX_TEXT {
            return Err(KeyringError::TooLarge);
        }
        let text = str::from_utf8(bytes).map_err(|_| KeyringError::NotText)?;
        Ok(text.to_owned().into())
    }

    /// Stores a text in the one item for a key, or in a new item.
    pub(crate) async fn keep(
        &mut self,
        key: &str,
        label: &str,
        text: &SecretText,
    ) -> Result<(), KeyringError> {
        let found = self.item(key).await?;
        if let Some(item) = found {
            let secret = secret(self.session().await?, text);
            return self
                .ask(&item, ITEM, "SetSecret", &(secret,))
                .await
                .map(drop);
        }
        let collection = self.default_collection().await?;
        let collection = collection.ok_or(KeyringError::NoCollection)?;
        if self.is_locked(&collection).await? {
            return Err(KeyringError::Locked);
        }
        let properties = HashMap::from([
            ("org.freedesktop.Secret.Item.Label", Value::from(label)),
            (
                "org.freedesktop.Secret.Item.Attributes",
                Value::from(attributes(key)),
            ),
        ]);
        let secret = secret(self.session().await?, text);
        let body = (properties, secret, true);
        let reply = self
            .ask(&collection, COLLECTION, "CreateItem", &body)
            .await?;
        let (_, prompt): (OwnedObjectPath, OwnedObjectPath) = read(&reply.body())?;
        // The keyring wants a prompt first. It gets none, so the text was not stored.
        if prompt.as_str() != NONE {
            return Err(KeyringError::Locked);
        }
        Ok(())
    }

    /// Returns the unlocked item for a key, or `None`. Locked items count as well: otherwise the
    /// choice between two items would depend on which is unlocked at the moment.
    async fn item(&mut self, key: &str) -> Result<Option<OwnedObjectPath>, KeyringError> {
        let service = ObjectPath::from_static_str_unchecked(PATH);
        let body = (attributes(key),);
        let reply = self.ask(&service, SERVICE, "SearchItems", &body).await?;
        let (mut unlocked, locked): (Vec<OwnedObjectPath>, Vec<OwnedObjectPath>) =
            read(&reply.body())?;
        match (unlocked.len(), locked.len()) {
            (0, 0) => Ok(None),
            (1, 0) => Ok(unlocked.pop()),
            (0, 1) => Err(KeyringError::Locked),
            _ => Err(KeyringError::Several(key.to_owned())),
        }
    }

    /// Opens a session without encryption. Only the user and root can read this socket, and both
    /// can call the keyring themselves; the programs' allocator wipes what they free of it. The
    /// session ends with the connection.
    async fn session(&mut self) -> Result<OwnedObjectPath, KeyringError> {
        let service = ObjectPath::from_static_str_unchecked(PATH);
        let body = ("plain", Value::from(""));
        let reply = self.ask(&service, SERVICE, "OpenSession", &body).await?;
        let (_, session): (OwnedValue, OwnedObjectPath) = read(&reply.body())?;
        Ok(session)
    }

    async fn default_collection(&mut self) -> Result<Option<OwnedObjectPath>, KeyringError> {
        let service = ObjectPath::from_static_str_unchecked(PATH);
        let reply = self.ask(&service, SERVICE, "ReadAlias", &"default").await?;
        let collection: OwnedObjectPath = read(&reply.body())?;
        Ok(Some(collection).filter(|it| it.as_str() != NONE))
    }

    async fn default_collection_is_locked(&mut self) -> Result<bool, KeyringError> {
        match self.default_collection().await? {
            Some(collection) => self.is_locked(&collection).await,
            None => Ok(false),
        }
    }

    async fn is_locked(&mut self, collection: &ObjectPath<'_>) -> Result<bool, KeyringError> {
        let body = (COLLECTION, "Locked");
        let reply = self.ask(collection, PROPERTIES, "Get", &body).await?;
        let body = reply.body();
        let value: Value<'_> = read(&body)?;
        value.downcast().map_err(|_| KeyringError::Garbled)
    }

    async fn ask(
        &mut self,
        path: &ObjectPath<'_>,
        interface: &str,
        method: &str,
        body: &(impl Serialize + DynamicType),
    ) -> Result<Message, KeyringError> {
        let owner = &self.owner;
        self.bus.ask(owner, path, interface, method, body).await
    }
}

fn read<'a, T>(body: &'a Body) -> Result<T, KeyringError>
where
    T: Deserialize<'a> + Type,
{
    body.deserialize().map_err(|_| KeyringError::Garbled)
}

fn attributes(key: &str) -> HashMap<&str, &str> {
    HashMap::from([("application", "stsd"), ("key", key)])
}

fn secret(session: OwnedObjectPath, text: &SecretText) -> Secret<'_> {
    (
        session.into_inner(),
        &[],
        text.expose().as_bytes(),
        "text/plain",
    )
}
