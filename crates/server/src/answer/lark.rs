//! Grammars of answers, in llguidance's dialect of Lark.

use std::fmt::Write as _;

use serde_json::Value;
use transformers_generation::Grammar;
use transformers_tokenization::{AnswerForm, Tokenizer};

/// The most calls of one answer.
const MAX_CALLS: usize = 16;

/// Collects the rules of one grammar.
pub struct Lark<'a> {
    form: &'a AnswerForm,
    /// Special tokens, which no text matches: their names and ids.
    special: Vec<(String, u32)>,
    rules: String,
}

/// A function that the model may call.
#[derive(Debug, Clone)]
pub struct Function {
    pub name: String,
    /// The schema of its arguments.
    pub parameters: Value,
    /// Whether every keyword of the schema must be followed.
    pub strict: bool,
}

/// What may come before the answer proper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reasoning {
    /// Nothing.
    No,
    /// Reasoning, if the model likes.
    Maybe,
    /// The rest of the reasoning that the prompt opened.
    Opened,
}

/// A part of a fixed text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Special(u32),
}

impl Part {
    fn lark(&self) -> String {
        match self {
            // Lark's strings are JSON's.
            Self::Text(text) => Value::from(text.as_str()).to_string(),
            Self::Special(id) => format!("<[{id}]>"),
        }
    }
}

impl<'a> Lark<'a> {
    pub fn new(form: &'a AnswerForm, tokenizer: &Tokenizer) -> Self {
        let added = tokenizer.added_tokens_decoder().into_iter();
        let special = added.filter(|(id, _)| tokenizer.is_special_id(*id));
        Self {
            form,
            special: special.map(|(id, token)| (token.content, id)).collect(),
            rules: "TEXT: /(.|\\n)+/\nSPACE: /[ \\n]{1,4}/\n".to_owned(),
        }
    }

