//! Bytes that no honest peer sends: refused, never a panic, never a large allocation.

use proptest::prelude::*;
use stsd_wire::{
    FrameError, MAX_LEASE_REQUEST, MAX_MESSAGE, MAX_REQUEST, Message, Reply, Request,
    message_length, request_length,
};

fn refused<T>(length: usize, max: usize) -> Result<T, FrameError> {
    Err(FrameError::Length { length, max })
}

#[test]
fn header_with_length_outside_the_limits_is_rejected() {
    for (header, expected) in [
        ([0, 0, 0, 0], refused(0, MAX_MESSAGE)),
        ([0, 0, 0, 1], Ok(1)),
        ([0, 1, 0, 0], Ok(MAX_MESSAGE)),
        ([0, 1, 0, 1], refused(MAX_MESSAGE + 1, MAX_MESSAGE)),
        ([0xff; 4], refused(0xffff_ffff, MAX_MESSAGE)),
        (*b"GET ", refused(0x4745_5420, MAX_MESSAGE)),
    ] {
        assert_eq!(message_length(header), expected, "{header:?}");
    }
}

#[test]
fn length_above_512_is_accepted_for_a_lease_request_only() {
    let check = |header: [u8; 4], first_byte, expected| {
        assert_eq!(
            request_length(header, first_byte),
            expected,
            "{header:?} {first_byte:?}"
        );
    };
    let lease = Request::Lease {
        profile: "p".into(),
        policy: None,
        ttl_millis: 1,
        patience_millis: 1,
    };
    let variant = lease.frame().unwrap()[4];
    for first_byte in [None, Some(1), Some(variant)] {
        check([0, 0, 0, 1], first_byte, Ok(Some(1)));
        check([0, 0, 2, 0], first_byte, Ok(Some(MAX_REQUEST)));
        check([0, 0, 0, 0], None, refused(0, MAX_LEASE_REQUEST));
    }
    check([0, 0, 2, 1], None, Ok(None));
    check([0, 0, 2, 1], Some(1), refused(513, MAX_REQUEST));
    check([0, 0, 2, 1], Some(variant), Ok(Some(513)));
    check([0, 0, 32, 0], Some(variant), Ok(Some(MAX_LEASE_REQUEST)));
    for first_byte in [None, Some(variant)] {
        check(
            [0, 0, 32, 1],
            first_byte,
            refused(MAX_LEASE_REQUEST + 1, MAX_LEASE_REQUEST),
        );
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
    let profile = "x".repeat(MAX_REQUEST);
    let watch = Request::Watch { profile };
    assert_eq!(watch.frame(), refused(MAX_REQUEST + 4, MAX_REQUEST));
    let lease = |policy| Request::Lease {
        profile: "p".into(),
        policy: Some("x".repeat(policy)),
        ttl_millis: 1,
        patience_millis: 1,
    };
    assert!(lease(MAX_LEASE_REQUEST - 100).frame().is_ok());
    assert!(lease(MAX_LEASE_REQUEST).frame().is_err());
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
