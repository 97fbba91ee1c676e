//! The model families, one file each.

/// The [`DecoderOptions`](crate::nn::DecoderOptions) of a config: what every config names alike is taken by its name,
/// what is given here replaces the plain values.
macro_rules! decoder_options {
    ($config:ident { $($field:ident: $value:expr),* $(,)? }) => {
        crate::nn::DecoderOptions {
            $($field: $value,)*
            ..crate::nn::DecoderOptions {
                vocab_size: $config.vocab_size,
                pad_token_id: $config.pad_token_id,
                hidden_size: $config.hidden_size,
                layer_types: $config.layer_types(),
                head_dim: $config.hidden_size / $config.num_attention_heads,
                rope_parameters: $config.rope_parameters.clone(),
                max_position_embeddings: $config.max_position_embeddings,
                sliding_window: None,
                bidirectional: false,
                embedding_scale: None,
                final_logit_softcapping: None,
                tie_word_embeddings: $config.tie_word_embeddings,
                initializer_range: $config.initializer_range,
                router: None,
            }
        }
    };
}

mod albert;
mod bart;
mod bert;
mod deberta_v2;
mod deepseek;
mod distilbert;
mod electra;
mod eurobert;
mod gemma3;
mod glm4_moe;
mod gpt_oss;
mod llama;
mod mistral;
mod mixtral;
mod modernbert;
mod modernbert_decoder;
mod mpnet;
mod nomic_bert;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;
mod roberta;
mod t5;

pub use bart::{BartForConditionalGeneration, BartModel, BartOptions, BartStack};
pub use bert::{BertModel, BertOptions};
pub use gemma3::Gemma3DecoderLayer;
pub use llama::{LlamaBlock, LlamaDecoderLayer};
pub use t5::{T5EncoderModel, T5ForConditionalGeneration, T5Model, T5Options, T5Stack};

use crate::Family;

/// Everything that is built in.
pub(crate) fn families() -> Vec<Family> {
    let mut families = vec![
        albert::family(),
        bert::family(),
        deberta_v2::family(),
        Family::decoder::<deepseek::DeepseekV2>(),
        Family::decoder::<deepseek::DeepseekV3>(),
        distilbert::family(),
        electra::family(),
        eurobert::family(),
        Family::decoder::<gemma3::Gemma3Text>(),
        Family::decoder::<glm4_moe::Glm4Moe>(),
        Family::decoder::<gpt_oss::GptOss>(),
        Family::decoder::<llama::Llama>(),
        Family::decoder::<mistral::Mistral>(),
        Family::decoder::<mixtral::Mixtral>(),
        modernbert::family(),
        modernbert_decoder::family(),
        mpnet::family(),
        nomic_bert::family(),
        nomic_bert::gte(),
        Family::decoder::<qwen2::Qwen2>(),
        Family::decoder::<qwen2_moe::Qwen2Moe>(),
        Family::decoder::<qwen3::Qwen3>(),
        Family::decoder::<qwen3_moe::Qwen3Moe>(),
        roberta::camembert(),
        roberta::family(),
        roberta::xlm_roberta(),
    ];
    families.extend(bart::families());
    families.extend(t5::families());
    families
}
