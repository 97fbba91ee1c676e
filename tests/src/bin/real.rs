//! Two real, trained models against the reference's answers (`tests/golden/real`): a chat model in GGUF and a sentence
//! encoder in safetensors. `cargo xtask real` fetches them and runs this.
#![allow(clippy::print_stdout)]
#![forbid(unsafe_code)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::Device;
use clap::Parser;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use transformers_config::GenerationConfig;
use transformers_generation::Generate;
use transformers_modeling::{
    AutoModel, AutoModelForCausalLM, DeviceSpec, LoadOptions, ModelInputs, Precision,
};
use transformers_pipelines::{EmbedOptions, SentenceTransformer};
use transformers_tokenization::{
    AutoTokenizer, ChatMessage, ChatTemplateOptions, EncodeOptions, Truncation,
};
use transformers_weights::{Checkpoint, OpenOptions};

/// Below this distance of the two best scores, rounding decides.
const SURE_MARGIN: f64 = 1e-2;
const COSINE_TOLERANCE: f32 = 1e-5;

/// Compare two real models with the reference.
#[derive(Parser)]
struct Arguments {
    /// `SmolLM2-135M-Instruct.Q4_1.gguf`.
    #[arg(long)]
    smollm2: PathBuf,
    /// The folder of all-MiniLM-L6-v2.
    #[arg(long)]
    minilm: PathBuf,
    /// Where the models run.
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
}

#[derive(Deserialize)]
struct ChatGolden {
    cases: Vec<ChatCase>,
}

#[derive(Deserialize)]
struct ChatCase {
    prompt: String,
    rendered: String,
    prompt_ids: Vec<u32>,
    greedy_ids: Vec<u32>,
    top2_margins: Vec<f64>,
}

#[derive(Deserialize)]
struct EmbedGolden {
    sentences: Vec<String>,
    token_counts: Vec<usize>,
    first_8_dims: Vec<Vec<f32>>,
    cosine: Vec<Vec<f32>>,
}

/// Counts and prints what was compared.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    fn check(&mut self, what: &str, wrong: Option<String>) {
        match wrong {
            None => {
                self.passed += 1;
                println!("ok      {what}");
            }
            Some(wrong) => {
                self.failed += 1;
                println!("FAILED  {what}: {wrong}");
            }
        }
    }
}

fn main() -> ExitCode {
    match compare(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let options = LoadOptions {
        precision: Precision::Exact,
        device: arguments.device,
        ..LoadOptions::default()
    };
    let mut tally = Tally::default();
    chat(&arguments.smollm2, &options, &mut tally)?;
    if options.device.resolve()? == Device::flex() {
        let fast = LoadOptions {
            precision: Precision::Fast,
            ..options.clone()
        };
        println!("in integers:");
        chat(&arguments.smollm2, &fast, &mut tally)?;
        for bounds in &FAST {
            compare_logits(&arguments.smollm2, [&options, &fast], bounds, &mut tally)?;
        }
    }
    embed(&arguments.minilm, &options, &mut tally)?;
    save(&arguments.minilm, &options, &mut tally)?;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(ExitCode::from(u8::from(tally.failed > 0)))
}

fn golden<T: DeserializeOwned>(name: &str) -> Result<T, Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("golden/real")
        .join(name);
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

fn chat(model: &Path, options: &LoadOptions, tally: &mut Tally) -> Result<(), Box<dyn Error>> {
    let tokenizer = AutoTokenizer::from_pretrained(model)?;
    let model = AutoModelForCausalLM::from_pretrained_with(model, options)?;
    let template = ChatTemplateOptions {
        add_generation_prompt: true,
        ..ChatTemplateOptions::default()
    };
    for case in golden::<ChatGolden>("smollm2.json")?.cases {
        let prompt = case.prompt.as_str();
        let rendered = tokenizer.render_chat_template(&[ChatMessage::user(prompt)], &template)?;
        tally.check(
            &format!("rendered: {prompt}"),
            differs(&rendered, &case.rendered),
        );
        let ids = tokenizer.encode(&rendered, false)?;
        tally.check(
            &format!("prompt ids: {prompt}"),
            differs(&ids, &case.prompt_ids),
        );

        let greedy = GenerationConfig {
            max_new_tokens: Some(case.greedy_ids.len()),
            do_sample: Some(false),
            ..GenerationConfig::default()
        };
        let generated = model.generate(&case.prompt_ids, &greedy)?;
        let sure = case
            .top2_margins
            .iter()
            .take_while(|margin| **margin >= SURE_MARGIN)
            .count();
        let ours = generated.new_tokens(0);
        let wrong = differs(&&ours[..sure.min(ours.len())], &&case.greedy_ids[..sure]);
        tally.check(&format!("{sure} greedy ids: {prompt}"), wrong);
    }
    Ok(())
}

/// How far activations in integers may move the logits of a text.
struct Bounds {
    tokens: usize,
    /// Relative L2 distance of the logits.
    distance: f64,
    /// Mean Kullback-Leibler divergence of the next token's distribution.
    divergence: f64,
}

/// A short prompt is read in integers of two bytes, a long one in one byte where that does.
const FAST: [Bounds; 2] = [
    Bounds {
        tokens: 100,
        distance: 1e-3,
        divergence: 1e-6,
    },
    Bounds {
        tokens: 512,
        distance: 2e-2,
        divergence: 1e-3,
    },
];

/// How far activations in integers move the logits from those of the same weights in f32.
fn compare_logits(
    path: &Path,
    [exact, fast]: [&LoadOptions; 2],
    bounds: &Bounds,
    tally: &mut Tally,
) -> Result<(), Box<dyn Error>> {
    let ids = AutoTokenizer::from_pretrained(path)?
        .encode(include_str!("../../golden/real/pride.txt"), false)?;
    let ids = ids[..bounds.tokens].to_vec();
    let logits = |options: &LoadOptions| -> Result<Vec<f32>, Box<dyn Error>> {
        let model = AutoModelForCausalLM::from_pretrained_with(path, options)?;
        let logits = model
            .forward(&ModelInputs::new(ids.clone()), None)?
            .logits()?;
        Ok(logits.into_data().iter().collect())
    };
    let (exact, fast) = (logits(exact)?, logits(fast)?);
    let squares = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|value| f64::from(value).powi(2)).sum()
    };
    let distance = squares(&mut exact.iter().zip(&fast).map(|(a, b)| a - b));
    let distance = (distance / squares(&mut exact.iter().copied())).sqrt();
    let vocab = exact.len() / bounds.tokens;
    let rows = exact.chunks(vocab).zip(fast.chunks(vocab));
    let divergence = rows.map(|(p, q)| divergence(p, q)).sum::<f64>() / bounds.tokens as f64;
    println!("        logits: relative L2 {distance:.1e}, mean KL {divergence:.1e}");
    let far = distance.is_nan() || distance > bounds.distance;
    tally.check(
        &format!("logits of {} tokens", bounds.tokens),
        far.then(|| format!("{distance:.1e} is too far")),
    );
    let far = divergence.is_nan() || divergence > bounds.divergence;
    tally.check(
        &format!("distribution of {} tokens", bounds.tokens),
        far.then(|| format!("{divergence:.1e} is too far")),
    );
    Ok(())
}

