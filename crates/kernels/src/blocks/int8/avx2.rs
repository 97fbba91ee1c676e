//! 256-bit vectors: AVX2, and the same with AVX-512's integer dot products.

use std::arch::x86_64::*;

use super::Int8;

/// Proof that the CPU has AVX2, FMA and F16C.
#[derive(Clone, Copy)]
pub(in crate::blocks) struct Avx2Int8(());

/// Proof that the CPU has AVX-512 VNNI, BW and VL, and what AVX2 has.
#[derive(Clone, Copy)]
pub(in crate::blocks) struct VnniInt8(());

impl Avx2Int8 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(in crate::blocks) fn new() -> Self {
        Self(())
    }
}

impl VnniInt8 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(in crate::blocks) fn new() -> Self {
        Self(())
    }
}

/// What the two have in common.
macro_rules! common {
    () => {
        type Bytes = __m256i;
        type Ints = __m256i;
        type Floats = __m256;

        #[inline(always)]
        unsafe fn load(self, p: *const u8) -> __m256i {
            unsafe { _mm256_loadu_si256(p.cast()) }
        }

        #[inline(always)]
        fn prefetch(self, p: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
        }

        #[inline(always)]
        unsafe fn load_two(self, [first, second]: [*const u8; 2]) -> __m256i {
            unsafe { _mm256_loadu2_m128i(second.cast(), first.cast()) }
        }

        #[inline(always)]
        unsafe fn load_nibbles(self, p: *const u8) -> __m256i {
            unsafe {
                let low = _mm_loadu_si128(p.cast());
                let both = _mm256_set_m128i(_mm_srli_epi16::<4>(low), low);
                _mm256_and_si256(both, _mm256_set1_epi8(15))
            }
        }

        #[inline(always)]
        fn splat(self, byte: i8) -> __m256i {
            unsafe { _mm256_set1_epi8(byte) }
        }

        #[inline(always)]
        fn low_nibbles(self, a: __m256i) -> __m256i {
            unsafe { _mm256_and_si256(a, _mm256_set1_epi8(15)) }
        }

        #[inline(always)]
        fn high_nibbles(self, a: __m256i) -> __m256i {
            unsafe { _mm256_and_si256(_mm256_srli_epi16::<4>(a), _mm256_set1_epi8(15)) }
        }

        #[inline(always)]
        fn or(self, a: __m256i, b: __m256i) -> __m256i {
            unsafe { _mm256_or_si256(a, b) }
        }

        #[inline(always)]
        fn fifth_bit(self, a: __m256i, index: usize) -> __m256i {
            unsafe {
                // To bit 4 within the 16-bit lane; what comes from the neighbouring byte is masked away.
                let shifted = match index {
                    0..4 => _mm256_sll_epi16(a, _mm_cvtsi32_si128(4 - index as i32)),
                    _ => _mm256_srl_epi16(a, _mm_cvtsi32_si128(index as i32 - 4)),
                };
                _mm256_and_si256(shifted, _mm256_set1_epi8(16))
            }
        }

        #[inline(always)]
        fn upper_bits(self, a: __m256i, index: usize) -> __m256i {
            unsafe {
                let shifted = match index {
                    0 => _mm256_slli_epi16::<4>(a),
                    1 => _mm256_slli_epi16::<2>(a),
                    2 => a,
                    _ => _mm256_srli_epi16::<2>(a),
                };
                _mm256_and_si256(shifted, _mm256_set1_epi8(48))
            }
        }

        #[inline(always)]
        fn no_ints(self) -> __m256i {
            unsafe { _mm256_setzero_si256() }
        }

        #[inline(always)]
        fn negate(self, a: __m256i) -> __m256i {
            unsafe { _mm256_sub_epi32(_mm256_setzero_si256(), a) }
        }

        #[inline(always)]
        unsafe fn load_ints(self, p: *const i32) -> __m256i {
            unsafe { _mm256_loadu_si256(p.cast()) }
        }

        #[inline(always)]
        fn shift_left<const N: i32>(self, a: __m256i) -> __m256i {
            unsafe { _mm256_slli_epi32::<N>(a) }
        }

        #[inline(always)]
        fn join(self, high: __m256i, low: __m256i) -> __m256i {
            unsafe { _mm256_add_epi32(_mm256_slli_epi32::<8>(high), low) }
        }

        #[inline(always)]
        fn to_floats(self, a: __m256i) -> __m256 {
            unsafe { _mm256_cvtepi32_ps(a) }
        }

        #[inline(always)]
        fn zeros(self) -> __m256 {
            unsafe { _mm256_setzero_ps() }
        }

        #[inline(always)]
        unsafe fn load_floats(self, p: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(p) }
        }

        #[inline(always)]
        fn to_array(self, a: __m256) -> [f32; 8] {
            let mut array = [0.0; 8];
            unsafe { _mm256_storeu_ps(array.as_mut_ptr(), a) };
            array
        }

        #[inline(always)]
        fn widen_halves(self, bits: [u16; 8]) -> __m256 {
            // In general registers, because the vector ones have enough to do.
            let [a, b, c, d, e, f, g, h] = bits.map(u64::from);
            let low = a | b << 16 | c << 32 | d << 48;
            let high = e | f << 16 | g << 32 | h << 48;
            unsafe { _mm256_cvtph_ps(_mm_set_epi64x(high as i64, low as i64)) }
        }

        #[inline(always)]
        unsafe fn spread_halves(self, p: [*const u8; 2]) -> __m256 {
            unsafe {
                let [first, second] = p.map(|p| p.cast::<i32>().read_unaligned());
                let both = _mm_blend_epi32::<0b1100>(_mm_set1_epi32(first), _mm_set1_epi32(second));
                let low = _mm_shufflehi_epi16::<0>(_mm_shufflelo_epi16::<0>(both));
                _mm256_cvtph_ps(low)
            }
        }

        #[inline(always)]
        fn widen_bytes(self, bytes: [u8; 8]) -> __m256 {
            unsafe {
                let bytes = _mm_cvtsi64_si128(i64::from_le_bytes(bytes));
                _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))
            }
        }

        #[inline(always)]
        fn widen_signed_pairs(self, bytes: [u8; 16]) -> [__m256; 2] {
            unsafe {
                let pairs = _mm_loadu_si128(bytes.as_ptr().cast());
                let even = _mm_srai_epi16::<8>(_mm_slli_epi16::<8>(pairs));
                let odd = _mm_srai_epi16::<8>(pairs);
                [
                    _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(even)),
                    _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(odd)),
                ]
            }
        }

        #[inline(always)]
        fn scale(self, a: __m256, by: f32) -> __m256 {
            unsafe { _mm256_mul_ps(a, _mm256_set1_ps(by)) }
        }

        #[inline(always)]
        fn mul(self, a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_mul_ps(a, b) }
        }

        #[inline(always)]
        fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn add_scaled(self, sums: __m256, ints: __m256i, scale: f32) -> __m256 {
            unsafe { _mm256_fmadd_ps(_mm256_cvtepi32_ps(ints), _mm256_set1_ps(scale), sums) }
        }

        #[inline(always)]
        fn add_scaled_halves(self, sums: __m256, ints: __m256i, scales: [f32; 2]) -> __m256 {
            unsafe {
                let scales = _mm256_set_m128(_mm_set1_ps(scales[1]), _mm_set1_ps(scales[0]));
                _mm256_fmadd_ps(_mm256_cvtepi32_ps(ints), scales, sums)
            }
        }

        #[inline(always)]
        fn sum(self, a: __m256) -> f32 {
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
            }
        }
    };
}

