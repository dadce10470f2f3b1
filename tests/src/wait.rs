//! Waiting for a condition.

use std::{thread, time::Duration};

use tokio::runtime;

/// The pause between two evaluations of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum number of evaluations of a condition in a task: 20 s of pauses.
const MAX_TASK_POLLS: u32 = 1000;

/// Evaluates a condition until it is true; returns `false` if it never was. The bound counts the
/// pauses, and not the evaluations: those take longer on a busy machine.
pub(crate) fn poll(bound: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let polls = bound.as_millis() / POLL_INTERVAL.as_millis();
    (0..polls).any(|_| {
        let is_true = condition();
        if !is_true {
            thread::sleep(POLL_INTERVAL);
        }
        is_true
    })
}

/// Waits in a task for a condition.
///
/// # Panics
/// When it does not become true.
pub async fn wait_in_task(description: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..MAX_TASK_POLLS {
        if condition() {
            return;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    panic!("this did not happen in time: {description}");
}

/// Runs a future to its end in a runtime of one thread.
///
/// # Panics
/// When the system refuses a runtime.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}
