//! Gradients by kernels: an operation whose gradient is followed runs its kernel all the same, and a kernel of its own
//! takes the gradient back.
//!
//! What burn's primitives give under autodiff is the oracle of both, see [`gradients_in_primitives`].

use std::cell::Cell;
use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, GradientCheckpointingStrategy, Tensor};

use crate::host::{flex, flex_of};

pub(crate) type Followed = FloatTensor<Autodiff<Flex>>;

thread_local! {
    static IN_PRIMITIVES: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; in it, on this thread, operations whose gradients are followed run in burn primitives, as they do on other
/// devices: the oracle of the kernels' gradients.
pub fn gradients_in_primitives<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IN_PRIMITIVES.set(self.0);
        }
    }
    let _restore = Restore(IN_PRIMITIVES.replace(true));
    f()
}

/// Whether kernels take `x`, an f32 tensor in host memory, with its gradient or without.
pub(crate) fn takes<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && takes_any(x)
}

/// The same for any float dtype. What is computed again in the backward pass is left to burn.
pub(crate) fn takes_any<const D: usize>(x: &Tensor<D>) -> bool {
    let kept = match x.gradient_checkpointing_strategy() {
        None => true,
        Some(strategy) => strategy == GradientCheckpointingStrategy::Disabled,
    };
    kept && !IN_PRIMITIVES.get() && x.device() == Device::flex()
}

/// Whether `x`, which [kernels take](takes_any), is a parameter or made of one.
pub(crate) fn is_followed<const D: usize>(x: &Tensor<D>) -> bool {
    x.is_autodiff() && Operand::new(x.clone()).is_followed()
}

/// An operand, as autodiff knows it.
#[derive(Debug, Clone)]
pub(crate) struct Operand(Followed);

impl Operand {
    /// `x`, which [kernels take](takes_any).
    pub(crate) fn new<const D: usize>(x: Tensor<D>) -> Self {
        if !x.is_autodiff() {
            return Self(Followed::new(flex(x)));
        }
        let followed = x.try_into_primitive::<Autodiff<Flex>>();
        Self(followed.expect("the caller has asked where it lies"))
    }

    /// In the place of one that is not there.
    pub(crate) fn none() -> Self {
        Self(Followed::new(flex_of(Vec::new(), [0])))
    }

    /// The same for an operand that may be missing.
    pub(crate) fn maybe<const D: usize>(x: Option<Tensor<D>>) -> Self {
        x.map_or_else(Self::none, Self::new)
    }

    /// Whether its gradient is wanted.
    pub(crate) fn is_followed(&self) -> bool {
        self.0.is_tracked()
    }

    /// The same as one whose gradient is wanted.
    pub(crate) fn followed(self) -> Self {
        match self.is_followed() {
            true => self,
            false => Self(Followed::new(self.value()).require_grad()),
        }
    }

    /// Its place among what autodiff follows.
    pub(crate) fn node(&self) -> NodeGuard {
        self.0.node()
    }

    /// The same by its number.
    pub(crate) fn id(&self) -> NodeId {
        self.0.id()
    }

    /// Its elements.
    pub(crate) fn value(&self) -> FlexTensor {
        self.0.primitive().clone()
    }
}

/// What takes a gradient back through an operation of `N` operands.
pub(crate) trait Derivative<const N: usize>: Clone + Debug + Send + 'static {
    /// The gradients of the operands, of those that are wanted at least, by that of the result.
    fn gradients(self, grad: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N];
}

/// The result of an operation whose gradient goes back by `derivative`; a plain tensor where no operand's is wanted.
pub(crate) fn record<const D: usize, const N: usize>(
    operands: [&Operand; N],
    result: FlexTensor,
    derivative: impl Derivative<N>,
) -> Tensor<D> {
    if !operands.iter().any(|operand| operand.is_followed()) {
        return Tensor::from_primitive::<Flex>(result);
    }
    let step = Step(PhantomData);
    let step = step.prepare::<NoCheckpointing>(operands.map(|operand| operand.0.node()));
    let followed: Followed = match step.compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(derivative, result),
        OpsKind::UnTracked(step) => step.finish(result),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(followed)
}

/// What takes a gradient back into that of the one operand, which is far larger than it.
pub(crate) trait Addition: Clone + Debug + Send + 'static {
    /// `sum`, what has come to the operand so far, and its gradient by that of the result.
    fn add(self, grad: FlexTensor, sum: Option<FlexTensor>) -> FlexTensor;
}

/// The same as [`record`] where the gradient goes back by `addition`.
pub(crate) fn record_addition<const D: usize, T: Addition>(
    operand: Operand,
    result: FlexTensor,
    addition: T,
) -> Tensor<D> {
    if !operand.is_followed() {
        return Tensor::from_primitive::<Flex>(result);
    }
    let step = Step::<Adding<T>>(PhantomData);
    let step = step.prepare::<NoCheckpointing>([operand.0.node()]);
    let followed: Followed = match step.compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish(Adding(addition, operand), result),
        OpsKind::UnTracked(step) => step.finish(result),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(followed)
}

/// An addition to the gradient of this operand.
#[derive(Debug, Clone)]
struct Adding<T>(T, Operand);

impl<T: Addition> Backward<Flex, 1> for Step<Adding<T>> {
    type State = Adding<T>;

    fn backward(self, ops: Ops<Adding<T>, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let Adding(addition, operand) = ops.state;
        // Taken out of the container it is nobody else's, and changes in place.
        let sum = grads.remove::<Flex>(&operand.0);
        grads.register::<Flex>(operand.id(), addition.add(grad, sum));
    }
}

#[derive(Debug)]
struct Step<T>(PhantomData<T>);

impl<T: Derivative<N>, const N: usize> Backward<Flex, N> for Step<T> {
    type State = T;

    fn backward(self, ops: Ops<T, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = ops.state.gradients(grad, wanted);
        for (parent, grad) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<Flex>(parent.id, grad);
            }
        }
    }
}
