//! Our outputs against the reference's, with the tolerances of `tests/oracle/README.md`.

use std::path::Path;

use burn::tensor::{DType, Tensor};
use transformers_config::{AutoConfig, GenerationConfig};
use transformers_generation::{Generate, Prompt};
use transformers_modeling::{
    AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForMultipleChoice,
    AutoModelForNextSentencePrediction, AutoModelForPreTraining, AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, AutoModelForTextEncoding,
    AutoModelForTokenClassification, DeviceSpec, Dtype, LoadOptions, ModelError, ModelInputs,
    ModelOutput, PreTrainedModel, Precision, Rows,
};

use crate::{Case, CaseError, Kind, batched, gradients, saved};

/// One comparison.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its name, a column of the table.
    pub name: &'static str,
    /// What was measured.
    pub outcome: Outcome,
}

/// The result of a comparison.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The largest difference and how large it may be.
    Distance {
        /// Largest absolute difference.
        found: f64,
        /// Largest one that passes.
        limit: f64,
    },
    /// Files that are written again: the first that is not as it shall be.
    Files {
        /// Which, and what is wrong.
        wrong: Option<String>,
    },
    /// Ids: how many were compared, and the first that differs.
    Ids {
        /// Compared steps.
        compared: usize,
        /// First difference.
        differs_at: Option<usize>,
    },
}

