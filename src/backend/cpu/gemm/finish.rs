//! The epilogue of a product: what is done to its rows while they are still in the cache.

use super::Product;
use crate::backend::Gelu;
use crate::backend::cpu::Isa;
use crate::backend::cpu::isa::multiversion;
use crate::backend::gelu::cpu as gelu;
use std::ops::Range;

/// What is done to the rows of a product while they are in the cache. Matrices are (m, n) without gaps.
pub enum Epilogue<'a> {
    /// Nothing is done.
    None,
    /// C += X.
    Add(&'a [f32]),
    /// C *= X, element by element.
    Mul(&'a [f32]),
    /// Y = gelu(C); C stays.
    Gelu(&'a mut [f32], Gelu),
}

/// [`Epilogue`] with a pointer to Y: the parts of a product share it, as they share C. Matrices are (m, n), laid out like C.
#[derive(Clone, Copy)]
pub enum Finish<'a> {
    None,
    /// C += X.
    Add(&'a [f32]),
    /// C *= X, element by element.
    Mul(&'a [f32]),
    /// Y = gelu(C); C stays.
    Gelu(*mut f32, Gelu),
}

multiversion! {
    fn add(c: &mut [f32], x: &[f32]) {
        for (c, x) in c.iter_mut().zip(x) {
            *c += x;
        }
    }
}

multiversion! {
    fn times(c: &mut [f32], x: &[f32]) {
        for (c, x) in c.iter_mut().zip(x) {
            *c *= x;
        }
    }
}

impl<'a> Finish<'a> {
    /// Returns the epilogue of the part of C that begins `at` elements after the first.
    pub fn part(self, at: usize) -> Self {
        match self {
            Self::None => self,
            Self::Add(x) => Self::Add(&x[at.min(x.len())..]),
            Self::Mul(x) => Self::Mul(&x[at.min(x.len())..]),
            Self::Gelu(y, form) => Self::Gelu(y.wrapping_add(at), form),
        }
    }
}

/// Columns that are finished together: with a block of rows they are in the L2 cache.
const GROUP: usize = 256;

impl Product<'_> {
    /// Finishes these rows and the last group of the columns made so far, up to `end`, if that ends a group or all `columns`.
    ///
    /// # Safety
    /// The requirements of [`Product::finish`] hold.
    pub unsafe fn finish_group(
        &self,
        isa: Isa,
        rows: &Range<usize>,
        columns: &Range<usize>,
        end: usize,
    ) {
        let made = end.min(columns.end) - columns.start;
        let whole = made.is_multiple_of(GROUP);
        if whole || end >= columns.end {
            let group = if whole { GROUP.min(made) } else { made % GROUP };
            let end = columns.start + made;
            // SAFETY: the rows and columns are among those that the caller says lie in C and are accessed by nothing else.
            unsafe { self.finish(isa, rows.clone(), end - group..end) };
        }
    }

    /// Finishes these rows and columns of C, whose sums are whole.
    ///
    /// # Safety
    /// They lie in C, and nothing else accesses them, or the same of Y, meanwhile.
    pub unsafe fn finish(&self, isa: Isa, rows: Range<usize>, cols: Range<usize>) {
        if matches!(self.finish, Finish::None) {
            return;
        }
        for i in rows {
            let (at, n) = (i * self.ldc + cols.start, cols.len());
            // SAFETY: the caller says that these columns lie in C, and that nothing else accesses them.
            let c = unsafe { std::slice::from_raw_parts_mut(self.c.add(at), n) };
            match self.finish {
                Finish::None => {}
                Finish::Add(x) => add(isa, c, &x[at..][..n]),
                Finish::Mul(x) => times(isa, c, &x[at..][..n]),
                Finish::Gelu(y, form) => {
                    // SAFETY: Y is laid out as C is, so these columns lie in it, and the caller lets nothing else access them.
                    let y = unsafe { std::slice::from_raw_parts_mut(y.add(at), n) };
                    gelu::block(isa, y, c, form);
                }
            }
        }
    }
}
