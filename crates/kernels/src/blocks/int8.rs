//! Vectors of 32 small integers for every instruction set, behind one trait: what a dot product of a quantised group
//! needs.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::{Avx2Int8, VnniInt8};
#[cfg(target_arch = "aarch64")]
pub(super) use neon::{NeonDotInt8, NeonInt8};
pub(super) use scalar::ScalarInt8;

/// An instruction set's operations on 32 bytes, their dot products, and eight f32. A value is the proof that the CPU
/// has the instructions.
pub(super) trait Int8: Copy {
    /// 32 bytes.
    type Bytes: Copy;
    /// Sums of products; those of the first 16 bytes apart from those of the last 16.
    type Ints: Copy;
    /// Eight f32.
    type Floats: Copy;

    /// # Safety
    /// 32 bytes are readable at `p`.
    unsafe fn load(self, p: *const u8) -> Self::Bytes;
    /// 16 bytes of each.
    ///
    /// # Safety
    /// 16 bytes are readable at both.
    unsafe fn load_two(self, p: [*const u8; 2]) -> Self::Bytes;
    /// The low nibbles of 16 bytes, then the high ones.
    ///
    /// # Safety
    /// 16 bytes are readable at `p`.
    unsafe fn load_nibbles(self, p: *const u8) -> Self::Bytes;
    /// Asks for the memory at `p`, which need not be readable.
    fn prefetch(self, _p: *const u8) {}
    fn splat(self, byte: i8) -> Self::Bytes;
    fn low_nibbles(self, a: Self::Bytes) -> Self::Bytes;
    fn high_nibbles(self, a: Self::Bytes) -> Self::Bytes;
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    /// 16 where the bit of `bits` is set, else 0.
    fn fifth_bits(self, bits: u32) -> Self::Bytes;
    /// 16 where bit `index` of the byte is set, else 0.
    fn fifth_bit(self, a: Self::Bytes, index: usize) -> Self::Bytes;
    /// Bits `2 * index` and `2 * index + 1` of each byte, as bits 4 and 5.
    fn upper_bits(self, a: Self::Bytes, index: usize) -> Self::Bytes;

    fn no_ints(self) -> Self::Ints;
    fn negate(self, a: Self::Ints) -> Self::Ints;
    /// `sums` and the products of `w`, in 0..64, with `x`, signed.
    fn dot(self, sums: Self::Ints, w: Self::Bytes, x: Self::Bytes) -> Self::Ints;
    /// The products of `w`, signed, with `x`, signed and not -128. `offsets` are the sums of `x`, negated.
    fn dot_signed_pair(
        self,
        offsets: Self::Ints,
        w: [Self::Bytes; 2],
        x: [Self::Bytes; 2],
    ) -> Self::Ints;
    /// From eight integers: the first four are added up apart from the last four.
    ///
    /// # Safety
    /// Eight elements are readable at `p`, and those in other than the first and the fifth place are zero.
    unsafe fn load_ints(self, p: *const i32) -> Self::Ints;
    fn shift_left<const N: i32>(self, a: Self::Ints) -> Self::Ints;
    /// `256 * high + low`.
    fn join(self, high: Self::Ints, low: Self::Ints) -> Self::Ints;
    /// Lanes whose sum over each half is that half's.
    fn to_floats(self, a: Self::Ints) -> Self::Floats;

    fn zeros(self) -> Self::Floats;
    /// # Safety
    /// Eight elements are readable at `p`.
    unsafe fn load_floats(self, p: *const f32) -> Self::Floats;
    fn to_array(self, a: Self::Floats) -> [f32; 8];
    /// From the bits of f16.
    fn widen_halves(self, bits: [u16; 8]) -> Self::Floats;
    /// An f16 from each: the first in four lanes, then the second.
    ///
    /// # Safety
    /// 4 bytes are readable at both.
    unsafe fn spread_halves(self, p: [*const u8; 2]) -> Self::Floats;
    fn widen_bytes(self, bytes: [u8; 8]) -> Self::Floats;
    /// From signed bytes: the even ones, and the odd ones.
    fn widen_signed_pairs(self, bytes: [u8; 16]) -> [Self::Floats; 2];
    fn scale(self, a: Self::Floats, by: f32) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`.
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// Adds `ints * scale` to `sums`, in whichever lanes.
    fn add_scaled(self, sums: Self::Floats, ints: Self::Ints, scale: f32) -> Self::Floats;
    /// As [`add_scaled`](Self::add_scaled), with a scale for the first 16 bytes and one for the last.
    fn add_scaled_halves(
        self,
        sums: Self::Floats,
        ints: Self::Ints,
        scales: [f32; 2],
    ) -> Self::Floats;
    fn sum(self, a: Self::Floats) -> f32;
}

/// Defines a function that runs on any [`Isa`](crate::Isa), as `simd_fn!` does, over [`Int8`].
macro_rules! int8_fn {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident<$s:ident, $g:ident : $bound:path $(, const $n:ident)*>(
            $token:ident $(, $arg:ident : $ty:ty)* $(,)?
        ) $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name<$g: $bound, $(const $n: usize),*>(isa: $crate::Isa $(, $arg: $ty)*) {
            #[inline(always)]
            fn body<$s: $crate::blocks::int8::Int8, $g: $bound, $(const $n: usize),*>($token: $s $(, $arg: $ty)*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2<$g: $bound, $(const $n: usize),*>($($arg: $ty),*) {
                body::<_, $g, $($n),*>($crate::blocks::int8::Avx2Int8::new() $(, $arg)*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
            fn vnni<$g: $bound, $(const $n: usize),*>($($arg: $ty),*) {
                body::<_, $g, $($n),*>($crate::blocks::int8::VnniInt8::new() $(, $arg)*)
            }

            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            fn neon<$g: $bound, $(const $n: usize),*>($($arg: $ty),*) {
                body::<_, $g, $($n),*>($crate::blocks::int8::NeonInt8::new() $(, $arg)*)
            }

            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon,dotprod")]
            fn neon_dot<$g: $bound, $(const $n: usize),*>($($arg: $ty),*) {
                body::<_, $g, $($n),*>($crate::blocks::int8::NeonDotInt8::new() $(, $arg)*)
            }

            match isa.level() {
                $crate::isa::Level::Scalar => body::<_, $g, $($n),*>($crate::blocks::int8::ScalarInt8 $(, $arg)*),
                // SAFETY: an `Isa` of this level exists only where the CPU has its features.
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Level::Avx2 | $crate::isa::Level::Avx512 => unsafe { avx2::<$g, $($n),*>($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                $crate::isa::Level::Avx512Vnni | $crate::isa::Level::Avx512Bf16 => {
                    // SAFETY: as above.
                    unsafe { vnni::<$g, $($n),*>($($arg),*) }
                }
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                $crate::isa::Level::Neon => unsafe { neon::<$g, $($n),*>($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                $crate::isa::Level::NeonDot => unsafe { neon_dot::<$g, $($n),*>($($arg),*) },
            }
        }
    };
}
pub(super) use int8_fn;
