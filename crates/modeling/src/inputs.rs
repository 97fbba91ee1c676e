//! What goes into a model and what comes out.

use burn::tensor::Tensor;

use crate::loss::IGNORE_INDEX;
use crate::nn::{AttentionInterface, EmbeddingNoise, States};
use crate::{ModelError, Rows};

/// Arguments of a forward pass, by the reference's names.
#[derive(Debug, Clone, Default)]
pub struct ModelInputs {
    /// Token ids, `[batch, seq]`.
    pub input_ids: Rows<u32>,
    /// 1 for tokens and 0 for padding, `[batch, past + seq]`: cached tokens are covered too. `None`: no padding.
    pub attention_mask: Option<Rows<u32>>,
    /// Segment ids, `[batch, seq]`; zeros when absent.
    pub token_type_ids: Option<Rows<u32>>,
    /// Positions, `[batch or 1, seq]`. `None`: columns from a row's first token on, so that left padding changes nothing.
    pub position_ids: Option<Rows<u32>>,
    /// The positions in time, height and width of tokens among images, `[batch, seq]` each, by which families with M-RoPE
    /// rotate: the reference's `position_ids` of shape `[3, batch, seq]`.
    pub multimodal_position_ids: Option<Box<[Rows<u32>; 3]>>,
    /// Targets. Given, the output has a loss.
    pub labels: Option<Labels>,
    /// Where answers begin, `[batch]`; a position beyond the row is ignored. With `end_positions` the output has a loss.
    pub start_positions: Option<Vec<i64>>,
    /// Where they end, `[batch]`.
    pub end_positions: Option<Vec<i64>>,
    /// Whether the second text of a row is another one's (1) or follows the first (0), `[batch]`; ALBERT's
    /// `sentence_order_label`.
    pub next_sentence_label: Option<Vec<i64>>,
    /// How many neighbouring rows are the choices of one question. `None`: all.
    pub num_choices: Option<usize>,
    /// Ids of the decoder of an encoder–decoder, `[batch, decoder seq]`. `None`: made of the labels.
    pub decoder_input_ids: Option<Rows<u32>>,
    /// As `attention_mask`, for the decoder: `[batch, past + decoder seq]`.
    pub decoder_attention_mask: Option<Rows<u32>>,
    /// What [`encode`](crate::PreTrainedModel::encode) gave for these inputs, `[batch, seq, hidden]`: the encoder does
    /// not run again.
    pub encoder_outputs: Option<Tensor<3>>,
    /// Keep the states between the layers.
    pub output_hidden_states: bool,
    /// Keep the weights of attention, which is then computed without a fused kernel.
    pub output_attentions: bool,
    /// How attention is computed. `None`: as the model was set, else by what is fastest.
    pub attention: Option<AttentionInterface>,
    /// Compute the states of padding too, which are otherwise zeros where that saves work.
    pub states_of_padding: bool,
    /// Of the last states only each row's first one is read: some encoders then leave out what their last layer does after
    /// attention for the others, and `last_hidden_state` is `[batch, 1, hidden]`. Not with `output_hidden_states`.
    pub first_states_only: bool,
    /// Keep the routers' logits of models with a mixture of experts; the loss then has their load-balancing loss in it.
    /// `None`: as the config says.
    pub output_router_logits: Option<bool>,
    /// Compute logits for the last so many positions only. `None`: for all.
    pub logits_to_keep: Option<usize>,
    /// Leave a decoder after so many layers, as drafts do. `None`: after all.
    pub early_exit: Option<usize>,
    /// Keep of each layer the input alone, and run it again in the backward pass: see
    /// [`gradient_checkpointing_enable`](crate::AutoModel::gradient_checkpointing_enable). Decoders in host memory read it.
    pub gradient_checkpointing: bool,
    /// Noise on the vectors of tokens, while a model trains.
    pub embedding_noise: Option<EmbeddingNoise>,
    /// Compute logits at these positions of every row only, in this order; the reference's `logits_to_keep` as a tensor.
    /// Decoders alone read it, and not with labels.
    pub logits_at: Option<Vec<u32>>,
}

/// The targets of a loss.
#[derive(Debug, Clone, PartialEq)]
pub enum Labels {
    /// Ids: of tokens or of their classes, `[batch, seq]`, or of the rows' classes, `[batch, 1]`. -100 is ignored.
    Ids(Rows<i64>),
    /// Numbers, or for several classes at once 1 and 0: `[batch, num_labels]`.
    Values(Rows<f32>),
}

impl Labels {
    /// One class for each row.
    pub fn classes(classes: Vec<i64>) -> Self {
        Self::Ids(Rows::column_of(classes))
    }

