//! What can go wrong between a repository and an output.

use transformers_config::ConfigError;
use transformers_hub::HubError;
use transformers_weights::WeightsError;

/// An error of building, loading or running a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum ModelError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Weights(#[from] WeightsError),

    #[error(
        "model type `{model_type}` is not supported{}. Supported: {supported}. A family of your own can be added with \
         `register`.",
        if *.remote_code { " (the repository brings its own Python code, `auto_map`, which is never run)" } else { "" }
    )]
    UnknownModelType {
        model_type: String,
        supported: String,
        remote_code: bool,
    },
    #[error("model type `{model_type}` has no {auto_class}; it has: {available}")]
    NoHead {
        model_type: String,
        auto_class: &'static str,
        available: String,
    },
    #[error("a family named `{model_type}` is registered already")]
    AlreadyRegistered { model_type: String },
    #[error(
        "attention `{name}` is not known; known are {known}. Add yours with `AttentionInterface::register`."
    )]
    UnknownAttention { name: String, known: String },
    #[error("an implementation of attention named `{name}` is registered already")]
    AttentionRegistered { name: String },
    #[error("attention `{name}` gives no weights, which `output_attentions` asks for: use `eager`")]
    NoAttentionWeights { name: String },
    #[error("`{key}`: the activation `{name}` is not known; known are {known}. Check config.json.")]
    UnknownActivation {
        key: &'static str,
        name: String,
        known: String,
    },
    #[error(
        "the checkpoint is quantised with `{method}` (`quantization_config` in config.json), which is not supported \
         yet. Use an unquantised or a GGUF checkpoint of this model."
    )]
    UnsupportedQuantization { method: String },
    #[error("the checkpoint does not fit the model\n{report}")]
    CheckpointMismatch {
        report: Box<transformers_weights::LoadReport>,
    },
    #[error("{}: {operation} it failed: {source}", path.display())]
    Io {
        operation: &'static str,
        path: std::path::PathBuf,
        source: std::io::Error,
    },
    #[error("loading was cancelled")]
    Cancelled,
    #[error("`{name}` has {found} dimensions in the checkpoint and {expected} in the model")]
    Rank {
        name: String,
        found: usize,
        expected: usize,
    },
    #[error(
        "dtype `{0}` is not one a model can be loaded in: use auto, float32, float16 or bfloat16"
    )]
    UnknownDtype(String),
    #[error("`{0}` is not a device: use auto, cpu, wgpu, wgpu:N, cuda or cuda:N")]
    UnknownDevice(String),
    #[error("device `{asked}` is not there. Found: {found}.{hint}")]
    NoSuchDevice {
        asked: String,
        found: String,
        hint: &'static str,
    },

    #[error(
        "the adapter's method is `{method}` (`peft_type` in adapter_config.json), which is not supported; supported is LORA"
    )]
    AdapterMethod { method: String },
    #[error("{}: {reason}", path.display())]
    AdapterConfig {
        path: std::path::PathBuf,
        reason: String,
    },
    #[error("`{key}` of the adapter's config: {reason}")]
    AdapterSetting { key: String, reason: String },
    #[error(
        "the adapter's config names no layer that the model has: {asked}. It has, for instance, {some}."
    )]
    NoAdapterTarget { asked: String, some: String },
    #[error(
        "there are no usual layers to adapt for model type `{model_type}`: set `target_modules`, for instance to all-linear"
    )]
    NoDefaultTargets { model_type: String },
    #[error(
        "`{module}` is neither a linear layer nor an embedding: name its weight `{parameter}` in `target_parameters`"
    )]
    NotALayer { module: String, parameter: String },
    #[error(
        "{}: the adapter does not fit the model{}{}. Is it for this model and this auto class?",
        path.display(), listed("missing", missing), listed("unexpected", unexpected)
    )]
    AdapterTensors {
        path: std::path::PathBuf,
        missing: Vec<String>,
        unexpected: Vec<String>,
    },
    #[error("{}: `{name}` has shape {found:?}, expected {expected:?}", path.display())]
    AdapterShape {
        path: std::path::PathBuf,
        name: String,
        found: Vec<usize>,
        expected: Vec<usize>,
    },
    #[error("there is no adapter `{name}`; there are: {known}")]
    UnknownAdapter { name: String, known: String },
    #[error("there is an adapter `{name}` already")]
    AdapterExists { name: String },
    #[error("`{name}` cannot be the name of an adapter: letters, digits, `-` and `_` can")]
    AdapterName { name: String },
    #[error("{operation} changes the model itself, which has adapters: merge or unload them first")]
    HasAdapters { operation: &'static str },
    #[error("adapters are merged into the model: call `unmerge_adapter` first")]
    Merged,
    #[error(
        "adapters {names} have parts of the model that are trained as a whole (`modules_to_save`): only one of them can be active"
    )]
    SavedModules { names: String },

    #[error("this model was not made by an auto class, which changes of its config need")]
    BoxedByHand,
    #[error(
        "`{name}` is in quantised blocks, which cannot change their shape: load the model with a dtype"
    )]
    InBlocks { name: String },
    #[error(
        "a vocabulary of {tokens} tokens cannot be: it needs one, and `vocab_size` in config.json"
    )]
    NoVocabulary { tokens: usize },
    #[error("the input is empty: give at least one id per row")]
    EmptyInput,
    #[error("row {index} has {found} ids where the first has {expected}: pad the batch first")]
    RaggedRows {
        index: usize,
        found: usize,
        expected: usize,
    },
    #[error(
        "id {id} is beyond the vocabulary of {vocab_size}: does the tokenizer belong to this model?"
    )]
    IdBeyondVocabulary { id: i64, vocab_size: usize },
    #[error("`{name}` has shape {found:?}, expected {expected:?}")]
    InputShape {
        name: &'static str,
        found: [usize; 2],
        expected: [usize; 2],
    },
    #[error(
        "{len} tokens are more than the {max} positions that the model has: shorten the input or truncate it"
    )]
    TooLong { len: usize, max: usize },
    #[error(
        "{len} tokens are more than the cache was made for, which is {capacity}: make it larger (`max_cache_len`), or \
         use a dynamic one"
    )]
    CacheFull { len: usize, capacity: usize },
    #[error("the decoder attends to an encoder's states: give `encoder_outputs`")]
    NoEncoderOutputs,
    #[error("the decoder has no input: give `decoder_input_ids`, or `labels` to make it of")]
    NoDecoderInput,
    #[error(
        "the config has no `{0}`, which the decoder's input needs: set it in config.json, or give `decoder_input_ids`"
    )]
    NoSpecialToken(&'static str),
    #[error("no label counts: every one is -100, or the rows are too short")]
    NoLabels,
    #[error("these labels are numbers where ids are wanted: check `problem_type` in config.json")]
    LabelsAreNumbers,
    #[error("{found} labels for {expected} rows")]
    LabelCount { found: usize, expected: usize },
    #[error(
        "label {label} is not below {num_labels}: does `id2label` in config.json have all classes?"
    )]
    UnknownLabel { label: i64, num_labels: usize },
    #[error(
        "more than one row needs `pad_token_id` in config.json, to find the last token of each"
    )]
    NoPadToken,
    #[error(
        "every row needs the token that ends a text (`eos_token_id` of config.json) equally often, to be classified by \
         its last one: the tokenizer adds it"
    )]
    EndTokens,
    #[error("{rows} rows are no questions of {choices} choices each")]
    Choices { rows: usize, choices: usize },
    #[error("this model gives no `{name}`: load it through the auto class that has it")]
    NoOutput { name: &'static str },
}

/// The first of several names, for a message.
fn listed(what: &str, names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names {
        [] => String::new(),
        names => {
            let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`"));
            let shown: Vec<_> = shown.collect();
            let more = match names.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("; {what}: {}{more}", shown.join(", "))
        }
    }
}
