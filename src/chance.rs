//! Chance as a value: ids and jitter come from one generator, which a test can seed.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

/// A generator of random values. Clones share its state.
#[derive(Clone, Debug)]
pub struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    /// A generator seeded by the operating system.
    #[must_use]
    pub fn from_os() -> Self {
        Self(Arc::new(Mutex::new(rand::make_rng())))
    }

    /// A generator whose values follow from `seed`.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// 64 random bits.
    #[must_use]
    pub fn bits(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    /// A random id (version 4), unique for all practical purposes.
    #[must_use]
    pub fn id(&self) -> Uuid {
        let bits = (u128::from(self.bits()) << 64) | u128::from(self.bits());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    /// An id that sorts by time (version 7), for a run that begins at `now`.
    #[must_use]
    pub fn id_at(&self, now: DateTime<Utc>) -> Uuid {
        let millis = now.timestamp_millis().try_into().unwrap_or(0);
        let random = (u128::from(self.bits()) << 64) | u128::from(self.bits());
        let bytes = random.to_be_bytes();
        let tail = bytes.first_chunk().expect("16 bytes hold 10");
        uuid::Builder::from_unix_timestamp_millis(millis, tail).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time() {
        let chance = Chance::seeded(7);
        let early = chance.id_at("2026-01-01T00:00:00Z".parse().unwrap());
        let late = chance.id_at("2026-01-01T00:00:01Z".parse().unwrap());
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.get_version_num(), 7);
    }
}
