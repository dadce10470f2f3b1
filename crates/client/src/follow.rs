//! Decides how a watched profile is kept fresh: one connection that takes each rotation, and
//! another one when it breaks.

use std::{
    convert::Infallible,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use stsd_wire::{Credentials, Request};
use tokio::time::{sleep, timeout};

use crate::{AsyncClient, Error, FIRST_PAUSE, answer, boot_time::BootTime, watched::Publisher};

/// The longest pause before the daemon is tried again.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// How long readers are without credentials before the daemon is asked why; each further
/// look is twice as long after the one before.
const FIRST_LOOK: Duration = Duration::from_millis(250);

/// The longest time between two such looks.
const LAST_LOOK: Duration = Duration::from_secs(30);

/// How long a question on the side may take.
const ASIDE: Duration = Duration::from_secs(1);

/// Keeps a profile fresh for as long as somebody reads it.
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

    /// Takes what comes by one connection. A session makes the next pause short again.
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
                // The session has ended, and there is no other.
                Err(_) => {}
            }
        }
    }

    /// Returns when a session ends: the daemon counts that by the clock of the service.
    async fn end_of(&self, credentials: &Credentials) -> Option<BootTime> {
        let asked = BootTime::now();
        let status = self.status().await?;
        if status.access_key_id.as_ref() != Some(&credentials.access_key_id) {
            return None;
        }
        Some(asked + Duration::from_secs(status.remaining_seconds?))
    }

    /// Says why there are no credentials: a watch is told of those alone.
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

/// Returns half of a pause to all of it, so that those who lost one daemon do not all come
/// back at once.
fn spread(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) >> 32;
    let half = pause / 2;
    half + half.mul_f64(random as f64 / f64::from(u32::MAX))
}
