//! RoBERTa (Liu et al. 2019) and its namesakes XLM-RoBERTa (Conneau et al. 2020) and CamemBERT (Martin et al. 2020): BERT
//! whose positions are counted after the padding's id, with heads of its own.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_config::{CamembertConfig, RobertaConfig, XLMRobertaConfig};
use transformers_ops as ops;

use super::bert::{BertLike, BertModel, BertOptions, OnBert, bert_like};
use crate::nn::heads::{
    FirstTokenClassifier, PooledClassifier, SpanHead, TokenClassifier, language_model,
    to_vocabulary,
};
use crate::nn::{
    Activation, Embedding, HeadOptions, Init, LayerNorm, Linear, PositionCount, TaskHead,
};
use crate::{Family, Head, ModelError, ModelInputs, ModelOutput};

bert_like!(RobertaConfig {
    width: hidden_size,
    count: |c| after(c.pad_token_id)
});
bert_like!(XLMRobertaConfig {
    width: hidden_size,
    count: |c| after(c.pad_token_id)
});
bert_like!(CamembertConfig {
    width: hidden_size,
    count: |c| after(c.pad_token_id)
});

fn after(pad_token_id: Option<u32>) -> PositionCount {
    PositionCount::After(pad_token_id.unwrap_or(0))
}

/// `roberta`.
pub(crate) fn family() -> Family {
    of::<RobertaConfig>().headless::<OnBert<RobertaConfig>>(Head::TextEncoding)
}

/// `xlm-roberta`.
pub(crate) fn xlm_roberta() -> Family {
    of::<XLMRobertaConfig>().headless::<OnBert<XLMRobertaConfig>>(Head::TextEncoding)
}

/// `camembert`.
pub(crate) fn camembert() -> Family {
    of::<CamembertConfig>()
}

fn of<C: BertLike>() -> Family {
    Family::new(C::MODEL_TYPE, "roberta")
        .tied(&[
            (
                "lm_head.decoder.weight",
                "roberta.embeddings.word_embeddings.weight",
            ),
            ("lm_head.decoder.bias", "lm_head.bias"),
        ])
        .headless::<OnBert<C>>(Head::Base)
        .with::<OnBert<C>, RobertaLM>(Head::CausalLM)
        .with::<OnBert<C>, RobertaLM>(Head::MaskedLM)
        .with::<OnBert<C>, RobertaLM>(Head::PreTraining)
        .with::<OnBert<C>, FirstTokenClassifier>(Head::SequenceClassification)
        .with::<OnBert<C>, TokenClassifier>(Head::TokenClassification)
        .with::<OnBert<C>, SpanHead>(Head::QuestionAnswering)
        .with::<OnBert<C>, PooledClassifier>(Head::MultipleChoice)
}

/// `dense`, GELU, `layer_norm`, and the words' table or a `decoder`: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
pub(crate) struct RobertaLMHead {
    dense: Linear,
    layer_norm: LayerNorm,
    /// `[vocab]`.
    bias: Param<Tensor<1>>,
    /// `None`: the word embeddings' weight with `bias`.
    decoder: Option<Linear>,
}

/// The sizes of a [`RobertaLMHead`].
pub(crate) struct LMHeadOptions {
    pub hidden_size: usize,
    pub vocab_size: usize,
    pub norm_eps: f64,
    pub tied: bool,
}

impl RobertaLMHead {
    pub fn new(options: &LMHeadOptions, init: &Init) -> Self {
        let (hidden, vocab) = (options.hidden_size, options.vocab_size);
        let decoder = || Linear::new(hidden, vocab, true, init);
        Self {
            dense: Linear::new(hidden, hidden, true, init),
            layer_norm: LayerNorm::new(hidden, options.norm_eps, true, init),
            bias: init.zeros([vocab]),
            decoder: (!options.tied).then(decoder),
        }
    }

    pub fn logits(&self, hidden: Tensor<3>, words: &Embedding) -> Tensor<3> {
        let hidden = ops::activate(self.dense.forward(hidden), Activation::Gelu);
        let hidden = self.layer_norm.forward(hidden);
        to_vocabulary(hidden, self.decoder.as_ref(), words, &self.bias)
    }
}

#[derive(Module, Debug)]
struct RobertaLM {
    lm_head: RobertaLMHead,
    #[module(skip)]
    head: Head,
}

impl<C: BertLike> TaskHead<OnBert<C>> for RobertaLM {
    fn new(config: &C, head: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let BertOptions {
            embeddings,
            hidden_size,
            tie_word_embeddings,
            ..
        } = config.options()?;
        let options = LMHeadOptions {
            hidden_size,
            vocab_size: embeddings.vocab_size,
            norm_eps: embeddings.norm_eps,
            tied: tie_word_embeddings,
        };
        Ok(Self {
            lm_head: RobertaLMHead::new(&options, init),
            head: head.head,
        })
    }

    fn forward(
        &self,
        base: &BertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        language_model(self.head, output, inputs, |hidden| {
            self.lm_head.logits(hidden, base.words())
        })
    }
}