impl Outcome {
    /// Whether it passes.
    pub fn passed(&self) -> bool {
        match *self {
            // Written so that NaN fails.
            Self::Distance { found, limit } => found <= limit,
            Self::Files { ref wrong } => wrong.is_none(),
            Self::Ids {
                compared,
                differs_at,
            } => compared > 0 && differs_at.is_none(),
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self {
            Self::Distance { found, limit } if self.passed() => {
                let _ = limit;
                format!("{found:.1e}")
            }
            Self::Distance { found, limit } => format!("{found:.1e} > {limit:.1e}"),
            Self::Files { wrong: None } => "same".to_owned(),
            Self::Files { wrong: Some(wrong) } => wrong.clone(),
            Self::Ids {
                compared,
                differs_at: None,
            } => format!("{compared} ids"),
            Self::Ids {
                differs_at: Some(step),
                ..
            } => format!("differs at {step}"),
        };
        f.pad(&text)
    }
}

/// The columns of the table, in order.
pub const CHECKS: [&str; 14] = [
    "logits",
    "encoder",
    "hidden",
    "attention",
    "pooler",
    "loss",
    "gradients",
    "padded",
    "bf16",
    "fast",
    "greedy",
    "no cache",
    "batched",
    "saved",
];

/// Model types whose bf16 figure is no measure: attention without a scale, or experts of which another may be chosen.
const UNSTABLE_IN_BF16: [&str; 4] = ["t5", "mt5", "umt5", "deepseek_v3"];

/// Runs every comparison that the case has outputs for.
///
/// # Errors
/// A case or a model that cannot be loaded or run.
pub fn run(case: &Case, device: DeviceSpec) -> Result<Vec<Check>, CaseError> {
    let load = |dtype, precision| load(case, device, dtype, precision);
    let model = load(Dtype::Float32, Precision::Exact)?;
    let mut checks = forward_checks(case, model.as_ref())?;
    let grads = case.tensors.names_after("grad.");
    if !grads.is_empty() {
        let (found, limit) =
            gradients::farthest(case, &grads, model.boxed_clone(), &inputs(case)?)?;
        checks.push(distance("gradients", found, limit));
    }
    if case.tensors.has("logits_padded") {
        checks.push(padded_check(case, model.as_ref())?);
    }
    // Half types are computed in f32 on the CPU; other devices without them load f32, so nothing new would be shown.
    let noise = case.reference.bf16_vs_f32_maxdiff;
    let noise = noise.filter(|_| !UNSTABLE_IN_BF16.contains(&case.reference.model_type.as_str()));
    if let (Some(noise), DeviceSpec::Cpu) = (noise, device) {
        let half = load(Dtype::BFloat16, Precision::Exact)?;
        let found = main_output_distance(case, half.as_ref())?;
        checks.push(distance("bf16", found, 1.5 * noise));
        let fast = load(Dtype::BFloat16, Precision::Fast)?;
        let found = relative_distance(case, half.as_ref(), fast.as_ref())?;
        checks.push(distance("fast", found, FAST));
    }
    if case.tensors.has("greedy_ids") {
        checks.push(greedy_check(case, model.as_ref(), true)?);
        if case.reference.cache_equals_nocache == Some(true) {
            checks.push(greedy_check(case, model.as_ref(), false)?);
        }
        if case.reference.kind == Kind::Lm {
            let near = 10.0 * tolerance(case, largest(&case.tensors.values("logits")?));
            let prompt = case.tensors.ids("input_ids")?;
            checks.push(Check {
                name: "batched",
                outcome: batched::check(model.as_ref(), prompt.row(0), near)?,
            });
        }
    }
    checks.push(saved::check(case, device)?);
    Ok(checks)
}

/// The case's model, by the auto class of its kind.
pub(crate) fn load(
    case: &Case,
    device: DeviceSpec,
    dtype: Dtype,
    precision: Precision,
) -> Result<Box<dyn PreTrainedModel>, CaseError> {
    let options = LoadOptions {
        device,
        dtype,
        precision,
        ..LoadOptions::default()
    };
    load_from(case, &case.dir, &options)
}

/// The model in the folder `dir`, by the auto class of the case's kind.
pub(crate) fn load_from(
    case: &Case,
    dir: &Path,
    options: &LoadOptions,
) -> Result<Box<dyn PreTrainedModel>, CaseError> {
    macro_rules! load {
        ($auto_class:ident) => {
            $auto_class::from_pretrained_with(dir, options)?.into_inner()
        };
    }
    Ok(match case.reference.kind {
        Kind::Lm => load!(AutoModelForCausalLM),
        Kind::Mlm => load!(AutoModelForMaskedLM),
        Kind::Textenc => match AutoModelForTextEncoding::from_pretrained_with(dir, options) {
            Err(ModelError::NoHead { .. }) => load!(AutoModel),
            model => model?.into_inner(),
        },
        Kind::Seqcls => load!(AutoModelForSequenceClassification),
        Kind::Tokcls => load!(AutoModelForTokenClassification),
        Kind::Qa => load!(AutoModelForQuestionAnswering),
        Kind::Mc => load!(AutoModelForMultipleChoice),
        Kind::Nsp => load!(AutoModelForNextSentencePrediction),
        Kind::Pretraining => load!(AutoModelForPreTraining),
        Kind::S2s => load!(AutoModelForSeq2SeqLM),
    })
}

/// The case's model in f32 on the CPU.
///
/// # Errors
/// A case that cannot be loaded.
pub fn load_case(case: &Case) -> Result<Box<dyn PreTrainedModel>, CaseError> {
    load(case, DeviceSpec::Cpu, Dtype::Float32, Precision::Exact)
}

/// How far the main output of the weights in `source`, read with the case's configuration, is from the reference's, and
/// how far it may be.
///
/// # Errors
/// The weights cannot be loaded or run.
pub fn output_distance(case: &Case, source: &Path) -> Result<(f64, f64), CaseError> {
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        dtype: Dtype::Float32,
        precision: Precision::Exact,
        config: Some(AutoConfig::from_pretrained(case.dir.as_path()).map_err(ModelError::from)?),
        ..LoadOptions::default()
    };
    let model = load_from(case, source, &options)?;
    let inputs = inputs(case)?;
    let output = model.forward(&inputs, None)?;
    compare_named(case, &inputs, &output, main_name(case)?)
}

