//! What encoders do around their layers, and decoders that are encoders with a causal mask: tokens without their padding,
//! positions, embeddings, the record of states.
#![allow(non_snake_case, reason = "fields are named as in checkpoints")]

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use transformers_ops as ops;

use super::{
    AttentionPass, Cache, Embedding, Init, LayerCache, LayerNorm, Linear, Mask, MaskedAttention,
    Packing, RotaryEmbedding, RotaryTables, Weight, check_room, linears, with_noise,
};
use crate::{ModelError, ModelInputs, Rows};

/// The tokens of a batch on their way through an encoder: packed into one row where that saves work, else in their columns.
#[derive(Debug)]
pub struct Tokens<'a> {
    inputs: &'a ModelInputs,
    packing: Option<Packing>,
    attention: AttentionPass,
    device: Device,
    /// In a decoder, how many tokens were before these.
    past: Option<usize>,
    /// Whether something may be made of the states of padding.
    means: bool,
    /// Which tokens leave the last layer, `[batch, 1]`, where not all do.
    firsts: Option<Tensor<2, Int>>,
}

/// The tokens that go on from a layer's attention: all, or of the last layer those whose states are read.
#[derive(Debug, Clone, Copy)]
pub struct Kept<'a>(Option<&'a Tensor<2, Int>>);

impl Kept<'_> {
    /// These of all states of a layer, `[batch, kept, hidden]`.
    pub fn of(self, hidden: Tensor<3>) -> Tensor<3> {
        match self.0 {
            Some(firsts) => ops::embedding(hidden.flatten::<2>(0, 1), firsts.clone()),
            None => hidden,
        }
    }
}

/// What the layers of a stack give.
#[derive(Debug, Clone)]
pub struct States {
    /// The last states, `[batch, seq, hidden]`.
    pub last: Tensor<3>,
    /// Those before and between the layers, and the last, if they are wanted.
    pub all: Option<Vec<Tensor<3>>>,
    /// The weights of attention, if they are wanted: `[batch, heads, seq, keys]` of each layer.
    pub attentions: Option<Vec<Tensor<4>>>,
}

impl<'a> Tokens<'a> {
    /// Packed if that saves work. `words` is the table of the tokens' ids.
    ///
    /// # Errors
    /// Inputs that do not fit the table or each other.
    pub fn new(inputs: &'a ModelInputs, words: &Embedding) -> Result<Self, ModelError> {
        let columns = Self::in_columns(inputs, words)?;
        // Weights of packed rows would have no columns.
        let packing = match inputs.output_attentions {
            true => None,
            false => Packing::new(inputs, &words.weight),
        };
        Ok(Self { packing, ..columns })
    }

