//! Rotary position embedding, in the two forms that models use: of a head's first half against its second ("rotate half"),
//! and of neighbours.

use crate::{
    Isa,
    rows::for_rows,
    shared::{SharedMut, written},
    simd::simd_fn,
};

/// Where the rows of queries or keys lie: one for every batch entry, head and position, its `head_dim` elements next to
/// each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Batch entries.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Positions.
    pub seq: usize,
    /// Features of a head.
    pub head_dim: usize,
    /// Elements from one batch entry, one head and one position to the next.
    pub strides: [usize; 3],
}

impl Heads {
    /// `[batch, heads, seq, head_dim]`, contiguous.
    pub fn by_head(batch: usize, heads: usize, seq: usize, head_dim: usize) -> Self {
        Self {
            batch,
            heads,
            seq,
            head_dim,
            strides: [heads * seq * head_dim, seq * head_dim, head_dim],
        }
    }

    /// `[batch, seq, heads, head_dim]`, contiguous, as a projection gives them.
    pub fn by_position(batch: usize, heads: usize, seq: usize, head_dim: usize) -> Self {
        Self {
            strides: [seq * heads * head_dim, head_dim, heads * head_dim],
            ..Self::by_head(batch, heads, seq, head_dim)
        }
    }

    fn rows(self) -> usize {
        self.batch * self.heads * self.seq
    }

    /// Batch entry, head and position of a row, counted in the order `[batch, heads, seq]`.
    fn row(self, row: usize) -> [usize; 3] {
        let (outer, position) = (row / self.seq, row % self.seq);
        [outer / self.heads, outer % self.heads, position]
    }

    fn start(self, row: [usize; 3]) -> usize {
        std::iter::zip(row, self.strides).map(|(i, s)| i * s).sum()
    }

    /// Whether no two rows have an element in common.
    fn are_disjoint(self) -> bool {
        let mut axes = [
            (self.strides[0], self.batch),
            (self.strides[1], self.heads),
            (self.strides[2], self.seq),
        ];
        axes.sort_unstable();
        let mut extent = self.head_dim;
        axes.into_iter()
            .filter(|&(_, len)| len > 1)
            .all(|(stride, len)| {
                let apart = stride >= extent;
                extent += (len - 1) * stride;
                apart
            })
    }
}

/// Cosines and sines of the angles, `[batch, seq, half]`, or `[1, seq, half]` for the same in every batch entry.
#[derive(Debug, Clone, Copy)]
pub struct Rotation<'a> {
    /// Cosines, times the attention factor of scaled kinds.
    pub cos: &'a [f32],
    /// Sines, likewise.
    pub sin: &'a [f32],
    /// Pairs that are rotated, at most half of the head: features `i` and `half + i` of every row. Features from
    /// `2 * half` on stay what they are.
    pub half: usize,
    /// The pairs are features `2 i` and `2 i + 1` instead.
    pub interleaved: bool,
}

impl<'a> Rotation<'a> {
    fn check(&self, heads: Heads) {
        let one = heads.seq * self.half;
        assert!(2 * self.half <= heads.head_dim, "pairs are within a head");
        assert_eq!(self.cos.len(), self.sin.len(), "sin has the shape of cos");
        assert!(
            self.cos.len() == one || self.cos.len() == heads.batch * one,
            "cos is [{} or 1, {}, {}]",
            heads.batch,
            heads.seq,
            self.half
        );
    }

    /// Rotates one row.
    fn turn(&self, isa: Isa, row: &mut [f32], cos: &[f32], sin: &[f32]) {
        match self.interleaved {
            true => rotate_neighbours(isa, row, cos, sin),
            false => rotate(isa, row, cos, sin),
        }
    }

    /// Cosines and sines of a row.
    fn row(&self, heads: Heads, [batch, _, position]: [usize; 3]) -> (&'a [f32], &'a [f32]) {
        let shared = self.cos.len() == heads.seq * self.half;
        let start = (if shared { 0 } else { batch * heads.seq } + position) * self.half;
        let range = start..start + self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }
}