/// A fresh model, by the auto class of a kind.
///
/// # Errors
/// As the auto class's `from_config_with`.
pub fn from_config(
    kind: Kind,
    config: &AutoConfig,
    options: &LoadOptions,
) -> Result<Box<dyn PreTrainedModel>, CaseError> {
    macro_rules! fresh {
        ($auto_class:ident) => {
            $auto_class::from_config_with(config, options)?.into_inner()
        };
    }
    Ok(match kind {
        Kind::Lm => fresh!(AutoModelForCausalLM),
        Kind::Mlm => fresh!(AutoModelForMaskedLM),
        Kind::Textenc => match AutoModelForTextEncoding::from_config_with(config, options) {
            Err(ModelError::NoHead { .. }) => fresh!(AutoModel),
            model => model?.into_inner(),
        },
        Kind::Seqcls => fresh!(AutoModelForSequenceClassification),
        Kind::Tokcls => fresh!(AutoModelForTokenClassification),
        Kind::Qa => fresh!(AutoModelForQuestionAnswering),
        Kind::Mc => fresh!(AutoModelForMultipleChoice),
        Kind::Nsp => fresh!(AutoModelForNextSentencePrediction),
        Kind::Pretraining => fresh!(AutoModelForPreTraining),
        Kind::S2s => fresh!(AutoModelForSeq2SeqLM),
    })
}

pub(crate) fn inputs(case: &Case) -> Result<ModelInputs, CaseError> {
    let tensors = &case.tensors;
    let next_sentence = tensors.optional_numbers("next_sentence_label")?;
    Ok(ModelInputs {
        input_ids: tensors.ids("input_ids")?,
        attention_mask: tensors.optional_ids("attention_mask")?,
        token_type_ids: tensors.optional_ids("token_type_ids")?,
        position_ids: tensors.optional_ids("position_ids")?,
        labels: tensors.labels()?,
        decoder_input_ids: tensors.optional_ids("decoder_input_ids")?,
        decoder_attention_mask: tensors.optional_ids("decoder_attention_mask")?,
        start_positions: tensors.optional_numbers("start_positions")?,
        end_positions: tensors.optional_numbers("end_positions")?,
        next_sentence_label: match next_sentence {
            None => tensors.optional_numbers("sentence_order_label")?,
            label => label,
        },
        num_choices: tensors.num_choices()?,
        output_hidden_states: STACKS.iter().any(|name| tensors.has(&format!("{name}.0"))),
        ..ModelInputs::default()
    })
}

/// The states between the layers, by the stack.
const STACKS: [&str; 3] = [
    "hidden_states",
    "encoder_hidden_states",
    "decoder_hidden_states",
];

/// The weights of attention, by who attends.
const ATTENTIONS: [&str; 4] = [
    "attentions",
    "encoder_attentions",
    "decoder_attentions",
    "cross_attentions",
];

/// Which tokens of the main output count.
fn main_mask<'a>(case: &Case, inputs: &'a ModelInputs) -> Option<&'a Rows<u32>> {
    match case.reference.kind {
        Kind::S2s => inputs.decoder_attention_mask.as_ref(),
        _ => inputs.attention_mask.as_ref(),
    }
}

/// Our output of a name, as rows of features: of tokens, `[batch, seq, features]`, or of whole rows of the batch,
/// `[batch, 1, features]`.
fn named(output: &ModelOutput, name: &str) -> Option<(Tensor<3>, Of)> {
    let tokens = |x: &Option<Tensor<3>>| Some((x.clone()?, Of::Tokens));
    let flat_tokens = |x: &Option<Tensor<2>>| Some((x.clone()?.unsqueeze_dim(2), Of::Tokens));
    let whole = |x: &Option<Tensor<2>>| Some((x.clone()?.unsqueeze_dim(1), Of::Rows));
    let scalar = |x: &Option<Tensor<1>>| Some((x.clone()?.unsqueeze_dims(&[0, 1]), Of::Rows));
    match name {
        "encoder_last_hidden_state" => {
            Some((output.encoder_last_hidden_state.clone()?, Of::Source))
        }
        "logits" => tokens(&output.logits).or_else(|| whole(&output.pooled_logits)),
        "last_hidden_state" => tokens(&output.last_hidden_state),
        "pooler_output" => whole(&output.pooler_output),
        "start_logits" => flat_tokens(&output.start_logits),
        "end_logits" => flat_tokens(&output.end_logits),
        "prediction_logits" => tokens(&output.prediction_logits),
        "seq_relationship_logits" | "sop_logits" => whole(&output.seq_relationship_logits),
        "loss" => scalar(&output.loss),
        "aux_loss" => scalar(&output.aux_loss),
        _ => None,
    }
}

