//! A map of bounded size that forgets what was used longest ago.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use tokio::time::Instant;

/// What was used of late.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    most: usize,
    kept: HashMap<K, (Instant, V)>,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            kept: HashMap::new(),
        }
    }

    /// What is kept under a key; it counts as used now.
    pub(super) fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (used, value) = self.kept.get_mut(key)?;
        *used = Instant::now();
        Some(value)
    }

    /// Keeps a value; of a full map, the half that was used longest ago goes.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.kept.len() >= self.most && !self.kept.contains_key(&key) {
            let mut used: Vec<Instant> = self.kept.values().map(|(used, _)| *used).collect();
            let middle = used.len() / 2;
            let middle = *used.select_nth_unstable(middle).1;
            self.kept.retain(|_, (used, _)| *used > middle);
        }
        self.kept.insert(key, (Instant::now(), value));
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        self.kept.retain(|_, (_, value)| keep(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_used_longest_ago_is_forgotten() {
        let mut recent = Recent::new(4);
        let tick = || tokio::time::advance(std::time::Duration::from_secs(1));
        for key in 0..4 {
            recent.insert(key, key * 10);
            tick().await;
        }
        assert_eq!(recent.get(&0), Some(&0));
        tick().await;
        recent.insert(3, 31);
        assert_eq!(recent.kept.len(), 4, "a known key takes no room");
        tick().await;
        recent.insert(4, 40);
        let mut keys: Vec<i32> = recent.kept.keys().copied().collect();
        keys.sort_unstable();
        assert_eq!(keys, [3, 4], "0 is the middle one, and goes too");
        recent.retain(|value| *value > 31);
        assert_eq!(recent.get(&3), None);
        assert_eq!(recent.get(&4), Some(&40));
    }
}
