//! Bodies that break off: a reset before the first byte, or halfway.
//!
//! hyper writes an answer's head when its first piece of body is there; a body that
//! fails at once therefore closes the connection with nothing sent.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use http_body::Frame;

/// Sends `first`, if any, then fails.
struct BreaksOff {
    first: Option<Bytes>,
    flushed: bool,
}

/// Nothing at all is sent.
pub(crate) fn at_once() -> Body {
    Body::new(BreaksOff {
        first: None,
        flushed: true,
    })
}

/// The first half is sent.
pub(crate) fn halfway(whole: &[u8]) -> Body {
    Body::new(BreaksOff {
        first: Some(Bytes::copy_from_slice(&whole[..whole.len() / 2])),
        flushed: false,
    })
}

impl http_body::Body for BreaksOff {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if !self.flushed {
            // One turn for hyper to write what it has.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("broken off by a fault"))))
    }
}
