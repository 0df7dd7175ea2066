//! The paths that patterns ask for, as a tree that a document is read along.
//!
//! Paths are names joined with dots, and a dot inside a name is the same as nesting, in patterns and
//! documents alike: `{"a.b": 1}` holds the field `a.b` just as `{"a": {"b": 1}}` does. So the tree
//! branches at every dot, and a name with dots walks several branches.
//!
//! A tree is never changed where somebody else may read it: whoever changes one copies the nodes
//! from the root down to the change and shares the rest.

use std::sync::Arc;

use super::probes::Probes;
use super::value::Field;

/// Children beyond this number are kept by hash instead of in a list.
const FEW: usize = 16;

/// One step of some path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Branch {
    /// The field whose path ends here; 0 if none does.
    pub(crate) field: Field,
    /// What is looked up for each value of the field.
    pub(crate) probes: Probes,
    children: Children,
    /// Of the children's names: a bit drawn from each.
    marks: u64,
}

#[derive(Debug, Clone)]
enum Children {
    Few(Vec<Child>),
    Many(ByHash),
}

type ByHash = imbl::GenericHashMap<
    Box<[u8]>,
    Arc<Branch>,
    foldhash::quality::RandomState,
    imbl::shared_ptr::DefaultSharedPtr,
>;

/// A branch with its name; the first eight bytes stand apart, since they nearly always decide, and
/// the last eight, which decide the rest up to sixteen.
#[derive(Debug, Clone)]
struct Child {
    start: u64,
    end: u64,
    name: Box<[u8]>,
    branch: Arc<Branch>,
}

impl Default for Children {
    fn default() -> Self {
        Children::Few(Vec::new())
    }
}

/// The first eight bytes of a name, the rest zero.
#[inline]
fn start(name: &[u8]) -> u64 {
    if let Some(first) = name.first_chunk::<8>() {
        return u64::from_le_bytes(*first);
    }
    // Of four to seven bytes the first and the last four, which overlap.
    if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        let last = u64::from(u32::from_le_bytes(*last));
        return last << (8 * (name.len() - 4)) | u64::from(u32::from_le_bytes(*first));
    }
    match *name {
        [] => 0,
        [one] => one.into(),
        [one, two] => u16::from_le_bytes([one, two]).into(),
        [one, two, three, ..] => u32::from_le_bytes([one, two, three, 0]).into(),
    }
}

/// The last eight bytes of a name that has as many.
#[inline]
fn end(name: &[u8]) -> u64 {
    let last = name.last_chunk::<8>();
    last.map_or(0, |last| u64::from_le_bytes(*last))
}

/// A bit drawn from a name: where it is not set, the name is none of the children's.
#[inline(always)]
fn mark(name: &[u8]) -> u64 {
    mark_of(name.len(), name.first().copied().unwrap_or(b'"'))
}

/// The same of its length and its first byte, which is the quote behind it where there is none.
#[inline(always)]
fn mark_of(length: usize, first: u8) -> u64 {
    1 << ((length * 5 + usize::from(first)) & 63)
}

impl Child {
    #[inline(always)]
    fn is(&self, name: &[u8], start: u64) -> bool {
        self.start == start
            && self.name.len() == name.len()
            && match name.len() {
                0..=8 => true,
                9..=16 => self.end == end(name),
                _ => self.name[8..] == name[8..],
            }
    }
}

#[inline(never)]
fn one_of_many<'c>(children: &'c ByHash, name: &[u8]) -> Option<&'c Branch> {
    children.get(name).map(|branch| &**branch)
}

impl Branch {
    /// Where a key without dots leads from here.
    pub(crate) fn child(&self, name: &[u8]) -> Option<&Branch> {
        if self.marks & mark(name) == 0 {
            return None;
        }
        self.child_that_starts(name, start(name))
    }

    /// The same for the key between two offsets of a text, with what stands behind it read along and
    /// cut off.
    #[inline(always)]
    pub(crate) fn child_within(&self, text: &[u8], from: usize, to: usize) -> Option<&Branch> {
        if self.marks & mark_of(to - from, *text.get(from)?) == 0 {
            return None;
        }
        let name = text.get(from..to)?;
        let start = match text[from..].first_chunk::<8>() {
            Some(first) => {
                let beyond = 8_usize.saturating_sub(name.len()) as u32 * 8;
                let kept = u64::MAX.checked_shr(beyond).unwrap_or(0);
                u64::from_le_bytes(*first) & kept
            }
            None => start(name),
        };
        self.child_that_starts(name, start)
    }

    #[inline(always)]
    fn child_that_starts(&self, name: &[u8], start: u64) -> Option<&Branch> {
        match &self.children {
            Children::Few(children) => {
                let child = children.iter().find(|child| child.is(name, start))?;
                Some(&child.branch)
            }
            Children::Many(children) => one_of_many(children, name),
        }
    }

    /// Where a key leads that may hold dots.
    pub(crate) fn descend(&self, name: &[u8]) -> Option<&Branch> {
        name.split(|byte| *byte == b'.')
            .try_fold(self, |branch, name| branch.child(name))
    }

    pub(crate) fn children(&self) -> usize {
        match &self.children {
            Children::Few(children) => children.len(),
            Children::Many(children) => children.len(),
        }
    }

    /// The branch at the end of a path, grown if it is not there; all on the way are this tree's own
    /// from now on.
    pub(crate) fn at_mut(&mut self, path: &str) -> &mut Branch {
        let mut branch = self;
        for name in path.split('.') {
            branch = branch.child_mut(name.as_bytes());
        }
        branch
    }

    fn child_mut(&mut self, name: &[u8]) -> &mut Branch {
        self.marks |= mark(name);
        if let Children::Few(few) = &mut self.children
            && few.len() == FEW
            && few.iter().all(|child| *child.name != *name)
        {
            let few = std::mem::take(few);
            let many = few.into_iter().map(|child| (child.name, child.branch));
            self.children = Children::Many(many.collect());
        }
        let branch = match &mut self.children {
            Children::Few(few) => {
                let at = few.iter().position(|child| *child.name == *name);
                let at = at.unwrap_or_else(|| {
                    few.push(Child {
                        start: start(name),
                        end: end(name),
                        name: name.into(),
                        branch: Arc::default(),
                    });
                    few.len() - 1
                });
                &mut few[at].branch
            }
            Children::Many(many) => many.entry(name.into()).or_default(),
        };
        Arc::make_mut(branch)
    }

    /// Cuts what a path does not need any more: from its end up to a branch that is a field or leads
    /// on to others.
    pub(crate) fn prune(&mut self, path: &str) {
        let (name, rest) = match path.split_once('.') {
            Some((name, rest)) => (name.as_bytes(), Some(rest)),
            None => (path.as_bytes(), None),
        };
        let child = self.child_mut(name);
        if let Some(rest) = rest {
            child.prune(rest);
        }
        if child.field != 0 || child.children() > 0 {
            return;
        }
        match &mut self.children {
            Children::Few(few) => {
                few.retain(|child| *child.name != *name);
                self.marks = few.iter().fold(0, |marks, child| marks | mark(&child.name));
            }
            // Most marks are set anyway.
            Children::Many(many) => {
                many.remove(name);
            }
        }
    }
}
