//! Attention whose gradient is followed.

use burn::backend::flex::FlexTensor;
use burn::tensor::{Shape, Tensor};
use transformers_kernels as kernels;

use super::{AttentionOptions, on_cpu, seen};
use crate::Mask;
use crate::gradient::{Derivative, Operand, is_followed, record, takes};
use crate::host::{flex, floats, heads, tensor};

/// Whether kernels take these operands and know the mask; sinks and biases are no parameters then.
pub(super) fn knows(operands: [&Tensor<4>; 3], mask: &Mask, options: &AttentionOptions) -> bool {
    let AttentionOptions { sinks, bias, .. } = options;
    let fixed = sinks.as_ref().is_none_or(|x| takes(x) && !is_followed(x))
        && bias.as_ref().is_none_or(|x| takes(x) && !is_followed(x));
    fixed && operands.into_iter().all(takes) && !mask.needs_matrix()
}

pub(super) fn followed(
    q: Tensor<4>,
    [k, v]: [Tensor<4>; 2],
    mask: &Mask,
    options: &AttentionOptions,
) -> Tensor<3> {
    let options = AttentionOptions {
        sinks: options.sinks.clone().map(Tensor::without_autodiff),
        bias: options.bias.clone().map(Tensor::without_autodiff),
        ..options.clone()
    };
    let plain = [&q, &k, &v].map(|x| x.clone().without_autodiff());
    let y = {
        let [q, k, v] = plain;
        let (kv_len, padding) = (k.dims()[2], mask.scattered_padding());
        let seen = seen(mask, padding.as_deref(), kv_len, &options);
        on_cpu(q, [k, v], kernels::KeyRows::Dense(kv_len), seen, &options)
    };
    let [q, k, v] = [q, k, v].map(Operand::new);
    let derivative = Attended {
        operands: [&q, &k, &v].map(Operand::value),
        mask: mask.clone(),
        options,
    };
    record([&q, &k, &v].map(Operand::node), flex(y), derivative)
}

#[derive(Debug, Clone)]
struct Attended {
    operands: [FlexTensor; 3],
    mask: Mask,
    options: AttentionOptions,
}

impl Derivative<3> for Attended {
    fn gradients(self, grad: FlexTensor, _: [bool; 3]) -> [Option<FlexTensor>; 3] {
        let shapes = self.operands.each_ref().map(|x| x.layout().shape().clone());
        let [q, k, v] = self.operands.map(heads);
        let [batch, heads_of_q, q_len, head_dim] = dims(&shapes[0]);
        let [_, kv_heads, kv_len, value_dim] = dims(&shapes[2]);
        let shape = kernels::AttentionShape {
            batch,
            heads: heads_of_q,
            kv_heads,
            q_len,
            head_dim,
            value_dim,
        };
        let sinks = self.options.sinks.clone().map(flex);
        let sinks = sinks.as_ref().map(floats);
        let bias = self.options.bias.clone().map(|bias| {
            let [b, h, q, keys] = bias.dims();
            let shape = [b.max(batch), h.max(heads_of_q), q.max(q_len), keys];
            heads(flex(bias.expand(shape)))
        });
        let padding = self.mask.scattered_padding();
        let seen = seen(&self.mask, padding.as_deref(), kv_len, &self.options);
        let grad = floats(&grad);
        let found = kernels::attention_gradient(
            shape,
            q.view(),
            kernels::Keys {
                keys: k.view(),
                values: v.view(),
                rows: kernels::KeyRows::Dense(kv_len),
            },
            kernels::AttentionOptions {
                softcap: self.options.softcap.map(|cap| cap as f32),
                sinks: sinks.as_deref(),
                bias: bias.as_ref().map(|bias| bias.view()).or(seen.bias),
                ..seen
            },
            kernels::HeadView::by_position(&grad, heads_of_q, q_len, value_dim),
        );
        let mut shapes = shapes.iter().map(dims);
        [found.queries, found.keys, found.values].map(|x| {
            let [batch, heads, len, dim] = shapes.next().expect("one for each");
            let by_position: Tensor<4> = tensor(x, [batch, len, heads, dim]);
            Some(flex(by_position.swap_dims(1, 2)))
        })
    }
}

fn dims(shape: &Shape) -> [usize; 4] {
    [0, 1, 2, 3].map(|i| shape[i])
}
