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
    (state_size) => { "The states of a feature." };
    (expand) => { "The width inside of a mixer over that of the residual stream." };
    (conv_kernel) => { "The tokens that the convolution sees." };
    (use_conv_bias) => { "Whether the convolution has a bias." };
    (residual_in_fp32) => { "Whether the residual stream stays in f32." };
    (time_step_min) => { "The shortest time step of a fresh model." };
    (time_step_max) => { "The longest time step of a fresh model." };
    (time_step_floor) => { "No time step of a fresh model is shorter." };
    (rescale_prenorm_residual) => {
        "Whether the fresh weights that lead back to the residual stream shrink with the number of layers."
    };
    (add_cross_attention) => { "Whether there is attention to an encoder's output." };
}

/// What the configurations of decoders with rotary positions have in common: accessors, checks and [`ModelConfig`], by the
/// names of their fields.
///
/// * `kv_heads` and `head_dim` are fields that may be null; a family without them has as many key heads as query heads,
///   which divide `hidden_size` among them. `unstated_head_dim` is one that the reference reads where a file has it, and
///   does not write.
/// * `layer_types` fills the field of that name; `every_layer` answers for a family that has none.
/// * `sizes` are fields that must be positive where they are not null.
/// * `rope` is the check of `rope_parameters`, by default [`RopeParameters::validate`].
///
/// [`ModelConfig`]: crate::ModelConfig
/// [`RopeParameters::validate`]: crate::RopeParameters::validate
macro_rules! rotary_decoder {
    ($name:ident: $model_type:literal {
        $(wrappers: $wrappers:expr,)?
        $(kv_heads: $kv_heads:ident,)?
        $(head_dim: $head_dim:ident,)?
        $(unstated_head_dim: $unstated:ident,)?
        $(layer_types: $layer_types:expr,)?
        $(every_layer: $every_layer:expr,)?
        sizes: [$($size:ident),*],
        eps: $eps:ident,
        $(rope: $rope_check:ident,)?
        standardize: $standardize:expr,
        $(check: $check:expr,)?
        $(complete: $complete:expr,)?
    }) => {
        impl $name {
            /// The size of a head.
            pub fn head_dim(&self) -> usize {
                let divided = || self.hidden_size.checked_div(self.num_attention_heads);
                let stated: Option<usize> = None$(.or(self.$head_dim.into()))?$(.or(self.$unstated))?;
                stated.or_else(divided).unwrap_or(0)
            }

            /// The number of key and value heads.
            pub fn num_key_value_heads(&self) -> usize {
                let stated: Option<usize> = None$(.or(self.$kv_heads.into()))?;
                stated.unwrap_or(self.num_attention_heads)
            }

            /// What each layer attends to.
            pub fn layer_types(&self) -> Vec<$crate::LayerType> {
                let stated: Option<Vec<$crate::LayerType>> = None$(.or({
                    let by_default: fn(&Self) -> Vec<$crate::LayerType> = $layer_types;
                    Some(self.layer_types.clone().unwrap_or_else(|| by_default(self)))
                }))?;
                let kind: Option<fn(&Self) -> $crate::LayerType> = None$(.or(Some($every_layer)))?;
                let kind = kind.map_or($crate::LayerType::FullAttention, |of| of(self));
                stated.unwrap_or_else(|| vec![kind; self.num_hidden_layers])
            }
        }

        impl $crate::ModelConfig for $name {
            const MODEL_TYPE: &'static str = $model_type;
            $(const WRAPPERS: &'static [&'static str] = $wrappers;)?

            fn standardize(raw: &mut serde_json::Map<String, serde_json::Value>) -> $crate::Result<()> {
                let standardize: fn(&mut serde_json::Map<_, _>) -> _ = $standardize;
                standardize(raw)
            }

            fn validate(&self) -> $crate::Result<()> {
                $crate::checks::layers(self.num_hidden_layers)?;
                $crate::checks::sizes(&[
                    ("vocab_size", self.vocab_size),
                    ("max_position_embeddings", self.max_position_embeddings),
                    $((stringify!($size), Option::<usize>::from(self.$size).unwrap_or(1)),)*
                ])?;
                $crate::checks::attention(
                    self.hidden_size,
                    self.num_attention_heads,
                    self.num_key_value_heads(),
                    None$(.or(self.$head_dim.into()))?$(.or(self.$unstated))?,
                )?;
                $crate::checks::not_negative(stringify!($eps), self.$eps)?;
                $crate::checks::not_negative("initializer_range", self.initializer_range)?;
                $({
                    let _: fn(&Self) -> Vec<$crate::LayerType> = $layer_types;
                    $crate::layer_types::validate(self.layer_types.as_deref(), self.num_hidden_layers)?;
                })?
                $({
                    let check: fn(&Self) -> $crate::Result<()> = $check;
                    check(self)?;
                })?
                type Check = fn(&$crate::RopeParameters, usize, usize) -> $crate::Result<()>;
                let check: Option<Check> = None$(.or(Some($crate::RopeParameters::$rope_check)))?;
                let check = check.unwrap_or($crate::RopeParameters::validate);
                check(&self.rope_parameters, self.head_dim(), self.max_position_embeddings)
            }

            fn complete(&mut self) {
                $(self.$head_dim = self.head_dim().into();)?
                $(self.$kv_heads = self.num_key_value_heads().into();)?
                $({
                    let complete: fn(&mut Self) = $complete;
                    complete(self);
                })?
                $({
                    let _: fn(&Self) -> Vec<$crate::LayerType> = $layer_types;
                    self.layer_types = Some(self.layer_types());
                })?
                self.rope_parameters.complete(self.max_position_embeddings);
            }
        }
    };
}

/// Which layers of a family like qwen2_moe have experts, by the field that counts these.
macro_rules! sparse_layers {
    ($name:ident: $experts:ident) => {
        impl $name {
            /// Whether layer `index` has experts.
            pub fn is_sparse(&self, index: usize) -> bool {
                let dense = self.mlp_only_layers.as_deref().unwrap_or_default();
                !dense.contains(&index)
                    && self.$experts > 0
                    && (index + 1).is_multiple_of(self.decoder_sparse_step)
            }

            /// Checks the experts, if any layer has some.
            fn check_experts(&self) -> $crate::Result<()> {
                match (0..self.num_hidden_layers).any(|layer| self.is_sparse(layer)) {
                    true => $crate::checks::experts(self.$experts, self.num_experts_per_tok),
                    false => Ok(()),
                }
            }
        }
    };
}

pub(crate) use {config, field_doc, rotary_decoder, sparse_layers};
