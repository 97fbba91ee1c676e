//! Structured output: text that follows a JSON Schema, a regular expression, a list of choices or a Lark grammar, by
//! `llguidance`.
//!
//! A [`GrammarCompiler`] is made once for a tokenizer; a [`Constraint`] is one grammar, ready to be a processor of any
//! number of generations:
//!
//! ```no_run
//! use transformers_config::GenerationConfig;
//! use transformers_generation::{Generate, GenerateOptions, Grammar, GrammarCompiler};
//! use transformers_modeling::AutoModelForCausalLM;
//! use transformers_tokenization::AutoTokenizer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = AutoModelForCausalLM::from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")?;
//! let tokenizer = AutoTokenizer::from_pretrained("HuggingFaceTB/SmolLM2-135M-Instruct")?;
//! let grammars = GrammarCompiler::new(&tokenizer, model.info().generation_config.eos_token_ids())?;
//! let constraint = grammars.compile(&Grammar::Regex(r"(yes|no)\.".into()))?;
//! let options = GenerateOptions {
//!     processors: vec![Box::new(constraint)],
//!     ..GenerateOptions::default()
//! };
//! let prompt = tokenizer.encode("Is water wet?", true)?;
//! model.generate_with(prompt, &GenerationConfig::default(), options)?;
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is ever generated without its constraint: a grammar that is wrong, or costs too much, is an error, and a row
//! that leaves its grammar ends in [`GenerateError::NothingAllowed`].

use std::fmt;
use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Map, Value};
use transformers_tokenization::Tokenizer;

use crate::GenerateError;
use crate::processors::{LogitsProcessor, Step};

/// What a text must follow.
#[derive(Debug, Clone, PartialEq)]
pub enum Grammar {
    /// A JSON Schema; the text is a JSON value of it.
    JsonSchema(Value),
    /// A regular expression for the whole text.
    Regex(String),
    /// One of these texts.
    Choices(Vec<String>),
    /// A grammar in llguidance's dialect of Lark, which is close to EBNF.
    Lark(String),
}

impl Grammar {
    /// A schema as a part of a [`Lark`](Self::Lark) grammar: a JSON value of it, with bounded space between its parts.
    /// `lenient`: keywords that cannot be followed are left out instead of refused.
    pub fn json_in_lark(schema: &Value, lenient: bool) -> String {
        let mut schema = match schema {
            Value::Object(fields) => fields.clone(),
            // "Anything" and "nothing".
            other => Map::from_iter([("allOf".to_owned(), serde_json::json!([other]))]),
        };
        let options = serde_json::json!({ "whitespace_pattern": SPACE, "lenient": lenient });
        schema.insert("x-guidance".to_owned(), options);
        format!("%json {}", Value::Object(schema))
    }
}

/// The longest grammar, in bytes of its text. This and the limits below keep the worst grammars that are known below a
/// tenth of a second (`benches/benches/grammars.rs`).
const MAX_LEN: usize = 1 << 15;
/// The deepest nesting of brackets in a grammar: parsers of grammars are recursive.
const MAX_DEPTH: usize = 64;
/// What grammars are compiled on: rules may lead to one another as often as the longest grammar has room for.
const STACK: usize = 256 << 20;
/// Work on the lexer of a grammar; 50,000 are some milliseconds.
const MAX_FUEL: u64 = 30_000;
/// The same at every step.
const MAX_STEP_FUEL: u64 = 50_000;
/// Items of the parser that one step makes.
const MAX_STEP_ITEMS: usize = 20_000;
/// Symbols in all productions.
const MAX_SYMBOLS: usize = 100_000;
/// The least number that is a multiple of every `multipleOf`: a lexer has a state for each remainder.
const MAX_MULTIPLE: u64 = 10_000;

/// Compiles grammars for one tokenizer.
#[derive(Clone)]
pub struct GrammarCompiler(Arc<ParserFactory>);

impl fmt::Debug for GrammarCompiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrammarCompiler").finish_non_exhaustive()
    }
}

