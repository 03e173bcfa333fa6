//! Filters that let everything through: the promises of the trait cannot tell that they are there.
#![cfg(feature = "conformance")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use skep_registry::Call;
use skep_registry::LimitOptions;
use skep_registry::Memory;
use skep_registry::Meter;
use skep_registry::Registry;
use skep_registry::Usage;
use skep_registry::guarded;
use skep_registry::idle_timeout;
use skep_registry::limited;
use skep_registry::metered;
use skep_registry::select;
use skep_registry::traced;

mod a_guard_that_admits_all {
    use super::*;

    skep_registry::conformance_tests!((guarded(Memory::default(), |_| Ok(())), ()));
}

mod a_selection_of_all {
    use super::*;

    skep_registry::conformance_tests!((select(Memory::default(), |_| true), ()));
}

mod one_call_at_a_time {
    use super::*;

    skep_registry::conformance_tests!((limited(Memory::default(), one_at_a_time()), ()));
}

mod an_idle_timeout {
    use super::*;

    skep_registry::conformance_tests!((idle_timeout(Memory::default(), Duration::from_secs(60)), ()));
}

mod a_trace {
    use super::*;

    skep_registry::conformance_tests!((traced(Memory::default()), ()));
}

mod a_meter {
    use super::*;

    skep_registry::conformance_tests!((metered(Memory::default(), Arc::new(Nobody)), ()));
}

mod five_deep {
    use super::*;

    skep_registry::conformance_tests!({
        let memory: Arc<dyn Registry> = Arc::new(Memory::default());
        let inner: Arc<dyn Registry> = Arc::new(limited(traced(memory), one_at_a_time()));
        let inner = metered(idle_timeout(inner, Duration::from_secs(60)), Arc::new(Nobody));
        (guarded(inner, |_| Ok(())), ())
    });
}

#[derive(Debug)]
struct Nobody;

impl Meter for Nobody {
    fn record(&self, _call: Call<'_>, _usage: &Usage) {}
}

fn one_at_a_time() -> LimitOptions {
    LimitOptions { concurrency: 1, per_second: NonZeroU32::new(1_000_000) }
}
