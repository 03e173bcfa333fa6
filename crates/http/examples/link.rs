//! A far and thin line to a server on this machine, for trying things out: `link HOST:PORT [DELAY-MS [BYTES-A-SECOND]]`.
//!
//! It prints the address of its near end, and when its standard input ends, how much has passed.

use std::time::Duration;

use skep_http::testing::Link;
use skep_http::testing::LinkOptions;
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let target = words.next().ok_or("wanted HOST:PORT [DELAY-MS [BYTES-A-SECOND]]")?;
    let delay = Duration::from_millis(words.next().map_or(Ok(0), |word| word.parse())?);
    let bandwidth = words.next().map(|word| word.parse()).transpose()?;
    let link = Link::to(&target, LinkOptions { delay, bandwidth, ..Default::default() }).await?;
    println!("{}", link.host());
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    println!("{} connections, {} bytes up, {} bytes down", link.connections(), link.up(), link.down());
    Ok(())
}
