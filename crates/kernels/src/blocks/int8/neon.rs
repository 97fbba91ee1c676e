//! NEON, and NEON with integer dot products.

use std::arch::{aarch64::*, asm};

use half::f16;

use super::Int8;

/// Proof that the CPU has NEON.
#[derive(Clone, Copy)]
pub(in crate::blocks) struct NeonInt8(());

/// Proof that the CPU has NEON and its integer dot products.
#[derive(Clone, Copy)]
pub(in crate::blocks) struct NeonDotInt8(());

impl NeonInt8 {
    #[inline]
    #[target_feature(enable = "neon")]
    pub(in crate::blocks) fn new() -> Self {
        Self(())
    }
}

impl NeonDotInt8 {
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    pub(in crate::blocks) fn new() -> Self {
        Self(())
    }
}

type Pair<T> = [T; 2];

#[inline(always)]
fn each<T: Copy, U>(a: Pair<T>, f: impl Fn(T) -> U) -> Pair<U> {
    [f(a[0]), f(a[1])]
}

/// What the two have in common.
macro_rules! common {
    () => {
        type Bytes = Pair<uint8x16_t>;
        type Ints = Pair<int32x4_t>;
        type Floats = Pair<float32x4_t>;

        #[inline(always)]
        unsafe fn load(self, p: *const u8) -> Self::Bytes {
            unsafe { [vld1q_u8(p), vld1q_u8(p.add(16))] }
        }

        #[inline(always)]
        unsafe fn load_two(self, p: [*const u8; 2]) -> Self::Bytes {
            each(p, |p| unsafe { vld1q_u8(p) })
        }

        #[inline(always)]
        unsafe fn load_nibbles(self, p: *const u8) -> Self::Bytes {
            unsafe {
                let bytes = vld1q_u8(p);
                [vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8::<4>(bytes)]
            }
        }

        #[inline(always)]
        fn splat(self, byte: i8) -> Self::Bytes {
            unsafe { [vdupq_n_u8(byte as u8); 2] }
        }

        #[inline(always)]
        fn low_nibbles(self, a: Self::Bytes) -> Self::Bytes {
            each(a, |a| unsafe { vandq_u8(a, vdupq_n_u8(15)) })
        }

        #[inline(always)]
        fn high_nibbles(self, a: Self::Bytes) -> Self::Bytes {
            each(a, |a| unsafe { vshrq_n_u8::<4>(a) })
        }

        #[inline(always)]
        fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
            unsafe { [vorrq_u8(a[0], b[0]), vorrq_u8(a[1], b[1])] }
        }

        #[inline(always)]
        fn fifth_bits(self, bits: u32) -> Self::Bytes {
            unsafe {
                let own_bit = vcreate_u8(0x8040_2010_0804_0201);
                let own_bit = vcombine_u8(own_bit, own_bit);
                each([bits, bits >> 16], |bits| {
                    let eight = |bits: u32| vdup_n_u8(bits as u8);
                    let set = vtstq_u8(vcombine_u8(eight(bits), eight(bits >> 8)), own_bit);
                    vandq_u8(set, vdupq_n_u8(16))
                })
            }
        }

        #[inline(always)]
        fn fifth_bit(self, a: Self::Bytes, index: usize) -> Self::Bytes {
            each(a, |a| unsafe {
                let shifted = vshlq_u8(a, vdupq_n_s8(4 - index as i8));
                vandq_u8(shifted, vdupq_n_u8(16))
            })
        }

        #[inline(always)]
        fn upper_bits(self, a: Self::Bytes, index: usize) -> Self::Bytes {
            each(a, |a| unsafe {
                let shifted = vshlq_u8(a, vdupq_n_s8(4 - 2 * index as i8));
                vandq_u8(shifted, vdupq_n_u8(48))
            })
        }

        #[inline(always)]
        fn no_ints(self) -> Self::Ints {
            unsafe { [vdupq_n_s32(0); 2] }
        }

        #[inline(always)]
        fn negate(self, a: Self::Ints) -> Self::Ints {
            each(a, |a| unsafe { vnegq_s32(a) })
        }

        #[inline(always)]
        fn dot_signed_pair(
            self,
            _: Self::Ints,
            w: [Self::Bytes; 2],
            x: [Self::Bytes; 2],
        ) -> Self::Ints {
            self.dot(self.dot(self.no_ints(), w[0], x[0]), w[1], x[1])
        }

        #[inline(always)]
        unsafe fn load_ints(self, p: *const i32) -> Self::Ints {
            unsafe { [vld1q_s32(p), vld1q_s32(p.add(4))] }
        }

        #[inline(always)]
        fn shift_left<const N: i32>(self, a: Self::Ints) -> Self::Ints {
            each(a, |a| unsafe { vshlq_n_s32::<N>(a) })
        }

        #[inline(always)]
        fn join(self, high: Self::Ints, low: Self::Ints) -> Self::Ints {
            let join = |i: usize| unsafe { vaddq_s32(vshlq_n_s32::<8>(high[i]), low[i]) };
            [join(0), join(1)]
        }

        #[inline(always)]
        fn to_floats(self, a: Self::Ints) -> Self::Floats {
            each(a, |a| unsafe { vcvtq_f32_s32(a) })
        }

        #[inline(always)]
        fn zeros(self) -> Self::Floats {
            unsafe { [vdupq_n_f32(0.0); 2] }
        }

        #[inline(always)]
        unsafe fn load_floats(self, p: *const f32) -> Self::Floats {
            unsafe { [vld1q_f32(p), vld1q_f32(p.add(4))] }
        }

        #[inline(always)]
        fn to_array(self, a: Self::Floats) -> [f32; 8] {
            let mut array = [0.0; 8];
            unsafe {
                vst1q_f32(array.as_mut_ptr(), a[0]);
                vst1q_f32(array.as_mut_ptr().add(4), a[1]);
            }
            array
        }

        #[inline(always)]
        fn widen_halves(self, bits: [u16; 8]) -> Self::Floats {
            let floats = bits.map(|bits| f16::from_bits(bits).to_f32());
            unsafe { self.load_floats(floats.as_ptr()) }
        }

        #[inline(always)]
        unsafe fn spread_halves(self, p: [*const u8; 2]) -> Self::Floats {
            each(p, |p| unsafe {
                let bits = u16::from_le_bytes(p.cast::<[u8; 2]>().read());
                vdupq_n_f32(f16::from_bits(bits).to_f32())
            })
        }

        #[inline(always)]
        fn widen_bytes(self, bytes: [u8; 8]) -> Self::Floats {
            unsafe {
                let bytes = vmovl_u8(vcreate_u8(u64::from_le_bytes(bytes)));
                [vget_low_u16(bytes), vget_high_u16(bytes)]
                    .map(|four| vcvtq_f32_u32(vmovl_u16(four)))
            }
        }

        #[inline(always)]
        fn widen_signed_pairs(self, bytes: [u8; 16]) -> [Self::Floats; 2] {
            unsafe {
                let pairs = vreinterpretq_s16_u8(vld1q_u8(bytes.as_ptr()));
                let even = vshrq_n_s16::<8>(vshlq_n_s16::<8>(pairs));
                let odd = vshrq_n_s16::<8>(pairs);
                let float = |a| vcvtq_f32_s32(vmovl_s16(a));
                [even, odd].map(|a| [float(vget_low_s16(a)), float(vget_high_s16(a))])
            }
        }

        #[inline(always)]
        fn scale(self, a: Self::Floats, by: f32) -> Self::Floats {
            each(a, |a| unsafe { vmulq_n_f32(a, by) })
        }

        #[inline(always)]
        fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
            unsafe { [vmulq_f32(a[0], b[0]), vmulq_f32(a[1], b[1])] }
        }

        #[inline(always)]
        fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
            unsafe { [vfmaq_f32(c[0], a[0], b[0]), vfmaq_f32(c[1], a[1], b[1])] }
        }

        #[inline(always)]
        fn add_scaled(self, sums: Self::Floats, ints: Self::Ints, scale: f32) -> Self::Floats {
            unsafe {
                let ints = vcvtq_f32_s32(vaddq_s32(ints[0], ints[1]));
                [vfmaq_n_f32(sums[0], ints, scale), sums[1]]
            }
        }

        #[inline(always)]
        fn add_scaled_halves(
            self,
            sums: Self::Floats,
            ints: Self::Ints,
            scales: [f32; 2],
        ) -> Self::Floats {
            let half =
                |i: usize| unsafe { vfmaq_n_f32(sums[i], vcvtq_f32_s32(ints[i]), scales[i]) };
            [half(0), half(1)]
        }

        #[inline(always)]
        fn sum(self, a: Self::Floats) -> f32 {
            unsafe { vaddvq_f32(vaddq_f32(a[0], a[1])) }
        }
    };
}

