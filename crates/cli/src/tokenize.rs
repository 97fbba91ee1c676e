//! `transformers tokenize`: the ids of texts, and the texts of ids.

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use transformers_tokenization::{
    AutoTokenizer, BatchEncoding, EncodeOptions, TokenizationError, Tokenizer,
};

use crate::failure::{Failure, Result};
use crate::output::print;
use crate::source::SourceArguments;

/// Show how a model reads texts: ids, tokens, and the characters that they stand for
#[derive(Debug, Args)]
#[command(after_help = "\
Each token becomes a line: its id, its spelling in the vocabulary, the characters of the text that it stands for (the
first, and the one after the last), and these characters. Texts are separated by an empty line. With --json each text
becomes a line: {\"text\": \"…\", \"ids\": […], \"tokens\": […], \"offsets\": [[0, 5], …]}

--verify reads tokenizer.json a second time, alone: without tokenizer_config.json and the other files beside it, which
may add tokens. Where both agree nothing is printed and the exit code is 0; otherwise it is 1. With a file, a GGUF or
SentencePiece model is held against the tokenizer.json of the original model.

Examples:
  transformers tokenize --model HuggingFaceTB/SmolLM2-135M-Instruct 'Hello, world!'
  transformers tokenize --model ./model.gguf --count --whole < chapter.txt
  transformers tokenize --model ./my-model --decode 9906 11 1917
  transformers tokenize --model ./model.gguf --verify original/tokenizer.json < texts.txt")]
pub struct Arguments {
    /// The texts, or ids with --decode; without any, each line of stdin is one
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,

    /// Take all of stdin as one text
    #[arg(long, conflicts_with_all = ["texts", "decode"])]
    whole: bool,

    /// Leave out the tokens that the model expects around a text
    #[arg(long)]
    no_special_tokens: bool,

    /// Print one line of JSON for each text
    #[arg(long, group = "form")]
    json: bool,

    /// Print only the ids of each text, in one line
    #[arg(long, group = "form")]
    ids: bool,

    /// Print only how many tokens each text has
    #[arg(long, group = "form")]
    count: bool,

    /// Print the text of the ids that are given instead
    #[arg(long, group = "form")]
    decode: bool,

    /// Compare with a tokenizer.json read alone, the model's own by default, and print what differs
    #[arg(long, group = "form", value_name = "FILE", num_args = 0..=1)]
    verify: Option<Option<PathBuf>>,

    /// A folder, a hub id (`org/name`, `org/name@revision`), a `.gguf` file, or `org/name:file.gguf`
    #[arg(short, long, value_name = "MODEL", help_heading = "Model")]
    model: String,

    #[command(flatten)]
    source: SourceArguments,
}

pub fn run(arguments: &Arguments) -> Result {
    let texts = texts(arguments)?;
    let files = arguments.source.files(&arguments.model)?;
    let tokenizer = AutoTokenizer::from_files(&files)?;
    if arguments.decode {
        return decode(&tokenizer, &texts, arguments);
    }
    if let Some(file) = &arguments.verify {
        let own = || files.require("tokenizer.json");
        let file = file.clone().map_or_else(own, Ok)?;
        return verify(
            &tokenizer,
            &AutoTokenizer::from_file(&file)?,
            &texts,
            arguments,
        );
    }
    for (index, text) in texts.iter().enumerate() {
        let batch = encode(&tokenizer, text, arguments)?;
        let ids = &batch.input_ids[0];
        if arguments.count {
            print(format_args!("{}\n", ids.len()))?;
        } else if arguments.ids {
            print(line(ids))?;
        } else if arguments.json {
            let (tokens, offsets) = (batch.tokens(0), batch.offset_mapping(0));
            let object = json!({"text": text, "ids": ids, "tokens": tokens, "offsets": offsets});
            print(format_args!("{object}\n"))?;
        } else {
            let gap = if index > 0 { "\n" } else { "" };
            print(format_args!("{gap}{}", table(text, &batch)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn texts(arguments: &Arguments) -> Result<Vec<String>> {
    if !arguments.texts.is_empty() {
        return Ok(arguments.texts.clone());
    }
    if io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "there is no text: give some as arguments, or pipe lines in".to_owned(),
        ));
    }
    if arguments.whole {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(vec![text]);
    }
    Ok(io::stdin().lines().collect::<io::Result<_>>()?)
}

fn encode(
    tokenizer: &Tokenizer,
    text: &str,
    arguments: &Arguments,
) -> std::result::Result<BatchEncoding, TokenizationError> {
    let options = EncodeOptions {
        add_special_tokens: !arguments.no_special_tokens,
        ..EncodeOptions::default()
    };
    tokenizer.encode_batch(&[text], &options)
}

fn line(ids: &[u32]) -> String {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    format!("{}\n", ids.join(" "))
}

/// A line for each token, in columns.
fn table(text: &str, batch: &BatchEncoding) -> String {
    let starts: Vec<usize> = text.char_indices().map(|(position, _)| position).collect();
    let byte = |char: usize| starts.get(char).copied().unwrap_or(text.len());
    let rows = batch.input_ids[0].iter().zip(batch.tokens(0));
    let rows: Vec<[String; 4]> = rows
        .zip(batch.offset_mapping(0))
        .map(|((id, token), &(start, end))| {
            let covered = &text[byte(start)..byte(end)];
            let places = if start == end {
                String::new()
            } else {
                format!("{start}..{end}")
            };
            let covered = if covered.is_empty() {
                String::new()
            } else {
                format!("{covered:?}")
            };
            [
                id.to_string(),
                token.escape_debug().to_string(),
                places,
                covered,
            ]
        })
        .collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let (ids, tokens, places) = (width(0), width(1), width(2));
    let row = |[id, token, place, covered]: &[String; 4]| {
        let line = format!("{id:>ids$}  {token:<tokens$}  {place:<places$}  {covered}");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(row).collect()
}

fn decode(tokenizer: &Tokenizer, words: &[String], arguments: &Arguments) -> Result {
    let id = |word: &str| {
        word.parse::<u32>()
            .map_err(|_| Failure::Usage(format!("`{word}` is not an id")))
    };
    let ids = |text: &String| {
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        words.map(id).collect::<Result<Vec<u32>>>()
    };
    let lists = words.iter().map(ids).collect::<Result<Vec<_>>>()?;
    let skip = arguments.no_special_tokens;
    // Arguments are one list together; each line of stdin is a list by itself.
    let texts = if arguments.texts.is_empty() {
        tokenizer.decode(&lists, skip)?
    } else {
        vec![tokenizer.decode(&lists.concat(), skip)?]
    };
    for text in texts {
        print(format_args!("{text}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the texts that the two read differently.
fn verify(
    tokenizer: &Tokenizer,
    alone: &Tokenizer,
    texts: &[String],
    arguments: &Arguments,
) -> Result {
    let mut differing = 0;
    for text in texts {
        let ours = encode(tokenizer, text, arguments)?;
        let theirs = encode(alone, text, arguments)?;
        let (ours, theirs) = (&ours.input_ids[0], &theirs.input_ids[0]);
        let texts = (tokenizer.decode(ours, false)?, alone.decode(theirs, false)?);
        if ours == theirs && texts.0 == texts.1 {
            continue;
        }
        differing += 1;
        print(format_args!("{text:?}\n  model  {}", line(ours)))?;
        print(format_args!("  alone  {}", line(theirs)))?;
        if texts.0 != texts.1 {
            print(format_args!(
                "  model  {:?}\n  alone  {:?}\n",
                texts.0, texts.1
            ))?;
        }
    }
    if differing == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let count = texts.len();
    Err(format!("{differing} of {count} texts are read differently").into())
}
