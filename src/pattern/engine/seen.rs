//! Which entries an event has hit, and by which of its values.

use super::entry::EntryId;
use crate::pattern::consistency::Standing;

/// A small hash set that is empty again by counting one up.
#[derive(Debug)]
pub(super) struct Seen {
    slots: Vec<Slot>,
    hits: Vec<Hit>,
    len: usize,
    /// Slots of another event are empty.
    event: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    event: u32,
    id: EntryId,
    /// The last hit, plus one; 0 if none is known.
    hit: u32,
    outside: bool,
}

#[derive(Debug, Clone, Copy)]
struct Hit {
    value: u32,
    /// The hit before this one, plus one; 0 if there is none.
    before: u32,
}

const SLOTS: usize = 256;

/// Slots that are kept for the next event, at most.
const SLOTS_KEPT: usize = 16 * 1024;

impl Default for Seen {
    fn default() -> Self {
        Self {
            slots: vec![Slot::default(); SLOTS],
            hits: Vec::new(),
            len: 0,
            event: 1,
        }
    }
}

impl Seen {
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.hits.clear();
        self.event = self.event.wrapping_add(1);
        if self.event == 0 || self.slots.len() > SLOTS_KEPT {
            *self = Self::default();
        }
    }

    /// Notes a hit. True when it is the entry's first.
    #[inline]
    pub(super) fn hit(&mut self, id: EntryId, value: u32, outside: bool) -> bool {
        let last = self.hits.len() as u32 + 1;
        let (slot, is_new) = self.slot_mut(id);
        slot.outside |= outside;
        let before = std::mem::replace(&mut slot.hit, last);
        self.hits.push(Hit { value, before });
        is_new
    }

    /// Notes that an entry was come by, by no value of its own. True the first time.
    pub(super) fn mark(&mut self, id: EntryId) -> bool {
        self.slot_mut(id).1
    }

    /// How a clause stands that holds when the entry is hit.
    #[inline]
    pub(super) fn standing(&self, id: EntryId) -> Standing {
        let slot = self.slots[self.slot_of(id)];
        match (slot.event == self.event, slot.outside) {
            (false, _) => Standing::Fails,
            (true, false) => Standing::InElements,
            (true, true) => Standing::Free,
        }
    }

    /// The values that hit an entry.
    pub(super) fn values(&self, id: EntryId) -> impl Iterator<Item = u32> {
        let slot = self.slots[self.slot_of(id)];
        let mut next = if slot.event == self.event {
            slot.hit
        } else {
            0
        };
        std::iter::from_fn(move || {
            let hit = self.hits[next.checked_sub(1)? as usize];
            next = hit.before;
            Some(hit.value)
        })
    }

    /// Where the entry stands, or an empty slot.
    #[inline]
    fn slot_of(&self, id: EntryId) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = (id.wrapping_mul(0x9E37_79B1) >> 7) as usize & mask;
        while self.slots[at].event == self.event && self.slots[at].id != id {
            at = (at + 1) & mask;
        }
        at
    }

    #[inline]
    fn slot_mut(&mut self, id: EntryId) -> (&mut Slot, bool) {
        if self.len * 2 >= self.slots.len() {
            self.grow();
        }
        let at = self.slot_of(id);
        let is_new = self.slots[at].event != self.event;
        if is_new {
            self.len += 1;
            self.slots[at] = Slot {
                event: self.event,
                id,
                hit: 0,
                outside: false,
            };
        }
        (&mut self.slots[at], is_new)
    }

    fn grow(&mut self) {
        let larger = vec![Slot::default(); self.slots.len() * 4];
        let smaller = std::mem::replace(&mut self.slots, larger);
        for slot in smaller.iter().filter(|slot| slot.event == self.event) {
            let at = self.slot_of(slot.id);
            self.slots[at] = *slot;
        }
    }
}
