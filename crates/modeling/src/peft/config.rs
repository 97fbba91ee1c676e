//! `adapter_config.json`, as `peft` writes and reads it.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::ModelError;
use crate::nn::Principal;

/// The release of `peft` whose files these are.
const PEFT_VERSION: &str = "0.21.2";

/// Ranks are below this; it bounds what a broken file can ask for.
const RANKS: usize = 1 << 15;

/// Settings of `peft` that are not supported, with the value that says that they are not used.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("alora_invocation_tokens", "null"),
    ("arrow_config", "null"),
    ("corda_config", "null"),
    ("eva_config", "null"),
    ("kasa_config", "null"),
    ("layer_replication", "null"),
    ("loftq_config", "{}"),
    ("lora_ga_config", "null"),
    ("megatron_config", "null"),
    ("monteclora_config", "null"),
    ("trainable_token_indices", "null"),
    ("use_bdlora", "null"),
    ("use_qalora", "false"),
    ("velora_config", "null"),
];

/// How weights get low-rank adapters: `peft`'s `LoraConfig`, with its names and defaults.
///
/// ```
/// use transformers_modeling::{LoraConfig, TargetModules};
///
/// let config = LoraConfig {
///     r: 16,
///     lora_alpha: 32.0,
///     target_modules: Some(TargetModules::AllLinear),
///     ..LoraConfig::default()
/// };
/// # assert!(!config.use_dora);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// The rank of the products.
    pub r: usize,
    /// The factor on them is this over the rank.
    pub lora_alpha: f64,
    /// How many inputs of an adapter are left out in training.
    pub lora_dropout: f64,
    /// The layers that are adapted. `None`: those that `peft` has for the model type.
    pub target_modules: Option<TargetModules>,
    /// Layers that are not, in the same notation.
    pub exclude_modules: Option<TargetModules>,
    /// Weights that belong to no linear layer or embedding, such as stacked experts (`mlp.experts.down_proj`), by the ends
    /// of their names.
    pub target_parameters: Option<Vec<String>>,
    /// Of layers in a list of names, only those at these depths.
    pub layers_to_transform: Option<Vec<usize>>,
    /// What the list of layers is called (`layers`, `h`), for [`layers_to_transform`](Self::layers_to_transform).
    pub layers_pattern: Vec<String>,
    /// Ranks by names or regular expressions, the first that fits.
    pub rank_pattern: Vec<(String, usize)>,
    /// Alphas by names or regular expressions, the first that fits.
    pub alpha_pattern: Vec<(String, f64)>,
    /// Parts of the model that are trained as a whole and saved beside the adapters, by the ends of their names.
    pub modules_to_save: Option<Vec<String>>,
    /// Which biases of the model are trained, and saved.
    pub bias: LoraBias,
    /// The factor is alpha over the root of the rank (Kalajdzievski 2023).
    pub use_rslora: bool,
    /// The magnitudes of outputs are trained too (DoRA, Liu et al. 2024).
    pub use_dora: bool,
    /// Adapters have a bias.
    pub lora_bias: bool,
    /// What fresh adapters are.
    pub init_lora_weights: InitLoraWeights,
    /// Tied embeddings that are trained stay tied.
    pub ensure_weight_tying: bool,
    /// What the model is for; a head that is fresh then, such as a classifier's, is trained and saved.
    pub task_type: Option<TaskType>,
    /// The adapter is used and not trained.
    pub inference_mode: bool,
    /// The model that it is for.
    pub base_model_name_or_path: Option<String>,
    /// Its revision.
    pub revision: Option<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            r: 8,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: None,
            exclude_modules: None,
            target_parameters: None,
            layers_to_transform: None,
            layers_pattern: Vec::new(),
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            modules_to_save: None,
            bias: LoraBias::None,
            use_rslora: false,
            use_dora: false,
            lora_bias: false,
            init_lora_weights: InitLoraWeights::Default,
            ensure_weight_tying: false,
            task_type: None,
            inference_mode: false,
            base_model_name_or_path: None,
            revision: None,
        }
    }
}

/// A choice of layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetModules {
    /// By the ends of their names: `q_proj`, `layers.0.mlp.up_proj`.
    Names(Vec<String>),
    /// By a regular expression that fits the whole name.
    Regex(String),
    /// `all-linear`: every linear layer but the one to the vocabulary, and the head of a classifier.
    AllLinear,
}

