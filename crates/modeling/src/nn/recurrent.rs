//! What recurrent layers keep between two passes, and the short convolution in front of them.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use transformers_ops as ops;

use super::{DecoderLayer, Init, LayerContext, Linear, NormForm, RmsNorm, SelfAttention, Weight};
use crate::rows::select_rows;

/// The state of one recurrent layer after the tokens that it has seen. A layer takes out what it replaces, so that it is
/// changed in place.
#[derive(Debug, Clone, Default)]
pub struct RecurrentState {
    /// The last inputs of the short convolution, `[batch, width - 1, channels]`.
    pub conv: Option<Tensor<3>>,
    /// The recurrent states, `[batch, heads, head_dim, states]`.
    pub state: Option<Tensor<4>>,
    /// What the layer makes of its parameters alone, kept so that it is made once.
    pub rates: Option<Tensor<2>>,
    /// How many tokens there were.
    pub seen: usize,
}

impl RecurrentState {
    /// A scan that goes on from `state`, if there is one, and leaves there what it ends with.
    pub fn scan(state: Option<&mut Self>, scan: ops::Scan) -> Tensor<4> {
        let Some(state) = state else {
            return ops::selective_scan(scan, None).0;
        };
        let (y, after) = ops::selective_scan(scan, state.state.take());
        state.state = Some(after);
        y
    }

    /// Rates of decay, `-exp(log)`, made once for as long as `state` lasts.
    pub fn rates(state: Option<&mut Self>, log: impl FnOnce() -> Tensor<2>) -> Tensor<2> {
        let make = || log().exp().neg();
        match state {
            Some(state) => state.rates.get_or_insert_with(make).clone(),
            None => make(),
        }
    }

    /// A state says nothing of earlier ones: it can be kept or forgotten, but not taken back.
    pub(super) fn can_crop(&self, len: usize) -> bool {
        len == 0 || len >= self.seen
    }

    pub(super) fn crop(&mut self, len: usize) {
        if len == 0 {
            *self = Self::default();
        }
    }

    pub(super) fn select(&mut self, rows: &[usize]) {
        self.conv = self.conv.take().map(|conv| select_rows(conv, rows));
        self.state = self.state.take().map(|state| select_rows(state, rows));
    }
}

/// A causal convolution over the last few tokens, one filter per channel.
#[derive(Module, Debug)]
pub struct CausalConv1d {
    /// `[channels, 1, width]`.
    weight: Param<Tensor<3>>,
    /// `[channels]`.
    bias: Option<Param<Tensor<1>>>,
}

impl CausalConv1d {
    /// Filters over `width` tokens.
    pub fn new(channels: usize, width: usize, bias: bool, init: &Init) -> Self {
        Self {
            weight: init.normal([channels, 1, width]),
            bias: bias.then(|| init.zeros([channels])),
        }
    }

    /// The same, whose fresh weights are uniform (He et al. 2015).
    pub fn uniform(channels: usize, width: usize, bias: bool, init: &Init) -> Self {
        Self {
            weight: init.uniform([channels, 1, width], (width as f64).powf(-0.5)),
            bias: bias.then(|| init.zeros([channels])),
        }
    }

    /// `[batch, seq, channels]` to the same shape, after the tokens that `state` has seen.
    pub fn forward(&self, x: Tensor<3>, state: Option<&mut RecurrentState>) -> Tensor<3> {
        let [batch, seq, channels] = x.dims();
        let weight = self.weight.val();
        let width = weight.dims()[2];
        let (state, before) = match state {
            Some(state) => {
                let before = state.conv.take();
                (Some(state), before)
            }
            None => (None, None),
        };
        let nothing = || Tensor::zeros([batch, width - 1, channels], (&x.device(), x.dtype()));
        let rows = Tensor::cat(vec![before.unwrap_or_else(nothing), x.clone()], 1);
        if let Some(state) = state {
            state.conv = Some(rows.clone().narrow(1, seq, width - 1));
            state.seen += seq;
        }
        let bias = self.bias.as_ref().map(Param::val);
        ops::causal_conv1d(rows, weight.reshape([channels, width]), bias)
    }
}

/// Mamba's layer around its mixer: `x + mixer(norm(x))`.
#[derive(Module, Debug)]
pub struct MixerLayer<M: SelfAttention> {
    input_layernorm: RmsNorm,
    mixer: M,
}

