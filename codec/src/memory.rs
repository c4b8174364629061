//! What is asked for again and again, within bounds.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Remembers what was put or asked for last: at least `FRESH` of it, and at the most twice as many.
pub(crate) struct Memory<K, V, const FRESH: usize>(Mutex<Kept<K, V>>);

struct Kept<K, V> {
    /// What came last.
    fresh: HashMap<K, V>,
    /// What came before that. It is fresh again once it is asked for.
    stale: HashMap<K, V>,
}

impl<K, V, const FRESH: usize> Default for Memory<K, V, FRESH> {
    fn default() -> Self {
        Self(Mutex::new(Kept { fresh: HashMap::new(), stale: HashMap::new() }))
    }
}

impl<K: Eq + Hash, V: Clone, const FRESH: usize> Memory<K, V, FRESH> {
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut kept = self.kept();
        if let Some(known) = kept.fresh.get(key) {
            return Some(known.clone());
        }
        let (key, known) = kept.stale.remove_entry(key)?;
        kept.put(key, known.clone(), FRESH);
        Some(known)
    }

    pub(crate) fn put(&self, key: K, value: V) {
        self.kept().put(key, value, FRESH);
    }

    fn kept(&self) -> MutexGuard<'_, Kept<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V> Kept<K, V> {
    fn put(&mut self, key: K, value: V, most: usize) {
        if self.fresh.len() >= most && !self.fresh.contains_key(&key) {
            self.stale = mem::take(&mut self.fresh);
        }
        self.fresh.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_lately_stays() {
        let memory = Memory::<u32, u32, 4>::default();
        for number in 0..100 {
            memory.put(number, number);
            assert_eq!(memory.get(&0), Some(0));
            let kept = memory.kept();
            assert!(kept.fresh.len() <= 4 && kept.stale.len() <= 4);
        }
        assert_eq!(
            (96..100).map(|number| memory.get(&number)).collect::<Vec<_>>(),
            (96..100).map(Some).collect::<Vec<_>>()
        );
        assert_eq!(memory.get(&50), None);
    }
}
