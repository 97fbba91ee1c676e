//! Parameters by their names on disk.

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Int, Shape, Tensor};

use crate::erased::Blocks;
use crate::nn::{ADAPTER_CONTAINER, BUFFER_CONTAINER, WEIGHT_CONTAINER};

/// What a family calls the parts of the shared modules: llama's name for each, and the family's. That may be several names
/// with dots between them, or none for a level that the family does not have.
pub type Names = &'static [(&'static str, &'static str)];

/// What `names` has for `name`.
pub(crate) fn named(names: Names, name: &str) -> &str {
    let mut pairs = names.iter();
    pairs
        .find_map(|(llama, family)| (*llama == name).then_some(*family))
        .unwrap_or(name)
}

/// The path to the parameter that a visitor or mapper is at, in the reference's notation.
///
/// Enum variants leave no trace, and a field may end in an underscore where its name is a word of Rust (`self_`). A field
/// `__` is not in the path at all: its parameters are named like those of the module that holds it.
#[derive(Debug, Default)]
pub struct ParameterPath {
    names: Vec<Option<String>>,
    containers: Vec<String>,
}

impl ParameterPath {
    /// Goes into a field.
    pub fn enter(&mut self, name: &str, container: &str) {
        let name = match container {
            ADAPTER_CONTAINER => name,
            _ => name.trim_end_matches('_'),
        };
        let visible = !container.starts_with("Enum:") && !name.is_empty();
        self.names.push(visible.then(|| name.to_owned()));
        self.containers.push(container.to_owned());
    }

    /// Leaves it.
    pub fn exit(&mut self) {
        self.names.pop();
        self.containers.pop();
    }

    /// `model.layers.0.self_attn.q_proj.weight`.
    pub fn name(&self) -> String {
        let parts: Vec<&str> = self.names.iter().flatten().map(String::as_str).collect();
        parts.join(".")
    }

    /// The adapter whose parameter this is (see [`LoraLayer`](crate::nn::LoraLayer)), by its name; `None` for those of the
    /// model itself.
    pub fn adapter(&self) -> Option<&str> {
        let index = self
            .containers
            .iter()
            .position(|it| it == ADAPTER_CONTAINER)?;
        self.names[index].as_deref()
    }

    /// What holds the parameter: `Struct:Linear`.
    pub(crate) fn holder(&self) -> &str {
        let holders = self.containers.iter().rev();
        let mut holders = holders.filter(|container| !container.starts_with("Enum:"));
        holders.next().map_or("", String::as_str)
    }

    /// Whether this is a [`Weight`](crate::nn::Weight), which may have a dtype of its own.
    pub(crate) fn is_weight(&self) -> bool {
        self.is_in(WEIGHT_CONTAINER)
    }

    /// Whether this is a [`Buffer`](crate::nn::Buffer), which is f32 in memory.
    pub(crate) fn is_buffer(&self) -> bool {
        self.is_in(BUFFER_CONTAINER)
    }

    /// Whether this is the table of an [`Embedding`](crate::nn::Embedding).
    pub(crate) fn is_embedding(&self) -> bool {
        let embedding = |container: &String| container == "Struct:Embedding";
        self.containers.iter().any(embedding)
    }

    fn is_in(&self, container: &str) -> bool {
        self.containers.last().is_some_and(|last| last == container)
    }
}

/// The methods of a visitor or mapper that keep its field `path` at the parameter that it is at.
macro_rules! follow_path {
    () => {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.exit();
        }
    };
}
pub(crate) use follow_path;

/// Names and shapes of all float parameters of a module; nothing is initialised.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    path: ParameterPath,
    pub found: Vec<(String, Vec<usize>)>,
    /// Of each, whether it is a [`Weight`](crate::nn::Weight).
    pub weights: Vec<bool>,
    /// Of each, whether it is a [`Buffer`](crate::nn::Buffer).
    pub buffers: Vec<bool>,
}

impl ModuleVisitor for Shapes {
    follow_path!();
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.lazy_shape().as_slice().to_vec();
        self.found.push((self.path.name(), shape));
        self.weights.push(self.path.is_weight());
        self.buffers.push(self.path.is_buffer());
    }
}

/// Gives every parameter that `source` has a value for that value; the others stay lazy.
pub(crate) struct Fill<F> {
    path: ParameterPath,
    source: F,
}

/// What [`Fill`] asks for values.
pub(crate) trait ParameterSource {
    /// The value of parameter `name` with `D` dimensions, if there is one.
    fn value<const D: usize>(&mut self, name: &str) -> Option<Tensor<D>>;

    /// The value of weight `name` in quantised blocks, if it is stored so and may stay so; a weight is asked for this
    /// first.
    fn blocks(&mut self, name: &str) -> Option<Blocks>;
}

impl<F: ParameterSource> Fill<F> {
    pub fn new(source: F) -> Self {
        let path = ParameterPath::default();
        Self { path, source }
    }

    pub fn into_source(self) -> F {
        self.source
    }
}

impl<F: ParameterSource> ModuleMapper for Fill<F> {
    follow_path!();
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // `val`, `map` and `shape` would run the lazy initialiser first.
        match self.source.value::<D>(&self.path.name()) {
            Some(value) => {
                let id = param.id;
                param.transform_for_load(value, id)
            }
            None => param,
        }
    }
    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        if D != 3 || !self.path.is_weight() {
            return param;
        }
        match self.source.blocks(&self.path.name()) {
            Some(blocks) => Param::initialized(
                param.id,
                blocks.clone().reshape::<D, _>(Shape::from(blocks.dims())),
            ),
            None => param,
        }
    }
}
