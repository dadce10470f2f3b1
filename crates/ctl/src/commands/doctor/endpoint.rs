//! The connection to STS: name resolution, TCP, TLS and the clock.
//!
//! This program has no TLS library: `stsd --connect` connects, with the same certificate
//! authorities as the daemon.

use std::{
    env, io,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{clock, context::split_hint};
use crate::{
    config_file::{AcceptedConfig, CheckResult},
    report::{Finding, Severity},
};

/// Timeout of a name lookup, and of a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum number of addresses that are tried.
const MAX_ADDRESSES: usize = 2;

const SUBJECT: &str = "endpoint";
const TLS_SUBJECT: &str = "tls";
const GLOBAL: &str = "https://sts.aliyuncs.com";

/// The variables of the platform that name the endpoint.
const ENDPOINT_VARIABLE: &str = "ALIBABA_CLOUD_STS_ENDPOINT";
const REGION_VARIABLE: &str = "ALIBABA_CLOUD_STS_REGION";
const VPC_VARIABLE: &str = "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED";

const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The STS endpoint, and the key or the variable that names it.
struct Endpoint {
    url: url::Url,
    origin: String,
    /// The endpoint is in the environment, of the daemon or of this program.
    is_variable: bool,
}

/// Checks the endpoint of a configuration. `note` is the endpoint of the running daemon with its
/// origin; `connect` runs `stsd --connect`, with an endpoint for its environment.
pub(super) fn check(
    config: &toml::Table,
    note: Option<&str>,
    connect: impl Fn(Option<&str>) -> Option<CheckResult>,
) -> Vec<Finding> {
    let Some(endpoint) = find(config, note) else {
        return vec![];
    };
    let (url, origin) = (&endpoint.url, &endpoint.origin);
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return vec![];
    };
    let is_tls = url.scheme() == "https";
    let variable = endpoint.is_variable.then_some(url.as_str());
    let connected = is_tls.then(|| connect(variable.map(|it| it.trim_end_matches('/'))));
    let connected = connected.flatten();
    if let Some(findings) = connected.as_ref().and_then(|it| by_proxy(host, it)) {
        return findings;
    }
    let is_set = |name: &&str| env::var_os(name).is_some_and(|it| !it.is_empty());
    if is_tls && connected.is_none() && PROXIES.iter().any(is_set) {
        // Without stsd, or with a refused configuration, the way to the endpoint is unknown.
        return vec![];
    }
    let addresses = match addresses(host, port) {
        Ok(addresses) => addresses,
        Err(error) => {
            let remark = format!("{host} has no address: {error}");
            let fix = "look at /etc/resolv.conf and the network (resolvectl query); correct region \
                       or endpoint in the configuration";
            return vec![Finding::fault(SUBJECT, remark, fix)];
        }
    };
    let mut outcome = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
    let mut reachable = None;
    for address in addresses.iter().take(MAX_ADDRESSES) {
        outcome = TcpStream::connect_timeout(address, CONNECT_TIMEOUT).map(drop);
        if outcome.is_ok() {
            reachable = Some(*address);
            break;
        }
    }
    let Some(mut address) = reachable else {
        let error = outcome.err().map(|it| it.to_string()).unwrap_or_default();
        let remark = format!("{host} does not answer at port {port}: {error}");
        let fix = "look at the network, the firewall and whether a proxy is needed (HTTPS_PROXY in \
                   the daemon's environment); correct region or endpoint in the configuration";
        return vec![Finding::fault(SUBJECT, remark, fix)];
    };
    let remark = format!("{host} answers at {address}; it is named by {origin}");
    let mut findings = vec![Finding::ok(SUBJECT, remark)];
    if is_tls {
        findings.extend(connected.and_then(|it| tls(host, it)));
        // Port 80 serves the date header without TLS.
        address.set_port(80);
    }
    findings.extend(clock::check(host, address));
    findings
}

/// Returns `None` if stsd could not run, which the check of the configuration reports.
fn tls(host: &str, result: CheckResult) -> Option<Finding> {
    match result {
        CheckResult::Accepted(_) => Some(Finding::ok(
            TLS_SUBJECT,
            format!("{host} has a certificate for it"),
        )),
        CheckResult::Rejected(reason) => {
            let (remark, fix) = split_hint(&reason);
            Some(Finding::fault(TLS_SUBJECT, remark, fix))
        }
        CheckResult::NotChecked(_) => None,
    }
}

