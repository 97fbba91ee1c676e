//! `transformers train-tokenizer`: a vocabulary of one's own from text files.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use clap::{Args, ValueEnum};
use transformers_tokenization::{
    AddedToken, AutoTokenizer, Tokenizer, TokenizerClass, TrainOptions,
};

use crate::failure::{Failure, Result};
use crate::source::SourceArguments;
use crate::output::print;

/// Train a tokenizer on text files
#[derive(Debug, Args)]
#[command(after_help = "\
What is trained is a vocabulary; how texts are split and what is put around them comes from one of these:
  --class      a class of the reference, such as LlamaTokenizer, GPT2Tokenizer, BertTokenizer, T5Tokenizer
  --like       the tokenizer of a model, with its special tokens
  --algorithm  bpe (the class GPT2Tokenizer), unigram (XLMRobertaTokenizer), wordpiece (BertTokenizer), or wordlevel

The folder gets tokenizer.json and tokenizer_config.json. Python reads them with AutoTokenizer.from_pretrained.

Examples:
  transformers train-tokenizer --algorithm bpe --vocab-size 32000 --output my-tokenizer corpus/*.txt
  transformers train-tokenizer --class LlamaTokenizer --vocab-size 8000 --special-token pad_token='<pad>' \\
      --extra-special-token '<tool>' --output my-tokenizer corpus.txt
  transformers train-tokenizer --like Qwen/Qwen3-0.6B --vocab-size 50000 --output my-tokenizer < corpus.txt")]
pub struct Arguments {
    /// Text files in UTF-8; without any, stdin is read
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The folder to write, made if need be
    #[arg(short, long, value_name = "FOLDER")]
    output: PathBuf,

    /// How many tokens there should be, special ones included
    #[arg(long, value_name = "N")]
    vocab_size: usize,

    /// The class to build
    #[arg(long, value_name = "NAME", group = "what", required_unless_present_any = ["like", "algorithm"])]
    class: Option<String>,

    /// The model whose tokenizer is trained anew: a folder, a hub id or a `.gguf` file
    #[arg(long, value_name = "MODEL", group = "what")]
    like: Option<String>,

    /// How tokens are found
    #[arg(long, value_name = "NAME", group = "what")]
    algorithm: Option<Algorithm>,

    /// A special token with a name, such as pad_token='<pad>'; may be repeated
    #[arg(long, value_name = "NAME=TOKEN", value_parser = named)]
    special_token: Vec<(String, String)>,

    /// A special token without a name; may be repeated
    #[arg(long, value_name = "TOKEN")]
    extra_special_token: Vec<String>,

    /// Leave pairs, or words, that are rarer than this
    #[arg(long, value_name = "N")]
    min_frequency: Option<u64>,

    /// Take no more different characters than this (BPE and WordPiece)
    #[arg(long, value_name = "N")]
    limit_alphabet: Option<usize>,

    /// Make no token longer than this many characters (BPE and Unigram)
    #[arg(long, value_name = "N")]
    max_token_length: Option<usize>,

    #[command(flatten)]
    source: SourceArguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Algorithm {
    Bpe,
    Unigram,
    Wordpiece,
    Wordlevel,
}

/// No class of the reference is one of whole words.
const WORDLEVEL: &str = r#"{"version": "1.0", "added_tokens": [
    {"id": 0, "content": "[UNK]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
    "pre_tokenizer": {"type": "Whitespace"}, "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}}"#;

fn named(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, token)) if name.ends_with("_token") && !token.is_empty() => {
            Ok((name.to_owned(), token.to_owned()))
        }
        _ => Err("write a name that ends in _token, `=`, and the token".to_owned()),
    }
}

pub fn run(arguments: &Arguments) -> Result {
    if arguments.files.is_empty() && io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "there is no text: name files, or pipe some in".to_owned(),
        ));
    }
    let mut blank = blank(arguments)?;
    for (name, token) in &arguments.special_token {
        let token = AddedToken::from(token.as_str(), true).normalized(false);
        blank.add_special_token(name, token)?;
    }
    let extra = arguments.extra_special_token.iter();
    let options = TrainOptions {
        new_special_tokens: extra
            .map(|token| AddedToken::from(token.as_str(), true).normalized(false))
            .collect(),
        min_frequency: arguments.min_frequency,
        limit_alphabet: arguments.limit_alphabet,
        max_token_length: arguments.max_token_length,
        ..TrainOptions::new(arguments.vocab_size)
    };
    let failed = Mutex::new(None);
    let trained = blank.train_new_from_iterator(lines(&arguments.files, &failed), &options);
    if let Some(failure) = failed
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
    {
        return Err(failure);
    }
    let trained = trained?;
    trained.save_pretrained(&arguments.output)?;
    let (size, folder) = (trained.vocab_size(), arguments.output.display());
    print(format_args!("{size} tokens in {folder}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// What is trained.
fn blank(arguments: &Arguments) -> Result<Tokenizer> {
    if let Some(model) = &arguments.like {
        return Ok(AutoTokenizer::from_pretrained_with(
            model,
            &arguments.source.hub(),
        )?);
    }
    let class = match (&arguments.class, arguments.algorithm) {
        (Some(class), _) => class,
        (None, Some(Algorithm::Wordlevel)) => {
            return Ok(AutoTokenizer::from_bytes(WORDLEVEL.as_bytes())?);
        }
        (None, Some(Algorithm::Unigram)) => "XLMRobertaTokenizer",
        (None, Some(Algorithm::Wordpiece)) => "BertTokenizer",
        (None, Some(Algorithm::Bpe) | None) => "GPT2Tokenizer",
    };
    let class = TokenizerClass::named(class).ok_or_else(|| {
        let known: Vec<&str> = TokenizerClass::names().collect();
        Failure::Usage(format!(
            "`{class}` is not a class that can be trained; these are: {}",
            known.join(", ")
        ))
    })?;
    Ok(class.blank()?)
}

/// The lines of the files, with their ends, until one cannot be read.
fn lines<'a>(
    files: &'a [PathBuf],
    failed: &'a Mutex<Option<Failure>>,
) -> impl Iterator<Item = String> + Send + 'a {
    let stdin = files.is_empty().then(|| {
        Ok((
            "stdin".to_owned(),
            Box::new(BufReader::new(io::stdin())) as Reader,
        ))
    });
    let opened = files.iter().map(|path| {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| format!("reading {name} failed: {error}"))?;
        Ok((name, Box::new(BufReader::new(file)) as Reader))
    });
    let lines = stdin.into_iter().chain(opened).flat_map(|source| {
        let (mut lines, failure) = match source {
            Ok((name, reader)) => (Some((name, reader)), None),
            Err(failure) => (None, Some(Err(failure))),
        };
        let lines = std::iter::from_fn(move || {
            let (name, reader) = lines.as_mut()?;
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) => None,
                Ok(_) => Some(Ok(line)),
                Err(error) => Some(Err(format!("reading {name} failed: {error}"))),
            }
        });
        failure.into_iter().chain(lines)
    });
    lines.map_while(|line| {
        line.map_err(|reason: String| {
            if let Ok(mut failed) = failed.lock() {
                *failed = Some(Failure::from(reason));
            }
        })
        .ok()
    })
}

type Reader = Box<dyn BufRead + Send>;
