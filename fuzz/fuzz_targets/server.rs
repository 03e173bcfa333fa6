//! Requests: a server over memory answers each with something that HTTP and the specification allow.
//!
//! Each line of the input is a request: method, target, and headers and a body between `|`.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use skep_http::Server;
use skep_registry::Memory;
use tower::ServiceExt;

fuzz_target!(|bytes: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let server = Server::new(Arc::new(Memory::default()));
        for line in bytes.split(|byte| *byte == b'\n').take(16) {
            let mut parts = line.split(|byte| *byte == b'|');
            let (Some(method), Some(target)) = (parts.next(), parts.next()) else { continue };
            let mut request = Request::builder().method(method).uri(target);
            let rest: Vec<&[u8]> = parts.collect();
            let (body, headers) = rest.split_last().map_or((&[][..], &[][..]), |(body, headers)| (*body, headers));
            for header in headers {
                if let Some(at) = header.iter().position(|byte| *byte == b':') {
                    request = request.header(&header[..at], &header[at + 1..]);
                }
            }
            let Ok(request) = request.body(Full::new(Bytes::copy_from_slice(body))) else { continue };
            let response = server.clone().oneshot(request).await.expect("the service does not fail");
            let status = response.status().as_u16();
            assert!((200..500).contains(&status), "{status}: {line:?}");
            let body = response.into_body().collect().await.expect("bodies from memory do not break off").to_bytes();
            if status >= 400 && !body.is_empty() {
                assert!(body.starts_with(b"{\"errors\":["), "{body:?}");
            }
        }
    });
});
