//! Queries: the parameters behind the question mark of a request.

use skep_registry::Code;
use skep_registry::Error;
use skep_registry::Page;
use skep_registry::Result;
use url::form_urlencoded;

use crate::wire;

/// The parameters of a request, decoded, in their order.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The first parameter of a name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The parameters of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Which part of a list is asked for, at most `max` items.
    ///
    /// # Errors
    /// `PAGINATION_NUMBER_INVALID`, 400, as other registries say it, when `n` is not a number.
    pub(super) fn page(&self, max: usize) -> Result<Page> {
        let limit = match self.get("n") {
            None => max,
            Some(n) => {
                let Some(n) = wire::number(n) else {
                    let code = Code::Other("PAGINATION_NUMBER_INVALID".to_owned());
                    return Err(Error::new(code, format!("n={n:?} is not a number")).with_status(400));
                };
                usize::try_from(n).unwrap_or(max).min(max)
            }
        };
        Ok(Page { limit: Some(limit), after: self.get("last").filter(|last| !last.is_empty()).map(str::to_owned) })
    }

    /// The query of the page that comes after, all other parameters as they are.
    pub(super) fn after(&self, last: &str) -> String {
        let others = self.0.iter().filter(|(key, _)| key != "last");
        form_urlencoded::Serializer::new(String::new()).extend_pairs(others).append_pair("last", last).finish()
    }
}
