//! What a session is made of once a call was found good, and how a fault bends it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    account::model::Role,
    clock::{iso_seconds, shifted},
    state::{
        Cloud, Now, hold,
        sessions::{Session, new_secret, new_token},
    },
    sts::request::Wish,
};

/// How a scripted fault bends an otherwise good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twist {
    /// Not at all.
    None,
    /// A credential that expired a minute ago, and is refused as such.
    Expired,
    /// Empty fields.
    Empty,
    /// An `Expiration` a year beyond what was asked; the session itself ends in time.
    Beyond,
}

/// A session's credential, as its holder has it.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) token: String,
    pub(crate) expires: Timestamp,
}

impl Credential {
    /// Mints one that lives for `life` or, for `--session-life`, shorter.
    pub(crate) fn mint(
        cloud: &Cloud,
        session: Unminted<'_>,
        life: Duration,
        now: Now,
        twist: Twist,
    ) -> Self {
        let life =
            SignedDuration::try_from(cloud.at_most(life)).unwrap_or(SignedDuration::from_hours(1));
        let expires = match twist {
            Twist::Expired => shifted(now.truly, -SignedDuration::from_mins(1)),
            _ => shifted(now.truly, life),
        };
        let (secret, token) = (new_secret(), new_token());
        let session = Session {
            secret: secret.clone(),
            token: token.clone(),
            role: session.role.to_owned(),
            name: session.name.to_owned(),
            policy: session.policy,
            source_identity: session.source_identity,
            expires,
        };
        Self {
            id: hold(&cloud.sessions).keep(session, now.truly),
            secret,
            token,
            expires,
        }
    }

    /// The four fields of it, in an answer that a fault may bend.
    pub(crate) fn printed(&self, now: Now, twist: Twist) -> Value {
        if twist == Twist::Empty {
            return json!({
                "AccessKeyId": "", "AccessKeySecret": "", "SecurityToken": "", "Expiration": "",
            });
        }
        let expires = match twist {
            Twist::Beyond => shifted(self.expires, SignedDuration::from_hours(24 * 365)),
            _ => self.expires,
        };
        json!({
            "AccessKeyId": self.id,
            "AccessKeySecret": self.secret,
            "SecurityToken": self.token,
            // As the server's clock would have it.
            "Expiration": iso_seconds(shifted(expires, now.offset)),
        })
    }
}

/// Whose session it is to be, and what it may not do.
pub(crate) struct Unminted<'a> {
    pub(crate) role: &'a str,
    pub(crate) name: &'a str,
    pub(crate) policy: Option<crate::account::policy::Policy>,
    pub(crate) source_identity: Option<String>,
}

/// Mints what was wished for; the answer that all ways to assume a role have in common.
pub(crate) fn issue(cloud: &Cloud, role: &Role, wish: Wish, now: Now, twist: Twist) -> Value {
    let session = Unminted {
        role: &wish.role,
        name: &wish.session_name,
        policy: wish.policy,
        source_identity: wish.source_identity.clone(),
    };
    let asked = Duration::from_secs(wish.seconds);
    let credential = Credential::mint(cloud, session, asked, now, twist);
    let mut answer = json!({
        "AssumedRoleUser": {
            "AssumedRoleId": format!("{}:{}", role.id, wish.session_name),
            "Arn": format!(
                "acs:ram::{}:role/{}/{}",
                cloud.world.account, wish.role, wish.session_name
            ),
        },
        "Credentials": credential.printed(now, twist),
    });
    if let Some(identity) = wish.source_identity {
        answer["SourceIdentity"] = Value::String(identity);
    }
    answer
}
