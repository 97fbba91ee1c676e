//! Gradient checkpointing (Chen et al. 2016): of a layer, the input alone is kept, and the layer runs again in the backward
//! pass.

use std::sync::Arc;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor};
use transformers_ops as ops;

/// `run(module, x)`, of which a backward pass keeps `x` alone; `run` sees copies of the module, and tensors without
/// autodiff in the forward pass. Where no gradients are followed, or not in host memory, it runs as it is.
pub(super) fn checkpointed<M: Module + Sync + 'static>(
    module: &M,
    x: Tensor<3>,
    run: impl Fn(&M, Tensor<3>) -> Tensor<3> + Send + Sync + 'static,
) -> Tensor<3> {
    let mut parameters = Parameters::default();
    module.visit(&mut parameters);
    let followed = parameters.0.iter().any(Option::is_some);
    if !followed || x.device() != Device::flex() {
        return run(module, x);
    }
    let plain = module.clone().map(&mut WithoutAutodiff);
    let (kept, run) = (module.clone(), Arc::new(run));
    let forward = Arc::clone(&run);
    let backward = move |x: Tensor<3>, grad: Tensor<3>| {
        let module = kept.clone().map(&mut Apart);
        let x = Tensor::from_inner(x).require_grad();
        let y = run(&module, x.clone());
        let gradients = (y * Tensor::from_inner(grad)).sum().backward();
        let mut collect = Collect {
            parameters: parameters.0.iter(),
            gradients: &gradients,
            found: Vec::new(),
        };
        module.visit(&mut collect);
        (x.grad(&gradients), collect.found)
    };
    ops::recompute(x, |x| forward(&plain, x), backward)
}

/// The parameters of a module in order; `None` for those that are not trained.
#[derive(Default)]
struct Parameters(Vec<Option<ops::FollowedParameter>>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(ops::FollowedParameter::new(&param.val()));
    }
}

struct WithoutAutodiff;

impl ModuleMapper for WithoutAutodiff {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(Tensor::without_autodiff)
    }
}

/// The same values in a graph of their own.
struct Apart;

impl ModuleMapper for Apart {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| {
            let follows = value.is_require_grad();
            let apart = Tensor::from_inner(value.without_autodiff());
            apart.set_require_grad(follows)
        })
    }
}

struct Collect<'a> {
    parameters: std::slice::Iter<'a, Option<ops::FollowedParameter>>,
    gradients: &'a Gradients,
    found: Vec<ops::Gradient>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parameter = self.parameters.next().copied().flatten();
        let gradient = param.val().grad(self.gradients);
        if let (Some(parameter), Some(gradient)) = (parameter, gradient) {
            self.found.push(parameter.with_gradient(gradient));
        }
    }
}
