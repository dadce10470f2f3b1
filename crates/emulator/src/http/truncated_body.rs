//! Bodies that fail, before the first byte or in the middle.
//!
//! hyper writes the head of a response together with the first frame of its body. A body that
//! fails before its first frame therefore closes the connection without a response.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::{Body, Bytes};
use http_body::Frame;

/// A body that yields `first`, if there is one, and then an error.
struct TruncatedBody {
    first: Option<Bytes>,
    flushed: bool,
}

impl http_body::Body for TruncatedBody {
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
            // hyper flushes its buffer while the body is pending.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("truncated by a fault"))))
    }
}

/// Returns a body that fails before its first byte.
pub(crate) fn empty() -> Body {
    Body::new(TruncatedBody {
        first: None,
        flushed: true,
    })
}

/// Returns a body that fails after the first half of `whole`.
pub(crate) fn half_of(whole: &[u8]) -> Body {
    Body::new(TruncatedBody {
        first: Some(Bytes::copy_from_slice(&whole[..whole.len() / 2])),
        flushed: false,
    })
}
