//! HTTPS with a generated authority, on the ports of HTTP.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kit;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use kit::{Answer, Call, Oss, UPLOAD, raw};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use stsd_emulator::{Clock, Emulator, Options, account};

fn start(directory: &Path) -> Emulator {
    let options = Options {
        tls_directory: Some(directory.to_owned()),
        ..Options::default()
    };
    Emulator::start(account::default_model(), options).unwrap()
}

/// Returns the response by HTTPS, from a server with a certificate for `name`.
fn https(
    authority: &Path,
    address: SocketAddr,
    name: &str,
    bytes: &[u8],
) -> Result<Answer, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(authority).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(address)?);
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(Answer::read(&answer))
}

#[test]
fn both_protocols_are_served_on_one_port() {
    let folder = tempfile::tempdir().unwrap();
    // The directory is created.
    let emulator = start(&folder.path().join("tls"));
    let authority = emulator.authority_file().unwrap();
    assert!(authority.ends_with("tls/ca.pem"));
    let get = b"GET /_emulator/stats HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    // A connection that sends nothing does not delay others.
    let _idle = TcpStream::connect(emulator.sts_address()).unwrap();
    let plain = Answer::read(&raw(emulator.sts_address(), get));
    assert_eq!(plain.json()["sessions_live"], 0);
    for name in [
        "127.0.0.1",
        "::1",
        "localhost",
        "sts.aliyuncs.com",
        "sts.cn-hongkong.aliyuncs.com",
        "oss-cn-hongkong.aliyuncs.com",
        "www.example.com",
        "examplebucket.oss-cn-hongkong.aliyuncs.com",
        "otherbucket.localhost",
        "new.oss.localhost",
    ] {
        for address in [emulator.sts_address(), emulator.oss_address()] {
            let answer = https(authority, address, name, get);
            let refused = name == "www.example.com";
            assert_eq!(answer.is_err(), refused, "{name}: {answer:?}");
        }
    }
    let metadata = https(authority, emulator.imds_address(), "127.0.0.1", get);
    assert!(metadata.is_err(), "metadata has no HTTPS");
}

#[test]
fn authority_is_new_at_each_start_and_its_key_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let emulator = start(folder.path());
        seen.push(fs::read_to_string(emulator.authority_file().unwrap()).unwrap());
    }
    assert_ne!(seen[0], seen[1]);
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1);
    assert!(!seen[1].contains("PRIVATE"));
    let blocked = folder.path().join("ca.pem");
    let options = Options {
        tls_directory: Some(blocked),
        ..Options::default()
    };
    let error = Emulator::start(account::default_model(), options).unwrap_err();
    assert!(error.to_string().starts_with("cannot write "), "{error}");
}

#[test]
fn signed_calls_are_made_by_https() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    let emulator = kit::TestEmulator {
        server: start(folder.path()),
        clock: clock.clone(),
    };
    // The server's clock is the system's, because a certificate is checked against that.
    let now: jiff::Timestamp = http_date(&emulator).parse().unwrap();
    clock.advance(now.duration_since(clock.now()).unsigned_abs());
    let authority = emulator.server.authority_file().unwrap();
    let bytes = Call::assume(&emulator, UPLOAD).bytes();
    let answer = https(authority, emulator.sts(), "127.0.0.1", &bytes).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let session = emulator.session(UPLOAD, None);
    let bytes = Oss::new(&emulator, &session).bytes("PUT", "/examplebucket/k", &[], b"x");
    let answer = https(authority, emulator.oss(), "127.0.0.1", &bytes).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Returns the time of the server in ISO 8601.
fn http_date(emulator: &kit::TestEmulator) -> String {
    let answer = emulator.control("GET", "stats", "");
    let date = answer.header("date").unwrap();
    let parsed = jiff::fmt::rfc2822::parse(date).unwrap();
    parsed.timestamp().to_string()
}