    /// Never packed: for layers that look at the distance of columns.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn in_columns(inputs: &'a ModelInputs, words: &Embedding) -> Result<Self, ModelError> {
        inputs.check(rows(&words.weight), 0)?;
        Ok(Self {
            inputs,
            packing: None,
            attention: AttentionPass::new(inputs),
            device: words.weight.device(),
            past: None,
            means: inputs.reads_padding(),
            firsts: None,
        })
    }

    /// The same tokens on their way through layers that go on with those that [`through`](Self::through) tells them.
    pub fn narrowed_last(self) -> Self {
        if !self.inputs.first_states_only || self.inputs.output_hidden_states {
            return self;
        }
        let [batch, seq] = self.inputs.input_ids.dims();
        let firsts: Vec<u32> = match &self.packing {
            Some(packing) => packing.firsts().map(|token| token as u32).collect(),
            None => (0..batch).map(|row| (row * seq) as u32).collect(),
        };
        let firsts = Rows::column_of(firsts).to_tensor(&self.device);
        Self {
            firsts: Some(firsts),
            ..self
        }
    }

    /// The tokens of a decoder, which see themselves and those before, in `cache` too; never packed.
    ///
    /// # Errors
    /// As [`Self::new`], and a cache that is full.
    pub fn of_decoder(
        inputs: &'a ModelInputs,
        words: &Embedding,
        cache: Option<&dyn Cache>,
    ) -> Result<Self, ModelError> {
        let past = cache.map_or(0, |cache| cache.seq_len());
        inputs.check(rows(&words.weight), past)?;
        check_room(cache, inputs.input_ids.dims()[1])?;
        Ok(Self {
            inputs,
            packing: None,
            attention: AttentionPass::new(inputs),
            device: words.weight.device(),
            past: Some(past),
            means: cache.is_none() && (inputs.begins_with_padding() || inputs.reads_padding()),
            firsts: None,
        })
    }

    /// The values of all columns, `[batch, seq]`, where the tokens are.
    pub fn place(&self, columns: &Rows<u32>) -> Rows<u32> {
        match &self.packing {
            Some(packing) => packing.pack(columns),
            None => columns.clone(),
        }
    }

    /// The ids where the tokens are.
    pub fn ids(&self) -> Tensor<2, Int> {
        self.place(&self.inputs.input_ids).to_tensor(&self.device)
    }

    /// Positions as given, else by `count`; `[batch, seq]`.
    pub fn positions(&self, count: PositionCount) -> Rows<u32> {
        let [batch, seq] = self.inputs.input_ids.dims();
        let every_row = |row: Vec<u32>| Rows::new(&vec![row; batch]).expect("equal rows");
        let past = self.past.unwrap_or(0) as u32;
        match (&self.inputs.position_ids, count) {
            (Some(given), _) if given.dims()[0] == batch => given.clone(),
            (Some(given), _) => every_row(given.row(0).to_vec()),
            (None, PositionCount::Columns) => every_row((past..past + seq as u32).collect()),
            (None, PositionCount::After(padding)) => {
                let ids = self.inputs.input_ids.iter();
                let rows: Vec<Vec<u32>> = ids.map(|row| count_after(row, padding, past)).collect();
                Rows::new(&rows).expect("as the ids")
            }
        }
    }

    /// The angles of positions that count columns, where the tokens are; `hidden` says in which dtype.
    ///
    /// # Errors
    /// What the rotation's parameters find wrong with the length.
    pub fn rotary(
        &self,
        rotary: &RotaryEmbedding,
        hidden: &Tensor<3>,
    ) -> Result<RotaryTables, ModelError> {
        let positions = match (&self.packing, &self.inputs.position_ids) {
            (None, None) => {
                let (past, seq) = (self.past.unwrap_or(0), self.inputs.input_ids.dims()[1]);
                Rows::row_of((past..past + seq).map(|position| position as u32).collect())
            }
            _ => self.place(&self.positions(PositionCount::Columns)),
        };
        Ok(rotary.tables(&positions, &self.device, hidden.dtype())?)
    }

    /// Who sees whom: every token of its row, or those less than `window` away; in a decoder none that come after it.
    pub fn mask(&self, window: Option<usize>) -> Mask {
        self.mask_without(window, 0)
    }

    /// The same in a layer whose cache no longer has the `dropped` oldest tokens.
    fn mask_without(&self, window: Option<usize>, dropped: usize) -> Mask {
        let tokens = || self.inputs.tokens(dropped);
        let mask = match (self.past, &self.packing) {
            (Some(past), _) => Mask::causal().after(past - dropped).with_padding(tokens()),
            (None, Some(packing)) => packing.mask(),
            (None, None) => Mask::bidirectional().with_padding(tokens()),
        };
        mask.with_window(window).with_means(self.means)
    }

    /// How attention is computed in this pass.
    pub fn attention_pass(&self) -> &AttentionPass {
        &self.attention
    }

    /// Attention of every token to those that [`Self::mask`] lets it see.
    pub fn attention(&self, window: Option<usize>) -> MaskedAttention<'_> {
        MaskedAttention::new(&self.attention, self.mask(window))
    }

    /// The same in a layer whose cache no longer has the `dropped` oldest tokens.
    pub fn attention_without(&self, window: Option<usize>, dropped: usize) -> MaskedAttention<'_> {
        MaskedAttention::new(&self.attention, self.mask_without(window, dropped))
    }

    /// States back in their columns, `[batch, seq, hidden]`.
    pub fn unpack(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.packing {
            Some(packing) => packing.unpack(hidden),
            None => hidden,
        }
    }

    /// Runs `hidden` through the layers and then through `last`.
    ///
    /// # Errors
    /// Weights of attention are wanted, and its implementation gives none.
    pub fn through<L>(
        &self,
        mut hidden: Tensor<3>,
        layers: impl IntoIterator<Item = L>,
        mut layer: impl FnMut(L, Tensor<3>, Kept<'_>) -> Tensor<3>,
        last: impl FnOnce(Tensor<3>) -> Tensor<3>,
    ) -> Result<States, ModelError> {
        let mut record = self.inputs.output_hidden_states.then(Vec::new);
        let mut layers = layers.into_iter().peekable();
        while let Some(next) = layers.next() {
            if let Some(record) = &mut record {
                record.push(self.unpack(hidden.clone()));
            }
            let firsts = self.firsts.as_ref().filter(|_| layers.peek().is_none());
            hidden = layer(next, hidden, Kept(firsts));
        }
        let hidden = match self.firsts {
            Some(_) => last(hidden),
            None => self.unpack(last(hidden)),
        };
        if let Some(record) = &mut record {
            record.push(hidden.clone());
        }
        Ok(States {
            last: hidden,
            all: record,
            attentions: self.attention.take_weights()?,
        })
    }

    /// The inputs as they came.
    pub fn inputs(&self) -> &ModelInputs {
        self.inputs
    }
}