impl TargetModules {
    /// Layers by the ends of their names.
    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::Names(names.into_iter().map(Into::into).collect())
    }
}

/// Text is a regular expression, or `all-linear`.
impl From<&str> for TargetModules {
    fn from(text: &str) -> Self {
        match text.eq_ignore_ascii_case("all-linear") {
            true => Self::AllLinear,
            false => Self::Regex(text.to_owned()),
        }
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            const WORDS: &[&str] = &[$($word),+];

            /// As it is written.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            fn of(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

words! {
    /// Which biases of the model are trained.
    LoraBias {
        /// None.
        None = "none",
        /// Every one.
        All = "all",
        /// Those of layers with an adapter.
        LoraOnly = "lora_only",
    }
}

words! {
    /// What an adapted model is for.
    TaskType {
        /// Texts or rows into classes.
        SequenceClassification = "SEQ_CLS",
        /// Encoder–decoders that write.
        Seq2SeqLM = "SEQ_2_SEQ_LM",
        /// Decoders that write.
        CausalLM = "CAUSAL_LM",
        /// Tokens into classes.
        TokenClassification = "TOKEN_CLS",
        /// Answers that are spans of a text.
        QuestionAnswering = "QUESTION_ANS",
        /// States of a headless model.
        FeatureExtraction = "FEATURE_EXTRACTION",
    }
}

/// What fresh adapters are. All but [`Random`](Self::Random) change nothing until they are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitLoraWeights {
    /// A as fresh linear layers are (Kaiming He's uniform), B zero; of embeddings A zero, B normal.
    Default,
    /// A normal with a spread of one over the rank, B zero.
    Gaussian,
    /// A and B as fresh linear layers are: the model changes at once. For tests.
    Random,
    /// A and B of random directions that are orthogonal to one another.
    Orthogonal,
    /// A and B take over the largest singular values of the weight (PiSSA, Meng et al. 2024).
    Pissa,
    /// The same by so many iterations of a random subspace: fast, and not exact.
    PissaNiter(usize),
    /// A and B take over an orthonormal basis of the weight (OLoRA, Büyükakyüz 2024).
    Olora,
    /// Explained variance, which needs data: such adapters are loaded and not made here.
    Eva,
}

impl InitLoraWeights {
    fn of(value: &Value) -> Option<Self> {
        let word = match value {
            Value::Bool(true) => return Some(Self::Default),
            Value::Bool(false) => return Some(Self::Random),
            value => value.as_str()?.to_lowercase(),
        };
        Some(match word.as_str() {
            "gaussian" => Self::Gaussian,
            "orthogonal" => Self::Orthogonal,
            "pissa" => Self::Pissa,
            "olora" => Self::Olora,
            "eva" => Self::Eva,
            other => Self::PissaNiter(other.strip_prefix("pissa_niter_")?.parse().ok()?),
        })
    }

    fn to_json(self) -> Value {
        match self {
            Self::Default => json!(true),
            Self::Random => json!(false),
            Self::Gaussian => json!("gaussian"),
            Self::Orthogonal => json!("orthogonal"),
            Self::Pissa => json!("pissa"),
            Self::PissaNiter(iterations) => json!(format!("pissa_niter_{iterations}")),
            Self::Olora => json!("olora"),
            Self::Eva => json!("eva"),
        }
    }

    /// The part of a weight that the adapter takes over.
    pub(super) fn principal(self) -> Option<Principal> {
        match self {
            Self::Pissa => Some(Principal::Singular { iterations: None }),
            Self::PissaNiter(iterations) => Some(Principal::Singular {
                iterations: Some(iterations),
            }),
            Self::Olora => Some(Principal::Orthonormal),
            _ => None,
        }
    }
}

/// Heads that are fresh in a model for such a task: they are trained and saved.
fn fresh_heads(task: TaskType) -> &'static [&'static str] {
    match task {
        TaskType::SequenceClassification | TaskType::TokenClassification => {
            &["classifier", "score"]
        }
        TaskType::QuestionAnswering => &["qa_outputs"],
        _ => &[],
    }
}