    /// One number for each row.
    pub fn numbers(numbers: Vec<f32>) -> Self {
        Self::Values(Rows::column_of(numbers))
    }
}

impl From<Rows<i64>> for Labels {
    fn from(ids: Rows<i64>) -> Self {
        Self::Ids(ids)
    }
}

impl From<Vec<i64>> for Labels {
    /// The ids of one row.
    fn from(ids: Vec<i64>) -> Self {
        Self::Ids(ids.into())
    }
}

impl From<Rows<f32>> for Labels {
    fn from(values: Rows<f32>) -> Self {
        Self::Values(values)
    }
}

impl ModelInputs {
    /// The labels of a model whose labels are ids.
    ///
    /// # Errors
    /// [`ModelError::LabelsAreNumbers`].
    pub fn label_ids(&self) -> Result<Option<&Rows<i64>>, ModelError> {
        match &self.labels {
            None => Ok(None),
            Some(Labels::Ids(ids)) => Ok(Some(ids)),
            Some(Labels::Values(_)) => Err(ModelError::LabelsAreNumbers),
        }
    }

    /// Whether something is made of the states of padding: a loss, or what the caller says.
    pub(crate) fn reads_padding(&self) -> bool {
        let Some(mask) = &self.attention_mask else {
            return false;
        };
        let labelled = |labels: &Labels| match labels {
            Labels::Ids(ids) if ids.dims() == mask.dims() => {
                let mut rows = ids.iter().zip(mask.iter());
                rows.any(|(labels, tokens)| {
                    // A language model's label belongs to the position before it.
                    let shifted = labels.iter().skip(1).chain(&[IGNORE_INDEX]);
                    let mut columns = tokens.iter().zip(labels.iter().zip(shifted));
                    columns.any(|(token, (own, next))| {
                        *token == 0 && (*own != IGNORE_INDEX || *next != IGNORE_INDEX)
                    })
                })
            }
            _ => false,
        };
        // Every column competes to be an answer's first and last.
        self.states_of_padding
            || self.start_positions.is_some()
            || self.labels.as_ref().is_some_and(labelled)
    }

    /// Whether the first state of a row, which heads may read, is that of padding.
    pub(crate) fn begins_with_padding(&self) -> bool {
        let begins = |mask: &Rows<u32>| mask.iter().any(|row| row.first() == Some(&0));
        self.attention_mask.as_ref().is_some_and(begins)
    }

    /// For each row, which keys are tokens and not padding; the first `dropped` columns of the mask have no key.
    pub(crate) fn tokens(&self, dropped: usize) -> Option<Vec<Vec<bool>>> {
        let mask = self.attention_mask.as_ref()?;
        let row = |row: &[u32]| row[dropped..].iter().map(|token| *token != 0).collect();
        Some(mask.iter().map(row).collect())
    }

    /// The ids alone: no padding, no labels.
    pub fn new(input_ids: impl Into<Rows<u32>>) -> Self {
        Self {
            input_ids: input_ids.into(),
            ..Self::default()
        }
    }

    /// Checks everything that a device could only answer with a fault.
    pub(crate) fn check(&self, vocab_size: usize, past: usize) -> Result<(), ModelError> {
        let [batch, seq] = self.input_ids.dims();
        if batch == 0 || seq == 0 {
            return Err(ModelError::EmptyInput);
        }
        if let Some(&id) = self
            .input_ids
            .values()
            .iter()
            .find(|id| **id as usize >= vocab_size)
        {
            return Err(ModelError::IdBeyondVocabulary {
                id: id.into(),
                vocab_size,
            });
        }
        let expect = |name, dims: Option<[usize; 2]>, wanted: [usize; 2]| match dims {
            Some(found) if found != wanted => Err(ModelError::InputShape {
                name,
                found,
                expected: wanted,
            }),
            _ => Ok(()),
        };
        let dims = |rows: &Option<Rows<u32>>| rows.as_ref().map(Rows::dims);
        expect(
            "attention_mask",
            dims(&self.attention_mask),
            [batch, past + seq],
        )?;
        expect("token_type_ids", dims(&self.token_type_ids), [batch, seq])?;
        for rows in self
            .multimodal_position_ids
            .iter()
            .flat_map(|rows| rows.iter())
        {
            expect("multimodal_position_ids", Some(rows.dims()), [batch, seq])?;
        }
        match dims(&self.position_ids) {
            Some([1, found]) if found == seq => Ok(()),
            found => expect("position_ids", found, [batch, seq]),
        }
    }

