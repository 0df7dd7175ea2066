//! Entries by key, with what it takes to know when one is not needed any more.

use std::collections::{BTreeSet, HashMap};

use super::entry::{
    self, ASK, CANDIDATES, Candidate, Entry, EntryId, MORE, RuleNumber, with_candidate, with_more,
    with_split, without_candidate,
};
use super::key::Key;
use super::paths::Paths;
use super::table::Table;
use crate::pattern::kinds::Kind;
use crate::pattern::value::Field;

#[derive(Debug)]
pub(super) struct Index {
    /// Shared with snapshots.
    pub(super) table: Table,
    /// By entry; 0 is none.
    books: Vec<Book>,
    free: Vec<EntryId>,
    /// How many entries stand below an entry, by field.
    children: HashMap<(EntryId, Field), u32>,
    more: HashMap<EntryId, More>,
    /// Fields of which what stands under [`Kind::Present`] has changed.
    changed: Vec<Field>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Book {
    hash: u64,
    /// Programs that name the entry.
    uses: u32,
}

/// Further entries of one that is full.
#[derive(Debug, Default)]
struct More {
    entries: Vec<Option<EntryId>>,
    /// Of those, which have room.
    open: BTreeSet<u32>,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            table: Table::default(),
            books: vec![Book::default()],
            free: Vec::new(),
            children: HashMap::new(),
            more: HashMap::new(),
            changed: Vec::new(),
        }
    }
}

