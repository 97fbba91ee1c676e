//! The process's heap, for programs that run models.

/// Asks the allocator to keep freed memory for the next allocation instead of giving it back to the system, where it
/// can be asked (glibc).
///
/// A forward pass allocates and frees the same tens of megabytes in every layer. Given back each time, they cost a page
/// fault for every 4 KiB when they are needed again. A binary calls this once, at
/// its start; a library should leave the choice to it.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    {
        use std::ffi::c_int;

        unsafe extern "C" {
            fn mallopt(parameter: c_int, value: c_int) -> c_int;
        }
        const M_TRIM_THRESHOLD: c_int = -1;
        const M_MMAP_THRESHOLD: c_int = -3;
        /// The largest that glibc accepts on 64-bit systems; above, memory comes from the system each time.
        const LARGEST_FROM_HEAP: c_int = 32 << 20;
        // SAFETY: glibc's function, with its own signature; it takes any value, and refuses what does not fit.
        unsafe {
            mallopt(M_MMAP_THRESHOLD, LARGEST_FROM_HEAP);
            mallopt(M_TRIM_THRESHOLD, c_int::MAX);
        }
    }
}
