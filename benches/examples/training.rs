//! Training steps of models with random weights, by phase: `training SHAPE STEPS` prints a line of JSON with the median
//! seconds of a forward pass with its loss, of the backward pass and of the optimizer, tokens in a second, and the peak of
//! memory. Shapes: `smollm2` (135 million parameters, 1 × 256 tokens), `llama10m` (8 × 128), `minilm` (a classifier,
//! 32 × 128). `benches/peers/training.py` does the same in PyTorch.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::time::Instant;

use burn::module::Param;
use burn::tensor::{Device, Gradients, Tensor};
use serde_json::{Value, json};
use transformers_config::AutoConfig;
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForSequenceClassification, ModelInputs, Parameter,
    ParameterMapper, ParameterPath, PreTrainedModel, Rows,
};
use transformers_ops::{AdamW, square_sum};

fn main() {
    transformers_kernels::memory::keep_freed_memory();
    let mut args = std::env::args().skip(1);
    let shape = args.next().unwrap_or_else(|| "llama10m".into());
    let steps: usize = args.next().map_or(5, |steps| steps.parse().unwrap());
    let (config, [batch, seq]) = config(&shape);
    let vocab = config["vocab_size"].as_u64().unwrap() as u32;
    let config = AutoConfig::from_value(config).unwrap();
    let device = Device::flex();
    let classifier = shape == "minilm";
    let model: Box<dyn PreTrainedModel> = match classifier {
        true => AutoModelForSequenceClassification::from_config(&config, &device)
            .unwrap()
            .into_inner(),
        false => AutoModelForCausalLM::from_config(&config, &device)
            .unwrap()
            .into_inner(),
    };
    let mut model = model.train();
    let ids: Vec<u32> = (0..batch * seq)
        .map(|i| (i as u32 * 7919 + 13) % vocab)
        .collect();
    let rows: Vec<Vec<u32>> = ids.chunks(seq).map(<[u32]>::to_vec).collect();
    let labels: Vec<Vec<i64>> = match classifier {
        true => (0..batch).map(|i| vec![i as i64 % 2]).collect(),
        false => rows
            .iter()
            .map(|row| row.iter().map(|id| i64::from(*id)).collect())
            .collect(),
    };
    let inputs = ModelInputs {
        input_ids: Rows::new(&rows).unwrap(),
        labels: Some(Rows::new(&labels).unwrap().into()),
        ..ModelInputs::default()
    };
    let mut states = BTreeMap::new();
    let mut times: [Vec<f64>; 3] = Default::default();
    let mut last = 0.0;
    for step in 1..=steps as u64 {
        let start = Instant::now();
        let loss = model.forward(&inputs, None).unwrap().loss().unwrap();
        last = loss.clone().into_scalar::<f32>();
        times[0].push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let gradients = loss.backward();
        times[1].push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let mut optimizer = Step {
            path: ParameterPath::default(),
            gradients,
            states: &mut states,
            by: AdamW::new(step, 1e-5, [0.9, 0.999], 1e-8, 0.0),
            squares: 0.0,
        };
        model = model.map_parameters(&mut optimizer);
        times[2].push(start.elapsed().as_secs_f64());
    }
    let [forward, backward, optimizer] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let total = forward + backward + optimizer;
    println!(
        "{}",
        json!({
            "shape": shape, "forward": forward, "backward": backward, "optimizer": optimizer,
            "tokens_per_second": (batch * seq) as f64 / total, "loss": last, "peak_mib": peak(),
        })
    );
}

fn config(shape: &str) -> (Value, [usize; 2]) {
    let llama = |hidden: u32, inner: u32, layers: u32, heads: [u32; 2], vocab: u32| {
        json!({
            "model_type": "llama", "architectures": ["LlamaForCausalLM"],
            "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": heads[0], "num_key_value_heads": heads[1],
            "vocab_size": vocab, "tie_word_embeddings": true, "max_position_embeddings": 2048,
        })
    };
    match shape {
        "smollm2" => (llama(576, 1536, 30, [9, 3], 49152), [1, 256]),
        "llama10m" => (llama(320, 864, 6, [5, 5], 8192), [8, 128]),
        "minilm" => (
            json!({
                "model_type": "bert", "architectures": ["BertForSequenceClassification"],
                "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6,
                "num_attention_heads": 12, "vocab_size": 30522, "hidden_dropout_prob": 0.0,
                "attention_probs_dropout_prob": 0.0,
            }),
            [32, 128],
        ),
        other => panic!("no shape is called {other}"),
    }
}

/// One step of the optimizer, in place.
struct Step<'a> {
    path: ParameterPath,
    gradients: Gradients,
    states: &'a mut BTreeMap<String, [Vec<f32>; 2]>,
    by: AdamW,
    squares: f64,
}

impl Step<'_> {
    fn one<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.name();
        param.map(|value| {
            let Some(grad) = value.grad_remove(&mut self.gradients) else {
                return value;
            };
            let grad = grad.into_data();
            let grad = grad.as_slice::<f32>().unwrap();
            self.squares += square_sum(grad);
            let state = self.states.entry(name);
            let [first, second] = state.or_insert_with(|| [(); 2].map(|()| vec![0.0; grad.len()]));
            let device = value.device();
            let mut data = value.without_autodiff().into_data();
            self.by
                .step(data.as_mut_slice().unwrap(), grad, [first, second]);
            Tensor::from_data(data, &device).require_grad()
        })
    }
}

impl ParameterMapper for Step<'_> {
    fn map(&mut self, param: Parameter) -> Parameter {
        match param {
            Parameter::Rank1(param) => Parameter::Rank1(self.one(param)),
            Parameter::Rank2(param) => Parameter::Rank2(self.one(param)),
            Parameter::Rank3(param) => Parameter::Rank3(self.one(param)),
            Parameter::Rank4(param) => Parameter::Rank4(self.one(param)),
            Parameter::Rank5(param) => Parameter::Rank5(self.one(param)),
            blocks => blocks,
        }
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}

fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024)
}
