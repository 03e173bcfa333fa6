//! The promises of the trait, kept over HTTP: by a client of a server, and by a client of a proxy.

mod support;

mod over_memory {
    skep_registry::conformance_tests!({
        let server = crate::support::memory().await;
        (server.client(), server)
    });
}

mod over_a_proxy {
    skep_registry::conformance_tests!({
        let origin = crate::support::memory().await;
        let proxy = crate::support::Served::new(std::sync::Arc::new(origin.client())).await;
        (proxy.client(), (proxy, origin))
    });
}

mod over_a_layout {
    skep_registry::conformance_tests!({
        let dir = tempfile::tempdir().unwrap();
        let layout = skep_registry::Layout::tree(dir.path(), Default::default()).unwrap();
        let server = crate::support::Served::new(std::sync::Arc::new(layout)).await;
        (server.client(), (server, dir))
    });
}

mod over_an_old_registry {
    skep_registry::conformance_tests!({
        let server = crate::support::old_registry().await;
        (server.client(), server)
    });
}

mod over_a_registry_that_ignores_ranges {
    skep_registry::conformance_tests!({
        let odd = crate::support::odd::Odd { ignores_ranges: true, ..Default::default() };
        let server = crate::support::Served::new(std::sync::Arc::new(odd)).await;
        (server.client(), server)
    });
}
