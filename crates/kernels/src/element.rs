//! The float types of dense weights.

use half::{bf16, f16};

use crate::simd::Simd;

mod private {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::bf16 {}
    impl Sealed for half::f16 {}
}

/// A float type that weights are stored in: `f32`, `bf16` or `f16`. Arithmetic is in f32.
pub trait Element: Copy + Send + Sync + private::Sealed + 'static {
    /// The value.
    fn to_f32(self) -> f32;

    /// A vector of elements, converted.
    ///
    /// # Safety
    /// `LANES` elements are readable at `p`.
    #[doc(hidden)]
    unsafe fn load<S: Simd>(s: S, p: *const Self) -> S::F32;
}

impl Element for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const f32) -> S::F32 {
        // SAFETY: the caller's promise.
        unsafe { s.load(p) }
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const bf16) -> S::F32 {
        // SAFETY: the caller's promise; bf16 is a transparent u16.
        unsafe { s.load_bf16(p.cast()) }
    }
}

impl Element for f16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, p: *const f16) -> S::F32 {
        // SAFETY: the caller's promise; f16 is a transparent u16.
        unsafe { s.load_f16(p.cast()) }
    }
}
