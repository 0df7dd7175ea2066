//! Counts and times what happens, cheaply enough for every event: atomics only, read when asked.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;

/// How often something took how long, in buckets whose bounds grow by one factor.
///
/// Recording is two additions to atomics: no lock, no search for the bucket. Readers may see an
/// observation in its bucket before they see it in the sum; nobody minds.
#[derive(Debug)]
pub struct Histogram {
    first: u64,
    /// The factor is two to this.
    doublings: u32,
    /// One for each bound, and one for what lies above the last.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a histogram showed at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// The upper bound of each bucket in seconds, and how many lay at or below it.
    pub buckets: Vec<(f64, u64)>,
    pub count: u64,
    pub sum_seconds: f64,
}

impl Histogram {
    /// Buckets up to `first`, `first` · 2^`doublings`, and so on, `bounds` of them.
    #[must_use]
    pub fn new(first: Duration, doublings: u32, bounds: usize) -> Self {
        Self {
            first: nanos(first).max(1),
            doublings: doublings.max(1),
            counts: (0..=bounds).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// One more took so long.
    pub fn observe(&self, took: Duration) {
        let took = nanos(took);
        // The least n with took <= first · 2^n.
        let doubled = took
            .div_ceil(self.first)
            .max(1)
            .checked_next_power_of_two()
            .map_or(64, u64::trailing_zeros);
        let bucket = doubled.div_ceil(self.doublings) as usize;
        self.counts[bucket.min(self.counts.len() - 1)].fetch_add(1, Relaxed);
        self.sum.fetch_add(took, Relaxed);
    }

    /// What was recorded so far.
    #[must_use]
    pub fn times(&self) -> Times {
        let mut count = 0;
        let mut bound = self.first as f64 / 1e9;
        let mut buckets = Vec::with_capacity(self.counts.len());
        for counted in &self.counts {
            count += counted.load(Relaxed);
            buckets.push((bound, count));
            bound *= f64::from(1_u32 << self.doublings);
        }
        buckets.pop();
        Times {
            buckets,
            count,
            sum_seconds: self.sum.load(Relaxed) as f64 / 1e9,
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Counts by name, of so many names; all further ones share the rest's. Looking up a known name
/// takes no lock.
#[derive(Debug)]
pub struct Named<K, T> {
    most: usize,
    named: ArcSwap<HashMap<K, Arc<T>>>,
    rest: Arc<T>,
}

impl<K: Clone + Ord + Hash, T: Default> Named<K, T> {
    /// Room for `most` names.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            named: ArcSwap::default(),
            rest: Arc::default(),
        }
    }

    /// The counts of a name, or the rest's.
    pub fn of<Q>(&self, name: &Q) -> Arc<T>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let named = self.named.load();
        if let Some(counts) = named.get(name) {
            return Arc::clone(counts);
        }
        if named.len() >= self.most {
            return Arc::clone(&self.rest);
        }
        let counts = Arc::<T>::default();
        let before = self.named.rcu(|named| {
            let mut named = HashMap::clone(named);
            if named.len() < self.most && !named.contains_key(name) {
                named.insert(name.to_owned(), Arc::clone(&counts));
            }
            named
        });
        // Somebody else may have been first, or have taken the last place.
        match before.get(name) {
            Some(known) => Arc::clone(known),
            None if before.len() >= self.most => Arc::clone(&self.rest),
            None => counts,
        }
    }

    /// All named counts by name, and the rest's.
    #[must_use]
    pub fn all(&self) -> (Vec<(K, Arc<T>)>, Arc<T>) {
        let named = self.named.load();
        let mut all: Vec<(K, Arc<T>)> = named
            .iter()
            .map(|(name, counts)| (name.clone(), Arc::clone(counts)))
            .collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        (all, Arc::clone(&self.rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_lies_in_the_first_bucket_that_holds_it() {
        // From 1 µs on, each four times the one before: 1, 4, 16 µs.
        for (nanos, bucket) in [
            (0, 0),
            (1, 0),
            (1_000, 0),
            (1_001, 1),
            (4_000, 1),
            (4_001, 2),
            (16_000, 2),
            (16_001, 3),
            (u64::MAX, 3),
        ] {
            let histogram = Histogram::new(Duration::from_micros(1), 2, 3);
            histogram.observe(Duration::from_nanos(nanos));
            let times = histogram.times();
            let expected: Vec<u64> = (0..3).map(|at| u64::from(at >= bucket)).collect();
            let shown: Vec<u64> = times.buckets.iter().map(|(_, count)| *count).collect();
            assert_eq!(shown, expected, "{nanos}");
            assert_eq!(times.count, 1);
        }
    }

    #[test]
    fn bounds_and_sums_are_in_seconds() {
        let histogram = Histogram::new(Duration::from_millis(1), 1, 3);
        histogram.observe(Duration::from_millis(3));
        histogram.observe(Duration::from_secs(7));
        let times = histogram.times();
        assert_eq!(times.buckets, [(0.001, 0), (0.002, 0), (0.004, 1)]);
        assert_eq!((times.count, times.sum_seconds), (2, 7.003));
    }

    #[test]
    fn names_beyond_the_bound_share_one_place() {
        let named: Named<String, AtomicU64> = Named::new(2);
        for name in ["b", "a", "c", "a", "d"] {
            named.of(name).fetch_add(1, Relaxed);
        }
        let (all, rest) = named.all();
        let all: Vec<(&str, u64)> = all
            .iter()
            .map(|(name, count)| (name.as_str(), count.load(Relaxed)))
            .collect();
        assert_eq!(all, [("a", 2), ("b", 1)]);
        assert_eq!(rest.load(Relaxed), 2);
    }

    #[test]
    fn threads_that_meet_a_name_at_once_count_in_one_place() {
        let named: Named<String, AtomicU64> = Named::new(8);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for turn in 0..1_000 {
                        let name = format!("{}", turn % 10);
                        named.of(name.as_str()).fetch_add(1, Relaxed);
                    }
                });
            }
        });
        let (all, rest) = named.all();
        assert_eq!(all.len(), 8);
        assert!(all.iter().all(|(_, count)| count.load(Relaxed) == 400));
        assert_eq!(rest.load(Relaxed), 800);
    }
}
