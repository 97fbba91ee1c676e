//! Which families exist. Built-in ones and those of a user are registered by the same call.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use transformers_config::{AutoConfig, ModelConfig};

use crate::classes::class_name;
use crate::nn::{BaseFamily, CausalLM, DecoderFamily, Headed, Init, OnDecoder, TaskHead, heads};
use crate::parameters::{Names, named};
use crate::{ModelError, PreTrainedModel, Pretrained, models};

/// Lists the heads with their auto classes.
macro_rules! heads {
    ($($name:ident = $auto_class:literal,)+) => {
        /// What stands on top of a model: one per auto class.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Head {
            $(#[doc = concat!("`", $auto_class, "`.")] $name,)+
        }

        impl Head {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The auto class of this head.
            pub fn auto_class(self) -> &'static str {
                match self {
                    $(Self::$name => $auto_class,)+
                }
            }
        }
    };
}

heads! {
    Base = "AutoModel",
    CausalLM = "AutoModelForCausalLM",
    MaskedLM = "AutoModelForMaskedLM",
    Seq2SeqLM = "AutoModelForSeq2SeqLM",
    SequenceClassification = "AutoModelForSequenceClassification",
    TokenClassification = "AutoModelForTokenClassification",
    QuestionAnswering = "AutoModelForQuestionAnswering",
    MultipleChoice = "AutoModelForMultipleChoice",
    NextSentencePrediction = "AutoModelForNextSentencePrediction",
    PreTraining = "AutoModelForPreTraining",
    TextEncoding = "AutoModelForTextEncoding",
}

/// Makes a model with empty parameters from a config.
pub type Builder =
    Arc<dyn Fn(&AutoConfig, &Init) -> Result<Box<dyn PreTrainedModel>, ModelError> + Send + Sync>;

/// Config keys and their values.
type Settings = &'static [(&'static str, bool)];

/// A family of models: its type, its heads, and how its checkpoints are named.
#[derive(Clone)]
pub struct Family {
    model_type: &'static str,
    base_model_prefix: &'static str,
    /// Heads under which the headless model has another name.
    prefixes: BTreeMap<Head, &'static str>,
    names: Names,
    tied: &'static [(&'static str, &'static str)],
    aliases: &'static [(&'static str, &'static str)],
    settings: Vec<(Option<Head>, Settings)>,
    builders: BTreeMap<Head, Builder>,
}

impl Family {
    /// A family without heads yet. `base_model_prefix` is the field of the headed models that holds the headless one.
    pub fn new(model_type: &'static str, base_model_prefix: &'static str) -> Self {
        Self {
            model_type,
            base_model_prefix,
            prefixes: BTreeMap::new(),
            names: &[],
            tied: &[],
            aliases: &[],
            settings: Vec::new(),
            builders: BTreeMap::new(),
        }
    }

    /// Adds a head.
    pub fn head(
        mut self,
        head: Head,
        builder: impl Fn(&AutoConfig, &Init) -> Result<Box<dyn PreTrainedModel>, ModelError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.builders.insert(head, Arc::new(builder));
        self
    }

    /// Adds a head that is a headless model as it is.
    pub fn headless<F: BaseFamily>(self, head: Head) -> Self {
        let names = self.names;
        self.head(head, move |config, init| {
            let model = F::model(&config.typed()?, F::HEADLESS_POOLER, init)?;
            Ok(Pretrained::boxed_as(names, model, config))
        })
    }

    /// Adds head `H`.
    pub fn with<F: BaseFamily, H: TaskHead<F>>(self, head: Head) -> Self {
        let (prefix, names) = (self.base_model_prefix(head), self.names);
        self.head(head, move |config, init| {
            let model = Headed::<F, H>::new(prefix, head, config, init)?;
            Ok(Pretrained::boxed_as(names, model, config))
        })
    }

    /// Under `head`, which is added after this, the headless model is the field `base_model_prefix`.
    pub fn prefix(mut self, head: Head, base_model_prefix: &'static str) -> Self {
        self.prefixes.insert(head, base_model_prefix);
        self
    }

    /// What the family calls the parts of the shared modules, for heads that are added after this.
    pub fn named(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// Names of parameters that are another one's weight when `tie_word_embeddings` is set: `(target, source)`.
    pub fn tied(mut self, tied: &'static [(&'static str, &'static str)]) -> Self {
        self.tied = tied;
        self
    }

    /// Further names that checkpoints may have for a parameter, whatever the config says: `(other name, parameter)`.
    pub fn aliases(mut self, aliases: &'static [(&'static str, &'static str)]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Config values that the class of `head` sets, or where it is `None` every class, whatever the file says.
    pub fn sets(mut self, head: impl Into<Option<Head>>, values: Settings) -> Self {
        self.settings.push((head.into(), values));
        self
    }

    /// A decoder-only family: headless, as a language model, and with those of the heads that all decoders share which
    /// the reference has for its type; for a type that it does not know, with all of them.
    pub fn decoder<F: DecoderFamily>() -> Self {
        type On<F> = OnDecoder<F>;
        let model_type = F::Config::MODEL_TYPE;
        let known = class_name(model_type, Head::Base).is_some();
        let has = |head| !known || class_name(model_type, head).is_some();
        let name = |llama| named(F::NAMES, llama);
        let mut family = Self::new(model_type, name("model"))
            .named(F::NAMES)
            .tied(F::TIED)
            .prefix(Head::QuestionAnswering, name(F::QUESTION_ANSWERING_PREFIX))
            .headless::<On<F>>(Head::Base)
            .head(Head::CausalLM, causal_lm::<F>);
        if known && has(Head::PreTraining) {
            family = family.head(Head::PreTraining, causal_lm::<F>);
        }
        if has(Head::SequenceClassification) {
            family = family.with::<On<F>, heads::LastTokenScore>(Head::SequenceClassification);
        }
        if has(Head::TokenClassification) {
            let head = Head::TokenClassification;
            family = match F::CLASSIFIES_TOKENS_AS_ENCODERS {
                true => family.with::<On<F>, heads::TokenClassifier>(head),
                false => family.with::<On<F>, heads::TokenScore>(head),
            };
        }
        if has(Head::QuestionAnswering) {
            family = family.with::<On<F>, heads::SpanHead>(Head::QuestionAnswering);
        }
        family
    }

    pub(crate) fn model_type(&self) -> &'static str {
        self.model_type
    }

    pub(crate) fn base_model_prefix(&self, head: Head) -> &'static str {
        let own = self.prefixes.get(&head);
        own.copied().unwrap_or(self.base_model_prefix)
    }

