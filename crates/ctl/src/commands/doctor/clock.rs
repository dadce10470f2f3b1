//! Whether this machine's clock is the service's: requests that are signed 15 minutes off are
//! refused.

use std::{net::SocketAddr, time::Duration};

use jiff::{Timestamp, fmt::rfc2822};
use rustix::time::{ClockId, clock_gettime};

use crate::{http_exchange::Request, report::Finding};

const SUBJECT: &str = "clock";
const TIMEOUT: Duration = Duration::from_secs(2);

/// No head of an answer is longer.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// How many seconds may be the way of the answer, and from where on SDKs are refused.
const MAX_NORMAL_SKEW_SECONDS: i64 = 30;
const MAX_SIGNATURE_SKEW_SECONDS: i64 = 15 * 60;

const FIX: &str = "set the clock: timedatectl set-ntp true, or in a virtual machine its host's";

/// Compares the clocks; returns nothing where no answer has the time.
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

/// Returns the time of the answer to a HEAD, which asks for nothing else.
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