impl Index {
    pub(super) fn entry(&self, id: EntryId) -> Entry<'_> {
        let hash = self.books[id as usize].hash;
        self.table
            .entry(hash, id)
            .expect("an entry with a number is in the table")
    }

    fn put(&mut self, id: EntryId, words: &[u32]) {
        let hash = self.books[id as usize].hash;
        self.table.put(hash, words);
        let entry = Entry(words);
        if entry.kind() == Kind::Present {
            self.changed.push(entry.field());
        }
    }

    /// A field of which what stands under [`Kind::Present`] has changed since it was told last.
    pub(super) fn next_changed(&mut self) -> Option<Field> {
        self.changed.pop()
    }

    /// The number of the entry under a key.
    pub(super) fn find(&self, key: &Key) -> Option<EntryId> {
        let entry = self.table.get(key.field, key.kind, &key.bytes);
        entry.map(Entry::id)
    }

    /// Sub-rules under a key.
    pub(super) fn load(&self, key: &Key) -> usize {
        self.table
            .get(key.field, key.kind, &key.bytes)
            .map_or(0, load)
    }

    /// Sub-rules that an entry leads to, those below it left out.
    pub(super) fn load_of(&self, id: EntryId) -> usize {
        load(self.entry(id))
    }

    /// The entry under a key, made if there is none.
    pub(super) fn ensure(&mut self, key: &Key, paths: &mut Paths) -> EntryId {
        if let Some(entry) = self.table.get(key.field, key.kind, &key.bytes) {
            return entry.id();
        }
        let book = Book {
            hash: self.table.hash(key),
            uses: 0,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.books[id as usize] = book;
                id
            }
            None => {
                self.books.push(book);
                u32::try_from(self.books.len() - 1)
                    .ok()
                    .filter(|id| id & ASK == 0)
                    .expect("entries are fewer than two thousand million")
            }
        };
        self.table.insert(book.hash, &entry::empty(key, id));
        paths.add(key);
        id
    }

    /// The entry below another, for events that hold the literal `atom` of `field` too; `None` when
    /// the upper one is split by too many fields.
    pub(super) fn ensure_child(
        &mut self,
        parent: EntryId,
        field: Field,
        atom: EntryId,
        paths: &mut Paths,
    ) -> Option<EntryId> {
        let key = Key::child(parent, field, atom);
        if let Some(entry) = self.table.get(key.field, key.kind, &key.bytes) {
            return Some(entry.id());
        }
        if !self.children.contains_key(&(parent, field)) {
            let words = with_split(self.entry(parent), field, true)?;
            self.put(parent, &words);
        }
        *self.children.entry((parent, field)).or_default() += 1;
        Some(self.ensure(&key, paths))
    }

    /// A program names the entry.
    pub(super) fn retain(&mut self, id: EntryId) {
        self.books[id as usize].uses += 1;
    }

    /// A program names it no more. Tells its field.
    pub(super) fn release(&mut self, id: EntryId, paths: &mut Paths) -> Field {
        let field = self.entry(id).field();
        self.books[id as usize].uses -= 1;
        self.drop_if_useless(id, paths);
        field
    }

    /// Puts a candidate into an entry, or into a further one of it; tells which.
    pub(super) fn add(
        &mut self,
        id: EntryId,
        candidate: Candidate<'_>,
        paths: &mut Paths,
    ) -> EntryId {
        if let Some(words) = with_candidate(self.entry(id), candidate) {
            self.put(id, &words);
            let entry = Entry(&words);
            paths.hold(self.base(entry));
            if entry.candidate_count() == CANDIDATES && entry.kind() == Kind::More {
                let (upper, number) = entry.pair();
                if let Some(more) = self.more.get_mut(&upper) {
                    more.open.remove(&number);
                }
            }
            return id;
        }
        let more = self.more.entry(id).or_default();
        let further = match more.open.first() {
            Some(number) => more.entries[*number as usize].expect("an open entry is there"),
            None => match self.further(id, paths) {
                Some(further) => further,
                // As many as can be: the last one gets further ones of its own.
                None => self.more[&id]
                    .entries
                    .last()
                    .copied()
                    .flatten()
                    .expect("all further entries are full"),
            },
        };
        self.add(further, candidate, paths)
    }

    /// A new further entry.
    fn further(&mut self, id: EntryId, paths: &mut Paths) -> Option<EntryId> {
        let more = self.more.entry(id).or_default();
        let gap = more.entries.iter().position(Option::is_none);
        let number = match gap {
            Some(gap) => gap,
            None if more.entries.len() == MORE => return None,
            None => {
                more.entries.push(None);
                more.entries.len() - 1
            }
        };
        let count = more.entries.len();
        let further = self.ensure(&Key::more(id, number as u32), paths);
        let more = self.more.entry(id).or_default();
        more.entries[number] = Some(further);
        more.open.insert(number as u32);
        let words = with_more(self.entry(id), count);
        self.put(id, &words);
        Some(further)
    }

    /// Takes a candidate out of the entry that `add` told; its program.
    pub(super) fn take(
        &mut self,
        id: EntryId,
        rule: RuleNumber,
        sub_rule: u16,
        paths: &mut Paths,
    ) -> Vec<u32> {
        let (words, program) = without_candidate(self.entry(id), rule, sub_rule)
            .expect("a candidate is where it was put");
        self.put(id, &words);
        let entry = Entry(&words);
        paths.let_go(self.base(entry));
        if entry.kind() == Kind::More {
            let (upper, number) = entry.pair();
            if let Some(more) = self.more.get_mut(&upper) {
                more.open.insert(number);
            }
        }
        self.drop_if_useless(id, paths);
        program
    }

    /// Field and kind of the key that an entry is found by, directly or as a further one.
    fn base(&self, entry: Entry<'_>) -> (Field, Kind) {
        match entry.kind() {
            Kind::More => self.base(self.entry(entry.pair().0)),
            kind => (entry.field(), kind),
        }
    }

    fn drop_if_useless(&mut self, id: EntryId, paths: &mut Paths) {
        let entry = self.entry(id);
        if self.books[id as usize].uses > 0 || !entry.leads_nowhere() {
            return;
        }
        let key = entry.key();
        let (kind, field) = (key.kind, key.field);
        let upper = matches!(kind, Kind::Child | Kind::More).then(|| entry.pair());
        self.table.remove(self.books[id as usize].hash, id);
        self.free.push(id);
        if kind == Kind::Present {
            self.changed.push(field);
        }
        paths.remove(&key);
        let Some((upper, number)) = upper else {
            return;
        };
        if kind == Kind::Child {
            let count = self
                .children
                .get_mut(&(upper, field))
                .expect("a child is counted");
            *count -= 1;
            if *count > 0 {
                return;
            }
            self.children.remove(&(upper, field));
            if let Some(words) = with_split(self.entry(upper), field, false) {
                self.put(upper, &words);
            }
        } else {
            let more = self.more.get_mut(&upper).expect("it is one of these");
            more.entries[number as usize] = None;
            more.open.remove(&number);
            while let Some(None) = more.entries.last() {
                more.entries.pop();
            }
            let count = more.entries.len();
            if count == 0 {
                self.more.remove(&upper);
            }
            let words = with_more(self.entry(upper), count);
            self.put(upper, &words);
        }
        self.drop_if_useless(upper, paths);
    }
}

fn load(entry: Entry<'_>) -> usize {
    entry.candidate_count() + entry.more() as usize * CANDIDATES
}
