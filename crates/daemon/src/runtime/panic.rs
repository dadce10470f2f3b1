//! A future whose panic ends nothing but itself.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
};

use tracing::error;

/// Polls a task to its end; returns `true` if it has panicked.
pub(crate) fn catch_panic<'a>(
    mut work: Pin<&'a mut (impl Future<Output = ()> + ?Sized)>,
) -> impl Future<Output = bool> + 'a {
    poll_fn(move |context| {
        // Unwind-safe: after a panic the future is only dropped.
        let step = AssertUnwindSafe(|| work.as_mut().poll(context));
        match catch_unwind(step) {
            Ok(step) => step.map(|()| false),
            Err(_) => {
                error!("a bug ended a profile's task; it begins again");
                Poll::Ready(true)
            }
        }
    })
}