impl GrammarCompiler {
    /// `eos`: the tokens that end a text.
    ///
    /// # Errors
    /// No token that ends a text, or a vocabulary that cannot be indexed.
    pub fn new(tokenizer: &Tokenizer, eos: &[u32]) -> Result<Self, GenerateError> {
        let Some(&first) = eos.first() else {
            return Err(GenerateError::GrammarNeedsEos);
        };
        let bytes = tokenizer.token_bytes();
        let len = bytes.len().max(first as usize + 1);
        let mut words: Vec<Vec<u8>> = bytes.into_iter().map(Option::unwrap_or_default).collect();
        words.resize(len, Vec::new());
        for (id, word) in words.iter_mut().enumerate() {
            if tokenizer.is_special_id(id as u32) || eos.contains(&(id as u32)) {
                let name = tokenizer.id_to_token(id as u32).unwrap_or_default();
                *word = [&[TokTrie::SPECIAL_TOKEN_MARKER], name.as_bytes()].concat();
            }
        }
        let trie = TokTrie::from(&TokRxInfo::new(len as u32, first), &words);
        let trie = trie.with_eos_tokens(eos);
        let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&environment).map_err(refused)?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.initial_lexer_fuel = MAX_FUEL;
        limits.step_lexer_fuel = MAX_STEP_FUEL;
        limits.step_max_items = MAX_STEP_ITEMS;
        limits.max_grammar_size = MAX_SYMBOLS;
        limits.verbose_errors = false;
        // Takes seconds for a hostile expression.
        limits.precompute_large_lexemes = false;
        Ok(Self(Arc::new(factory)))
    }

    /// Makes a constraint of `grammar`.
    ///
    /// # Errors
    /// A grammar that is not one, that nests too deeply, or that costs too much.
    pub fn compile(&self, grammar: &Grammar) -> Result<Constraint, GenerateError> {
        let compiled = match grammar {
            Grammar::JsonSchema(schema) => {
                let text = schema.to_string();
                check(&text)?;
                check_multiples(&text)?;
                TopLevelGrammar::from_json_schema(with_bounded_space(schema.clone()))
            }
            Grammar::Regex(regex) => {
                check(regex)?;
                TopLevelGrammar::from_regex(regex)
            }
            Grammar::Choices(choices) if choices.is_empty() => {
                return Err(GenerateError::Grammar("no choices are given".to_owned()));
            }
            Grammar::Choices(choices) => {
                let lengths = choices.iter().map(String::len).sum();
                check_len(lengths)?;
                let choices: Vec<String> = choices.iter().map(|text| escaped(text)).collect();
                TopLevelGrammar::from_regex(&choices.join("|"))
            }
            Grammar::Lark(grammar) => {
                check(grammar)?;
                check_multiples(grammar)?;
                TopLevelGrammar::from_lark(grammar.clone())
            }
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let thread = thread.spawn_scoped(scope, || self.matcher(compiled));
            let matcher = thread.map_err(refused)?.join();
            let broken = |_| Err(refused("the library that compiles it failed"));
            Ok(Constraint {
                matcher: Arc::new(matcher.unwrap_or_else(broken)?),
                consumed: 0,
            })
        })
    }

    fn matcher(&self, grammar: TopLevelGrammar) -> Result<Matcher, GenerateError> {
        let mut matcher = Matcher::new(self.0.create_parser(grammar));
        if let Some(error) = matcher.get_error() {
            return Err(refused(error));
        }
        // What a grammar does at its first token it does here, before anything is computed.
        matcher.compute_mask().map_err(refused)?;
        Ok(matcher)
    }
}

/// A processor that leaves only tokens after which a text can still follow its grammar; where it is complete and nothing
/// can follow, only those that end it.
#[derive(Clone)]
pub struct Constraint {
    /// Copied when a copy of the row goes another way, and not before: most beams never do.
    matcher: Arc<Matcher>,
    /// How many new tokens the matcher has seen.
    consumed: usize,
}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constraint")
            .field("consumed", &self.consumed)
            .finish_non_exhaustive()
    }
}

