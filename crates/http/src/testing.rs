//! Doubles for tests: servers that fail as real ones do.

mod faulty;

pub use faulty::Exchange;
pub use faulty::Fault;
pub use faulty::Faulty;
pub use faulty::FaultyOptions;
pub use faulty::Rule;
pub use faulty::When;
