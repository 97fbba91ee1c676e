//! The model families, one file each.

/// The [`DecoderOptions`](crate::nn::DecoderOptions) of a config with rotary positions: what every such config names alike
/// is taken by its name, what is given here replaces the plain values.
macro_rules! decoder_options {
    ($config:ident { $($field:ident: $value:expr),* $(,)? }) => {
        crate::nn::DecoderOptions {
            $($field: $value,)*
            ..crate::nn::DecoderOptions {
                pad_token_id: $config.pad_token_id,
                head_dim: $config.head_dim(),
                rope_parameters: Some($config.rope_parameters.clone()),
                max_position_embeddings: Some($config.max_position_embeddings),
                tie_word_embeddings: $config.tie_word_embeddings,
                initializer_range: $config.initializer_range,
                ..crate::nn::DecoderOptions::new(
                    $config.vocab_size,
                    $config.hidden_size,
                    $config.layer_types(),
                )
            }
        }
    };
}

/// The shape of the attention of such a config, without anything special.
macro_rules! attention_options {
    ($config:ident) => {
        crate::nn::AttentionOptions::new(
            $config.hidden_size,
            $config.num_attention_heads,
            $config.num_key_value_heads(),
            $config.head_dim(),
        )
    };
}

mod albert;
mod bart;
mod bert;
mod bloom;
mod cohere;
mod deberta_v2;
mod deepseek;
mod distilbert;
mod electra;
mod ernie4_5;
mod ernie4_5_moe;
mod eurobert;
mod exaone4;
mod falcon;
mod gemma;
mod gemma2;
mod gemma3;
mod glm4;
mod glm4_moe;
mod gpt2;
mod gpt_neo;
mod gpt_neox;
mod gpt_oss;
mod gptj;
mod granite;
mod granitemoe;
mod lfm2;
mod llama;
mod mamba;
mod mamba2;
mod minimax_m2;
mod ministral3;
mod mistral;
mod mixtral;
mod modernbert;
mod mpnet;
mod mpt;
mod nemotron;
mod nomic_bert;
mod olmo2;
mod olmo3;
mod olmoe;
mod opt;
mod phi;
mod phi3;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;
mod qwen3_next;
mod roberta;
mod seed_oss;
mod smollm3;
mod stablelm;
mod starcoder2;
mod t5;

pub use bart::{BartForConditionalGeneration, BartModel, BartOptions, BartStack};
pub use bert::{BertModel, BertOptions};
pub use t5::{T5EncoderModel, T5ForConditionalGeneration, T5Model, T5Options, T5Stack};

use crate::Family;

/// Everything that is built in.
pub(crate) fn families() -> Vec<Family> {
    let mut families = vec![
        albert::family(),
        bert::family(),
        Family::decoder::<bloom::Bloom>(),
        Family::decoder::<cohere::Cohere2>(),
        Family::decoder::<cohere::Cohere>(),
        deberta_v2::family(),
        Family::decoder::<deepseek::DeepseekV2>(),
        Family::decoder::<deepseek::DeepseekV3>(),
        distilbert::family(),
        electra::family(),
        Family::decoder::<ernie4_5::Ernie4_5>(),
        Family::decoder::<ernie4_5_moe::Ernie4_5Moe>(),
        eurobert::family(),
        Family::decoder::<exaone4::Exaone4>(),
        Family::decoder::<falcon::Falcon>(),
        Family::decoder::<gemma2::Gemma2>(),
        Family::decoder::<gemma3::Gemma3Text>(),
        Family::decoder::<glm4_moe::Glm4Moe>(),
        Family::decoder::<gemma::Gemma>(),
        Family::decoder::<glm4::Glm4>(),
        Family::decoder::<gpt2::Gpt2>(),
        Family::decoder::<gpt_neo::GptNeo>(),
        Family::decoder::<gpt_neox::GptNeoX>(),
        Family::decoder::<gpt_oss::GptOss>(),
        Family::decoder::<gptj::GptJ>(),
        Family::decoder::<granite::Granite>(),
        Family::decoder::<granitemoe::GraniteMoe>(),
        Family::decoder::<lfm2::Lfm2>(),
        Family::decoder::<llama::Llama>(),
        Family::decoder::<mamba::FalconMamba>(),
        Family::decoder::<mamba::Mamba>(),
        Family::decoder::<mamba2::Mamba2>(),
        Family::decoder::<minimax_m2::MiniMaxM2>(),
        Family::decoder::<ministral3::Ministral3>(),
        Family::decoder::<mistral::Mistral>(),
        Family::decoder::<mixtral::Mixtral>(),
        modernbert::family(),
        modernbert::decoder(),
        mpnet::family(),
        Family::decoder::<mpt::Mpt>(),
        Family::decoder::<nemotron::Nemotron>(),
        nomic_bert::family(),
        nomic_bert::gte(),
        Family::decoder::<olmo2::Olmo2>(),
        Family::decoder::<olmo3::Olmo3>(),
        Family::decoder::<olmoe::Olmoe>(),
        Family::decoder::<opt::Opt>(),
        Family::decoder::<phi3::Phi3>(),
        Family::decoder::<phi::Phi>(),
        Family::decoder::<qwen2::Qwen2>(),
        Family::decoder::<qwen2_moe::Qwen2Moe>(),
        Family::decoder::<qwen3::Qwen3>(),
        Family::decoder::<qwen3_moe::Qwen3Moe>(),
        Family::decoder::<qwen3_next::Qwen3Next>(),
        Family::decoder::<qwen3_next::Qwen3_5MoeText>(),
        Family::decoder::<qwen3_next::Qwen3_5Text>(),
        roberta::camembert(),
        roberta::family(),
        roberta::xlm_roberta(),
        Family::decoder::<seed_oss::SeedOss>(),
        Family::decoder::<smollm3::SmolLm3>(),
        Family::decoder::<stablelm::StableLm>(),
        Family::decoder::<starcoder2::Starcoder2>(),
    ];
    families.extend(bart::families());
    families.extend(t5::families());
    families
}
