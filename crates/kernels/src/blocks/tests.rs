//! Every format on every instruction set, against f64 of the dequantised weights and against plain integer arithmetic.
#![allow(clippy::unwrap_used)]

use std::ops::Range;

use half::f16;

use super::*;
use crate::{Factor, Projection, Weight};

/// Blocks of random bits with scales of ordinary size.
struct Blocks {
    format: BlockFormat,
    /// Of an odd address.
    bytes: Vec<u8>,
    rows: usize,
    cols: usize,
}

/// Rows of activations of every way.
const MANY: [usize; 3] = [1, 3, if cfg!(miri) { 5 } else { 16 }];

struct Random(u32);

impl Random {
    fn bits(&mut self) -> u32 {
        for shift in [13, -17, 5] {
            self.0 ^= if shift > 0 {
                self.0 << shift
            } else {
                self.0 >> -shift
            };
        }
        self.0
    }

    /// In -1..1.
    fn float(&mut self) -> f32 {
        self.bits() as f32 / u32::MAX as f32 * 2.0 - 1.0
    }

    fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.float()).collect()
    }
}

/// Where a block has f16 numbers.
fn half_offsets(format: BlockFormat) -> &'static [usize] {
    match format {
        BlockFormat::Q4_0 | BlockFormat::Q5_0 | BlockFormat::Q8_0 => &[0],
        BlockFormat::Q6_K => &[208],
        _ => &[0, 2],
    }
}

impl Blocks {
    fn random(random: &mut Random, format: BlockFormat, rows: usize, cols: usize) -> Self {
        let count = rows * cols / format.block_len();
        let mut bytes: Vec<u8> = (0..1 + count * format.block_bytes())
            .map(|_| (random.bits() >> 8) as u8)
            .collect();
        for block in bytes[1..].chunks_exact_mut(format.block_bytes()) {
            for &offset in half_offsets(format) {
                let half = match random.bits() % 16 {
                    0 => f16::ZERO,
                    1 => f16::from_bits(1),
                    _ => f16::from_f32(random.float() / 16.0),
                };
                block[offset..offset + 2].copy_from_slice(&half.to_le_bytes());
            }
        }
        Self {
            format,
            bytes,
            rows,
            cols,
        }
    }

    fn matrix(&self) -> BlockMatrix<'_> {
        BlockMatrix::new(self.format, &self.bytes[1..], self.rows, self.cols).unwrap()
    }

    fn dequantized(&self) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.rows * self.cols];
        self.format.dequantize(&self.bytes[1..], &mut out);
        out
    }
}

/// `x` as [`Precision::Fast`] sees it on `isa`, in f64.
fn rounded(isa: Isa, x: &[f32], cols: usize) -> Vec<f64> {
    let rows = x.len() / cols;
    if !super::multiplies(isa, rows, Precision::Fast) {
        return x.iter().map(|&x| x.into()).collect();
    }
    let mut y: Vec<f64> = x.chunks(GROUP).flat_map(to_integers).collect();
    if super::multiplies_prompts(isa, rows) {
        correct(x, cols, &mut y);
    } else {
        for (x, y) in x.chunks(GROUP).zip(y.chunks_mut(GROUP)) {
            add_low_bytes(x, y);
        }
    }
    y
}

/// Adds to a group what rounding took away, in steps of a 256th.
fn add_low_bytes(x: &[f32], y: &mut [f64]) {
    let scale = x.iter().fold(0.0, |a: f32, x| a.max(x.abs())) / 127.0;
    for (x, y) in x.iter().zip(y).filter(|_| scale > 0.0) {
        let lost = (x - *y as f32) * (256.0 / scale);
        *y += f64::from(lost.round_ties_even().clamp(-127.0, 127.0) * (scale / 256.0));
    }
}

fn to_integers(x: &[f32]) -> Vec<f64> {
    let largest = x.iter().fold(0.0, |a: f32, x| a.max(x.abs()));
    let scale = largest / 127.0;
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let ints = x.iter().map(|x| f64::from((x * inverse).round_ties_even()));
    ints.map(|int| int * f64::from(scale)).collect()
}

/// Adds, in every tile of rows, what rounding took away: of many rows only where that is most, from one group in six.
fn correct(x: &[f32], cols: usize, y: &mut [f64]) {
    let (rows, groups) = (x.len() / cols, cols / GROUP);
    let tiles = rows.div_ceil(12);
    let part = if rows > 128 { 6 } else { 1 };
    for tile in 0..tiles {
        let rows = rows * tile / tiles..rows * (tile + 1) / tiles;
        let places = |group: usize| {
            let start = move |row: usize| row * cols + group * GROUP;
            rows.clone().map(move |row| start(row)..start(row) + GROUP)
        };
        let rest = |y: &[f64], place: Range<usize>| -> Vec<f32> {
            let pairs = x[place.clone()].iter().zip(&y[place]);
            pairs.map(|(x, y)| x - *y as f32).collect()
        };
        let lost = |group: usize| -> f32 {
            let rests = places(group).flat_map(|place| rest(y, place));
            rests.map(|rest| rest * rest).sum()
        };
        let mut order: Vec<(f32, usize)> = (0..groups).map(|group| (lost(group), group)).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0));
        for &(_, group) in &order[..groups.div_ceil(part)] {
            for place in places(group) {
                let correction = to_integers(&rest(y, place.clone()));
                y[place]
                    .iter_mut()
                    .zip(correction)
                    .for_each(|(y, c)| *y += c);
            }
        }
    }
}

