//! The families that the status of the daemon has not.

use std::{collections::BTreeMap, time::Duration};

use crate::Text;

/// The metrics of the daemon that its status has not.
#[derive(Debug)]
pub struct DaemonMetrics {
    /// The time at which the configuration in force was applied, in seconds since 1970.
    pub config_applied_seconds: i64,
    /// The number of open connections.
    pub connections: usize,
    /// The number of refused operations, by reason.
    pub refusals: Vec<(&'static str, u64)>,
    /// The number of lines that are missing in the file of the audit.
    pub lost_audit_lines: u64,
    /// The time that calls to STS have waited for the rate limit.
    pub held_back_time: Duration,
    /// The times from requests for credentials to their answers: bound and count of each bucket; the
    /// last bound is `None`.
    pub serve_durations: Vec<(Option<Duration>, u64)>,
    /// The sum of those times.
    pub serve_duration_sum: Duration,
    /// Whether the last resolution of each source has succeeded, by name.
    pub sources: BTreeMap<Box<str>, bool>,
}

impl DaemonMetrics {
    /// Adds the families. Samples of sources are left out where the text would become longer than
    /// `max_bytes`.
    pub fn add_to(&self, text: &mut Text, max_bytes: usize) {
        let name = "stsd_config_last_reload_success_timestamp_seconds";
        let help = "When the configuration in force was applied, in seconds since 1970.";
        text.family(name, "gauge", help);
        text.sample(name, &[], self.config_applied_seconds);
        let name = "stsd_connections";
        text.family(name, "gauge", "Open connections of clients.");
        text.sample(name, &[], self.connections);
        let name = "stsd_refusals_total";
        let help = "Refused requests and connections of all protocols, as the audit counts them.";
        text.family(name, "counter", help);
        for (reason, count) in &self.refusals {
            text.sample(name, &[("reason", reason)], count);
        }
        let name = "stsd_audit_lines_lost_total";
        let help = "Lines that could not be written to the file of the audit.";
        text.family(name, "counter", help);
        text.sample(name, &[], self.lost_audit_lines);
        let name = "stsd_sts_calls_held_back_seconds_total";
        let help = "How long calls to STS have waited because there were too many at once.";
        text.family(name, "counter", help);
        text.sample(name, &[], seconds(self.held_back_time));
        self.add_serve_durations(text);
        self.add_sources(text, max_bytes);
    }

    fn add_serve_durations(&self, text: &mut Text) {
        const NAME: &str = "stsd_serve_duration_seconds";
        let help =
            "From a request to its answer with credentials, also after a wait for a renewal.";
        text.family(NAME, "histogram", help);
        let mut count = 0;
        for (bound, in_bucket) in &self.serve_durations {
            count += in_bucket;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), seconds);
            text.sample(&format!("{NAME}_bucket"), &[("le", &bound)], count);
        }
        let sum = seconds(self.serve_duration_sum);
        text.sample(&format!("{NAME}_sum"), &[], sum);
        text.sample(&format!("{NAME}_count"), &[], count);
    }

    fn add_sources(&self, text: &mut Text, max_bytes: usize) {
        const NAME: &str = "stsd_source_ready";
        let help = "1 if the last use of the source has given an identity, else 0.";
        text.family(NAME, "gauge", help);
        for (source, is_ready) in &self.sources {
            let mut sample = Text::default();
            sample.sample(NAME, &[("source", source)], u8::from(*is_ready));
            if text.0.len() + sample.0.len() <= max_bytes {
                text.0.push_str(&sample.0);
            }
        }
    }
}

fn seconds(duration: Duration) -> String {
    duration.as_secs_f64().to_string()
}

#[cfg(test)]
mod tests {
    use super::{DaemonMetrics, Duration, Text};

    fn metrics() -> DaemonMetrics {
        DaemonMetrics {
            config_applied_seconds: 1_795_472_158,
            connections: 2,
            refusals: vec![("not_allowed", 3), ("busy", 0)],
            lost_audit_lines: 0,
            held_back_time: Duration::from_millis(1250),
            serve_durations: vec![(Some(Duration::from_micros(50)), 4), (None, 1)],
            serve_duration_sum: Duration::from_micros(2100),
            sources: [("key".into(), true), ("rrsa \"x\"".into(), false)].into(),
        }
    }

    #[test]
    fn families_of_the_daemon_have_counts_times_and_sources() {
        let mut text = Text::default();
        metrics().add_to(&mut text, usize::MAX);
        let text = text.into_string();
        let samples: Vec<_> = text.lines().filter(|it| !it.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "stsd_config_last_reload_success_timestamp_seconds 1795472158",
                "stsd_connections 2",
                "stsd_refusals_total{reason=\"not_allowed\"} 3",
                "stsd_refusals_total{reason=\"busy\"} 0",
                "stsd_audit_lines_lost_total 0",
                "stsd_sts_calls_held_back_seconds_total 1.25",
                "stsd_serve_duration_seconds_bucket{le=\"0.00005\"} 4",
                "stsd_serve_duration_seconds_bucket{le=\"+Inf\"} 5",
                "stsd_serve_duration_seconds_sum 0.0021",
                "stsd_serve_duration_seconds_count 5",
                "stsd_source_ready{source=\"key\"} 1",
                "stsd_source_ready{source=\"rrsa \\\"x\\\"\"} 0",
            ]
        );
    }

    #[test]
    fn sources_that_exceed_the_length_are_left_out() {
        let mut whole = Text::default();
        metrics().add_to(&mut whole, usize::MAX);
        let mut cut = Text::default();
        metrics().add_to(&mut cut, whole.0.len() - 1);
        assert!(cut.0.ends_with("stsd_source_ready{source=\"key\"} 1\n"));
    }
}
