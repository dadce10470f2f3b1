//! A frame from a socket, decoded as a request and as a reply.
#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use stsd_fuzz as _;
use stsd_wire::{HEADER, MAX_MESSAGE, Message, Reply, Request, message_length};

fuzz_target!(|frame: &[u8]| {
    let Some((header, rest)) = frame.split_first_chunk::<HEADER>() else {
        return;
    };
    let whole = match message_length(*header) {
        Ok(length) => {
            assert!((1..=MAX_MESSAGE).contains(&length));
            rest.get(..length)
        }
        Err(_) => None,
    };
    // A wrong length ends the connection. The target decodes the message nevertheless, because few
    // mutations would reach the decoder otherwise.
    check::<Request>(whole.unwrap_or(rest));
    check::<Reply>(whole.unwrap_or(rest));
});

/// Checks that a decoded message is equal after it is encoded and decoded again. The bytes may differ,
/// because the decoder accepts a number in a longer form than necessary.
fn check<M: Message + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = M::decode(bytes) else {
        return;
    };
    let frame = message.frame().expect("what was received can be sent");
    let (header, again) = frame.split_first_chunk().expect("a frame has a header");
    assert_eq!(message_length(*header), Ok(again.len()));
    assert!(again.len() <= bytes.len(), "it grew on the way");
    assert_eq!(M::decode(again), Ok(message));
}