/// `x Wᵀ`, and the sums of the products' magnitudes.
fn product(x: &[f64], w: &[f32], cols: usize) -> Vec<(f64, f64)> {
    let dot = |x: &[f64], w: &[f32]| {
        let products = x.iter().zip(w).map(|(x, w)| x * f64::from(*w));
        products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs()))
    };
    x.chunks(cols)
        .flat_map(|x| w.chunks(cols).map(move |w| dot(x, w)))
        .collect()
}

fn run(x: &[f32], blocks: &Blocks, bias: Option<&[f32]>, precision: Precision) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / blocks.cols * blocks.rows];
    let weight = blocks.matrix();
    let projection = Projection {
        factor: Factor {
            weight: Weight::Blocks(weight),
            bias,
            precision,
        },
        out: &mut out,
    };
    crate::linear(x, blocks.cols, &mut [projection]);
    out
}

/// Outputs are `expected` to within a few roundings of the terms of their sums.
fn assert_close(what: &str, actual: &[f32], expected: &[(f64, f64)], bias: &[f32]) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (i, (&actual, &(sum, size))) in actual.iter().zip(expected).enumerate() {
        let bias = f64::from(bias[i % bias.len()]);
        let error = (f64::from(actual) - (sum + bias)).abs();
        let bound = 3e-6 * (size + bias.abs()) + 1e-30;
        assert!(
            error <= bound,
            "{what}: [{i}] {actual} is not {}",
            sum + bias
        );
    }
}

fn relative_error(actual: &[f32], expected: &[(f64, f64)]) -> f64 {
    let pairs = || actual.iter().zip(expected);
    let error: f64 = pairs().map(|(a, e)| (f64::from(*a) - e.0).powi(2)).sum();
    (error / pairs().map(|(_, e)| e.0.powi(2)).sum::<f64>()).sqrt()
}

/// `(rows of x, rows of weights, blocks of a row)`: with and without rests of everything that is done side by side.
fn shapes(format: BlockFormat) -> Vec<(usize, usize, usize)> {
    let long = 2048 / format.block_len();
    let mut shapes = vec![(1, 3, 1), (2, 1, 2)];
    if !cfg!(miri) {
        for m in [1, 2, 3, 8, 9, 17, 65] {
            shapes.extend([(m, 1, 9), (m, 17, 3), (m, 63, 5), (m, 65, 7)]);
        }
        shapes.extend([(1, 64, long), (13, 65, long), (131, 17, 5)]);
    }
    shapes
}

#[test]
fn products_are_those_of_the_dequantised_weights() {
    let mut random = Random(7);
    for format in BlockFormat::ALL {
        for (m, rows, blocks) in shapes(format) {
            let cols = blocks * format.block_len();
            let blocks = Blocks::random(&mut random, format, rows, cols);
            let (x, bias) = (random.floats(m * cols), random.floats(rows));
            let w = blocks.dequantized();
            let exact = product(&x.iter().map(|&x| x.into()).collect::<Vec<_>>(), &w, cols);
            for &isa in Isa::available() {
                let fast = product(&rounded(isa, &x, cols), &w, cols);
                let what = format!("{format:?} on {isa:?}, {m} x {rows} x {cols}");
                isa.with(|| {
                    let y = run(&x, &blocks, Some(&bias), Precision::Exact);
                    assert_close(&format!("{what}, exact"), &y, &exact, &bias);
                    let y = run(&x, &blocks, Some(&bias), Precision::Fast);
                    assert_close(&format!("{what}, fast"), &y, &fast, &bias);
                });
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "a statistic needs more numbers than miri gets through")]
fn integers_cost_little() {
    let mut random = Random(11);
    let cols = 2048;
    for format in BlockFormat::ALL {
        for (m, bound) in [(2, 5e-5), (20, 5e-5), (140, 1e-2)] {
            let blocks = Blocks::random(&mut random, format, 33, cols);
            let x = random.floats(m * cols);
            let wide: Vec<f64> = x.iter().map(|&x| x.into()).collect();
            let y = run(&x, &blocks, None, Precision::Fast);
            let error = relative_error(&y, &product(&wide, &blocks.dequantized(), cols));
            assert!(error < bound, "{format:?}: {error}");
        }
    }
}

#[test]
#[cfg_attr(
    miri,
    ignore = "slow there, and touches no memory that the other tests do not"
)]
fn several_projections_of_different_formats_and_heights() {
    let mut random = Random(3);
    let cols = 256;
    let all: Vec<Blocks> = [BlockFormat::Q4_K, BlockFormat::Q8_0, BlockFormat::Q6_K]
        .into_iter()
        .zip([40, 9, 1])
        .map(|(format, rows)| Blocks::random(&mut random, format, rows, cols))
        .collect();
    for m in MANY {
        let x = random.floats(m * cols);
        for precision in [Precision::Exact, Precision::Fast] {
            let mut outs: Vec<Vec<f32>> = all.iter().map(|b| vec![f32::NAN; m * b.rows]).collect();
            let mut projections: Vec<Projection<'_>> = all
                .iter()
                .zip(&mut outs)
                .map(|(b, out)| Projection {
                    factor: Factor {
                        weight: Weight::Blocks(b.matrix()),
                        bias: None,
                        precision,
                    },
                    out,
                })
                .collect();
            crate::linear(&x, cols, &mut projections);
            for (blocks, out) in all.iter().zip(&outs) {
                assert_eq!(
                    *out,
                    run(&x, blocks, None, precision),
                    "{:?}",
                    blocks.format
                );
            }
        }
    }
}

