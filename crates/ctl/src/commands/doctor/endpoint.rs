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
    config_file::CheckResult,
    report::{Finding, Severity},
};

/// Timeout of a name lookup, and of a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Maximum number of addresses that are tried.
const MAX_ADDRESSES: usize = 2;

const SUBJECT: &str = "endpoint";
const TLS_SUBJECT: &str = "tls";
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Checks the endpoint of a configuration; `connect` runs `stsd --connect`.
pub(super) fn check(
    config: &toml::Table,
    connect: impl FnOnce() -> Option<CheckResult>,
) -> Vec<Finding> {
    let Some(url) = url(config) else {
        return vec![];
    };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return vec![];
    };
    let is_tls = url.scheme() == "https";
    let there = |name: &&str| env::var_os(name).is_some_and(|it| !it.is_empty());
    if let Some(proxy) = PROXIES.iter().find(|name| is_tls && there(name)) {
        let remark = format!("{host} is asked by the proxy in {proxy}, if the daemon has it too");
        let mut findings = vec![Finding::ok(SUBJECT, remark)];
        findings.extend(
            connect()
                .and_then(|it| tls(host, it))
                .map(|it| it.at_most(Severity::Warning)),
        );
        return findings;
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
    let mut findings = vec![Finding::ok(SUBJECT, format!("{host} answers at {address}"))];
    if is_tls {
        findings.extend(connect().and_then(|it| tls(host, it)));
        // Port 80 serves the date header without TLS.
        address.set_port(80);
    }
    findings.extend(clock::check(host, address));
    findings
}

/// Returns `None` if stsd could not run, which the check of the configuration reports.
fn tls(host: &str, result: CheckResult) -> Option<Finding> {
    match result {
        CheckResult::Accepted => Some(Finding::ok(
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

/// Returns the URL of STS, as the daemon derives it.
fn url(config: &toml::Table) -> Option<url::Url> {
    let text = |key| config.get(key).and_then(|it: &toml::Value| it.as_str());
    let is_vpc = config.get("vpc").and_then(toml::Value::as_bool) == Some(true);
    let url = match (text("endpoint"), text("region")) {
        (Some(endpoint), _) => endpoint.to_owned(),
        (None, Some(region)) if is_vpc => format!("https://sts-vpc.{region}.aliyuncs.com"),
        (None, Some(region)) => format!("https://sts.{region}.aliyuncs.com"),
        (None, None) => "https://sts.aliyuncs.com".to_owned(),
    };
    url::Url::parse(&url).ok()
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
