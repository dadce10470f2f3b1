//! A running emulator: three listeners on loopback and one thread.

use std::{
    future::IntoFuture as _,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use tokio::{runtime::Runtime, sync::oneshot};

use crate::{
    account::AccountModel,
    clock::Clock,
    server::{call::Service, router},
    state::EmulatorState,
};

/// The options of an emulator.
#[derive(Debug, Clone)]
pub struct Options {
    /// The address of STS; port 0 is any free port.
    pub sts: SocketAddr,
    /// The address of OSS; port 0 is any free port.
    pub oss: SocketAddr,
    /// The address of the metadata service; port 0 is any free port.
    pub imds: SocketAddr,
    /// Maximum lifetime of each session; `None` for the lifetime that was asked for.
    pub max_session_lifetime: Option<Duration>,
    /// The clock.
    pub clock: Clock,
}

/// The reason for which an emulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is no loopback address. The secrets of the default account model are public.
    #[error("{0} is not a loopback address; use one, such as 127.0.0.1:0")]
    NotLoopback(SocketAddr),
    /// The system refused the address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The system refused a thread or an epoll instance.
    #[error("cannot start the server's thread")]
    Thread(#[source] io::Error),
}

/// A running emulator. It stops when it is dropped.
#[derive(Debug)]
pub struct Emulator {
    sts: SocketAddr,
    oss: SocketAddr,
    imds: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Default for Options {
    fn default() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            sts: any_port,
            oss: any_port,
            imds: any_port,
            max_session_lifetime: None,
            clock: Clock::system(),
        }
    }
}

impl Emulator {
    /// Starts an emulator. All three addresses accept connections when this returns.
    ///
    /// # Errors
    ///
    /// An address is no loopback address or not free, or the system has no resources for a
    /// thread.
    pub fn start(account: AccountModel, options: Options) -> Result<Self, StartError> {
        let (sts, sts_address) = listen(options.sts)?;
        let (oss, oss_address) = listen(options.oss)?;
        let (imds, imds_address) = listen(options.imds)?;
        let state = Arc::new(EmulatorState::new(
            account,
            options.clock,
            options.max_session_lifetime,
        ));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("stsd-emulator".to_owned())
            .spawn(move || serve(&runtime, state, [sts, oss, imds], stopped))
            .map_err(StartError::Thread)?;
        Ok(Self {
            sts: sts_address,
            oss: oss_address,
            imds: imds_address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Returns the address of STS.
    #[must_use]
    pub fn sts_address(&self) -> SocketAddr {
        self.sts
    }

    /// Returns the address of OSS.
    #[must_use]
    pub fn oss_address(&self) -> SocketAddr {
        self.oss
    }

    /// Returns the address of the metadata service.
    #[must_use]
    pub fn imds_address(&self) -> SocketAddr {
        self.imds
    }

    /// Returns the URL of STS.
    #[must_use]
    pub fn sts_url(&self) -> String {
        format!("http://{}", self.sts)
    }

    /// Returns the URL of OSS.
    #[must_use]
    pub fn oss_url(&self) -> String {
        format!("http://{}", self.oss)
    }

    /// Returns the URL of the metadata service.
    #[must_use]
    pub fn imds_url(&self) -> String {
        format!("http://{}", self.imds)
    }

    /// Returns the line that the program prints when the emulator is ready: the URLs as JSON.
    #[must_use]
    pub fn ready_line(&self) -> String {
        format!(
            r#"{{"sts":"{}","oss":"{}","imds":"{}"}}"#,
            self.sts_url(),
            self.oss_url(),
            self.imds_url()
        )
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    if !address.ip().is_loopback() {
        return Err(StartError::NotLoopback(address));
    }
    let listen_error = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(listen_error)?;
    listener.set_nonblocking(true).map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    Ok((listener, bound))
}

/// Runs the services until `stopped` completes. Calls without a response are dropped then.
fn serve(
    runtime: &Runtime,
    state: Arc<EmulatorState>,
    [sts, oss, imds]: [TcpListener; 3],
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async move {
        let services = async {
            let sts = tokio::net::TcpListener::from_std(sts)?;
            let oss = tokio::net::TcpListener::from_std(oss)?;
            let imds = tokio::net::TcpListener::from_std(imds)?;
            tokio::try_join!(
                axum::serve(sts, router(Arc::clone(&state), Service::Sts)).into_future(),
                axum::serve(oss, router(Arc::clone(&state), Service::Oss)).into_future(),
                axum::serve(imds, router(state, Service::Imds)).into_future(),
            )
        };
        tokio::select! {
            _ = services => {}
            _ = stopped => {}
        }
    });
}
