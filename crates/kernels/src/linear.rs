//! `y = x Wᵀ + b`, with weights as the checkpoint stores them.

use std::ops::Range;

use half::{bf16, f16};

use crate::{
    BlockMatrix, Isa, Precision, blocks,
    determinism::is_deterministic,
    gemm::{self, Words, batch, convert, gemm},
    gemv::{self, gemv},
    pool::Phase,
    product::{Product, each_range, even_ranges},
    rows::count_rows,
    shared::SharedMut,
};

/// Weights `[out, in]` in row-major order, as they lie in the checkpoint.
#[derive(Debug, Clone, Copy)]
pub enum Weight<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// The upper half of an f32.
    Bf16(&'a [bf16]),
    /// Half precision.
    F16(&'a [f16]),
    /// Quantised blocks.
    Blocks(BlockMatrix<'a>),
}

impl Weight<'_> {
    /// Rows of `cols` elements.
    pub(crate) fn rows(&self, cols: usize) -> usize {
        match self {
            Self::F32(w) => w.len() / cols,
            Self::Bf16(w) => w.len() / cols,
            Self::F16(w) => w.len() / cols,
            Self::Blocks(w) => w.rows(),
        }
    }

    /// Rows `rows`, of `cols` elements.
    pub(crate) fn part(&self, rows: Range<usize>, cols: usize) -> Self {
        let range = rows.start * cols..rows.end * cols;
        match self {
            Self::F32(w) => Self::F32(&w[range]),
            Self::Bf16(w) => Self::Bf16(&w[range]),
            Self::F16(w) => Self::F16(&w[range]),
            Self::Blocks(w) => Self::Blocks(w.part(rows)),
        }
    }

    pub(crate) fn has_rows_of(&self, cols: usize) -> bool {
        match self {
            Self::F32(w) => w.len().is_multiple_of(cols),
            Self::Bf16(w) => w.len().is_multiple_of(cols),
            Self::F16(w) => w.len().is_multiple_of(cols),
            Self::Blocks(w) => w.cols() == cols,
        }
    }

    /// Bytes of a row of `cols` elements.
    pub(crate) fn row_bytes(&self, cols: usize) -> usize {
        match self {
            Self::F32(_) => cols * size_of::<f32>(),
            Self::Bf16(_) | Self::F16(_) => cols * size_of::<bf16>(),
            Self::Blocks(w) => w.row_bytes(),
        }
    }

    /// Along the inner dimension, where this may be cut.
    pub(crate) fn block_len(&self) -> usize {
        match self {
            Self::F32(_) | Self::Bf16(_) | Self::F16(_) => 1,
            Self::Blocks(w) => w.format().block_len(),
        }
    }

    /// Columns `start..start + to.len()` of row `row`, as f32; whole blocks.
    pub(crate) fn read(&self, isa: Isa, row: usize, cols: usize, start: usize, to: &mut [f32]) {
        let range = row * cols + start..row * cols + start + to.len();
        match self {
            Self::F32(w) => to.copy_from_slice(&w[range]),
            Self::Bf16(w) => convert(isa, &w[range], to),
            Self::F16(w) => convert(isa, &w[range], to),
            Self::Blocks(w) => w.read(isa, row, start, to),
        }
    }
}

/// What an input is multiplied with.
#[derive(Debug, Clone, Copy)]
pub struct Factor<'a> {
    /// `[out, in]`.
    pub weight: Weight<'a>,
    /// `[out]`.
    pub bias: Option<&'a [f32]>,
    /// How much arithmetic may differ from that of f32.
    pub precision: Precision,
}

impl Factor<'_> {
    /// Columns of the output.
    fn check(&self, cols: usize) -> usize {
        assert!(
            cols > 0 && self.weight.has_rows_of(cols),
            "weights are [out, {cols}]"
        );
        let out_cols = self.weight.rows(cols);
        assert!(
            self.bias.is_none_or(|bias| bias.len() == out_cols),
            "bias is [{out_cols}]"
        );
        out_cols
    }
}

