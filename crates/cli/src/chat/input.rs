//! Where messages come from: a line that can be edited, or a pipe.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Config, Editor};

use crate::failure::Result;

/// The most lines that are remembered.
const HISTORY: usize = 1000;

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Text(String),
    /// Ctrl-C: the line is forgotten.
    Interrupted,
    /// Ctrl-D, or the end of the pipe.
    End,
}

/// Reads lines.
pub enum Input {
    /// From a person, who can edit them and have earlier ones back.
    Terminal {
        editor: Box<Editor<(), DefaultHistory>>,
        user: String,
    },
    /// From a program.
    Pipe,
}

impl Input {
    /// `user`: what the person is called.
    pub fn new(user: Option<String>) -> Result<Self> {
        if !io::stdin().is_terminal() {
            return Ok(Self::Pipe);
        }
        let config = Config::builder()
            .max_history_size(HISTORY)?
            .auto_add_history(true);
        let editor = Editor::with_config(config.build())?;
        let name = || {
            ["USER", "USERNAME"]
                .into_iter()
                .find_map(|name| std::env::var(name).ok())
        };
        Ok(Self::Terminal {
            editor: Box::new(editor),
            user: user.or_else(name).unwrap_or_else(|| "you".to_owned()),
        })
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal { .. })
    }

    /// The next line; one that ends with a backslash goes on in the one after it. `model` answers below it.
    pub fn line(&mut self, model: &str) -> Result<Line> {
        let mut text = String::new();
        loop {
            let prompt = if text.is_empty() { None } else { Some("… ") };
            let line = match self.read(prompt)? {
                Line::Text(line) => line,
                Line::End if !text.is_empty() => String::new(),
                other => return Ok(other),
            };
            match line.strip_suffix('\\') {
                Some(begun) => {
                    text += begun;
                    text.push('\n');
                }
                None => {
                    text += &line;
                    break;
                }
            }
        }
        if self.is_terminal() && !text.trim().is_empty() && !text.starts_with('!') {
            let mut out = io::stdout().lock();
            writeln!(out, "<{model}>:")?;
        }
        Ok(Line::Text(text))
    }

    fn read(&mut self, prompt: Option<&str>) -> Result<Line> {
        match self {
            Self::Terminal { editor, user } => {
                let own = format!("<{user}>: ");
                match editor.readline(prompt.unwrap_or(&own)) {
                    Ok(line) => Ok(Line::Text(line)),
                    Err(ReadlineError::Interrupted) => Ok(Line::Interrupted),
                    Err(ReadlineError::Eof) => Ok(Line::End),
                    Err(error) => Err(error.into()),
                }
            }
            Self::Pipe => {
                let mut line = String::new();
                Ok(match io::stdin().lock().read_line(&mut line)? {
                    0 => Line::End,
                    _ => Line::Text(line.trim_end_matches(['\r', '\n']).to_owned()),
                })
            }
        }
    }
}
