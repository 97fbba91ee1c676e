//! The gradients of [`linear`](crate::linear): of its input, its weight and its bias.

use std::borrow::Cow;

use crate::{
    Isa, Weight,
    gemm::{Matrix, Output, Right, matmul, matmul_and_sums},
    pool::{self, Phase},
    rows::count_rows,
    shared::{SharedMut, written},
    simd::simd_fn,
};

/// Rows of a gradient.
///
/// Where a row is zero, nothing comes back: so it is of padding, of labels that are ignored, and in a classifier's last
/// layer of all tokens but the first. The others alone are multiplied.
#[derive(Debug)]
pub struct Rows {
    count: usize,
    /// The numbers of those that are not zero, where they are clearly fewer.
    busy: Option<Vec<usize>>,
}

impl Rows {
    /// Of `grad`, `[rows, cols]`, those that are not zero; all of them where few are.
    ///
    /// # Panics
    /// When `grad` has other lengths.
    pub fn busy(grad: &[f32], cols: usize) -> Self {
        let count = count_rows(grad, cols);
        let is_busy = |row: &usize| grad[row * cols..][..cols].iter().any(|&x| x != 0.0);
        let busy: Vec<usize> = (0..count).filter(is_busy).collect();
        let fewer = busy.len() <= count - count.div_ceil(8);
        Self {
            count,
            busy: fewer.then_some(busy),
        }
    }

    /// Whether they are all rows.
    pub fn are_all(&self) -> bool {
        self.busy.is_none()
    }

    /// These rows of `x`, which has `[rows, cols]`.
    ///
    /// # Panics
    /// When `x` has other lengths.
    pub fn gather<'a>(&self, x: &'a [f32], cols: usize) -> Cow<'a, [f32]> {
        assert_eq!(x.len(), self.count * cols, "x is [{}, {cols}]", self.count);
        let Some(busy) = &self.busy else {
            return Cow::Borrowed(x);
        };
        let mut out = Vec::with_capacity(busy.len() * cols);
        for row in busy {
            out.extend_from_slice(&x[row * cols..][..cols]);
        }
        Cow::Owned(out)
    }

    /// All rows, of which `x` has these, `cols` elements each; the others are zero.
    ///
    /// # Panics
    /// When `x` has other lengths.
    pub fn scatter(&self, x: Vec<f32>, cols: usize) -> Vec<f32> {
        let Some(busy) = &self.busy else {
            return x;
        };
        assert_eq!(x.len(), busy.len() * cols, "x is [{}, {cols}]", busy.len());
        let mut out = vec![0.0; self.count * cols];
        for (row, x) in busy.iter().zip(x.chunks_exact(cols)) {
            out[row * cols..][..cols].copy_from_slice(x);
        }
        out
    }
}

/// Elements of quantised weights that are decoded at a time.
const DECODED: usize = 1 << 20;

/// The gradient of the input, `grad · W`, `[rows, cols]`: `grad` is `[rows, outputs]`, and `weight` is `[outputs, cols]`.
///
/// # Panics
/// When lengths do not fit each other.
pub fn linear_input_gradient(grad: &[f32], weight: Weight<'_>, cols: usize) -> Vec<f32> {
    let rows = input_rows(grad, weight, cols);
    let write = |out: &mut [f32]| input_gradient(grad, weight, [rows, cols], out, false);
    // SAFETY: all elements are written before any is read.
    unsafe { written(rows * cols, write) }
}

/// The same, added to `sum`, `[rows, cols]`.
///
/// # Panics
/// When lengths do not fit each other.
pub fn add_linear_input_gradient(grad: &[f32], weight: Weight<'_>, cols: usize, sum: &mut [f32]) {
    let rows = input_rows(grad, weight, cols);
    assert_eq!(sum.len(), rows * cols, "sum is [{rows}, {cols}]");
    input_gradient(grad, weight, [rows, cols], sum, true);
}

fn input_rows(grad: &[f32], weight: Weight<'_>, cols: usize) -> usize {
    assert!(
        cols > 0 && weight.has_rows_of(cols),
        "weights are [outputs, {cols}]"
    );
    count_rows(grad, weight.rows(cols))
}

