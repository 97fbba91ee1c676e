//! `transformers generate`: a model continues a text or answers a question.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use transformers_config::{AutoConfig, GenerationConfig, StopStrings};
use transformers_generation::{
    FinishReason, Generate, GenerateOptions, Generated, Grammar, GrammarCompiler, LogitsProcessor,
    Prompt, PromptCache, Streamer, TextStreamer,
};
use transformers_hub::{EMBEDDED, ModelFiles};
use transformers_modeling::{LoadOptions, PreTrainedModel};
use transformers_tokenization::{AutoTokenizer, ChatMessage, ChatTemplateOptions, Tokenizer};

use crate::failure::{Failure, Result};
use crate::interrupt::{INTERRUPTED, cancel_on_interrupt};
use crate::model::{Kind, ModelArguments};
use crate::output::print;
use crate::prompts_file;
use crate::stats::{self, Stats};

/// The longest answer where nobody says how long.
const DEFAULT_NEW_TOKENS: usize = 256;

/// Continue a text, or answer a message, token by token; an encoder–decoder answers the text that it is given.
#[derive(Debug, Args)]
#[command(after_help = "\
Without a text, --prompt and --chat the prompt is read from stdin. Ctrl-C ends the answer.
Without --model a very small one continues the text, which is part of this program: it needs no network.

Examples:
  transformers generate 'Once upon a time'
  transformers generate --model HuggingFaceTB/SmolLM2-135M-Instruct --chat 'Who wrote Emma?'
  transformers generate --model Qwen/Qwen3-0.6B --chat 'Write a haiku.' --temperature 0.7 --seed 1
  transformers generate --model ./model.gguf --prompt 'Once upon a time' --stop '.' --stats
  transformers generate --model Qwen/Qwen3-0.6B --prompts-file questions.jsonl > answers.jsonl
  transformers generate --model Qwen/Qwen3-0.6B --chat 'Is 7 prime?' --choice yes --choice no
  transformers generate --model Qwen/Qwen3-8B --assistant Qwen/Qwen3-0.6B --chat 'Write a story.'
  transformers generate --model ./model.gguf --prompt-cache book.safetensors < book.txt
  transformers generate --model org/name-GGUF:name-Q4_K_M.gguf --max-new-tokens 100 < story.txt")]
#[command(mut_arg("model", |model| model.required(false).default_value(EMBEDDED)))]
pub struct Arguments {
    /// The text to continue, as it is
    #[arg(value_name = "TEXT", conflicts_with_all = ["prompt", "chat", "prompts_file"])]
    text: Option<String>,

    /// The same by name
    #[arg(short, long, value_name = "TEXT", conflicts_with = "chat")]
    prompt: Option<String>,

    /// The message to answer, put into the model's chat template
    #[arg(short, long, value_name = "MESSAGE")]
    chat: Option<String>,

    /// The system message before it
    #[arg(
        long,
        value_name = "MESSAGE",
        requires = "chat",
        conflicts_with = "prompt"
    )]
    system: Option<String>,

    /// A prompt on every line, all of which are continued at once; in a .jsonl file, an object with `prompt`, or `chat`
    /// and perhaps `system`. Prints an object for each line, in their order
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "chat"])]
    prompts_file: Option<PathBuf>,

    /// Say at the end, on stderr, which file was used, how long it took and how much memory
    #[arg(long)]
    pub stats: bool,

    #[command(flatten)]
    model: ModelArguments,

    /// Keep what the model makes of the prompt in this file, and begin with what is there already
    #[arg(long, value_name = "FILE", conflicts_with = "adapter")]
    prompt_cache: Option<PathBuf>,

    /// A smaller model that drafts the answer, which the model then only checks: faster, and the same answer
    #[arg(long, value_name = "MODEL")]
    assistant: Option<String>,

    #[command(flatten)]
    pub sampling: Sampling,

    #[command(flatten)]
    pub constraint: ConstraintArguments,
}

