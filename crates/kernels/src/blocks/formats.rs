//! Where the formats keep their scales and integers, in groups of 32 elements.

use super::{activations::CHUNK, dequantize::six_bit_scales, int8::Int8};

/// A format, eight groups (a chunk) at a time: an element of group `g` is `scale[g] * (q - ZERO) + minimum[g]`.
pub(super) trait Format: 'static {
    /// Bytes of a block.
    const BYTES: usize;
    /// Groups of a block: 1, or 8 as in a chunk.
    const GROUPS: usize = 1;
    /// The integer that means zero, where integers are unsigned (and below 64).
    const ZERO: i8 = 0;
    /// Whether there are minima.
    const MINIMA: bool = false;
    /// Whether a group's second half has its own scale.
    const HALVES: bool = false;

    /// The scales of the groups at `p`, of which `n` are there (the rest gets any finite numbers where those are); with
    /// [`HALVES`](Self::HALVES), of their first halves.
    ///
    /// # Safety
    /// Here and below: the blocks of `n` groups, at least one, are readable at `p`; `g < n`.
    unsafe fn scales<S: Int8>(s: S, p: *const u8, n: usize) -> S::Floats;

    /// The scales of the second halves.
    ///
    /// # Safety
    /// As for [`scales`](Self::scales).
    unsafe fn second_scales<S: Int8>(s: S, _p: *const u8) -> S::Floats {
        s.zeros()
    }

    /// The minima.
    ///
    /// # Safety
    /// As for [`scales`](Self::scales).
    unsafe fn minima<S: Int8>(s: S, _p: *const u8, _n: usize) -> S::Floats {
        s.zeros()
    }

    /// The integers of group `g`.
    ///
    /// # Safety
    /// As for [`scales`](Self::scales).
    unsafe fn ints<S: Int8>(s: S, p: *const u8, g: usize) -> S::Bytes;
}

/// A format whose blocks are groups. A block begins with its scale, behind which is the minimum where there is one.
pub(super) trait Group: Format {
    /// Whether integers are signed.
    const SIGNED: bool = false;

    /// The integers of two blocks: the first halves of both, then their second halves.
    ///
    /// # Safety
    /// The blocks are readable.
    unsafe fn pair<S: Int8>(s: S, blocks: [*const u8; 2]) -> [S::Bytes; 2];
}

/// A format whose blocks are eight groups.
pub(super) trait SuperBlock: Format {}

impl SuperBlock for Q4K {}
impl SuperBlock for Q5K {}
impl SuperBlock for Q6K {}

/// The f16 at `offset` in each of `n` blocks; of the last one for those missing.
#[inline(always)]
unsafe fn halves<S: Int8>(
    s: S,
    p: *const u8,
    offset: usize,
    block_bytes: usize,
    n: usize,
) -> S::Floats {
    let mut bits = [0; CHUNK];
    for (g, bits) in bits.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *bits = unsafe { half_bits(p.add(g.min(n - 1) * block_bytes + offset)) };
    }
    s.widen_halves(bits)
}

#[inline(always)]
unsafe fn half_bits(p: *const u8) -> u16 {
    // SAFETY: the caller's promise.
    u16::from_le_bytes(unsafe { p.cast::<[u8; 2]>().read() })
}

/// One f16, as f32.
#[inline(always)]
unsafe fn half<S: Int8>(s: S, p: *const u8) -> f32 {
    // SAFETY: the caller's promise.
    s.to_array(s.widen_halves([unsafe { half_bits(p) }; 8]))[0]
}

pub(super) struct Q4_0;
pub(super) struct Q4_1;
pub(super) struct Q5_0;
pub(super) struct Q5_1;
pub(super) struct Q8_0;
pub(super) struct Q4K;
pub(super) struct Q5K;
pub(super) struct Q6K;

