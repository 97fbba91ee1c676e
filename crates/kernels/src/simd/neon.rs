//! NEON: four lanes.

use std::arch::aarch64::*;

use half::f16;

use super::Simd;

/// Proof that the CPU has NEON.
#[derive(Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    #[inline]
    #[target_feature(enable = "neon")]
    pub(crate) fn new() -> Self {
        Self(())
    }
}

// Every block below: SAFETY: `self` exists only where the CPU has NEON (`Neon::new`); what pointers point at is the
// caller's promise.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Neon {
    type F32 = float32x4_t;
    const LANES: usize = 4;
    // 12 × 2 accumulators, two columns and a broadcast fill 27 of the 32 registers.
    const TILE_ROWS: usize = 12;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(p) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: float32x4_t) {
        unsafe { vst1q_f32(p, v) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, p: *const u16) -> float32x4_t {
        unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(p))) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> float32x4_t {
        unsafe {
            let lanes: [f32; 4] =
                std::array::from_fn(|i| f16::from_bits(p.add(i).read_unaligned()).to_f32());
            vld1q_f32(lanes.as_ptr())
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, p: *const T) {
        unsafe { std::arch::asm!("prfm pldl1keep, [{}]", in(reg) p, options(nostack, readonly)) }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vdivq_f32(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        self.select_less(a, b, a, b)
    }

    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        self.select_less(b, a, a, b)
    }

    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        unsafe { vsqrtq_f32(a) }
    }

    #[inline(always)]
    fn round(self, a: float32x4_t) -> float32x4_t {
        unsafe { vrndnq_f32(a) }
    }

    #[inline(always)]
    fn select_less(
        self,
        a: float32x4_t,
        b: float32x4_t,
        yes: float32x4_t,
        no: float32x4_t,
    ) -> float32x4_t {
        unsafe { vbslq_f32(vcltq_f32(a, b), yes, no) }
    }

    #[inline(always)]
    fn exp2_whole(self, n: float32x4_t) -> float32x4_t {
        unsafe {
            let biased = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
            vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased))
        }
    }

    #[inline(always)]
    fn mul_exp2(self, a: float32x4_t, n: float32x4_t) -> float32x4_t {
        unsafe {
            let exponent = vshlq_n_s32::<23>(vcvtnq_s32_f32(n));
            vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), exponent))
        }
    }

    #[inline(always)]
    fn sum(self, a: float32x4_t) -> f32 {
        unsafe { vaddvq_f32(a) }
    }

    #[inline(always)]
    fn sum4(self, [a, b, c, d]: [float32x4_t; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        unsafe {
            vst1q_f32(
                sums.as_mut_ptr(),
                vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)),
            )
        };
        sums
    }

    #[inline(always)]
    fn max_lane(self, a: float32x4_t) -> f32 {
        unsafe { vmaxnmvq_f32(a) }
    }

    #[inline(always)]
    unsafe fn transpose(
        self,
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        unsafe {
            let row = |i: usize| vld1q_f32(from.add(i * from_stride));
            let (a, b) = (vtrnq_f32(row(0), row(1)), vtrnq_f32(row(2), row(3)));
            let low = |a, b| vcombine_f32(vget_low_f32(a), vget_low_f32(b));
            let high = |a, b| vcombine_f32(vget_high_f32(a), vget_high_f32(b));
            vst1q_f32(to, low(a.0, b.0));
            vst1q_f32(to.add(to_stride), low(a.1, b.1));
            vst1q_f32(to.add(2 * to_stride), high(a.0, b.0));
            vst1q_f32(to.add(3 * to_stride), high(a.1, b.1));
        }
    }
}
