//! Decides whether this machine's clock is the service's: requests that are signed 15 minutes
//! off are refused.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use jiff::{Timestamp, fmt::rfc2822};
use rustix::time::{ClockId, clock_gettime};

use super::Finding;

const WHAT: &str = "clock";
const PATIENCE: Duration = Duration::from_secs(2);

/// No head of an answer is longer.
const LARGEST: usize = 16 * 1024;

/// How many seconds may be the way of the answer, and from where on SDKs are refused.
const USUAL: i64 = 30;
const REFUSED: i64 = 15 * 60;

const FIX: &str = "set the clock: timedatectl set-ntp true, or in a virtual machine its host's";

/// Compares; says nothing where nobody tells the time.
pub(super) fn examine(host: &str, address: SocketAddr) -> Option<Finding> {
    let theirs = date(host, address)?.as_second();
    let ours = clock_gettime(ClockId::Realtime).tv_sec;
    let off = ours.saturating_sub(theirs);
    let side = if off < 0 { "behind" } else { "ahead of" };
    let seconds = off.saturating_abs();
    let remark = format!("{seconds} s {side} {host}");
    Some(if seconds < USUAL {
        Finding::ok(WHAT, format!("within {USUAL} s of {host}"))
    } else if seconds < REFUSED {
        Finding::warning(WHAT, remark, FIX)
    } else {
        let remark = format!("{remark}: stsd corrects what it signs, other programs are refused");
        Finding::fault(WHAT, remark, FIX)
    })
}

/// Asks for nothing, and reads the time of the answer.
fn date(host: &str, address: SocketAddr) -> Option<Timestamp> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let request = format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    // One read, so that nobody keeps us by a byte a second.
    let mut answer = vec![0; LARGEST];
    let length = stream.read(&mut answer).ok()?;
    let head = String::from_utf8_lossy(&answer[..length]);
    let date = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("date")
            .then(|| value.trim().to_owned())
    });
    Some(rfc2822::parse(&date?).ok()?.timestamp())
}