/// What the answer must look like.
#[derive(Debug, Args)]
#[command(next_help_heading = "Structured output")]
#[group(multiple = false)]
pub struct ConstraintArguments {
    /// The answer is JSON of this schema: a file, or the schema itself
    #[arg(long, value_name = "SCHEMA")]
    json_schema: Option<String>,

    /// The answer matches this regular expression as a whole
    #[arg(long, value_name = "REGEX")]
    regex: Option<String>,

    /// The answer is one of these; may be given several times
    #[arg(long, value_name = "TEXT")]
    choice: Vec<String>,

    /// The answer follows the grammar of this file, in llguidance's dialect of Lark
    #[arg(long, value_name = "FILE")]
    grammar: Option<PathBuf>,
}

impl ConstraintArguments {
    fn grammar(&self) -> Result<Option<Grammar>> {
        if let Some(schema) = &self.json_schema {
            let text = match schema.trim_start().starts_with('{') {
                true => schema.clone(),
                false => {
                    fs::read_to_string(schema).map_err(|error| format!("{schema}: {error}"))?
                }
            };
            let schema = serde_json::from_str(&text)
                .map_err(|error| format!("--json-schema is no JSON: {error}"))?;
            return Ok(Some(Grammar::JsonSchema(schema)));
        }
        if let Some(regex) = &self.regex {
            return Ok(Some(Grammar::Regex(regex.clone())));
        }
        if let Some(file) = &self.grammar {
            let text =
                fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            return Ok(Some(Grammar::Lark(text)));
        }
        Ok((!self.choice.is_empty()).then(|| Grammar::Choices(self.choice.clone())))
    }

    /// As processors of the generation: none, or one.
    pub fn processors(
        &self,
        tokenizer: &Tokenizer,
        config: &GenerationConfig,
    ) -> Result<Vec<Box<dyn LogitsProcessor>>> {
        let Some(grammar) = self.grammar()? else {
            return Ok(Vec::new());
        };
        let grammars = GrammarCompiler::new(tokenizer, config.eos_token_ids())?;
        Ok(vec![Box::new(grammars.compile(&grammar)?)])
    }
}

/// How tokens are chosen. What is not given here comes from the model's `generation_config.json`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Generation")]
pub struct Sampling {
    /// The largest number of new tokens [default: the model's, or 256]
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,

    /// The smallest number of new tokens
    #[arg(long, value_name = "N")]
    min_new_tokens: Option<usize>,

    /// Draw tokens by probability (`--do-sample=false`: take the likeliest) [default: the model's, or true with
    /// --temperature, --top-k, --top-p or --min-p]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    do_sample: Option<bool>,

    /// Divides the logits: below 1 is more predictable, above 1 less
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,

    /// Draw from the K likeliest tokens; 0 is all
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,

    /// Draw from the likeliest tokens that together have probability P
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,

    /// Draw from tokens with at least P times the likeliest one's probability
    #[arg(long, value_name = "P")]
    min_p: Option<f64>,

    /// Above 1 makes tokens that were there already less likely
    #[arg(long, value_name = "FACTOR")]
    repetition_penalty: Option<f64>,

    /// Search with N beams for the likeliest text, which is printed at the end
    #[arg(long, value_name = "N")]
    num_beams: Option<usize>,

    /// Draft N tokens at a time from what the text says already: faster where it repeats itself, and the same answer
    #[arg(long, value_name = "N")]
    prompt_lookup: Option<usize>,

    /// Take the prompt's last token back and choose it anew: for prompts that end within a word
    #[arg(long)]
    token_healing: bool,

    /// Above 1 leads away from --negative-prompt, or from what the model says without the prompt
    #[arg(long, value_name = "SCALE")]
    guidance_scale: Option<f64>,

    /// What --guidance-scale leads away from
    #[arg(long, value_name = "TEXT", requires = "guidance_scale")]
    negative_prompt: Option<String>,

    /// The same seed draws the same tokens [default: another seed each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,

    /// A text that ends the answer; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,

    /// Compute everything anew for every token (slow; for comparison)
    #[arg(long)]
    no_cache: bool,
}

