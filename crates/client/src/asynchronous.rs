//! The client for programs on tokio: the same requests as the blocking client, without blocking.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use stsd_wire::{ProfileStatus, Reply, Request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::{sleep, timeout},
};

use crate::{
    Answer, Client, Error, PROMPT, Watched, answer,
    error::broken,
    follow, for_credentials,
    inbox::{Inbox, opening},
    socket::{FIRST_PAUSE, LONGEST_PAUSE, Location, Retry, check_server},
    unexpected,
};

/// A client of one daemon, for programs on tokio.
///
/// Its methods need a runtime whose I/O and time drivers are on, and panic without one. A
/// future that is dropped closes its connection, and with that ends its request.
///
/// ```no_run
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), stsd_client::Error> {
/// let client = stsd_client::AsyncClient::from_environment();
/// let patience = Duration::from_secs(10);
/// let answer = client.credentials("oss-upload", Duration::from_secs(300), patience).await?;
/// println!("{}", answer.credentials.access_key_id);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct AsyncClient(Client);

impl AsyncClient {
    /// Finds the daemon as [`Client::from_environment`] does. Does not connect yet.
    #[must_use]
    pub fn from_environment() -> Self {
        Self(Client::from_environment())
    }

    /// Uses this socket only.
    #[must_use]
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self(Client::at(socket))
    }

    /// Returns credentials of `profile` with a remaining lifetime of at least `minimum_life`,
    /// within `patience`, as [`Client::credentials`] does.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Refused`] holds the daemon's failure.
    pub async fn credentials(
        &self,
        profile: &str,
        minimum_life: Duration,
        patience: Duration,
    ) -> Result<Answer, Error> {
        // A deadline of zero would pass before anything was tried.
        let patience = patience.max(Duration::from_millis(1));
        let mut retry = Retry::new(&self.0.location, self.0.wait, patience);
        let asking = self.ask_for_credentials(profile, minimum_life, &mut retry);
        let outcome = timeout(patience, asking).await;
        outcome.unwrap_or_else(|_| Err(retry.timed_out()))
    }

    /// Keeps the credentials of `profile` fresh, until the last handle of the value is
    /// dropped: a task on the current runtime takes each rotation, and connects again when
    /// the daemon has left.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn watch(&self, profile: &str) -> Watched {
        let (publisher, watched) = crate::watched::channel();
        tokio::spawn(follow::follow(self.clone(), profile.to_owned(), publisher));
        watched
    }

    /// Asks until there is an answer that no retry changes.
    async fn ask_for_credentials(
        &self,
        profile: &str,
        minimum_life: Duration,
        retry: &mut Retry<'_>,
    ) -> Result<Answer, Error> {
        loop {
            let request = for_credentials(profile, minimum_life, retry.left());
            let outcome = match self.open(&request).await {
                Ok(mut connection) => {
                    retry.connected();
                    connection.receive().await.and_then(answer)
                }
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) => sleep(retry.after(error)?).await,
                done => return done,
            }
        }
    }

    /// Returns the status of one profile; `None` if this peer may not see it.
    pub(crate) async fn profile(&self, profile: &str) -> Result<Option<ProfileStatus>, Error> {
        let after = just_before(profile);
        match self.ask(&Request::Status { after }).await? {
            Reply::Status(status) => Ok(status.profiles.into_iter().find(|it| it.name == profile)),
            other => Err(unexpected(other)),
        }
    }

    /// Sends a request, and keeps the connection open for further replies. The caller retries.
    pub(crate) async fn connect(&self, request: &Request) -> Result<Connection, Error> {
        let late = |_| {
            let socket = self.0.socket().to_owned();
            Err(Error::TimedOut { socket })
        };
        timeout(PROMPT, self.open(request))
            .await
            .unwrap_or_else(late)
    }

    async fn ask(&self, request: &Request) -> Result<Reply, Error> {
        let mut connection = self.open(request).await?;
        connection.receive().await
    }

    async fn open(&self, request: &Request) -> Result<Connection, Error> {
        let opening = opening(request)?;
        Connection::open(&self.0.location, &opening).await
    }
}

