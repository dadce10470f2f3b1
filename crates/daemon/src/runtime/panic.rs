//! Panics of a future, caught so that the task that polls the future goes on.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
};

use tracing::error;

/// Returns a future that polls `work` to its end; its output is `true` if `work` has panicked.
pub(crate) fn catch_panic<'a>(
    mut work: Pin<&'a mut (impl Future<Output = ()> + ?Sized)>,
) -> impl Future<Output = bool> + 'a {
    poll_fn(move |context| {
        // Unwind-safe: after a panic the future is only dropped.
        let step = AssertUnwindSafe(|| work.as_mut().poll(context));
        match catch_unwind(step) {
            Ok(step) => step.map(|()| false),
            Err(_) => {
                error!("a bug ended the task of a profile; the task is restarted");
                Poll::Ready(true)
            }
        }
    })
}
