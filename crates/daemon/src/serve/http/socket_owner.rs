//! The user that owns the client's socket of a loopback connection, or the listener at a port.

mod proc_net_tcp;
mod sock_diag;

use std::net::{SocketAddr, SocketAddrV4};

use self::{proc_net_tcp::ProcNetTcp, sock_diag::SockDiag};

/// The addresses of a connection, the client's first.
type Endpoints = (SocketAddrV4, SocketAddrV4);

/// The lookup of socket owners.
pub(super) struct SocketOwnerLookup {
    /// `None` if the sandbox has no netlink.
    sock_diag: Option<SockDiag>,
    proc_net_tcp: ProcNetTcp,
}

impl SocketOwnerLookup {
    pub(super) fn new() -> Self {
        Self {
            sock_diag: SockDiag::open().ok(),
            proc_net_tcp: ProcNetTcp::default(),
        }
    }

    /// Returns the user that owns the client's socket; `None` if the kernel lists no open
    /// connection between these addresses.
    pub(super) async fn of(&self, client: SocketAddr, server: SocketAddr) -> Option<u32> {
        let (SocketAddr::V4(client), SocketAddr::V4(server)) = (client, server) else {
            return None;
        };
        match &self.sock_diag {
            Some(sock_diag) => sock_diag.owner((client, server)),
            None => self.proc_net_tcp.owner((client, server)).await,
        }
    }

    /// Returns the user that owns the listener at an address; `None` if the kernel reports no
    /// listener there. Without netlink the read of a table blocks.
    pub(super) fn listener(&self, address: SocketAddr) -> Option<u32> {
        let SocketAddr::V4(address) = address else {
            return None;
        };
        match &self.sock_diag {
            Some(sock_diag) => sock_diag.listener(address),
            None => proc_net_tcp::listener(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use nix::unistd::geteuid;

    use super::{ProcNetTcp, SocketOwnerLookup};

    /// Checks that each of many connections has its owner, and a closed or unknown one none.
    async fn check(owners: SocketOwnerLookup) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let mut streams: Vec<_> = (0..50)
            .map(|_| TcpStream::connect(server).unwrap())
            .collect();
        for stream in &streams {
            let client = stream.local_addr().unwrap();
            assert_eq!(owners.of(client, server).await, Some(geteuid().as_raw()));
        }
        let unused: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert_eq!(owners.of(unused, server).await, None);
        // A listener at the client's address does not own the client's socket.
        assert_eq!(owners.of(server, unused).await, None);
        let closed = streams.pop().unwrap();
        let client = closed.local_addr().unwrap();
        drop(closed);
        assert_eq!(owners.of(client, server).await, None);
        // Listeners: at the address, at all addresses, and none.
        assert_eq!(owners.listener(server), Some(geteuid().as_raw()));
        for any in ["0.0.0.0:0", "[::]:0"] {
            let listener = TcpListener::bind(any).unwrap();
            let port = listener.local_addr().unwrap().port();
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let owner = owners.listener(address);
            assert_eq!(owner, Some(geteuid().as_raw()), "{any}");
        }
        assert_eq!(owners.listener(unused), None);
        assert_eq!(owners.listener(streams[0].local_addr().unwrap()), None);
    }

    #[tokio::test]
    async fn sock_diag_returns_the_owner_of_an_open_connection() {
        let owners = SocketOwnerLookup::new();
        assert!(owners.sock_diag.is_some(), "no netlink here");
        check(owners).await;
    }

    #[tokio::test]
    async fn proc_net_tcp_returns_the_owner_of_an_open_connection() {
        check(SocketOwnerLookup {
            sock_diag: None,
            proc_net_tcp: ProcNetTcp::default(),
        })
        .await;
    }
}
