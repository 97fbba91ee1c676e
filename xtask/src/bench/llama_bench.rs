//! The JSON of llama.cpp's llama-bench, which `transformers bench` writes as well.

use serde_json::Value;

use super::rows::{GENERATED, PROMPT, Row};
use super::shapes::Task;
use crate::Result;

/// The arguments that make llama-bench measure this row alone.
pub fn arguments(row: Row) -> Vec<String> {
    let (prompt, generated, depth) = match row {
        Row::Prompt { depth, .. } => (PROMPT, 0, depth),
        Row::Decode { depth, .. } => (0, GENERATED, depth),
        Row::Memory { .. } => (0, GENERATED, PROMPT),
        Row::Shape {
            task: Task::Read, ..
        } => (PROMPT, 0, 0),
        Row::Shape { shape, .. } => (0, GENERATED, shape.depth()),
        _ => (0, 1, 0),
    };
    format!("-p {prompt} -n {generated} -d {depth} -r 1 -o json")
        .split(' ')
        .map(str::to_owned)
        .collect()
}

/// A number of the one test that the output reports.
pub fn number(json: &str, key: &str) -> Result<f64> {
    let tests: Value =
        serde_json::from_str(json).map_err(|error| format!("{error} in the output: {json:?}"))?;
    let number = tests[0][key].as_f64();
    Ok(number.ok_or_else(|| format!("the output has no number `{key}`: {tests}"))?)
}

/// Tokens per second, prompts and answers together, in the one line that llama-batched-bench writes.
pub fn batched_speed(output: &str) -> Result<f64> {
    let line = output.lines().find(|line| line.starts_with('{'));
    let line = line.ok_or_else(|| format!("no line of JSON in the output: {output:?}"))?;
    number(&format!("[{line}]"), "speed")
}

#[cfg(test)]
mod tests {
    use super::super::rows::Weights;
    use super::super::shapes::Shape;
    use super::*;

    #[test]
    fn one_row_is_one_test() {
        let weights = Weights::F32;
        let decode = arguments(Row::Decode {
            depth: 2048,
            weights,
        });
        assert_eq!(decode.join(" "), "-p 0 -n 128 -d 2048 -r 1 -o json");
        let t5 = |task| {
            let shape = Shape::T5;
            arguments(Row::Shape { shape, task })
        };
        assert_eq!(t5(Task::Read).join(" "), "-p 512 -n 0 -d 0 -r 1 -o json");
        assert_eq!(t5(Task::Write).join(" "), "-p 0 -n 128 -d 512 -r 1 -o json");
        let memory = arguments(Row::Memory { weights });
        assert_eq!(memory.join(" "), "-p 0 -n 128 -d 512 -r 1 -o json");
    }

    #[test]
    fn the_speed_of_a_batch_is_read() {
        let output = "main: n_kv_max = 3072\n{\"pp\": 128, \"pl\": 16, \"speed\": 410.5}\n";
        assert_eq!(batched_speed(output).ok(), Some(410.5));
        assert!(batched_speed("nothing").is_err());
    }

    #[test]
    fn numbers_are_read_and_missed() {
        let json =
            r#"[{ "n_prompt": 512, "n_gen": 0, "avg_ts": 464.5, "samples_ts": [ 460, 469 ] }]"#;
        assert_eq!(number(json, "avg_ts").ok(), Some(464.5));
        let error = |json, key| number(json, key).expect_err("it is missing").to_string();
        assert!(error(json, "load_ms").contains("`load_ms`"));
        assert!(error("[]", "avg_ts").contains("`avg_ts`"));
        assert!(error("not json", "avg_ts").contains("not json"));
    }
}
