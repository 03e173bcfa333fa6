//! Puts a registry behind a server, a client behind that, and a server behind the client: a proxy in one line.

use std::sync::Arc;

use futures_util::TryStreamExt;
use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Server;
use skep_registry::Memory;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use tokio::net::TcpListener;

/// Offers a registry on loopback, and gives a client of it.
async fn over_http(registry: Arc<dyn Registry>) -> Result<Arc<dyn Registry>, Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let host = listener.local_addr()?.to_string();
    tokio::spawn(skep_http::serve(listener, Server::new(registry), std::future::pending()));
    Ok(Arc::new(Client::new(&host, ClientOptions::default())?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let memory = Memory::default();
    let proxy = over_http(over_http(Arc::new(memory.clone())).await?).await?;

    let repo = "library/greetings".parse()?;
    let blob = proxy.write_blob(&repo, "hello through two servers".into()).await?;

    // What went in at one end is there at the other, and the other way round.
    println!("{:?}", memory.read_blob(&repo, &blob.digest, 1 << 20).await?);
    let repos: Vec<_> = proxy.repos().try_collect().await?;
    println!("{repos:?}");
    Ok(())
}
