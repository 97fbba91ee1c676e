//! The values of `optim`: those that work here, and why the reference's others do not.

/// The values of `optim` that work here.
pub const NAMES: &[&str] = &[
    "adamw_torch",
    "adamw_torch_fused",
    "paged_adamw_32bit",
    "adafactor",
    "sgd",
    "adagrad",
    "rmsprop",
    "lion_32bit",
    "paged_lion_32bit",
    "ademamix",
    "paged_ademamix_32bit",
    "schedule_free_adamw",
    "schedule_free_radam",
    "schedule_free_sgd",
    "muon",
];

const EIGHT_BITS: &str = "states are f32 here: take the optimizer's name without `8bit`";
const LOW_RANK: &str =
    "gradients are not projected to a lower rank here: take adapters (LoRA) with `adamw_torch`";
const FUSED_BACKWARD: &str =
    "gradients are gathered before weights change here: take `adafactor`, which keeps as little";
const ADAMW: &str = "it is AdamW for a device or a dtype that is not here: take `adamw_torch`";
const RMSPROP: &str = "it is RMSprop of a package for GPUs: take `rmsprop`";
const RARE: &str = "take `adamw_torch`, of which it is a variant";

/// The reference's other names.
const REFUSED: &[(&str, &str)] = &[
    ("adamw_torch_xla", ADAMW),
    ("adamw_torch_npu_fused", ADAMW),
    ("adamw_anyprecision", ADAMW),
    (
        "adamw_torch_4bit",
        "states are f32 here: take `adamw_torch`",
    ),
    ("adamw_torch_8bit", EIGHT_BITS),
    ("adamw_bnb_8bit", EIGHT_BITS),
    ("adamw_8bit", EIGHT_BITS),
    ("ademamix_8bit", EIGHT_BITS),
    ("lion_8bit", EIGHT_BITS),
    ("paged_adamw_8bit", EIGHT_BITS),
    ("paged_ademamix_8bit", EIGHT_BITS),
    ("paged_lion_8bit", EIGHT_BITS),
    ("rmsprop_bnb", RMSPROP),
    ("rmsprop_bnb_8bit", RMSPROP),
    ("rmsprop_bnb_32bit", RMSPROP),
    ("galore_adamw", LOW_RANK),
    ("galore_adamw_8bit", LOW_RANK),
    ("galore_adafactor", LOW_RANK),
    ("galore_adamw_layerwise", LOW_RANK),
    ("galore_adamw_8bit_layerwise", LOW_RANK),
    ("galore_adafactor_layerwise", LOW_RANK),
    ("apollo_adamw", LOW_RANK),
    ("apollo_adamw_layerwise", LOW_RANK),
    ("lomo", FUSED_BACKWARD),
    ("adalomo", FUSED_BACKWARD),
    ("grokadamw", RARE),
    ("stable_adamw", RARE),
];

/// Whether an optimizer has this name; or else why not.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if NAMES.contains(&name) {
        return Ok(());
    }
    let refused = REFUSED.iter().find(|(refused, _)| *refused == name);
    Err(match refused {
        Some((_, reason)) => format!("`{name}` is not supported: {reason}"),
        None => format!("`{name}` is not known; there are {}", NAMES.join(", ")),
    })
}
