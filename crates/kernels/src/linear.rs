//! `y = x Wᵀ + b`, with weights as the checkpoint stores them.

use half::{bf16, f16};

use crate::{
    BlockMatrix, Element, Isa, Precision,
    blocks::{BlockProjection, linear_blocks, multiplies_blocks},
    gemm::{convert, gemm},
    gemv::{self, gemv},
    pool::{self, Phase},
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
    /// Quantised blocks, and how products with them are computed.
    Blocks(BlockMatrix<'a>, Precision),
}

impl Weight<'_> {
    /// Rows of `cols` elements.
    pub(crate) fn rows(&self, cols: usize) -> usize {
        match self {
            Self::F32(w) => w.len() / cols,
            Self::Bf16(w) => w.len() / cols,
            Self::F16(w) => w.len() / cols,
            Self::Blocks(w, _) => w.rows(),
        }
    }

    fn has_rows_of(&self, cols: usize) -> bool {
        match self {
            Self::F32(w) => w.len().is_multiple_of(cols),
            Self::Bf16(w) => w.len().is_multiple_of(cols),
            Self::F16(w) => w.len().is_multiple_of(cols),
            Self::Blocks(w, _) => w.cols() == cols,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::F32(w) => size_of_val(*w),
            Self::Bf16(w) => size_of_val(*w),
            Self::F16(w) => size_of_val(*w),
            Self::Blocks(w, _) => w.bytes().len(),
        }
    }

    /// Along the inner dimension, where this may be cut.
    pub(crate) fn block_len(&self) -> usize {
        match self {
            Self::F32(_) | Self::Bf16(_) | Self::F16(_) => 1,
            Self::Blocks(w, _) => w.format().block_len(),
        }
    }

    /// Columns `start..start + to.len()` of row `row`, as f32; whole blocks.
    pub(crate) fn read(&self, isa: Isa, row: usize, cols: usize, start: usize, to: &mut [f32]) {
        let range = row * cols + start..row * cols + start + to.len();
        match self {
            Self::F32(w) => to.copy_from_slice(&w[range]),
            Self::Bf16(w) => convert(isa, &w[range], to),
            Self::F16(w) => convert(isa, &w[range], to),
            Self::Blocks(w, _) => w.read(isa, row, start, to),
        }
    }
}

/// One of the products that share an input.
#[derive(Debug)]
pub struct Projection<'a> {
    /// `[out, in]`.
    pub weight: Weight<'a>,
    /// `[out]`.
    pub bias: Option<&'a [f32]>,
    /// `[rows, out]`; what it held is overwritten.
    pub out: &'a mut [f32],
}

impl Projection<'_> {
    fn reborrow(&mut self) -> Projection<'_> {
        Projection {
            weight: self.weight,
            bias: self.bias,
            out: self.out,
        }
    }

    fn check(&self, rows: usize, cols: usize) {
        let out_cols = self.weight.rows(cols);
        assert!(self.weight.has_rows_of(cols), "weights are [out, {cols}]");
        assert_eq!(
            self.out.len(),
            rows * out_cols,
            "out is [{rows}, {out_cols}]"
        );
        assert!(
            self.bias.is_none_or(|bias| bias.len() == out_cols),
            "bias is [{out_cols}]"
        );
    }
}