/// Returns a client of the same daemon.
impl From<Client> for AsyncClient {
    fn from(client: Client) -> Self {
        Self(client)
    }
}

/// A connection with its request sent. It has no timeout of its own; the caller bounds the time.
pub(crate) struct Connection {
    stream: UnixStream,
    /// The path of the server's socket, for errors.
    socket: PathBuf,
    inbox: Inbox,
}

impl Connection {
    /// Connects, checks the server, and sends the request.
    async fn open(location: &Location, opening: &[u8]) -> Result<Self, Error> {
        let path = location.path();
        let unreachable = |error| location.unreachable(error);
        location.check_directory().map_err(unreachable)?;
        let mut stream = connect(path).await.map_err(unreachable)?;
        check_server(&stream, path)?;
        // A daemon that rejects the connection closes early; its reason can still be read.
        match stream.write_all(opening).await {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(broken(error).at(path)),
            _ => Ok(Self {
                stream,
                socket: path.to_owned(),
                inbox: Inbox::new(),
            }),
        }
    }

    /// Receives the next reply. The bytes received so far are kept when the future is dropped.
    pub(crate) async fn receive(&mut self) -> Result<Reply, Error> {
        loop {
            if let Some(reply) = self.inbox.next_reply()? {
                return Ok(reply);
            }
            let read = self.stream.read(self.inbox.room()).await.map_err(broken);
            let came = read.and_then(|count| self.inbox.came(count));
            came.map_err(|error| error.at(&self.socket))?;
        }
    }
}

/// Connects. While the backlog of a Unix socket is full, a non-blocking `connect` fails with
/// `EAGAIN`, and the kernel reports no event when the backlog has space again.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    let mut pause = FIRST_PAUSE;
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// Returns a name that sorts shortly before `profile`.
fn just_before(profile: &str) -> String {
    let mut characters = profile.chars();
    let last = characters.next_back().map_or(0, u32::from);
    let mut name = characters.as_str().to_owned();
    if let Some(lower) = last.checked_sub(1).and_then(char::from_u32) {
        name.extend([lower, char::MAX]);
    }
    name
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        io::AsyncReadExt as _,
        net::{UnixListener, UnixStream},
        runtime,
        time::timeout,
    };

    use super::{AsyncClient, just_before};

    #[test]
    fn just_before_sorts_directly_below_the_name() {
        let check = |name: &str, lower: &str| {
            let before = just_before(name);
            assert!(before.as_str() < name, "{name}: {before}");
            assert!(before.as_str() > lower, "{name}: {before}");
        };
        check("oss-upload", "oss-uploac-zzzz");
        check("a", "Z");
        check("job-10", "job-1-z");
        // No profile can have these names.
        assert_eq!(just_before(""), "");
        assert_eq!(just_before("\u{0}"), "");
        assert_eq!(just_before("\u{e000}"), "");
    }

    const LONG: Duration = Duration::from_secs(60);

    async fn has_left(peer: &mut UnixStream) -> bool {
        let mut byte = [0];
        let read = timeout(LONG, peer.read(&mut byte)).await;
        read.expect("it leaves at once").unwrap() == 0
    }

    #[test]
    fn dropped_request_closes_its_connection() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("silent.sock");
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(async {
            let listener = UnixListener::bind(&path).unwrap();
            let client = AsyncClient::at(&path);
            let mut peer = tokio::select! {
                _ = client.credentials("any", Duration::ZERO, LONG) => panic!("a reply came from a peer that sends none"),
                peer = async {
                    let mut peer = listener.accept().await.unwrap().0;
                    assert!(peer.read(&mut [0; 256]).await.unwrap() > 0);
                    peer
                } => peer,
            };
            assert!(has_left(&mut peer).await);
            // A watch ends with its last handle.
            let watched = client.watch("any");
            let (mut peer, _) = listener.accept().await.unwrap();
            assert!(peer.read(&mut [0; 256]).await.unwrap() > 0);
            drop(watched);
            assert!(has_left(&mut peer).await);
        });
    }
}
