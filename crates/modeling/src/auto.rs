//! The auto classes: the right model for a repository, by its `model_type`.

use std::ops::{Deref, DerefMut};

use burn::module::{
    Content, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::{Device, Tensor};
use transformers_config::AutoConfig;
use transformers_hub::ModelSource;

use crate::erased::Restore;
use crate::load::{Dtype, LoadOptions, from_config, from_pretrained};
use crate::peft::PeftModel;
use crate::registry::Head;
use crate::{ModelError, PreTrainedModel, ResizeOptions};

macro_rules! auto_class {
    ($(#[$doc:meta])* $name:ident, $head:expr) => {
        $(#[$doc])*
        ///
        /// It dereferences to [`PreTrainedModel`] and is a burn module, so that burn's optimizers take it as it is.
        #[derive(Debug)]
        pub struct $name(Box<dyn PreTrainedModel>);

        impl $name {
            /// Loads the model of a folder, a hub id (`org/name`, `org/name@revision`), a `.gguf` file or
            /// `repo:file.gguf`, with default options.
            ///
            /// # Errors
            /// See [`Self::from_pretrained_with`].
            pub fn from_pretrained(source: impl Into<ModelSource>) -> Result<Self, ModelError> {
                Self::from_pretrained_with(source, &LoadOptions::default())
            }

            /// Loads the model of `source`.
            ///
            /// # Errors
            /// Files that are missing or broken, a model type or quantisation that is not supported, a checkpoint that
            /// does not fit, a device that is not there. Parameters that the checkpoint lacks are no error: they are
            /// initialised, logged as a warning and listed in `info().loading_info`.
            pub fn from_pretrained_with(
                source: impl Into<ModelSource>,
                options: &LoadOptions,
            ) -> Result<Self, ModelError> {
                from_pretrained(source.into(), $head, options).map(Self)
            }

            /// A model with fresh weights.
            ///
            /// # Errors
            /// A model type that is not supported, or config values that do not fit together.
            pub fn from_config(config: &AutoConfig, device: &Device) -> Result<Self, ModelError> {
                from_config(config, $head, device, &LoadOptions::default()).map(Self)
            }

            /// A model with fresh weights in f32, by the options' device, precision, seed and initialisation.
            ///
            /// # Errors
            /// As [`Self::from_config`], and a device that is not there.
            pub fn from_config_with(
                config: &AutoConfig,
                options: &LoadOptions,
            ) -> Result<Self, ModelError> {
                let device = options.device.resolve()?;
                from_config(config, $head, &device, options).map(Self)
            }

            /// Gives the embedding and the output layer, with its bias, `tokens` rows, and sets `vocab_size`. Rows come
            /// and go at the end; tied weights stay tied. Gives the number of rows.
            ///
            /// # Errors
            /// No rows, a config without `vocab_size`, or an embedding in quantised blocks.
            pub fn resize_token_embeddings(
                &mut self,
                tokens: usize,
                options: &ResizeOptions,
            ) -> Result<usize, ModelError> {
                self.0 = self.0.with_token_embeddings(tokens, options)?;
                let size = self.0.info().config.get("vocab_size");
                Ok(size.and_then(|size| size.as_u64()).unwrap_or_default() as usize)
            }

            /// Makes the embedding's weight that of the output layer (`tie_word_embeddings`).
            ///
            /// # Errors
            /// As [`Self::from_config`].
            pub fn tie_weights(&mut self) -> Result<(), ModelError> {
                self.0 = self.0.with_tied_weights(true)?;
                Ok(())
            }

            /// Gives the output layer a weight of its own, which begins as the embedding's.
            ///
            /// # Errors
            /// As [`Self::from_config`].
            pub fn untie_weights(&mut self) -> Result<(), ModelError> {
                self.0 = self.0.with_tied_weights(false)?;
                Ok(())
            }

            /// Replaces the table of the tokens' vectors by one of the same shape, `[vocab, hidden]`.
            ///
            /// # Errors
            /// Another shape.
            pub fn set_input_embeddings(&mut self, table: Tensor<2>) -> Result<(), ModelError> {
                self.0 = self.0.with_input_embeddings(table)?;
                Ok(())
            }

            /// The same model with its weights in `dtype`, but for what its class keeps in f32.
            ///
            /// # Errors
            /// [`Dtype::Auto`], which names none.
            pub fn to_dtype(&self, dtype: Dtype) -> Result<Self, ModelError> {
                Ok(Self(self.0.with_dtype(dtype)?))
            }

            /// The same model, which keeps less for a backward pass and computes it again: to be called after `train`.
            pub fn gradient_checkpointing_enable(&self) -> Self {
                Self(self.0.with_gradient_checkpointing())
            }

            /// The model as an object.
            pub fn into_inner(self) -> Box<dyn PreTrainedModel> {
                self.0
            }
        }

        impl Deref for $name {
            type Target = dyn PreTrainedModel;

            fn deref(&self) -> &Self::Target {
                self.0.as_ref()
            }
        }

        impl DerefMut for $name {
            fn deref_mut(&mut self) -> &mut Self::Target {
                self.0.as_mut()
            }
        }

        impl PeftModel for $name {
            fn boxed_mut(&mut self) -> &mut Box<dyn PreTrainedModel> {
                &mut self.0
            }
        }

        impl Clone for $name {
            fn clone(&self) -> Self {
                Self(self.0.boxed_clone())
            }
        }

        impl Module for $name {
            fn collect_devices(&self, devices: Vec<Device>) -> Vec<Device> {
                self.0.collect_devices(devices)
            }
            fn fork(self, device: &Device) -> Self {
                Self(self.0.fork(device))
            }
            fn to_device(self, device: &Device) -> Self {
                Self(self.0.to_device(device))
            }
            fn train(self) -> Self {
                Self(self.0.train())
            }
            fn valid(&self) -> Self {
                Self(self.0.valid())
            }
            fn materialize(self) -> Self {
                Self(self.0.materialize())
            }
            fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
                self.0.visit_parameters(&mut Restore(visitor));
            }
            fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
                Self(self.0.map_parameters(&mut Restore(mapper)))
            }
        }

        impl ModuleDisplayDefault for $name {
            fn content(&self, content: Content) -> Option<Content> {
                content.add_debug_attribute("model", &self.0).optional()
            }
        }

        impl ModuleDisplay for $name {}
    };
}

auto_class!(
    /// A model without a head: states `[batch, seq, hidden]`.
    AutoModel,
    Head::Base
);
auto_class!(
    /// A decoder with its language-model head: logits `[batch, seq, vocab]`.
    AutoModelForCausalLM,
    Head::CausalLM
);
auto_class!(
    /// An encoder with its masked-token head: logits `[batch, seq, vocab]`.
    AutoModelForMaskedLM,
    Head::MaskedLM
);
auto_class!(
    /// An encoder and a decoder with its language-model head: logits `[batch, target_seq, vocab]`.
    AutoModelForSeq2SeqLM,
    Head::Seq2SeqLM
);
auto_class!(
    /// A model that puts each row into a class, or gives it numbers: pooled logits `[batch, num_labels]`.
    AutoModelForSequenceClassification,
    Head::SequenceClassification
);
auto_class!(
    /// A model that puts each token into a class: logits `[batch, seq, num_labels]`.
    AutoModelForTokenClassification,
    Head::TokenClassification
);
auto_class!(
    /// A model that finds where the answer is in a text: start and end logits `[batch, seq]`.
    AutoModelForQuestionAnswering,
    Head::QuestionAnswering
);
auto_class!(
    /// A model that chooses one of several rows: pooled logits `[batch, num_choices]`.
    AutoModelForMultipleChoice,
    Head::MultipleChoice
);
auto_class!(
    /// A model that says whether a row's second text follows its first: pooled logits `[batch, 2]`.
    AutoModelForNextSentencePrediction,
    Head::NextSentencePrediction
);
auto_class!(
    /// A model with the heads that it was first trained with.
    AutoModelForPreTraining,
    Head::PreTraining
);
auto_class!(
    /// The text encoder of a model, without a head: states `[batch, seq, hidden]`.
    AutoModelForTextEncoding,
    Head::TextEncoding
);
