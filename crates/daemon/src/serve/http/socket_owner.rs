//! Decides whose socket is at the other end of a loopback connection.

mod proc_net_tcp;
mod sock_diag;

use std::net::{SocketAddr, SocketAddrV4};

use self::{proc_net_tcp::ProcNetTcp, sock_diag::Diag};

/// Both ends of a connection, the client's first.
type Ends = (SocketAddrV4, SocketAddrV4);

/// Finds the owners of connections.
pub(super) struct SocketOwnerLookup {
    /// None where the sandbox has no netlink.
    diag: Option<Diag>,
    list: ProcNetTcp,
}

impl SocketOwnerLookup {
    pub(super) fn new() -> Self {
        Self {
            diag: Diag::open().ok(),
            list: ProcNetTcp::default(),
        }
    }

    /// Returns the user whose socket is at the client's end.
    pub(super) async fn of(&self, client: SocketAddr, server: SocketAddr) -> Option<u32> {
        let (SocketAddr::V4(client), SocketAddr::V4(server)) = (client, server) else {
            return None;
        };
        match &self.diag {
            Some(diag) => diag.owner((client, server)),
            None => self.list.owner((client, server)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use nix::unistd::geteuid;

    use super::{ProcNetTcp, SocketOwnerLookup};

    /// Each of many connections has its owner, and one that is not there or is over has none.
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
        let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert_eq!(owners.of(nobody, server).await, None);
        // Somebody who only listens at a number is not the owner of what came from it.
        assert_eq!(owners.of(server, nobody).await, None);
        let left = streams.pop().unwrap();
        let client = left.local_addr().unwrap();
        drop(left);
        assert_eq!(owners.of(client, server).await, None);
    }

    #[tokio::test]
    async fn the_kernel_tells_the_owner_of_a_connection() {
        let owners = SocketOwnerLookup::new();
        assert!(owners.diag.is_some(), "no netlink here");
        check(owners).await;
    }

    #[tokio::test]
    async fn the_list_tells_it_where_there_is_no_netlink() {
        check(SocketOwnerLookup {
            diag: None,
            list: ProcNetTcp::default(),
        })
        .await;
    }
}
