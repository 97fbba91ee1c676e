//! `transformers train-tokenizer`: a vocabulary of one's own from text files.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use transformers_tokenization::{
    AddedToken, AutoTokenizer, Tokenizer, TokenizerClass, TrainOptions,
};

use crate::failure::{Failure, Result};
use crate::output::print;
use crate::source::SourceArguments;

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
    let mut lines = Lines::new(arguments.files.clone());
    let trained = blank.train_new_from_iterator(lines.by_ref(), &options);
    if let Some(failure) = lines.failure {
        return Err(failure.into());
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

type Reader = Box<dyn BufRead + Send>;

/// The lines of files, with their ends, until one cannot be read.
struct Lines {
    files: std::vec::IntoIter<PathBuf>,
    /// The name of what is being read.
    name: String,
    reader: Reader,
    failure: Option<String>,
}

impl Lines {
    /// Without files, those of stdin.
    fn new(files: Vec<PathBuf>) -> Self {
        let reader: Reader = match files.is_empty() {
            true => Box::new(BufReader::new(io::stdin())),
            false => Box::new(io::empty()),
        };
        Self {
            files: files.into_iter(),
            name: "stdin".to_owned(),
            reader,
            failure: None,
        }
    }

    fn read(&mut self) -> io::Result<Option<String>> {
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? > 0 {
                return Ok(Some(line));
            }
            let Some(path) = self.files.next() else {
                return Ok(None);
            };
            self.name = path.display().to_string();
            self.reader = Box::new(BufReader::new(File::open(path)?));
        }
    }
}

impl Iterator for Lines {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.failure.is_some() {
            return None;
        }
        self.read().unwrap_or_else(|error| {
            self.failure = Some(format!("reading {} failed: {error}", self.name));
            None
        })
    }
}
