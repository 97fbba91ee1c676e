//! What tells one model from another: its config, and some values of every parameter.

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use sha2::{Digest, Sha256};
use transformers_modeling::{ParameterRef, ParameterVisitor, PreTrainedModel};

/// Of every parameter so many values count.
const VALUES: usize = 32;

/// Equal for equal models, wherever they are loaded from.
pub(super) fn of<M: PreTrainedModel + ?Sized>(model: &M) -> String {
    let mut samples = Samples(Sha256::new());
    samples.0.update(model.info().config.to_json_string());
    model.visit_parameters(&mut samples);
    super::file::hex(samples.0)
}

struct Samples(Sha256);

impl Samples {
    fn add(&mut self, dims: &[usize], data: &TensorData) {
        for dim in dims {
            self.0.update(dim.to_le_bytes());
        }
        self.0.update(&data.bytes()[..]);
    }

    /// The first values of the first row of each dimension but the last.
    fn float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let dims = value.dims();
        let mut few = dims.map(|dim| dim.min(1));
        few[D - 1] = dims[D - 1].min(VALUES);
        let data = value.slice(few.map(|len| 0..len)).into_data();
        self.add(&dims, &data);
    }
}

impl ParameterVisitor for Samples {
    fn visit(&mut self, param: ParameterRef<'_>) {
        match param {
            ParameterRef::Rank1(param) => self.float(param),
            ParameterRef::Rank2(param) => self.float(param),
            ParameterRef::Rank3(param) => self.float(param),
            ParameterRef::Rank4(param) => self.float(param),
            ParameterRef::Rank5(param) => self.float(param),
            ParameterRef::Blocks(param) => {
                let blocks = param.val();
                let dims = blocks.dims();
                let few = dims.map(|dim| dim.min(1));
                let few = [0..few[0], 0..few[1], 0..dims[2]];
                self.add(&dims, &blocks.slice(few).into_data());
            }
        }
    }
    fn enter(&mut self, name: &str, _container: &str) {
        self.0.update(name);
    }
    fn exit(&mut self, _name: &str, _container: &str) {}
}
