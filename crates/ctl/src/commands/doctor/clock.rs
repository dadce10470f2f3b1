//! The difference between this machine's clock and the service's: STS rejects requests that are
//! signed 15 minutes off.

use std::{net::SocketAddr, time::Duration};

use jiff::{Timestamp, fmt::rfc2822};
use rustix::time::{ClockId, clock_gettime};

use crate::{http_exchange::Request, report::Finding};

const SUBJECT: &str = "clock";
const TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum size of the head of a response.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Difference that the network may cause, and difference from which STS rejects requests.
const MAX_NORMAL_SKEW_SECONDS: i64 = 30;
const MAX_SIGNATURE_SKEW_SECONDS: i64 = 15 * 60;

const FIX: &str = "set the clock: timedatectl set-ntp true, or in a virtual machine its host's";

/// Compares the clocks; returns `None` if no response has a date.
pub(super) fn check(host: &str, address: SocketAddr) -> Option<Finding> {
    let theirs = server_time(host, address)?.as_second();
    let ours = clock_gettime(ClockId::Realtime).tv_sec;
    let off = ours.saturating_sub(theirs);
    let side = if off < 0 { "behind" } else { "ahead of" };
    let seconds = off.saturating_abs();
    let remark = format!("{seconds} s {side} {host}");
    Some(if seconds < MAX_NORMAL_SKEW_SECONDS {
        Finding::ok(
            SUBJECT,
            format!("within {MAX_NORMAL_SKEW_SECONDS} s of {host}"),
        )
    } else if seconds < MAX_SIGNATURE_SKEW_SECONDS {
        Finding::warning(SUBJECT, remark, FIX)
    } else {
        let remark = format!("{remark}: stsd corrects what it signs, other programs are refused");
        Finding::fault(SUBJECT, remark, FIX)
    })
}

/// Returns the date header of the response to a HEAD request.
fn server_time(host: &str, address: SocketAddr) -> Option<Timestamp> {
    let request = Request {
        method: "HEAD",
        address,
        host,
        target: "/",
        timeout: TIMEOUT,
        max_answer_bytes: MAX_ANSWER_BYTES,
    };
    let date = request.send().ok()?.header("date")?;
    Some(rfc2822::parse(&date).ok()?.timestamp())
}
