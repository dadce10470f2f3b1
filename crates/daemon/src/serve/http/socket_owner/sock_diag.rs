//! One question to the kernel about one connection, by netlink: sock_diag(7).

use std::{io, os::fd::OwnedFd, sync::Mutex};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::{SOCK_DIAG, SocketAddrNetlink},
    recv, sendto, socket_with,
};

use super::Ends;

/// `SOCK_DIAG_BY_FAMILY`, of questions and answers.
const BY_FAMILY: u16 = 20;

/// `NLM_F_REQUEST`: one answer, not the whole table.
const REQUEST: u16 = 1;

const TCP: u8 = 6;

/// The state of a connection that is open on both sides. The kernel has no owner for one that
/// its client has closed; and a socket that only listens at the client's address is another.
const ESTABLISHED: u8 = 1;

/// A `struct nlmsghdr` and a `struct inet_diag_req_v2`.
const QUESTION: usize = 16 + 56;

/// A `struct nlmsghdr` and a `struct inet_diag_msg`.
const ANSWER: usize = 16 + 72;

/// A netlink socket, for one question at a time.
pub(super) struct Diag(Mutex<(OwnedFd, u32)>);

impl Diag {
    /// Opens the socket.
    pub(super) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (family, kind) = (AddressFamily::NETLINK, SocketType::DGRAM);
        let socket = socket_with(family, kind, flags, Some(SOCK_DIAG))?;
        Ok(Self(Mutex::new((socket, 0))))
    }

    /// Returns the user whose socket is at the first end. The kernel answers before it
    /// returns from the question, so nothing is waited for.
    pub(super) fn owner(&self, ends: Ends) -> Option<u32> {
        let mut socket = self.0.lock().ok()?;
        socket.1 = socket.1.wrapping_add(1);
        let (socket, number) = (&socket.0, socket.1);
        let kernel = SocketAddrNetlink::new(0, 0);
        let question = question(ends, number);
        sendto(socket, &question, SendFlags::empty(), &kernel).ok()?;
        let mut answer = [0; 256];
        loop {
            let (length, _) = recv(socket, &mut answer[..], RecvFlags::empty()).ok()?;
            let answer = &answer[..length];
            // One that somebody did not wait for is left lying there.
            if answer.get(8..12)? == number.to_ne_bytes() {
                return owner(answer, ends);
            }
        }
    }
}

fn question((client, server): Ends, number: u32) -> [u8; QUESTION] {
    let mut question = [0; QUESTION];
    let mut put = |at: usize, bytes: &[u8]| question[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(QUESTION as u32).to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &REQUEST.to_ne_bytes());
    put(8, &number.to_ne_bytes());
    put(16, &[AddressFamily::INET.as_raw() as u8, TCP]);
    put(20, &u32::MAX.to_ne_bytes());
    put(24, &client.port().to_be_bytes());
    put(26, &server.port().to_be_bytes());
    put(28, &client.ip().octets());
    put(44, &server.ip().octets());
    // No cookie: whichever socket it is.
    put(64, &[0xff; 8]);
    question
}

/// Reads an answer: the owner, if it is of a connection between these two ends.
fn owner(answer: &[u8], (client, server): Ends) -> Option<u32> {
    let answer: &[u8; ANSWER] = answer.first_chunk()?;
    let is = |at: usize, bytes: &[u8]| answer[at..at + bytes.len()] == *bytes;
    let fits = is(4, &BY_FAMILY.to_ne_bytes())
        && is(17, &[ESTABLISHED])
        && is(20, &client.port().to_be_bytes())
        && is(22, &server.port().to_be_bytes());
    let uid = answer[80..].first_chunk().map(|it| u32::from_ne_bytes(*it));
    uid.filter(|_| fits)
}