    /// The ties that hold where `tie_word_embeddings` is `tied`.
    pub(crate) fn tied_weights(
        &self,
        tied: bool,
    ) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
        let conditional = if tied { self.tied } else { &[] };
        conditional.iter().chain(self.aliases)
    }

    /// Gives `config` what the class of `head` sets.
    pub(crate) fn settle(&self, head: Head, config: &mut AutoConfig) {
        let of_head = |(of, _): &&(Option<Head>, _)| of.is_none_or(|of| of == head);
        for (_, values) in self.settings.iter().filter(of_head) {
            for (key, value) in *values {
                config.set(*key, *value);
            }
        }
    }

    pub(crate) fn builder(&self, head: Head) -> Result<Builder, ModelError> {
        self.builders.get(&head).cloned().ok_or_else(|| {
            let names: Vec<_> = self.builders.keys().map(|head| head.auto_class()).collect();
            ModelError::NoHead {
                model_type: self.model_type.to_owned(),
                auto_class: head.auto_class(),
                available: names.join(", "),
            }
        })
    }
}

fn causal_lm<F: DecoderFamily>(
    config: &AutoConfig,
    init: &Init,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let model = CausalLM::new::<F>(&config.typed()?, init)?;
    Ok(Pretrained::boxed_as(F::NAMES, model, config))
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads: Vec<_> = self.builders.keys().collect();
        f.debug_struct("Family")
            .field("model_type", &self.model_type)
            .field("heads", &heads)
            .finish_non_exhaustive()
    }
}

static FAMILIES: LazyLock<RwLock<BTreeMap<&'static str, Family>>> = LazyLock::new(|| {
    let families = models::families().into_iter();
    RwLock::new(families.map(|family| (family.model_type, family)).collect())
});

/// Adds a family; from then on every auto class finds it by its `model_type`.
///
/// # Errors
/// [`ModelError::AlreadyRegistered`].
pub fn register(family: Family) -> Result<(), ModelError> {
    let mut families = FAMILIES.write().unwrap_or_else(PoisonError::into_inner);
    if families.contains_key(family.model_type) {
        let model_type = family.model_type.to_owned();
        return Err(ModelError::AlreadyRegistered { model_type });
    }
    families.insert(family.model_type, family);
    Ok(())
}

/// The model types that can be loaded, in order, each with its auto classes.
pub fn supported() -> Vec<(&'static str, Vec<Head>)> {
    let families = FAMILIES.read().unwrap_or_else(PoisonError::into_inner);
    let heads = |family: &Family| family.builders.keys().copied().collect();
    families
        .iter()
        .map(|(name, family)| (*name, heads(family)))
        .collect()
}

/// Whether there is a family of `model_type`.
pub(crate) fn is_registered(model_type: &str) -> bool {
    let families = FAMILIES.read().unwrap_or_else(PoisonError::into_inner);
    families.contains_key(model_type)
}

pub(crate) fn family(config: &AutoConfig) -> Result<Family, ModelError> {
    let families = FAMILIES.read().unwrap_or_else(PoisonError::into_inner);
    families.get(config.model_type()).cloned().ok_or_else(|| {
        let names: Vec<_> = families.keys().copied().collect();
        ModelError::UnknownModelType {
            model_type: config.model_type().to_owned(),
            supported: names.join(", "),
            remote_code: config.has_remote_code(),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_family_has_the_heads_of_the_reference() {
        let mut missing = Vec::new();
        for (model_type, heads) in supported() {
            let wanted = Head::ALL
                .iter()
                .filter(|head| class_name(model_type, **head).is_some() && !heads.contains(head));
            missing.extend(wanted.map(|head| format!("{model_type} {}", head.auto_class())));
        }
        assert_eq!(missing, [""; 0]);
    }

    /// Without a head these take ids for both of their stacks; cases compare the states below the output layer.
    const BELOW_A_HEAD: [&str; 7] = [
        "BlenderbotModel",
        "M2M100Model",
        "MarianModel",
        "PegasusModel",
        "T5Model",
        "MT5Model",
        "UMT5Model",
    ];

    #[test]
    fn every_class_has_a_case() {
        let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases");
        let class = |case: std::fs::DirEntry| {
            let text = std::fs::read_to_string(case.path().join("ref.json")).expect("a case");
            let reference: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            reference["arch"].as_str().expect("a name").to_owned()
        };
        let cases = std::fs::read_dir(cases).expect("the cases are beside the crates");
        let mut known: BTreeSet<String> = cases.map(|case| class(case.expect("a case"))).collect();
        known.extend(BELOW_A_HEAD.map(str::to_owned));
        let mut missing = Vec::new();
        for (model_type, heads) in supported() {
            let classes = heads
                .iter()
                .filter_map(|head| class_name(model_type, *head));
            missing.extend(classes.filter(|class| !known.contains(*class)));
        }
        assert_eq!(missing, [""; 0]);
    }
}
