//! The families whose configurations this crate knows. A family elsewhere implements [`ModelConfig`] just the same.

use serde_json::{Map, Value};

use crate::{AutoConfig, ModelConfig, Result, json};

/// Lists the families: each a file, with the configurations in it.
macro_rules! families {
    ($($file:ident: $($config:ident),+;)+) => {
        $(
            mod $file;
            pub use $file::{$($config),+};
        )+

        /// The family of `model_type`, if it is one of this crate's.
        pub(crate) fn family(model_type: &str) -> Option<Family> {
            None$($(.or_else(|| Family::of::<$config>(model_type)))+)+
        }
    };
}

families! {
    albert: AlbertConfig;
    bart: BartConfig, MBartConfig, MarianConfig, PegasusConfig, BlenderbotConfig, M2M100Config;
    bert: BertConfig;
    bloom: BloomConfig;
    cohere: CohereConfig, Cohere2Config;
    deberta_v2: DebertaV2Config;
    deepseek: DeepseekV2Config, DeepseekV3Config;
    distilbert: DistilBertConfig;
    electra: ElectraConfig;
    ernie4_5: Ernie4_5Config;
    ernie4_5_moe: Ernie4_5MoeConfig;
    eurobert: EuroBertConfig;
    exaone4: Exaone4Config;
    falcon: FalconConfig;
    gemma2: Gemma2Config;
    gemma3: Gemma3TextConfig;
    gemma: GemmaConfig;
    glm4: Glm4Config;
    glm4_moe: Glm4MoeConfig;
    gpt2: Gpt2Config;
    gpt_neo: GptNeoConfig;
    gpt_neox: GptNeoXConfig;
    gpt_oss: GptOssConfig;
    gptj: GptJConfig;
    granite: GraniteConfig, GraniteMoeConfig;
    gte: GteConfig;
    lfm2: Lfm2Config;
    llama: LlamaConfig;
    mamba2: Mamba2Config;
    mamba: MambaConfig, FalconMambaConfig;
    minimax_m2: MiniMaxM2Config;
    ministral3: Ministral3Config;
    mistral: MistralConfig;
    mixtral: MixtralConfig;
    modernbert: ModernBertConfig, ModernBertDecoderConfig;
    mpnet: MPNetConfig;
    mpt: MptConfig;
    nemotron: NemotronConfig;
    nomic_bert: NomicBertConfig;
    olmo2: Olmo2Config;
    olmo3: Olmo3Config;
    olmoe: OlmoeConfig;
    opt: OptConfig;
    phi3: Phi3Config;
    phi: PhiConfig;
    qwen2: Qwen2Config;
    qwen2_moe: Qwen2MoeConfig;
    qwen3: Qwen3Config;
    qwen3_moe: Qwen3MoeConfig;
    qwen3_next: Qwen3_5MoeTextConfig, Qwen3_5TextConfig, Qwen3NextConfig;
    roberta: CamembertConfig, RobertaConfig, XLMRobertaConfig;
    seed_oss: SeedOssConfig;
    smollm3: SmolLm3Config;
    stablelm: StableLmConfig;
    starcoder2: Starcoder2Config;
    t5: T5Config, MT5Config, UMT5Config;
}

pub use gpt_neo::GptNeoAttention;
pub use mamba2::TimeStepLimit;
pub use mpt::MptAttentionConfig;

type Standardize = fn(&mut Map<String, Value>) -> Result<()>;
type Complete = fn(&AutoConfig) -> Result<AutoConfig>;

/// What is known of a model type before its configuration is typed.
pub(crate) enum Family {
    /// The configuration of a text model.
    Plain {
        /// [`ModelConfig::standardize`].
        standardize: Standardize,
        /// The tree with every field.
        complete: Complete,
        /// `tie_word_embeddings` where it is not stated.
        tied: bool,
        /// [`ModelConfig::GENERATION_FIELDS`].
        generation_fields: &'static [&'static str],
    },
    /// A configuration with that of a text model inside.
    Wrapper {
        /// [`ModelConfig::standardize`] of the text model.
        standardize_text: Standardize,
    },
}

impl Family {
    fn of<C: ModelConfig>(model_type: &str) -> Option<Self> {
        if model_type == C::MODEL_TYPE {
            return Some(Self::Plain {
                standardize: C::standardize,
                complete: |config| AutoConfig::from_typed(&config.typed::<C>()?),
                tied: tied_by_default::<C>(),
                generation_fields: C::GENERATION_FIELDS,
            });
        }
        C::WRAPPERS.contains(&model_type).then_some(Self::Wrapper {
            standardize_text: C::standardize,
        })
    }
}

/// `tie_word_embeddings` of a configuration that states nothing.
fn tied_by_default<C: ModelConfig>() -> bool {
    let plain = json::typed::<C>(Value::Object(Map::new())).ok();
    let tree = plain.and_then(|config| serde_json::to_value(config).ok());
    let tied = tree.and_then(|tree| tree.get("tie_word_embeddings")?.as_bool());
    tied.unwrap_or(true)
}