/// What the rows of an output belong to.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    /// Those that the output is about: with a decoder its own.
    Tokens,
    /// Those of an encoder, where there is a decoder too.
    Source,
    Rows,
}

/// The outputs that stand for a model, the first of them for its rounding.
const MAIN: [&str; 7] = [
    "logits",
    "last_hidden_state",
    "start_logits",
    "end_logits",
    "prediction_logits",
    "seq_relationship_logits",
    "sop_logits",
];

fn main_name(case: &Case) -> Result<&'static str, CaseError> {
    let mut names = MAIN.into_iter();
    names
        .find(|name| case.tensors.has(name))
        .ok_or_else(|| CaseError::NoOutput)
}

/// The first of them that `model` gives for the case.
pub(crate) fn main_output(
    case: &Case,
    model: &dyn PreTrainedModel,
) -> Result<Tensor<3>, CaseError> {
    let output = model.forward(&inputs(case)?, None)?;
    let name = main_name(case)?;
    let (main, _) = named(&output, name).ok_or(ModelError::NoOutput { name })?;
    Ok(main)
}

/// The distance of our output `name` from the reference's, and its limit.
fn compare_named(
    case: &Case,
    inputs: &ModelInputs,
    output: &ModelOutput,
    name: &'static str,
) -> Result<(f64, f64), CaseError> {
    let (ours, of) = named(output, name).ok_or(ModelError::NoOutput { name })?;
    let mask = match of {
        Of::Tokens => main_mask(case, inputs),
        Of::Source => inputs.attention_mask.as_ref(),
        Of::Rows => None,
    };
    compare(case, name, ours, mask)
}

/// Of distances with limits, the one that is farthest beyond, or nearest to, its own; NaN is the farthest.
pub(crate) fn worst(distances: impl IntoIterator<Item = (f64, f64)>) -> (f64, f64) {
    let share = |(found, limit): &(f64, f64)| found / limit;
    let worst = distances
        .into_iter()
        .max_by(|a, b| share(a).total_cmp(&share(b)));
    worst.unwrap_or((0.0, f64::INFINITY))
}

fn forward_checks(case: &Case, model: &dyn PreTrainedModel) -> Result<Vec<Check>, CaseError> {
    let inputs = inputs(case)?;
    let output = model.forward(&inputs, None)?;
    let of = |names: &[&'static str]| -> Result<Vec<(f64, f64)>, CaseError> {
        let names = names.iter().filter(|name| case.tensors.has(name));
        names
            .map(|name| compare_named(case, &inputs, &output, name))
            .collect()
    };
    main_name(case)?;
    let mut checks = Vec::new();
    for (check, names) in [
        ("logits", &MAIN[..]),
        ("encoder", &["encoder_last_hidden_state"]),
        ("pooler", &["pooler_output"]),
        ("loss", &["loss", "aux_loss"]),
    ] {
        let distances = of(names)?;
        if !distances.is_empty() {
            let (found, limit) = worst(distances);
            checks.push(distance(check, found, limit));
        }
    }

    checks.push(attentions_check(case, model)?);
    checks.extend(hidden_check(case, &inputs, output)?);
    Ok(checks)
}

