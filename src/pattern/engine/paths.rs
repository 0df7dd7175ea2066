//! Which paths are in use, under which numbers, and what their values are looked up by.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::asking::gram_hash;
use super::key::Key;
use crate::pattern::filter::Noted;
use crate::pattern::kinds::{KINDS, Kind};
use crate::pattern::marks::{MARKED, Mark};
use crate::pattern::probes::{Length, Present, Probes};
use crate::pattern::tree::Branch;
use crate::pattern::value::Field;

#[derive(Debug)]
pub(super) struct Paths {
    /// Shared with snapshots.
    pub(super) root: Arc<Branch>,
    /// By field; that of 0 is the root's.
    books: Vec<Book>,
    numbers: HashMap<Arc<str>, Field>,
    free: Vec<Field>,
    /// How many keys there are of each length.
    lengths: HashMap<(Field, Kind, Length), u32>,
    grams: HashMap<(Field, Kind), Grams>,
}

#[derive(Debug, Default)]
struct Book {
    path: Arc<str>,
    uses: u32,
    /// How many keys there are of each kind.
    keys: [u32; KINDS],
    /// How many sub-rules stand under keys of each kind (of those below others: by the field of
    /// the literal).
    held: [u32; KINDS],
    /// Programs that ask about the field's values.
    asks: u32,
    /// Of the kinds with marks: those of the keys, and of what was a key since there were none.
    marks: [u64; MARKED],
}

#[derive(Debug, Default)]
struct Grams {
    hashes: HashSet<u64>,
    /// How many there were when the filter was made.
    made_for: usize,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            root: Arc::default(),
            books: vec![Book::default()],
            numbers: HashMap::new(),
            free: Vec::new(),
            lengths: HashMap::new(),
            grams: HashMap::new(),
        }
    }
}

impl Paths {
    /// The field of a path; each call is one use, to be given back.
    pub(super) fn intern(&mut self, path: &Arc<str>) -> Field {
        if let Some(field) = self.numbers.get(path) {
            self.books[*field as usize].uses += 1;
            return *field;
        }
        let book = Book {
            path: Arc::clone(path),
            uses: 1,
            keys: [0; KINDS],
            held: [0; KINDS],
            asks: 0,
            marks: [0; MARKED],
        };
        let field = match self.free.pop() {
            Some(field) => {
                self.books[field as usize] = book;
                field
            }
            None => {
                self.books.push(book);
                Field::try_from(self.books.len() - 1).expect("paths are fewer than their bytes")
            }
        };
        self.numbers.insert(Arc::clone(path), field);
        Arc::make_mut(&mut self.root).at_mut(path).field = field;
        field
    }

    /// Gives one use back. Branches that nobody uses any more are cut.
    pub(super) fn release(&mut self, field: Field) {
        let book = &mut self.books[field as usize];
        book.uses -= 1;
        if book.uses == 0 {
            let path = std::mem::take(&mut book.path);
            let root = Arc::make_mut(&mut self.root);
            let branch = root.at_mut(&path);
            branch.field = 0;
            branch.probes = Probes::default();
            root.prune(&path);
            self.numbers.remove(&path);
            self.free.push(field);
        }
    }

    /// How many keys of a kind there are for a field.
    pub(super) fn keys(&self, field: Field, kind: Kind) -> u32 {
        self.books[field as usize].keys[kind as usize]
    }

    /// A program asks about the field's values.
    pub(super) fn ask(&mut self, field: Field) {
        let asks = &mut self.books[field as usize].asks;
        *asks += 1;
        if *asks == 1 {
            self.probes(field).set_asked(true);
        }
    }

    /// It does so no more.
    pub(super) fn ask_no_more(&mut self, field: Field) {
        let asks = &mut self.books[field as usize].asks;
        *asks -= 1;
        if *asks == 0 {
            self.probes(field).set_asked(false);
        }
    }

