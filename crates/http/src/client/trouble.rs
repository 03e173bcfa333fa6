//! Troubles: what people can do about a registry that does not let them in, from the error alone.

use std::error::Error as StdError;
use std::io;

use skep_registry::Code;
use skep_registry::Error;

use crate::client::answer::Asked;
use crate::client::retry::is_unknown_name;

/// Why a registry could not be spoken to, where more can be said than that it could not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// The certificate of the registry is over, or not yet good.
    CertificateExpired,
    /// The certificate of the registry is for another name.
    CertificateForOther,
    /// The registry speaks TLS, and was spoken to without.
    ExpectsTls,
    /// The registry wants to know who asks, and nobody in particular did.
    LoggedOut,
    /// There is no such host.
    NoSuchHost,
    /// The registry speaks no TLS, and was spoken to with it.
    NotTls,
    /// Nothing listens there.
    Refused,
    /// Nobody who is trusted signed the certificate of the registry: it is self-signed, or of a private authority.
    Untrusted,
    /// The registry wants a certificate of the client.
    WantsCertificate,
    /// The registry does not take the credentials.
    WrongCredential,
}

impl Trouble {
    /// Finds the trouble behind an error of a client; none if it is another kind, or not known.
    pub fn of(error: &Error) -> Option<Self> {
        let said = error.to_string().to_ascii_lowercase();
        // What Go's and nginx's servers answer to a request without TLS.
        if error.status() == 400 && (said.contains("to an https server") || said.contains("to https port")) {
            return Some(Self::ExpectsTls);
        }
        let first: &(dyn StdError + 'static) = error;
        let mut causes = std::iter::successors(Some(first), |cause| (*cause).source());
        let found = causes.find_map(|cause| Self::of_cause(cause, error.code()));
        // Only what was sent without TLS is answered so because there should be TLS.
        found.filter(|found| *found != Self::ExpectsTls || said.contains("http://"))
    }

    fn of_cause(cause: &(dyn StdError + 'static), code: &Code) -> Option<Self> {
        if let Some(asked) = cause.downcast_ref::<Asked>().filter(|_| *code == Code::Unauthorized) {
            return Some(if asked.is_anonymous() { Self::LoggedOut } else { Self::WrongCredential });
        }
        if let Some(error) = tls_error(cause) {
            return Self::of_tls(error);
        }
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return Some(Self::ExpectsTls);
        }
        let error = cause.downcast_ref::<io::Error>()?;
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Some(Self::Refused),
            _ => is_unknown_name(&error.to_string()).then_some(Self::NoSuchHost),
        }
    }

    fn of_tls(error: &rustls::Error) -> Option<Self> {
        use rustls::AlertDescription;
        use rustls::CertificateError;

        match error {
            rustls::Error::InvalidMessage(_) => Some(Self::NotTls),
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => Some(Self::WantsCertificate),
            rustls::Error::InvalidCertificate(error) => Some(match error {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::CertificateExpired,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::CertificateForOther
                }
                _ => Self::Untrusted,
            }),
            _ => None,
        }
    }

    /// What people can do about it. Settings are called by their names in a configuration file.
    pub fn advice(self) -> &'static str {
        match self {
            Self::CertificateExpired => "look at the clock of this machine; else the registry needs a new certificate",
            Self::CertificateForOther => {
                "use the host that the certificate is for; the registry may have several names"
            }
            Self::ExpectsTls => "the registry speaks TLS: write https:// before its host, or leave plain-http out",
            Self::LoggedOut => {
                "log in with `skep login HOST`, or `docker login HOST`: both keep credentials in the same place"
            }
            Self::NoSuchHost => "no name server knows this host: check it for typing errors",
            Self::NotTls => {
                "the registry speaks no TLS: write http:// before its host, or set plain-http = true for it, if \
                 everyone on the way may read and change everything"
            }
            Self::Refused => "nothing listens there: check the port, and whether the registry runs",
            Self::Untrusted => {
                "nobody whom this machine trusts signed the certificate: set ca = [\"FILE\"] for the registry, with the \
                 certificate of its authority or its own"
            }
            Self::WantsCertificate => "set client-certificate and client-key for the registry",
            Self::WrongCredential => {
                "check user and password, and log in anew with `skep login HOST`; some registries take only access \
                 tokens in place of the password. `skep auth status HOST` tells where the credentials come from"
            }
        }
    }
}

/// The error of TLS that an error is, or has within: errors of files and sockets do not give theirs as the source.
pub(crate) fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let within = || Some(error.downcast_ref::<io::Error>()?.get_ref()? as &(dyn StdError + 'static));
    error.downcast_ref().or_else(|| tls_error(within()?))
}
