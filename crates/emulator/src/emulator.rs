//! A running cloud: three listeners on loopback and one thread behind them.

use std::{
    future::IntoFuture as _,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{runtime::Runtime, sync::oneshot};

use crate::{
    account::model::World,
    clock::Clock,
    fault::script::Faults,
    jwt::Keys,
    server::{Service, router},
    state::Cloud,
    sts::assume_role_with_saml::Seal,
};

/// How a cloud is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where STS listens; port 0 picks one.
    pub sts: SocketAddr,
    /// Where OSS listens; port 0 picks one.
    pub oss: SocketAddr,
    /// Where the instance's metadata is; port 0 picks one.
    pub imds: SocketAddr,
    /// Sessions end this early, however long they were asked for.
    pub session_life: Option<Duration>,
    /// What time it is.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            sts: any,
            oss: any,
            imds: any,
            session_life: None,
            clock: Clock::system(),
        }
    }
}

/// Why a cloud did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its secrets are printed on a page; it is not for a network.
    #[error("{0} is not a loopback address; this cloud is only for its own host")]
    NotLoopback(SocketAddr),
    /// The system refused the address.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system refused a thread or its events.
    #[error("cannot start the server's thread")]
    Thread(#[source] io::Error),
}

/// A running cloud; it stops when it is dropped.
#[derive(Debug)]
pub struct Emulator {
    sts: SocketAddr,
    oss: SocketAddr,
    imds: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Emulator {
    /// Listens, and answers until dropped. When this returns, all addresses answer.
    ///
    /// # Errors
    ///
    /// An address is not loopback or not free, or the system has no thread to give.
    pub fn start(world: World, options: Options) -> Result<Self, StartError> {
        let (sts, sts_address) = listen(options.sts)?;
        let (oss, oss_address) = listen(options.oss)?;
        let (imds, imds_address) = listen(options.imds)?;
        let cloud = Arc::new(Cloud {
            world,
            clock: options.clock,
            session_life: options.session_life,
            switched: Mutex::default(),
            keys: Keys::new(),
            seal: Seal::new(),
            sessions: Mutex::default(),
            metadata: Mutex::default(),
            nonces: Mutex::default(),
            objects: Mutex::default(),
            stats: Mutex::default(),
            faults: Faults::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("stsd-emulator".to_owned())
            .spawn(move || serve(&runtime, cloud, [sts, oss, imds], stopped))
            .map_err(StartError::Thread)?;
        Ok(Self {
            sts: sts_address,
            oss: oss_address,
            imds: imds_address,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where STS listens.
    #[must_use]
    pub fn sts_address(&self) -> SocketAddr {
        self.sts
    }

    /// Where OSS listens.
    #[must_use]
    pub fn oss_address(&self) -> SocketAddr {
        self.oss
    }

    /// Where the instance's metadata is.
    #[must_use]
    pub fn imds_address(&self) -> SocketAddr {
        self.imds
    }

    /// `http://` and where STS listens.
    #[must_use]
    pub fn sts_url(&self) -> String {
        format!("http://{}", self.sts)
    }

    /// `http://` and where OSS listens.
    #[must_use]
    pub fn oss_url(&self) -> String {
        format!("http://{}", self.oss)
    }

    /// `http://` and where the instance's metadata is.
    #[must_use]
    pub fn imds_url(&self) -> String {
        format!("http://{}", self.imds)
    }

    /// The line that says the cloud is ready.
    #[must_use]
    pub fn ready_line(&self) -> String {
        format!(
            r#"{{"sts":"http://{}","oss":"http://{}","imds":"http://{}"}}"#,
            self.sts, self.oss, self.imds
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
    let refused = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

/// Runs the services until told to stop; whatever is unanswered then is dropped.
fn serve(
    runtime: &Runtime,
    cloud: Arc<Cloud>,
    [sts, oss, imds]: [TcpListener; 3],
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async move {
        let running = async {
            let sts = tokio::net::TcpListener::from_std(sts)?;
            let oss = tokio::net::TcpListener::from_std(oss)?;
            let imds = tokio::net::TcpListener::from_std(imds)?;
            tokio::try_join!(
                axum::serve(sts, router(Arc::clone(&cloud), Service::Sts)).into_future(),
                axum::serve(oss, router(Arc::clone(&cloud), Service::Oss)).into_future(),
                axum::serve(imds, router(cloud, Service::Imds)).into_future(),
            )
        };
        tokio::select! {
            _ = running => {}
            _ = stopped => {}
        }
    });
}
