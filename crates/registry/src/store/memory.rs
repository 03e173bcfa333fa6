//! A store of values in memory, for tests and for processes that have no directory.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use async_trait::async_trait;
use bytes::Bytes;

use crate::store::CacheStore;
use crate::store::key::Key;

/// A bounded [`CacheStore`] in memory. Clones share their content.
#[derive(Clone)]
pub struct MemoryStore {
    max_bytes: usize,
    values: Arc<Mutex<Values>>,
}

#[derive(Default)]
struct Values {
    by_key: HashMap<Key, (Bytes, u64)>,
    /// Keys by the time of their last use, as it is counted here.
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

impl MemoryStore {
    /// An empty store of values of `max_bytes` bytes together, their keys not counted.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, values: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Values> {
        // A panic while the lock was held can only have come from an allocation; the maps are whole.
        self.values.lock().unwrap_or_else(|poison| poison.into_inner())
    }
}

impl Values {
    fn remove(&mut self, key: &Key) -> Option<Bytes> {
        let (value, used) = self.by_key.remove(key)?;
        self.by_use.remove(&used);
        self.bytes -= value.len();
        Some(value)
    }

    fn insert(&mut self, key: Key, value: Bytes) {
        self.uses += 1;
        self.bytes += value.len();
        self.by_use.insert(self.uses, key.clone());
        self.by_key.insert(key, (value, self.uses));
    }
}

#[async_trait]
impl CacheStore for MemoryStore {
    async fn get(&self, key: &Key) -> Option<Bytes> {
        let mut values = self.lock();
        let value = values.remove(key)?;
        values.insert(key.clone(), value.clone());
        Some(value)
    }

    async fn has(&self, key: &Key) -> bool {
        self.lock().by_key.contains_key(key)
    }

    async fn put(&self, key: &Key, value: Bytes) {
        if !key.accepts(&value) || value.len() > self.max_bytes {
            return;
        }
        let mut values = self.lock();
        values.remove(key);
        values.insert(key.clone(), value);
        while values.bytes > self.max_bytes {
            let Some((_, oldest)) = values.by_use.pop_first() else { break };
            values.remove(&oldest);
        }
    }

    async fn remove(&self, key: &Key) {
        self.lock().remove(key);
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}
