//! Socket owners by netlink, with one request for one connection: sock_diag(7).

use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    sync::Mutex,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::{SOCK_DIAG, SocketAddrNetlink},
    recv, sendto, socket_with,
};

use super::Endpoints;

/// `SOCK_DIAG_BY_FAMILY`, the message type of requests and responses.
const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// `NLM_F_REQUEST` without `NLM_F_DUMP`: one response, not the whole table.
const NLM_F_REQUEST: u16 = 1;

/// `IPPROTO_TCP`.
const IPPROTO_TCP: u8 = 6;

/// `TCP_ESTABLISHED`, the state of a connection that is open on both sides. The kernel has no owner
/// for a connection that its client has closed; a listening socket at the client's address is
/// another socket.
const TCP_ESTABLISHED: u8 = 1;

/// `TCP_LISTEN`.
const TCP_LISTEN: u8 = 10;

/// Length of a `struct nlmsghdr` and a `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 16 + 56;

/// Length of a `struct nlmsghdr` and a `struct inet_diag_msg`.
const RESPONSE_BYTES: usize = 16 + 72;

/// A netlink socket, for one request at a time, and the last sequence number.
pub(super) struct SockDiag(Mutex<(OwnedFd, u32)>);

impl SockDiag {
    /// Opens the socket.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (family, kind) = (AddressFamily::NETLINK, SocketType::DGRAM);
        let socket = socket_with(family, kind, flags, Some(SOCK_DIAG))?;
        Ok(Self(Mutex::new((socket, 0))))
    }

    /// Returns the user that owns the socket at the first address.
    pub(super) fn owner(&self, endpoints: Endpoints) -> Option<u32> {
        self.ask(endpoints, TCP_ESTABLISHED)
    }

    /// Returns the user that owns the listener at an address, which may listen at all addresses.
    pub(super) fn listener(&self, address: SocketAddrV4) -> Option<u32> {
        let no_client = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        self.ask((address, no_client), TCP_LISTEN)
    }

    /// Returns the user that owns the socket at the first address, if the socket is in a state.
    /// The kernel queues the response before `sendto` returns, therefore `recv` does not block.
    fn ask(&self, endpoints: Endpoints, state: u8) -> Option<u32> {
        let mut socket = self.0.lock().ok()?;
        socket.1 = socket.1.wrapping_add(1);
        let (socket, sequence) = (&socket.0, socket.1);
        let kernel = SocketAddrNetlink::new(0, 0);
        let request = request(endpoints, sequence);
        sendto(socket, &request, SendFlags::empty(), &kernel).ok()?;
        let mut buffer = [0; 256];
        loop {
            let (length, _) = recv(socket, &mut buffer[..], RecvFlags::empty()).ok()?;
            let response = &buffer[..length];
            // The socket may still hold the response to an earlier request that failed.
            if response.get(8..12)? == sequence.to_ne_bytes() {
                return parse_owner(response, endpoints, state);
            }
        }
    }
}

fn request((client, server): Endpoints, sequence: u32) -> [u8; REQUEST_BYTES] {
    let mut request = [0; REQUEST_BYTES];
    let mut put = |at: usize, bytes: &[u8]| request[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(REQUEST_BYTES as u32).to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &NLM_F_REQUEST.to_ne_bytes());
    put(8, &sequence.to_ne_bytes());
    put(16, &[AddressFamily::INET.as_raw() as u8, IPPROTO_TCP]);
    put(20, &u32::MAX.to_ne_bytes());
    put(24, &client.port().to_be_bytes());
    put(26, &server.port().to_be_bytes());
    put(28, &client.ip().octets());
    put(44, &server.ip().octets());
    // INET_DIAG_NOCOOKIE: any socket with these addresses.
    put(64, &[0xff; 8]);
    request
}

/// Returns the owner in a response; `None` if the response is of no socket with these ports and
/// in this state.
fn parse_owner(response: &[u8], (client, server): Endpoints, state: u8) -> Option<u32> {
    let response: &[u8; RESPONSE_BYTES] = response.first_chunk()?;
    let is = |at: usize, bytes: &[u8]| response[at..at + bytes.len()] == *bytes;
    let is_expected = is(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes())
        && is(17, &[state])
        && is(20, &client.port().to_be_bytes())
        && is(22, &server.port().to_be_bytes());
    let uid = response[80..].first_chunk();
    uid.map(|it| u32::from_ne_bytes(*it))
        .filter(|_| is_expected)
}
