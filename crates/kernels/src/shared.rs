//! One mutable slice, written by many tasks at disjoint places.

use std::marker::PhantomData;

/// A vector of so many elements, those that `write` gives them.
///
/// # Safety
/// `write` writes every element, and reads none that it has not written.
pub(crate) unsafe fn written(len: usize, write: impl FnOnce(&mut [f32])) -> Vec<f32> {
    let mut out = Vec::with_capacity(len);
    // SAFETY: the room is there and nobody else's, and the caller's function reads nothing that is not written.
    write(unsafe { SharedMut::room(&mut out).part(0, len) });
    // SAFETY: all elements have been written.
    unsafe { out.set_len(len) };
    out
}

/// A mutable slice that tasks share. Which task writes where is the kernel's affair; that they are disjoint is what
/// every caller of an unsafe method promises.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]`, whose parts may be sent to other threads where `T` may.
unsafe impl<T: Send> Send for SharedMut<'_, T> {}
// SAFETY: sharing it gives access only through unsafe methods.
unsafe impl<T: Send> Sync for SharedMut<'_, T> {}

impl<'a, T> SharedMut<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            slice: PhantomData,
        }
    }

    /// The room of an empty vector. What is there has to be written before it is read.
    pub(crate) fn room(vec: &'a mut Vec<T>) -> Self {
        debug_assert!(vec.is_empty());
        Self {
            start: vec.as_mut_ptr(),
            len: vec.capacity(),
            slice: PhantomData,
        }
    }

    /// Elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The part `start..start + len`.
    ///
    /// # Safety
    /// No other task reads or writes that part meanwhile.
    ///
    /// # Panics
    /// When it is outside the slice.
    #[inline(always)]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start);
        // SAFETY: inside the slice, by the check; exclusive, by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// A pointer to element `start`, for tiles whose rows lie apart.
    ///
    /// # Panics
    /// When it is outside the slice.
    #[inline(always)]
    pub(crate) fn at(&self, start: usize) -> *mut T {
        assert!(start <= self.len);
        // SAFETY: inside the slice, or one past its end.
        unsafe { self.start.add(start) }
    }
}