fn input_gradient(
    grad: &[f32],
    weight: Weight<'_>,
    [rows, cols]: [usize; 2],
    out: &mut [f32],
    add: bool,
) {
    let (isa, outputs) = (Isa::current(), weight.rows(cols));
    let grad = |start: usize| Matrix::rows(&grad[start.min(grad.len())..], outputs);
    let output = Output {
        data: SharedMut::new(out),
        start: 0,
        stride: cols,
    };
    let Weight::Blocks(blocks) = weight else {
        let shape = [rows, outputs, cols];
        // SAFETY: the output is this function's alone.
        return unsafe { matmul(isa, shape, grad(0), Right::Weight(weight), output, add) };
    };
    let count = (DECODED / cols).clamp(1, outputs.max(1));
    let mut decoded = vec![0.0; count * cols];
    for start in (0..outputs).step_by(count) {
        let count = count.min(outputs - start);
        let decoded = &mut decoded[..count * cols];
        let shared = SharedMut::new(decoded);
        pool::run_ranges(Phase::Prefill, count, 16, |rows| {
            for row in rows {
                // SAFETY: rows are disjoint.
                let to = unsafe { shared.part(row * cols, cols) };
                blocks.read(isa, start + row, 0, to);
            }
        });
        let shape = [rows, count, cols];
        let weight = Right::Weight(Weight::F32(decoded));
        // SAFETY: as above.
        unsafe { matmul(isa, shape, grad(start), weight, output, add || start > 0) };
    }
}

/// The gradient of the weight, `gradᵀ · x`, `[outputs, cols]`: `grad` is `[rows, outputs]`, and `x` is `[rows, cols]`. That
/// of the bias is added to `bias`, `[outputs]`, in the same pass.
///
/// # Panics
/// When lengths do not fit each other.
pub fn linear_weight_gradient(
    grad: &[f32],
    x: &[f32],
    [outputs, cols]: [usize; 2],
    bias: Option<&mut [f32]>,
) -> Vec<f32> {
    let rows = count_rows(x, cols);
    assert_eq!(grad.len(), rows * outputs, "grad is [{rows}, {outputs}]");
    let shape = [outputs, rows, cols];
    let grad = Matrix::rows(grad, outputs).turn();
    let x = Right::Matrix(Matrix::rows(x, cols));
    let write = |out: &mut [f32]| {
        let output = Output {
            data: SharedMut::new(out),
            start: 0,
            stride: cols,
        };
        // SAFETY: the output is this function's alone.
        unsafe { matmul_and_sums(Isa::current(), shape, grad, x, output, false, bias) };
    };
    // SAFETY: all elements are written before any is read.
    unsafe { written(outputs * cols, write) }
}

/// Adds the rows of `x` (`[rows, out.len()]`) to `out`: the gradient of a bias.
///
/// # Panics
/// When lengths do not fit each other.
pub fn add_rows(x: &[f32], out: &mut [f32]) {
    let (isa, cols) = (Isa::current(), out.len());
    if cols == 0 {
        return;
    }
    assert!(x.len().is_multiple_of(cols), "x is [rows, {cols}]");
    let grain = cols.div_ceil(pool::threads(Phase::Prefill)).max(64);
    let out = SharedMut::new(out);
    pool::run_ranges(Phase::Prefill, cols, grain, |columns| {
        // SAFETY: ranges of columns are disjoint.
        let out = unsafe { out.part(columns.start, columns.len()) };
        for row in x.chunks_exact(cols) {
            add(isa, &row[columns.clone()], out);
        }
    });
}