impl Sampling {
    fn config(&self) -> GenerationConfig {
        let filters = [self.temperature, self.top_p, self.min_p];
        let asks_to_sample = filters.iter().any(Option::is_some) || self.top_k.is_some();
        GenerationConfig {
            max_new_tokens: self.max_new_tokens,
            min_new_tokens: self.min_new_tokens,
            do_sample: self.do_sample.or(asks_to_sample.then_some(true)),
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            num_beams: self.num_beams,
            prompt_lookup_num_tokens: self.prompt_lookup,
            token_healing: self.token_healing.then_some(true),
            guidance_scale: self.guidance_scale,
            use_cache: self.no_cache.then_some(false),
            stop_strings: (!self.stop.is_empty()).then(|| StopStrings::Many(self.stop.clone())),
            ..GenerationConfig::default()
        }
    }
}

pub fn run(arguments: &Arguments, start: Instant) -> Result {
    // Whoever forgot the prompt is told before anything is loaded.
    let text = match arguments.prompts_file {
        Some(_) => None,
        None => Some(text(arguments)?),
    };
    let begin = Instant::now();
    let options = arguments.model.load_options();
    let files = ModelFiles::resolve(&arguments.model.model, &options.hub)?;
    let tokenizer = AutoTokenizer::from_files(&files)?;
    let ids = text.map(|text| text.encode(&tokenizer)).transpose()?;
    let kind = Kind::of(&AutoConfig::from_files(&files)?);
    let model = kind.load(&files, &options)?;
    if let Some(file) = &arguments.prompts_file {
        return prompts_file::run(arguments, file, &tokenizer, &*model);
    }
    let ids = ids.unwrap_or_default();
    let load = begin.elapsed();
    let assistant = arguments.assistant.as_deref();
    let assistant = assistant.map(|name| Assistant::load(name, &options, &tokenizer));
    let support = Support {
        assistant: assistant.transpose()?,
        prompt_cache: match &arguments.prompt_cache {
            Some(path) => prompt_cache(path, &*model, &ids)?,
            None => None,
        },
    };
    let stats = Stats {
        start,
        location: stats::location(&files)?,
        load,
        generate: Instant::now(),
    };
    let generated = stream(arguments, &ids, &tokenizer, &*model, &support)?;
    if arguments.stats {
        stats.report(&generated);
    }
    Ok(
        match generated.finish_reasons.contains(&FinishReason::Cancelled) {
            true => ExitCode::from(INTERRUPTED),
            false => ExitCode::SUCCESS,
        },
    )
}

/// What makes the answer come sooner.
struct Support {
    assistant: Option<Assistant>,
    prompt_cache: Option<PromptCache>,
}

/// A model that drafts.
struct Assistant {
    model: Box<dyn PreTrainedModel>,
    /// Where its vocabulary is not the model's.
    tokenizer: Option<Tokenizer>,
}

impl Assistant {
    fn load(name: &str, options: &LoadOptions, own: &Tokenizer) -> Result<Self> {
        let options = &LoadOptions {
            adapter: None,
            ..options.clone()
        };
        let files = ModelFiles::resolve(name, &options.hub)?;
        let tokenizer = AutoTokenizer::from_files(&files)?;
        Ok(Self {
            tokenizer: (tokenizer.get_vocab() != own.get_vocab()).then_some(tokenizer),
            model: Kind::of(&AutoConfig::from_files(&files)?).load(&files, options)?,
        })
    }
}

/// What the file has of `ids`, with the rest of them; written back where there was a rest.
fn prompt_cache(
    path: &Path,
    model: &dyn PreTrainedModel,
    ids: &[u32],
) -> Result<Option<PromptCache>> {
    // The last token is read again whenever an answer begins.
    let before = match ids.split_last() {
        Some((_, before)) if !before.is_empty() => before,
        _ => return Ok(None),
    };
    let known = PromptCache::load_if_there(path, model)?;
    if let Some(known) = known.as_ref().filter(|known| known.ids() == before) {
        return Ok(Some(known.clone()));
    }
    let cache = match known {
        Some(known) => known.extended(model, before)?,
        None => PromptCache::new(model, before)?,
    };
    cache.save(path)?;
    Ok(Some(cache))
}