#[test]
#[cfg_attr(
    miri,
    ignore = "slow there, and touches no memory that the other tests do not"
)]
fn zeros_and_what_is_not_finite() {
    let mut random = Random(5);
    let cols = 256;
    for format in BlockFormat::ALL {
        let blocks = Blocks::random(&mut random, format, 5, cols);
        for &isa in Isa::available() {
            for m in MANY {
                let mut x = vec![0.0; m * cols];
                isa.with(|| {
                    let y = run(&x, &blocks, None, Precision::Fast);
                    assert!(y.iter().all(|&y| y == 0.0), "{format:?} on {isa:?}");
                    for bad in [f32::NAN, f32::INFINITY] {
                        x[cols - 1] = bad;
                        let y = run(&x, &blocks, None, Precision::Fast);
                        assert!(
                            y[..5].iter().all(|y| !y.is_finite()),
                            "{format:?} on {isa:?}"
                        );
                        assert!(y[5..].iter().all(|&y| y == 0.0), "{format:?} on {isa:?}");
                    }
                });
            }
        }
    }
}

#[test]
#[cfg_attr(
    miri,
    ignore = "slow there, and touches no memory that the other tests do not"
)]
fn the_largest_integers_do_not_overflow() {
    for format in BlockFormat::ALL {
        let cols = if cfg!(miri) { 256 } else { 4 * 256 };
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            let mut blocks = Blocks::random(&mut Random(1), format, 2, cols);
            blocks.bytes.fill(byte);
            for block in blocks.bytes[1..].chunks_exact_mut(format.block_bytes()) {
                for &offset in half_offsets(format) {
                    block[offset..offset + 2].copy_from_slice(&f16::ONE.to_le_bytes());
                }
            }
            let w = blocks.dequantized();
            for m in MANY {
                let x: Vec<f32> = (0..m * cols).map(|i| [1.0, -1.0][i / 64 % 2]).collect();
                for &isa in Isa::available() {
                    let expected = product(&rounded(isa, &x, cols), &w, cols);
                    let y = isa.with(|| run(&x, &blocks, None, Precision::Fast));
                    assert_close(
                        &format!("{format:?} {byte:x} on {isa:?}"),
                        &y,
                        &expected,
                        &[0.0],
                    );
                }
            }
        }
    }
}

#[test]
fn dequantisation_is_the_same_on_every_instruction_set() {
    let mut random = Random(13);
    for format in BlockFormat::ALL {
        let blocks = Blocks::random(&mut random, format, 3, 768);
        let scalar = Isa::available()[0].with(|| blocks.dequantized());
        for &isa in Isa::available() {
            let values = isa.with(|| blocks.dequantized());
            let equal = values
                .iter()
                .zip(&scalar)
                .all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(equal, "{format:?} on {isa:?}");
            let mut part = [0.0; 512];
            blocks.matrix().read(isa, 1, 256, &mut part);
            assert_eq!(part, values[768 + 256..2 * 768]);
        }
    }
}

#[test]
fn matrices_that_do_not_fit_their_bytes() {
    let bytes = [0; 36];
    assert!(BlockMatrix::new(BlockFormat::Q4_0, &bytes, 2, 32).is_ok());
    for (rows, cols) in [(1, 0), (1, 48)] {
        let error = BlockMatrix::new(BlockFormat::Q4_0, &bytes, rows, cols).unwrap_err();
        assert!(matches!(error, BlockError::PartialBlock { .. }), "{error}");
    }
    for (rows, cols) in [(1, 32), (3, 32), (usize::MAX, usize::MAX - 31)] {
        let error = BlockMatrix::new(BlockFormat::Q4_0, &bytes, rows, cols).unwrap_err();
        assert!(
            matches!(error, BlockError::Length { actual: 36, .. }),
            "{error}"
        );
    }
}

#[test]
fn formats_are_found_by_number() {
    for format in BlockFormat::ALL {
        assert_eq!(BlockFormat::of_id(format.id()), Some(format));
        assert_eq!(format.name(), format!("{format:?}"));
    }
    assert_eq!(BlockFormat::of_id(0), None);
}
