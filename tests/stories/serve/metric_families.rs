//! The families of metrics that the status has not.

use e2e::{Action, Fault, UPLOAD, metric, sample, unix_time};

use super::metrics::{env_with_metrics, request, top};

const READY: &str = "stsd_source_ready{source=\"uploader\"}";
const ANSWERS: &str = "stsd_serve_duration_seconds_count";

/// Returns the text of a scrape.
fn scrape(port: u16) -> String {
    request(port, "GET /metrics").1
}

#[test]
fn source_is_ready_after_its_first_use_until_it_fails() {
    let (env, port) = env_with_metrics();
    assert_eq!(sample(&scrape(port), READY), None);
    let _ = env.document(&["oss-upload"]);
    assert_eq!(sample(&scrape(port), READY), Some(1.0));
    let key = std::fs::read_to_string(env.path("uploader.key")).unwrap();
    env.replace("uploader.key", "neither id nor secret", 0o600);
    // The key that was read before still signs.
    assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
    assert_eq!(sample(&scrape(port), READY), Some(0.0));
    assert_eq!(metric(&env, READY), 0.0);
    env.replace("uploader.key", &key, 0o600);
    assert!(env.ctl(&["refresh", "oss-upload"]).status.success());
    assert_eq!(sample(&scrape(port), READY), Some(1.0));
}

#[test]
fn refusals_of_all_protocols_are_counted_by_reason() {
    let (env, port) = env_with_metrics();
    let of = |reason: &str| {
        let name = format!("stsd_refusals_total{{reason=\"{reason}\"}}");
        sample(&scrape(port), &name).unwrap_or_else(|| panic!("{reason}"))
    };
    for reason in ["not_allowed", "busy", "throttled", "invalid", "unreachable"] {
        assert_eq!(of(reason), 0.0, "{reason}");
    }
    for _ in 0..30 {
        assert!(!env.shim(&["no-such-profile"]).status.success());
    }
    assert_eq!(of("unknown_profile"), 30.0, "also beyond the audit's limit");
    let url = env.client().url("oss-upload").unwrap().url;
    let http = url.expose().split('/').nth(2).unwrap();
    let http = http.rsplit(':').next().unwrap().parse().unwrap();
    let (status, _) = request(http, "GET /wrong-secret/oss-upload");
    assert!(status.contains("403"), "{status}");
    assert_eq!(of("not_allowed"), 1.0);
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("NoPermission"));
    assert!(!env.shim(&["oss-upload"]).status.success());
    assert_eq!(of("denied_by_sts"), 1.0);
}

#[test]
fn answers_are_counted_with_their_time_and_connections_while_they_are_open() {
    let (env, port) = env_with_metrics();
    assert_eq!(sample(&scrape(port), ANSWERS), Some(0.0));
    assert_eq!(sample(&scrape(port), "stsd_connections"), Some(0.0));
    let watch = env.client().watch("oss-upload");
    env.wait_until("the watch is connected", || {
        sample(&scrape(port), "stsd_connections") == Some(1.0)
    });
    for _ in 0..3 {
        let _ = env.document(&["oss-upload"]);
    }
    drop(watch);
    let text = scrape(port);
    assert_eq!(sample(&text, ANSWERS), Some(3.0), "{text}");
    let all = "stsd_serve_duration_seconds_bucket{le=\"+Inf\"}";
    assert_eq!(sample(&text, all), Some(3.0));
    assert!(sample(&text, "stsd_serve_duration_seconds_sum").unwrap() > 0.0);
    // A URL counts as well.
    let url = env.client().url("oss-upload").unwrap().url;
    let response = minreq::get(url.expose()).send().unwrap();
    assert_eq!(response.status_code, 200);
    assert_eq!(sample(&scrape(port), ANSWERS), Some(4.0));
    env.wait_until("the connections have ended", || {
        sample(&scrape(port), "stsd_connections") == Some(0.0)
    });
}

#[test]
fn time_of_the_configuration_is_that_of_the_last_success() {
    const APPLIED: &str = "stsd_config_last_reload_success_timestamp_seconds";
    let (env, port) = env_with_metrics();
    let applied = sample(&scrape(port), APPLIED).unwrap();
    assert!(applied <= unix_time() as f64 && applied > 1e9, "{applied}");
    env.wait_until("a second is over", || unix_time() as f64 > applied);
    env.write_config("colour = 1\n");
    assert!(env.client().reload().is_err());
    assert_eq!(metric(&env, APPLIED), applied);
    env.write_config_with(&top(&env, port), UPLOAD);
    env.client().reload().unwrap();
    assert!(metric(&env, APPLIED) > applied);
}
