//! The paths that patterns ask for, as a tree that a document is read along.

use std::collections::BTreeMap;

/// One path that patterns use. Numbers are dense and are given again once a path is released.
pub(crate) type Field = u32;

/// The tree's root, which is no field itself.
pub(crate) const ROOT: Field = 0;

/// Paths are names joined with dots, and a dot inside a name is the same as nesting, in patterns
/// and documents alike: `{"a.b": 1}` holds the field `a.b` just as `{"a": {"b": 1}}` does. So the
/// tree branches at every dot, and a name with dots walks several branches.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    nodes: Vec<PathNode>,
    free: Vec<Field>,
}

#[derive(Debug, Clone, Default)]
struct PathNode {
    parent: Field,
    name: Box<str>,
    children: BTreeMap<Box<str>, Field>,
    /// Uses of exactly this path.
    uses: usize,
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            nodes: vec![PathNode::default()],
            free: Vec::new(),
        }
    }
}

impl Paths {
    /// The field of a path; each call is one use, to be given back with `release`.
    pub(crate) fn intern(&mut self, path: &str) -> Field {
        let mut field = ROOT;
        for name in path.split('.') {
            field = match self.node(field).children.get(name) {
                Some(child) => *child,
                None => self.grow(field, name),
            };
        }
        self.nodes[field as usize].uses += 1;
        field
    }

    fn grow(&mut self, parent: Field, name: &str) -> Field {
        let node = PathNode {
            parent,
            name: name.into(),
            ..PathNode::default()
        };
        let field = match self.free.pop() {
            Some(field) => {
                self.nodes[field as usize] = node;
                field
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("paths are fewer than their bytes")
            }
        };
        self.nodes[parent as usize]
            .children
            .insert(name.into(), field);
        field
    }

    /// Gives one use back. Branches that nobody uses any more are cut.
    pub(crate) fn release(&mut self, field: Field) {
        self.nodes[field as usize].uses -= 1;
        let mut field = field;
        while field != ROOT && !self.is_field(field) && self.is_leaf(field) {
            let node = std::mem::take(&mut self.nodes[field as usize]);
            self.nodes[node.parent as usize].children.remove(&node.name);
            self.free.push(field);
            field = node.parent;
        }
    }

    fn node(&self, field: Field) -> &PathNode {
        &self.nodes[field as usize]
    }

    /// Where a document's key leads from here.
    pub(crate) fn child(&self, field: Field, name: &str) -> Option<Field> {
        let children = &self.node(field).children;
        if children.is_empty() {
            return None;
        }
        if !name.contains('.') {
            return children.get(name).copied();
        }
        name.split('.').try_fold(field, |field, name| {
            self.node(field).children.get(name).copied()
        })
    }

    /// Whether some pattern asks for exactly this path.
    pub(crate) fn is_field(&self, field: Field) -> bool {
        self.node(field).uses > 0
    }

    /// Whether no pattern asks for anything below.
    pub(crate) fn is_leaf(&self, field: Field) -> bool {
        self.node(field).children.is_empty()
    }

    /// One more than the largest field.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
}
