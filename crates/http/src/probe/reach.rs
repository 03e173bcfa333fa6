//! Reaching a registry: name, connection, TLS, HTTP, and who it lets in.

use std::io;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::DigitallySignedStruct;
use rustls::SignatureScheme;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::verify_tls12_signature;
use rustls::crypto::verify_tls13_signature;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Result;
use url::Host;
use url::Url;

use crate::auth::Scope;
use crate::auth::challenge;
use crate::auth::challenge::Challenge;
use crate::client::send;
use crate::client::send::place;
use crate::endpoint::Endpoint;
use crate::probe::Log;
use crate::probe::Probe;
use crate::probe::Question;
use crate::wire;

/// How long each step may take.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) async fn look(probe: &Probe, whom: &str, log: &mut Log<'_>) -> Result<()> {
    let base = probe.client.base_url();
    if probe.has_proxy {
        let question = Question::new("dns", "nothing");
        log.note(question.skipped("requests go through a proxy, which finds the registry and connects to it"));
    } else {
        let address = connect(base, log).await?;
        if base.scheme() == "https" {
            tls(base, address, log).await?;
        }
    }
    let challenge = http(probe, log).await?;
    auth(probe, challenge, whom, log).await
}

async fn connect(base: &Url, log: &mut Log<'_>) -> Result<SocketAddr> {
    let unreached = |error: io::Error| Error::new(Code::Unavailable, place(base)).with_source(error);
    let port = base.port_or_known_default().unwrap_or(443);
    let addresses: Vec<SocketAddr> = match base.host() {
        Some(Host::Ipv4(ip)) => vec![(ip, port).into()],
        Some(Host::Ipv6(ip)) => vec![(ip, port).into()],
        Some(Host::Domain(name)) => {
            let question = Question::new("dns", format!("looked up {name}"));
            match in_time(tokio::net::lookup_host((name, port))).await {
                Ok(found) => {
                    let found: Vec<_> = found.collect();
                    let shown: Vec<_> = found.iter().map(|address| address.ip().to_string()).collect();
                    log.note(question.good(shown.join(", ")));
                    found
                }
                Err(error) => {
                    let error = unreached(error);
                    log.note(question.broken(&error));
                    return Err(error);
                }
            }
        }
        None => Vec::new(),
    };
    let question = Question::new("tcp", format!("connected to port {port}"));
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match in_time(tokio::net::TcpStream::connect(address)).await {
            Ok(_) => {
                log.note(question.good(address.to_string()));
                return Ok(address);
            }
            Err(error) => last = error,
        }
    }
    let error = unreached(last);
    log.note(question.broken(&error));
    Err(error)
}

async fn in_time<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(TIMEOUT, what).await {
        Ok(done) => done,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing came within {TIMEOUT:?}"))),
    }
}

/// Looks at what TLS comes about. Whether the certificate is trusted is for the connection that is used later.
async fn tls(base: &Url, address: SocketAddr, log: &mut Log<'_>) -> Result<()> {
    let question = Question::new("tls", "shook hands, whoever it is");
    let name = base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let shaken = tokio::task::spawn_blocking(move || handshake(address, name)).await;
    match shaken.unwrap_or_else(|_| Err(io::Error::other("the handshake was cancelled"))) {
        Ok(words) => {
            log.note(question.good(words));
            Ok(())
        }
        Err(error) => {
            let error = Error::new(Code::Unavailable, place(base)).with_source(error);
            log.note(question.broken(&error));
            Err(error)
        }
    }
}

/// Shakes hands, and says what came about: `TLS 1.3, h2, TLS13_AES_128_GCM_SHA256, 2 certificates`.
fn handshake(address: SocketAddr, name: String) -> io::Result<String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let config = config.map_err(io::Error::other)?.dangerous();
    let mut config = config.with_custom_certificate_verifier(Arc::new(Anyone(provider))).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let mut tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut tcp = TcpStream::connect_timeout(&address, TIMEOUT)?;
    tcp.set_read_timeout(Some(TIMEOUT))?;
    tcp.set_write_timeout(Some(TIMEOUT))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    let version = match tls.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "another version of TLS",
    };
    let protocol = tls.alpn_protocol().map_or_else(|| "no protocol named".into(), String::from_utf8_lossy);
    let suite = tls.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
    let certificates = tls.peer_certificates().map_or(0, <[_]>::len);
    Ok(format!("{version}, {protocol}, {suite}, certificates sent: {certificates}"))
}

/// Takes any certificate, on a connection that nothing is sent over.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Asks for nothing in particular, as nobody, and gives the challenge that comes.
async fn http(probe: &Probe, log: &mut Log<'_>) -> Result<Option<Challenge>> {
    let client = &probe.client;
    let url = client.url(&Endpoint::Base);
    let request = send::Request::get(url.clone(), Scope::new(""));
    let question = Question::new("http", format!("GET {}", url.path()));
    let headers = client.transport().headers().clone();
    let response = match client.send_once(&request, &url, headers).await {
        Ok(response) => response,
        Err(error) => {
            log.note(question.broken(&error));
            return Err(error);
        }
    };
    let mut came = format!("{} over {:?}", response.status(), response.version());
    if url.scheme() == "https" {
        let roots = client.transport().extra_roots();
        came += &match roots {
            0 => "; its certificate is trusted by the roots of the system".to_owned(),
            _ => format!("; its certificate is trusted by the roots of the system and {roots} that were set"),
        };
    }
    log.note(question.good(came));
    let question = Question::new("version", "looked for Docker-Distribution-Api-Version");
    log.note(match wire::text(response.headers(), &wire::API_VERSION) {
        Some(version) => question.good(version.to_owned()),
        None => question.copes("there is none", "does not look at it; the answer to /v2/ counts"),
    });
    Ok(challenge::choose(response.headers()))
}

async fn auth(probe: &Probe, challenge: Option<Challenge>, whom: &str, log: &mut Log<'_>) -> Result<()> {
    let question = Question::new("auth", format!("asked as {whom}"));
    let wants = match &challenge {
        None => "the registry does not ask who it is".to_owned(),
        Some(challenge) if challenge.is_bearer() => {
            let named = |name: &str, value: Option<&str>| value.map(|value| format!(", {name} {value}"));
            let parts = [named("realm", challenge.realm()), named("service", challenge.service())];
            format!("tokens{}", parts.into_iter().flatten().collect::<String>())
        }
        Some(_) => "basic authentication".to_owned(),
    };
    match probe.client.ping().await {
        Ok(()) => {
            log.note(question.good(format!("let in; {wants}")));
            Ok(())
        }
        Err(error) => {
            log.note(question.broken(&error));
            Err(error)
        }
    }
}