/// The rows of `x` that `heads` names, rotated: `[batch, heads, seq, head_dim]`, contiguous.
///
/// # Panics
/// When lengths do not fit each other.
pub fn rotary(x: &[f32], heads: Heads, rotation: Rotation<'_>) -> Vec<f32> {
    let (isa, cols) = (Isa::current(), heads.head_dim);
    rotation.check(heads);
    let write = |out: &mut [f32]| {
        for_rows(heads.rows(), cols, [out], |rows, [out]| {
            for (row, out) in rows.zip(out.chunks_exact_mut(cols)) {
                let row = heads.row(row);
                let start = heads.start(row);
                out.copy_from_slice(&x[start..start + cols]);
                let (cos, sin) = rotation.row(heads, row);
                rotation.turn(isa, out, cos, sin);
            }
        });
    };
    // SAFETY: every row is written before it is read.
    unsafe { written(heads.rows() * cols, write) }
}

/// As [`rotary`], where the rows lie.
///
/// # Panics
/// When lengths do not fit each other, or rows overlap.
pub fn rotary_in_place(x: &mut [f32], heads: Heads, rotation: Rotation<'_>) {
    let isa = Isa::current();
    rotation.check(heads);
    assert!(heads.are_disjoint(), "rows do not overlap");
    let x = SharedMut::new(x);
    for_rows::<f32, 0>(heads.rows(), heads.head_dim, [], |rows, []| {
        for row in rows.map(|row| heads.row(row)) {
            // SAFETY: rows have no element in common, and each is in one task.
            let x = unsafe { x.part(heads.start(row), heads.head_dim) };
            let (cos, sin) = rotation.row(heads, row);
            rotation.turn(isa, x, cos, sin);
        }
    });
}