// Every block below and above: SAFETY: `self` exists only where the CPU has the instructions (`new`); what pointers
// point at is the caller's promise.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Int8 for NeonInt8 {
    common!();

    #[inline(always)]
    fn dot(self, sums: Self::Ints, w: Self::Bytes, x: Self::Bytes) -> Self::Ints {
        let half = |i: usize| unsafe {
            let (w, x) = (vreinterpretq_s8_u8(w[i]), vreinterpretq_s8_u8(x[i]));
            // Pairs stay below 2^15: 128 * 127 * 2.
            let pairs = vmull_s8(vget_low_s8(w), vget_low_s8(x));
            vpadalq_s16(sums[i], vmlal_high_s8(pairs, w, x))
        };
        [half(0), half(1)]
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Int8 for NeonDotInt8 {
    common!();

    #[inline(always)]
    fn dot(self, sums: Self::Ints, w: Self::Bytes, x: Self::Bytes) -> Self::Ints {
        let half = |i: usize| unsafe {
            let mut sum = sums[i];
            // The intrinsic is not stable yet.
            asm!(
                "sdot {sum:v}.4s, {w:v}.16b, {x:v}.16b",
                sum = inout(vreg) sum,
                w = in(vreg) w[i],
                x = in(vreg) x[i],
                options(pure, nomem, nostack, preserves_flags),
            );
            sum
        };
        [half(0), half(1)]
    }
}