/// One of the products that share an input.
#[derive(Debug)]
pub struct Projection<'a> {
    /// What the input is multiplied with.
    pub factor: Factor<'a>,
    /// `[rows, out]`; what it held is overwritten.
    pub out: &'a mut [f32],
}

/// `out = x Wᵀ + bias` for every projection; `x` is `[rows, cols]`. Products are added up in f32.
///
/// # Panics
/// When lengths do not fit each other.
pub fn linear(x: &[f32], cols: usize, projections: &mut [Projection<'_>]) {
    into_outputs(cols, projections.iter_mut().map(|one| (x, one)));
}

/// [`linear`] with new outputs, `[rows, out]` each.
///
/// # Panics
/// When lengths do not fit each other.
pub fn projected<const N: usize>(
    x: &[f32],
    cols: usize,
    factors: [Factor<'_>; N],
) -> [Vec<f32>; N] {
    let rows = count_rows(x, cols);
    let lens = factors.map(|factor| rows * factor.check(cols));
    let mut outs = lens.map(Vec::with_capacity);
    let isa = Isa::current();
    let products = factors.iter().zip(&mut outs).map(|(factor, out)| {
        let way = Way::of(isa, factor, rows, cols);
        (way, Product::new(x, factor, SharedMut::room(out), cols))
    });
    multiply(isa, cols, products.collect());
    for (out, len) in outs.iter_mut().zip(lens) {
        // SAFETY: there is room for it, and all elements have been written.
        unsafe { out.set_len(len) };
    }
    outs
}

/// [`linear`] where every projection has an input of its own, `[its rows, cols]`, as the experts of a sparse layer have.
/// Neighbours may have the same.
///
/// # Panics
/// When lengths do not fit each other.
pub fn grouped_linear(cols: usize, groups: &mut [(&[f32], Projection<'_>)]) {
    into_outputs(cols, groups.iter_mut().map(|(x, one)| (*x, one)));
}

fn into_outputs<'a, 'b: 'a>(
    cols: usize,
    groups: impl Iterator<Item = (&'a [f32], &'a mut Projection<'b>)>,
) {
    let isa = Isa::current();
    let products = groups.map(|(x, projection)| {
        let Projection { factor, out } = projection;
        let (rows, out_cols) = (count_rows(x, cols), factor.check(cols));
        assert_eq!(out.len(), rows * out_cols, "out is [{rows}, {out_cols}]");
        let way = Way::of(isa, factor, rows, cols);
        (way, Product::new(x, factor, SharedMut::new(out), cols))
    });
    multiply(isa, cols, products.collect());
}

fn multiply(isa: Isa, cols: usize, mut rest: Vec<(Way, Product<'_>)>) {
    while let Some(&(way, _)) = rest.first() {
        let chosen = rest.iter().filter(|(other, _)| *other == way);
        let chosen: Vec<Product<'_>> = chosen.map(|(_, product)| *product).collect();
        rest.retain(|(other, _)| *other != way);
        let by_input = chosen.chunk_by(|a, b| std::ptr::eq(a.x, b.x));
        match way {
            Way::Rows => few_rows(isa, cols, &chosen),
            Way::Batch(words) => {
                by_input.for_each(|chosen| batch::batch(isa, chosen[0].x, cols, chosen, words));
            }
            Way::Panels(words) => {
                by_input.for_each(|chosen| gemm(isa, chosen[0].x, cols, chosen, words));
            }
            Way::Blocks { precision, .. } => by_input.for_each(|chosen| {
                let x = chosen[0].x;
                let chosen: Vec<_> = chosen.iter().filter_map(Product::in_blocks).collect();
                blocks::linear(isa, x, cols, &chosen, precision);
            }),
        }
    }
}

/// The ways to a product.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Few rows of activations: [`gemv`].
    Rows,
    /// Rows of a batch or of a draft: [`batch::batch`].
    Batch(Words),
    /// Many rows, weights in panels: [`gemm`].
    Panels(Words),
    /// Blocks decoded in registers: [`blocks::linear`].
    Blocks {
        precision: Precision,
        /// Elements of a block.
        len: usize,
    },
}

impl Way {
    fn of(isa: Isa, factor: &Factor<'_>, rows: usize, cols: usize) -> Self {
        let precision = factor.precision;
        let fixed = is_deterministic();
        match factor.weight {
            // Panels add up in one order, however many rows there are.
            Weight::Blocks(_) if fixed => Self::Panels(Words::F32),
            Weight::Blocks(w) if blocks::multiplies(isa, rows, precision) => Self::Blocks {
                precision,
                len: w.format().block_len(),
            },
            Weight::Blocks(_) => Self::Panels(Words::F32),
            _ if rows <= gemv::MAX_ROWS && !fixed => Self::Rows,
            _ => {
                let pairs = matches!(factor.weight, Weight::Bf16(_))
                    && precision == Precision::Fast
                    && gemm::multiplies_pairs(isa, cols);
                let words = if pairs { Words::Bf16Pairs } else { Words::F32 };
                match batch::is_for(isa, rows) && !fixed {
                    true => Self::Batch(words),
                    false => Self::Panels(words),
                }
            }
        }
    }
}

fn few_rows(isa: Isa, cols: usize, products: &[Product<'_>]) {
    let grain = even_ranges(products, |product| product.weight.row_bytes(cols), 1);
    each_range(Phase::Decode, products, grain, |product, rows| {
        // SAFETY: `Factor::check` has seen that the output has these columns, and tasks have disjoint ones.
        unsafe {
            match product.weight {
                Weight::F32(w) => gemv(isa, gemv::Job::new(product, w, cols, rows)),
                Weight::Bf16(w) => gemv(isa, gemv::Job::new(product, w, cols, rows)),
                Weight::F16(w) => gemv(isa, gemv::Job::new(product, w, cols, rows)),
                Weight::Blocks(_) => unreachable!("blocks go another way"),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// `x Wᵀ + b` in f64, and a bound of its f32 rounding: the sum of magnitudes.
    fn exact(x: &[f32], w: &[f32], bias: Option<&[f32]>, cols: usize) -> (Vec<f64>, Vec<f64>) {
        let out_cols = w.len() / cols;
        let products = x.chunks(cols).flat_map(|x| {
            w.chunks(cols).enumerate().map(move |(j, w)| {
                let bias = bias.map_or(0.0, |bias| f64::from(bias[j]));
                let terms = x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w));
                let magnitude: f64 = terms.clone().map(f64::abs).sum();
                (terms.sum::<f64>() + bias, magnitude + bias.abs())
            })
        });
        let both: (Vec<f64>, Vec<f64>) = products.unzip();
        assert_eq!(both.0.len(), x.len() / cols * out_cols);
        both
    }

    /// `rounded` are the weights as f32.
    fn check(
        weight: Weight<'_>,
        rounded: &[f32],
        x: &[f32],
        cols: usize,
        bias: Option<&[f32]>,
        precision: Precision,
    ) {
        let (rows, out_cols) = (x.len() / cols, weight.rows(cols));
        let plain = exact(x, rounded, bias, cols);
        let halved: Vec<f32> = x.iter().map(|&x| bf16::from_f32(x).to_f32()).collect();
        let halved = exact(&halved, rounded, bias, cols);
        for &isa in Isa::available() {
            let pairs = matches!(weight, Weight::Bf16(_))
                && precision == Precision::Fast
                && rows > gemv::MAX_ROWS
                && gemm::multiplies_pairs(isa, cols);
            let (expect, magnitude) = if pairs { &halved } else { &plain };
            let factor = Factor {
                weight,
                bias,
                precision,
            };
            let [out] = isa.with(|| projected(x, cols, [factor]));
            let mut given = vec![f32::NAN; rows * out_cols];
            let projection = Projection {
                factor,
                out: &mut given,
            };
            isa.with(|| linear(x, cols, &mut [projection]));
            assert_eq!(given, out, "{isa:?}, {rows} × {cols} × {out_cols}");
            for (i, &y) in out.iter().enumerate() {
                let error = (f64::from(y) - expect[i]).abs();
                assert!(
                    error <= 1e-6 * magnitude[i],
                    "{isa:?}, {} × {cols} × {out_cols}, element {i}: {y} instead of {}",
                    rows,
                    expect[i],
                );
            }
        }
    }

    #[test]
    fn equals_f64_for_every_shape_dtype_and_instruction_set() {
        let shapes: &[(usize, usize, usize)] = if cfg!(miri) {
            &[(1, 9, 3), (3, 17, 5), (5, 18, 17)]
        } else {
            &[
                (1, 1, 1),
                (1, 63, 65),
                (2, 576, 17),
                (3, 17, 63),
                (4, 65, 31),
                (5, 64, 33),
                (6, 576, 16),
                (7, 100, 47),
                (6, 10, 5),
                (8, 64, 29),
                (9, 98, 6),
                (10, 577, 3),
                (11, 33, 64),
                (13, 1025, 32),
                (14, 32, 18),
                (16, 578, 35),
                (17, 31, 1),
                (23, 2050, 50),
                (63, 96, 63),
                (65, 1001, 65),
                (130, 48, 129),
            ]
        };
        for (seed, &(rows, cols, out_cols)) in shapes.iter().enumerate() {
            let mut random = Random::new(seed as u64);
            let (x, w) = (random.floats(rows * cols), random.floats(out_cols * cols));
            let bias = random.floats(out_cols);
            let bias = (seed % 2 == 0).then_some(&bias[..]);
            let check = |weight, rounded: &[f32]| {
                for precision in [Precision::Exact, Precision::Fast] {
                    check(weight, rounded, &x, cols, bias, precision);
                }
            };
            check(Weight::F32(&w), &w);
            let half: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
            let rounded: Vec<f32> = half.iter().map(|w| w.to_f32()).collect();
            check(Weight::Bf16(&half), &rounded);
            let half: Vec<f16> = w.iter().map(|&w| f16::from_f32(w)).collect();
            let rounded: Vec<f32> = half.iter().map(|w| w.to_f32()).collect();
            check(Weight::F16(&half), &rounded);
        }
    }

    #[test]
    fn projections_that_share_an_input_do_not_mix() {
        let mut random = Random::new(7);
        for rows in [1, 4, 9] {
            let x = random.floats(rows * 40);
            let weights: Vec<_> = [1, 50, 33].map(|n| random.floats(n * 40)).into();
            let mut together: Vec<_> = weights
                .iter()
                .map(|w| vec![0.0; rows * w.len() / 40])
                .collect();
            let mut projections: Vec<_> = weights
                .iter()
                .zip(&mut together)
                .map(|(w, out)| Projection {
                    factor: Factor {
                        weight: Weight::F32(w),
                        bias: None,
                        precision: Precision::Exact,
                    },
                    out,
                })
                .collect();
            linear(&x, 40, &mut projections);
            for (w, together) in weights.iter().zip(&together) {
                let mut alone = vec![0.0; together.len()];
                let weight = Weight::F32(w);
                linear(
                    &x,
                    40,
                    &mut [Projection {
                        factor: Factor {
                            weight,
                            bias: None,
                            precision: Precision::Exact,
                        },
                        out: &mut alone,
                    }],
                );
                assert_eq!(&alone, together);
            }
        }
    }

    #[test]
    #[should_panic(expected = "out is [2, 3]")]
    fn an_output_of_another_size_is_refused() {
        let weight = Weight::F32(&[0.0; 12]);
        let mut out = [0.0; 5];
        linear(
            &[0.0; 8],
            4,
            &mut [Projection {
                factor: Factor {
                    weight,
                    bias: None,
                    precision: Precision::Exact,
                },
                out: &mut out,
            }],
        );
    }
}