impl LogitsProcessor for Constraint {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        let new = &step.new_ids()[self.consumed..];
        self.consumed += new.len();
        let matcher = Arc::make_mut(&mut self.matcher);
        let consumed = matcher.consume_tokens(new);
        match consumed.and_then(|()| matcher.compute_mask_or_eos()) {
            Ok(mask) => keep(mask.as_slice(), scores),
            Err(_) => scores.fill(f32::NEG_INFINITY),
        }
    }
}

/// Removes the scores whose bit of `mask` is 0; those beyond it go too.
fn keep(mask: &[u32], scores: &mut [f32]) {
    let words = mask.iter().copied().chain(std::iter::repeat(0));
    for (scores, word) in scores.chunks_mut(32).zip(words) {
        match word {
            0 => scores.fill(f32::NEG_INFINITY),
            u32::MAX => {}
            word => {
                for (bit, score) in scores.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *score = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}

/// Space between the parts of JSON: one, or a line break and indentation. Without a bound, a model may write it for ever.
const SPACE: &str = r"\x20|\x0A[\x20]{0,32}|\x0A[\x09]{0,16}";

/// A schema may bring llguidance's settings (`x-guidance`); they stay.
fn with_bounded_space(mut schema: Value) -> Value {
    if let Value::Object(schema) = &mut schema {
        let bounded = || serde_json::json!({ "whitespace_pattern": SPACE });
        schema.entry("x-guidance").or_insert_with(bounded);
    }
    schema
}

/// The library's message in one line, without the drawing that points at the place.
fn refused(error: impl fmt::Display) -> GenerateError {
    let message = error.to_string();
    let lines = message.lines().map(str::trim);
    let words: Vec<&str> = lines.filter(|line| !line.ends_with('^')).collect();
    GenerateError::Grammar(words.join(" "))
}

fn check_len(len: usize) -> Result<(), GenerateError> {
    match len > MAX_LEN {
        true => Err(GenerateError::Grammar(format!(
            "it has {len} bytes, and {MAX_LEN} are the most"
        ))),
        false => Ok(()),
    }
}

fn check(grammar: &str) -> Result<(), GenerateError> {
    check_len(grammar.len())?;
    let mut depth = 0usize;
    for character in grammar.chars() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            let message = format!("its brackets nest more than {MAX_DEPTH} deep");
            return Err(GenerateError::Grammar(message));
        }
    }
    Ok(())
}

/// Looks for `multipleOf` in the text of a schema, or of a grammar that holds one.
fn check_multiples(text: &str) -> Result<(), GenerateError> {
    let mut common = 1u64;
    for (_, value) in text
        .match_indices("multipleOf")
        .map(|(at, key)| text.split_at(at + key.len()))
    {
        let value = value.trim_start_matches(|c: char| c == '"' || c == ':' || c.is_whitespace());
        let digits = value
            .chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.');
        let digits: String = digits.filter(char::is_ascii_digit).collect();
        // 0.05 has as many remainders as 5, and 500 as 5.
        let digits = digits.trim_matches('0');
        let number = digits
            .parse()
            .unwrap_or(if digits.is_empty() { 1 } else { u64::MAX });
        common = (common / divisor(common, number)).saturating_mul(number);
    }
    match common > MAX_MULTIPLE {
        true => Err(GenerateError::Grammar(format!(
            "the least common multiple of its `multipleOf` is {common}, and {MAX_MULTIPLE} is the most"
        ))),
        false => Ok(()),
    }
}

/// The greatest common divisor.
fn divisor(a: u64, b: u64) -> u64 {
    match b {
        0 => a.max(1),
        b => divisor(b, a % b),
    }
}

/// A text as a regular expression for it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_punctuation() {
            out.push('\\');
        }
        out.push(character);
    }
    out
}
