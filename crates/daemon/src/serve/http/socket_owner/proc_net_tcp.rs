//! Socket owners from `/proc/net/tcp`, for a sandbox without netlink. A read takes 10 ms and more,
//! because the kernel walks its whole table. Therefore one read, on a thread of its own, answers
//! all lookups that wait: a client that connects in a loop does not delay others.

use std::{
    collections::HashMap,
    fs, mem,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::debug;

use super::Endpoints;
use crate::runtime::sync::lock;

/// Timeout for the answer to one lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of lookups of one connection: a table that changes during a read can lack an entry.
const LOOKUP_ATTEMPTS: usize = 3;

/// Pause between two lookups of one connection.
const LOOKUP_INTERVAL: Duration = Duration::from_millis(5);

/// The state of a connection that is open on both sides. The owner of a connection that its client
/// has closed is printed as 0, which is root.
const ESTABLISHED: &str = "01";

/// The state of a listener.
const LISTEN: &str = "0A";

/// The tables. A client may use an IPv6 socket for an IPv4 address, as Java does, and a listener
/// may accept both.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The lookup of socket owners in `/proc/net/tcp`.
#[derive(Default)]
pub(super) struct ProcNetTcp(Arc<Mutex<PendingLookups>>);

/// The lookups of the next read, each with the sender of its answer.
type Lookups = HashMap<Endpoints, oneshot::Sender<Option<u32>>>;

#[derive(Default)]
struct PendingLookups {
    lookups: Lookups,
    /// A task reads the table for them.
    has_reader: bool,
}

impl ProcNetTcp {
    /// Returns the user that owns the socket at the first address.
    pub(super) async fn owner(&self, endpoints: Endpoints) -> Option<u32> {
        for _ in 0..LOOKUP_ATTEMPTS {
            if let Some(uid) = timeout(LOOKUP_TIMEOUT, self.look_up(endpoints))
                .await
                .ok()?
            {
                return Some(uid);
            }
            sleep(LOOKUP_INTERVAL).await;
        }
        None
    }

    async fn look_up(&self, endpoints: Endpoints) -> Option<u32> {
        let (sender, owner) = oneshot::channel();
        let needs_reader = {
            let mut pending = lock(&self.0);
            pending.lookups.insert(endpoints, sender);
            !mem::replace(&mut pending.has_reader, true)
        };
        if needs_reader {
            tokio::spawn(read_while_pending(Arc::clone(&self.0)));
        }
        owner.await.ok()?
    }
}

/// Reads the table until no lookup is pending.
async fn read_while_pending(pending: Arc<Mutex<PendingLookups>>) {
    loop {
        let lookups = {
            let mut pending = lock(&pending);
            pending.has_reader = !pending.lookups.is_empty();
            mem::take(&mut pending.lookups)
        };
        if lookups.is_empty() {
            return;
        }
        if let Err(panic) = spawn_blocking(move || answer(lookups)).await {
            debug!("cannot read /proc/net/tcp: {panic}");
        }
    }
}

/// Reads the tables and answers the lookups.
fn answer(mut lookups: Lookups) {
    for table in TABLES {
        let Ok(text) = fs::read_to_string(table) else {
            continue;
        };
        for (endpoints, uid) in text.lines().filter_map(parse_line) {
            if let Some(sender) = lookups.remove(&endpoints) {
                let _ = sender.send(Some(uid));
            }
        }
    }
    for sender in lookups.into_values() {
        let _ = sender.send(None);
    }
}

/// Returns the user that owns the listener at an address, which may listen at all addresses.
pub(super) fn listener(address: SocketAddrV4) -> Option<u32> {
    TABLES.iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().find_map(|line| parse_listener(line, address))
    })
}

/// Parses one line of a table: a listener at the address, and its owner.
fn parse_listener(line: &str, address: SocketAddrV4) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    let (host, port) = local.split_once(':')?;
    let is_any = host.bytes().all(|it| it == b'0');
    let is_port = u16::from_str_radix(port, 16).ok()? == address.port();
    let is_there = is_port && (is_any || parse_address(local)? == address);
    let uid = fields.nth(3)?.parse().ok()?;
    (state == LISTEN && is_there).then_some(uid)
}

/// Parses one line of a table: an open connection between two IPv4 addresses, and the owner of the
/// socket at the first address.
fn parse_line(line: &str) -> Option<(Endpoints, u32)> {
    let mut fields = line.split_ascii_whitespace();
    let (local, remote) = (fields.nth(1)?, fields.next()?);
    if fields.next()? != ESTABLISHED {
        return None;
    }
    let uid = fields.nth(3)?.parse().ok()?;
    Some(((parse_address(local)?, parse_address(remote)?), uid))
}

/// Parses an address as the kernel prints it: words in the machine's byte order, in hex.
fn parse_address(text: &str) -> Option<SocketAddrV4> {
    let (address, port) = text.split_once(':')?;
    let word = match address.len() {
        8 => address,
        32 => address.strip_prefix(ipv4_mapped_prefix())?,
        _ => return None,
    };
    let address = u32::from_str_radix(word, 16).ok()?.to_ne_bytes();
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(address), port))
}

/// Returns the first twelve bytes of an IPv4 address in an IPv6 socket, `::ffff:0:0/96`.
fn ipv4_mapped_prefix() -> &'static str {
    if cfg!(target_endian = "little") {
        "0000000000000000FFFF0000"
    } else {
        "00000000000000000000FFFF"
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_line, parse_listener};

    #[test]
    fn line_of_a_listener_at_the_address_is_parsed() {
        let address = "127.0.0.1:7787".parse().unwrap();
        let check = |local: &str, state: &str, expected: Option<u32>| {
            let line = format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 1 1"
            );
            assert_eq!(parse_listener(&line, address), expected, "{line}");
        };
        let any_ipv6 = "00000000000000000000000000000000:1E6B";
        if cfg!(target_endian = "little") {
            check("0100007F:1E6B", "0A", Some(1000));
            check("0200007F:1E6B", "0A", None);
        }
        check("00000000:1E6B", "0A", Some(1000));
        check(any_ipv6, "0A", Some(1000));
        check("00000000:1E6C", "0A", None);
        check("00000000:1E6B", "01", None);
    }

    #[test]
    fn line_of_an_open_ipv4_connection_is_parsed() {
        let check = |line: &str, expected: Option<(&str, &str, u32)>| {
            let parsed = parse_line(line);
            let parsed = parsed.map(|((a, b), uid)| (a.to_string(), b.to_string(), uid));
            let expected = expected.map(|(a, b, uid)| (a.to_owned(), b.to_owned(), uid));
            assert_eq!(parsed, expected, "{line}");
        };
        let line = |addresses: &str, state: &str| {
            format!(
                "   3: {addresses} {state} 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0 20 4 30 10 -1"
            )
        };
        let open = ("127.0.0.1:50000", "127.0.0.1:7787", 1000);
        if cfg!(target_endian = "little") {
            check(&line("0100007F:C350 0100007F:1E6B", "01"), Some(open));
            let six = "0000000000000000FFFF00000100007F:C350 0000000000000000FFFF00000100007F:1E6B";
            check(&line(six, "01"), Some(open));
        }
        // Closed by its client, and without an owner.
        check(&line("0100007F:C350 0100007F:1E6B", "06"), None);
        check(
            &line("00000000000000000000000001000000:C350 0100007F:1E6B", "01"),
            None,
        );
        check(
            "  sl  local_address rem_address   st tx_queue rx_queue",
            None,
        );
        check("", None);
    }
}
