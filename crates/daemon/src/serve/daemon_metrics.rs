//! The metrics of the daemon that its status has not: those of the sources, the refusals, the
//! connections and the times.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use stsd_metrics::{DaemonMetrics, Text};

use crate::{
    profile::LastResolution,
    serve::context::{ServerContext, StatusContext},
    session::store::Store,
};

/// Adds the families; none for the socket of a lease. Samples of sources are left out where the text
/// would become longer than `max_bytes`.
pub(super) fn add_to(text: &mut Text, context: &ServerContext, max_bytes: usize) {
    if let Some(status) = &context.status {
        metrics(context, status).add_to(text, max_bytes);
    }
}

fn metrics(context: &ServerContext, status: &StatusContext) -> DaemonMetrics {
    DaemonMetrics {
        config_applied_seconds: status.config_applied_seconds.load(Ordering::Relaxed),
        connections: context.limiter.connections(),
        refusals: context.audit.refusals().collect(),
        lost_audit_lines: context.audit.lost_lines(),
        held_back_time: (status.deferred_time)(),
        serve_durations: context.serve_durations.buckets().collect(),
        serve_duration_sum: context.serve_durations.sum(),
        sources: sources(&context.store),
    }
}

/// Returns for each source that was used whether its last resolution has succeeded, by name. After a
/// reload, profiles with the old table and with the new one may share a name for a while.
fn sources(store: &Store) -> BTreeMap<Box<str>, bool> {
    let mut latest = BTreeMap::<Box<str>, LastResolution>::new();
    for entry in store.all() {
        let Some((name, resolution)) = entry.profile.source.last_resolution() else {
            continue;
        };
        match latest.get_mut(name) {
            Some(known) if known.asked >= resolution.asked => {}
            Some(known) => *known = resolution,
            None => drop(latest.insert(name.into(), resolution)),
        }
    }
    let is_ready = latest.into_iter().map(|(name, it)| (name, it.succeeded));
    is_ready.collect()
}
