//! Cross-entropy of logits.

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Int, Tensor, TensorData, activation::log_softmax};
use transformers_kernels as kernels;

use crate::gradient::{Derivative, Operand, record, takes};
use crate::host::{changed, flex, flex_of, floats, on_host, tensor};

/// The mean over rows of `log Σ e^logit - logit[target]`, in f32: `[1]`. `logits` is `[rows, classes]`, and rows whose
/// target is negative do not count.
///
/// On the CPU there is no second copy of the logits: their gradient takes their place, where nobody else holds them.
///
/// The caller has checked that there is a target for each row, that every target is below `classes`, and that some row
/// counts.
pub fn cross_entropy(logits: Tensor<2>, targets: &[i32]) -> Tensor<1> {
    if on_host(&logits) {
        return tensor(vec![loss(&flex(logits), targets).0], [1]);
    }
    if takes(&logits) {
        let logits = Operand::new(logits);
        let (loss, sums) = loss(&logits.value(), targets);
        let derivative = Entropy {
            logits: logits.value(),
            targets: targets.to_vec(),
            sums,
        };
        return record([logits.node()], flex_of(vec![loss], [1]), derivative);
    }
    in_primitives(logits, targets)
}

fn in_primitives(logits: Tensor<2>, targets: &[i32]) -> Tensor<1> {
    let device = logits.device();
    let index = |values: Vec<i32>| {
        let len = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [len]), &device)
    };
    let counted = || (0..).zip(targets).filter(|(_, target)| **target >= 0);
    let rows: Vec<i32> = counted().map(|(row, _)| row).collect();
    let logits = match rows.len() == targets.len() {
        true => logits,
        false => logits.select(0, index(rows)),
    };
    let targets = index(counted().map(|(_, target)| *target).collect());
    let log_probs = log_softmax(logits.cast(DType::F32), 1);
    log_probs.gather(1, targets.unsqueeze_dim(1)).mean().neg()
}

/// The loss, and the logarithm of every row's sum.
fn loss(logits: &FlexTensor, targets: &[i32]) -> (f32, Vec<f32>) {
    let cols = logits.layout().shape()[1];
    let logits = floats(logits);
    let mut sums = vec![0.0; targets.len()];
    kernels::log_sum_exp(&logits, cols, &mut sums);
    let rows = targets.iter().zip(&sums).zip(logits.chunks_exact(cols));
    let losses = rows.filter_map(|((&target, &sum), logits)| {
        let target = usize::try_from(target).ok()?;
        Some(f64::from(sum - logits[target]))
    });
    ((losses.sum::<f64>() / count(targets)) as f32, sums)
}

fn count(targets: &[i32]) -> f64 {
    targets.iter().filter(|target| **target >= 0).count() as f64
}

#[derive(Debug, Clone)]
struct Entropy {
    logits: FlexTensor,
    targets: Vec<i32>,
    sums: Vec<f32>,
}

impl Derivative<1> for Entropy {
    fn gradients(self, grad: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let cols = self.logits.layout().shape()[1];
        let factor = (f64::from(floats(&grad)[0]) / count(&self.targets)) as f32;
        let (targets, sums) = (&self.targets, &self.sums);
        let back = |x: &mut [f32]| kernels::cross_entropy_gradient(x, cols, targets, sums, factor);
        [Some(changed(self.logits, back))]
    }
}
