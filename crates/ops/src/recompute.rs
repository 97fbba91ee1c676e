//! Parts of a model that keep their input alone and run again in the backward pass (Chen et al. 2016).

use std::fmt;
use std::sync::Arc;

use burn::backend::Flex;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

use crate::gradient::{Followed, Operand, takes_any};
use crate::host::flex;

/// A parameter whose gradient is wanted, as autodiff knows it.
#[derive(Debug, Clone, Copy)]
pub struct FollowedParameter(NodeId);

impl FollowedParameter {
    /// `None` where no gradient is wanted, or where it is not computed in host memory.
    pub fn new<const D: usize>(parameter: &Tensor<D>) -> Option<Self> {
        if !parameter.is_autodiff() || !takes_any(parameter) {
            return None;
        }
        let operand = Operand::new(parameter.clone());
        operand.is_followed().then(|| Self(operand.id()))
    }

    /// With what is added to its gradient, a tensor in host memory.
    pub fn with_gradient<const D: usize>(self, gradient: Tensor<D>) -> Gradient {
        Gradient {
            of: self.0,
            value: flex(gradient),
        }
    }
}

/// What is added to the gradient of a parameter.
#[derive(Debug)]
pub struct Gradient {
    of: NodeId,
    value: FlexTensor,
}

type Again = dyn Fn(FlexTensor, FlexTensor) -> (Option<FlexTensor>, Vec<Gradient>) + Send + Sync;

/// `forward(x)`, of which the backward pass keeps `x` alone: `backward` gives the gradients of `x` and of the parameters by
/// `x` and the gradient of the result. `x` lies in host memory; both functions see it without autodiff.
pub fn recompute<const D: usize>(
    x: Tensor<D>,
    forward: impl FnOnce(Tensor<D>) -> Tensor<D>,
    backward: impl Fn(Tensor<D>, Tensor<D>) -> (Option<Tensor<D>>, Vec<Gradient>)
    + Send
    + Sync
    + 'static,
) -> Tensor<D> {
    let x = Operand::new(x).followed();
    let plain = |x| Tensor::from_primitive::<Flex>(x);
    let y = flex(forward(plain(x.value())));
    let again = move |x: FlexTensor, grad: FlexTensor| {
        let (to_x, to_parameters) = backward(plain(x), plain(grad));
        (to_x.map(flex), to_parameters)
    };
    let kept = Kept {
        x: x.value(),
        again: Arc::new(again),
    };
    let step = Recomputed.prepare::<NoCheckpointing>([x.guard()]);
    let followed: Followed = match step.compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(kept, y),
        OpsKind::UnTracked(step) => step.finish(y),
    };
    Tensor::from_primitive::<burn::backend::Autodiff<Flex>>(followed)
}

#[derive(Clone)]
struct Kept {
    x: FlexTensor,
    again: Arc<Again>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("x", &self.x).finish()
    }
}

#[derive(Debug)]
struct Recomputed;

impl Backward<Flex, 1> for Recomputed {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let (to_x, to_parameters) = (ops.state.again)(ops.state.x, grad);
        let [x] = ops.parents;
        if let (Some(x), Some(grad)) = (x, to_x) {
            grads.register::<Flex>(x.id, grad);
        }
        for Gradient { of, value } in to_parameters {
            grads.register::<Flex>(of, value);
        }
    }
}
