//! The index of the largest element.

use crate::{
    Isa,
    rows::{GROUP, count_rows, for_rows, load, max_group},
    simd::{Simd, simd_fn},
};

/// Elements that are searched for the maximum before any is searched for its index.
const BLOCK: usize = 1024;

/// The index of the largest element, the first of equal ones. As in PyTorch, NaN is larger than any number.
///
/// # Panics
/// When `x` is empty.
pub fn argmax(x: &[f32]) -> usize {
    assert!(!x.is_empty(), "nothing has no largest element");
    first_largest(Isa::current(), x)
}

/// [`argmax`] of every row of `x: [rows, cols]`.
///
/// # Panics
/// When `x` is not whole rows.
pub fn argmax_rows(x: &[f32], cols: usize) -> Vec<usize> {
    let (isa, rows) = (Isa::current(), count_rows(x, cols));
    let mut found = vec![0; rows];
    for_rows(rows, cols, [&mut found], |rows, [found]| {
        for (row, found) in rows.zip(found) {
            *found = first_largest(isa, &x[row * cols..(row + 1) * cols]);
        }
    });
    found
}

simd_fn! {
    fn first_largest<S>(s, x: &[f32]) -> usize {
        let (mut max, mut found) = (f32::NEG_INFINITY, 0);
        for (i, block) in x.chunks(BLOCK).enumerate() {
            let (largest, suspect) = largest(s, block);
            let nan = if suspect { block.iter().position(|v| v.is_nan()) } else { None };
            if let Some(nan) = nan {
                return i * BLOCK + nan;
            }
            if largest > max {
                (max, found) = (largest, i * BLOCK);
            }
        }
        let block = &x[found..x.len().min(found + BLOCK)];
        found + block.iter().position(|&v| v == max).unwrap_or(0)
    }
}

/// The largest element that is not NaN, and whether one is infinity or NaN.
#[inline(always)]
fn largest<S: Simd>(s: S, block: &[f32]) -> (f32, bool) {
    let mut max = [s.splat(f32::NEG_INFINITY); GROUP];
    let mut suspect = [s.zero(); GROUP];
    let (one, infinity) = (s.splat(1.0), s.splat(f32::INFINITY));
    for part in block.chunks(GROUP * S::LANES) {
        for (i, v) in load(s, part, f32::NEG_INFINITY).into_iter().enumerate() {
            max[i] = s.max(v, max[i]);
            suspect[i] = s.select_less(v, infinity, suspect[i], one);
        }
    }
    (max_group(s, max), max_group(s, suspect) > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{random::Random, rows::test_shapes};

    fn everywhere(x: &[f32]) -> usize {
        let found = Isa::available().iter().map(|isa| isa.with(|| argmax(x)));
        let found: Vec<usize> = found.collect();
        assert!(found.iter().all(|&i| i == found[0]), "{found:?}");
        found[0]
    }

    #[test]
    fn every_place_is_found() {
        let lens: &[usize] = if cfg!(miri) {
            &[1, 33]
        } else {
            &[1, 5, 31, 63, 65, 1000, 2500]
        };
        for &len in lens {
            let x = Random::new(len as u64).floats(len);
            for i in (0..len).step_by(1 + len / 70) {
                for value in [2.0, f32::INFINITY, f32::NAN] {
                    let mut x = x.clone();
                    x[i] = value;
                    assert_eq!(everywhere(&x), i);
                    // A later one is not the first, in the same block or another.
                    x[len - 1] = value;
                    assert_eq!(everywhere(&x), i);
                }
            }
        }
    }

    #[test]
    fn nan_is_the_largest() {
        let mut x = vec![0.0; 3000];
        (x[10], x[1500], x[2900]) = (f32::INFINITY, f32::NAN, f32::NAN);
        assert_eq!(everywhere(&x), 1500);
        x[3] = -f32::NAN;
        assert_eq!(everywhere(&x), 3);
    }

    #[test]
    fn equal_elements_give_the_first() {
        for len in [1, 40, 2500] {
            for value in [0.0, f32::NEG_INFINITY, f32::INFINITY, f32::NAN] {
                assert_eq!(everywhere(&vec![value; len]), 0);
            }
        }
        assert_eq!(everywhere(&[-1.0, -0.0, 0.0]), 1);
    }

    #[test]
    fn rows_are_searched_apart() {
        for (rows, cols) in test_shapes() {
            let x = Random::new((rows * cols) as u64).floats(rows * cols);
            let expected: Vec<usize> = x.chunks(cols).map(by_comparison).collect();
            for &isa in Isa::available() {
                assert_eq!(isa.with(|| argmax_rows(&x, cols)), expected, "{isa:?}");
            }
        }
    }

    fn by_comparison(row: &[f32]) -> usize {
        (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
    }
}
