//! Origins: where addresses that come from outside may lead a client.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::Addrs;
use reqwest::dns::Name;
use reqwest::dns::Resolve;
use reqwest::dns::Resolving;
use skep_registry::Code;
use skep_registry::Error;
use url::Host;
use url::Url;

use crate::client::send::place;

/// The URL that an address from outside names: a realm, a redirect, a Location, a Link, a foreign URL of a blob.
///
/// `base` is the registry, `from` is where the address came from. User and password of the address are left out.
///
/// # Errors
/// Words that say where it leads, when that is not by TLS as the way there was, or an address that has no business
/// to be named by a registry that is elsewhere.
pub(crate) fn checked(base: &Url, from: &Url, address: &str) -> Result<Url, String> {
    let Ok(mut target) = from.join(address) else { return Err("a malformed URL".to_owned()) };
    match (from.scheme(), target.scheme()) {
        (_, "https") => {}
        ("http", "http") if base.scheme() == "http" => {}
        _ => return Err(format!("{}, which is not reached by https", place(&target))),
    }
    let is_own = base.host() == target.host();
    let allowed = match reach(&target) {
        Reach::Everyone => true,
        Reach::Nearby => is_own || reach(base) == Reach::Nearby,
        Reach::Nobody => is_own,
    };
    if !allowed {
        return Err(format!("{}, an address of an inner network", place(&target)));
    }
    let _ = (target.set_username(""), target.set_password(None));
    Ok(target)
}

/// Who can reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Everyone,
    /// This machine and those around it.
    Nearby,
    /// Not meant to be named: metadata of clouds, forms that hide another address, what is not of one machine.
    Nobody,
}

fn reach(url: &Url) -> Reach {
    match url.host() {
        Some(Host::Domain(name)) => reach_of_name(name),
        Some(Host::Ipv4(ip)) => reach_of_v4(ip),
        Some(Host::Ipv6(ip)) => reach_of_v6(ip),
        None => Reach::Nobody,
    }
}

fn reach_of_name(name: &str) -> Reach {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_or_is_in =
        |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    match name.as_str() {
        "metadata" | "metadata.google.internal" | "" => Reach::Nobody,
        "ip6-localhost" | "ip6-loopback" => Reach::Nearby,
        _ if is_or_is_in("localhost") || is_or_is_in("localhost.localdomain") => Reach::Nearby,
        _ => Reach::Everyone,
    }
}

/// IANA's registry of special addresses (RFC 6890).
fn reach_of_v4(ip: Ipv4Addr) -> Reach {
    match ip.octets() {
        [127, ..] | [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Reach::Nearby,
        [0, ..] | [169, 254, ..] | [100, 64..=127, ..] | [192, 0, 0, _] | [192, 88, 99, _] => Reach::Nobody,
        [198, 18..=19, ..] | [224..=255, ..] => Reach::Nobody,
        _ => Reach::Everyone,
    }
}

fn reach_of_v6(ip: Ipv6Addr) -> Reach {
    if let Some(ip) = ip.to_ipv4_mapped() {
        // A registry that is nearby may be named so; nothing else has a reason to be.
        return if reach_of_v4(ip) == Reach::Everyone { Reach::Everyone } else { Reach::Nobody };
    }
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] | [0xfc00..=0xfdff, ..] => Reach::Nearby,
        // Unspecified, and IPv4 in a form of old.
        [0, 0, 0, 0, 0, 0, ..] => Reach::Nobody,
        // NAT64 (RFC 6052, RFC 8215), Teredo, 6to4: each has an IPv4 address within.
        [0x64, 0xff9b, ..] | [0x2001, 0, ..] | [0x2002, ..] => Reach::Nobody,
        // Discarded, link-local, site-local, multicast.
        [0x100, 0, 0, 0, ..] | [0xfe80..=0xfeff, ..] | [0xff00..=0xffff, ..] => Reach::Nobody,
        _ => Reach::Everyone,
    }
}

/// Looks names up, and refuses those of strangers that turn out to be nearby.
///
/// A name is checked when it is read and could be another machine's when it is used (DNS rebinding), so what
/// counts is the address that is connected to.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    base: Arc<Url>,
    /// Hosts that nobody but the user has named: proxies.
    trusted: Arc<Vec<String>>,
}

