//! JSON as bytes: checked once, at the door, and then passed over as fast as bytes can be.
//!
//! `scanner` reads text that nobody has checked and says where it breaks; `text` is the proof that
//! this was done; `skip`, `strings` and `plain` trust it.

mod depth;
mod plain;
mod scanner;
pub(crate) mod skip;
mod strings;
mod text;
mod tree;

#[cfg(test)]
mod tests;

pub(crate) use depth::too_deep;
pub(crate) use plain::is_plain;
pub(crate) use scanner::{Broken, unescaped};
pub(crate) use strings::{Member, Strings};
pub use text::JsonText;
pub(crate) use tree::{Node, Tree, read};