impl<M: SelfAttention> MixerLayer<M> {
    /// A layer of `hidden` features, whose norm adds `eps` to the mean square.
    pub fn new(hidden: usize, eps: f64, mixer: M, init: &Init) -> Self {
        Self {
            input_layernorm: RmsNorm::new(hidden, eps, NormForm::Plain, init),
            mixer,
        }
    }
}

impl<M: SelfAttention> DecoderLayer for MixerLayer<M> {
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let normed = self.input_layernorm.forward(hidden.clone());
        hidden + self.mixer.forward(normed, context)
    }
}

/// How the parameters of state spaces begin.
#[derive(Debug, Clone, Copy)]
pub struct FreshStates {
    /// The shortest and the longest time step.
    pub time_steps: [f64; 2],
    /// No time step is shorter.
    pub floor: f64,
    /// Factor on the weights that lead back to the residual stream.
    pub output_scale: f64,
}

impl FreshStates {
    /// `count` biases of time steps, `[count]`, whose softplus is spread evenly over the logarithms of the time steps.
    pub fn time_step_bias(&self, count: usize, init: &Init) -> Param<Tensor<1>> {
        let ([min, max], floor) = (self.time_steps.map(f64::ln), self.floor as f32);
        init.uniform_and_then([count], min..max, move |log| {
            let step = log.exp().max(floor);
            step + (-(-step).exp_m1()).ln()
        })
    }

    /// The logarithms of the rates `1..=states`, the same in every one of `rows`: `[rows, states]`.
    pub fn rates(rows: usize, states: usize, init: &Init) -> Param<Tensor<2>> {
        let dtype = init.dtype;
        init.lazy([rows, states], move |device| {
            let row = (1..=states).map(|rate| (rate as f32).ln());
            let values: Vec<f32> = std::iter::repeat_n(row, rows).flatten().collect();
            Tensor::from_data(TensorData::new(values, [rows, states]), (device, dtype))
        })
    }

    /// The logarithms of a rate for each head, `1..=heads`: `[heads]`.
    pub fn rates_of_heads(heads: usize, init: &Init) -> Param<Tensor<1>> {
        let dtype = init.dtype;
        init.lazy([heads], move |device| {
            let values: Vec<f32> = (1..=heads).map(|rate| (rate as f32).ln()).collect();
            Tensor::from_data(TensorData::new(values, [heads]), (device, dtype))
        })
    }

    /// The layer from `input` features back to `output` of the residual stream.
    pub fn output(&self, input: usize, output: usize, bias: bool, init: &Init) -> Linear {
        let bound = (input as f64).powf(-0.5) * self.output_scale;
        Linear {
            weight: Weight::dense(init.uniform([output, input], bound), init),
            bias: bias.then(|| init.zeros([output])),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::nn::{Cache, LayeredCache};

    /// A row of tokens of two channels.
    fn tokens(values: &[f32]) -> Tensor<3> {
        let data = TensorData::new(values.to_vec(), [1, values.len() / 2, 2]);
        Tensor::from_data(data, &Device::flex())
    }

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().iter().collect()
    }

    #[test]
    fn a_convolution_goes_on_where_it_was() {
        let conv = CausalConv1d::new(2, 3, true, &Init::new(Device::flex()));
        let all = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let whole = values(conv.forward(tokens(&all), None));
        let mut state = RecurrentState::default();
        let mut parts = Vec::new();
        for part in [&all[..2], &all[2..6], &all[6..]] {
            parts.extend(values(conv.forward(tokens(part), Some(&mut state))));
        }
        assert_eq!((parts, state.seen), (whole, 4));
    }

    #[test]
    fn a_state_is_kept_or_forgotten() {
        let mut cache = LayeredCache::new([None]);
        let conv = CausalConv1d::new(2, 2, false, &Init::new(Device::flex()));
        conv.forward(tokens(&[1.0, 2.0, 3.0, 4.0]), cache.recurrent(0));
        assert_eq!(cache.seq_len(), 2);
        assert!(!cache.crop(1), "what was before is lost");
        assert!(cache.crop(2));
        cache.select(&[0, 0]);
        let kept = cache.recurrent(0).and_then(|state| state.conv.clone());
        assert_eq!(kept.map(values), Some(vec![3.0, 4.0, 3.0, 4.0]));
        assert!(cache.crop(0));
        assert_eq!(cache.seq_len(), 0);
    }
}
