//! What kernels that work row by row have in common: rows are split among the threads, and read and written in groups of
//! vectors whatever their length.

use std::ops::Range;

use crate::{
    pool::{self, Phase},
    shared::SharedMut,
    simd::Simd,
};

/// Elements of a task at least. At 0.2 to 1 ns for one, a task lasts several times as long as handing it out.
const TASK: usize = 1 << 14;

/// Vectors that are worked on side by side, so that additions need not wait for each other, and the ends of slices are
/// looked at once for all.
pub(crate) const GROUP: usize = 4;

/// Lanes of the widest vectors.
pub(crate) const MAX_LANES: usize = 16;

/// Splits rows of `cols` elements of work each, and every output alike, into tasks: `task(rows, their parts of outs)`.
///
/// # Panics
/// When an output's length is no multiple of `rows`.
pub(crate) fn for_rows<T: Send, const N: usize>(
    rows: usize,
    cols: usize,
    outs: [&mut [T]; N],
    task: impl Fn(Range<usize>, [&mut [T]; N]) + Sync,
) {
    if rows == 0 {
        return;
    }
    let tasks = (rows * cols / TASK).clamp(1, rows);
    let outs = outs.map(|out| {
        assert!(out.len().is_multiple_of(rows));
        (out.len() / rows, SharedMut::new(out))
    });
    pool::run_ranges(Phase::of_rows(rows), rows, rows.div_ceil(tasks), |rows| {
        // SAFETY: ranges of rows are disjoint, and so are their parts of an output.
        let parts = outs
            .each_ref()
            .map(|(width, out)| unsafe { out.part(rows.start * width, rows.len() * width) });
        task(rows, parts);
    });
}

/// The number of rows in `x`.
///
/// # Panics
/// When `x` is not whole rows of `cols > 0` elements.
pub(crate) fn count_rows(x: &[f32], cols: usize) -> usize {
    assert!(
        cols > 0 && x.len().is_multiple_of(cols),
        "{} elements are not rows of {cols}",
        x.len()
    );
    x.len() / cols
}

/// A group with the elements of `x`, at most as many as it has lanes, and `fill` in the other lanes.
#[inline(always)]
pub(crate) fn load<S: Simd>(s: S, x: &[f32], fill: f32) -> [S::F32; GROUP] {
    let mut group = [s.splat(fill); GROUP];
    if x.len() >= GROUP * S::LANES {
        for (i, v) in group.iter_mut().enumerate() {
            // SAFETY: the slice has as many elements.
            *v = unsafe { s.load(x.as_ptr().add(i * S::LANES)) };
        }
    } else {
        let mut lanes = [fill; GROUP * MAX_LANES];
        lanes[..x.len()].copy_from_slice(x);
        for (i, v) in group.iter_mut().enumerate() {
            // SAFETY: the array has GROUP vectors of any instruction set.
            *v = unsafe { s.load(lanes.as_ptr().add(i * S::LANES)) };
        }
    }
    group
}

/// Stores the first lanes of a group to `out`, at most as many as there are.
#[inline(always)]
pub(crate) fn store<S: Simd>(s: S, out: &mut [f32], group: [S::F32; GROUP]) {
    if out.len() >= GROUP * S::LANES {
        for (i, v) in group.into_iter().enumerate() {
            // SAFETY: the slice has as many elements.
            unsafe { s.store(out.as_mut_ptr().add(i * S::LANES), v) };
        }
    } else {
        let mut lanes = [0.0; GROUP * MAX_LANES];
        for (i, v) in group.into_iter().enumerate() {
            // SAFETY: the array has GROUP vectors of any instruction set.
            unsafe { s.store(lanes.as_mut_ptr().add(i * S::LANES), v) };
        }
        out.copy_from_slice(&lanes[..out.len()]);
    }
}

/// The sum of all lanes of a group.
#[inline(always)]
pub(crate) fn sum_group<S: Simd>(s: S, [a, b, c, d]: [S::F32; GROUP]) -> f32 {
    s.sum(s.add(s.add(a, b), s.add(c, d)))
}

/// The largest of all lanes of a group without NaN.
#[inline(always)]
pub(crate) fn max_group<S: Simd>(s: S, [a, b, c, d]: [S::F32; GROUP]) -> f32 {
    s.max_lane(s.max(s.max(a, b), s.max(c, d)))
}

/// Rows and columns that try the loops' ends, and lengths that models have.
#[cfg(test)]
pub(crate) fn test_shapes() -> impl Iterator<Item = (usize, usize)> {
    let (rows, cols): (&[usize], &[usize]) = if cfg!(miri) {
        (&[1, 3], &[1, 5, 63])
    } else {
        (&[0, 1, 3, 17, 63, 65], &[1, 5, 31, 63, 65, 576, 1000])
    };
    let pairs = move |&rows| cols.iter().map(move |&cols| (rows, cols));
    rows.iter().flat_map(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_task() {
        for (rows, cols) in [(0, 7), (1, 1 << 20), (5, 10), (1000, 100), (1 << 16, 1)] {
            let (mut narrow, mut wide) = (vec![0u32; rows], vec![0u32; rows]);
            for_rows(rows, cols, [&mut narrow, &mut wide], |range, parts| {
                for part in parts {
                    assert_eq!(part.len(), range.len());
                    for (row, to) in range.clone().zip(part) {
                        *to += 1 + row as u32;
                    }
                }
            });
            let expected: Vec<u32> = (1..=rows as u32).collect();
            assert_eq!((narrow, wide), (expected.clone(), expected));
        }
    }

    #[test]
    #[should_panic(expected = "7 elements are not rows of 3")]
    fn parts_of_rows_are_refused() {
        count_rows(&[0.0; 7], 3);
    }
}
