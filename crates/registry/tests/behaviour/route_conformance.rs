//! Routes, with filters before and behind them: the promises of the trait cannot tell that they are there.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::sync::Arc;
use std::time::Duration;

use skep_registry::LimitOptions;
use skep_registry::Memory;
use skep_registry::Names;
use skep_registry::Registry;
use skep_registry::RegistryExt;
use skep_registry::RepoName;
use skep_registry::Routed;
use skep_registry::Routes;
use skep_registry::guarded;
use skep_registry::idle_timeout;
use skep_registry::limited;
use skep_registry::prefixed;
use skep_registry::traced;

mod a_prefix {
    use super::*;

    skep_registry::conformance_tests!((prefixed(neighbourhood().await, repo("te/am")), ()));
}

mod three_routes {
    use super::*;

    skep_registry::conformance_tests!({
        let registry = || Arc::new(Memory::default()) as Arc<dyn Registry>;
        let routes =
            [(Names::One(repo("a")), registry()), (Names::Beneath(repo("a")), registry()), (Names::All, registry())];
        (Routed::new(Routes::new(routes)), ())
    });
}

mod a_tenant_five_deep {
    use super::*;

    skep_registry::conformance_tests!({
        let inner: Arc<dyn Registry> = Arc::new(limited(neighbourhood().await, LimitOptions::default()));
        let inner = prefixed(idle_timeout(inner, Duration::from_secs(60)), repo("te/am"));
        (traced(guarded(inner, |_| Ok(()))), ())
    });
}

/// A registry with repositories whose names are much like `te/am`.
async fn neighbourhood() -> Memory {
    let memory = Memory::default();
    for name in ["te", "te/a", "te/am", "te/am-a/b", "te/am.a", "te/ama", "te/an/a", "a", "z"] {
        memory.write_blob(&repo(name), "hello".into()).await.unwrap();
    }
    memory
}

fn repo(name: &str) -> RepoName {
    name.parse().unwrap()
}
