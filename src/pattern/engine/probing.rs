//! Looks up what the values of an event lead to, many at once.

use super::asking::Asking;
use super::entry::Entry;
use super::found::Found;
use super::key::pair;
use super::seen::Seen;
use super::table::Table;
use super::wanted::Wanted;
use crate::pattern::kinds::Kind;
use crate::pattern::tree::Branch;
use crate::pattern::value::{Datum, Field, Fields, OUTSIDE, Place};
use crate::pattern::walk::Visit;

/// Keys that are looked up together, at most.
const TOGETHER: usize = 32;

/// Keys that nothing is prepared for.
const FEW: usize = 4;

/// Looks up what the values of an event lead to.
pub(super) struct Probing<'s, 'a> {
    pub(super) table: &'s Table,
    pub(super) fields: Fields<'a>,
    pub(super) seen: &'s mut Seen,
    pub(super) found: Found<'s>,
    pub(super) wanted: &'s mut Wanted,
}

impl<'s, 'a> Visit<'s, 'a> for Probing<'s, 'a> {
    #[inline]
    fn fields(&mut self) -> &mut Fields<'a> {
        &mut self.fields
    }

    #[inline]
    fn visit(&mut self, branch: &'s Branch, place: Place, datum: Datum<'a>) {
        let (field, probes) = (branch.field, &branch.probes);
        let kinds = probes.kinds_of(&datum);
        if kinds.is_empty() && !probes.is_asked() {
            return;
        }
        let value = self.fields.push(field, place, datum);
        if let Some(present) = probes.present()
            && self.fields.is_first(field, value)
        {
            self.found.add(field, present);
        }
        if kinds.is_empty() {
            return;
        }
        let mut asking = Asking {
            table: self.table,
            wanted: self.wanted,
            field,
            value,
        };
        if kinds.has(Kind::Exists) {
            asking.made(Kind::Exists, &[]);
        }
        match &self.fields.value(value).datum {
            Datum::String(text) => asking.string(kinds, probes, text),
            Datum::Number(text) => asking.number(kinds, probes, text),
            Datum::Literal(text) => {
                if kinds.has(Kind::Text) {
                    asking.part(Kind::Text, text.as_bytes(), 0);
                }
            }
        }
        if self.wanted.keys.len() >= TOGETHER {
            self.look_up();
        }
    }
}

impl<'s> Probing<'s, '_> {
    /// Looks all keys up that are wanted by now: first where each may stand, then what stands there,
    /// so that what is far away in memory comes together.
    pub(super) fn look_up(&mut self) {
        match self.wanted.keys.len() {
            0 => {}
            _ if self.table.is_small() => self.look_up_by::<1>(),
            1..=FEW => self.look_up_by::<FEW>(),
            _ => self.look_up_by::<TOGETHER>(),
        }
    }

    /// Looks them up by so many at once.
    fn look_up_by<const N: usize>(&mut self) {
        let table = self.table;
        let wanted = std::mem::take(self.wanted);
        for keys in wanted.keys.chunks(N) {
            let mut spots = table.spots::<N>(keys.iter().map(|key| key.hash));
            for (spot, key) in spots.iter_mut().zip(keys) {
                *spot = spot.and_then(|spot| table.narrowed(spot, key.hash));
            }
            for (spot, key) in spots.into_iter().zip(keys) {
                let Some(spot) = spot else { continue };
                let value = self.fields.value(key.value);
                let (from, to) = (key.from as usize, key.to as usize);
                let bytes = match &value.datum {
                    _ if key.is_made => &wanted.made[from..to],
                    Datum::String(text) => &text[from..to],
                    Datum::Number(text) => &text.text()[from..to],
                    Datum::Literal(text) => &text.as_bytes()[from..to],
                };
                let is = |entry: Entry<'_>| entry.is(key.field, key.kind, bytes);
                let Some(entry) = table.find_at(spot, key.hash, is) else {
                    continue;
                };
                let outside = value.place == OUTSIDE;
                if self.seen.hit(entry.id(), key.value, outside) && !entry.leads_nowhere() {
                    self.found.entries.push(entry);
                }
                if matches!(key.kind, Kind::String | Kind::Number | Kind::Text) {
                    // The value is known by it from now on.
                    self.fields.value_mut(key.value).atom = entry.id();
                }
            }
        }
        *self.wanted = wanted;
        self.wanted.clear();
    }

    /// Finds an entry that no single value leads to.
    fn come_by(&mut self, field: Field, kind: Kind, bytes: &[u8]) {
        if let Some(entry) = self.table.get(field, kind, bytes)
            && self.seen.mark(entry.id())
        {
            self.found.entries.push(entry);
        }
    }

    /// Finds what stands below and behind the entries found.
    pub(super) fn follow(&mut self) {
        let mut at = 0;
        while let Some(entry) = self.found.entries.get(at).copied() {
            at += 1;
            for number in 0..entry.more() {
                self.come_by(0, Kind::More, &pair(entry.id(), number));
            }
            for field in entry.splits() {
                let atoms = self.fields.values(*field).map(|value| value.atom);
                let atoms = atoms.filter(|atom| *atom != 0);
                for atom in atoms {
                    if let Some(entry) =
                        self.table.get(*field, Kind::Child, &pair(entry.id(), atom))
                        && self.seen.mark(entry.id())
                    {
                        self.found.entries.push(entry);
                    }
                }
            }
        }
    }
}
