//! Configurations with that of a text model inside, as data of the reference's configuration classes.

/// Where it is said whether the output layer shares the input embedding's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ties {
    /// The whole says so, or this holds.
    Whole(bool),
    /// One of the two says so.
    Either,
    /// The whole says so, or else the text model.
    WholeOrText,
    /// The text model says so, whatever the whole says.
    Text,
    /// Nowhere: they never do.
    Never,
}

/// What is known of a model type whose configuration holds that of a text model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wrapper {
    /// The text model's type, where its configuration states none.
    pub text: &'static str,
    pub ties: Ties,
}

#[rustfmt::skip]
const WRAPPERS: &[(&str, &str, Ties)] = &[
    ("audioflamingo3", "qwen2", Ties::Never),
    ("aya_vision", "cohere2", Ties::Whole(true)),
    ("blip-2", "opt", Ties::Text),
    ("cohere2_vision", "cohere2", Ties::Whole(true)),
    ("cosmos3_omni", "qwen3_vl_text", Ties::Whole(false)),
    ("deepseek_vl", "llama", Ties::Whole(true)),
    ("deepseek_vl_hybrid", "llama", Ties::Whole(true)),
    ("exaone4_5", "exaone4", Ties::Whole(false)),
    ("fast_vlm", "qwen2", Ties::Either),
    ("gemma3", "gemma3_text", Ties::Whole(true)),
    ("glmasr", "llama", Ties::Whole(true)),
    ("got_ocr2", "qwen2", Ties::Whole(true)),
    ("granite_speech", "granite", Ties::Whole(true)),
    ("granite_speech_plus", "granite", Ties::Whole(true)),
    ("idefics2", "mistral", Ties::Whole(false)),
    ("idefics3", "llama", Ties::Whole(false)),
    ("instructblip", "opt", Ties::Text),
    ("instructblipvideo", "opt", Ties::Text),
    ("internvl", "qwen2", Ties::Whole(true)),
    ("janus", "llama", Ties::Whole(true)),
    ("kimi_k25", "deepseek_v3", Ties::Whole(true)),
    ("lfm2_vl", "lfm2", Ties::Whole(true)),
    ("lighton_ocr", "qwen3", Ties::Whole(true)),
    ("llava", "llama", Ties::Either),
    ("llava_next", "llama", Ties::Whole(false)),
    ("llava_next_video", "llama", Ties::Either),
    ("llava_onevision", "qwen2", Ties::Either),
    ("minicpm_ocr", "qwen3_5_text", Ties::Whole(true)),
    ("minicpmv4_6", "qwen3_5_text", Ties::Whole(false)),
    ("minicpmv4_7", "qwen3_5_text", Ties::Whole(false)),
    ("mistral3", "mistral", Ties::Whole(true)),
    ("moss_transcribe_diarize", "qwen3", Ties::Whole(true)),
    ("musicflamingo", "qwen2", Ties::Never),
    ("ovis2", "qwen2", Ties::Whole(true)),
    ("paligemma", "gemma", Ties::Whole(true)),
    ("perception_lm", "llama", Ties::WholeOrText),
    ("pp_chart2table", "qwen2", Ties::Whole(true)),
    ("qianfan_ocr", "qwen3", Ties::Whole(false)),
    ("qwen2_5_vl", "qwen2_5_vl_text", Ties::Either),
    ("qwen2_audio", "qwen2", Ties::Never),
    ("qwen2_vl", "qwen2_vl_text", Ties::Either),
    ("qwen3_5", "qwen3_5_text", Ties::Whole(false)),
    ("qwen3_5_moe", "qwen3_5_moe_text", Ties::Whole(false)),
    ("qwen3_asr", "qwen3", Ties::Whole(true)),
    ("qwen3_vl", "qwen3_vl_text", Ties::Whole(false)),
    ("qwen3_vl_moe", "qwen3_vl_moe_text", Ties::Whole(false)),
    ("smolvlm", "llama", Ties::Whole(false)),
    ("vibevoice", "qwen2", Ties::Text),
    ("vibevoice_asr", "qwen2", Ties::Never),
    ("video_llama_3", "qwen2", Ties::Either),
    ("video_llava", "llama", Ties::Whole(false)),
    ("vipllava", "llama", Ties::Whole(false)),
    ("voxtral", "llama", Ties::Never),
];

/// What is known of `model_type`, if it is one of the reference's wrappers.
pub(crate) fn wrapper(model_type: &str) -> Option<Wrapper> {
    let found = WRAPPERS.iter().find(|(name, ..)| *name == model_type);
    found.map(|&(_, text, ties)| Wrapper { text, ties })
}
