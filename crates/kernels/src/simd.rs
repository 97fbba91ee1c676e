//! Vectors of f32 for every instruction set, behind one trait, and the macro that compiles a function once for each.
//!
//! A kernel is written once, generic over [`Simd`]. [`simd_fn!`] makes a function that takes an [`Isa`](crate::Isa) and
//! runs the copy compiled for it. The token `s: S` is the proof that the CPU has the instructions, so arithmetic on
//! vectors is safe; only memory is not.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use scalar::Scalar;

/// An instruction set's operations on vectors of [`LANES`](Self::LANES) f32.
///
/// `bf16` and `f16` elements are passed as pointers to their bits.
pub trait Simd: Copy + Send + Sync + 'static {
    /// A vector.
    type F32: Copy;
    /// Elements of a vector.
    const LANES: usize;
    /// Rows of a matrix product's register tile, which is two vectors wide.
    const TILE_ROWS: usize;

    fn splat(self, x: f32) -> Self::F32;

    /// # Safety
    /// `LANES` elements are readable at `p`.
    unsafe fn load(self, p: *const f32) -> Self::F32;
    /// # Safety
    /// `LANES` elements are writable at `p`.
    unsafe fn store(self, p: *mut f32, v: Self::F32);
    /// # Safety
    /// `LANES` elements are readable at `p`.
    unsafe fn load_bf16(self, p: *const u16) -> Self::F32;
    /// # Safety
    /// `LANES` elements are readable at `p`.
    unsafe fn load_f16(self, p: *const u16) -> Self::F32;

    /// Asks for the cache line at `p`, which may be any address.
    fn prefetch<T>(self, p: *const T);

    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a * b + c`, rounded once where the instruction set can.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// The smaller one; `b` where one is NaN.
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The larger one; `b` where one is NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::F32) -> Self::F32;
    /// Where `a < b`, `yes`, elsewhere (NaN too) `no`.
    fn select_less(self, a: Self::F32, b: Self::F32, yes: Self::F32, no: Self::F32) -> Self::F32;
    /// `2^n` for whole `n` in -126..=127, and 0 for -127.
    fn exp2_whole(self, n: Self::F32) -> Self::F32;
    /// `a * 2^n` for whole `n`, by adding to the exponent; `a` and the product are not subnormal. NaN of a NaN `a`.
    fn mul_exp2(self, a: Self::F32, n: Self::F32) -> Self::F32;
    /// The sum of all lanes.
    fn sum(self, a: Self::F32) -> f32;
    /// The sum of all lanes of each.
    fn sum4(self, a: [Self::F32; 4]) -> [f32; 4];

    /// Writes the transpose of the `LANES` × `LANES` elements at `from` to `to`; rows are `from_stride` and `to_stride`
    /// elements apart. Where `to_stride` is less than `LANES`, and at least half of it, what a row has too much is replaced
    /// by the beginning of the next.
    ///
    /// # Safety
    /// `LANES` rows of `LANES` elements are readable at `from` and writable at `to`, and the two do not overlap.
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);

    /// The largest lane.
    #[inline(always)]
    fn max_lane(self, a: Self::F32) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; 16];
        // SAFETY: no vector has more than 16 lanes.
        unsafe { self.store(lanes.as_mut_ptr(), a) };
        lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    fn zero(self) -> Self::F32 {
        self.splat(0.0)
    }

    /// The first `n < LANES` elements at `p`, and zeros.
    ///
    /// # Safety
    /// `n` elements are readable at `p`.
    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize) -> Self::F32 {
        let mut lanes = [0.0; 16];
        // SAFETY: n is below LANES, which is at most 16.
        unsafe {
            std::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
            self.load(lanes.as_ptr())
        }
    }

    /// Stores the first `n < LANES` elements at `p`.
    ///
    /// # Safety
    /// `n` elements are writable at `p`.
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, v: Self::F32, n: usize) {
        let mut lanes = [0.0; 16];
        // SAFETY: as for `load_part`.
        unsafe {
            self.store(lanes.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n);
        }
    }
}

/// Defines a function that runs on any [`Isa`](crate::Isa): `simd_fn! { fn name<S>(s, a: A, ..) -> R { body } }` gives
/// `fn name(isa: Isa, a: A, ..) -> R`. The body is generic over `S: Simd` and has the token `s: S`; further type
/// parameters follow `S` with their bound, and `usize` constants come last: `<S, T: Element; const N>`.
///
/// The body is compiled inside functions that enable the instruction set's features, so everything that it calls in an
/// inner loop must be `#[inline(always)]`, and closures in it are best avoided: they do not inherit the features.
macro_rules! simd_fn {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<$s:ident $(, $g:ident : $bound:path)* $(; const $n:ident)*>(
            $token:ident $(, $arg:ident : $ty:ty)* $(,)?
        ) $(-> $ret:ty)? $body:block
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name<$($g: $bound,)* $(const $n: usize,)*>(isa: $crate::Isa $(, $arg: $ty)*) $(-> $ret)? {
            #[inline(always)]
            fn body<$s: $crate::simd::Simd, $($g: $bound,)* $(const $n: usize,)*>(
                $token: $s $(, $arg: $ty)*
            ) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2<$($g: $bound,)* $(const $n: usize,)*>($($arg: $ty),*) $(-> $ret)? {
                body::<$crate::simd::Avx2, $($g,)* $($n,)*>($crate::simd::Avx2::new() $(, $arg)*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512<$($g: $bound,)* $(const $n: usize,)*>($($arg: $ty),*) $(-> $ret)? {
                body::<$crate::simd::Avx512, $($g,)* $($n,)*>($crate::simd::Avx512::new() $(, $arg)*)
            }

            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            fn neon<$($g: $bound,)* $(const $n: usize,)*>($($arg: $ty),*) $(-> $ret)? {
                body::<$crate::simd::Neon, $($g,)* $($n,)*>($crate::simd::Neon::new() $(, $arg)*)
            }

            match isa.level() {
                $crate::isa::Level::Scalar => {
                    body::<$crate::simd::Scalar, $($g,)* $($n,)*>($crate::simd::Scalar $(, $arg)*)
                }
                // SAFETY: an `Isa` of this level exists only where the CPU has its features.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Level::Avx2 => unsafe { avx2::<$($g,)* $($n,)*>($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Level::Avx512
                | $crate::isa::Level::Avx512Vnni
                | $crate::isa::Level::Avx512Bf16 => {
                    // SAFETY: as above.
                    unsafe { avx512::<$($g,)* $($n,)*>($($arg),*) }
                }
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                $crate::isa::Level::Neon | $crate::isa::Level::NeonDot => unsafe {
                    neon::<$($g,)* $($n,)*>($($arg),*)
                },
            }
        }
    };
}
pub(crate) use simd_fn;
