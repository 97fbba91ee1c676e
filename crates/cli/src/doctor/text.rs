//! Tokenizer, chat template and generation config.

use serde_json::Value;
use transformers_config::{AutoConfig, GenerationConfig};
use transformers_hub::ModelFiles;
use transformers_tokenization::{
    AutoTokenizer, ChatMessage, ChatTemplateOptions, TokenizationError, Tokenizer,
};

use super::Findings;

const SAMPLE: &str = "Hello, world! 12 3";

/// Looks at all that turns texts into ids and back.
pub fn check(files: &ModelFiles, config: Option<&AutoConfig>, findings: &mut Findings) {
    let tokenizer = match AutoTokenizer::from_files(files) {
        Ok(tokenizer) => tokenizer,
        Err(error @ TokenizationError::NoTokenizer { .. }) => {
            return findings.warning("tokenizer", error.to_string());
        }
        Err(error) => return findings.error("tokenizer", error.to_string()),
    };
    let vocab = config.and_then(|config| config.get("vocab_size")?.as_u64());
    check_tokenizer(&tokenizer, vocab, findings);
    let Some(config) = config else { return };
    let generation = GenerationConfig::from_files(files, config);
    let Some(generation) = findings.of("generation", generation) else {
        return;
    };
    let beyond = |id: &&u32| vocab.is_some_and(|vocab| u64::from(**id) >= vocab);
    for id in generation.eos_token_ids().iter().filter(beyond) {
        findings.error(
            "generation",
            format!("eos_token_id {id} is beyond the vocabulary of {vocab:?}"),
        );
    }
    check_names(&tokenizer, config, findings);
    check_template(&tokenizer, &generation, findings);
}

fn check_tokenizer(tokenizer: &Tokenizer, vocab: Option<u64>, findings: &mut Findings) {
    let beyond = |id: &u32| vocab.is_some_and(|vocab| u64::from(*id) >= vocab);
    let mut outside: Vec<(u32, String)> = tokenizer
        .get_vocab()
        .into_iter()
        .filter(|(_, id)| beyond(id))
        .map(|(token, id)| (id, token))
        .collect();
    outside.sort();
    if let (Some((id, token)), Some(vocab)) = (outside.first(), vocab) {
        findings.error(
            "tokenizer",
            format!(
                "{} tokens have no row in the model's embedding of {vocab}: the first is `{token}` ({id}); the \
                 tokenizer is of another model, or the embedding was not resized",
                outside.len()
            ),
        );
    }
    let round_trip = || {
        let ids = tokenizer.encode(SAMPLE, false)?;
        let unknown = ids.iter().any(|id| Some(*id) == tokenizer.unk_token_id());
        Ok::<_, TokenizationError>((tokenizer.decode(&ids, false)?, unknown))
    };
    match round_trip() {
        Ok((text, _)) if text.trim() == SAMPLE => {
            findings.ok("tokenizer", format!("{} tokens", tokenizer.vocab_size()));
        }
        Ok((text, false)) => {
            findings.note("tokenizer", format!("{SAMPLE:?} comes back as {text:?}"))
        }
        Ok((text, true)) => findings.warning(
            "tokenizer",
            format!("{SAMPLE:?} has unknown tokens, and comes back as {text:?}"),
        ),
        Err(error) => findings.error("tokenizer", error.to_string()),
    }
    if tokenizer.pad_token_id().is_none() {
        findings.note(
            "tokenizer",
            "there is no padding token: a batch of texts of different lengths needs one",
        );
    }
}

/// The same tokens by name, in both files.
fn check_names(tokenizer: &Tokenizer, config: &AutoConfig, findings: &mut Findings) {
    for name in ["bos_token", "eos_token", "pad_token"] {
        let key = format!("{name}_id");
        let (Some(id), Some(stated)) = (tokenizer.special_token_id(name), config.get(&key)) else {
            continue;
        };
        let same = match stated {
            Value::Array(ids) => ids.contains(&id.into()),
            Value::Null => true,
            stated => stated.as_u64() == Some(id.into()),
        };
        if !same {
            findings.warning(
                "tokenizer",
                format!("{name} is {id} in the tokenizer, and `{key}` is {stated} in config.json"),
            );
        }
    }
}

fn check_template(tokenizer: &Tokenizer, generation: &GenerationConfig, findings: &mut Findings) {
    if !tokenizer.has_chat_template() {
        return findings.note(
            "template",
            "there is none: the model continues texts and answers no messages",
        );
    }
    let prompt = ChatTemplateOptions {
        add_generation_prompt: true,
        ..ChatTemplateOptions::default()
    };
    let render = |messages: &[ChatMessage], options: &ChatTemplateOptions| {
        tokenizer.render_chat_template(messages, options)
    };
    let user = [ChatMessage::user("Hi")];
    let plain = render(&user, &ChatTemplateOptions::default());
    let (Some(plain), Some(prompted)) = (
        findings.of("template", plain),
        findings.of("template", render(&user, &prompt)),
    ) else {
        return;
    };
    findings.ok("template", "a message can be written");
    if plain == prompted {
        findings.note(
            "template",
            "it has no generation prompt: nothing marks where the answer begins",
        );
    }
    if render(
        &[ChatMessage::system("Be brief."), user[0].clone()],
        &prompt,
    )
    .is_err()
    {
        findings.note("template", "it takes no system message");
    }
    let turn = [user[0].clone(), ChatMessage::assistant("Yes.")];
    match render(&turn, &ChatTemplateOptions::default()) {
        Ok(text) => check_end(tokenizer, generation, &text, findings),
        Err(error) => findings.warning("template", format!("it does not take an answer: {error}")),
    }
}

/// Whether what ends an answer in the template ends a generation.
fn check_end(
    tokenizer: &Tokenizer,
    generation: &GenerationConfig,
    text: &str,
    findings: &mut Findings,
) {
    let ids = tokenizer.encode(text.trim_end(), false).unwrap_or_default();
    let ends = generation.eos_token_ids();
    if let Some(last) = ids.last().filter(|id| tokenizer.is_special_id(**id))
        && !ends.contains(last)
    {
        let token = tokenizer.id_to_token(*last).unwrap_or_default();
        findings.warning(
            "template",
            format!(
                "it ends an answer with `{token}` ({last}), which is not among the eos_token_id {ends:?} of the \
                 generation config: answers will not stop there"
            ),
        );
    }
}