    fn parts(&self, text: &str) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let found = self.special.iter().filter_map(|(name, id)| {
                let at = rest.find(name.as_str()).filter(|_| !name.is_empty())?;
                Some((at, std::cmp::Reverse(name.len()), *id))
            });
            let Some((at, std::cmp::Reverse(len), id)) = found.min() else {
                parts.push(Part::Text(rest.to_owned()));
                break;
            };
            if at > 0 {
                parts.push(Part::Text(rest[..at].to_owned()));
            }
            parts.push(Part::Special(id));
            rest = &rest[at + len..];
        }
        parts
    }

    /// A fixed text.
    fn literal(&self, text: &str) -> String {
        let parts: Vec<String> = self.parts(text).iter().map(Part::lark).collect();
        parts.join(" ")
    }

    fn rule(&mut self, name: &str, body: &str) {
        let _ = writeln!(self.rules, "{name}: {body}");
    }

    /// A rule `name`: any text up to the first `end`, which is part of it.
    fn text_until(&mut self, name: &str, end: &str) {
        let parts = self.parts(end);
        let Some((first, rest)) = parts.split_first() else {
            return self.rule(name, "TEXT?");
        };
        let rest: Vec<String> = rest.iter().map(Part::lark).collect();
        match first {
            Part::Special(_) => {
                let body = format!("TEXT? {} {}", first.lark(), rest.join(" "));
                self.rule(name, &body);
            }
            Part::Text(_) => {
                let lazy = format!("{name}_text");
                let body = format!("/(.|\\n)*/ {}", first.lark());
                self.rule(&format!("{lazy}[lazy]"), &body);
                self.rule(name, &format!("{lazy} {}", rest.join(" ")));
            }
        }
    }

    /// What comes before the answer proper.
    fn head(&mut self, reasoning: Reasoning) -> String {
        let Some((open, close)) = &self.form.reasoning else {
            return "SPACE?".to_owned();
        };
        if reasoning == Reasoning::No {
            return "SPACE?".to_owned();
        }
        let open = self.literal(open);
        self.text_until("reasoning", close);
        match reasoning {
            Reasoning::Opened => "reasoning SPACE?".to_owned(),
            _ => format!("SPACE? ({open} reasoning SPACE?)?"),
        }
    }

    /// A rule for one call of `function`, without what comes before its arguments; gives its name.
    fn arguments(&mut self, index: usize, function: &Function) -> String {
        let name = format!("arguments_{index}");
        if self.form.free {
            self.text_until(&name, &self.form.close);
            return name;
        }
        let json = Grammar::json_in_lark(&closed(&function.parameters), !function.strict);
        let close = self.literal(&self.form.close);
        self.rule(&format!("json_{index}"), &json);
        self.rule(&name, &format!("json_{index} {close}"));
        name
    }

    /// A rule `call`: one call of any of the functions.
    fn call(&mut self, functions: &[Function]) {
        let calls: Vec<String> = functions
            .iter()
            .enumerate()
            .map(|(index, function)| {
                let open = self.literal(&self.form.open_of(&function.name));
                format!("{open} arguments_{index}")
            })
            .collect();
        self.rule("call", &calls.join(" | "));
    }

    /// An answer of calls alone; of one, unless `parallel`.
    pub fn calls(
        mut self,
        functions: &[Function],
        parallel: bool,
        reasoning: Reasoning,
    ) -> Grammar {
        let head = self.head(reasoning);
        self.all_calls(functions, parallel);
        self.rule("start", &format!("{head} calls"));
        Grammar::Lark(self.rules)
    }

    fn all_calls(&mut self, functions: &[Function], parallel: bool) {
        for (index, function) in functions.iter().enumerate() {
            self.arguments(index, function);
        }
        self.call(functions);
        let begin = self.literal(&self.form.begin);
        let end = self.literal(&self.form.end);
        let separator = self.literal(&self.form.separator);
        let more = match parallel && !self.form.single {
            true => format!("({separator} call){{0,{}}}", MAX_CALLS - 1),
            false => String::new(),
        };
        self.rule("calls", &format!("{begin} call {more} {end}"));
    }

    /// An answer of JSON; or of calls, where there are functions.
    pub fn json(
        mut self,
        schema: &Value,
        strict: bool,
        functions: &[Function],
        parallel: bool,
        reasoning: Reasoning,
    ) -> Grammar {
        let head = self.head(reasoning);
        let content = self.literal(&self.form.content);
        let json = Grammar::json_in_lark(schema, !strict);
        self.rule("json", &json);
        let answer = match functions {
            [] => format!("{content} json"),
            functions => {
                self.all_calls(functions, parallel);
                format!("({content} json | calls)")
            }
        };
        self.rule("start", &format!("{head} {answer}"));
        Grammar::Lark(self.rules)
    }

    /// Any text, and where it begins a call, a call of one of the functions.
    pub fn text_or_calls(mut self, functions: &[Function], parallel: bool) -> Grammar {
        for (index, function) in functions.iter().enumerate() {
            self.arguments(index, function);
        }
        self.call(functions);
        // Up to the end of the first tag: what follows is then the grammar's, and no longer the model's habit.
        let trigger = self.form.trigger();
        let tag = trigger.find(['>', ']']).map_or(trigger.len(), |at| at + 1);
        let tag = trigger[..tag].to_owned();
        self.text_until("before", &tag);
        let rest_of = |function: &Function| {
            let whole = format!("{}{}", self.form.begin, self.form.open_of(&function.name));
            self.literal(&whole[tag.len()..])
        };
        let firsts: Vec<String> = functions
            .iter()
            .enumerate()
            .map(|(index, function)| format!("{} arguments_{index}", rest_of(function)))
            .collect();
        let separator = self.literal(&self.form.separator);
        let end = self.literal(&self.form.end);
        // Where calls are a list, it goes on; where each has its own tag, the text does.
        let more = match parallel && !self.form.begin.is_empty() {
            true => format!("({separator} call){{0,{}}}", MAX_CALLS - 1),
            false => String::new(),
        };
        self.rule(
            "called",
            &format!("before ({}) {more} {end}", firsts.join(" | ")),
        );
        let marks: Vec<String> = self.special_marks();
        let segment = match marks.as_slice() {
            [] => String::new(),
            marks => format!("TEXT? ({}) | ", marks.join(" | ")),
        };
        let start = match parallel && !self.form.single {
            true => format!("({segment}called)* TEXT?"),
            false if segment.is_empty() => "(called | TEXT)?".to_owned(),
            false => format!("({})* (called | TEXT)?", segment.trim_end_matches(" | ")),
        };
        self.rule("start", &start);
        Grammar::Lark(self.rules)
    }

    /// Special tokens that a text of the model's may hold: those around its reasoning and its content.
    fn special_marks(&self) -> Vec<String> {
        let (open, close) = self.form.reasoning.clone().unwrap_or_default();
        let mut marks: Vec<String> = [&open, &close, &self.form.content]
            .into_iter()
            .flat_map(|text| self.parts(text))
            .filter(|part| matches!(part, Part::Special(_)))
            .map(|part| part.lark())
            .collect();
        marks.sort();
        marks.dedup();
        marks
    }
}

/// No arguments but those that are listed: a model could go on adding others.
fn closed(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(fields) = &mut schema
        && fields.get("properties").is_some_and(Value::is_object)
    {
        fields
            .entry("additionalProperties")
            .or_insert(Value::Bool(false));
    }
    schema
}

#[cfg(test)]
mod tests;