/// The states between the layers of every stack that the case has them of.
fn hidden_check(
    case: &Case,
    inputs: &ModelInputs,
    output: ModelOutput,
) -> Result<Option<Check>, CaseError> {
    let ours = [
        output.hidden_states,
        output.encoder_hidden_states,
        output.decoder_hidden_states,
    ];
    let mask = inputs.attention_mask.as_ref();
    let masks = [mask, mask, inputs.decoder_attention_mask.as_ref()];
    let mut distances = Vec::new();
    for ((name, states), mask) in STACKS.into_iter().zip(ours).zip(masks) {
        let states = states.unwrap_or_default();
        let state_name = |index: usize| format!("{name}.{index}");
        let reference = (0..)
            .take_while(|index| case.tensors.has(&state_name(*index)))
            .count();
        if states.len() != reference {
            return Err(CaseError::Length {
                name: name.to_owned(),
                reference,
                ours: states.len(),
            });
        }
        for (index, state) in states.into_iter().enumerate() {
            distances.push(compare(case, &state_name(index), state, mask)?);
        }
    }
    if distances.is_empty() {
        return Ok(None);
    }
    let (found, limit) = worst(distances);
    Ok(Some(distance("hidden", found, limit)))
}

/// The weights of attention of every layer that the case has them of, and of every case the main output of that pass,
/// which no fused kernel computes.
fn attentions_check(case: &Case, model: &dyn PreTrainedModel) -> Result<Check, CaseError> {
    let inputs = ModelInputs {
        output_attentions: true,
        ..inputs(case)?
    };
    let output = model.forward(&inputs, None)?;
    let ours = [
        &output.attentions,
        &output.encoder_attentions,
        &output.decoder_attentions,
        &output.cross_attentions,
    ];
    let (mask, target) = (&inputs.attention_mask, &inputs.decoder_attention_mask);
    let masks = [mask, mask, target, target];
    let mut distances = vec![compare_named(case, &inputs, &output, main_name(case)?)?];
    for ((name, weights), mask) in ATTENTIONS.into_iter().zip(ours).zip(masks) {
        let weights = weights.as_deref().unwrap_or_default();
        let reference = case.tensors.names_after(&format!("{name}.")).len();
        if reference > 0 && weights.len() != reference {
            return Err(CaseError::Length {
                name: name.to_owned(),
                reference,
                ours: weights.len(),
            });
        }
        for (index, weights) in weights.iter().take(reference).enumerate() {
            let [batch, heads, queries, keys] = weights.dims();
            let rows = weights.clone().reshape([batch, heads * queries, keys]);
            let counts = |mask: &Rows<u32>| {
                let of_heads = mask.iter().map(|row| row.repeat(heads));
                Rows::new(&of_heads.collect::<Vec<_>>())
            };
            let mask = mask.as_ref().map(counts).transpose()?;
            let name = format!("{name}.{index}");
            distances.push(compare(case, &name, rows, mask.as_ref())?);
        }
    }
    let (found, limit) = worst(distances);
    Ok(distance("attention", found, limit))
}

fn padded_check(case: &Case, model: &dyn PreTrainedModel) -> Result<Check, CaseError> {
    let inputs = ModelInputs {
        input_ids: case.tensors.ids("padded_input_ids")?,
        attention_mask: Some(case.tensors.ids("padded_attention_mask")?),
        decoder_input_ids: case.tensors.optional_ids("padded_decoder_input_ids")?,
        ..ModelInputs::default()
    };
    let inputs = match case.reference.kind {
        Kind::Lm => inputs.with_positions(0)?,
        _ => inputs,
    };
    let logits = model.forward(&inputs, None)?.logits()?;
    let (found, limit) = compare(case, "logits_padded", logits, main_mask(case, &inputs))?;
    Ok(distance("padded", found, limit))
}

fn main_output_distance(case: &Case, model: &dyn PreTrainedModel) -> Result<f64, CaseError> {
    let inputs = inputs(case)?;
    let output = model.forward(&inputs, None)?;
    Ok(compare_named(case, &inputs, &output, main_name(case)?)?.0)
}

