//! Memory that a thread keeps from call to call.

use std::cell::RefCell;

use super::task::Row;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) rows: Vec<Row>,
    pub(super) floats: Floats,
}

impl Scratch {
    pub(super) fn with<R>(f: impl FnOnce(&mut Scratch) -> R) -> R {
        SCRATCH.with_borrow_mut(f)
    }
}

#[derive(Debug, Default)]
pub(super) struct Floats(Vec<Line>);

/// A cache line, which is also the widest vector.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

impl Floats {
    /// Slices of these lengths, each from a cache line's beginning; what is in them is left over from before.
    pub(super) fn split<const N: usize>(&mut self, lens: [usize; N]) -> [&mut [f32]; N] {
        let lines: usize = lens.iter().map(|len| len.div_ceil(16)).sum();
        if self.0.len() < lines {
            self.0.resize(lines, Line([0.0; 16]));
        }
        // SAFETY: a line is 16 floats, and nothing else.
        let mut rest =
            unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), 16 * lines) };
        lens.map(|len| {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(len.next_multiple_of(16));
            rest = after;
            &mut part[..len]
        })
    }
}
