//! A running emulator: three listeners on loopback and one thread.

use std::{
    fs::{self, OpenOptions},
    future::IntoFuture as _,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{runtime::Runtime, sync::oneshot};

use crate::{
    account::AccountModel,
    clock::Clock,
    server::{call::Service, listener::ServiceListener, router},
    state::EmulatorState,
    tls::{Tls, TlsError},
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
    /// The directory for the certificate of a new authority, for HTTPS; `None` for HTTP alone.
    pub tls_directory: Option<PathBuf>,
    /// The clock.
    pub clock: Clock,
}

/// The name of the file in [`Options::tls_directory`].
const AUTHORITY_FILE: &str = "ca.pem";

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
    /// The certificates for HTTPS could not be generated.
    #[error("cannot set HTTPS up")]
    Tls(#[from] TlsError),
    /// The certificate of the authority could not be written.
    #[error("cannot write {path}")]
    Authority {
        /// The file or its directory.
        path: PathBuf,
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
    authority: Option<PathBuf>,
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
            tls_directory: None,
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
        let (authority, config) = match &options.tls_directory {
            None => (None, None),
            Some(directory) => {
                let tls = Tls::generate(host_names(&account), options.clock.now())?;
                let file = write_authority(directory, &tls.authority_pem)?;
                (Some(file), Some(tls.config))
            }
        };
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
            .spawn(move || serve(&runtime, state, [sts, oss, imds], config, stopped))
            .map_err(StartError::Thread)?;
        Ok(Self {
            sts: sts_address,
            oss: oss_address,
            imds: imds_address,
            authority,
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

    /// Returns the file with the certificate of the authority; `None` without HTTPS.
    #[must_use]
    pub fn authority_file(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// Returns the line that the program prints when the emulator is ready: the URLs as JSON and,
    /// with HTTPS, those of HTTPS and the file of the authority.
    #[must_use]
    pub fn ready_line(&self) -> String {
        let https = match &self.authority {
            None => String::new(),
            Some(file) => format!(
                r#","sts_https":"https://{}","oss_https":"https://{}","ca":{}"#,
                self.sts,
                self.oss,
                serde_json::Value::from(file.to_string_lossy())
            ),
        };
        format!(
            r#"{{"sts":"{}","oss":"{}","imds":"{}"{https}}}"#,
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

/// Returns the host names of the services, and of the buckets in them.
///
/// A certificate names `*.oss.localhost`, but each bucket below `localhost`: OpenSSL accepts no
/// wildcard with one label behind it.
fn host_names(account: &AccountModel) -> Vec<String> {
    let mut names = vec!["*.aliyuncs.com".to_owned(), "*.oss.localhost".to_owned()];
    for (bucket, region) in account.bucket_regions() {
        names.push(format!("{bucket}.localhost"));
        for endpoint in [
            format!("oss-{region}"),
            format!("oss-{region}-internal"),
            format!("s3.oss-{region}"),
        ] {
            names.push(format!("*.{endpoint}.aliyuncs.com"));
        }
        for service in ["sts", "sts-vpc"] {
            names.push(format!("{service}.{region}.aliyuncs.com"));
        }
    }
    names.sort();
    names.dedup();
    names
}

/// Writes the certificate of the authority, and returns the absolute path of its file. A reader sees
/// the whole file of this start or of the one before.
fn write_authority(directory: &Path, pem: &str) -> Result<PathBuf, StartError> {
    let error = |source| StartError::Authority {
        path: directory.join(AUTHORITY_FILE),
        source,
    };
    fs::create_dir_all(directory).map_err(error)?;
    let directory = directory.canonicalize().map_err(error)?;
    let new = directory.join(format!(".{AUTHORITY_FILE}.new"));
    let file = directory.join(AUTHORITY_FILE);
    let mut options = OpenOptions::new();
    // With any umask, no other user can change the authority.
    options.write(true).create(true).truncate(true).mode(0o644);
    let mut written = options.open(&new).map_err(error)?;
    written.write_all(pem.as_bytes()).map_err(error)?;
    fs::rename(&new, &file).map_err(error)?;
    Ok(file)
}

/// Runs the services until `stopped` completes. Calls without a response are dropped then.
fn serve(
    runtime: &Runtime,
    state: Arc<EmulatorState>,
    [sts, oss, imds]: [TcpListener; 3],
    tls: Option<Arc<ServerConfig>>,
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async move {
        let services = async {
            let sts = ServiceListener::new(sts, tls.clone())?;
            let oss = ServiceListener::new(oss, tls)?;
            // An instance reads its metadata by HTTP.
            let imds = ServiceListener::new(imds, None)?;
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