    /// How many sub-rules stand under keys of a kind.
    pub(super) fn held(&self, field: Field, kind: Kind) -> u32 {
        self.books[field as usize].held[kind as usize]
    }

    /// A sub-rule stands under such a key from now on.
    pub(super) fn hold(&mut self, (field, kind): (Field, Kind)) {
        self.books[field as usize].held[kind as usize] += 1;
    }

    pub(super) fn let_go(&mut self, (field, kind): (Field, Kind)) {
        self.books[field as usize].held[kind as usize] -= 1;
    }

    /// Whether values are looked up by keys such as this one.
    pub(super) fn is_looked_up(&self, key: &Key) -> bool {
        match key.length() {
            Some(length) => self.lengths.contains_key(&(key.field, key.kind, length)),
            None => self.keys(key.field, key.kind) > 0,
        }
    }

    /// From now on the key is there to be found.
    pub(super) fn add(&mut self, key: &Key) {
        if !key.kind.is_probed() {
            return;
        }
        let count = &mut self.books[key.field as usize].keys[key.kind as usize];
        *count += 1;
        if *count == 1 {
            self.probes(key.field).set(key.kind, true);
        }
        if let Some(length) = key.length() {
            let count = self
                .lengths
                .entry((key.field, key.kind, length))
                .or_default();
            *count += 1;
            if *count == 1 {
                self.probes(key.field).set_length(key.kind, length, true);
            }
        }
        if let Some(at) = key.kind.marked() {
            let Mark(mark) = Mark::of_key(key.kind, &key.bytes);
            let marks = &mut self.books[key.field as usize].marks[at];
            if *marks & mark != mark {
                *marks |= mark;
                let marks = *marks;
                self.probes(key.field).set_marks(key.kind, marks);
            }
        }
        if matches!(key.kind, Kind::Gram4 | Kind::Gram8) {
            let hash = gram_hash(&key.bytes);
            let grams = self.grams.entry((key.field, key.kind)).or_default();
            grams.hashes.insert(hash);
            let count = grams.hashes.len();
            let noted = self.probes(key.field).add_gram(key.kind, hash, count);
            if noted == Noted::TooFull {
                self.make_filter(key.field, key.kind);
            }
        }
    }

    /// The key is gone.
    pub(super) fn remove(&mut self, key: &Key) {
        if !key.kind.is_probed() {
            return;
        }
        if let Some(length) = key.length()
            && let Some(count) = self.lengths.get_mut(&(key.field, key.kind, length))
        {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&(key.field, key.kind, length));
                self.probes(key.field).set_length(key.kind, length, false);
            }
        }
        let count = &mut self.books[key.field as usize].keys[key.kind as usize];
        *count -= 1;
        if *count == 0 {
            if let Some(at) = key.kind.marked() {
                self.books[key.field as usize].marks[at] = 0;
            }
            self.probes(key.field).set(key.kind, false);
            self.grams.remove(&(key.field, key.kind));
        } else if let Some(grams) = self.grams.get_mut(&(key.field, key.kind)) {
            grams.hashes.remove(&gram_hash(&key.bytes));
            if grams.hashes.len() * 4 < grams.made_for {
                self.make_filter(key.field, key.kind);
            }
        }
    }

    /// What stands under the field's key of [`Kind::Present`], if anything does.
    pub(super) fn set_present(&mut self, field: Field, present: Option<Present>) {
        self.probes(field).set_present(present.map(Arc::new));
    }

    fn make_filter(&mut self, field: Field, kind: Kind) {
        let Some(mut grams) = self.grams.remove(&(field, kind)) else {
            return;
        };
        self.probes(field)
            .replace_grams(kind, grams.hashes.iter().copied());
        grams.made_for = grams.hashes.len();
        self.grams.insert((field, kind), grams);
    }

    fn probes(&mut self, field: Field) -> &mut Probes {
        let root = Arc::make_mut(&mut self.root);
        if field == 0 {
            return &mut root.probes;
        }
        &mut root.at_mut(&self.books[field as usize].path).probes
    }
}