simd_fn! {
    /// Rotates neighbours: left to the compiler, which shuffles within vectors better than an instruction set's traits do.
    fn rotate_neighbours<S>(_s, row: &mut [f32], cos: &[f32], sin: &[f32]) {
        let (pairs, _) = row.as_chunks_mut::<2>();
        for (([a, b], cos), sin) in pairs.iter_mut().zip(cos).zip(sin) {
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
}

simd_fn! {
    /// Rotates a row's first half against its second.
    fn rotate<S>(s, row: &mut [f32], cos: &[f32], sin: &[f32]) {
        let (first, rest) = row.split_at_mut(cos.len());
        let second = &mut rest[..cos.len()];
        let whole = cos.len() - cos.len() % S::LANES;
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: all four slices have `whole` elements, and i + LANES is not above.
            unsafe {
                let (a, b) = (s.load(first.as_ptr().add(i)), s.load(second.as_ptr().add(i)));
                let (cos, sin) = (s.load(cos.as_ptr().add(i)), s.load(sin.as_ptr().add(i)));
                s.store(first.as_mut_ptr().add(i), s.sub(s.mul(a, cos), s.mul(b, sin)));
                s.store(second.as_mut_ptr().add(i), s.add(s.mul(b, cos), s.mul(a, sin)));
            }
        }
        for i in whole..cos.len() {
            let (a, b) = (first[i], second[i]);
            first[i] = a * cos[i] - b * sin[i];
            second[i] = b * cos[i] + a * sin[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// What one feature of a row becomes.
    fn expected(row: &[f32], i: usize, [cos, sin]: [&[f32]; 2], interleaved: bool) -> f64 {
        let half = cos.len();
        let x = |i: usize| f64::from(row[i]);
        if i >= 2 * half {
            return x(i);
        }
        let (pair, second) = match interleaved {
            true => (i / 2, i % 2 == 1),
            false => (i % half, i >= half),
        };
        let [first, partner] = match interleaved {
            true => [2 * pair, 2 * pair + 1],
            false => [pair, pair + half],
        };
        let (cos, sin) = (f64::from(cos[pair]), f64::from(sin[pair]));
        match second {
            false => x(first) * cos - x(partner) * sin,
            true => x(partner) * cos + x(first) * sin,
        }
    }

    fn check(heads: Heads, half: usize, angles: usize) {
        for interleaved in [false, true] {
            check_layout(heads, half, angles, interleaved);
        }
    }

    fn check_layout(heads: Heads, half: usize, angles: usize, interleaved: bool) {
        let mut random = Random::new((heads.rows() * half + angles) as u64);
        let len = heads.start([heads.batch, heads.heads, heads.seq]);
        let x = random.floats(len);
        let (cos, sin) = (
            random.floats(angles * heads.seq * half),
            random.floats(angles * heads.seq * half),
        );
        let rotation = Rotation {
            cos: &cos,
            sin: &sin,
            half,
            interleaved,
        };
        for &isa in Isa::available() {
            let out = isa.with(|| rotary(&x, heads, rotation));
            let mut inside = x.clone();
            isa.with(|| rotary_in_place(&mut inside, heads, rotation));
            let mut untouched = x.clone();
            let mut outs = out.chunks(heads.head_dim);
            for b in 0..heads.batch {
                for h in 0..heads.heads {
                    for t in 0..heads.seq {
                        let at = heads.start([b, h, t]);
                        let range = at..at + heads.head_dim;
                        let turn = (b % angles * heads.seq + t) * half;
                        let angle = [&cos[turn..turn + half], &sin[turn..turn + half]];
                        let out = outs.next().expect("a row for each");
                        for (i, &y) in out.iter().enumerate() {
                            let expected = expected(&x[range.clone()], i, angle, interleaved);
                            assert!((f64::from(y) - expected).abs() <= 2e-7, "{isa:?} {heads:?}");
                        }
                        assert_eq!(&inside[range.clone()], out, "{isa:?} {heads:?}");
                        untouched[range.clone()].copy_from_slice(&inside[range]);
                    }
                }
            }
            assert_eq!(inside, untouched, "{isa:?}: between rows nothing changes");
        }
    }

    #[test]
    fn pairs_are_rotated_and_the_rest_is_kept() {
        let shapes: &[_] = if cfg!(miri) {
            &[(2, 2, 3, 11, 5)]
        } else {
            &[
                (1, 1, 1, 2, 1),
                (2, 3, 17, 64, 32),
                (1, 9, 65, 64, 16),
                (2, 2, 63, 65, 31),
                (3, 1, 3, 80, 5),
                (2, 8, 65, 128, 64),
                (1, 2, 2, 7, 0),
            ]
        };
        for &(batch, heads, seq, head_dim, half) in shapes {
            for angles in [1, batch] {
                check(Heads::by_head(batch, heads, seq, head_dim), half, angles);
                let mut view = Heads::by_position(batch, heads, seq, head_dim);
                check(view, half, angles);
                // Keys and values side by side, and something between positions.
                view.strides = [2 * seq * heads * head_dim, head_dim, 2 * heads * head_dim];
                check(view, half, angles);
            }
        }
    }

    #[test]
    fn rows_that_overlap_are_refused_in_place_only() {
        let mut heads = Heads::by_head(1, 2, 1, 4);
        heads.strides = [8, 0, 4];
        let (cos, sin) = ([0.0; 2], [1.0; 2]);
        let rotation = Rotation {
            cos: &cos,
            sin: &sin,
            half: 2,
            interleaved: false,
        };
        let out = rotary(&[1.0, 2.0, 3.0, 4.0], heads, rotation);
        assert_eq!(out, [-3.0, -4.0, 1.0, 2.0, -3.0, -4.0, 1.0, 2.0]);
        let in_place = || rotary_in_place(&mut [0.0; 4], heads, rotation);
        assert!(std::panic::catch_unwind(in_place).is_err());
    }
}