    /// Positions for logits, each of which there is.
    pub(crate) fn checked_positions(&self, positions: &[u32]) -> Result<Rows<u32>, ModelError> {
        let seq = self.input_ids.dims()[1];
        match positions.iter().find(|at| **at as usize >= seq) {
            None if positions.is_empty() || self.labels.is_some() => Err(ModelError::NoOutput {
                name: "logits (`logits_at` names at least one position, and comes without labels)",
            }),
            None => Ok(Rows::row_of(positions.to_vec())),
            Some(&at) => Err(ModelError::InputShape {
                name: "logits_at",
                found: [1, at as usize],
                expected: [1, seq],
            }),
        }
    }

    /// Zeros in the shape of the ids.
    pub(crate) fn zeros(&self) -> Rows<u32> {
        let [batch, seq] = self.input_ids.dims();
        Rows::new(&vec![vec![0; seq]; batch]).expect("equal rows")
    }

    /// The positions of all keys, those of `past` tokens among them: counted over the tokens that the mask lets count.
    pub(crate) fn key_positions(&self, past: usize) -> Result<Rows<u32>, ModelError> {
        match &self.attention_mask {
            Some(mask) => {
                let rows: Vec<_> = mask.iter().map(counted).collect();
                Rows::new(&rows)
            }
            None => {
                let keys = past + self.input_ids.dims()[1];
                Ok(Rows::row_of((0..keys as u32).collect()))
            }
        }
    }

    /// The same with `position_ids` as decoding counts them after `past` tokens, whatever the model's own way: over the
    /// tokens that are not padding, from 0 on.
    ///
    /// # Errors
    /// An attention mask of another shape than `[batch, past + seq]`.
    pub fn with_positions(self, past: usize) -> Result<Self, ModelError> {
        let [batch, seq] = self.input_ids.dims();
        let mask = self.attention_mask.as_ref().map(Rows::dims);
        if let Some(found) = mask.filter(|found| *found != [batch, past + seq]) {
            let (name, expected) = ("attention_mask", [batch, past + seq]);
            return Err(ModelError::InputShape {
                name,
                found,
                expected,
            });
        }
        Ok(Self {
            position_ids: Some(self.counted_positions(past)?),
            ..self
        })
    }

    /// The positions of the new tokens: as given, else as their columns from a row's first token on.
    pub(crate) fn positions(&self, past: usize) -> Result<Rows<u32>, ModelError> {
        match &self.position_ids {
            Some(positions) => Ok(positions.clone()),
            None => self.positions_by(past, columns_from_first),
        }
    }

    /// What layers rotate by, which reads distances alone: where states of padding are read, columns, as the reference has
    /// it; else `positions`.
    pub(crate) fn rotated_positions(&self, positions: Rows<u32>, past: usize) -> Rows<u32> {
        if self.position_ids.is_some() || !self.reads_padding() {
            return positions;
        }
        let seq = self.input_ids.dims()[1];
        Rows::row_of((past..past + seq).map(|p| p as u32).collect())
    }

    /// The same counted over the tokens that the mask lets count, where none are given.
    pub(crate) fn counted_positions(&self, past: usize) -> Result<Rows<u32>, ModelError> {
        match &self.position_ids {
            Some(positions) => Ok(positions.clone()),
            None => self.positions_by(past, counted),
        }
    }

    /// `of_row`: the positions of a row of the mask.
    fn positions_by(
        &self,
        past: usize,
        of_row: fn(&[u32]) -> Vec<u32>,
    ) -> Result<Rows<u32>, ModelError> {
        let seq = self.input_ids.dims()[1];
        let Some(mask) = &self.attention_mask else {
            return Ok(Rows::row_of((past..past + seq).map(|p| p as u32).collect()));
        };
        let rows: Vec<Vec<u32>> = mask
            .iter()
            .map(|row| of_row(row)[past..].to_vec())
            .collect();
        match rows.iter().all(|row| *row == rows[0]) {
            true => Ok(Rows::row_of(rows[0].clone())),
            false => Rows::new(&rows),
        }
    }
}

/// Left padding does not count, and all after it does.
fn columns_from_first(mask: &[u32]) -> Vec<u32> {
    let first = mask.iter().position(|real| *real != 0).unwrap_or(0);
    let column = |column: usize| column.saturating_sub(first) as u32;
    (0..mask.len()).map(column).collect()
}

