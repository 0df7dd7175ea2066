//! A list in which several numbers are looked up one after the other.

/// A list in which several numbers are looked up one after the other.
pub(super) enum Numbered<'s, T: Clone> {
    /// Of a short one the neighbourhood of a number is remembered, and the next one is there.
    Short(imbl::vector::Focus<'s, Option<T>, imbl::shared_ptr::DefaultSharedPtr>),
    Long(&'s imbl::Vector<Option<T>>),
}

impl<'s, T: Clone> Numbered<'s, T> {
    pub(super) fn new(all: &'s imbl::Vector<Option<T>>) -> Self {
        const SHORT: usize = 1_024;
        if all.len() <= SHORT {
            Numbered::Short(all.focus())
        } else {
            Numbered::Long(all)
        }
    }

    #[inline]
    pub(super) fn get(&mut self, number: u32) -> Option<&T> {
        match self {
            Numbered::Short(near) => near.get(number as usize)?.as_ref(),
            Numbered::Long(all) => all.get(number as usize)?.as_ref(),
        }
    }
}
