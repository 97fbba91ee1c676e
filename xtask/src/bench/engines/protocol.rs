//! A process that keeps its models and answers one measurement per line; `benches/peers/worker.py` is the other side.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::Result;
use crate::bench::process;
use crate::bench::rows::{
    GENERATED, PROMPT, REQUEST_ANSWER, REQUEST_PROMPT, Requests, Row, SENTENCE,
};
use crate::bench::shapes::{Shape, Task};

/// A running worker; it ends when this is dropped.
pub struct Worker {
    /// What it says it is.
    pub version: String,
    process: Child,
    answers: Lines<BufReader<ChildStdout>>,
    errors: File,
}

impl Worker {
    /// Waits until it is ready to answer.
    pub fn start(mut command: Command) -> Result<Self> {
        let errors = tempfile::tempfile()?;
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors.try_clone()?)
            .spawn()
            .map_err(|error| process::cannot_start(&command, &error))?;
        let answers = process.stdout.take().expect("stdout is piped");
        let mut worker = Self {
            version: String::new(),
            process,
            answers: BufReader::new(answers).lines(),
            errors,
        };
        let ready = worker.answer()?;
        let version = ready["ready"].as_str();
        worker.version = version
            .ok_or_else(|| format!("said {ready} instead of what it is"))?
            .to_owned();
        Ok(worker)
    }

    /// One measurement, in the row's unit.
    pub fn ask(&mut self, request: &Value) -> Result<f64> {
        let requests = self.process.stdin.as_mut().expect("stdin is piped");
        if writeln!(requests, "{request}").is_err() {
            return Err(self.why_it_ended()?.into());
        }
        value(&self.answer()?)
    }

    /// The most memory that it has held so far, in MB.
    pub fn peak_memory(&self) -> Result<f64> {
        Ok(process::memory_so_far(&self.process).ok_or(process::NO_PROC)?)
    }

    fn answer(&mut self) -> Result<Value> {
        match self.answers.next().transpose()? {
            Some(line) => Ok(serde_json::from_str(&line)?),
            None => Err(self.why_it_ended()?.into()),
        }
    }

    fn why_it_ended(&mut self) -> Result<String> {
        let status = self.process.wait()?;
        let last = process::last_line(&mut self.errors)?;
        Ok(format!("its worker ended with {status}: {last}"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without requests it ends by itself; one in the middle of a measurement is not waited for.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The request that measures this row.
pub fn request(row: Row, model: &Path) -> Value {
    let weights = row.weights().name();
    match row {
        Row::Decode { depth, .. } => {
            json!({"what": "decode", "model": model, "type": weights, "tokens": GENERATED, "depth": depth})
        }
        Row::Memory { .. } => {
            json!({"what": "decode", "model": model, "type": weights, "tokens": GENERATED, "depth": PROMPT})
        }
        Row::Prompt { depth, .. } => {
            json!({"what": "prompt", "model": model, "type": weights, "tokens": PROMPT, "depth": depth})
        }
        Row::Load { .. } | Row::Start => json!({"what": "load", "model": model, "type": weights}),
        Row::Concurrent(requests) => concurrent(requests, model, "speed"),
        Row::FirstToken { requests, .. } => concurrent(requests, model, "first"),
        Row::Embed { batch }
        | Row::Shape {
            task: Task::Embed { batch },
            ..
        } => {
            json!({"what": "embed", "model": model, "batch": batch, "seq": SENTENCE})
        }
        Row::Shape { shape, task } => {
            let (what, tokens) = match (shape, task) {
                (Shape::T5, Task::Read) => ("encode", PROMPT),
                (Shape::T5, _) => ("answer", GENERATED),
                (_, Task::Read) => ("prompt", PROMPT),
                _ => ("decode", GENERATED),
            };
            let depth = match what {
                "encode" => 0,
                _ => shape.depth(),
            };
            json!({"what": what, "model": model, "type": weights, "tokens": tokens, "depth": depth})
        }
    }
}

fn concurrent(requests: Requests, model: &Path, give: &str) -> Value {
    json!({
        "what": "concurrent",
        "model": model,
        "type": requests.weights.name(),
        "requests": requests.count,
        "tokens": requests.prefix + REQUEST_PROMPT,
        "new": REQUEST_ANSWER,
        "give": give,
    })
}

fn value(answer: &Value) -> Result<f64> {
    if let Some(error) = answer["error"].as_str() {
        return Err(error.into());
    }
    let value = answer["value"].as_f64();
    Ok(value.ok_or_else(|| format!("its worker answered {answer}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_values_or_errors() {
        assert_eq!(value(&json!({"value": 16.9})).ok(), Some(16.9));
        let error = value(&json!({"error": "ValueError: no"})).expect_err("it is one");
        assert_eq!(error.to_string(), "ValueError: no");
        assert!(value(&json!({"value": "fast"})).is_err());
    }

    #[cfg(unix)]
    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[cfg(unix)]
    #[test]
    fn a_worker_says_what_it_is_and_answers() {
        let script = r#"echo '{"ready": "x 1.0"}'; read request; echo '{"value": 7}'; echo Oops >&2; exit 1"#;
        let mut worker = Worker::start(shell(script)).expect("it is ready");
        assert_eq!(worker.version, "x 1.0");
        let request = request(Row::Embed { batch: 1 }, Path::new("m"));
        assert_eq!(worker.ask(&request).ok(), Some(7.0));
        let error = worker.ask(&request).expect_err("it ended").to_string();
        assert!(error.ends_with(": Oops"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_worker_that_cannot_start_says_why() {
        let error = Worker::start(shell("echo 'No module named torch' >&2; exit 1"));
        let error = error.err().expect("it ended").to_string();
        assert!(error.ends_with(": No module named torch"), "{error}");
    }
}