impl LoraConfig {
    /// Reads the file.
    ///
    /// # Errors
    /// A file that cannot be read or is no JSON object, another method than LoRA, a value of the wrong kind or out of its
    /// range, a setting that is not supported.
    pub fn from_file(path: &Path) -> Result<Self, ModelError> {
        let in_file = |reason: String| ModelError::AdapterConfig {
            path: path.to_owned(),
            reason,
        };
        let text = fs::read_to_string(path).map_err(|error| in_file(error.to_string()))?;
        let value: Value =
            serde_json::from_str(&text).map_err(|error| in_file(error.to_string()))?;
        let Value::Object(fields) = value else {
            return Err(in_file("expected a JSON object at the top".to_owned()));
        };
        Self::from_json(&fields).map_err(|error| match error {
            ModelError::AdapterSetting { .. } => in_file(error.to_string()),
            other => other,
        })
    }

    /// What the keys and values of the file say.
    ///
    /// # Errors
    /// As those of [`from_file`](Self::from_file).
    pub fn from_json(fields: &Map<String, Value>) -> Result<Self, ModelError> {
        let fields = Fields(fields);
        let method = fields.text("peft_type")?.unwrap_or_default();
        if method != "LORA" {
            return Err(ModelError::AdapterMethod { method });
        }
        for (key, _) in UNSUPPORTED {
            fields.check_unused(key)?;
        }
        let defaults = Self::default();
        let config = Self {
            r: fields.count("r")?.unwrap_or(defaults.r),
            lora_alpha: fields.number("lora_alpha")?.unwrap_or(defaults.lora_alpha),
            lora_dropout: fields.number("lora_dropout")?.unwrap_or_default(),
            target_modules: fields.targets("target_modules")?,
            exclude_modules: fields.targets("exclude_modules")?,
            target_parameters: fields.names("target_parameters")?,
            layers_to_transform: fields.layers()?,
            layers_pattern: fields.names("layers_pattern")?.unwrap_or_default(),
            rank_pattern: fields.pattern("rank_pattern", to_count)?,
            alpha_pattern: fields.pattern("alpha_pattern", Value::as_f64)?,
            modules_to_save: fields.names("modules_to_save")?,
            bias: fields.word("bias", LoraBias::of, LoraBias::WORDS, LoraBias::None)?,
            use_rslora: fields.flag("use_rslora")?,
            use_dora: fields.flag("use_dora")?,
            lora_bias: fields.flag("lora_bias")?,
            init_lora_weights: fields.init()?,
            ensure_weight_tying: fields.flag("ensure_weight_tying")?,
            task_type: fields.task()?,
            inference_mode: fields.flag("inference_mode")?,
            base_model_name_or_path: fields.text("base_model_name_or_path")?,
            revision: fields.text("revision")?,
        };
        config.validate()?;
        Ok(config)
    }

    /// # Errors
    /// Values out of their range, and such that do not go together.
    pub(crate) fn validate(&self) -> Result<(), ModelError> {
        let wrong = |key: &str, reason: &str| Err(setting(key, reason));
        let mut ranks = self.rank_pattern.iter().map(|(_, rank)| *rank);
        if !(1..RANKS).contains(&self.r) {
            return wrong("r", &format!("a rank is from 1 to {}", RANKS - 1));
        }
        if !ranks.all(|rank| (1..RANKS).contains(&rank)) {
            return wrong(
                "rank_pattern",
                &format!("a rank is from 1 to {}", RANKS - 1),
            );
        }
        let mut alphas = self.alpha_pattern.iter().map(|(_, alpha)| *alpha);
        if !self.lora_alpha.is_finite() || !alphas.all(f64::is_finite) {
            return wrong("lora_alpha", "it is not finite");
        }
        if matches!(self.init_lora_weights, InitLoraWeights::PissaNiter(1000..)) {
            return wrong("init_lora_weights", "more than 999 iterations");
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            return wrong("lora_dropout", "it is from 0 to below 1");
        }
        let by_name = matches!(self.target_modules, None | Some(TargetModules::Names(_)));
        if self.layers_to_transform.is_some() && !by_name {
            return wrong(
                "layers_to_transform",
                "it needs `target_modules` as a list of names",
            );
        }
        if self.use_dora && self.lora_bias {
            return wrong("lora_bias", "it does not go with `use_dora`");
        }
        let parameters = self.target_parameters.as_ref();
        if parameters.is_some_and(|names| !names.is_empty()) {
            let unfit = [
                ("lora_dropout", self.lora_dropout != 0.0),
                ("use_dora", self.use_dora),
                ("lora_bias", self.lora_bias),
            ];
            for (key, set) in unfit {
                if set {
                    return wrong(key, "it does not go with `target_parameters`");
                }
            }
        }
        Ok(())
    }

