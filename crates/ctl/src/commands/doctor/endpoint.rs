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

/// The beginning of the line of `stsd --check` with the endpoints.
const CHECK_LINE: &str = "STS endpoint: ";

const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The endpoints of STS, by preference, and the key or the variable that names them.
pub(super) struct Endpoints {
    all: Vec<url::Url>,
    origin: String,
    /// The daemon has reported them: its environment may differ from the one of this program.
    is_of_daemon: bool,
}

impl Endpoints {
    /// Reads the report of the daemon.
    pub(super) fn of_daemon(note: &str) -> Option<Self> {
        Self::parse(note, true)
    }

    /// Reads the output of `stsd --check`; `None` for a configuration that calls no STS.
    pub(super) fn of_check(output: &str) -> Option<Self> {
        let line = output.lines().find_map(|it| it.strip_prefix(CHECK_LINE))?;
        Self::parse(line, false)
    }

    /// Parses `URL, then URL (ORIGIN)`.
    fn parse(text: &str, is_of_daemon: bool) -> Option<Self> {
        let (urls, origin) = text.strip_suffix(')')?.split_once(" (")?;
        let all: Result<_, _> = urls.split(", then ").map(url::Url::parse).collect();
        Some(Self {
            all: all.ok()?,
            origin: origin.to_owned(),
            is_of_daemon,
        })
    }

    /// Returns the URL for the environment of `stsd --connect`, if a variable of the daemon names it.
    fn variable(&self) -> Option<&str> {
        let is_variable = self.is_of_daemon && self.origin.starts_with("the variable");
        let url = self.all.first().filter(|_| is_variable)?;
        Some(url.as_str().trim_end_matches('/'))
    }
}

/// Checks the endpoints. `connect` runs `stsd --connect`, with an endpoint for its environment.
pub(super) fn check(
    endpoints: &Endpoints,
    connect: impl Fn(Option<&str>) -> Option<CheckResult>,
) -> Vec<Finding> {
    let is_tls = endpoints.all.iter().any(|it| it.scheme() == "https");
    let connected = is_tls.then(|| connect(endpoints.variable())).flatten();
    let first_host = endpoints.all.first().and_then(url::Url::host_str);
    let first_host = first_host.unwrap_or_default();
    if let Some(findings) = connected.as_ref().and_then(|it| by_proxy(first_host, it)) {
        return findings;
    }
    let is_set = |name: &&str| env::var_os(name).is_some_and(|it| !it.is_empty());
    if is_tls && connected.is_none() && PROXIES.iter().any(is_set) {
        // Without stsd the way to the endpoint is unknown.
        return vec![];
    }
    let mut findings = Vec::new();
    let mut reached = None;
    for url in &endpoints.all {
        match reach(url, &endpoints.origin) {
            Ok(address) => {
                let host = url.host_str().unwrap_or_default();
                let origin = &endpoints.origin;
                let remark = format!("{host} answers at {address}; it is named by {origin}");
                findings.push(Finding::ok(SUBJECT, remark));
                reached = reached.or(Some((url, address)));
            }
            Err(finding) => findings.push(finding),
        }
    }
    // Another endpoint serves meanwhile; and a daemon may go by a proxy that this program lacks.
    let worst = match reached.is_some() || endpoints.is_of_daemon {
        true => Severity::Warning,
        false => Severity::Fault,
    };
    let mut findings: Vec<_> = findings.into_iter().map(|it| it.at_most(worst)).collect();
    let Some((url, mut address)) = reached else {
        return findings;
    };
    let host = url.host_str().unwrap_or_default();
    if url.scheme() == "https" {
        findings.extend(connected.and_then(|it| tls(host, it)));
        // Port 80 serves the date header without TLS.
        address.set_port(80);
    }
    findings.extend(clock::check(host, address));
    findings
}

/// Connects to an endpoint without a proxy.
fn reach(url: &url::Url, origin: &str) -> Result<SocketAddr, Finding> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let addresses = addresses(host, port).map_err(|error| {
        let remark = format!("{host} has no address: {error}");
        let fix = format!(
            "look at /etc/resolv.conf and the network (resolvectl query); correct {origin}"
        );
        Finding::fault(SUBJECT, remark, fix)
    })?;
    let mut outcome = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses.into_iter().take(MAX_ADDRESSES) {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(address),
            Err(error) => outcome = error,
        }
    }
    let remark = format!("{host} does not answer at port {port}: {outcome}");
    let fix = format!(
        "look at the network, the firewall and whether a proxy is needed (HTTPS_PROXY in the daemon's \
         environment); correct {origin}"
    );
    Err(Finding::fault(SUBJECT, remark, fix))
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

#[cfg(test)]
mod tests {
    use super::Endpoints;

    #[test]
    fn endpoints_are_read_from_both_reports() {
        let two = "https://a.example, then http://127.0.0.1:1 (endpoints in the configuration)";
        for found in [
            Endpoints::of_daemon(two),
            Endpoints::of_check(&format!(
                "STS endpoint: {two}\n/c.toml: 1 profile, no mistakes"
            )),
        ] {
            let found = found.unwrap();
            assert_eq!(found.all.len(), 2);
            assert_eq!(found.origin, "endpoints in the configuration");
            assert!(found.variable().is_none());
        }
        assert!(Endpoints::of_check("/c.toml: 1 profile, no mistakes").is_none());
        let variable = "https://sts.example (the variable ALIBABA_CLOUD_STS_ENDPOINT)";
        let of_daemon = Endpoints::of_daemon(variable).unwrap();
        assert_eq!(of_daemon.variable(), Some("https://sts.example"));
    }
}
