//! Gradients by kernels: an operation whose gradient is followed runs its kernel all the same, and a kernel of its own
//! takes the gradient back.
//!
//! What burn's primitives give under autodiff is the oracle of both, see [`gradients_in_primitives`].

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Device, GradientCheckpointingStrategy, Tensor};
use transformers_kernels as kernels;

use crate::host::{changed, flex, flex_of, floats};

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

    /// The same by its number.
    pub(crate) fn id(&self) -> NodeId {
        self.0.id()
    }

    /// Its elements.
    pub(crate) fn value(&self) -> FlexTensor {
        self.0.primitive().clone()
    }

    /// Its place among what autodiff follows, for a step of one's own.
    pub(crate) fn guard(&self) -> NodeGuard {
        self.0.node()
    }

    /// The same for [`record`].
    pub(crate) fn node(&self) -> Node {
        self.clone().into_parts().1
    }

    /// Its elements, which are nobody else's if no other tensor has them, and its place.
    pub(crate) fn into_parts(self) -> (FlexTensor, Node) {
        let is_followed = self.is_followed();
        let is_leaf = <Autodiff<Flex> as FloatTensorOps<_>>::float_is_require_grad(&self.0);
        let leaf = is_leaf.then(|| self.0.clone());
        let (value, guard) = self.0.into_parts();
        let node = Node {
            guard,
            is_followed,
            leaf,
        };
        (value, node)
    }
}

/// The place of an operand among what autodiff follows.
#[derive(Debug)]
pub(crate) struct Node {
    guard: NodeGuard,
    is_followed: bool,
    /// What has its gradient when the backward pass is over.
    leaf: Option<Followed>,
}

/// What takes a gradient back through an operation of `N` operands.
pub(crate) trait Derivative<const N: usize>: Clone + Debug + Send + 'static {
    /// The gradients of the operands, of those that are wanted at least, by that of the result.
    fn gradients(self, grad: FlexTensor, wanted: [bool; N]) -> [Option<FlexTensor>; N];

    /// The same; that of the first operand, which is wanted, is added to `sum`, which has come to it before.
    fn add_gradients(
        self,
        grad: FlexTensor,
        wanted: [bool; N],
        sum: FlexTensor,
    ) -> [Option<FlexTensor>; N] {
        let mut found = self.gradients(grad, wanted);
        found[0] = Some(match found[0].take() {
            Some(grad) => added(&grad, sum),
            None => sum,
        });
        found
    }
}

/// `x + sum`, two tensors of one shape in f32: in place where nobody else holds `sum`.
pub(crate) fn added(x: &FlexTensor, sum: FlexTensor) -> FlexTensor {
    changed(sum, |sum| kernels::accumulate(&floats(x), sum))
}

/// The result of an operation whose gradient goes back by `derivative`; a plain tensor where no operand's is wanted.
pub(crate) fn record<const D: usize, const N: usize>(
    mut operands: [Node; N],
    result: FlexTensor,
    derivative: impl Derivative<N>,
) -> Tensor<D> {
    if !operands.iter().any(|operand| operand.is_followed) {
        return Tensor::from_primitive::<Flex>(result);
    }
    let leaf = operands[0].leaf.take();
    let step = Step(PhantomData).prepare::<NoCheckpointing>(operands.map(|operand| operand.guard));
    let followed: Followed = match step.compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish((derivative, leaf), result),
        OpsKind::UnTracked(step) => step.finish(result),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(followed)
}

#[derive(Debug)]
struct Step<T>(PhantomData<T>);

impl<T: Derivative<N>, const N: usize> Backward<Flex, N> for Step<T> {
    /// With the first operand, where that is a leaf.
    type State = (T, Option<Followed>);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        reached::remove(ops.node.id);
        let (derivative, leaf) = ops.state;
        let wanted = ops.parents.each_ref().map(Option::is_some);
        // Taken out of the container a sum is nobody else's, and changes in place.
        let sum = match (&leaf, &ops.parents[0]) {
            (Some(leaf), _) => grads.remove::<Flex>(leaf),
            (None, Some(first)) if reached::remove(first.id) => Some(grads.consume::<Flex>(first)),
            _ => None,
        };
        let found = match sum {
            Some(sum) => derivative.add_gradients(grad, wanted, sum),
            None => derivative.gradients(grad, wanted),
        };
        for (parent, grad) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<Flex>(parent.id, grad);
                if parent.order > 0 {
                    reached::insert(parent.id);
                }
            }
        }
    }
}

/// Nodes, other than leaves, to which this thread's backward pass has brought a gradient and which it has not come to yet.
///
/// burn's container of gradients gives what it has and cannot be asked whether it has it. A node takes part in one backward
/// pass only, and its own step comes after those that bring it gradients: who finds it here finds its gradient there.
mod reached {
    use super::{HashSet, NodeId, RefCell};

    /// What burn's own steps take away stays here. It does no harm, and is forgotten together with the rest.
    const MOST: usize = 1 << 10;

    thread_local! {
        static REACHED: RefCell<HashSet<NodeId>> = RefCell::default();
    }

    pub(super) fn insert(node: NodeId) {
        REACHED.with_borrow_mut(|reached| {
            if reached.len() == MOST {
                reached.clear();
            }
            reached.insert(node);
        });
    }

    /// Whether it was here.
    pub(super) fn remove(node: NodeId) -> bool {
        REACHED.with_borrow_mut(|reached| reached.remove(&node))
    }
}
