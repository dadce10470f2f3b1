//! Asks for credentials once, without blocking, and says whose they are.
//!
//! `cargo run -p stsd-client --features tokio --example get -- oss-upload`

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::{env, time::Duration};

use stsd_client::{AsyncClient, Error};

const MINIMUM_LIFE: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let profile = env::args().nth(1).unwrap_or_else(|| "default".to_owned());
    let client = AsyncClient::from_environment();
    let answer = client.credentials(&profile, MINIMUM_LIFE, PATIENCE).await?;
    let short = if answer.short {
        ", for a short time"
    } else {
        ""
    };
    println!("{}{short}", answer.credentials.access_key_id);
    Ok(())
}
