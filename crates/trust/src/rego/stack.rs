//! A thread with a stack of its own: for what recurses as deeply as others nest.

use std::thread;

/// Runs something on a large stack, and gives its panic as an error.
pub(super) fn with_large_stack<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let thread = thread::Builder::new().name("rego".to_owned()).stack_size(STACK).spawn(run);
    let thread = thread.map_err(|error| format!("there is no thread to decide on: {error}"))?;
    thread.join().map_err(|_| "the interpreter failed; this is a bug of it".to_owned())
}

/// Bytes of addresses; memory is taken by what is used of it.
const STACK: usize = 256 << 20;