/// How positions are counted where none are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PositionCount {
    /// Columns from 0 on, padding included (BERT).
    Columns,
    /// Tokens other than this one, from the number after it on; this one itself has its own number (RoBERTa).
    After(u32),
}

impl PositionCount {
    /// How many of a table's `rows` stand for tokens.
    pub fn longest(self, rows: usize) -> usize {
        match self {
            Self::Columns => rows,
            Self::After(padding) => rows.saturating_sub(padding as usize + 1),
        }
    }
}

fn count_after(ids: &[u32], padding: u32, past: u32) -> Vec<u32> {
    let mut position = padding + past;
    let mut next = |id: &u32| match *id == padding {
        true => padding,
        false => {
            position += 1;
            position
        }
    };
    ids.iter().map(&mut next).collect()
}

fn rows(weight: &Weight) -> usize {
    weight.dims()[0]
}

/// Tables of words, positions and segments, whose vectors are summed and normed.
#[derive(Module, Debug)]
pub struct TextEmbeddings {
    /// `[vocab, width]`.
    pub word_embeddings: Embedding,
    position_embeddings: Option<Embedding>,
    token_type_embeddings: Option<Embedding>,
    /// From the tables' width to another one, before the norm.
    embed_proj: Option<Linear>,
    LayerNorm: LayerNorm,
    #[module(skip)]
    count: PositionCount,
}

/// The sizes of [`TextEmbeddings`].
#[derive(Debug, Clone)]
pub struct TextEmbeddingsOptions {
    /// Rows of the table of words.
    pub vocab_size: usize,
    /// The token whose vector is zero in a fresh model.
    pub padding: Option<u32>,
    /// Features of a vector in the tables.
    pub width: usize,
    /// Features of the normed sum; where they are not as many, a projection is between.
    pub normed_width: usize,
    /// Rows of the table of positions; 0 without one.
    pub positions: usize,
    /// Rows of the table of segments; 0 without one.
    pub segments: usize,
    /// Added to the variance in the norm.
    pub norm_eps: f64,
    /// How positions are counted.
    pub count: PositionCount,
}

impl TextEmbeddings {
    /// Tables of the given sizes.
    pub fn new(options: &TextEmbeddingsOptions, init: &Init) -> Self {
        let table = |rows, padding| Embedding::padded(rows, options.width, padding, init);
        let optional = |rows, padding| (rows > 0).then(|| table(rows, padding));
        let no_position = match options.count {
            PositionCount::Columns => None,
            PositionCount::After(padding) => Some(padding),
        };
        Self {
            word_embeddings: table(options.vocab_size, options.padding),
            position_embeddings: optional(options.positions, no_position),
            token_type_embeddings: optional(options.segments, None),
            embed_proj: (options.width != options.normed_width)
                .then(|| Linear::new(options.width, options.normed_width, false, init)),
            LayerNorm: LayerNorm::new(options.normed_width, options.norm_eps, true, init),
            count: options.count,
        }
    }

