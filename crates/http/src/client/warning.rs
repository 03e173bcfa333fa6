//! Warnings: what a registry wants people to read, each told once.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;

use http::HeaderMap;
use http::header;

use crate::wire;

/// A function that is called with each warning of a registry, the first time that it comes.
#[derive(Clone)]
pub struct OnWarning(Arc<dyn Fn(&str) + Send + Sync>);

impl OnWarning {
    /// Calls a function. It should return soon, because a request waits for it.
    pub fn new(call: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(call))
    }
}

impl fmt::Debug for OnWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnWarning(..)")
    }
}

/// The warnings of one registry.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    hook: Option<OnWarning>,
    told: Mutex<HashSet<String>>,
}

impl Warnings {
    pub(crate) fn new(hook: Option<OnWarning>) -> Self {
        Self { hook, told: Mutex::default() }
    }

    /// Tells what the headers of an answer warn of (spec, "Warnings").
    pub(crate) fn heed(&self, host: &str, headers: &HeaderMap) {
        let values = headers.get_all(header::WARNING).iter().filter_map(|value| value.to_str().ok());
        for text in values.flat_map(wire::parse_warnings) {
            {
                let mut told = self.told.lock().unwrap_or_else(|poison| poison.into_inner());
                if told.len() >= MAX_WARNINGS || !told.insert(text.clone()) {
                    continue;
                }
            }
            tracing::warn!(host, warning = text, "the registry warns");
            if let Some(OnWarning(call)) = &self.hook {
                call(&text);
            }
        }
    }
}

/// More than these nobody reads.
const MAX_WARNINGS: usize = 64;