// Every block below: SAFETY: offsets are inside the blocks that the caller promises.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Format for Q4_0 {
    const BYTES: usize = 18;
    const ZERO: i8 = 8;

    #[inline(always)]
    unsafe fn scales<S: Int8>(s: S, p: *const u8, n: usize) -> S::Floats {
        unsafe { halves(s, p, 0, Self::BYTES, n) }
    }

    #[inline(always)]
    unsafe fn ints<S: Int8>(s: S, p: *const u8, g: usize) -> S::Bytes {
        unsafe { s.load_nibbles(p.add(g * Self::BYTES + 2)) }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Group for Q4_0 {
    #[inline(always)]
    unsafe fn pair<S: Int8>(s: S, blocks: [*const u8; 2]) -> [S::Bytes; 2] {
        unsafe { nibble_pair(s, blocks.map(|p| p.add(2))) }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Format for Q4_1 {
    const BYTES: usize = 20;
    const MINIMA: bool = true;

    #[inline(always)]
    unsafe fn scales<S: Int8>(s: S, p: *const u8, n: usize) -> S::Floats {
        unsafe { halves(s, p, 0, Self::BYTES, n) }
    }

    #[inline(always)]
    unsafe fn minima<S: Int8>(s: S, p: *const u8, n: usize) -> S::Floats {
        unsafe { halves(s, p, 2, Self::BYTES, n) }
    }

    #[inline(always)]
    unsafe fn ints<S: Int8>(s: S, p: *const u8, g: usize) -> S::Bytes {
        unsafe { s.load_nibbles(p.add(g * Self::BYTES + 4)) }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Group for Q4_1 {
    #[inline(always)]
    unsafe fn pair<S: Int8>(s: S, blocks: [*const u8; 2]) -> [S::Bytes; 2] {
        unsafe { nibble_pair(s, blocks.map(|p| p.add(4))) }
    }
}

/// The nibbles of two groups.
#[inline(always)]
unsafe fn nibble_pair<S: Int8>(s: S, blocks: [*const u8; 2]) -> [S::Bytes; 2] {
    // SAFETY: the caller's promise.
    let bytes = unsafe { s.load_two(blocks) };
    [s.low_nibbles(bytes), s.high_nibbles(bytes)]
}

/// The nibbles of two groups behind their fifth bits.
#[inline(always)]
unsafe fn five_bit_pair<S: Int8>(s: S, blocks: [*const u8; 2]) -> [S::Bytes; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        let fifth = |p: *const u8| u32::from_le_bytes(p.cast::<[u8; 4]>().read());
        let [one, two] = blocks.map(fifth);
        let [low, high] = nibble_pair(s, blocks.map(|p| p.add(4)));
        [
            s.or(low, s.fifth_bits(one & 0xffff | two << 16)),
            s.or(high, s.fifth_bits(one >> 16 | two & 0xffff_0000)),
        ]
    }
}

/// 32 nibbles behind their 32 fifth bits.
#[inline(always)]
unsafe fn five_bits<S: Int8>(s: S, p: *const u8) -> S::Bytes {
    // SAFETY: the caller's promise.
    unsafe {
        let fifth = u32::from_le_bytes(p.cast::<[u8; 4]>().read());
        s.or(s.load_nibbles(p.add(4)), s.fifth_bits(fifth))
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Format for Q5_0 {
    const BYTES: usize = 22;
    const ZERO: i8 = 16;

    #[inline(always)]
    unsafe fn scales<S: Int8>(s: S, p: *const u8, n: usize) -> S::Floats {
        unsafe { halves(s, p, 0, Self::BYTES, n) }
    }

    #[inline(always)]
    unsafe fn ints<S: Int8>(s: S, p: *const u8, g: usize) -> S::Bytes {
        unsafe { five_bits(s, p.add(g * Self::BYTES + 2)) }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Group for Q5_0 {
    #[inline(always)]
    unsafe fn pair<S: Int8>(s: S, blocks: [*const u8; 2]) -> [S::Bytes; 2] {
        unsafe { five_bit_pair(s, blocks.map(|p| p.add(2))) }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Format for Q5_1 {
    const BYTES: usize = 24;
    const MINIMA: bool = true;

    #[inline(always)]
    unsafe fn scales<S: Int8>(s: S, p: *const u8, n: usize) -> S::Floats {
        unsafe { halves(s, p, 0, Self::BYTES, n) }
    }

    #[inline(always)]
    unsafe fn minima<S: Int8>(s: S, p: *const u8, n: usize) -> S::Floats {
        unsafe { halves(s, p, 2, Self::BYTES, n) }
    }

    #[inline(always)]
    unsafe fn ints<S: Int8>(s: S, p: *const u8, g: usize) -> S::Bytes {
        unsafe { five_bits(s, p.add(g * Self::BYTES + 4)) }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Group for Q5_1 {
    #[inline(always)]
    unsafe fn pair<S: Int8>(s: S, blocks: [*const u8; 2]) -> [S::Bytes; 2] {
        unsafe { five_bit_pair(s, blocks.map(|p| p.add(4))) }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Format for Q8_0 {
    const BYTES: usize = 34;

    #[inline(always)]
    unsafe fn scales<S: Int8>(s: S, p: *const u8, n: usize) -> S::Floats {
        unsafe { halves(s, p, 0, Self::BYTES, n) }
    }

    #[inline(always)]
    unsafe fn ints<S: Int8>(s: S, p: *const u8, g: usize) -> S::Bytes {
        unsafe { s.load(p.add(g * Self::BYTES + 2)) }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Group for Q8_0 {
    const SIGNED: bool = true;

    #[inline(always)]
    unsafe fn pair<S: Int8>(s: S, blocks: [*const u8; 2]) -> [S::Bytes; 2] {
        unsafe {
            [
                s.load_two(blocks.map(|p| p.add(2))),
                s.load_two(blocks.map(|p| p.add(18))),
            ]
        }
    }
}

/// The 6-bit scales of a Q4_K or Q5_K block, times its scale.
#[inline(always)]
unsafe fn k_scales<S: Int8>(s: S, p: *const u8) -> S::Floats {
    // SAFETY: the caller's promise.
    unsafe {
        let (scales, _) = six_bit_scales(&p.add(4).cast::<[u8; 12]>().read());
        s.scale(s.widen_bytes(scales), half(s, p))
    }
}

/// The minima of a Q4_K or Q5_K block, which are subtracted there.
#[inline(always)]
unsafe fn k_minima<S: Int8>(s: S, p: *const u8) -> S::Floats {
    // SAFETY: the caller's promise.
    unsafe {
        let (_, minima) = six_bit_scales(&p.add(4).cast::<[u8; 12]>().read());
        s.scale(s.widen_bytes(minima), -half(s, p.add(2)))
    }
}

/// The nibbles of group `g`: two groups share 32 bytes.
#[inline(always)]
unsafe fn k_nibbles<S: Int8>(s: S, p: *const u8, g: usize) -> S::Bytes {
    // SAFETY: the caller's promise.
    let bytes = unsafe { s.load(p.add(g / 2 * 32)) };
    if g.is_multiple_of(2) {
        s.low_nibbles(bytes)
    } else {
        s.high_nibbles(bytes)
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Format for Q4K {
    const BYTES: usize = 144;
    const GROUPS: usize = 8;
    const MINIMA: bool = true;

    #[inline(always)]
    unsafe fn scales<S: Int8>(s: S, p: *const u8, _n: usize) -> S::Floats {
        unsafe { k_scales(s, p) }
    }

    #[inline(always)]
    unsafe fn minima<S: Int8>(s: S, p: *const u8, _n: usize) -> S::Floats {
        unsafe { k_minima(s, p) }
    }

    #[inline(always)]
    unsafe fn ints<S: Int8>(s: S, p: *const u8, g: usize) -> S::Bytes {
        unsafe { k_nibbles(s, p.add(16), g) }
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Format for Q5K {
    const BYTES: usize = 176;
    const GROUPS: usize = 8;
    const MINIMA: bool = true;

    #[inline(always)]
    unsafe fn scales<S: Int8>(s: S, p: *const u8, _n: usize) -> S::Floats {
        unsafe { k_scales(s, p) }
    }

    #[inline(always)]
    unsafe fn minima<S: Int8>(s: S, p: *const u8, _n: usize) -> S::Floats {
        unsafe { k_minima(s, p) }
    }

    #[inline(always)]
    unsafe fn ints<S: Int8>(s: S, p: *const u8, g: usize) -> S::Bytes {
        unsafe {
            s.or(
                k_nibbles(s, p.add(48), g),
                s.fifth_bit(s.load(p.add(16)), g),
            )
        }
    }
}

/// The scales of a Q6_K block, of first and of second halves.
#[inline(always)]
unsafe fn q6_scales<S: Int8>(s: S, p: *const u8) -> [S::Floats; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        let [first, second] = s.widen_signed_pairs(p.add(192).cast::<[u8; 16]>().read());
        let d = half(s, p.add(208));
        [s.scale(first, d), s.scale(second, d)]
    }
}

#[allow(clippy::undocumented_unsafe_blocks)]
impl Format for Q6K {
    const BYTES: usize = 210;
    const GROUPS: usize = 8;
    const ZERO: i8 = 32;
    const HALVES: bool = true;

    #[inline(always)]
    unsafe fn scales<S: Int8>(s: S, p: *const u8, _n: usize) -> S::Floats {
        unsafe { q6_scales(s, p)[0] }
    }

    #[inline(always)]
    unsafe fn second_scales<S: Int8>(s: S, p: *const u8) -> S::Floats {
        unsafe { q6_scales(s, p)[1] }
    }

    #[inline(always)]
    unsafe fn ints<S: Int8>(s: S, p: *const u8, g: usize) -> S::Bytes {
        unsafe {
            let (half, row) = (g / 4, g % 4);
            let low = s.load(p.add(half * 64 + row % 2 * 32));
            let low = if row < 2 {
                s.low_nibbles(low)
            } else {
                s.high_nibbles(low)
            };
            s.or(low, s.upper_bits(s.load(p.add(128 + half * 32)), row))
        }
    }
}

/// Calls a function generic over [`Group`] with the type of a [`BlockFormat`](super::BlockFormat).
macro_rules! with_group {
    ($format:expr, $f:ident => $body:expr) => {
        $crate::blocks::formats::with_types!(
            $format, $f => $body, Q4_0 = Q4_0, Q4_1 = Q4_1, Q5_0 = Q5_0, Q5_1 = Q5_1, Q8_0 = Q8_0;
            format => unreachable!("{format:?} has no blocks of one group")
        )
    };
}
pub(super) use with_group;

/// The same over [`SuperBlock`].
macro_rules! with_super_block {
    ($format:expr, $f:ident => $body:expr) => {
        $crate::blocks::formats::with_types!(
            $format, $f => $body, Q4_K = Q4K, Q5_K = Q5K, Q6_K = Q6K;
            format => unreachable!("{format:?} has no blocks of eight groups")
        )
    };
}
pub(super) use with_super_block;

/// The same over [`Format`].
#[cfg(target_arch = "x86_64")]
macro_rules! with_format {
    ($format:expr, $f:ident => $body:expr) => {
        $crate::blocks::formats::with_types!(
            $format, $f => $body, Q4_0 = Q4_0, Q4_1 = Q4_1, Q5_0 = Q5_0, Q5_1 = Q5_1, Q8_0 = Q8_0,
            Q4_K = Q4K, Q5_K = Q5K, Q6_K = Q6K;
        )
    };
}
#[cfg(target_arch = "x86_64")]
pub(super) use with_format;

/// The arms of the above.
macro_rules! with_types {
    ($format:expr, $f:ident => $body:expr, $($variant:ident = $type:ident),*; $($other:ident => $else:expr)?) => {
        match $format {
            $($crate::BlockFormat::$variant => {
                type $f = $crate::blocks::formats::$type;
                $body
            })*
            $($other => $else,)?
        }
    };
}
pub(super) use with_types;
