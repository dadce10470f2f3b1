//! The load generator: requests over persistent connections, or over a connection for each request.
//! One thread with epoll, which is faster than any of the measured servers on one processor.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        socket::{setsockopt, sockopt},
    },
};

use crate::machine::Stopwatch;

/// The bytes of each reply that are compared with those of the first reply.
const COMPARED_BYTES: usize = 12;

/// The silence after which the first reply of a server counts as complete.
const REPLY_END_TIMEOUT_MILLIS: u16 = 200;

/// The address of a server.
#[derive(Clone)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// A server with a request and its reply.
#[derive(Clone)]
pub(crate) struct Target {
    address: Address,
    /// The first request of a connection, and all others.
    requests: [Vec<u8>; 2],
    answers: [Vec<u8>; 2],
}

/// The use of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Persistent,
    OnePerRequest,
}

/// The result of a measurement.
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// The latencies in nanoseconds, sorted.
    latencies: Vec<u32>,
}

/// A connection with a pending request.
pub(crate) struct Connection {
    stream: File,
    greeted: bool,
    filled: usize,
    stopwatch: Stopwatch,
}

impl Target {
    /// Sends both requests once, and keeps their replies.
    pub(crate) fn probe(address: Address, first: Vec<u8>, next: Vec<u8>) -> Result<Self> {
        let mut stream = address.connect()?;
        let mut ask = |request: &[u8]| -> Result<Vec<u8>> {
            stream.write_all(request)?;
            let (mut answer, mut part) = (Vec::new(), vec![0; 16 * 1024]);
            // The first bytes of a reply have ten seconds.
            let mut timeout = PollTimeout::from(10_000_u16);
            while poll(
                &mut [PollFd::new(stream.as_fd(), PollFlags::POLLIN)],
                timeout,
            )? > 0
            {
                let count = stream.read(&mut part)?;
                if count == 0 {
                    break;
                }
                answer.extend_from_slice(&part[..count]);
                timeout = PollTimeout::from(REPLY_END_TIMEOUT_MILLIS);
            }
            ensure!(answer.len() >= COMPARED_BYTES, "the server does not reply");
            Ok(answer)
        };
        let answers = [ask(&first)?, ask(&next)?];
        Ok(Self {
            address,
            requests: [first, next],
            answers,
        })
    }

    /// Returns a target with another address and the same requests and replies.
    pub(crate) fn at(&self, address: Address) -> Self {
        Self {
            address,
            ..self.clone()
        }
    }

    pub(crate) fn answer(&self) -> &[u8] {
        &self.answers[0]
    }

    /// Returns the bytes that only the first reply of a connection has.
    pub(crate) fn greeting_bytes(&self) -> usize {
        self.answers[0].len() - self.answers[1].len()
    }

    /// Opens connections, and sends a request on each of them.
    pub(crate) fn send_on_new_connections(&self, count: usize) -> Result<Vec<Connection>> {
        (0..count).map(|_| Connection::open(self)).collect()
    }

    /// Opens connections one after the other, and waits for one reply on each of them.
    pub(crate) fn connections(&self, count: usize) -> Result<Vec<Connection>> {
        let open = || {
            let mut connection = Connection::open(self)?;
            connection.finish(self)?;
            Ok(connection)
        };
        (0..count).map(|_| open()).collect()
    }

