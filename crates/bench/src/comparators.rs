//! The programs of comparison: two C programs that do the minimum, and widely used servers.

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
    load::{Address, Target},
    machine::{SERVER_CPU, pin_to_cpu},
    process::{Process, find_program, wait_until},
};

const CLIENT: &str = include_str!("../comparators/client.c");
const SERVER_SOURCE: &str = include_str!("../comparators/server.c");

/// The compiled C programs, or the reason for which they are missing.
pub(crate) struct CPrograms {
    pub(crate) client: Result<PathBuf, String>,
    pub(crate) server: Result<PathBuf, String>,
    _directory: TempDir,
}

impl CPrograms {
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

fn compile(directory: &Path, name: &str, source: &str, flags: &[&str]) -> Result<PathBuf, String> {
    let (file, program) = (directory.join(format!("{name}.c")), directory.join(name));
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

/// A server of comparison, and its target.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) target: Target,
    _directory: TempDir,
}

/// The temporary directory of a server that is being started.
struct ServerDirectory(TempDir);

impl ServerDirectory {
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
        pin_to_cpu(Some(process.id()), SERVER_CPU)?;
        let address = Address::Unix(self.socket());
        wait_until("the server of comparison", || {
            Ok(address.accepts_connections())
        })?;
        Ok(process)
    }

    fn server(self, process: Process, target: Target) -> Server {
        Server {
            process,
            target,
            _directory: self.0,
        }
    }
}

/// Starts the C server, which sends the replies of another target.
pub(crate) fn c_server(c_programs: &CPrograms, like: &Target) -> Result<Server, String> {
    let program = c_programs.server.clone()?;
    error_text(|| {
        let directory = ServerDirectory::new()?;
        let file = directory.write("answer", like.answer())?;
        let mut command = Command::new(program);
        command.arg(directory.socket()).arg(file);
        let process = directory.start(command.arg(like.greeting_bytes().to_string()))?;
        let target = like.at(Address::Unix(directory.socket()));
        Ok(directory.server(process, target))
    })
}

pub(crate) fn ssh_agent() -> Result<Server, String> {
    let program =
        find_program("ssh-agent").ok_or("no ssh-agent: apt-get install openssh-client")?;
    error_text(|| {
        let directory = ServerDirectory::new()?;
        let key = directory.path("key");
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
        let process = directory.start(command.arg("-D").arg("-a").arg(directory.socket()))?;
        let mut add = Command::new("ssh-add");
        quiet(add.arg(&key).env("SSH_AUTH_SOCK", directory.socket()))?;
        // SSH_AGENTC_REQUEST_IDENTITIES of draft-ietf-sshm-ssh-agent.
        let request = vec![0, 0, 0, 1, 11];
        let address = Address::Unix(directory.socket());
        let target = Target::probe(address, request.clone(), request)?;
        Ok(directory.server(process, target))
    })
}

pub(crate) fn memcached(answer: &[u8]) -> Result<Server, String> {
    let program = find_program("memcached").ok_or("no memcached: apt-get install memcached")?;
    error_text(|| {
        let directory = ServerDirectory::new()?;
        let mut command = Command::new(program);
        command
            .args(["-t", "1", "-c", "4096", "-u", "root", "-s"])
            .arg(directory.socket());
        let process = directory.start(&mut command)?;
        let set = format!("set k 0 0 {}\r\n", answer.len());
        exchange(
            &directory.socket(),
            &[set.as_bytes(), answer, b"\r\n"].concat(),
            b"STORED\r\n",
        )?;
        let request = b"get k\r\n".to_vec();
        let address = Address::Unix(directory.socket());
        let target = Target::probe(address, request.clone(), request)?;
        Ok(directory.server(process, target))
    })
}

pub(crate) fn redis(answer: &[u8]) -> Result<Server, String> {
    let program = find_program("redis-server").ok_or("no redis: apt-get install redis-server")?;
    error_text(|| {
        let directory = ServerDirectory::new()?;
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
        command.args(options).arg(directory.socket());
        let process = directory.start(&mut command)?;
        let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", answer.len());
        exchange(
            &directory.socket(),
            &[set.as_bytes(), answer, b"\r\n"].concat(),
            b"+OK\r\n",
        )?;
        let request = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".to_vec();
        let address = Address::Unix(directory.socket());
        let target = Target::probe(address, request.clone(), request)?;
        Ok(directory.server(process, target))
    })
}

/// Starts nginx on loopback, with a file of that content.
pub(crate) fn nginx(body: &[u8]) -> Result<Server, String> {
    let program = find_program("nginx").ok_or("no nginx: apt-get install nginx-light")?;
    error_text(|| {
        let directory = ServerDirectory::new()?;
        // nginx cannot report a port of its choice, so that it uses one that was just free.
        let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        directory.write("session.json", body)?;
        let root = directory.0.path().display().to_string();
        let configuration = format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid {root}/pid;\n\
             error_log {root}/error.log;\nevents {{ worker_connections 4096; }}\n\
             http {{ access_log off; sendfile on; keepalive_requests 1000000000;\n\
             client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;\n\
             uwsgi_temp_path {root}/u; scgi_temp_path {root}/s; default_type application/json;\n\
             open_file_cache max=16; server {{ listen {free}; listen unix:{root}/socket; root {root}; }} }}\n"
        );
        let file = directory.write("nginx.conf", configuration.as_bytes())?;
        let mut command = Command::new(program);
        let process = directory.start(command.arg("-p").arg(&root).arg("-c").arg(file))?;
        let request = format!("GET /session.json HTTP/1.1\r\nHost: {free}\r\n\r\n").into_bytes();
        let target = Target::probe(Address::Tcp(free), request.clone(), request)?;
        Ok(directory.server(process, target))
    })
}

fn error_text(start: impl FnOnce() -> Result<Server>) -> Result<Server, String> {
    start().map_err(|error| format!("{error:#}"))
}

/// Sends a request to a server, and checks its reply.
fn exchange(socket: &Path, request: &[u8], answer: &[u8]) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(request)?;
    let mut reply = vec![0; answer.len()];
    stream.read_exact(&mut reply).context("no reply")?;
    ensure!(reply == answer, "{}", String::from_utf8_lossy(&reply));
    Ok(())
}
