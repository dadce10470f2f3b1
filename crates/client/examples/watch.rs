//! Follows a profile: a line for each session, and one for each second without any.
//!
//! `cargo run -p stsd-client --features tokio --example watch -- oss-upload`

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::{env, time::Duration};

use stsd_client::AsyncClient;
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let profile = env::args().nth(1).unwrap_or_else(|| "default".to_owned());
    let mut watched = AsyncClient::from_environment().watch(&profile);
    loop {
        tokio::select! {
            Some(current) = watched.changed() => {
                let seconds = current.remaining().as_secs();
                println!("{} for {seconds} s", current.access_key_id);
            }
            () = sleep(Duration::from_secs(1)) => {
                if watched.current().is_none() {
                    let failure = watched.failure().map(|it| it.to_string());
                    println!("nothing: {}", failure.as_deref().unwrap_or("not yet"));
                }
            }
        }
    }
}
