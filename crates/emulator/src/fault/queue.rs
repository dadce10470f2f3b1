//! The queue of faults in force.

use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::{Notify, futures::Notified};

use crate::{
    clock::saturating_add,
    duration::parse_duration,
    fault::script::{Fault, Script, ScriptError},
    sync::lock,
};

/// Maximum number of faults in the queue.
const MAX_FAULTS: usize = 1000;

/// The queue. The first fault that matches a call applies to the call, alone.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    queue: Mutex<Vec<QueuedFault>>,
    cleared: Notify,
}

#[derive(Debug, Clone, Serialize)]
struct QueuedFault {
    action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    until: Option<Timestamp>,
    fault: Fault,
}

impl QueuedFault {
    fn matches(&self, action: &str) -> bool {
        let names_action = match self.action.as_str() {
            "*" => true,
            "oss:*" => action.starts_with("oss:"),
            "imds:*" => action.starts_with("imds:"),
            name => name == action,
        };
        names_action && self.fault.applies_to(action)
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.times == Some(0) || self.until.is_some_and(|until| until <= now)
    }
}

impl Faults {
    /// Queues the fault of a JSON script.
    ///
    /// # Errors
    ///
    /// The script is invalid, or the queue is full.
    pub(crate) fn add(&self, json: &[u8], now: Timestamp) -> Result<(), ScriptError> {
        let script = Script::parse(json)?;
        let until = match &script.lasts {
            None => None,
            Some(text) => {
                let lasts = parse_duration(text)
                    .and_then(|duration| SignedDuration::try_from(duration).ok())
                    .ok_or_else(|| ScriptError::Duration(text.clone()))?;
                Some(saturating_add(now, lasts))
            }
        };
        let mut queue = lock(&self.queue);
        queue.retain(|queued| !queued.is_expired(now));
        if queue.len() >= MAX_FAULTS {
            return Err(ScriptError::QueueFull);
        }
        queue.push(QueuedFault {
            action: script.action,
            times: script.times,
            until,
            fault: script.fault,
        });
        Ok(())
    }

    /// Returns the fault for a call, and counts its `times` down.
    pub(crate) fn take(&self, action: &str, now: Timestamp) -> Option<Fault> {
        let mut queue = lock(&self.queue);
        queue.retain(|queued| !queued.is_expired(now));
        let queued = queue.iter_mut().find(|queued| queued.matches(action))?;
        if let Some(times) = &mut queued.times {
            *times -= 1;
        }
        Some(queued.fault.clone())
    }

    /// Returns the queue as JSON.
    pub(crate) fn to_json(&self, now: Timestamp) -> serde_json::Value {
        let mut queue = lock(&self.queue);
        queue.retain(|queued| !queued.is_expired(now));
        serde_json::to_value(&*queue).unwrap_or_default()
    }

    /// Empties the queue, and ends each call that hangs or is delayed.
    pub(crate) fn clear(&self) {
        lock(&self.queue).clear();
        self.cleared.notify_waiters();
    }

    /// Returns a future that completes at the next [`Faults::clear`], also at one before its
    /// first poll.
    pub(crate) fn cleared(&self) -> Notified<'_> {
        self.cleared.notified()
    }
}

fn as_text<S: serde::Serializer>(
    until: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match until {
        Some(until) => serializer.collect_str(until),
        None => serializer.serialize_none(),
    }
}
