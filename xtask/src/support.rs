//! The support table of the docs, rendered from what the conformance binary found.
//!
//! The binary's `--json FILE` is an array with one object per case: `case`, `model_type`, `arch`, `gguf` (`read`, `written`
//! or both, where a GGUF file of the case is), and `checks`, an object from the check's name to true (passed), false
//! (missed) or null (the case does not have it). Distances are left out of the table: they differ from machine to machine
//! in the last digits.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::Result;

/// Where the table is kept.
pub const FILE: &str = "docs/src/support.md";

const INTRODUCTION: &str = "\
# What is supported

<!-- Written by `cargo xtask conformance --write-support`; do not edit. -->

Every row below is a tiny model whose outputs were compared with those of Python transformers. What is compared, and how
closely, is in [How models are checked](conformance.md). GGUF files of a family are read or written where the table says
so: of each kind there is one whose model answers as the case does that it was made of.
";

struct Row {
    case: String,
    model_type: String,
    class: String,
    gguf: Vec<String>,
    checks: Map<String, Value>,
}

#[derive(Default)]
struct Family<'a> {
    classes: BTreeSet<String>,
    cases: usize,
    gguf: BTreeSet<&'a str>,
}

/// The page for the result of one run; an error if a case missed.
pub fn render(json: &str) -> Result<String> {
    let rows = rows(json)?;
    Ok(format!(
        "{INTRODUCTION}\n## Families\n\n{}\n## Cases\n\n{}",
        families(&rows),
        cases(&rows)?
    ))
}

fn rows(json: &str) -> Result<Vec<Row>> {
    let value: Value = serde_json::from_str(json)?;
    let cases = value
        .as_array()
        .ok_or("the conformance result is not an array")?;
    cases.iter().map(row).collect()
}

fn row(value: &Value) -> Result<Row> {
    let text = |key: &str| {
        let text = value[key].as_str().map(str::to_owned);
        text.ok_or_else(|| format!("a case of the conformance result has no `{key}`: {value}"))
    };
    let checks = value["checks"].as_object().cloned();
    let gguf = value["gguf"].as_array().into_iter().flatten();
    Ok(Row {
        case: text("case")?,
        model_type: text("model_type")?,
        class: text("arch")?,
        gguf: gguf.filter_map(Value::as_str).map(str::to_owned).collect(),
        checks: checks
            .ok_or_else(|| format!("a case of the conformance result has no `checks`: {value}"))?,
    })
}

fn families(rows: &[Row]) -> String {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    for row in rows {
        let family = families.entry(&row.model_type).or_default();
        family.classes.insert(format!("`{}`", row.class));
        family.gguf.extend(row.gguf.iter().map(String::as_str));
        family.cases += 1;
    }
    let mut table = String::from("| `model_type` | classes | cases | GGUF |\n|---|---|---|---|\n");
    for (model_type, family) in families {
        let classes = Vec::from_iter(family.classes).join(", ");
        let gguf = match family.gguf.is_empty() {
            true => "·".to_owned(),
            false => Vec::from_iter(family.gguf).join(", "),
        };
        let cases = family.cases;
        table += &format!("| `{model_type}` | {classes} | {cases} | {gguf} |\n");
    }
    table
}

fn cases(rows: &[Row]) -> Result<String> {
    let mut names: Vec<&str> = Vec::new();
    for name in rows.iter().flat_map(|row| row.checks.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mut table = format!(
        "| case | class | {} |\n|---|---|{}\n",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for row in rows {
        let marks = names
            .iter()
            .map(|name| mark(row, name))
            .collect::<Result<Vec<_>>>()?;
        table += &format!(
            "| {} | `{}` | {} |\n",
            row.case,
            row.class,
            marks.join(" | ")
        );
    }
    Ok(table)
}

fn mark(row: &Row, check: &str) -> Result<&'static str> {
    match row.checks.get(check) {
        Some(Value::Bool(true)) => Ok("✓"),
        None | Some(Value::Null) => Ok("·"),
        Some(_) => Err(format!(
            "case {} missed {check}: the support table is written when every case passes",
            row.case
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TWO_CASES: &str = r#"[
        {"case": "llama", "model_type": "llama", "arch": "LlamaForCausalLM", "gguf": ["read", "written"], "checks": {"logits": true, "greedy": true}},
        {"case": "bert", "model_type": "bert", "arch": "BertModel", "checks": {"logits": true, "pooler": true, "greedy": null}}
    ]"#;

    #[test]
    fn one_row_per_family_and_per_case() {
        let page = render(TWO_CASES).unwrap();
        for line in [
            "| `bert` | `BertModel` | 1 | · |",
            "| `llama` | `LlamaForCausalLM` | 1 | read, written |",
            "| case | class | logits | greedy | pooler |",
            "| llama | `LlamaForCausalLM` | ✓ | ✓ | · |",
            "| bert | `BertModel` | ✓ | · | ✓ |",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn a_miss_is_never_written_down_as_support() {
        let error = render(&TWO_CASES.replacen("true", "false", 1))
            .unwrap_err()
            .to_string();
        assert!(error.contains("case llama missed logits"), "{error}");
    }
}
