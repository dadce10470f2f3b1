//! Decides how a server is asked: over connections that stay or one a request, and what is
//! an answer. One thread around epoll, so that it keeps up with any server on one processor.

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

use crate::machine::Began;

/// How much of each answer is compared with the one that was learnt.
const HEAD: usize = 12;

/// How long a server that is learnt from has to be silent before its answer is whole.
const SILENCE: u16 = 200;

/// Where a server listens.
#[derive(Clone)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// A server, a question, and how long its answer is.
#[derive(Clone)]
pub(crate) struct Service {
    address: Address,
    /// What the first request of a connection is, and every other.
    requests: [Vec<u8>; 2],
    answers: [Vec<u8>; 2],
}

/// How connections are used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Persistent,
    OnePerRequest,
}

/// What came of a while of asking.
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Nanoseconds, sorted.
    latencies: Vec<u32>,
}

/// A connection with a request under way.
pub(crate) struct Connection {
    stream: File,
    greeted: bool,
    filled: usize,
    began: Began,
}

impl Service {
    /// Asks twice, to know the answers.
    pub(crate) fn learn(address: Address, first: Vec<u8>, next: Vec<u8>) -> Result<Self> {
        let mut stream = address.connect()?;
        let mut ask = |request: &[u8]| -> Result<Vec<u8>> {
            stream.write_all(request)?;
            let (mut answer, mut part) = (Vec::new(), vec![0; 16 * 1024]);
            // A first answer may take as long as it likes.
            let mut patience = PollTimeout::from(10_000_u16);
            while poll(
                &mut [PollFd::new(stream.as_fd(), PollFlags::POLLIN)],
                patience,
            )? > 0
            {
                let count = stream.read(&mut part)?;
                if count == 0 {
                    break;
                }
                answer.extend_from_slice(&part[..count]);
                patience = PollTimeout::from(SILENCE);
            }
            ensure!(answer.len() >= HEAD, "it does not answer");
            Ok(answer)
        };
        let answers = [ask(&first)?, ask(&next)?];
        Ok(Self {
            address,
            requests: [first, next],
            answers,
        })
    }

    /// Returns a server at another place that is asked the same and answers the same.
    pub(crate) fn at(&self, address: Address) -> Self {
        Self {
            address,
            ..self.clone()
        }
    }

    pub(crate) fn answer(&self) -> &[u8] {
        &self.answers[0]
    }

    /// How many bytes a later answer of a connection lacks.
    pub(crate) fn greeting(&self) -> usize {
        self.answers[0].len() - self.answers[1].len()
    }

    /// Opens connections, each with a request under way.
    pub(crate) fn asking(&self, count: usize) -> Result<Vec<Connection>> {
        (0..count).map(|_| Connection::open(self)).collect()
    }

    /// Opens connections, one after the other, and has each of them served once.
    pub(crate) fn connections(&self, count: usize) -> Result<Vec<Connection>> {
        let open = || {
            let mut connection = Connection::open(self)?;
            connection.finish(self)?;
            Ok(connection)
        };
        (0..count).map(|_| open()).collect()
    }

    /// Asks for a while, over so many connections at a time.
    pub(crate) fn load(&self, mode: Mode, connections: usize, length: Duration) -> Result<Load> {
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
        let began = Began::now();
        while began.elapsed() < length {
            let ready = epoll.wait(&mut events, EpollTimeout::from(1000_u16))?;
            ensure!(ready > 0, "no answer within a second");
            for event in &events[..ready] {
                let index = usize::try_from(event.data())?;
                let connection = &mut all[index];
                if !connection.take(self)? {
                    continue;
                }
                let nanoseconds = connection.began.elapsed().as_nanos();
                latencies.push(u32::try_from(nanoseconds).unwrap_or(u32::MAX));
                match mode {
                    Mode::Persistent => connection.send(self)?,
                    Mode::OnePerRequest => {
                        // The old one is closed first, as a program would.
                        epoll.delete(&connection.stream)?;
                        *connection = Connection::open(self)?;
                        watch(connection, index)?;
                    }
                }
            }
        }
        let seconds = began.elapsed().as_secs_f64();
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
    /// Connects and asks.
    fn open(service: &Service) -> Result<Self> {
        // The time to connect is part of what a request takes.
        let began = Began::now();
        let mut connection = Self {
            stream: service.address.connect()?,
            greeted: false,
            filled: 0,
            began,
        };
        connection.send(service)?;
        connection.began = began;
        Ok(connection)
    }

    pub(crate) fn send(&mut self, service: &Service) -> Result<()> {
        self.began = Began::now();
        self.filled = 0;
        let request = &service.requests[usize::from(self.greeted)];
        self.stream.write_all(request).context("a request")
    }

    /// Takes what has come; tells whether the answer is whole.
    fn take(&mut self, service: &Service) -> Result<bool> {
        let mut buffer = [0; 16 * 1024];
        let count = self.stream.read(&mut buffer).context("an answer")?;
        let expected = &service.answers[usize::from(self.greeted)];
        let from = self.filled.min(HEAD);
        let to = (self.filled + count).min(HEAD);
        ensure!(count > 0, "the server has closed the connection");
        ensure!(
            buffer[..to - from] == expected[from..to],
            "another answer than before"
        );
        self.filled += count;
        ensure!(self.filled <= expected.len(), "a longer answer than before");
        let whole = self.filled == expected.len();
        self.greeted |= whole;
        Ok(whole)
    }

    /// Waits until the answer is whole.
    pub(crate) fn finish(&mut self, service: &Service) -> Result<()> {
        while !self.take(service)? {}
        Ok(())
    }
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// The latency that so many of a thousand requests are under, in microseconds.
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
                // Closed without a trace. A port stays taken for a minute otherwise, and once
                // all are, it is the search for one that is measured.
                let at_once = nix::libc::linger {
                    l_onoff: 1,
                    l_linger: 0,
                };
                setsockopt(&stream, sockopt::Linger, &at_once)?;
                OwnedFd::from(stream)
            }
        };
        Ok(File::from(stream))
    }

    /// Tells whether somebody listens.
    pub(crate) fn answers(&self) -> bool {
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