/// What the model gets to read.
pub enum Text<'a> {
    Raw(String),
    Chat {
        system: Option<&'a str>,
        user: &'a str,
    },
}

fn text(arguments: &Arguments) -> Result<Text<'_>> {
    if let Some(user) = &arguments.chat {
        let system = arguments.system.as_deref();
        return Ok(Text::Chat { system, user });
    }
    if let Some(prompt) = arguments.text.as_ref().or(arguments.prompt.as_ref()) {
        return Ok(Text::Raw(prompt.clone()));
    }
    if io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "there is no prompt: give a text, --prompt or --chat, or pipe a text in".to_owned(),
        ));
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    // The line break that ends the last line is the pipe's, not the prompt's.
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(Text::Raw(text))
}

impl Text<'_> {
    pub fn encode(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        let (system, user) = match self {
            Self::Raw(text) => return Ok(tokenizer.encode(text, true)?),
            Self::Chat { system, user } => (system, user),
        };
        if !tokenizer.has_chat_template() {
            return Err(
                "the model has no chat template, so it is not a chat model: use --prompt".into(),
            );
        }
        let system = system.map(ChatMessage::system);
        let messages: Vec<ChatMessage> = system
            .into_iter()
            .chain([ChatMessage::user(*user)])
            .collect();
        let options = ChatTemplateOptions {
            add_generation_prompt: true,
            ..ChatTemplateOptions::default()
        };
        // The template writes the special tokens itself.
        let text = tokenizer.render_chat_template(&messages, &options)?;
        Ok(tokenizer.encode(&text, false)?)
    }
}

/// Generates, and prints the text as it comes.
fn stream(
    arguments: &Arguments,
    ids: &[u32],
    tokenizer: &Tokenizer,
    model: &dyn PreTrainedModel,
    support: &Support,
) -> Result<Generated> {
    let cancel = cancel_on_interrupt()?;
    let mut printed = Ok(());
    let mut streamer = TextStreamer::new(tokenizer, |piece| {
        if printed.is_ok() {
            printed = print(piece);
        }
        if printed.is_err() {
            cancel.cancel();
        }
    });
    let config = config(arguments, model);
    let resolved = config.clone().or(&model.info().generation_config);
    let searches = resolved.num_beams.is_some_and(|beams| beams > 1);
    let streamer: &mut dyn Streamer = &mut streamer;
    let negative = arguments.sampling.negative_prompt.as_ref();
    let negative = negative.map(|text| tokenizer.encode(text, true));
    let assistant = support.assistant.as_ref();
    let options = GenerateOptions {
        tokenizer: Some(tokenizer),
        streamer: (!searches).then_some(streamer),
        processors: arguments.constraint.processors(tokenizer, &resolved)?,
        cancel: Some(cancel.clone()),
        seed: Some(arguments.sampling.seed.unwrap_or_else(random_seed)),
        negative_prompt: negative.transpose()?.map(Prompt::from),
        assistant: assistant.map(|assistant| &*assistant.model),
        assistant_tokenizer: assistant.and_then(|assistant| assistant.tokenizer.as_ref()),
        prompt_cache: support.prompt_cache.as_ref(),
        ..GenerateOptions::default()
    };
    let generated = model.generate_with(ids, &config, options)?;
    printed?;
    if searches {
        print(&tokenizer.decode(generated.new_tokens(0), true)?)?;
    }
    print("\n")?;
    Ok(generated)
}

/// The settings of the command line.
pub fn config(arguments: &Arguments, model: &dyn PreTrainedModel) -> GenerationConfig {
    let mut config = arguments.sampling.config();
    let of_model = &model.info().generation_config;
    if of_model.max_new_tokens.is_none() && of_model.max_length.is_none() {
        config.max_new_tokens.get_or_insert(DEFAULT_NEW_TOKENS);
    }
    config
}

/// Another one each time.
pub fn random_seed() -> u64 {
    // The keys of a hash map are the randomness that the standard library has.
    RandomState::new().build_hasher().finish()
}