    /// Sends requests over that many connections for that duration.
    pub(crate) fn load(&self, mode: Mode, connections: usize, duration: Duration) -> Result<Load> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let watch = |connection: &Connection, index: usize| {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
            epoll.add(&connection.stream, event)
        };
        let mut all = match mode {
            Mode::Persistent => self.connections(connections)?,
            Mode::OnePerRequest => Vec::new(),
        };
        for connection in &mut all {
            connection.send(self)?;
        }
        while all.len() < connections {
            all.push(Connection::open(self)?);
        }
        for (index, connection) in all.iter().enumerate() {
            watch(connection, index)?;
        }
        let mut latencies = Vec::with_capacity(1 << 20);
        let mut events = [EpollEvent::empty(); 256];
        let stopwatch = Stopwatch::start();
        while stopwatch.elapsed() < duration {
            let ready = epoll.wait(&mut events, EpollTimeout::from(1000_u16))?;
            ensure!(ready > 0, "no reply within a second");
            for event in &events[..ready] {
                let index = usize::try_from(event.data())?;
                let connection = &mut all[index];
                if !connection.take(self)? {
                    continue;
                }
                let nanoseconds = connection.stopwatch.elapsed().as_nanos();
                latencies.push(u32::try_from(nanoseconds).unwrap_or(u32::MAX));
                match mode {
                    Mode::Persistent => connection.send(self)?,
                    Mode::OnePerRequest => {
                        // The old connection is closed first, as a program would do.
                        epoll.delete(&connection.stream)?;
                        *connection = Connection::open(self)?;
                        watch(connection, index)?;
                    }
                }
            }
        }
        let seconds = stopwatch.elapsed().as_secs_f64();
        let requests = latencies.len() as u64;
        latencies.sort_unstable();
        Ok(Load {
            requests,
            seconds,
            latencies,
        })
    }
}

impl Connection {
    /// Connects, and sends a request.
    fn open(target: &Target) -> Result<Self> {
        // The time to connect is a part of the latency.
        let stopwatch = Stopwatch::start();
        let mut connection = Self {
            stream: target.address.connect()?,
            greeted: false,
            filled: 0,
            stopwatch,
        };
        connection.send(target)?;
        connection.stopwatch = stopwatch;
        Ok(connection)
    }

    pub(crate) fn send(&mut self, target: &Target) -> Result<()> {
        self.stopwatch = Stopwatch::start();
        self.filled = 0;
        let request = &target.requests[usize::from(self.greeted)];
        self.stream
            .write_all(request)
            .context("cannot send a request")
    }

    /// Reads the received bytes; returns `true` if the reply is complete.
    fn take(&mut self, target: &Target) -> Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let count = self
            .stream
            .read(&mut buffer)
            .context("cannot read a reply")?;
        let expected = &target.answers[usize::from(self.greeted)];
        let from = self.filled.min(COMPARED_BYTES);
        let to = (self.filled + count).min(COMPARED_BYTES);
        ensure!(count > 0, "the server has closed the connection");
        ensure!(
            buffer[..to - from] == expected[from..to],
            "the reply differs from the first one"
        );
        self.filled += count;
        ensure!(
            self.filled <= expected.len(),
            "the reply is longer than the first one"
        );
        let whole = self.filled == expected.len();
        self.greeted |= whole;
        Ok(whole)
    }

    /// Waits until the reply is complete.
    pub(crate) fn finish(&mut self, target: &Target) -> Result<()> {
        while !self.take(target)? {}
        Ok(())
    }
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Returns the latency in microseconds that a part of the requests, in thousandths, does not exceed.
    pub(crate) fn percentile(&self, of_a_thousand: usize) -> f64 {
        let index = self.latencies.len() * of_a_thousand / 1000;
        let latency = self.latencies.get(index).or(self.latencies.last());
        latency
            .copied()
            .map_or(f64::NAN, |it| f64::from(it) / 1000.0)
    }
}

impl Address {
    fn connect(&self) -> Result<File> {
        let stream = match self {
            Self::Unix(path) => OwnedFd::from(UnixStream::connect(path).context("connect")?),
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).context("connect")?;
                stream.set_nodelay(true)?;
                // Closed by RST. A port is otherwise in TIME_WAIT for a minute, and when all ports are,
                // the search for a free one is measured.
                let reset = nix::libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                };
                setsockopt(&stream, sockopt::Linger, &reset)?;
                OwnedFd::from(stream)
            }
        };
        Ok(File::from(stream))
    }

    /// Returns `true` if a server accepts connections there.
    pub(crate) fn accepts_connections(&self) -> bool {
        self.connect().is_ok()
    }
}

/// Parses `http://HOST:PORT/PATH`.
pub(crate) fn url(url: &str) -> Result<(Address, &str)> {
    let rest = url.strip_prefix("http://").context("not a URL")?;
    let Some(slash) = rest.find('/') else {
        bail!("a URL without a path");
    };
    let (host, path) = rest.split_at(slash);
    Ok((Address::Tcp(host.parse()?), path))
}
