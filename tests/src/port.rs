//! Ports of the loopback address that no other program takes meanwhile.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    process,
};

/// Returns a port that is free, and that no program gets which asks for any: it is below those
/// that the kernel gives away. Programs that run beside each other begin to look at different
/// ones.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn port_of_ones_own() -> u16 {
    const LOWEST: u16 = 10_000;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let given_away: u16 = range
        .split_ascii_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(given_away > LOWEST, "the kernel gives every port away here");
    let count = given_away - LOWEST;
    let first = u16::try_from(process::id() % u32::from(count)).unwrap();
    let mut ports = (first..count).chain(0..first).map(|it| LOWEST + it);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("a free port")
}

/// An address at which nothing listens, nor will while this exists: the near end of a
/// connection has it.
pub struct Unheard {
    address: String,
    _held: (TcpListener, TcpStream),
}

impl Unheard {
    /// Takes one.
    ///
    /// # Panics
    /// When the system has none.
    #[must_use]
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Self {
            address: stream.local_addr().unwrap().to_string(),
            _held: (listener, stream),
        }
    }

    /// Returns it as `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Default for Unheard {
    fn default() -> Self {
        Self::new()
    }
}