    /// The vectors of `tokens`, where they are: `[batch, seq, normed_width]` or `[1, tokens, normed_width]`.
    ///
    /// # Errors
    /// Positions or segments that have no vector.
    pub fn forward(&self, tokens: &Tokens<'_>) -> Result<Tensor<3>, ModelError> {
        let vectors = self.word_embeddings.forward(tokens.ids());
        let mut sum = with_noise(tokens.inputs.embedding_noise, vectors);
        let look_up = |table: &Embedding, columns: &Rows<u32>| {
            table.forward(tokens.place(columns).to_tensor(&tokens.device))
        };
        if let Some(table) = &self.token_type_embeddings {
            let segments = tokens.inputs.token_type_ids.clone();
            let segments = segments.unwrap_or_else(|| tokens.inputs.zeros());
            check_segments(&segments, rows(&table.weight))?;
            sum = sum + look_up(table, &segments);
        }
        if let Some(table) = &self.position_embeddings {
            let positions = tokens.positions(self.count);
            self.check_positions(&positions, rows(&table.weight))?;
            sum = sum + look_up(table, &positions);
        }
        if let Some(projection) = &self.embed_proj {
            sum = projection.forward(sum);
        }
        Ok(self.LayerNorm.forward(sum))
    }

    /// The most tokens that have a position; `None` where positions are not embedded.
    pub fn context_length(&self) -> Option<usize> {
        let table = self.position_embeddings.as_ref()?;
        Some(self.count.longest(rows(&table.weight)))
    }

    fn check_positions(&self, positions: &Rows<u32>, rows: usize) -> Result<(), ModelError> {
        let last = positions.values().iter().max().map_or(0, |p| *p as usize);
        match last < rows {
            true => Ok(()),
            false => Err(ModelError::TooLong {
                len: self.count.longest(last + 1),
                max: self.count.longest(rows),
            }),
        }
    }
}

fn check_segments(segments: &Rows<u32>, rows: usize) -> Result<(), ModelError> {
    match segments.values().iter().find(|id| **id as usize >= rows) {
        None => Ok(()),
        Some(id) => Err(ModelError::IdBeyondVocabulary {
            id: i64::from(*id),
            vocab_size: rows,
        }),
    }
}

/// The first state of each row through a dense layer with tanh.
#[derive(Module, Debug)]
pub struct Pooler {
    dense: Linear,
}

impl Pooler {
    /// A layer of `hidden` features.
    pub fn new(hidden: usize, init: &Init) -> Self {
        Self {
            dense: Linear::new(hidden, hidden, true, init),
        }
    }

    /// `[batch, seq, hidden]` to `[batch, hidden]`.
    pub fn forward(&self, hidden: Tensor<3>) -> Tensor<2> {
        self.dense.forward(super::heads::first(hidden)).tanh()
    }
}

/// Self-attention with three projections and as many heads for keys as for queries: `[batch, seq, hidden]` to the same
/// shape, before the projection of the output. A decoder's layer has its place in a `cache`.
pub fn self_attention(
    x: Tensor<3>,
    projections: [&Linear; 3],
    heads: usize,
    attention: &MaskedAttention<'_>,
    cache: LayerCache<'_>,
    scores: &ops::AttentionOptions,
) -> Tensor<3> {
    let [batch, seq, _] = x.dims();
    let qkv = linears(x, projections).map(|x| {
        let head_dim = x.dims()[2] / heads;
        x.reshape([batch, seq, heads, head_dim]).swap_dims(1, 2)
    });
    attention.attend_after(qkv, cache, scores)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn positions_are_counted_over_tokens_that_are_not_padding() {
        assert_eq!(count_after(&[0, 7, 8, 2, 1, 1], 1, 0), [2, 3, 4, 5, 1, 1]);
        assert_eq!(count_after(&[1, 1, 0, 7], 1, 0), [1, 1, 2, 3]);
        assert_eq!(count_after(&[7, 1, 8], 1, 4), [6, 1, 7]);
        assert_eq!(PositionCount::After(1).longest(514), 512);
        assert_eq!(PositionCount::Columns.longest(512), 512);
    }
}