/// How far [`Precision::Fast`] may be from exact arithmetic: see [`relative_distance`].
const FAST: f64 = 2e-2;

/// The distance of two models' main outputs, relative to the first's length (L2).
fn relative_distance(
    case: &Case,
    exact: &dyn PreTrainedModel,
    fast: &dyn PreTrainedModel,
) -> Result<f64, CaseError> {
    let values = |model: &dyn PreTrainedModel| -> Result<Vec<f64>, CaseError> {
        let main = main_output(case, model)?;
        Ok(main.into_data().iter::<f64>().collect())
    };
    let (exact, fast) = (values(exact)?, values(fast)?);
    let length = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let apart = length(&mut exact.iter().zip(&fast).map(|(a, b)| a - b));
    Ok(apart / length(&mut exact.iter().copied()))
}

fn greedy_check(
    case: &Case,
    model: &dyn PreTrainedModel,
    use_cache: bool,
) -> Result<Check, CaseError> {
    let prompt = case.tensors.ids("input_ids")?;
    let reference = case.tensors.ids("greedy_ids")?;
    let prompt_len = match case.reference.kind {
        Kind::S2s => 1,
        _ => prompt.dims()[1],
    };
    let config = GenerationConfig {
        max_new_tokens: Some(reference.dims()[1] - prompt_len),
        do_sample: Some(false),
        use_cache: Some(use_cache),
        ..GenerationConfig::default()
    };
    let prompt = Prompt {
        input_ids: prompt,
        attention_mask: None,
    };
    let ours = model.generate(prompt, &config)?;
    let reference = &reference.row(0)[prompt_len..];
    // From a near-tie on, the reference's own noise decides.
    let limit = 10.0 * tolerance(case, largest(&case.tensors.values("logits")?));
    let sure = case
        .reference
        .top2_margins
        .iter()
        .take_while(|margin| **margin >= limit)
        .count();
    let compared = sure.min(reference.len());
    let ours = ours.new_tokens(0);
    let differs_at = (0..compared).find(|step| ours.get(*step) != Some(&reference[*step]));
    Ok(Check {
        name: if use_cache { "greedy" } else { "no cache" },
        outcome: Outcome::Ids {
            compared,
            differs_at,
        },
    })
}

fn distance(name: &'static str, found: f64, limit: f64) -> Check {
    Check {
        name,
        outcome: Outcome::Distance { found, limit },
    }
}

/// The largest difference to the reference's `name` where `mask` is not 0, and the tolerance.
fn compare(
    case: &Case,
    name: &str,
    ours: Tensor<3>,
    mask: Option<&Rows<u32>>,
) -> Result<(f64, f64), CaseError> {
    let width = ours.dims()[2];
    let reference = case.tensors.values(name)?;
    let ours: Vec<f32> = ours.cast(DType::F32).into_data().iter::<f32>().collect();
    if ours.len() != reference.len() {
        return Err(CaseError::Length {
            name: name.to_owned(),
            reference: reference.len(),
            ours: ours.len(),
        });
    }
    let counts = |position: usize| mask.is_none_or(|mask| mask.values()[position] != 0);
    let mut largest_difference = 0.0f64;
    for (index, (a, b)) in ours.iter().zip(&reference).enumerate() {
        if counts(index / width) {
            let difference = f64::from((a - b).abs());
            if difference.is_nan() {
                return Ok((f64::NAN, 1.0));
            }
            largest_difference = largest_difference.max(difference);
        }
    }
    Ok((largest_difference, tolerance(case, largest(&reference))))
}

fn largest(values: &[f32]) -> f64 {
    f64::from(
        values
            .iter()
            .fold(0.0f32, |max, value| max.max(value.abs())),
    )
}

fn tolerance(case: &Case, largest: f64) -> f64 {
    let scale = largest.max(1.0);
    let noise = case.reference.sdpa_vs_eager_maxdiff.unwrap_or(0.0);
    (1e-5 * scale).max(4.0 * noise).min(1e-4 * scale)
}
