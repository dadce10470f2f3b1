//! Ports of the loopback address that no other program can take during a story.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    process,
};

/// Returns a free port below the kernel's range of ephemeral ports, so that no program gets it by
/// binding port 0. The search starts at a port that depends on the process id: tests run in parallel.
///
/// # Panics
/// When no port is free.
#[must_use]
pub fn free_port() -> u16 {
    const LOWEST: u16 = 10_000;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let ephemeral: u16 = range
        .split_ascii_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(ephemeral > LOWEST, "every port is ephemeral here");
    let count = ephemeral - LOWEST;
    let first = u16::try_from(process::id() % u32::from(count)).unwrap();
    let mut ports = (first..count).chain(0..first).map(|it| LOWEST + it);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.find(is_free).expect("no port is free")
}

/// An address that refuses connections. The local end of a connection holds it, so that nothing can
/// listen there.
pub struct ClosedPort {
    address: String,
    _held: (TcpListener, TcpStream),
}

impl ClosedPort {
    /// Returns a new one.
    ///
    /// # Panics
    /// When the system has no port left.
    #[must_use]
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Self {
            address: stream.local_addr().unwrap().to_string(),
            _held: (listener, stream),
        }
    }

    /// Returns the address as `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Default for ClosedPort {
    fn default() -> Self {
        Self::new()
    }
}
