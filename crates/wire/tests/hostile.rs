//! Bytes that no honest peer sends: refused, never a panic, never a large allocation.

use proptest::prelude::*;
use stsd_wire::{FrameError, MAX_MESSAGE, Message, Reply, Request, message_length};

#[test]
fn header_with_length_outside_the_limits_is_rejected() {
    for (header, expected) in [
        ([0, 0, 0, 0], Err(FrameError::Length(0))),
        ([0, 0, 0, 1], Ok(1)),
        ([0, 1, 0, 0], Ok(MAX_MESSAGE)),
        ([0, 1, 0, 1], Err(FrameError::Length(MAX_MESSAGE + 1))),
        ([0xff; 4], Err(FrameError::Length(0xffff_ffff))),
        (*b"GET ", Err(FrameError::Length(0x4745_5420))),
    ] {
        assert_eq!(message_length(header), expected, "{header:?}");
    }
}

#[test]
fn string_longer_than_its_message_is_malformed() {
    // Variant 1 (credentials) whose profile claims a length of 2^64 - 1 bytes.
    let mut message = vec![1, 253];
    message.extend_from_slice(&[0xff; 8]);
    assert_eq!(Request::decode(&message), Err(FrameError::Malformed));
}

#[test]
fn message_over_the_maximum_is_not_encoded() {
    let profile = "x".repeat(MAX_MESSAGE);
    assert!(Request::Watch { profile }.frame().is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_decoded_or_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(request) = Request::decode(&bytes) {
            prop_assert_eq!(Request::decode(&request.frame().unwrap()[4..]), Ok(request));
        }
        let _ = Reply::decode(&bytes);
    }

    #[test]
    fn credentials_request_survives_encoding(profile in ".{0,100}", minimum_life_millis: u64, patience_millis: u64) {
        let request = Request::Credentials { profile, minimum_life_millis, patience_millis };
        let frame = request.frame().unwrap();
        prop_assert_eq!(message_length(frame[..4].try_into().unwrap()), Ok(frame.len() - 4));
        prop_assert_eq!(Request::decode(&frame[4..]), Ok(request));
    }
}
