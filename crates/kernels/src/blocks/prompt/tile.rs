//! Tiles of activations, and their products with a panel.

use std::{arch::x86_64::*, ops::Range};

use super::panel::{Group, OFFSET, Others, PANEL_ROWS, Panel, WORDS};
use crate::{
    Isa,
    blocks::{GROUP, activations::quantize_group, fast::Job},
    pool::{self, Phase},
    shared::SharedMut,
    simd::simd_fn,
};

/// Rows of the highest tile: sums of integers and of floats for each, and a vector of weights, fit the 32 registers.
const MAX_HEIGHT: usize = 12;

/// Words for a group of one row: see [`Tiles`].
const RECORD: usize = WORDS + 5;

/// Activations as integers, in tiles whose heights differ by one at most.
///
/// A group of a tile of `h` rows is `RECORD * h` words: the integers, four in a word, `[WORDS, h]`; then, `[h]` each,
/// the scales, the sums of the quantised elements, and the sums of the integers times -[`OFFSET`] in the whole group, in
/// its first half, and in its second half.
#[derive(Default)]
pub(super) struct Tiles {
    rows: usize,
    /// Groups of a row.
    groups: usize,
    words: Vec<i32>,
}

impl Tiles {
    pub(super) fn count(&self) -> usize {
        self.rows.div_ceil(MAX_HEIGHT)
    }

    /// The first row of a tile.
    fn start(&self, tile: usize) -> usize {
        self.rows * tile / self.count()
    }

    /// Holds the rows of `x`, which have `cols` elements. Reuses its memory.
    pub(super) fn assign(&mut self, isa: Isa, x: &[f32], cols: usize) {
        self.rows = x.len() / cols;
        self.groups = cols / GROUP;
        let mut words = std::mem::take(&mut self.words);
        words.resize(self.rows * self.groups * RECORD, 0);
        let shared = SharedMut::new(&mut words);
        let grain = (1 << 15) / (cols * MAX_HEIGHT) + 1;
        pool::run_ranges(Phase::Prefill, self.count(), grain, |tiles| {
            for tile in tiles {
                let (start, end) = (self.start(tile), self.start(tile + 1));
                let row = self.groups * RECORD;
                // SAFETY: tiles are disjoint.
                let words = unsafe { shared.part(start * row, (end - start) * row) };
                pack(isa, &x[start * cols..end * cols], cols, words);
            }
        });
        self.words = words;
    }
}

simd_fn! {
    /// Packs the rows of `x` as one tile.
    fn pack<S>(s, x: &[f32], cols: usize, words: &mut [i32]) {
        let height = x.len() / cols;
        for (r, x) in x.chunks_exact(cols).enumerate() {
            let groups = words.chunks_exact_mut(RECORD * height);
            for (x, words) in x.as_chunks::<GROUP>().0.iter().zip(groups) {
                let mut ints = [0; GROUP];
                let scale = quantize_group(s, x, &mut ints);
                let half = |start| ints[start..start + 16].iter().map(|&i| i32::from(i)).sum();
                let [first, second]: [i32; 2] = [half(0), half(16)];
                let ints = ints.as_chunks().0.iter().map(|&word| i32::from_le_bytes(word.map(|i| i as u8)));
                let sums = [first + second, first, second];
                let floats = [scale, scale * sums[0] as f32].map(|x| x.to_bits() as i32);
                let record = ints.chain(floats).chain(sums.map(|sum| -OFFSET * sum));
                for (i, word) in record.enumerate() {
                    words[i * height + r] = word;
                }
            }
        }
    }
}

/// Stores the products of a tile with a panel of `rows` of weights.
///
/// # Safety
/// No one else reads or writes these columns of the output.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn product(
    panel: &Panel,
    tiles: &Tiles,
    tile: usize,
    job: &Job<'_>,
    rows: Range<usize>,
) {
    assert_eq!(tiles.groups, panel.groups.len());
    let (start, end) = (tiles.start(tile), tiles.start(tile + 1));
    let row = tiles.groups * RECORD;
    let words = &tiles.words[start * row..end * row];
    macro_rules! height {
        ($($h:literal)*) => {
            match (end - start, panel.others) {
                $(
                    ($h, Others::Nothing) => height!(@ $h, false, false),
                    ($h, Others::Minima) => height!(@ $h, true, false),
                    ($h, Others::SecondScales) => height!(@ $h, false, true),
                )*
                (height, _) => unreachable!("a tile of {height} rows"),
            }
        };
        (@ $h:literal, $minima:literal, $halves:literal) => {
            // SAFETY: the caller's promise.
            unsafe {
                let products = products::<$h, $minima, $halves>(&panel.groups, words);
                job.store(products, (start, end), (rows.start, rows.end));
            }
        };
    }
    height!(1 2 3 4 5 6 7 8 9 10 11 12)
}

/// The products of `H` rows of activations, packed as `x`, with a panel.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn products<const H: usize, const MINIMA: bool, const HALVES: bool>(
    groups: &[Group],
    x: &[i32],
) -> [[f32; PANEL_ROWS]; H] {
    let mut sums = [_mm512_setzero_ps(); H];
    for (group, x) in groups.iter().zip(x.chunks_exact(RECORD * H)) {
        let at = |i: usize| x.as_ptr().wrapping_add(i * H);
        let (scales, minima, corrections) = (at(WORDS), at(WORDS + 1), at(WORDS + 2));
        // SAFETY: a group of a tile has RECORD * H words.
        unsafe {
            let mut ints = [_mm512_setzero_si512(); H];
            for half in 0..2 {
                if HALVES || half == 0 {
                    let corrections = corrections.add(if HALVES { (1 + half) * H } else { 0 });
                    for h in 0..H {
                        ints[h] = _mm512_set1_epi32(*corrections.add(h));
                    }
                }
                for word in half * (WORDS / 2)..(half + 1) * (WORDS / 2) {
                    let w = _mm512_load_si512(group.ints[word].as_ptr().cast());
                    for h in 0..H {
                        let x = _mm512_set1_epi32(*at(word).add(h));
                        ints[h] = _mm512_dpbusd_epi32(ints[h], w, x);
                    }
                }
                if HALVES || half == 1 {
                    let w = if HALVES && half == 1 { &group.others } else { &group.scales };
                    let w = _mm512_load_ps(w.as_ptr());
                    for h in 0..H {
                        let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(ints[h]), w);
                        let x = _mm512_set1_ps(*scales.add(h).cast());
                        sums[h] = _mm512_fmadd_ps(scaled, x, sums[h]);
                    }
                }
            }
            if MINIMA {
                let w = _mm512_load_ps(group.others.as_ptr());
                for h in 0..H {
                    let x = _mm512_set1_ps(*minima.add(h).cast());
                    sums[h] = _mm512_fmadd_ps(w, x, sums[h]);
                }
            }
        }
    }
    let mut products = [[0.0; PANEL_ROWS]; H];
    for (sums, products) in sums.into_iter().zip(&mut products) {
        // SAFETY: 16 elements.
        unsafe { _mm512_storeu_ps(products.as_mut_ptr(), sums) };
    }
    products
}
