//! Tiles of activations, and their products with a panel.

use std::{arch::x86_64::*, ops::Range};

use super::panel::{Group, OFFSET, Others, PANEL_ROWS, Panel, WORDS};
use crate::{
    Isa,
    blocks::{GROUP, activations::quantize_group, fast::Blocks},
    pool::{self, Phase},
    shared::SharedMut,
    simd::{Simd, simd_fn},
};

/// Rows of the highest tile: sums of integers and of floats for each, and a vector of weights, fit the 32 registers.
const MAX_HEIGHT: usize = 12;

/// Words for a group of one row: see [`Tiles`].
const RECORD: usize = WORDS + 5;

/// One group in so many is there twice: as integers, and as what rounding took away from them.
///
/// The groups where that is most are few and hold outliers, next to which other elements round to nothing. Without them
/// the logits of a small model are two to three times as far off.
const CORRECTED: usize = 6;

/// Activations as integers, in tiles whose heights differ by one at most.
///
/// A tile has an entry for each group, and then for each that is [corrected](CORRECTED). A group of a tile of `h` rows is `RECORD * h` words: the integers, four in a word, `[WORDS, h]`; then, `[h]` each,
/// the scales, the sums of the quantised elements, and the sums of the integers times -[`OFFSET`] in the whole group, in
/// its first half, and in its second half.
#[derive(Default)]
pub(super) struct Tiles {
    rows: usize,
    /// Groups of a row.
    groups: usize,
    words: Vec<i32>,
    /// For each tile, the groups that its entries are of.
    order: Vec<u16>,
}

impl Tiles {
    pub(super) fn count(&self) -> usize {
        self.rows.div_ceil(MAX_HEIGHT)
    }

    /// The first row of a tile.
    fn start(&self, tile: usize) -> usize {
        self.rows * tile / self.count()
    }

    /// Entries of a tile.
    fn entries(&self) -> usize {
        self.groups + self.groups.div_ceil(CORRECTED)
    }

    /// Holds the rows of `x`, which have `cols` elements. Reuses its memory.
    pub(super) fn assign(&mut self, isa: Isa, x: &[f32], cols: usize) {
        self.rows = x.len() / cols;
        self.groups = cols / GROUP;
        let entries = self.entries();
        let mut words = std::mem::take(&mut self.words);
        words.resize(self.rows * entries * RECORD, 0);
        let mut order = std::mem::take(&mut self.order);
        order.resize(self.count() * entries, 0);
        let (shared, orders) = (SharedMut::new(&mut words), SharedMut::new(&mut order));
        let grain = (1 << 15) / (cols * MAX_HEIGHT) + 1;
        pool::run_ranges(Phase::Prefill, self.count(), grain, |tiles| {
            for tile in tiles {
                let (start, end) = (self.start(tile), self.start(tile + 1));
                let row = entries * RECORD;
                // SAFETY: tiles are disjoint.
                let words = unsafe { shared.part(start * row, (end - start) * row) };
                // SAFETY: as above.
                let order = unsafe { orders.part(tile * entries, entries) };
                pack(isa, &x[start * cols..end * cols], cols, words, order);
            }
        });
        self.words = words;
        self.order = order;
    }
}

simd_fn! {
    /// Packs the rows of `x` as one tile, and says which groups its entries are of.
    fn pack<S>(s, x: &[f32], cols: usize, words: &mut [i32], order: &mut [u16]) {
        let height = x.len() / cols;
        let groups = cols / GROUP;
        let (plain, corrected) = words.split_at_mut(groups * RECORD * height);
        let mut rest = x.to_vec();
        let mut lost = vec![0.0; groups];
        for (r, (x, rest)) in x.chunks_exact(cols).zip(rest.chunks_exact_mut(cols)).enumerate() {
            let entries = plain.chunks_exact_mut(RECORD * height);
            let groups = x.as_chunks::<GROUP>().0.iter().zip(rest.as_chunks_mut::<GROUP>().0);
            for (((x, rest), words), lost) in groups.zip(entries).zip(&mut lost) {
                let (ints, scale) = pack_group(s, x, words, (r, height));
                for i in 0..GROUP {
                    rest[i] = x[i] - scale * f32::from(ints[i]);
                    *lost += rest[i] * rest[i];
                }
            }
        }
        let (all, chosen) = order.split_at_mut(groups);
        for (group, entry) in all.iter_mut().enumerate() {
            *entry = group as u16;
        }
        for (entry, words) in chosen.iter_mut().zip(corrected.chunks_exact_mut(RECORD * height)) {
            let group = crate::argmax(&lost);
            lost[group] = -1.0;
            *entry = group as u16;
            for (r, rest) in rest.chunks_exact(cols).enumerate() {
                pack_group(s, &rest.as_chunks().0[group], words, (r, height));
            }
        }
    }
}

/// Packs a group of row `r` of `height` rows into its entry. Returns the integers and their scale.
#[inline(always)]
fn pack_group<S: Simd>(
    s: S,
    x: &[f32; GROUP],
    words: &mut [i32],
    (r, height): (usize, usize),
) -> ([i8; GROUP], f32) {
    let mut ints = [0; GROUP];
    let scale = quantize_group(s, x, &mut ints);
    let mut halves = [0; 2];
    for i in 0..GROUP {
        halves[i / 16] += i32::from(ints[i]);
    }
    for (w, int) in ints.as_chunks().0.iter().enumerate() {
        let [a, b, c, d] = *int;
        words[w * height + r] = i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8]);
    }
    let sum = halves[0] + halves[1];
    let rest = [
        scale.to_bits() as i32,
        (scale * sum as f32).to_bits() as i32,
        -OFFSET * sum,
        -OFFSET * halves[0],
        -OFFSET * halves[1],
    ];
    for (i, word) in rest.into_iter().enumerate() {
        words[(WORDS + i) * height + r] = word;
    }
    (ints, scale)
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
    job: &Blocks<'_>,
    rows: Range<usize>,
) {
    assert_eq!(tiles.groups, panel.groups.len());
    let (start, end) = (tiles.start(tile), tiles.start(tile + 1));
    let entries = tiles.entries();
    let words = &tiles.words[start * entries * RECORD..end * entries * RECORD];
    let order = &tiles.order[tile * entries..(tile + 1) * entries];
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
                let products = products::<$h, $minima, $halves>(&panel.groups, order, words);
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
    order: &[u16],
    x: &[i32],
) -> [[f32; PANEL_ROWS]; H] {
    let mut sums = [_mm512_setzero_ps(); H];
    for (&group, x) in order.iter().zip(x.chunks_exact(RECORD * H)) {
        let group = &groups[usize::from(group)];
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
                    let w = if HALVES && half == 1 {
                        &group.others
                    } else {
                        &group.scales
                    };
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
