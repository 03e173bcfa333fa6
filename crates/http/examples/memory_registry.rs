//! Serves a registry that lives in memory: `memory_registry 5000`.

use std::error::Error;
use std::sync::Arc;

use skep_http::Server;
use skep_registry::Memory;
use skep_registry::MemoryOptions;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("usage: memory_registry PORT")?.parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    let registry = Memory::new(MemoryOptions { allow_missing: true });
    let shutdown = async {
        // Without signals there is no end but the process's own.
        let _ = tokio::signal::ctrl_c().await;
    };
    skep_http::serve(listener, Server::new(Arc::new(registry)), shutdown).await?;
    Ok(())
}
