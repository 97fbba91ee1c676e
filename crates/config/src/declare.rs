//! How a family's configuration is declared: the fields with the reference's defaults, once.

/// Declares a configuration: a struct with serde's derives, its `Default`, the three special tokens that every text
/// model has, and the [`BaseConfig`](crate::BaseConfig).
///
/// A field that many families have is documented by [`field_doc!`]; every other field brings its own documentation.
macro_rules! config {
    (
        $(#[$meta:meta])*
        $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $(#[serde($($serde:tt)*)])?
                $field:ident: $type:ty = $default:expr,
            )*
        }
        tokens { pad: $pad:expr, $(#[serde($($bos_serde:tt)*)])? bos: $bos:expr, eos: $eos:expr $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                #[doc = $crate::declare::field_doc!($field $($doc)*)]
                $(#[serde($($serde)*)])?
                pub $field: $type,
            )*
            /// The token that fills shorter sequences.
            #[serde(deserialize_with = "crate::base::token_id")]
            pub pad_token_id: Option<u32>,
            /// The token that begins a text.
            #[serde(deserialize_with = "crate::base::token_id")]
            $(#[serde($($bos_serde)*)])?
            pub bos_token_id: Option<u32>,
            /// The tokens that end a text.
            #[serde(deserialize_with = "crate::base::token_ids")]
            pub eos_token_id: Option<$crate::TokenIds>,
            /// What every configuration has.
            #[serde(flatten)]
            pub base: $crate::BaseConfig,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    pad_token_id: $pad,
                    bos_token_id: $bos,
                    eos_token_id: Option::<u32>::map($eos, $crate::TokenIds::One),
                    base: $crate::BaseConfig::default(),
                }
            }
        }
    };
}

/// The documentation of a field: its own, or that of a name which means the same in every family.
macro_rules! field_doc {
    ($field:ident $($doc:literal)+) => { concat!($($doc, "\n"),+) };
    (vocab_size) => { "Rows of the embedding." };
    (hidden_size) => { "The width of the residual stream." };
    (intermediate_size) => { "The width inside of the MLP." };
    (num_hidden_layers) => { "The number of layers." };
    (num_attention_heads) => { "The number of query heads." };
    (num_key_value_heads) => { "The number of key and value heads; as many as query heads if null." };
    (head_dim) => { "The size of a head." };
    (hidden_act) => { "The MLP's activation." };
    (max_position_embeddings) => { "The longest text in tokens." };
    (embedding_size) => { "The width of the embeddings." };
    (type_vocab_size) => { "Rows of the segment embedding." };
    (initializer_range) => { "The standard deviation of fresh weights." };
    (rms_norm_eps) => { "Added to the mean square in norms." };
    (layer_norm_eps) => { "Added to the variance in norms." };
    (use_cache) => { "Whether to keep keys and values while generating." };
    (tie_word_embeddings) => { "Whether the output layer shares the embedding's weight." };
    (rope_parameters) => { "The rotary embedding." };
    (attention_bias) => { "Whether the attention's projections have biases." };
    (mlp_bias) => { "Whether the MLP's projections have biases." };
    (attention_dropout) => { "Dropout on attention weights while training." };
    (attention_probs_dropout_prob) => { "Dropout on attention weights while training." };
    (hidden_dropout_prob) => { "Dropout on hidden states while training." };
    (classifier_dropout) => { "Dropout before the classifier while training." };
    (sliding_window) => { "The positions that a sliding layer attends to." };
    (num_experts_per_tok) => { "The experts that a token passes." };
    (num_local_experts) => { "The experts of a layer." };
    (num_experts) => { "The experts of a layer." };
    (n_routed_experts) => { "The experts of a layer." };
    (n_shared_experts) => { "As many experts' widths has the block that every token passes." };
    (moe_intermediate_size) => { "The width inside of an expert." };
    (shared_expert_intermediate_size) => { "The width inside of the expert that every token passes." };
    (norm_topk_prob) => { "Whether the weights of a token's experts add up to one." };
    (decoder_sparse_step) => { "Every so manieth layer has experts." };
    (mlp_only_layers) => { "Layers without experts." };
    (first_k_dense_replace) => { "So many layers at first have no experts." };
    (routed_scaling_factor) => { "Factor on the weights of a token's experts." };
    (n_group) => { "The groups of experts." };
    (topk_group) => { "The groups whose experts a token can pass." };
    (output_router_logits) => { "Whether to give the routers' logits, and their loss." };
    (router_aux_loss_coef) => { "Factor on the load-balancing loss." };
    (router_jitter_noise) => { "Noise on the router's input while training." };
    (layer_types) => { "What each layer attends to." };
    (is_decoder) => { "Whether positions attend only to earlier ones." };
    (add_cross_attention) => { "Whether there is attention to an encoder's output." };
}

pub(crate) use {config, field_doc};
