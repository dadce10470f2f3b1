//! Decides what we are measured beside: two small C programs that do the least that can be
//! done, and servers that others rely on.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{
    load::{Address, Service},
    machine::{SERVER, pin},
    process::{Process, find, wait_until},
};

const CLIENT: &str = include_str!("../comparators/client.c");
const SERVER_SOURCE: &str = include_str!("../comparators/server.c");

/// The C programs, or why there are none.
pub(crate) struct Built {
    pub(crate) client: Result<PathBuf, String>,
    pub(crate) server: Result<PathBuf, String>,
    _directory: TempDir,
}

impl Built {
    pub(crate) fn compile() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("stsd-bench-c-").tempdir()?;
        let bare = ["-nostdlib", "-ffreestanding", "-fno-stack-protector"];
        Ok(Self {
            client: compile(directory.path(), "client", CLIENT, &bare),
            server: compile(directory.path(), "server", SERVER_SOURCE, &[]),
            _directory: directory,
        })
    }
}

fn compile(place: &Path, name: &str, source: &str, flags: &[&str]) -> Result<PathBuf, String> {
    let (file, program) = (place.join(format!("{name}.c")), place.join(name));
    fs::write(&file, source).map_err(|error| error.to_string())?;
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-static", "-s", "-fno-asynchronous-unwind-tables"]);
    let output = cc.args(flags).arg("-o").arg(&program).arg(&file).output();
    match output {
        Err(_) => Err("no cc: apt-get install gcc libc6-dev".to_owned()),
        Ok(it) if it.status.success() => Ok(program),
        Ok(it) => Err(format!("cc: {}", String::from_utf8_lossy(&it.stderr))),
    }
}

/// A server beside us, and how it is asked.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) service: Service,
    _directory: TempDir,
}

/// Where a server is, while it is being started.
struct Place(TempDir);

impl Place {
    fn new() -> Result<Self> {
        Ok(Self(
            tempfile::Builder::new().prefix("stsd-bench-s-").tempdir()?,
        ))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("socket")
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, bytes)?;
        Ok(path)
    }

    fn start(&self, command: &mut Command) -> Result<Process> {
        let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
        pin(Some(process.id()), SERVER)?;
        let address = Address::Unix(self.socket());
        wait_until("a server beside us", || Ok(address.answers()))?;
        Ok(process)
    }

    fn server(self, process: Process, service: Service) -> Server {
        Server {
            process,
            service,
            _directory: self.0,
        }
    }
}

/// The C server, with the bytes that somebody else answers.
pub(crate) fn floor(built: &Built, like: &Service) -> Result<Server, String> {
    let program = built.server.clone()?;
    said(|| {
        let place = Place::new()?;
        let file = place.write("answer", like.answer())?;
        let mut command = Command::new(program);
        command.arg(place.socket()).arg(file);
        let process = place.start(command.arg(like.greeting().to_string()))?;
        let service = like.at(Address::Unix(place.socket()));
        Ok(place.server(process, service))
    })
}

pub(crate) fn ssh_agent() -> Result<Server, String> {
    let program = find("ssh-agent").ok_or("no ssh-agent: apt-get install openssh-client")?;
    said(|| {
        let place = Place::new()?;
        let key = place.path("key");
        let quiet = |command: &mut Command| -> Result<()> {
            let status = command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            ensure!(status.success(), "{status}");
            Ok(())
        };
        let mut keygen = Command::new("ssh-keygen");
        quiet(
            keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key),
        )?;
        let mut command = Command::new(program);
        let process = place.start(command.arg("-D").arg("-a").arg(place.socket()))?;
        let mut add = Command::new("ssh-add");
        quiet(add.arg(&key).env("SSH_AUTH_SOCK", place.socket()))?;
        // SSH_AGENTC_REQUEST_IDENTITIES of draft-ietf-sshm-ssh-agent.
        let request = vec![0, 0, 0, 1, 11];
        let address = Address::Unix(place.socket());
        let service = Service::learn(address, request.clone(), request)?;
        Ok(place.server(process, service))
    })
}

pub(crate) fn memcached(answer: &[u8]) -> Result<Server, String> {
    let program = find("memcached").ok_or("no memcached: apt-get install memcached")?;
    said(|| {
        let place = Place::new()?;
        let mut command = Command::new(program);
        command
            .args(["-t", "1", "-c", "4096", "-u", "root", "-s"])
            .arg(place.socket());
        let process = place.start(&mut command)?;
        let set = format!("set k 0 0 {}\r\n", answer.len());
        tell(
            &place.socket(),
            &[set.as_bytes(), answer, b"\r\n"].concat(),
            b"STORED\r\n",
        )?;
        let request = b"get k\r\n".to_vec();
        let address = Address::Unix(place.socket());
        let service = Service::learn(address, request.clone(), request)?;
        Ok(place.server(process, service))
    })
}

pub(crate) fn redis(answer: &[u8]) -> Result<Server, String> {
    let program = find("redis-server").ok_or("no redis: apt-get install redis-server")?;
    said(|| {
        let place = Place::new()?;
        let mut command = Command::new(program);
        let options = [
            "--port",
            "0",
            "--save",
            "",
            "--appendonly",
            "no",
            "--unixsocket",
        ];
        command.args(options).arg(place.socket());
        let process = place.start(&mut command)?;
        let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", answer.len());
        tell(
            &place.socket(),
            &[set.as_bytes(), answer, b"\r\n"].concat(),
            b"+OK\r\n",
        )?;
        let request = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".to_vec();
        let address = Address::Unix(place.socket());
        let service = Service::learn(address, request.clone(), request)?;
        Ok(place.server(process, service))
    })
}

/// nginx on loopback, with a body as a file.
pub(crate) fn nginx(body: &[u8]) -> Result<Server, String> {
    let program = find("nginx").ok_or("no nginx: apt-get install nginx-light")?;
    said(|| {
        let place = Place::new()?;
        // It cannot pick a port and say which: one that was free a moment ago has to do.
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        place.write("session.json", body)?;
        let root = place.0.path().display().to_string();
        let configuration = format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid {root}/pid;\n\
             error_log {root}/error.log;\nevents {{ worker_connections 4096; }}\n\
             http {{ access_log off; sendfile on; keepalive_requests 1000000000;\n\
             client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;\n\
             uwsgi_temp_path {root}/u; scgi_temp_path {root}/s; default_type application/json;\n\
             open_file_cache max=16; server {{ listen {free}; listen unix:{root}/socket; root {root}; }} }}\n"
        );
        let file = place.write("nginx.conf", configuration.as_bytes())?;
        let mut command = Command::new(program);
        let process = place.start(command.arg("-p").arg(&root).arg("-c").arg(file))?;
        let request = format!("GET /session.json HTTP/1.1\r\nHost: {free}\r\n\r\n").into_bytes();
        let service = Service::learn(Address::Tcp(free), request.clone(), request)?;
        Ok(place.server(process, service))
    })
}

fn said(start: impl FnOnce() -> Result<Server>) -> Result<Server, String> {
    start().map_err(|error| format!("{error:#}"))
}

/// Says something to a server that has to be answered so.
fn tell(socket: &Path, request: &[u8], answer: &[u8]) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(request)?;
    let mut said = vec![0; answer.len()];
    stream.read_exact(&mut said).context("no answer")?;
    ensure!(said == answer, "{}", String::from_utf8_lossy(&said));
    Ok(())
}
