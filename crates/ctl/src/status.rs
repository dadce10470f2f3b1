//! Decides how the daemon's status looks to a human and to a program.

use anyhow::Result;
use serde_json::{Value, json};
use stsd_client::{FailureCount, ProfileStatus, Status};

use crate::say;

/// How many characters a remaining-life bar has.
const BAR: u64 = 10;

pub(crate) fn show(status: &Status, as_json: bool) -> Result<()> {
    if as_json {
        return say(&serde_json::to_string_pretty(&document(status))?);
    }
    let version = &status.daemon_version;
    let (pid, up) = (status.pid, life(status.uptime_seconds));
    say(&format!(
        "stsd {version}, pid {pid}, up {up}, configured by {}",
        status.config_path
    ))?;
    let width = status
        .profiles
        .iter()
        .map(|it| it.name.len())
        .max()
        .unwrap_or(0)
        .max(7);
    say(&format!(
        "\n{:width$}  {:17}  {:14}  {:>5}  {:>6}  {:>9}",
        "PROFILE", "REMAINING", "NEXT ATTEMPT", "CALLS", "SAVED", "HAND-OUTS"
    ))?;
    for profile in &status.profiles {
        row(profile, width)?;
    }
    Ok(())
}

fn row(profile: &ProfileStatus, width: usize) -> Result<()> {
    let remaining = match (profile.remaining_seconds, profile.lifetime_seconds) {
        (Some(remaining), Some(length)) => {
            format!("{} {}", bar(remaining, length), life(remaining))
        }
        _ => "none".to_owned(),
    };
    let next = match profile.next_attempt_seconds {
        Some(seconds) => format!("in {}", life(seconds)),
        None => "on demand".to_owned(),
    };
    say(&format!(
        "{:width$}  {remaining:17}  {next:14}  {:>5}  {:>6}  {:>9}",
        profile.name, profile.sts_calls, profile.calls_saved, profile.hand_outs
    ))?;
    if profile.next_attempt_seconds.is_some() {
        say(&format!(
            "{:width$}  next: {}",
            "", profile.next_attempt_reason
        ))?;
    }
    if let Some(last) = &profile.last_failure {
        let (failure, age) = (&last.failure, life(last.age_seconds));
        let times = match last.in_a_row {
            0 | 1 => String::new(),
            times => format!(", {times} times in a row"),
        };
        say(&format!(
            "{:width$}  failed {age} ago{times}: {}",
            "", failure.message
        ))?;
        say(&format!("{:width$}  hint: {}", "", failure.hint))?;
    }
    if let Some(advice) = &profile.advice {
        say(&format!("{:width$}  advice: {advice}", ""))?;
    }
    Ok(())
}

/// Full blocks for what remains, dots for what is gone.
fn bar(remaining: u64, length: u64) -> String {
    let full = (remaining * BAR).div_ceil(length.max(1)).min(BAR) as usize;
    "█".repeat(full) + &"·".repeat(BAR as usize - full)
}

/// The two largest units that say something: `1h02m`, `59m58s`, `12s`.
fn life(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m{rest:02}s"),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// The names are those of the wire; a program may rely on them.
fn document(status: &Status) -> Value {
    let profiles: Vec<_> = status
        .profiles
        .iter()
        .map(|profile| {
            json!({
                "name": profile.name,
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
        "config_path": status.config_path,
        "held_back_calls": status.held_back_calls,
        "http_address": status.http_address,
        "http_refusals": counts(&status.http_refusals),
        "protections": status.protections.iter().map(|it| json!({
            "name": it.name,
            "holds": it.holds,
            "remark": it.remark,
        })).collect::<Vec<_>>(),
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

#[cfg(test)]
mod tests {
    use super::{bar, life};

    #[test]
    fn times_read_well() {
        let check = |seconds, expected: &str| assert_eq!(life(seconds), expected);
        check(0, "0s");
        check(61, "1m01s");
        check(3599, "59m59s");
        check(3720, "1h02m");
        check(90_000, "1d01h");
    }

    #[test]
    fn a_bar_is_empty_only_when_nothing_is_left() {
        assert_eq!(bar(3600, 3600), "██████████");
        assert_eq!(bar(1, 3600), "█·········");
        assert_eq!(bar(0, 3600), "··········");
    }
}
