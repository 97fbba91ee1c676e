//! The matrix product in registers that both kernels use.

use crate::simd::Simd;

/// Keys of a tile, and elements of a query that are multiplied at a time: the rows of a product's left operand are this
/// far apart, which as a constant costs no register.
pub(super) const SPAN: usize = 128;

/// Adds `Σ x[r, k] w[k, j]` to `sums`, for `R` rows and `C` vectors of columns: `x` is `[R, SPAN]`, and the rows of `w`
/// are `stride` apart. With `PART`, the vector has the first `part` columns only.
///
/// # Safety
/// `depth` columns of `x` and `depth` rows of `w` are readable.
#[inline(always)]
pub(super) unsafe fn accumulate<S: Simd, const R: usize, const C: usize, const PART: bool>(
    s: S,
    mut sums: [[S::F32; C]; R],
    x: *const f32,
    w: *const f32,
    stride: usize,
    depth: usize,
    part: usize,
) -> [[S::F32; C]; R] {
    const { assert!(C == 1 || !PART) };
    for k in 0..depth {
        // SAFETY: the caller's promise.
        unsafe {
            let mut columns = [s.zero(); C];
            for (c, column) in columns.iter_mut().enumerate() {
                let w = w.add(k * stride + c * S::LANES);
                *column = match PART {
                    true => s.load_part(w, part),
                    false => s.load(w),
                };
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let x = s.splat(*x.add(r * SPAN + k));
                for (sum, &column) in sums.iter_mut().zip(&columns) {
                    *sum = s.mul_add(x, column, *sum);
                }
            }
        }
    }
    sums
}

/// The first elements of `x`, at most a vector, and zeros.
#[inline(always)]
pub(super) fn load<S: Simd>(s: S, x: &[f32]) -> S::F32 {
    // SAFETY: as many elements are readable.
    unsafe {
        if x.len() >= S::LANES {
            s.load(x.as_ptr())
        } else {
            s.load_part(x.as_ptr(), x.len())
        }
    }
}

/// Stores the first lanes to `out`, at most a vector.
#[inline(always)]
pub(super) fn store<S: Simd>(s: S, out: &mut [f32], v: S::F32) {
    // SAFETY: as many elements are writable.
    unsafe {
        if out.len() >= S::LANES {
            s.store(out.as_mut_ptr(), v);
        } else {
            s.store_part(out.as_mut_ptr(), v, out.len());
        }
    }
}
