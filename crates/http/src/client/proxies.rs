//! Proxies: servers that requests go through, as the environment names them.

use std::ffi::OsString;
use std::fmt;

/// The proxies that requests go through.
///
/// Addresses of this machine are never reached through one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The URL of the one for requests without TLS.
    pub http: Option<String>,
    /// The URL of the one for requests with TLS.
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached without one, separated by commas; `*` means all.
    pub none: String,
}

impl Proxies {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in small letters or in large ones.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// Reads the variables of an environment.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| variable(name)?.into_string().ok().filter(|text| !text.is_empty());
        let either = |small: &str| text(small).or_else(|| text(&small.to_ascii_uppercase()));
        // A web server hands the header `Proxy` of a request down as HTTP_PROXY (CVE-2016-5385).
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let http = if is_cgi { text("http_proxy") } else { either("http_proxy") };
        let all = either("all_proxy");
        Self {
            http: http.or_else(|| all.clone()),
            https: either("https_proxy").or(all),
            none: either("no_proxy").unwrap_or_default(),
        }
    }

    /// The proxies as the HTTP stack has them.
    pub(crate) fn build(&self) -> reqwest::Result<Vec<reqwest::Proxy>> {
        let none = reqwest::NoProxy::from_string(&format!("localhost,127.0.0.0/8,::1,{}", self.none));
        let http = self.http.as_ref().map(reqwest::Proxy::http);
        let https = self.https.as_ref().map(reqwest::Proxy::https);
        [http, https].into_iter().flatten().map(|proxy| Ok(proxy?.no_proxy(none.clone()))).collect()
    }
}

impl fmt::Debug for Proxies {
    /// Prints no secret: a proxy may be named with a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (http, https) = (self.http.is_some(), self.https.is_some());
        f.debug_struct("Proxies").field("http", &http).field("https", &https).field("none", &self.none).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_as_curl_and_go_read_them() {
        for (variables, http, https, none) in [
            (&[][..], None, None, ""),
            (&[("HTTP_PROXY", "a"), ("HTTPS_PROXY", "b"), ("NO_PROXY", "c")], Some("a"), Some("b"), "c"),
            (&[("http_proxy", "a"), ("HTTP_PROXY", "b")], Some("a"), None, ""),
            (&[("ALL_PROXY", "a"), ("https_proxy", "b")], Some("a"), Some("b"), ""),
            (&[("HTTP_PROXY", "")], None, None, ""),
            (&[("HTTP_PROXY", "evil"), ("REQUEST_METHOD", "GET")], None, None, ""),
            (&[("http_proxy", "good"), ("REQUEST_METHOD", "GET")], Some("good"), None, ""),
        ] {
            let got = Proxies::from_variables(|name| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into())
            });
            let want =
                Proxies { http: http.map(str::to_owned), https: https.map(str::to_owned), none: none.to_owned() };
            assert_eq!(got, want, "{variables:?}");
        }
    }
}
