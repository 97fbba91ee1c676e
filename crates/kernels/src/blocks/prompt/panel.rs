//! Sixteen rows of weights, unpacked.

use std::{arch::x86_64::*, ops::Range};

use crate::blocks::{
    BlockMatrix, GROUP,
    activations::CHUNK,
    fast::LINE,
    formats::{Format, with_format},
    int8::{Int8, VnniInt8},
};

/// Rows of weights in a panel: the lanes of a vector.
pub(super) const PANEL_ROWS: usize = 16;

/// Words of integers in a group.
pub(super) const WORDS: usize = GROUP / 4;

/// What a group's integers are off by, so that they are unsigned.
pub(super) const OFFSET: i32 = 128;

/// A group of 32 elements of every row; lanes are rows.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Group {
    /// Integers and [`OFFSET`], four elements of a row in a word.
    pub(super) ints: [[u32; PANEL_ROWS]; WORDS],
    /// Scales; with halves, of the first.
    pub(super) scales: [f32; PANEL_ROWS],
    /// Minima, or scales of the second half.
    pub(super) others: [f32; PANEL_ROWS],
}

/// What [`Group::others`] are.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Others {
    #[default]
    Nothing,
    Minima,
    SecondScales,
}

/// The groups of rows of weights.
#[derive(Default)]
pub(super) struct Panel {
    pub(super) groups: Vec<Group>,
    pub(super) others: Others,
}

impl Panel {
    /// Unpacks these rows, at least one; what is missing to [`PANEL_ROWS`] is the last row again.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    pub(super) fn assign(&mut self, weight: &BlockMatrix<'_>, rows: Range<usize>) {
        const EMPTY: Group = Group {
            ints: [[0; PANEL_ROWS]; WORDS],
            scales: [0.0; PANEL_ROWS],
            others: [0.0; PANEL_ROWS],
        };
        self.groups.resize(weight.cols / GROUP, EMPTY);
        with_format!(weight.format, F => self.unpack::<F>(weight, rows));
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn unpack<F: Format>(&mut self, weight: &BlockMatrix<'_>, rows: Range<usize>) {
        self.others = match (F::MINIMA, F::HALVES) {
            (true, _) => Others::Minima,
            (_, true) => Others::SecondScales,
            _ => Others::Nothing,
        };
        let mut blocks = [std::ptr::null(); PANEL_ROWS];
        for (r, p) in blocks.iter_mut().enumerate() {
            *p = weight
                .blocks((rows.start + r).min(rows.end - 1), 0, weight.cols)
                .as_ptr();
        }
        let chunk_bytes = CHUNK / F::GROUPS * F::BYTES;
        let mut next = blocks[0].wrapping_add(PANEL_ROWS * weight.row_bytes());
        for groups in self.groups.chunks_mut(CHUNK) {
            // SAFETY: rows have as many groups as the panel.
            unsafe { unpack_chunk::<F>(&blocks, next, groups) };
            next = next.wrapping_add(PANEL_ROWS * chunk_bytes);
            for p in &mut blocks {
                *p = p.wrapping_add(chunk_bytes);
            }
        }
    }
}

/// Unpacks the groups at `blocks`, one pointer for each row, and asks for as many bytes at `next` meanwhile.
///
/// # Safety
/// There are as many groups as `groups` has places.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn unpack_chunk<F: Format>(
    blocks: &[*const u8; PANEL_ROWS],
    next: *const u8,
    groups: &mut [Group],
) {
    let s = VnniInt8::new();
    let n = groups.len();
    let zero = _mm256_set1_epi8((OFFSET - i32::from(F::ZERO)) as u8 as i8);
    let mut rows = [_mm256_setzero_si256(); PANEL_ROWS];
    // SAFETY: the caller's promise.
    unsafe {
        for (row, &p) in rows.iter_mut().zip(blocks) {
            *row = _mm256_castps_si256(F::scales(s, p, n));
        }
        for (words, group) in transpose(&rows).into_iter().zip(&mut *groups) {
            _mm512_store_si512(group.scales.as_mut_ptr().cast(), words);
        }
        if F::MINIMA || F::HALVES {
            for (row, &p) in rows.iter_mut().zip(blocks) {
                *row = _mm256_castps_si256(if F::MINIMA {
                    F::minima(s, p, n)
                } else {
                    F::second_scales(s, p)
                });
            }
            for (words, group) in transpose(&rows).into_iter().zip(&mut *groups) {
                _mm512_store_si512(group.others.as_mut_ptr().cast(), words);
            }
        }
        let group_bytes = PANEL_ROWS * F::BYTES / F::GROUPS;
        for (g, group) in groups.iter_mut().enumerate() {
            for line in (0..group_bytes).step_by(LINE) {
                s.prefetch(next.wrapping_add(g * group_bytes + line));
            }
            for (row, &p) in rows.iter_mut().zip(blocks) {
                *row = _mm256_add_epi8(F::ints(s, p, g), zero);
            }
            for (words, to) in transpose(&rows).into_iter().zip(&mut group.ints) {
                _mm512_store_si512(to.as_mut_ptr().cast(), words);
            }
        }
    }
}

/// Word `w` of row `r` becomes word `r` of vector `w`.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
fn transpose(rows: &[__m256i; PANEL_ROWS]) -> [__m512i; WORDS] {
    // Rows r and r + 8 side by side: two transpositions of 8 x 8 at a time, in 128-bit lanes and then across them.
    let mut a = [_mm512_setzero_si512(); 8];
    for r in 0..8 {
        a[r] = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(rows[r]), rows[r + 8]);
    }
    let mut b = a;
    for r in [0, 2, 4, 6] {
        b[r] = _mm512_unpacklo_epi32(a[r], a[r + 1]);
        b[r + 1] = _mm512_unpackhi_epi32(a[r], a[r + 1]);
    }
    for r in [0, 4] {
        a[r] = _mm512_unpacklo_epi64(b[r], b[r + 2]);
        a[r + 1] = _mm512_unpackhi_epi64(b[r], b[r + 2]);
        a[r + 2] = _mm512_unpacklo_epi64(b[r + 1], b[r + 3]);
        a[r + 3] = _mm512_unpackhi_epi64(b[r + 1], b[r + 3]);
    }
    let low = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    let high = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    for w in 0..4 {
        b[w] = _mm512_permutex2var_epi64(a[w], low, a[w + 4]);
        b[w + 4] = _mm512_permutex2var_epi64(a[w], high, a[w + 4]);
    }
    b
}
