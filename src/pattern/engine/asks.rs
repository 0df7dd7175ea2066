//! The clauses to be asked, each once for all the sub-rules that say it.

use std::collections::HashMap;
use std::sync::Arc;

use super::entry::ASK;
use crate::pattern::ask::Ask;
use crate::pattern::parse::Clause;
use crate::pattern::value::Field;

#[derive(Debug, Default)]
pub(super) struct Asks {
    /// By number; shared with snapshots.
    pub(super) asks: imbl::Vector<Option<Arc<Ask>>>,
    books: Vec<Book>,
    /// By field and the clause's JSON.
    numbers: HashMap<(Field, Arc<str>), u32>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Book {
    wanted: Arc<str>,
    uses: u32,
}

impl Asks {
    /// The number of a clause; each call is one use, to be given back.
    pub(super) fn intern(&mut self, clause: &Clause, field: Field) -> u32 {
        let wanted: Arc<str> = clause.wanted.as_str().into();
        let key = (field, wanted);
        if let Some(number) = self.numbers.get(&key) {
            self.books[*number as usize].uses += 1;
            return *number;
        }
        let ask = Some(Arc::new(Ask::new(clause, field)));
        let book = Book {
            wanted: Arc::clone(&key.1),
            uses: 1,
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.asks.set(number as usize, ask);
                self.books[number as usize] = book;
                number
            }
            None => {
                self.asks.push_back(ask);
                self.books.push(book);
                let number = self.books.len() - 1;
                u32::try_from(number)
                    .ok()
                    .filter(|number| number & ASK == 0)
                    .expect("clauses are fewer than two thousand million")
            }
        };
        self.numbers.insert(key, number);
        number
    }

    /// A clause in use, by its number.
    pub(super) fn get(&self, number: u32) -> Option<&Arc<Ask>> {
        self.asks.get(number as usize)?.as_ref()
    }

    /// Gives one use back, and tells the field.
    pub(super) fn release(&mut self, number: u32) -> Field {
        let at = number as usize;
        let field = self.asks[at]
            .as_ref()
            .map(|ask| ask.field)
            .expect("a clause in use is there");
        let book = &mut self.books[at];
        book.uses -= 1;
        if book.uses == 0 {
            let wanted = std::mem::replace(&mut book.wanted, Arc::from(""));
            self.numbers.remove(&(field, wanted));
            self.asks.set(at, None);
            self.free.push(number);
        }
        field
    }
}
