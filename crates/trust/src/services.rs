//! Services: who certifies, logs and stamps signatures, given or chosen from a signing configuration.

use jiff::Timestamp;
use sigstore_trust_root::ServiceConfiguration;
use sigstore_trust_root::ServiceSelector;
use sigstore_trust_root::SigningConfig;
use sigstore_trust_root::SigstoreInstance;
use sigstore_trust_root::signing_config::ServiceEndpoint;

use crate::error::Error;
use crate::error::Result;
use crate::witness::Log;
use crate::witness::LogVersion;
use crate::witness::Witnesses;

/// The services that sign with an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    pub(crate) fulcio: String,
    pub(crate) witnesses: Witnesses,
    issuer: Option<String>,
}

impl Services {
    /// Those of the public Sigstore, as of the release of this crate.
    ///
    /// # Errors
    /// `Trust` when their time is over, which needs a newer release or a signing configuration.
    pub fn sigstore() -> Result<Self> {
        let config = SigstoreInstance::PublicGood.embedded_signing_config().map_err(|error| failed(&error))?;
        Self::choose(&config.ok_or_else(|| failed(&"there is none"))?, Timestamp::now())
    }

    /// Those of a signing configuration, version 0.2, as everybody chooses them.
    ///
    /// Of the services whose time it is, the highest version that is known, the newest of each operator; then one
    /// (`ANY`), all (`ALL`) or as many as are wanted (`EXACT`).
    ///
    /// # Errors
    /// `Trust` when it is malformed; when it wants more logs or authorities than there are, or does not say how many;
    /// and when nobody would vouch for the time.
    pub fn from_signing_config(json: &str) -> Result<Self> {
        Self::choose(&parse(json)?, Timestamp::now())
    }

    /// A Fulcio and a Rekor of version 1, by their addresses.
    pub fn new(fulcio: &str, rekor: &str) -> Self {
        let witnesses = Witnesses::default().with_log(rekor);
        Self { fulcio: fulcio.to_owned(), witnesses, issuer: None }
    }

    /// Adds a timestamp authority, by the address that takes requests.
    pub fn with_timestamps(self, url: &str) -> Self {
        Self { witnesses: self.witnesses.with_timestamps(url), ..self }
    }

    /// Uses a Rekor of version 2 instead, which wants a timestamp authority too.
    pub fn with_rekor_tiles(self, url: &str) -> Self {
        let witnesses = Witnesses { logs: Vec::new(), ..self.witnesses }.with_log_tiles(url);
        Self { witnesses, ..self }
    }

    /// Who says there who one is: the issuer to log in at, if the configuration names one.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Who vouches for signatures there. Keys can have the same.
    pub fn witnesses(&self) -> &Witnesses {
        &self.witnesses
    }

    fn choose(config: &SigningConfig, now: Timestamp) -> Result<Self> {
        let one = ServiceConfiguration::default();
        let fulcio = select("authority of certificates", &config.ca_urls, &one, &[1], now)?;
        let issuer = match config.oidc_urls.is_empty() {
            true => None,
            false => {
                select("identity provider", &config.oidc_urls, &one, &[1], now)?.first().map(|one| one.url.clone())
            }
        };
        let fulcio =
            fulcio.first().map(|one| one.url.clone()).ok_or_else(|| failed(&"no authority of certificates"))?;
        let witnesses = witnesses(config, now)?;
        // A certificate is valid for minutes, so somebody has to say that it was when it signed.
        let is_timed = witnesses.logs.iter().any(|log| log.version == LogVersion::One);
        if !is_timed && witnesses.timestamps.is_empty() {
            return Err(failed(&"nobody vouches for the time: wanted a timestamp authority or a Rekor of version 1"));
        }
        Ok(Self { fulcio, witnesses, issuer })
    }
}

pub(crate) fn parse(json: &str) -> Result<SigningConfig> {
    SigningConfig::from_json(json).map_err(|error| failed(&error))
}

/// The logs and the authorities of a configuration. One that has none of a kind has no need of it.
pub(crate) fn witnesses(config: &SigningConfig, now: Timestamp) -> Result<Witnesses> {
    let mut witnesses = Witnesses::default();
    if !config.rekor_tlog_urls.is_empty() {
        let logs = select("transparency log", &config.rekor_tlog_urls, &config.rekor_tlog_config, &[2, 1], now)?;
        witnesses.logs.extend(logs.into_iter().map(|log| Log {
            url: log.url.clone(),
            version: if log.major_api_version == 2 { LogVersion::Two } else { LogVersion::One },
        }));
    }
    if !config.tsa_urls.is_empty() {
        let stamps = select("timestamp authority", &config.tsa_urls, &config.tsa_config, &[1], now)?;
        witnesses.timestamps.extend(stamps.into_iter().map(|stamp| stamp.url.clone()));
    }
    Ok(witnesses)
}

/// The services to use; `versions` with the best first.
fn select<'a>(
    what: &str,
    services: &'a [ServiceEndpoint],
    config: &ServiceConfiguration,
    versions: &[u32],
    now: Timestamp,
) -> Result<Vec<&'a ServiceEndpoint>> {
    let mut valid: Vec<_> = services.iter().filter(|service| service.valid_for.contains(now)).collect();
    valid.sort_by_key(|service| std::cmp::Reverse(service.valid_for.start));
    let version = versions.iter().find(|version| valid.iter().any(|service| service.major_api_version == **version));
    let Some(version) = version else {
        let why = format!("no {what} of version {versions:?} whose time it is, of {} there", services.len());
        return Err(failed(&why));
    };
    let mut chosen: Vec<&ServiceEndpoint> = Vec::new();
    for service in valid.into_iter().filter(|service| service.major_api_version == *version) {
        if !chosen.iter().any(|other| other.operator == service.operator) {
            chosen.push(service);
        }
    }
    let count = match config.selector {
        ServiceSelector::All => chosen.len(),
        ServiceSelector::Any => 1,
        ServiceSelector::Exact => config.count.unwrap_or(0) as usize,
        _ => return Err(failed(&format!("{what}: wanted ALL, ANY or EXACT, got {:?}", config.selector))),
    };
    if count == 0 || count > chosen.len() {
        let why = format!("{what}: wanted {count} of different operators, got {}", chosen.len());
        return Err(failed(&why));
    }
    chosen.truncate(count);
    Ok(chosen)
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::trust("signing configuration", error)
}
