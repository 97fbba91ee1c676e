//! Our outputs against the reference's, with the tolerances of `tests/oracle/README.md`.

use std::path::Path;

use burn::tensor::{DType, Tensor};
use transformers_config::GenerationConfig;
use transformers_generation::{Generate, Prompt};
use transformers_modeling::{
    AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, DeviceSpec, Dtype, LoadOptions,
    ModelInputs, PreTrainedModel, Precision, Rows,
};

use crate::{Case, CaseError, Kind, saved};

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
pub const CHECKS: [&str; 9] = [
    "logits", "hidden", "pooler", "padded", "bf16", "fast", "greedy", "no cache", "saved",
];

/// Runs every comparison that the case has outputs for.
///
/// # Errors
/// A case or a model that cannot be loaded or run.
pub fn run(case: &Case, device: DeviceSpec) -> Result<Vec<Check>, CaseError> {
    let load = |dtype, precision| load(case, device, dtype, precision);
    let model = load(Dtype::Float32, Precision::Exact)?;
    let mut checks = forward_checks(case, model.as_ref())?;
    if case.tensors.has("logits_padded") {
        checks.push(padded_check(case, model.as_ref())?);
    }
    // Half types are computed in f32 on the CPU; other devices without them load f32, so nothing new would be shown.
    if let (Some(noise), DeviceSpec::Cpu) = (case.reference.bf16_vs_f32_maxdiff, device) {
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
    Ok(match case.reference.kind {
        Kind::Lm => AutoModelForCausalLM::from_pretrained_with(dir, options)?.into_inner(),
        Kind::Mlm => AutoModelForMaskedLM::from_pretrained_with(dir, options)?.into_inner(),
        Kind::Textenc => AutoModel::from_pretrained_with(dir, options)?.into_inner(),
    })
}

pub(crate) fn inputs(case: &Case) -> Result<ModelInputs, CaseError> {
    Ok(ModelInputs {
        input_ids: case.tensors.ids("input_ids")?,
        attention_mask: case.tensors.optional_ids("attention_mask")?,
        token_type_ids: case.tensors.optional_ids("token_type_ids")?,
        output_hidden_states: true,
        ..ModelInputs::default()
    })
}

fn main_output(case: &Case) -> &'static str {
    match case.reference.kind {
        Kind::Lm | Kind::Mlm => "logits",
        Kind::Textenc => "last_hidden_state",
    }
}

fn forward_checks(case: &Case, model: &dyn PreTrainedModel) -> Result<Vec<Check>, CaseError> {
    let inputs = inputs(case)?;
    let mask = inputs.attention_mask.clone();
    let output = model.forward(&inputs, None)?;
    let mut checks = Vec::new();

    let main = output.logits.or(output.last_hidden_state);
    if let Some(main) = main {
        let (found, limit) = compare(case, main_output(case), main, mask.as_ref())?;
        checks.push(distance("logits", found, limit));
    }
    let states = output.hidden_states.unwrap_or_default();
    let reference = (0..)
        .take_while(|i| case.tensors.has(&format!("hidden_states.{i}")))
        .count();
    if states.len() != reference {
        return Err(CaseError::Length {
            name: "hidden_states".to_owned(),
            reference,
            ours: states.len(),
        });
    }
    // The state that is farthest beyond, or nearest to, its own limit; NaN is the farthest.
    let mut worst = (0.0, f64::INFINITY);
    for (index, state) in states.into_iter().enumerate() {
        let name = format!("hidden_states.{index}");
        let (found, limit) = compare(case, &name, state, mask.as_ref())?;
        if (found / limit).total_cmp(&(worst.0 / worst.1)).is_gt() {
            worst = (found, limit);
        }
    }
    checks.push(distance("hidden", worst.0, worst.1));
    if case.tensors.has("pooler_output") {
        let ours = output
            .pooler_output
            .map(|pooled| pooled.unsqueeze_dim::<3>(1));
        let ours = ours.ok_or(transformers_modeling::ModelError::NoOutput {
            name: "pooler_output",
        })?;
        let (found, limit) = compare(case, "pooler_output", ours, None)?;
        checks.push(distance("pooler", found, limit));
    }
    Ok(checks)
}

fn padded_check(case: &Case, model: &dyn PreTrainedModel) -> Result<Check, CaseError> {
    let mask = case.tensors.ids("padded_attention_mask")?;
    let inputs = ModelInputs {
        input_ids: case.tensors.ids("padded_input_ids")?,
        attention_mask: Some(mask.clone()),
        ..ModelInputs::default()
    };
    let logits = model.forward(&inputs, None)?.logits()?;
    let (found, limit) = compare(case, "logits_padded", logits, Some(&mask))?;
    Ok(distance("padded", found, limit))
}

fn main_output_distance(case: &Case, model: &dyn PreTrainedModel) -> Result<f64, CaseError> {
    let inputs = inputs(case)?;
    let output = model.forward(&inputs, None)?;
    match output.logits.or(output.last_hidden_state) {
        Some(ours) => {
            let mask = inputs.attention_mask.as_ref();
            Ok(compare(case, main_output(case), ours, mask)?.0)
        }
        None => Ok(f64::NAN),
    }
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
        let output = model.forward(&inputs(case)?, None)?;
        let main = output.logits.or(output.last_hidden_state);
        Ok(main.map_or_else(Vec::new, |main| main.into_data().iter::<f64>().collect()))
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
    let prompt_len = prompt.dims()[1];
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
