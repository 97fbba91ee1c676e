//! Whether the weights fill the model that the configuration describes, and whether it runs.

use std::time::Instant;

use serde_json::Value;
use transformers_config::AutoConfig;
use transformers_hub::ModelFiles;
use transformers_modeling::{
    AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, DeviceSpec, LoadOptions, ModelError,
    ModelInputs, PreTrainedModel,
};
use transformers_weights::LoadReport;

use super::Findings;
use crate::source::SourceArguments;

/// As many tokens as show whether it runs.
const TOKENS: u32 = 4;

/// Loads the model as its class says, and runs it.
pub fn check(
    files: &ModelFiles,
    config: &AutoConfig,
    source: &SourceArguments,
    findings: &mut Findings,
) {
    let open = source.open();
    let options = LoadOptions {
        hub: source.hub(),
        device: DeviceSpec::Cpu,
        variant: open.variant,
        mmap: open.mmap,
        ignore_mismatched_sizes: true,
        ..LoadOptions::default()
    };
    let model = match load(files, config, &options) {
        Ok(model) => model,
        Err(ModelError::CheckpointMismatch { report }) => {
            return findings.error("fit", report.to_string());
        }
        Err(error) => return findings.error("fit", error.to_string()),
    };
    let report = &model.info().loading_info;
    judge(report, findings);
    let begin = Instant::now();
    match run(&*model, config) {
        Ok(0) => {
            let seconds = begin.elapsed().as_secs_f64();
            findings.ok(
                "run",
                format!(
                    "a pass over {TOKENS} tokens takes {seconds:.3} s and gives finite numbers"
                ),
            );
        }
        Ok(count) => findings.error(
            "run",
            format!("a pass over {TOKENS} tokens gives {count} numbers that are NaN or infinite"),
        ),
        Err(error) => findings.error("run", error.to_string()),
    }
}

fn load(
    files: &ModelFiles,
    config: &AutoConfig,
    options: &LoadOptions,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let is = |end: &str| {
        config
            .architectures()
            .iter()
            .any(|class| class.ends_with(end))
    };
    Ok(match () {
        () if is("ForCausalLM") => {
            AutoModelForCausalLM::from_pretrained_with(files, options)?.into_inner()
        }
        () if is("ForMaskedLM") => {
            AutoModelForMaskedLM::from_pretrained_with(files, options)?.into_inner()
        }
        () => AutoModel::from_pretrained_with(files, options)?.into_inner(),
    })
}

fn judge(report: &LoadReport, findings: &mut Findings) {
    let fatal = !(report.missing.is_empty() && report.mismatched.is_empty());
    match report {
        report if report.is_clean() => findings.ok("fit", report.to_string()),
        report if fatal || report.refuses(true) => findings.error("fit", report.to_string()),
        report => findings.warning("fit", report.to_string()),
    }
}

/// How many of the numbers that come out are not finite.
fn run(model: &dyn PreTrainedModel, config: &AutoConfig) -> Result<usize, ModelError> {
    let vocab = config.get("vocab_size").and_then(Value::as_u64);
    let vocab = vocab
        .and_then(|vocab| u32::try_from(vocab).ok())
        .unwrap_or(1);
    let ids: Vec<u32> = (0..TOKENS).map(|id| id % vocab.max(1)).collect();
    let output = model.forward(&ModelInputs::new(ids), None)?;
    let output = match output.logits.is_some() {
        true => output.logits()?,
        false => output.last_hidden_state()?,
    };
    let values = output.into_data();
    Ok(values
        .iter::<f32>()
        .filter(|value| !value.is_finite())
        .count())
}