// Every block below and above: SAFETY: `self` exists only where the CPU has the instructions (`new`); what pointers
// point at is the caller's promise.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Int8 for Avx2Int8 {
    common!();

    #[inline(always)]
    fn fifth_bits(self, bits: u32) -> __m256i {
        unsafe {
            // Each byte of the bits to the eight lanes that they belong to, then one bit per lane.
            let spread = _mm256_setr_epi64x(
                0,
                0x0101_0101_0101_0101,
                0x0202_0202_0202_0202,
                0x0303_0303_0303_0303,
            );
            let own_bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let bits = _mm256_shuffle_epi8(_mm256_set1_epi32(bits as i32), spread);
            let set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, own_bit), own_bit);
            _mm256_and_si256(set, _mm256_set1_epi8(16))
        }
    }

    #[inline(always)]
    fn dot(self, sums: __m256i, w: __m256i, x: __m256i) -> __m256i {
        unsafe {
            // Pairs stay below 2^15: 128 * 127 * 2.
            let pairs = _mm256_maddubs_epi16(w, x);
            _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn dot_signed_pair(self, _: __m256i, w: [__m256i; 2], x: [__m256i; 2]) -> __m256i {
        let mut sums = self.no_ints();
        for (w, x) in w.into_iter().zip(x) {
            // |w| unsigned, with its sign moved to x.
            sums = unsafe { self.dot(sums, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w)) };
        }
        sums
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Int8 for VnniInt8 {
    common!();

    #[inline(always)]
    fn fifth_bits(self, bits: u32) -> __m256i {
        unsafe { _mm256_maskz_set1_epi8(bits, 16) }
    }

    #[inline(always)]
    fn dot(self, sums: __m256i, w: __m256i, x: __m256i) -> __m256i {
        unsafe { _mm256_dpbusd_epi32(sums, w, x) }
    }

    #[inline(always)]
    fn dot_signed_pair(self, offsets: __m256i, w: [__m256i; 2], x: [__m256i; 2]) -> __m256i {
        // w + 128, unsigned.
        let mut sums = self.shift_left::<7>(offsets);
        for (w, x) in w.into_iter().zip(x) {
            sums = unsafe { self.dot(sums, _mm256_xor_si256(w, _mm256_set1_epi8(-128)), x) };
        }
        sums
    }
}