/// `out = x Wᵀ + bias` for every projection; `x` is `[rows, cols]`. Products are added up in f32.
///
/// # Panics
/// When lengths do not fit each other.
pub fn linear(x: &[f32], cols: usize, projections: &mut [Projection<'_>]) {
    assert!(
        cols > 0 && x.len().is_multiple_of(cols),
        "x is [rows, {cols}]"
    );
    let rows = x.len() / cols;
    for projection in projections.iter() {
        projection.check(rows, cols);
    }
    let isa = Isa::current();
    for way in [
        Way::Rows,
        Way::Panels,
        Way::Blocks(Precision::Exact),
        Way::Blocks(Precision::Fast),
    ] {
        let chosen = projections
            .iter_mut()
            .filter(|p| Way::of(isa, &p.weight, rows) == way);
        let mut chosen: Vec<Projection<'_>> = chosen.map(Projection::reborrow).collect();
        match way {
            _ if chosen.is_empty() => {}
            Way::Rows => few_rows(isa, x, cols, &mut chosen),
            Way::Panels => gemm(isa, x, cols, &mut chosen),
            Way::Blocks(precision) => {
                let mut blocks: Vec<_> = chosen.into_iter().filter_map(in_blocks).collect();
                linear_blocks(x, cols, &mut blocks, precision);
            }
        }
    }
}

fn in_blocks(projection: Projection<'_>) -> Option<BlockProjection<'_>> {
    let Projection { weight, bias, out } = projection;
    match weight {
        Weight::Blocks(weight, _) => Some(BlockProjection { weight, bias, out }),
        _ => None,
    }
}

/// The three ways to a product.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Few rows of activations: [`gemv`].
    Rows,
    /// Many rows, weights in panels of f32: [`gemm`].
    Panels,
    /// Blocks decoded in registers: [`linear_blocks`].
    Blocks(Precision),
}

impl Way {
    fn of(isa: Isa, weight: &Weight<'_>, rows: usize) -> Self {
        match *weight {
            Weight::Blocks(_, precision) if multiplies_blocks(isa, rows, precision) => {
                Self::Blocks(precision)
            }
            Weight::F32(_) | Weight::Bf16(_) | Weight::F16(_) if rows <= gemv::MAX_ROWS => {
                Self::Rows
            }
            _ => Self::Panels,
        }
    }
}

/// Bytes of weights in a task at least: below, handing it out costs more than it saves.
const MIN_TASK: usize = 1 << 15;

/// Tasks for a thread, so that one that loses its core for a while holds up little.
const TASKS_PER_THREAD: usize = 4;

/// Bytes of weights for each task, of `bytes` that few rows of activations are multiplied with.
pub(crate) fn task_bytes(bytes: usize) -> usize {
    (bytes / (pool::threads(Phase::Decode) * TASKS_PER_THREAD)).max(MIN_TASK)
}

fn few_rows(isa: Isa, x: &[f32], cols: usize, projections: &mut [Projection<'_>]) {
    let share = task_bytes(projections.iter().map(|p| p.weight.bytes()).sum());
    let outputs: Vec<Output<'_>> = projections
        .iter_mut()
        .map(|p| Output::new(p, cols))
        .collect();
    let grain = |output: &Output<'_>| {
        let row_bytes = output.weight.bytes() / output.cols.max(1);
        share.div_ceil(row_bytes.max(1))
    };
    let tasks = |output: &Output<'_>| output.cols.div_ceil(grain(output));
    pool::run(
        Phase::Decode,
        outputs.iter().map(tasks).sum(),
        |mut task| {
            for output in &outputs {
                if task < tasks(output) {
                    let start = task * grain(output);
                    let columns = start..(start + grain(output)).min(output.cols);
                    return output.row_products(isa, x, cols, columns);
                }
                task -= tasks(output);
            }
        },
    );
}

/// A projection whose output many tasks write.
pub(crate) struct Output<'a> {
    pub(crate) weight: Weight<'a>,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) out: SharedMut<'a, f32>,
    /// `out`.
    pub(crate) cols: usize,
}

impl<'a> Output<'a> {
    pub(crate) fn new(projection: &'a mut Projection<'_>, cols: usize) -> Self {
        Self {
            weight: projection.weight,
            bias: projection.bias,
            cols: projection.weight.rows(cols),
            out: SharedMut::new(projection.out),
        }
    }

    fn row_products(&self, isa: Isa, x: &[f32], cols: usize, columns: std::ops::Range<usize>) {
        match self.weight {
            Weight::F32(w) => self.products(isa, x, cols, w, columns),
            Weight::Bf16(w) => self.products(isa, x, cols, w, columns),
            Weight::F16(w) => self.products(isa, x, cols, w, columns),
            Weight::Blocks(..) => unreachable!("blocks go another way"),
        }
    }

    fn products<T: Element>(
        &self,
        isa: Isa,
        x: &[f32],
        cols: usize,
        w: &[T],
        columns: std::ops::Range<usize>,
    ) {
        let job = gemv::Job {
            x,
            w: &w[columns.start * cols..columns.end * cols],
            cols,
            bias: self.bias.map(|bias| &bias[columns.clone()]),
            out: self.out.at(columns.start),
            out_stride: self.cols,
        };
        // SAFETY: `Projection::check` has seen that the output has these columns, and tasks have disjoint ones.
        unsafe { gemv(isa, job) };
    }
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

    fn check(weight: Weight<'_>, rounded: &[f32], x: &[f32], cols: usize, bias: Option<&[f32]>) {
        let out_cols = weight.rows(cols);
        let (expect, magnitude) = exact(x, rounded, bias, cols);
        for &isa in Isa::available() {
            let mut out = vec![f32::NAN; x.len() / cols * out_cols];
            isa.with(|| {
                linear(
                    x,
                    cols,
                    &mut [Projection {
                        weight,
                        bias,
                        out: &mut out,
                    }],
                )
            });
            for (i, &y) in out.iter().enumerate() {
                let error = (f64::from(y) - expect[i]).abs();
                assert!(
                    error <= 1e-6 * magnitude[i],
                    "{isa:?}, {} × {cols} × {out_cols}, element {i}: {y} instead of {}",
                    x.len() / cols,
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
                (11, 33, 64),
                (13, 385, 32),
                (17, 31, 1),
                (23, 770, 50),
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
            check(Weight::F32(&w), &w, &x, cols, bias);
            let half: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
            let rounded: Vec<f32> = half.iter().map(|w| w.to_f32()).collect();
            check(Weight::Bf16(&half), &rounded, &x, cols, bias);
            let half: Vec<f16> = w.iter().map(|&w| f16::from_f32(w)).collect();
            let rounded: Vec<f32> = half.iter().map(|w| w.to_f32()).collect();
            check(Weight::F16(&half), &rounded, &x, cols, bias);
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
                    weight: Weight::F32(w),
                    bias: None,
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
                        weight,
                        bias: None,
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
                weight,
                bias: None,
                out: &mut out,
            }],
        );
    }
}
