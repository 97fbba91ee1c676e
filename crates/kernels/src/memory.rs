//! The process's memory, for programs that run models.

use crate::{
    pool::{self, Phase},
    shared::SharedMut,
};

/// Elements that a task writes.
const TASK: usize = 1 << 18;

/// Zeros whose memory is there, written by all threads.
///
/// That of `vec![0.0; len]` comes when it is touched. A page that is read first, as of an optimizer's state, is at first a
/// common one of zeros and is exchanged when it is written, of which the system has to tell every thread.
pub fn zeros(len: usize) -> Vec<f32> {
    let mut out: Vec<f32> = Vec::with_capacity(len);
    let room = SharedMut::room(&mut out);
    pool::run_ranges(Phase::Prefill, len, TASK, |range| {
        // SAFETY: ranges are disjoint, and inside the vector's room.
        unsafe { room.at(range.start).write_bytes(0, range.len()) };
    });
    // SAFETY: all elements have been written.
    unsafe { out.set_len(len) };
    out
}

/// Asks the allocator to keep freed memory for the next allocation instead of giving it back to the system, where it
/// can be asked (glibc).
///
/// A forward pass allocates and frees the same tens of megabytes in every layer. Given back each time, they cost a page
/// fault for every 4 KiB when they are needed again. A binary calls this once, at
/// its start; a library should leave the choice to it.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    {
        /// The largest that glibc accepts on 64-bit systems; above, memory comes from the system each time.
        const LARGEST_FROM_HEAP: i32 = 32 << 20;
        glibc::set(glibc::M_MMAP_THRESHOLD, LARGEST_FROM_HEAP);
        glibc::set(glibc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

/// The same of pieces of any size: for a program that needs them again and again, as a training does the logits of a step
/// and the gradients of its tables.
pub fn keep_all_freed_memory() {
    keep_freed_memory();
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    glibc::set(glibc::M_MMAP_MAX, 0);
}

#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
mod glibc {
    use std::ffi::c_int;

    pub(super) const M_TRIM_THRESHOLD: c_int = -1;
    pub(super) const M_MMAP_THRESHOLD: c_int = -3;
    pub(super) const M_MMAP_MAX: c_int = -4;

    pub(super) fn set(parameter: c_int, value: c_int) {
        unsafe extern "C" {
            fn mallopt(parameter: c_int, value: c_int) -> c_int;
        }
        // SAFETY: glibc's function, with its own signature; it takes any value, and refuses what does not fit.
        unsafe { mallopt(parameter, value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_zero_and_as_many_as_asked_for() {
        for len in [0, 1, TASK - 1, TASK + 1, 3 * TASK] {
            assert!(zeros(len).iter().eq(std::iter::repeat_n(&0.0, len)));
        }
    }
}
