//! The counters in the text format of Prometheus, version 0.0.4, as
//! <https://prometheus.io/docs/instrumenting/exposition_formats/> describes it.

#![forbid(unsafe_code)]

mod daemon;

use std::fmt::{Display, Write as _};

use stsd_document::Printable;
use stsd_wire::{Condition, HttpListener, ListenerState, ProfileStatus, Protection, Status};

pub use self::daemon::DaemonMetrics;

/// The name of the HTTP endpoint among listeners.
pub const HTTP_LISTENER: &str = "http";

/// A text of metrics, to which families are added.
#[derive(Debug, Default)]
pub struct Text(String);

/// Returns the metrics of a status.
#[must_use]
pub fn text(status: &Status, conditions: &[Condition], http: Option<&HttpListener>) -> Text {
    let mut text = Text::default();
    text.family("stsd_build_info", "gauge", "The daemon's version.");
    let version = [("version", status.daemon_version.as_str())];
    text.sample("stsd_build_info", &version, 1);
    text.family(
        "stsd_uptime_seconds",
        "gauge",
        "How long the daemon has been running, suspends included.",
    );
    text.sample("stsd_uptime_seconds", &[], status.uptime_seconds);
    text.family(
        "stsd_sts_calls_held_back_total",
        "counter",
        "Calls to STS that had to wait because there were too many at once.",
    );
    text.sample(
        "stsd_sts_calls_held_back_total",
        &[],
        status.held_back_calls,
    );
    self::conditions(&mut text, conditions);
    protections(&mut text, &status.protections);
    let refusals = "stsd_http_refusals_total";
    text.family(refusals, "counter", "Requests by HTTP that were refused.");
    for refusal in &status.http_refusals {
        text.sample(refusals, &[("reason", &refusal.kind)], refusal.count);
    }
    listeners(&mut text, http);
    for (name, kind, help, value) in FAMILIES {
        text.family(name, kind, help);
        for profile in &status.profiles {
            text.sample(name, &[("profile", &profile.name)], value(profile));
        }
    }
    failures(&mut text, &status.profiles);
    renewals(&mut text, &status.profiles);
    expirations(&mut text, &status.profiles);
    text
}

/// Adds the state of the HTTP endpoint, if it is configured.
fn listeners(text: &mut Text, http: Option<&HttpListener>) {
    let name = "stsd_listener_up";
    text.family(
        name,
        "gauge",
        "1 if connections arrive at the configured listener, else 0.",
    );
    let is_configured = |it: &&HttpListener| it.state != ListenerState::NotConfigured;
    if let Some(it) = http.filter(is_configured) {
        let is_up = it.state == ListenerState::Listening;
        text.sample(name, &[("name", HTTP_LISTENER)], u64::from(is_up));
    }
}

type Family = (
    &'static str,
    &'static str,
    &'static str,
    fn(&ProfileStatus) -> u64,
);

/// Metrics with one number for each profile.
const FAMILIES: [Family; 5] = [
    (
        "stsd_remaining_life_seconds",
        "gauge",
        "How long the profile's credentials still live; 0 when there are none.",
        |it| it.remaining_seconds.unwrap_or(0),
    ),
    (
        "stsd_failing",
        "gauge",
        "1 while the profile's last renewal has failed.",
        |it| u64::from(it.last_failure.is_some()),
    ),
    (
        "stsd_hand_outs_total",
        "counter",
        "Answers given with credentials.",
        |it| it.hand_outs,
    ),
    (
        "stsd_sts_calls_total",
        "counter",
        "Calls made to STS.",
        |it| it.sts_calls,
    ),
    (
        "stsd_sts_calls_saved_total",
        "counter",
        "Calls that programs would have made, had each asked STS by itself.",
        |it| it.calls_saved,
    ),
];

/// The conditions of the daemon, and that of the last reload by a name of its own.
fn conditions(text: &mut Text, conditions: &[Condition]) {
    const RELOAD: &str = "stsd_config_last_reload_successful";
    const FAILING: &str = "stsd_condition_failing";
    if conditions.is_empty() {
        return;
    }
    text.family(RELOAD, "gauge", "1 unless the last reload was refused.");
    for it in conditions.iter().filter(|it| it.name == "configuration") {
        text.sample(RELOAD, &[], u8::from(it.holds));
    }
    let help = "1 while the daemon has the problem.";
    text.family(FAILING, "gauge", help);
    for it in conditions {
        text.sample(FAILING, &[("condition", &it.name)], u8::from(!it.holds));
    }
}

fn protections(text: &mut Text, protections: &[Protection]) {
    const NAME: &str = "stsd_protection_in_force";
    if protections.is_empty() {
        return;
    }
    text.family(
        NAME,
        "gauge",
        "1 while the protection of the process holds.",
    );
    for it in protections {
        text.sample(NAME, &[("protection", &it.name)], u8::from(it.holds));
    }
}

fn failures(text: &mut Text, profiles: &[ProfileStatus]) {
    const NAME: &str = "stsd_sts_failures_total";
    text.family(
        NAME,
        "counter",
        "Calls to STS that failed, by the kind of failure.",
    );
    for profile in profiles {
        for failure in &profile.sts_failures {
            let labels = [("profile", &*profile.name), ("kind", &*failure.kind)];
            text.sample(NAME, &labels, failure.count);
        }
    }
}

fn renewals(text: &mut Text, profiles: &[ProfileStatus]) {
    text.family(
        "stsd_renewal_seconds",
        "summary",
        "How long the renewals took that succeeded.",
    );
    for profile in profiles {
        let labels = [("profile", profile.name.as_str())];
        let millis = profile.renewal_millis_total;
        let seconds = format!("{}.{:03}", millis / 1000, millis % 1000);
        text.sample("stsd_renewal_seconds_sum", &labels, seconds);
        text.sample("stsd_renewal_seconds_count", &labels, profile.renewals);
    }
}

/// Adds the end of each session: an alert by it works for a daemon that does not answer any more.
fn expirations(text: &mut Text, profiles: &[ProfileStatus]) {
    const NAME: &str = "stsd_session_expiry_timestamp_seconds";
    let help = "When the profile's credentials end, in seconds since 1970.";
    text.family(NAME, "gauge", help);
    for profile in profiles {
        if let Some(at) = profile.expiration_unix_seconds {
            text.sample(NAME, &[("profile", &profile.name)], at);
        }
    }
}

impl Text {
    /// Returns the text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    /// Begins a family; `kind` is a type of Prometheus.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample to the family.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.join(",") {
            none if none.is_empty() => none,
            some => format!("{{{some}}}"),
        };
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

fn escaped(value: &str) -> String {
    Printable(value)
        .to_string()
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::{Text, escaped};

    #[test]
    fn metric_sample_has_name_labels_and_value() {
        let mut text = Text::default();
        text.sample("a_total", &[], 3);
        text.sample("b_total", &[("profile", "x"), ("kind", "y")], "0.250");
        assert_eq!(
            text.0,
            "a_total 3\nb_total{profile=\"x\",kind=\"y\"} 0.250\n"
        );
    }

    #[test]
    fn metric_label_value_is_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\\\nd");
    }
}
