//! Doubles for tests: registries that behave as others do, servers that fail as real ones do, links that are cut.

mod faulty;
mod link;
#[allow(clippy::result_large_err, reason = "a refusal is an answer, and as large as one")]
mod quirky;

pub use faulty::Exchange;
pub use faulty::Fault;
pub use faulty::Faulty;
pub use faulty::FaultyOptions;
pub use faulty::Rule;
pub use faulty::When;
pub use link::Link;
pub use link::LinkOptions;
pub use quirky::Quirky;
pub use quirky::asked::RequestBody;
pub use quirky::login::Login;
pub use quirky::login::TokenName;
pub use quirky::login::Tokens;
pub use quirky::profile::Chunks;
pub use quirky::profile::Deletes;
pub use quirky::profile::DigestHeader;
pub use quirky::profile::FreshRange;
pub use quirky::profile::Location;
pub use quirky::profile::NextLink;
pub use quirky::profile::Profile;
pub use quirky::profile::Referrers;