/// Returns the findings of a connection by a proxy; `None` for a direct one. The daemon may have other
/// variables than this program, so that a proxy that refuses is a warning.
fn by_proxy(host: &str, result: &CheckResult) -> Option<Vec<Finding>> {
    match result {
        CheckResult::Accepted(accepted) => {
            let (_, proxy) = accepted.output.split_once("answers by ")?;
            let remark = format!("{host} answers by {proxy}, if the daemon has it too");
            let certificate = tls(host, CheckResult::Accepted(AcceptedConfig::default()));
            let findings = [Some(Finding::ok(SUBJECT, remark)), certificate];
            Some(findings.into_iter().flatten().collect())
        }
        CheckResult::Rejected(reason) => {
            let (problem, hint) = split_hint(reason);
            let finding = Finding::fault(SUBJECT, problem, hint);
            let severity = match problem {
                it if it.contains("names no usable proxy") => Severity::Fault,
                it if it.contains("the proxy ") => Severity::Warning,
                _ => return None,
            };
            Some(vec![finding.at_most(severity)])
        }
        CheckResult::NotChecked(_) => None,
    }
}

/// Returns the endpoint of STS: that of the configuration, else that of the daemon's environment, else
/// that of this program's.
fn find(config: &toml::Table, note: Option<&str>) -> Option<Endpoint> {
    if let Some(key) = ["endpoints", "endpoint", "region", "vpc"]
        .into_iter()
        .find(|key| config.contains_key(*key))
    {
        let url = url::Url::parse(&configured(config)?).ok()?;
        return Some(Endpoint {
            url,
            origin: format!("{key} in the configuration"),
            is_variable: false,
        });
    }
    if let Some((url, origin)) = note.and_then(|it| it.split_once(" (")) {
        return Some(Endpoint {
            url: url::Url::parse(url).ok()?,
            origin: origin.trim_end_matches(')').to_owned(),
            is_variable: origin.starts_with("the variable"),
        });
    }
    let variable = |name: &str| env::var(name).ok().filter(|it| !it.is_empty());
    let (url, origin) = match (variable(ENDPOINT_VARIABLE), variable(REGION_VARIABLE)) {
        (Some(host), _) if host.contains("://") => (host, ENDPOINT_VARIABLE),
        (Some(host), _) => (format!("https://{host}"), ENDPOINT_VARIABLE),
        (None, Some(region)) => {
            let is_vpc = variable(VPC_VARIABLE).is_some_and(|it| it.eq_ignore_ascii_case("true"));
            (regional(&region, is_vpc), REGION_VARIABLE)
        }
        (None, None) => (GLOBAL.to_owned(), "the default"),
    };
    Some(Endpoint {
        url: url::Url::parse(&url).ok()?,
        origin: origin.to_owned(),
        is_variable: false,
    })
}

/// Returns the preferred endpoint of a configuration that names one.
fn configured(config: &toml::Table) -> Option<String> {
    let text = |key| config.get(key).and_then(toml::Value::as_str);
    let is_vpc = config.get("vpc").and_then(toml::Value::as_bool) == Some(true);
    let list = config.get("endpoints").and_then(toml::Value::as_array);
    let first = list.and_then(|it| it.first()?.as_str());
    Some(match (first.or(text("endpoint")), text("region")) {
        (Some(endpoint), _) => endpoint.to_owned(),
        (None, Some(region)) => regional(region, is_vpc),
        (None, None) => GLOBAL.to_owned(),
    })
}

fn regional(region: &str, is_vpc: bool) -> String {
    let service = if is_vpc { "sts-vpc" } else { "sts" };
    format!("https://{service}.{region}.aliyuncs.com")
}

/// Resolves a name on a thread of its own, because getaddrinfo(3) has no timeout.
fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (sender, receiver) = mpsc::channel();
    let host = host.trim_matches(['[', ']']).to_owned();
    thread::spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs();
        let _ = sender.send(found.map(Iterator::collect));
    });
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no name server answers in time");
    receiver.recv_timeout(CONNECT_TIMEOUT).map_err(late)?
}
