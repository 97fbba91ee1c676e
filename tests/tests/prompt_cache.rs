//! What is kept of a prompt changes no token, and is refused where it does not belong.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use transformers_config::GenerationConfig;
use transformers_generation::{Generate, GenerateError, GenerateOptions, Prompt, PromptCache};
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForSeq2SeqLM, LoadOptions, PreTrainedModel, Precision, Rows,
};

fn model(name: &str) -> AutoModelForCausalLM {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let exact = LoadOptions {
        precision: Precision::Exact,
        ..LoadOptions::default()
    };
    AutoModelForCausalLM::from_pretrained_with(folder.join(name), &exact).unwrap()
}

const PREFIX: [u32; 12] = [20, 31, 44, 12, 57, 33, 26, 9, 14, 51, 40, 8];

fn generate(
    model: &dyn PreTrainedModel,
    ids: &[u32],
    cache: Option<&PromptCache>,
    config: &GenerationConfig,
) -> Vec<Vec<u32>> {
    let options = GenerateOptions {
        prompt_cache: cache,
        ..GenerateOptions::default()
    };
    model.generate_with(ids, config, options).unwrap().sequences
}

fn configs() -> Vec<GenerationConfig> {
    let base = GenerationConfig {
        max_new_tokens: Some(12),
        ..GenerationConfig::default()
    };
    vec![
        base.clone(),
        GenerationConfig {
            do_sample: Some(true),
            num_return_sequences: Some(3),
            ..base.clone()
        },
        GenerationConfig {
            num_beams: Some(3),
            ..base.clone()
        },
        GenerationConfig {
            prompt_lookup_num_tokens: Some(3),
            ..base
        },
    ]
}

#[test]
fn a_saved_prefix_changes_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prefix.safetensors");
    // sliding windows, a rotation that changes on the way, alibi
    for name in [
        "llama",
        "mistral",
        "gemma3_text",
        "llama_bf16",
        "phi3_longrope",
        "bloom",
    ] {
        let model = model(name);
        PromptCache::new(&*model, &PREFIX)
            .unwrap()
            .save(&path)
            .unwrap();
        let cache = PromptCache::load(&path, &*model).unwrap();
        assert_eq!(cache.ids(), PREFIX);
        let longer = [&PREFIX[..], &[3, 7]].concat();
        let other = [&PREFIX[..5], &[3, 7]].concat();
        for config in configs() {
            for ids in [&PREFIX[..], &longer, &other, &PREFIX[..4], &[5, 6]] {
                let fresh = generate(&*model, ids, None, &config);
                let kept = generate(&*model, ids, Some(&cache), &config);
                assert_eq!(fresh, kept, "{name} {ids:?}");
            }
        }
        // Growing it reads the rest alone, and gives the same.
        let grown = cache.extended(&*model, &longer).unwrap();
        let config = &configs()[0];
        assert_eq!(
            generate(&*model, &longer, Some(&grown), config),
            generate(&*model, &longer, None, config)
        );
    }
}

#[test]
fn a_conversation_goes_on() {
    let model = model("llama");
    let config = GenerationConfig {
        max_new_tokens: Some(6),
        return_dict_in_generate: Some(true),
        ..GenerationConfig::default()
    };
    let first = model.generate(&PREFIX[..], &config).unwrap();
    let cache = PromptCache::of_generated(&*model, &first).unwrap().unwrap();
    assert_eq!(cache.ids().len(), first.sequences[0].len() - 1);
    let next = [&first.sequences[0][..], &[9, 9]].concat();
    assert_eq!(
        generate(&*model, &next, Some(&cache), &config),
        generate(&*model, &next, None, &config)
    );
}

#[test]
fn what_does_not_belong_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prefix.safetensors");
    let llama = model("llama");
    let cache = PromptCache::new(&*llama, &PREFIX).unwrap();
    cache.save(&path).unwrap();
    for name in ["llama_no_gqa", "llama_rope_linear", "mistral", "gpt2"] {
        let other = model(name);
        let refused = PromptCache::load(&path, &*other);
        assert!(
            matches!(refused, Err(GenerateError::PromptCacheOfOtherModel)),
            "{name}"
        );
        let options = GenerateOptions {
            prompt_cache: Some(&cache),
            ..GenerateOptions::default()
        };
        let refused = other.generate_with(&PREFIX[..], &configs()[0], options);
        assert!(matches!(
            refused,
            Err(GenerateError::PromptCacheOfOtherModel)
        ));
    }
    let bytes = fs::read(&path).unwrap();
    let damaged = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let refused = PromptCache::load(&path, &*llama);
        assert!(
            matches!(refused, Err(GenerateError::PromptCacheDamaged { .. })),
            "{refused:?}"
        );
    };
    damaged(&[]);
    damaged(b"not a cache at all");
    for part in 1..8 {
        damaged(&bytes[..bytes.len() * part / 8]);
    }
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    damaged(&flipped);
    let missing = PromptCache::load(&folder.path().join("none"), &*llama);
    assert!(matches!(missing, Err(GenerateError::File { .. })));
    let missing = PromptCache::load_if_there(&folder.path().join("none"), &*llama);
    assert!(missing.unwrap().is_none());
    assert!(cache.save(&folder.path().join("no/folder")).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn only_one_prompt_of_a_decoder_is_kept() {
    let llama = model("llama");
    let cache = PromptCache::new(&*llama, &PREFIX).unwrap();
    let options = GenerateOptions {
        prompt_cache: Some(&cache),
        ..GenerateOptions::default()
    };
    let two = Prompt {
        input_ids: Rows::new(&[PREFIX.to_vec(), PREFIX.to_vec()]).unwrap(),
        attention_mask: None,
    };
    let refused = llama.generate_with(two, &configs()[0], options);
    assert!(matches!(
        refused,
        Err(GenerateError::PromptCacheNeedsOnePrompt)
    ));
    assert!(matches!(
        PromptCache::new(&*llama, &[]),
        Err(GenerateError::EmptyPrompt)
    ));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/t5");
    let encoder = AutoModelForSeq2SeqLM::from_pretrained(folder).unwrap();
    assert!(PromptCache::new(&*encoder, &PREFIX).is_err());
}
