//! The task behind a watched profile: it receives each rotation on one connection, and reconnects
//! with back-off when the connection breaks.

use std::{
    convert::Infallible,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use stsd_wire::{Credentials, Request};
use tokio::time::{sleep, timeout};

use crate::{
    AsyncClient, Error, answer, boot_time::BootTime, socket::FIRST_PAUSE, watched::Publisher,
};

/// The longest pause before the daemon is tried again.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// How long readers are without credentials before the status is requested for the reason; each
/// further interval is twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// The longest interval between two such requests.
const LAST_LOOK: Duration = Duration::from_secs(30);

/// The timeout of a status request.
const ASIDE: Duration = Duration::from_secs(1);

/// Publishes each session of a profile until the last handle is dropped.
pub(crate) async fn follow(client: AsyncClient, profile: String, publisher: Publisher) {
    let follow = Follow {
        client,
        profile,
        publisher,
    };
    tokio::select! {
        () = follow.publisher.unread() => {}
        () = follow.for_ever() => {}
    }
}

struct Follow {
    client: AsyncClient,
    profile: String,
    publisher: Publisher,
}

impl Follow {
    async fn for_ever(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let Err(failure) = self.listen(&mut pause).await;
            if failure.is_lasting() {
                pause = LONGEST_REST;
            }
            self.publisher.fail(failure);
            sleep(spread(pause)).await;
            pause = (pause * 2).min(LONGEST_REST);
        }
    }

    /// Publishes the sessions of one connection until it breaks. A session resets the back-off.
    async fn listen(&self, pause: &mut Duration) -> Result<Infallible, Error> {
        let profile = self.profile.clone();
        let mut connection = self.client.connect(&Request::Watch { profile }).await?;
        let mut look = FIRST_LOOK;
        loop {
            let remaining = self.publisher.remaining();
            let patience = if remaining.is_zero() { look } else { remaining };
            match timeout(patience, connection.receive()).await {
                Ok(reply) => {
                    let credentials = answer(reply?)?.credentials;
                    let ends = self.end_of(&credentials).await;
                    self.publisher.publish(credentials, ends);
                    *pause = FIRST_PAUSE;
                    look = FIRST_LOOK;
                }
                Err(_) if remaining.is_zero() => {
                    self.look_why().await;
                    look = (look * 2).min(LAST_LOOK);
                }
                // The session has expired, and the daemon has sent no other.
                Err(_) => {}
            }
        }
    }

    /// Returns the expiration of a session, which the daemon computes by the service's clock;
    /// `None` if the daemon's status has another session or cannot be read.
    async fn end_of(&self, credentials: &Credentials) -> Option<BootTime> {
        let asked = BootTime::now();
        let status = self.status().await?;
        if status.access_key_id.as_ref() != Some(&credentials.access_key_id) {
            return None;
        }
        Some(asked + Duration::from_secs(status.remaining_seconds?))
    }

    /// Publishes the daemon's last failure, because a watch delivers sessions only.
    async fn look_why(&self) {
        if let Some(last) = self.status().await.and_then(|it| it.last_failure) {
            self.publisher.fail(Error::Refused(last.failure));
        }
    }

    async fn status(&self) -> Option<stsd_wire::ProfileStatus> {
        let asking = self.client.profile(&self.profile);
        timeout(ASIDE, asking).await.ok()?.ok()?
    }
}

/// Returns a random duration between half of `pause` and all of it: jitter, so that the clients
/// of a restarted daemon do not all reconnect at once.
fn spread(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) >> 32;
    let half = pause / 2;
    half + half.mul_f64(random as f64 / f64::from(u32::MAX))
}