    /// With the heads that are fresh in a model for such a task among what is saved.
    pub(crate) fn with_fresh_heads(mut self) -> Self {
        let Some(task) = self.task_type else {
            return self;
        };
        let heads = fresh_heads(task);
        if heads.is_empty() {
            return self;
        }
        let saved = self.modules_to_save.get_or_insert_default();
        let missing = heads
            .iter()
            .filter(|head| !saved.iter().any(|name| name == *head));
        let missing: Vec<String> = missing.map(|head| (*head).to_owned()).collect();
        saved.extend(missing);
        self
    }

    /// The file's keys and values, as `peft` writes them.
    pub(crate) fn to_json(&self, written: &Written<'_>) -> Map<String, Value> {
        let mut fields = Map::new();
        for (key, unused) in UNSUPPORTED {
            let unused = serde_json::from_str(unused).unwrap_or(Value::Null);
            fields.insert((*key).to_owned(), unused);
        }
        let pattern = |pairs: &[(String, Value)]| -> Value {
            pairs.iter().cloned().collect::<Map<_, _>>().into()
        };
        let ranks: Vec<_> = self
            .rank_pattern
            .iter()
            .map(|(key, rank)| (key.clone(), json!(rank)))
            .collect();
        let alphas: Vec<_> = self
            .alpha_pattern
            .iter()
            .map(|(key, alpha)| (key.clone(), number(*alpha)))
            .collect();
        let layers_pattern = match self.layers_pattern.as_slice() {
            [] => Value::Null,
            [name] => json!(name),
            names => json!(names),
        };
        let layers = match self.layers_to_transform.as_deref() {
            Some(layers) => json!(layers),
            None => Value::Null,
        };
        let values = [
            ("alpha_pattern", pattern(&alphas)),
            ("auto_mapping", written.auto_mapping.clone()),
            (
                "base_model_name_or_path",
                json!(self.base_model_name_or_path),
            ),
            ("bias", json!(self.bias.as_str())),
            ("ensure_weight_tying", json!(self.ensure_weight_tying)),
            (
                "exclude_modules",
                self.exclude_modules.as_ref().map_or(Value::Null, targets),
            ),
            ("fan_in_fan_out", json!(written.fan_in_fan_out)),
            ("inference_mode", json!(true)),
            ("init_lora_weights", self.init_lora_weights.to_json()),
            ("layers_pattern", layers_pattern),
            ("layers_to_transform", layers),
            ("lora_alpha", number(self.lora_alpha)),
            ("lora_bias", json!(self.lora_bias)),
            ("lora_dropout", json!(self.lora_dropout)),
            ("megatron_core", json!("megatron.core")),
            ("modules_to_save", json!(self.modules_to_save)),
            ("peft_type", json!("LORA")),
            ("peft_version", json!(PEFT_VERSION)),
            ("qalora_group_size", json!(16)),
            ("r", json!(self.r)),
            ("rank_pattern", pattern(&ranks)),
            ("revision", json!(self.revision)),
            ("target_modules", json!(written.target_modules)),
            ("target_parameters", json!(self.target_parameters)),
            ("task_type", json!(self.task_type.map(TaskType::as_str))),
            ("use_dora", json!(self.use_dora)),
            ("use_rslora", json!(self.use_rslora)),
        ];
        if let Some(regex) = written.regex {
            fields.insert("target_modules".to_owned(), json!(regex));
        }
        for (key, value) in values {
            fields.entry(key).or_insert(value);
        }
        fields.sort_keys();
        fields
    }
}

pub(super) fn setting(key: &str, reason: &str) -> ModelError {
    ModelError::AdapterSetting {
        key: key.to_owned(),
        reason: reason.to_owned(),
    }
}

/// What the file says beside the user's settings.
pub(crate) struct Written<'a> {
    /// The layers by name.
    pub target_modules: Vec<String>,
    /// The regular expression, where the layers are named by one.
    pub regex: Option<&'a str>,
    /// Python's layers are `[in, out]`.
    pub fan_in_fan_out: bool,
    /// Python's class, where no task says it.
    pub auto_mapping: Value,
}

fn targets(targets: &TargetModules) -> Value {
    match targets {
        TargetModules::Names(names) => json!(names),
        TargetModules::Regex(regex) => json!(regex),
        TargetModules::AllLinear => json!("all-linear"),
    }
}

