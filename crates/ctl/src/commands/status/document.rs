//! The status as JSON.

use serde_json::{Value, json};
use stsd_client::FailureCount;

use super::{report::StatusReport, summary::ProfileState};
use crate::http_listener;

/// Returns the status as JSON, with the names of the protocol, which stay stable.
pub(super) fn json(report: &StatusReport) -> Value {
    let status = &report.status;
    let profiles: Vec<_> = status
        .profiles
        .iter()
        .map(|profile| {
            json!({
                "name": profile.name,
                "state": ProfileState::of(profile).name(),
                "role_arn": profile.role_arn,
                "access_key_id": profile.access_key_id,
                "expiration_unix_seconds": profile.expiration_unix_seconds,
                "remaining_seconds": profile.remaining_seconds,
                "lifetime_seconds": profile.lifetime_seconds,
                "next_attempt_seconds": profile.next_attempt_seconds,
                "next_attempt_reason": profile.next_attempt_reason,
                "last_failure": profile.last_failure.as_ref().map(|last| json!({
                    "kind": format!("{:?}", last.failure.kind),
                    "message": last.failure.message,
                    "hint": last.failure.hint,
                    "age_seconds": last.age_seconds,
                    "in_a_row": last.in_a_row,
                })),
                "advice": profile.advice,
                "last_caller": report.last_caller(profile).map(|it| json!({
                    "asked": it.asked,
                    "uid": it.uid,
                    "pid": it.pid,
                    "unit": it.unit,
                    "user_unit": it.user_unit,
                    "exe": it.exe,
                    "age_seconds": it.age_seconds,
                })),
                "hand_outs": profile.hand_outs,
                "calls_saved": profile.calls_saved,
                "sts_calls": profile.sts_calls,
                "sts_failures": counts(&profile.sts_failures),
                "renewals": profile.renewals,
                "renewal_millis_total": profile.renewal_millis_total,
                "renewal_millis_last": profile.renewal_millis_last,
            })
        })
        .collect();
    json!({
        "daemon_version": status.daemon_version,
        "pid": status.pid,
        "uptime_seconds": status.uptime_seconds,
        "socket": report.socket.display().to_string(),
        "config_path": status.config_path,
        "held_back_calls": status.held_back_calls,
        "http_address": status.http_address,
        "listeners": report.http.as_ref().map(http_listener::json),
        "http_refusals": counts(&status.http_refusals),
        "protections": status.protections.iter().map(|it| json!({
            "name": it.name,
            "holds": it.holds,
            "remark": it.remark,
        })).collect::<Vec<_>>(),
        "conditions": report.conditions.as_ref().map(|all| all.iter().map(|it| json!({
            "name": it.name,
            "holds": it.holds,
            "message": it.message,
            "hint": it.hint,
            "age_seconds": it.age_seconds,
        })).collect::<Vec<_>>()),
        "profiles": profiles,
    })
}

fn counts(counts: &[FailureCount]) -> Value {
    counts
        .iter()
        .map(|it| (it.kind.clone(), json!(it.count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