simd_fn! {
    fn add<S>(s, x: &[f32], out: &mut [f32]) {
        let mut parts = out.chunks_exact_mut(S::LANES);
        let whole = x.chunks_exact(S::LANES);
        let rest = whole.remainder();
        for (out, x) in parts.by_ref().zip(whole) {
            // SAFETY: chunks have LANES elements.
            unsafe { s.store(out.as_mut_ptr(), s.add(s.load(out.as_ptr()), s.load(x.as_ptr()))) };
        }
        for (out, x) in parts.into_remainder().iter_mut().zip(rest) {
            *out += x;
        }
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;
    use crate::{BlockFormat, BlockMatrix, random::Random};

    fn check(out: &[f32], expect: impl Fn(usize) -> (f64, f64), case: &str) {
        for (at, &y) in out.iter().enumerate() {
            let (expect, size) = expect(at);
            let off = (f64::from(y) - expect).abs();
            assert!(off <= 1e-6 * size, "{case}, element {at}: off by {off:e}");
        }
    }

    fn sum(terms: impl Iterator<Item = (f32, f32)>) -> (f64, f64) {
        let products = terms.map(|(a, b)| f64::from(a) * f64::from(b));
        products.fold((0.0, 1e-30), |(sum, size), x| (sum + x, size + x.abs()))
    }

    #[test]
    fn rows_of_zeros_are_left_out_and_come_back() {
        let (count, cols) = (9, 3);
        let x: Vec<f32> = (1..=count * cols).map(|x| x as f32).collect();
        for busy in [
            vec![],
            vec![8],
            vec![0, 2, 5],
            (0..8).collect(),
            (0..9).collect(),
        ] {
            let mut grad = vec![0.0; count * cols];
            busy.iter().for_each(|row| grad[row * cols + 2] = f32::NAN);
            let rows = Rows::busy(&grad, cols);
            let found = rows.gather(&x, cols).into_owned();
            if busy.len() < 8 {
                let expect = busy.iter().flat_map(|row| &x[row * cols..][..cols]);
                assert!(found.iter().eq(expect), "{busy:?}");
            } else {
                assert_eq!(found, x, "nothing is copied for one row");
            }
            let all = rows.scatter(found, cols);
            for (at, &y) in all.iter().enumerate() {
                let kept = busy.len() >= 8 || busy.contains(&(at / cols));
                assert_eq!(y, if kept { x[at] } else { 0.0 }, "{busy:?}, {at}");
            }
        }
    }

    #[test]
    fn gradients_are_those_of_f64() {
        let shapes: &[[usize; 3]] = match cfg!(miri) {
            true => &[[2, 3, 32]],
            false => &[[1, 5, 32], [3, 17, 64], [17, 40, 96], [70, 1100, 32]],
        };
        for &[rows, outputs, cols] in shapes {
            let mut random = Random::new((rows * cols) as u64);
            let grad = random.floats(rows * outputs);
            let (x, w) = (random.floats(rows * cols), random.floats(outputs * cols));
            let brain: Vec<bf16> = w.iter().map(|&w| bf16::from_f32(w)).collect();
            let half: Vec<f16> = w.iter().map(|&w| f16::from_f32(w)).collect();
            // Scales of 2^-8.
            let block = |i: usize| [[0, 28].as_slice(), &[(i * 7) as u8; 32]].concat();
            let bytes: Vec<u8> = (0..outputs * cols / 32).flat_map(block).collect();
            let blocks = BlockMatrix::new(BlockFormat::Q8_0, &bytes, outputs, cols);
            let blocks = blocks.expect("they fit");
            let mut decoded = vec![0.0; w.len()];
            BlockFormat::Q8_0.dequantize(&bytes, &mut decoded);
            let weights = [
                (Weight::F32(&w), w.clone()),
                (
                    Weight::Bf16(&brain),
                    brain.iter().map(|w| w.to_f32()).collect(),
                ),
                (
                    Weight::F16(&half),
                    half.iter().map(|w| w.to_f32()).collect(),
                ),
                (Weight::Blocks(blocks), decoded),
            ];
            for &isa in Isa::available() {
                for (weight, w) in &weights {
                    let out = isa.with(|| linear_input_gradient(&grad, *weight, cols));
                    let at = |at: usize| {
                        let (row, j) = (at / cols, at % cols);
                        sum((0..outputs).map(|i| (grad[row * outputs + i], w[i * cols + j])))
                    };
                    check(&out, at, &format!("{isa:?} input"));
                    let mut sum = vec![1.0; rows * cols];
                    isa.with(|| add_linear_input_gradient(&grad, *weight, cols, &mut sum));
                    let more = |i: usize| {
                        let (sum, size) = at(i);
                        (sum + 1.0, size + 1.0)
                    };
                    check(&sum, more, &format!("{isa:?} input, added"));
                }
                let mut bias = vec![0.0; outputs];
                let sums = Some(&mut bias[..]);
                let out = isa.with(|| linear_weight_gradient(&grad, &x, [outputs, cols], sums));
                let at = |at: usize| {
                    let (i, j) = (at / cols, at % cols);
                    sum((0..rows).map(|row| (grad[row * outputs + i], x[row * cols + j])))
                };
                check(&out, at, &format!("{isa:?} weight"));
                let at = |i: usize| sum((0..rows).map(|row| (grad[row * outputs + i], 1.0)));
                check(&bias, at, &format!("{isa:?} bias"));
                let mut bias = vec![0.0; outputs];
                isa.with(|| add_rows(&grad, &mut bias));
                check(&bias, at, &format!("{isa:?} bias alone"));
            }
        }
    }
}
