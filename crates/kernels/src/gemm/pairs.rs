//! Products of pairs of bf16, for CPUs with AVX-512's bf16 dot products: twice the arithmetic of f32.

use std::arch::x86_64::*;

use half::bf16;

use super::{Multiply, Sweep, batch, sweep_with};
use crate::simd::Avx512;

/// Proof that the CPU has AVX-512 BF16.
#[derive(Clone, Copy)]
pub(super) struct Pairs(());

impl Multiply<Avx512> for Pairs {
    #[inline(always)]
    fn mul_add(self, _: Avx512, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` exists only where the CPU has the instruction; all vectors are 64 bytes of any bits.
        unsafe {
            let [a, b] = [a, b].map(|v| std::mem::transmute::<__m512, __m512bh>(v));
            _mm512_dpbf16_ps(c, a, b)
        }
    }
}

/// As [`super::sweep_tiles`], of [`Words::Bf16Pairs`](super::Words::Bf16Pairs).
///
/// # Safety
/// The CPU has the features below.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn sweep_tiles(sweep: &Sweep<'_>) {
    sweep_with(Avx512::new(), Pairs(()), sweep);
}

/// As [`batch::columns_with`], of [`Words::Bf16Pairs`](super::Words::Bf16Pairs).
///
/// # Safety
/// The CPU has the features below. Nobody else writes the columns.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn columns(job: &batch::Job<'_, bf16>) {
    batch::columns_with(Avx512::new(), Pairs(()), job);
}