/// The Kullback-Leibler divergence of softmax(q) from softmax(p).
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let log_sum = |x: &[f32]| {
        let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = x.iter().map(|x| f64::from(x - max).exp()).sum();
        f64::from(max) + sum.ln()
    };
    let (p_sum, q_sum) = (log_sum(p), log_sum(q));
    let terms = p.iter().zip(q).map(|(p, q)| {
        let (p, q) = (f64::from(*p) - p_sum, f64::from(*q) - q_sum);
        p.exp() * (p - q)
    });
    terms.sum()
}

fn embed(folder: &Path, options: &LoadOptions, tally: &mut Tally) -> Result<(), Box<dyn Error>> {
    let golden: EmbedGolden = golden("minilm.json")?;
    let texts: Vec<&str> = golden.sentences.iter().map(String::as_str).collect();
    let model = SentenceTransformer::from_pretrained_with(folder, options)?;

    let encode = EncodeOptions {
        truncation: Truncation::LongestFirst,
        max_length: model.max_length(),
        ..EncodeOptions::default()
    };
    let encoded = AutoTokenizer::from_pretrained(folder)?.encode_batch(&texts, &encode)?;
    let counts: Vec<usize> = encoded.input_ids.iter().map(Vec::len).collect();
    tally.check("token counts", differs(&counts, &golden.token_counts));

    let embeddings = model.encode(&texts, &EmbedOptions::default())?;
    let firsts: Vec<Vec<f32>> = embeddings
        .iter()
        .map(|embedding| embedding[..8].to_vec())
        .collect();
    tally.check("first dimensions", farther(&firsts, &golden.first_8_dims));
    let cosines = model.similarity(&embeddings, &embeddings);
    tally.check("cosines", farther(&cosines, &golden.cosine));
    Ok(())
}

/// Loads the encoder and saves it: the same tensors are in the file, and nothing else.
fn save(folder: &Path, options: &LoadOptions, tally: &mut Tally) -> Result<(), Box<dyn Error>> {
    let saved = tempfile::tempdir()?;
    let model = AutoModel::from_pretrained_with(folder, options)?;
    model.save_pretrained(saved.path())?;
    let open = |folder: &Path| {
        Checkpoint::open_file(&folder.join("model.safetensors"), &OpenOptions::default())
    };
    let (before, after) = (open(folder)?, open(saved.path())?);
    let is_buffer = |name: &&str| name.ends_with("position_ids");
    let names = |checkpoint: &Checkpoint| -> Vec<String> {
        let names = checkpoint.names().filter(|name| !is_buffer(name));
        names.map(str::to_owned).collect()
    };
    tally.check("saved names", differs(&names(&after), &names(&before)));
    for name in names(&before) {
        if before.tensor(&name)? != after.tensor(&name)? {
            tally.check("saved tensors", Some(format!("{name} differs")));
            return Ok(());
        }
    }
    tally.check("saved tensors", None);
    let tokenizer = saved.path().join("tokenizer.json").exists();
    tally.check(
        "saved tokenizer",
        (!tokenizer).then(|| "not there".to_owned()),
    );
    let same = |path: &Path| -> Result<Vec<f32>, Box<dyn Error>> {
        let inputs = ModelInputs::new(vec![101_u32, 7592, 2088, 102]);
        let model = AutoModel::from_pretrained_with(path, options)?;
        let states = model.forward(&inputs, None)?.last_hidden_state()?;
        Ok(states.into_data().iter().collect())
    };
    let equal = same(folder)? == same(saved.path())?;
    tally.check("saved states", (!equal).then(|| "they differ".to_owned()));
    Ok(())
}

fn differs<T: PartialEq + std::fmt::Debug>(ours: &T, reference: &T) -> Option<String> {
    (ours != reference).then(|| format!("{ours:?} instead of {reference:?}"))
}

fn farther(ours: &[Vec<f32>], reference: &[Vec<f32>]) -> Option<String> {
    let pairs = ours.iter().flatten().zip(reference.iter().flatten());
    let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("        largest difference {largest:.1e}");
    (largest.is_nan() || largest > COSINE_TOLERANCE).then(|| format!("{largest:.1e} is too far"))
}
