//! Servers on loopback, for tests.

#![allow(dead_code, reason = "each test uses its part of this")]
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;

use skep_http::Client;
use skep_http::ClientOptions;
use skep_http::Server;
use skep_registry::Memory;
use skep_registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A registry that is served until this is dropped.
pub(crate) struct Served {
    pub(crate) host: String,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn new(registry: Arc<dyn Registry>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let task = tokio::spawn(async move {
            skep_http::serve(listener, Server::new(registry), std::future::pending()).await.unwrap();
        });
        Self { host, task }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.host, ClientOptions::default()).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn memory() -> Served {
    Served::new(Arc::new(Memory::default())).await
}
