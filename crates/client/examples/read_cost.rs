//! Measures the time of a read of a watched value, by one thread and by several at once. The only
//! peer is a built-in daemon with one session.
//!
//! `cargo run --release -p stsd-client --features tokio --example read_cost`

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::{
    env, fs,
    hint::black_box,
    io::{self, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    process, thread,
    time::Instant,
};

use stsd_client::{AsyncClient, Credentials, SecretText, Watched};
use stsd_wire::{HEADER, Message as _, Reply, Request, VERSION, message_length};

fn main() -> io::Result<()> {
    let reads = env::args().nth(1).and_then(|it| it.parse().ok());
    let reads = reads.unwrap_or(20_000_000);
    let path = env::temp_dir().join(format!("stsd-read-cost-{}.sock", process::id()));
    let listener = UnixListener::bind(&path)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Requests other than `Watch` get no reply.
            thread::spawn(move || serve(stream));
        }
    });
    // The runtime is driven until the first session arrives, which is valid for an hour.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let watched = runtime.block_on(async {
        let watched = AsyncClient::at(&path).watch("any");
        let ready = watched.ready().await.map(drop);
        ready.map(|()| watched).map_err(io::Error::other)
    })?;
    fs::remove_file(&path)?;
    for threads in [1, 2, 4] {
        // A write on either side, so that strace shows what is in between.
        println!("{threads} at once");
        let own = |mut watched: Watched| read(reads, || black_box(&mut watched).latest().is_some());
        println!("{:.1} ns a read", measure(&watched, threads, own));
        let shared = |watched: Watched| read(reads, || black_box(&watched).current().is_some());
        println!("{:.1} ns a shared read", measure(&watched, threads, shared));
    }
    Ok(())
}

/// Returns how long a read takes, in nanoseconds, as the slowest of the threads sees it.
fn measure(watched: &Watched, threads: usize, read: impl Fn(Watched) -> f64 + Sync) -> f64 {
    if threads == 1 {
        return read(watched.clone());
    }
    thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| read(watched.clone())))
            .collect();
        let each = readers.into_iter().filter_map(|it| it.join().ok());
        each.fold(0.0, f64::max)
    })
}

#[expect(clippy::disallowed_methods, reason = "what is measured is time awake")]
fn read(reads: u32, mut once: impl FnMut() -> bool) -> f64 {
    let began = Instant::now();
    let mut there = 0;
    for _ in 0..reads {
        there += u32::from(once());
    }
    let nanoseconds = began.elapsed().as_nanos() as f64 / f64::from(reads);
    assert_eq!(there, reads, "the session lives for an hour");
    nanoseconds
}

fn serve(mut stream: UnixStream) -> io::Result<()> {
    let _hello = request(&mut stream)?;
    let Request::Watch { .. } = request(&mut stream)? else {
        return Ok(());
    };
    let session = Reply::Credentials(Credentials {
        access_key_id: "STS.Example".to_owned(),
        access_key_secret: SecretText::from("example".to_owned()),
        security_token: SecretText::from("example".to_owned()),
        expiration_unix_seconds: 3600,
        issued_unix_seconds: 0,
    });
    for reply in [Reply::Hello { version: VERSION }, session] {
        stream.write_all(&reply.frame().map_err(io::Error::other)?)?;
    }
    // Until the client leaves.
    stream.read(&mut [0]).map(drop)
}

fn request(stream: &mut UnixStream) -> io::Result<Request> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header)?;
    let length = message_length(header).map_err(io::Error::other)?;
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Request::decode(&message).map_err(io::Error::other)
}