impl Guard {
    pub(crate) fn new(base: Url, trusted: Vec<String>) -> Self {
        Self { base: Arc::new(base), trusted: Arc::new(trusted) }
    }

    async fn look_up(self, name: String) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let found = look_up(&name).await?;
        let is_trusted = self.base.host_str() == Some(&name) || self.trusted.contains(&name);
        if is_trusted || !found.iter().any(is_inside) {
            return Ok(found);
        }
        // Where the registry is, there may be its token server.
        let is_near = match self.base.host() {
            Some(Host::Domain(host)) => look_up(host).await.is_ok_and(|found| found.iter().any(is_inside)),
            _ => reach(&self.base) != Reach::Everyone,
        };
        match is_near {
            true => Ok(found),
            false => Err(Error::new(Code::Unsupported, format!("{name} is an address of an inner network")).into()),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move { Ok(Box::new(this.look_up(name.as_str().to_owned()).await?.into_iter()) as Addrs) })
    }
}

async fn look_up(name: &str) -> io::Result<Vec<SocketAddr>> {
    // The port of the URL takes the place of 0.
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

fn is_inside(address: &SocketAddr) -> bool {
    let reach = match address.ip() {
        IpAddr::V4(ip) => reach_of_v4(ip),
        IpAddr::V6(ip) => reach_of_v6(ip),
    };
    reach != Reach::Everyone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_only_to_where_a_client_should_go() {
        for (base, from, address, want) in [
            ("https://r.example.com", "/v2/", "/v2/x?a=b", Some("https://r.example.com/v2/x?a=b")),
            ("https://r.example.com", "/v2/", "x", Some("https://r.example.com/v2/x")),
            ("https://r.example.com", "/", "https://cdn.example.com/x?sig=y", Some("https://cdn.example.com/x?sig=y")),
            ("https://r.example.com", "/", "//cdn.example.com/x", Some("https://cdn.example.com/x")),
            ("https://r.example.com", "/", "https://a:b@cdn.example.com/x", Some("https://cdn.example.com/x")),
            ("https://r.example.com", "/", "http://r.example.com/x", None),
            ("https://r.example.com", "/", "ftp://r.example.com/x", None),
            ("https://r.example.com", "/", "file:///etc/passwd", None),
            ("https://r.example.com", "/", "https://", None),
            ("https://r.example.com", "/", "https://169.254.169.254/latest", None),
            ("https://r.example.com", "/", "https://localhost/x", None),
            ("https://r.example.com", "/", "https://203.0.113.7/x", Some("https://203.0.113.7/x")),
            ("http://r.example.com", "/", "http://cdn.example.com/x", Some("http://cdn.example.com/x")),
            ("http://r.example.com", "/", "https://r.example.com/x", Some("https://r.example.com/x")),
            ("http://r.example.com", "https://cdn.example.com", "http://cdn.example.com/x", None),
            ("http://10.0.0.1:5000", "/", "http://10.0.0.2/x", Some("http://10.0.0.2/x")),
            ("http://127.0.0.1:5000", "/", "http://[::1]:5001/x", Some("http://[::1]:5001/x")),
            ("http://10.0.0.1:5000", "/", "http://169.254.169.254/x", None),
            ("http://127.0.0.1:5000", "/", "http://0.0.0.0/x", None),
            ("http://169.254.1.1", "/", "http://169.254.1.1:81/x", Some("http://169.254.1.1:81/x")),
            ("http://169.254.1.1", "/", "http://169.254.1.2/x", None),
        ] {
            let base: Url = base.parse().unwrap();
            let got = checked(&base, &base.join(from).unwrap(), address);
            assert_eq!(got.as_ref().ok().map(Url::as_str), want, "{base} {from} {address} {got:?}");
        }
    }

    #[tokio::test]
    async fn names_of_strangers_are_not_nearby() {
        let guard = |base: &str, trusted: &[&str]| {
            Guard::new(base.parse().unwrap(), trusted.iter().map(ToString::to_string).collect())
        };
        for (base, trusted, want) in [
            ("https://203.0.113.1", &[][..], false),
            ("https://203.0.113.1", &["localhost"], true),
            ("https://localhost", &[], true),
            ("https://127.0.0.1", &[], true),
            ("https://10.0.0.1", &[], true),
        ] {
            assert_eq!(guard(base, trusted).look_up("localhost".to_owned()).await.is_ok(), want, "{base} {trusted:?}");
        }
    }
}
