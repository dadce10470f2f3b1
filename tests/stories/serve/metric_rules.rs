//! The alert rules and the dashboard for Prometheus and Grafana, against the metrics of a daemon.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use e2e::{Action, Fault, UPLOAD, promtool};
use serde_json::Value;

use super::metrics::{env_with_metrics, request, top};

/// The prefixes of the daemon's metrics.
const PREFIXES: [&str; 2] = ["stsd_", "process_"];

fn file(name: &str) -> String {
    let path = directory().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/prometheus")
}

/// Returns the metrics that a text names.
fn metrics_in(text: &str) -> BTreeSet<String> {
    // `stsd:…` is the name of a recorded rule.
    let is_part = |it: char| it.is_ascii_alphanumeric() || "_:".contains(it);
    let words = text.split(|it| !is_part(it));
    let is_metric = |it: &&str| PREFIXES.iter().any(|prefix| it.starts_with(prefix));
    words.filter(is_metric).map(str::to_owned).collect()
}

/// Returns the expressions of all panels and variables of the dashboard.
fn dashboard_expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|it| it["targets"].as_array().unwrap());
    let all: Vec<_> = targets
        .map(|it| it["expr"].as_str().unwrap().to_owned())
        .collect();
    assert!(all.len() > 20, "{}", all.len());
    all
}

/// Returns the body of a scrape.
fn scrape(port: u16) -> String {
    let (_, response) = request(port, "GET /metrics");
    let (_, body) = response.split_once("\r\n\r\n").unwrap();
    body.to_owned()
}

/// Runs promtool with a text; panics with its output if it fails.
fn check(program: &Path, arguments: &[&str], input: &str) {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // promtool may end before it has read all.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{arguments:?}: {said}\n{input}");
}

#[test]
fn metrics_of_the_rules_and_the_dashboard_are_printed_by_a_daemon() {
    let (_env, port) = env_with_metrics();
    let text = scrape(port);
    let mut printed = BTreeSet::new();
    for line in text.lines().filter_map(|it| it.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffixes: &[&str] = match kind {
            "histogram" => &["_bucket", "_sum", "_count"],
            "summary" => &["_sum", "_count"],
            _ => &[""],
        };
        printed.extend(suffixes.iter().map(|it| format!("{name}{it}")));
    }
    let expressions = dashboard_expressions().join("\n");
    let rules = file("alerts.yaml");
    for (text, place) in [(&rules, "alerts.yaml"), (&expressions, "dashboard.json")] {
        let named = metrics_in(text);
        assert!(named.len() > 8, "{place}: {named:?}");
        for name in named {
            assert!(printed.contains(&name), "{place}: {name} is not printed");
        }
    }
    // The dashboard shows each family but two: another family has the same fact.
    printed.retain(|it| it != "stsd_remaining_life_seconds" && it != "process_start_time_seconds");
    let shown = metrics_in(&expressions);
    let missing: Vec<_> = printed.difference(&shown).collect();
    assert!(missing.is_empty(), "not in the dashboard: {missing:?}");
}

#[test]
fn each_alert_has_a_severity_a_summary_and_a_test_that_fires() {
    let (rules, tests) = (file("alerts.yaml"), file("alerts_test.yaml"));
    let alerts: Vec<_> = rules.split("- alert: ").skip(1).collect();
    assert!(alerts.len() >= 10, "{}", alerts.len());
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        for key in ["severity: ", "summary: ", "description: "] {
            assert!(alert.contains(key), "{name}: {key}");
        }
        let cases = tests.split("- eval_time: ").filter(|case| {
            let mut lines = case.lines();
            lines.any(|it| it.trim() == format!("alertname: {name}"))
        });
        let (firing, silent): (Vec<_>, Vec<_>) = cases.partition(|it| it.contains("exp_alerts:"));
        assert!(!firing.is_empty(), "{name} has no case that fires");
        assert!(!silent.is_empty(), "{name} has no case that does not fire");
    }
}

#[test]
fn promtool_accepts_the_metrics_in_each_state_of_a_daemon() {
    let Some(promtool) = promtool() else { return };
    let (env, port) = env_with_metrics();
    let accept = || check(&promtool, &["check", "metrics"], &scrape(port));
    accept();
    let _ = env.document(&["oss-upload"]);
    assert!(!env.shim(&["no-such-profile"]).status.success());
    accept();
    env.emulator()
        .inject_fault(Action::AssumeRole, Fault::error("ServiceUnavailable"));
    assert!(!env.ctl(&["refresh", "oss-upload"]).status.success());
    accept();
    env.write_config("colour = 1\n");
    assert!(env.client().reload().is_err());
    accept();
    let quoted = "[source.'a \"b\" \\c']\ntype = \"process\"\ncommand = [\"/bin/false\"]\n\
        [profile.quoted]\nsource = 'a \"b\" \\c'\n";
    env.write_config_with(&top(&env, port), &format!("{UPLOAD}{quoted}"));
    env.client().reload().unwrap();
    assert!(!env.ctl(&["refresh", "quoted"]).status.success());
    accept();
    let printed = String::from_utf8(env.ctl(&["metrics"]).stdout).unwrap();
    assert!(printed.contains(r#"{source="a \"b\" \\c"} 0"#), "{printed}");
    check(&promtool, &["check", "metrics"], &printed);
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    let Some(promtool) = promtool() else { return };
    check(&promtool, &["check", "rules", "alerts.yaml"], "");
    check(&promtool, &["test", "rules", "alerts_test.yaml"], "");
}

#[test]
fn promtool_accepts_the_configuration_of_the_documents() {
    let Some(promtool) = promtool() else { return };
    let page = fs::read_to_string(directory().join("../../docs/operations.md")).unwrap();
    let (_, block) = page.split_once("```yaml\n").unwrap();
    let (text, _) = block.split_once("```").unwrap();
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("alerts.yaml"), file("alerts.yaml")).unwrap();
    let path = place.path().join("prometheus.yml");
    fs::write(&path, text).unwrap();
    check(&promtool, &["check", "config", path.to_str().unwrap()], "");
}

#[test]
fn promtool_accepts_the_expressions_of_the_dashboard() {
    let Some(promtool) = promtool() else { return };
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (index, expression) in dashboard_expressions().iter().enumerate() {
        let replaced = expression.replace("$__rate_interval", "5m");
        assert!(
            !replaced
                .replace("$job", "")
                .replace("$instance", "")
                .contains('$')
        );
        // A text of JSON is a text of YAML.
        let text = Value::String(replaced).to_string();
        rules += &format!("  - record: dashboard:{index}\n    expr: {text}\n");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dashboard.yaml");
    fs::write(&path, rules).unwrap();
    check(&promtool, &["check", "rules", path.to_str().unwrap()], "");
}
