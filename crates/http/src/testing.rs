//! Doubles for tests: servers that fail as real ones do, and links that are cut.

mod faulty;
mod link;

pub use faulty::Exchange;
pub use faulty::Fault;
pub use faulty::Faulty;
pub use faulty::FaultyOptions;
pub use faulty::Rule;
pub use faulty::When;
pub use link::Link;
pub use link::LinkOptions;