/// Whole numbers are written as such.
fn number(value: f64) -> Value {
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => json!(value as i64),
        false => json!(value),
    }
}

fn to_count(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

/// The keys of the file, each with what it may be; absent and null are one.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn of_kind<T>(
        &self,
        key: &str,
        kind: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let wrong = || setting(key, &format!("expected {kind}, found {value}"));
        read(value).map(Some).ok_or_else(wrong)
    }

    fn text(&self, key: &str) -> Result<Option<String>, ModelError> {
        self.of_kind(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    fn flag(&self, key: &str) -> Result<bool, ModelError> {
        let flag = self.of_kind(key, "true or false", Value::as_bool)?;
        Ok(flag.unwrap_or_default())
    }

    fn count(&self, key: &str) -> Result<Option<usize>, ModelError> {
        self.of_kind(key, "a whole number", to_count)
    }

    fn number(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.of_kind(key, "a number", Value::as_f64)
    }

    /// A list of names, or one.
    fn names(&self, key: &str) -> Result<Option<Vec<String>>, ModelError> {
        self.of_kind(key, "a list of names", names)
    }

    fn targets(&self, key: &str) -> Result<Option<TargetModules>, ModelError> {
        self.of_kind(
            key,
            "a list of names, or a regular expression",
            |value| match value {
                Value::String(text) => Some(text.as_str().into()),
                list => names(list).map(TargetModules::Names),
            },
        )
    }

    fn layers(&self) -> Result<Option<Vec<usize>>, ModelError> {
        let key = "layers_to_transform";
        let layers = self.of_kind(key, "a number or a list of numbers", |value| match value {
            Value::Array(layers) => layers.iter().map(to_count).collect(),
            layer => to_count(layer).map(|layer| vec![layer]),
        })?;
        Ok(layers.filter(|layers: &Vec<usize>| !layers.is_empty()))
    }

    fn pattern<T>(
        &self,
        key: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Vec<(String, T)>, ModelError> {
        let pairs = self.of_kind(key, "names with a number each", |value| {
            let pairs = value.as_object()?.iter();
            let pair = |(key, value): (&String, &Value)| Some((key.clone(), read(value)?));
            pairs.map(pair).collect()
        })?;
        Ok(pairs.unwrap_or_default())
    }

    fn word<T>(
        &self,
        key: &str,
        of: impl Fn(&str) -> Option<T>,
        known: &[&str],
        default: T,
    ) -> Result<T, ModelError> {
        let kind = format!("one of {}", known.join(", "));
        let word = self.of_kind(key, &kind, |value| of(value.as_str()?))?;
        Ok(word.unwrap_or(default))
    }

    fn task(&self) -> Result<Option<TaskType>, ModelError> {
        let kind = format!("one of {}", TaskType::WORDS.join(", "));
        self.of_kind("task_type", &kind, |value| TaskType::of(value.as_str()?))
    }

    fn init(&self) -> Result<InitLoraWeights, ModelError> {
        let key = "init_lora_weights";
        let init = self.get(key);
        if init.and_then(Value::as_str) == Some("loftq") {
            let reason = "LoftQ puts a quantised weight of its own, which is in no file, in the place of the base's: \
                          adapt a base in blocks (a GGUF file), with another initialisation";
            return Err(setting(key, reason));
        }
        let kind = "true, false, gaussian, orthogonal, pissa, pissa_niter_[number], olora or eva (others change the \
                    base by what only their training knew: convert the adapter with \
                    `path_initial_model_for_weight_conversion` of peft)";
        let init = self.of_kind(key, kind, InitLoraWeights::of)?;
        Ok(init.unwrap_or(InitLoraWeights::Default))
    }

    fn check_unused(&self, key: &str) -> Result<(), ModelError> {
        let is_off = |value: &Value| {
            let empty = value.as_object().is_some_and(Map::is_empty)
                || value.as_array().is_some_and(Vec::is_empty);
            *value == json!(false) || empty
        };
        match self.get(key) {
            Some(value) if !is_off(value) => Err(setting(key, "this method is not supported")),
            _ => Ok(()),
        }
    }
}

fn names(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(name) => Some(vec![name.clone()]),
        Value::Array(names) => {
            let name = |name: &Value| name.as_str().map(str::to_owned);
            names.iter().map(name).collect()
        }
        _ => None,
    }
}
