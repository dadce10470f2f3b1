//! The kernel's list of all connections, `/proc/net/tcp`, for a sandbox without netlink. It
//! costs the kernel a walk over its whole table, 10 ms and more, so it is read for all who
//! wait at once, on a thread of its own: who connects in a loop keeps nobody else waiting.

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

use super::Ends;
use crate::runtime::sync::lock;

/// How long somebody waits for the answer.
const SESSION_TIMEOUT: Duration = Duration::from_secs(5);

/// A list that changes while it is read can miss an entry, so that a miss is looked at again.
const LOOKS: usize = 3;

const PAUSE: Duration = Duration::from_millis(5);

/// How the kernel names the state of a connection that is open on both sides. One that its
/// client has closed has no owner any more, and the list says 0 there, which is root.
const ESTABLISHED: &str = "01";

/// Finds the owners of connections.
#[derive(Default)]
pub(super) struct ProcNetTcp(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    questions: HashMap<Ends, oneshot::Sender<Option<u32>>>,
    /// A task reads the list for them.
    reader: bool,
}

impl ProcNetTcp {
    /// Returns the user whose socket is at the first end.
    pub(super) async fn owner(&self, ends: Ends) -> Option<u32> {
        for _ in 0..LOOKS {
            if let Some(uid) = timeout(SESSION_TIMEOUT, self.ask(ends)).await.ok()? {
                return Some(uid);
            }
            sleep(PAUSE).await;
        }
        None
    }

    async fn ask(&self, ends: Ends) -> Option<u32> {
        let (tell, told) = oneshot::channel();
        let first = {
            let mut waiting = lock(&self.0);
            waiting.questions.insert(ends, tell);
            !mem::replace(&mut waiting.reader, true)
        };
        if first {
            tokio::spawn(read(Arc::clone(&self.0)));
        }
        told.await.ok()?
    }
}

/// Reads the list until nobody waits for it.
async fn read(waiting: Arc<Mutex<Waiting>>) {
    loop {
        let questions = {
            let mut waiting = lock(&waiting);
            waiting.reader = !waiting.questions.is_empty();
            mem::take(&mut waiting.questions)
        };
        if questions.is_empty() {
            return;
        }
        if let Err(bug) = spawn_blocking(move || answer(questions)).await {
            debug!("the list of connections was not read: {bug}");
        }
    }
}

fn answer(mut questions: HashMap<Ends, oneshot::Sender<Option<u32>>>) {
    // A client may use an IPv6 socket for an IPv4 address: Java does.
    for list in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(text) = fs::read_to_string(list) else {
            continue;
        };
        for (ends, uid) in text.lines().filter_map(connection) {
            if let Some(tell) = questions.remove(&ends) {
                let _ = tell.send(Some(uid));
            }
        }
    }
    for tell in questions.into_values() {
        let _ = tell.send(None);
    }
}

/// Reads one line of the list: an open connection between two IPv4 addresses, and the user
/// whose socket is its first end.
fn connection(line: &str) -> Option<(Ends, u32)> {
    let mut fields = line.split_ascii_whitespace();
    let ends = (fields.nth(1)?, fields.next()?);
    if fields.next()? != ESTABLISHED {
        return None;
    }
    let uid = fields.nth(3)?.parse().ok()?;
    Some(((end(ends.0)?, end(ends.1)?), uid))
}

/// Reads an address as the kernel prints it: words in the machine's byte order, in hex.
fn end(text: &str) -> Option<SocketAddrV4> {
    let (address, port) = text.split_once(':')?;
    let word = match address.len() {
        8 => address,
        32 => address.strip_prefix(mapped())?,
        _ => return None,
    };
    let address = u32::from_str_radix(word, 16).ok()?.to_ne_bytes();
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(address), port))
}

/// The first twelve bytes of an IPv4 address in an IPv6 socket, `::ffff:0:0/96`.
fn mapped() -> &'static str {
    if cfg!(target_endian = "little") {
        "0000000000000000FFFF0000"
    } else {
        "00000000000000000000FFFF"
    }
}

#[cfg(test)]
mod tests {
    use super::connection;

    #[test]
    fn a_line_of_the_kernels_list_is_read_as_it_is_meant() {
        let check = |line: &str, expected: Option<(&str, &str, u32)>| {
            let read = connection(line);
            let read = read.map(|((a, b), uid)| (a.to_string(), b.to_string(), uid));
            let expected = expected.map(|(a, b, uid)| (a.to_owned(), b.to_owned(), uid));
            assert_eq!(read, expected, "{line}");
        };
        let line = |ends: &str, state: &str| {
            format!(
                "   3: {ends} {state} 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0 20 4 30 10 -1"
            )
        };
        let open = ("127.0.0.1:50000", "127.0.0.1:7787", 1000);
        if cfg!(target_endian = "little") {
            check(&line("0100007F:C350 0100007F:1E6B", "01"), Some(open));
            let six = "0000000000000000FFFF00000100007F:C350 0000000000000000FFFF00000100007F:1E6B";
            check(&line(six, "01"), Some(open));
        }
        // Closed by its client, and not of anybody any more.
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