/// `cumsum(mask) - 1`, at least zero; padding after the last token is counted on.
fn counted(mask: &[u32]) -> Vec<u32> {
    let last = mask.iter().rposition(|real| *real != 0);
    let mut count = 0u32;
    mask.iter()
        .enumerate()
        .map(|(column, real)| {
            count += u32::from(*real != 0 || Some(column) > last);
            count.saturating_sub(1)
        })
        .collect()
}

/// What a model gives, by the reference's names; a field that the model does not have stays `None`.
#[derive(Debug, Clone, Default)]
pub struct ModelOutput {
    /// `[1]`, when labels were given.
    pub loss: Option<Tensor<1>>,
    /// `[batch, seq or logits_to_keep, vocab]`, or `[batch, seq, num_labels]` of token classes.
    pub logits: Option<Tensor<3>>,
    /// `[batch, num_labels]` of models that give each row one answer; `[batch, num_choices]` of multiple choice. The
    /// reference calls these `logits` too.
    pub pooled_logits: Option<Tensor<2>>,
    /// `[batch, seq]`: where an answer begins.
    pub start_logits: Option<Tensor<2>>,
    /// `[batch, seq]`: where it ends.
    pub end_logits: Option<Tensor<2>>,
    /// `[batch, seq, vocab]`, of models with the heads that they were first trained with.
    pub prediction_logits: Option<Tensor<3>>,
    /// `[batch, 2]`, of the same: whether the second text follows the first. ALBERT's `sop_logits`.
    pub seq_relationship_logits: Option<Tensor<2>>,
    /// `[batch, seq, hidden]`, of models without a head.
    pub last_hidden_state: Option<Tensor<3>>,
    /// `[batch, hidden]`.
    pub pooler_output: Option<Tensor<2>>,
    /// The embeddings and every layer's output, `[batch, seq, hidden]` each; the last one is normed in decoders.
    pub hidden_states: Option<Vec<Tensor<3>>>,
    /// The weights of attention after the softmax, one `[batch, heads, seq, keys]` for each layer that has some.
    pub attentions: Option<Vec<Tensor<4>>>,
    /// The logits of every sparse layer's router, `[batch * seq, experts]`.
    pub router_logits: Option<Vec<Tensor<2>>>,
    /// `[1]`: the load-balancing loss, when router logits were asked for.
    pub aux_loss: Option<Tensor<1>>,
    /// The encoder's last states, `[batch, seq, hidden]`, of encoder–decoders.
    pub encoder_last_hidden_state: Option<Tensor<3>>,
    /// As `hidden_states`, of the encoder of an encoder–decoder.
    pub encoder_hidden_states: Option<Vec<Tensor<3>>>,
    /// As `hidden_states`, of the decoder of an encoder–decoder.
    pub decoder_hidden_states: Option<Vec<Tensor<3>>>,
    /// As `attentions`, of the encoder of an encoder–decoder.
    pub encoder_attentions: Option<Vec<Tensor<4>>>,
    /// As `attentions`, of the decoder of an encoder–decoder to its own tokens.
    pub decoder_attentions: Option<Vec<Tensor<4>>>,
    /// Of the decoder to the encoder's states, `[batch, heads, decoder seq, seq]`.
    pub cross_attentions: Option<Vec<Tensor<4>>>,
}

impl ModelOutput {
    /// The output of a headless model.
    pub fn of_states(states: States) -> Self {
        Self {
            last_hidden_state: Some(states.last),
            hidden_states: states.all,
            attentions: states.attentions,
            ..Self::default()
        }
    }

    /// The logits of a model that has a head.
    ///
    /// # Errors
    /// [`ModelError::NoOutput`] for a model without one.
    pub fn logits(self) -> Result<Tensor<3>, ModelError> {
        self.logits.ok_or(ModelError::NoOutput { name: "logits" })
    }

    /// The logits of a model that gives each row one answer.
    ///
    /// # Errors
    /// [`ModelError::NoOutput`] for any other.
    pub fn pooled_logits(self) -> Result<Tensor<2>, ModelError> {
        self.pooled_logits.ok_or(ModelError::NoOutput {
            name: "pooled_logits",
        })
    }

    /// The last states of a model without a head.
    ///
    /// # Errors
    /// [`ModelError::NoOutput`] for a model with one.
    pub fn last_hidden_state(self) -> Result<Tensor<3>, ModelError> {
        self.last_hidden_state.ok_or(ModelError::NoOutput {
            name: "last_hidden_state",
        })
    }

    /// The loss of a pass with labels.
    ///
    /// # Errors
    /// [`ModelError::NoOutput`] without labels.
    pub fn loss(self) -> Result<Tensor<1>, ModelError> {
        self.loss.ok_or(ModelError::NoOutput { name: "loss" })
    }
}
