//! An OCI registry over HTTP: a client and a server, each a registry on one side.
//!
//! [`Client`] is a [`Registry`](skep_registry::Registry) that lives on the other side of HTTP. [`Server`]
//! is a tower service that offers any registry over HTTP, that of another client for instance: then it is
//! a proxy.
//!
//! ```
//! use std::sync::Arc;
//!
//! use skep_http::Client;
//! use skep_http::ClientOptions;
//! use skep_http::Server;
//! use skep_registry::Memory;
//! use skep_registry::RegistryExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let host = listener.local_addr()?.to_string();
//! let server = Server::new(Arc::new(Memory::default()));
//! tokio::spawn(skep_http::serve(listener, server, std::future::pending()));
//!
//! let client = Client::new(&host, ClientOptions::default())?;
//! let repo = "library/greetings".parse()?;
//! let blob = client.write_blob(&repo, "hello".into()).await?;
//! assert_eq!(client.read_blob(&repo, &blob.digest, 1 << 20).await?, "hello");
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "client")]
mod auth;
#[cfg(any(feature = "client", feature = "server"))]
mod body;
#[cfg(feature = "client")]
mod client;
#[cfg(any(feature = "client", feature = "server"))]
#[cfg_attr(not(all(feature = "client", feature = "server")), allow(dead_code, reason = "each side uses its half"))]
mod endpoint;
#[cfg(all(any(fuzzing, test), feature = "client", feature = "server"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "client")]
mod mirrors;
#[cfg(feature = "client")]
mod probe;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(any(feature = "client", feature = "server"))]
#[cfg_attr(not(all(feature = "client", feature = "server")), allow(dead_code, reason = "each side uses its half"))]
mod wire;

#[cfg(feature = "client")]
pub use auth::Credential;
#[cfg(feature = "client")]
pub use auth::Credentials;
#[cfg(feature = "client")]
pub use auth::DockerConfig;
#[cfg(feature = "client")]
pub use auth::DockerLogin;
#[cfg(feature = "client")]
pub use auth::Found;
#[cfg(feature = "client")]
pub use auth::Kept;
#[cfg(feature = "client")]
pub use auth::OnlyFor;
#[cfg(feature = "client")]
pub use auth::Scope;
#[cfg(feature = "client")]
pub use client::Client;
#[cfg(feature = "client")]
pub use client::ClientOptions;
#[cfg(feature = "client")]
pub use client::base_url;
#[cfg(feature = "client")]
pub use client::proxies::Proxies;
#[cfg(feature = "client")]
pub use client::resource::Resource;
#[cfg(feature = "client")]
pub use client::retry::RetryOptions;
#[cfg(feature = "client")]
pub use client::settings::Pem;
#[cfg(feature = "client")]
pub use client::settings::Settings;
#[cfg(feature = "client")]
pub use client::trouble::Trouble;
#[cfg(feature = "client")]
pub use client::warning::OnWarning;
#[cfg(feature = "client")]
pub use mirrors::Mirrors;
#[cfg(feature = "client")]
pub use probe::Finding;
#[cfg(feature = "client")]
pub use probe::Grade;
#[cfg(feature = "client")]
pub use probe::Probe;
#[cfg(feature = "client")]
pub use probe::ProbeOptions;
#[cfg(feature = "client")]
pub use probe::Report;
#[cfg(feature = "server")]
pub use server::ResponseBody;
#[cfg(feature = "server")]
pub use server::Server;
#[cfg(feature = "server")]
pub use server::ServerOptions;
#[cfg(feature = "server")]
pub use server::serve;
