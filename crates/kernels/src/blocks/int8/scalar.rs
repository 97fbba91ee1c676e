//! Plain Rust: the twin that the other instruction sets are tested against.

use half::f16;

use super::Int8;

#[derive(Clone, Copy)]
pub(in crate::blocks) struct ScalarInt8;

impl Int8 for ScalarInt8 {
    type Bytes = [i8; 32];
    /// Of the first and the last 16 bytes.
    type Ints = [i32; 2];
    type Floats = [f32; 8];

    #[inline(always)]
    unsafe fn load(self, p: *const u8) -> [i8; 32] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[i8; 32]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_two(self, p: [*const u8; 2]) -> [i8; 32] {
        // SAFETY: the caller's promise.
        let halves = p.map(|p| unsafe { p.cast::<[i8; 16]>().read_unaligned() });
        std::array::from_fn(|i| halves[i / 16][i % 16])
    }

    #[inline(always)]
    unsafe fn load_nibbles(self, p: *const u8) -> [i8; 32] {
        // SAFETY: the caller's promise.
        let bytes = unsafe { p.cast::<[u8; 16]>().read_unaligned() };
        std::array::from_fn(|i| (bytes[i % 16] >> (i / 16 * 4) & 15) as i8)
    }

    #[inline(always)]
    fn splat(self, byte: i8) -> [i8; 32] {
        [byte; 32]
    }

    #[inline(always)]
    fn low_nibbles(self, a: [i8; 32]) -> [i8; 32] {
        a.map(|a| a & 15)
    }

    #[inline(always)]
    fn high_nibbles(self, a: [i8; 32]) -> [i8; 32] {
        a.map(|a| a >> 4 & 15)
    }

    #[inline(always)]
    fn or(self, a: [i8; 32], b: [i8; 32]) -> [i8; 32] {
        std::array::from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn fifth_bits(self, bits: u32) -> [i8; 32] {
        std::array::from_fn(|i| ((bits >> i & 1) << 4) as i8)
    }

    #[inline(always)]
    fn fifth_bit(self, a: [i8; 32], index: usize) -> [i8; 32] {
        a.map(|a| (a >> index & 1) << 4)
    }

    #[inline(always)]
    fn upper_bits(self, a: [i8; 32], index: usize) -> [i8; 32] {
        a.map(|a| (a >> (2 * index) & 3) << 4)
    }

    #[inline(always)]
    fn no_ints(self) -> [i32; 2] {
        [0; 2]
    }

    #[inline(always)]
    fn negate(self, a: [i32; 2]) -> [i32; 2] {
        a.map(|a| -a)
    }

    #[inline(always)]
    fn dot(self, sums: [i32; 2], w: [i8; 32], x: [i8; 32]) -> [i32; 2] {
        let half = |start| (start..start + 16).map(|i| i32::from(w[i]) * i32::from(x[i]));
        [
            sums[0] + half(0).sum::<i32>(),
            sums[1] + half(16).sum::<i32>(),
        ]
    }

    #[inline(always)]
    fn dot_signed_pair(self, _: [i32; 2], w: [[i8; 32]; 2], x: [[i8; 32]; 2]) -> [i32; 2] {
        self.dot(self.dot(self.no_ints(), w[0], x[0]), w[1], x[1])
    }

    #[inline(always)]
    unsafe fn load_ints(self, p: *const i32) -> [i32; 2] {
        // SAFETY: the caller's promise.
        unsafe { [p.read(), p.add(4).read()] }
    }

    #[inline(always)]
    fn shift_left<const N: i32>(self, a: [i32; 2]) -> [i32; 2] {
        a.map(|a| a << N)
    }

    #[inline(always)]
    fn join(self, high: [i32; 2], low: [i32; 2]) -> [i32; 2] {
        [0, 1].map(|i| (high[i] << 8) + low[i])
    }

    #[inline(always)]
    fn to_floats(self, a: [i32; 2]) -> [f32; 8] {
        [a[0] as f32, 0.0, 0.0, 0.0, a[1] as f32, 0.0, 0.0, 0.0]
    }

    #[inline(always)]
    fn zeros(self) -> [f32; 8] {
        [0.0; 8]
    }

    #[inline(always)]
    unsafe fn load_floats(self, p: *const f32) -> [f32; 8] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; 8]>().read() }
    }

    #[inline(always)]
    fn to_array(self, a: [f32; 8]) -> [f32; 8] {
        a
    }

    #[inline(always)]
    fn widen_halves(self, bits: [u16; 8]) -> [f32; 8] {
        bits.map(|bits| f16::from_bits(bits).to_f32())
    }

    #[inline(always)]
    unsafe fn spread_halves(self, p: [*const u8; 2]) -> [f32; 8] {
        // SAFETY: the caller's promise.
        let bits = p.map(|p| u16::from_le_bytes(unsafe { p.cast::<[u8; 2]>().read() }));
        let [first, second] = bits.map(|bits| f16::from_bits(bits).to_f32());
        std::array::from_fn(|i| if i < 4 { first } else { second })
    }

    #[inline(always)]
    fn widen_bytes(self, bytes: [u8; 8]) -> [f32; 8] {
        bytes.map(f32::from)
    }

    #[inline(always)]
    fn widen_signed_pairs(self, bytes: [u8; 16]) -> [[f32; 8]; 2] {
        [0, 1].map(|parity| std::array::from_fn(|i| f32::from(bytes[2 * i + parity] as i8)))
    }

    #[inline(always)]
    fn scale(self, a: [f32; 8], by: f32) -> [f32; 8] {
        a.map(|a| a * by)
    }

    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn mul_add(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn add_scaled(self, sums: [f32; 8], ints: [i32; 2], scale: f32) -> [f32; 8] {
        self.add_scaled_halves(sums, [ints[0] + ints[1], 0], [scale, 0.0])
    }

    #[inline(always)]
    fn add_scaled_halves(self, mut sums: [f32; 8], ints: [i32; 2], scales: [f32; 2]) -> [f32; 8] {
        sums[0] += ints[0] as f32 * scales[0];
        sums[1] += ints[1] as f32 * scales[1];
        sums
    }

    #[inline(always)]
    fn sum(self, a: [f32; 8]) -> f32 {
        a.into_iter().sum()
    }
}
