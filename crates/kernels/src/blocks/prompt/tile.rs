//! Tiles of activations, and their products with a panel.

use std::{arch::x86_64::*, ops::Range};

use super::panel::{Group, OFFSET, Others, PANEL_ROWS, Panel, WORDS};
use crate::{
    blocks::{GROUP, fast::Blocks},
    pool::{self, Phase},
    shared::SharedMut,
};

/// Rows of the highest tile: sums of integers and of floats for each, and a vector of weights, fit the 32 registers.
const MAX_HEIGHT: usize = 12;

/// Words for a group of one row: see [`Tiles`].
const RECORD: usize = WORDS + 5;

/// Up to so many rows every group is there twice: as integers, and as what rounding took away from them. A batch of
/// tokens, a draft or a short prompt gets what single tokens get.
const SHORT: usize = 128;

/// Of more rows, one group in so many.
///
/// The groups where rounding takes most are few and hold outliers, next to which other elements round to nothing. Without
/// them the logits of a small model are two to three times as far off.
const CORRECTED: usize = 6;

/// Activations as integers, in tiles whose heights differ by one at most.
///
/// A tile has an entry for each group, and then for each that is there [twice](SHORT). A group of a tile of `h` rows is `RECORD * h` words: the integers, four in a word, `[WORDS, h]`; then, `[h]` each,
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
        let part = if self.rows > SHORT { CORRECTED } else { 1 };
        self.groups + self.groups.div_ceil(part)
    }

    /// Holds the rows of `x`, which have `cols` elements. Reuses its memory.
    ///
    /// # Safety
    /// The CPU has AVX-512 VNNI.
    pub(super) unsafe fn assign(&mut self, x: &[f32], cols: usize) {
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
                // SAFETY: by `is_for`, the CPU has the instructions.
                unsafe { pack(&x[start * cols..end * cols], cols, words, order) };
            }
        });
        self.words = words;
        self.order = order;
    }
}

/// Packs the rows of `x` as one tile, and says which groups its entries are of.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn pack(x: &[f32], cols: usize, words: &mut [i32], order: &mut [u16]) {
    let height = x.len() / cols;
    let groups = cols / GROUP;
    let (plain, corrected) = words.split_at_mut(groups * RECORD * height);
    let mut lost = vec![0.0; groups];
    for (r, x) in x.chunks_exact(cols).enumerate() {
        let entries = plain.chunks_exact_mut(RECORD * height);
        for ((x, words), lost) in x.as_chunks().0.iter().zip(entries).zip(&mut lost) {
            let integers = Integers::of(x);
            integers.store(words, (r, height));
            *lost += squares(&integers.rest(x));
        }
    }
    let (all, chosen) = order.split_at_mut(groups);
    for (group, entry) in all.iter_mut().enumerate() {
        *entry = group as u16;
    }
    choose(lost, chosen);
    let entries = corrected.chunks_exact_mut(RECORD * height);
    for (&group, words) in chosen.iter().zip(entries) {
        for (r, x) in x.chunks_exact(cols).enumerate() {
            let x = &x.as_chunks().0[usize::from(group)];
            Integers::of(&Integers::of(x).rest(x)).store(words, (r, height));
        }
    }
}

/// Writes the groups that have lost most.
fn choose(mut lost: Vec<f32>, chosen: &mut [u16]) {
    let all = chosen.len() == lost.len();
    for (i, entry) in chosen.iter_mut().enumerate() {
        let group = if all { i } else { crate::argmax(&lost) };
        lost[group] = -1.0;
        *entry = group as u16;
    }
}

/// A group of activations as integers: what [`quantize_group`](crate::blocks::activations::quantize_group) makes of it.
struct Integers {
    halves: [__m512i; 2],
    scale: f32,
}

impl Integers {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn of(x: &[f32; GROUP]) -> Self {
        const INFINITY: u32 = f32::INFINITY.to_bits();
        let x = halves(x);
        // Magnitudes in the order of their bits, above which are infinity's and every NaN's.
        let bits = x.map(|x| _mm512_castps_si512(_mm512_abs_ps(x)));
        let bits = _mm512_reduce_max_epu32(_mm512_max_epu32(bits[0], bits[1]));
        let largest = f32::from_bits(bits);
        let scale = if bits < INFINITY {
            largest / 127.0
        } else {
            f32::NAN
        };
        let inverse = _mm512_set1_ps(if largest > 0.0 { 127.0 / largest } else { 0.0 });
        Self {
            halves: x.map(|x| _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse))),
            scale,
        }
    }

    /// What rounding took away.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn rest(&self, x: &[f32; GROUP]) -> [f32; GROUP] {
        let mut rest = [0.0; GROUP];
        let scale = _mm512_set1_ps(self.scale);
        let pairs = halves(x).into_iter().zip(self.halves);
        for (to, (x, ints)) in rest.chunks_exact_mut(GROUP / 2).zip(pairs) {
            let kept = _mm512_mul_ps(scale, _mm512_cvtepi32_ps(ints));
            // SAFETY: 16 elements.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), _mm512_sub_ps(x, kept)) };
        }
        rest
    }

    /// Writes row `r` of `height` rows of an entry.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn store(&self, words: &mut [i32], (r, height): (usize, usize)) {
        let bytes = self.halves.map(|ints| _mm512_cvtepi32_epi8(ints));
        let bytes = _mm256_set_m128i(bytes[1], bytes[0]);
        // The sums of four integers each, of which a half has four.
        let sums = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), bytes);
        let mut all = [0_i32; WORDS];
        let mut fours = [0_i32; WORDS];
        // SAFETY: 32 bytes each.
        unsafe {
            _mm256_storeu_si256(all.as_mut_ptr().cast(), bytes);
            _mm256_storeu_si256(fours.as_mut_ptr().cast(), sums);
        }
        let halves = [&fours[..4], &fours[4..]].map(|fours| fours.iter().sum::<i32>());
        let sum = halves[0] + halves[1];
        let rest = [
            self.scale.to_bits() as i32,
            (self.scale * sum as f32).to_bits() as i32,
            -OFFSET * sum,
            -OFFSET * halves[0],
            -OFFSET * halves[1],
        ];
        for (word, to) in all
            .into_iter()
            .chain(rest)
            .zip(words[r..].iter_mut().step_by(height))
        {
            *to = word;
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn halves(x: &[f32; GROUP]) -> [__m512; 2] {
    // SAFETY: 16 elements each.
    unsafe {
        [
            _mm512_loadu_ps(x.as_ptr()),
            _mm512_loadu_ps(x[GROUP / 2..].as_ptr()),
        ]
    }
}

/// The sum of squares.
#[inline]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn squares(x: &[f32; GROUP]) -> f32 {
    let [a, b] = halves(x);
    _mm512_reduce_add_ps(_mm512_fmadd_ps(a, a, _mm512_mul_ps(b, b)))
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
