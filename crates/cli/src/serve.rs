//! `skep serve`: a registry over a directory, or in memory.

mod config;

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use skep_http::Server;
use skep_http::ServerOptions;
use skep_registry::Layout;
use skep_registry::LayoutOptions;
use skep_registry::Memory;
use skep_registry::MemoryOptions;
use skep_registry::Registry;
use skep_registry::RepoName;
use tokio::net::TcpListener;

use crate::args::Global;
use crate::args::Serve;
use crate::config::Config;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;
use crate::output;

/// A directory of layouts; or one layout that another tool made, as a repository with the name of its directory.
pub(crate) fn layout_in(dir: &Path, options: LayoutOptions) -> Outcome<Layout> {
    if !dir.join("oci-layout").exists() {
        return Ok(Layout::tree(dir, options)?);
    }
    let full = std::fs::canonicalize(dir)?;
    let name = full.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let repo: RepoName = name.parse().map_err(|error| {
        Failure::from(error).hint(format!("{} is one OCI layout; serve the directory that it is in", dir.display()))
    })?;
    Ok(Layout::single(dir, repo, options)?)
}

/// Where to listen if nobody says.
const DEFAULT_ADDR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    addr: String,
    url: String,
}

pub(crate) async fn serve(global: &Global, reached: &Config, args: Serve, mut interrupt: Interrupt) -> Outcome {
    let allow_missing = args.allow_missing;
    let mut addr = args.addr;
    let (registry, place): (Arc<dyn Registry>, String) = if let Some(file) = &args.config {
        let configured = config::load(file, &reached.client())?;
        addr = addr.or(configured.addr);
        (configured.registry, file.display().to_string())
    } else if args.memory {
        (Arc::new(Memory::new(MemoryOptions { allow_missing })), "memory".to_owned())
    } else {
        (Arc::new(layout_in(&args.dir, LayoutOptions { allow_missing })?), args.dir.display().to_string())
    };
    let addr = addr.unwrap_or(DEFAULT_ADDR);
    if !addr.ip().is_loopback() && !args.open {
        let message = format!("{addr} can be reached from elsewhere, and this registry has no accounts");
        return Err(Failure::new(Exit::Usage, message).hint("say --open if everyone may read, write and delete"));
    }
    let listener = TcpListener::bind(addr).await.map_err(|error| {
        Failure::new(Exit::Network, format!("cannot listen at {addr}: {error}"))
            .hint("another server may be there; --addr 127.0.0.1:0 picks a free port")
    })?;
    let addr = listener.local_addr()?;
    // Connections are taken from here on, so this is the moment to say so.
    if global.json {
        output::json(&Answer { schema: "skep/serve/v1", addr: addr.to_string(), url: format!("http://{addr}") })?;
    } else {
        output::text(&format!("http://{addr}\n"))?;
        if !global.quiet {
            eprintln!("serving {} at {addr}; try: skep push DIR {addr}/NAME:TAG", output::escape(&place));
        }
    }
    let options = ServerOptions { verify: !args.no_verify, ..Default::default() };
    let server = Server::with_options(registry, options);
    skep_http::serve(listener, server, interrupt.came()).await?;
    if !global.quiet && !global.json {
        eprintln!("stopped");
    }
    Ok(())
}
